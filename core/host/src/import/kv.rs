//! Power `kv`: a plugin's own keys, in bounded memory; the switch commits each change to disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Powers;
use crate::count::ImportOutcome;
use crate::grant::Grant;
use crate::plugin::locked;

/// Changes within one call.
pub(crate) const WRITES_PER_CALL: u32 = 64;
/// The longest key, in bytes.
const KEY_BYTES: usize = 256;
/// The longest value, in bytes.
const VALUE_BYTES: usize = 64 << 10;
/// Keys of one plugin.
const KEYS: usize = 10_000;
/// Bytes of one plugin's keys and values together.
const TOTAL_BYTES: usize = 4 << 20;
/// Keys in one answer to a listing.
const LISTED: usize = 1000;

/// A kept entry, as the switch gives it back at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// The name of the plugin that it belongs to.
    pub plugin: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

/// A change that a plugin made and that is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvWrite<'a> {
    /// The name of the plugin.
    pub plugin: &'a str,
    /// The key.
    pub key: &'a str,
    /// The new value; `None` when the key was removed.
    pub value: Option<&'a [u8]>,
}

/// Why a change was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    BadKey,
    ValueTooLarge,
    Full,
    TooManyWrites,
    NotANumber,
}

/// The keys of one plugin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    entries: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl Store {
    /// Puts a value in its place, within the limits.
    pub(crate) fn set(&mut self, key: &str, value: &[u8]) -> Result<(), Refused> {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(Refused::BadKey);
        }
        if value.len() > VALUE_BYTES {
            return Err(Refused::ValueTooLarge);
        }
        let old = self.entries.get(key).map(|old| key.len() + old.len());
        let bytes = self.bytes - old.unwrap_or(0) + key.len() + value.len();
        if bytes > TOTAL_BYTES || (old.is_none() && self.entries.len() >= KEYS) {
            return Err(Refused::Full);
        }
        self.bytes = bytes;
        self.entries.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &str) -> bool {
        let Some(old) = self.entries.remove(key) else {
            return false;
        };
        self.bytes -= key.len() + old.len();
        true
    }

    fn keys(&self, prefix: &str, after: &str, limit: u32) -> Vec<String> {
        let from = if after > prefix {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix)
        };
        self.entries
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(key, _)| key)
            .skip_while(|key| key.as_str() == after)
            .take_while(|key| key.starts_with(prefix))
            .take(LISTED.min(limit as usize))
            .cloned()
            .collect()
    }

    fn sum(&self, key: &str, by: i64) -> Result<i64, Refused> {
        let Some(value) = self.entries.get(key) else {
            return Ok(by);
        };
        let number = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<i64>().ok());
        number
            .and_then(|number| number.checked_add(by))
            .ok_or(Refused::NotANumber)
    }
}

impl Powers {
    /// The value of a key.
    pub(crate) fn kv_get(&self, key: &str) -> Option<Vec<u8>> {
        self.plugin.counts.import(Grant::Kv, ImportOutcome::Ok);
        locked(&self.plugin.kv).entries.get(key).cloned()
    }

    /// The keys that begin with `prefix`, in order, after `after`.
    pub(crate) fn kv_keys(&self, prefix: &str, after: &str, limit: u32) -> Vec<String> {
        self.plugin.counts.import(Grant::Kv, ImportOutcome::Ok);
        locked(&self.plugin.kv).keys(prefix, after, limit)
    }

    /// Sets the value of a key.
    pub(crate) fn kv_set(&mut self, key: &str, value: &[u8]) -> Result<(), Refused> {
        self.kv_change(|store, write| {
            store.set(key, value)?;
            write(key, Some(value));
            Ok(())
        })
    }

    /// Removes a key and says whether it was there.
    pub(crate) fn kv_delete(&mut self, key: &str) -> Result<bool, Refused> {
        self.kv_change(|store, write| {
            let was_there = store.delete(key);
            if was_there {
                write(key, None);
            }
            Ok(was_there)
        })
    }

    /// Adds to a number and gives back the sum.
    pub(crate) fn kv_increment(&mut self, key: &str, by: i64) -> Result<i64, Refused> {
        self.kv_change(|store, write| {
            let sum = store.sum(key, by)?;
            let text = sum.to_string();
            store.set(key, text.as_bytes())?;
            write(key, Some(text.as_bytes()));
            Ok(sum)
        })
    }

    /// Makes a change under the plugin's lock, so that the changes are told in the order in which they
    /// were made.
    fn kv_change<A>(
        &mut self,
        change: impl FnOnce(&mut Store, &dyn Fn(&str, Option<&[u8]>)) -> Result<A, Refused>,
    ) -> Result<A, Refused> {
        let Some(left) = self.kv_writes.checked_sub(1) else {
            self.plugin.counts.import(Grant::Kv, ImportOutcome::Limited);
            return Err(Refused::TooManyWrites);
        };
        self.kv_writes = left;
        let write = |key: &str, value: Option<&[u8]>| {
            (self.on_kv_write)(KvWrite {
                plugin: &self.plugin.name,
                key,
                value,
            });
        };
        let changed = change(&mut locked(&self.plugin.kv), &write);
        let outcome = if changed.is_ok() {
            ImportOutcome::Ok
        } else {
            ImportOutcome::Refused
        };
        self.plugin.counts.import(Grant::Kv, outcome);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_bytes_are_given_back() {
        let mut store = Store::default();
        assert_eq!(store.set("", b""), Err(Refused::BadKey));
        assert_eq!(store.set(&"k".repeat(KEY_BYTES + 1), b""), Err(Refused::BadKey));
        assert_eq!(
            store.set("k", &vec![0; VALUE_BYTES + 1]),
            Err(Refused::ValueTooLarge)
        );
        let full = (0..KEYS).find(|n| store.set(&format!("{n:04}"), &vec![0; VALUE_BYTES]).is_err());
        assert_eq!(full, Some(TOTAL_BYTES / (VALUE_BYTES + 4)));
        assert_eq!(store.set("more", &vec![0; VALUE_BYTES]), Err(Refused::Full));
        assert_eq!(
            store.set("0000", b"smaller"),
            Ok(()),
            "a change that needs less is made"
        );
        assert_eq!(store.set("more", &vec![0; VALUE_BYTES / 2]), Ok(()));
        for n in 0..KEYS {
            store.delete(&format!("{n:04}"));
        }
        store.delete("more");
        assert_eq!(store.bytes, 0);
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut store = Store::default();
        let full = (0..=KEYS).find(|n| store.set(&n.to_string(), b"").is_err());
        assert_eq!(full, Some(KEYS));
    }

    #[test]
    fn a_listing_goes_on_where_the_last_one_ended() {
        let mut store = Store::default();
        for key in ["a", "b1", "b2", "b3", "c"] {
            store.set(key, b"").unwrap();
        }
        assert_eq!(store.keys("b", "", 2), ["b1", "b2"]);
        assert_eq!(store.keys("b", "b2", 2), ["b3"]);
        assert_eq!(store.keys("", "a", 9), ["b1", "b2", "b3", "c"]);
        assert_eq!(store.keys("", "", 9).len(), 5);
        assert_eq!(store.keys("b1", "b1", 9), [""; 0]);
    }

    #[test]
    fn only_numbers_are_added_to() {
        let mut store = Store::default();
        assert_eq!(store.sum("hits", 2), Ok(2));
        store.set("hits", b"40").unwrap();
        assert_eq!(store.sum("hits", 2), Ok(42));
        assert_eq!(store.sum("hits", i64::MAX), Err(Refused::NotANumber));
        store.set("hits", b"many").unwrap();
        assert_eq!(store.sum("hits", 2), Err(Refused::NotANumber));
    }
}

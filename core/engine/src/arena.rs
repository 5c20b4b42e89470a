//! A slab whose keys are never valid for a later tenant of the same slot.

use slab::Slab;

use crate::sip::write::Short;

/// The key of one value in one [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    serial: u32,
}

impl Key {
    /// As text without characters that SIP would need to escape: it goes into branches and tags.
    pub(crate) fn text(self) -> String {
        self.append(Short::new()).as_str().to_owned()
    }

    /// The same behind another text.
    pub(crate) fn append(self, text: Short) -> Short {
        text.hexadecimal(self.index.into(), 1)
            .text(".")
            .hexadecimal(self.serial.into(), 1)
    }

    /// Reads what [`Key::text`] wrote, followed by a dot and a secret that the caller checks.
    pub(crate) fn read(text: &str) -> Option<(Self, &str)> {
        let (index, rest) = text.split_once('.')?;
        let (serial, secret) = rest.split_once('.')?;
        let key = Self {
            index: u32::from_str_radix(index, 16).ok()?,
            serial: u32::from_str_radix(serial, 16).ok()?,
        };
        Some((key, secret))
    }
}

/// Values by [`Key`].
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Slab<(u32, T)>,
    serial: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            slots: Slab::new(),
            serial: 0,
        }
    }
}

impl<T> Arena<T> {
    /// The key of the value that is inserted next.
    pub(crate) fn next_key(&self) -> Key {
        Key {
            index: index(self.slots.vacant_key()),
            serial: self.serial.wrapping_add(1),
        }
    }

    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        self.serial = self.serial.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let key = Key {
            index: index(entry.key()),
            serial: self.serial,
        };
        entry.insert((self.serial, make(key)));
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slots
            .get(key.index as usize)
            .filter(|(serial, _)| *serial == key.serial)
            .map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|(serial, _)| *serial == key.serial)
            .map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slots.remove(key.index as usize).1)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.slots
            .iter()
            .map(|(index, (serial, _))| Key {
                index: self::index(index),
                serial: *serial,
            })
            .collect()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|(_, (_, value))| value)
    }
}

fn index(slot: usize) -> u32 {
    u32::try_from(slot).expect("fewer than 2^32 values: every arena is bounded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_open_the_slot_for_its_next_tenant() {
        let mut arena = Arena::default();
        let first = arena.insert_with(|_| "alice");
        assert_eq!(arena.remove(first), Some("alice"));
        let second = arena.insert_with(|_| "bob");
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.get(second), Some(&"bob"));
        assert_eq!(arena.remove(first), None);
    }

    #[test]
    fn keys_are_read_back_from_their_text() {
        let mut arena = Arena::default();
        let next = arena.next_key();
        let key = arena.insert_with(|_| ());
        assert_eq!(key, next);
        let text = format!("{}.secret", key.text());
        assert_eq!(Key::read(&text), Some((key, "secret")));
        assert_eq!(Key::read("zz.1.x"), None);
        assert_eq!(Key::read("1"), None);
    }
}

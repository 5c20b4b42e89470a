//! Tables whose keys are our own numbers or names out of the configuration: nobody outside chooses them, so their
//! hash needs no secret and can be a short one. What strangers name stays in tables with a secret.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values by such a key.
pub(crate) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Mixed>>;

/// An odd number without a pattern: the fraction of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes in eight bytes at a time by a multiplication whose halves are laid over each other.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mixed(u64);

impl Mixed {
    fn mix(&mut self, part: u64) {
        let product = u128::from(self.0.wrapping_add(FACTOR) ^ part) * u128::from(FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    #[track_caller]
    fn spread(keys: impl Iterator<Item = impl Hash>) {
        let hashes: Vec<u64> = keys
            .map(|key| {
                let mut hasher = Mixed::default();
                key.hash(&mut hasher);
                hasher.finish()
            })
            .collect();
        let parts = |part: fn(u64) -> u64| {
            hashes
                .iter()
                .map(|hash| part(*hash))
                .collect::<HashSet<_>>()
                .len()
        };
        // A table looks at the lowest bits for the place and at the highest seven for the first comparison. By chance
        // 4,096 of 65,536 places are hit by 3,969 of 4,096 keys.
        assert!(
            parts(|hash| hash & 0xffff) > 3800,
            "{}",
            parts(|hash| hash & 0xffff)
        );
        assert_eq!(parts(|hash| hash >> 57), 128);
    }

    #[test]
    fn keys_that_differ_in_one_number_are_spread() {
        spread(0..4096u64);
        spread((0..4096u64).map(|number| number << 32));
        spread((0..4096u64).map(|number| (1_800_000_000 + number * 200_000, number)));
        spread((0..4096).map(|number| format!("u{number}")));
        spread((0..4096).map(|number| format!("user{number}@lab.test")));
    }
}

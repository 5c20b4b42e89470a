//! Tables whose keys are hashes with a secret already: hashing them once more would be work for nothing.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values by such a hash.
pub(super) type Hashed<V> = HashMap<u128, V, BuildHasherDefault<Taken>>;

/// Takes the lower half of the key as the hash.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Taken(u64);

impl Hasher for Taken {
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_share_their_lower_half_are_two_keys() {
        let mut table = Hashed::default();
        table.insert(7, "a");
        table.insert(7 | 1 << 127, "b");
        assert_eq!(
            (table.get(&7), table.get(&(7 | 1 << 127))),
            (Some(&"a"), Some(&"b"))
        );
        assert_eq!(table.remove(&7), Some("a"));
        assert_eq!(table.len(), 1);
    }
}

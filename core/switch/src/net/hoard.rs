//! What connections hold back: parts of messages whose rest has not come. All of them together are bounded, so
//! that thousands of slow senders cost no more memory than a few.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that all connections hold together beyond their own [`FREE`], in bytes.
const MOST: usize = 32 << 20;
/// What each may hold in any case, in bytes: nearly every message is smaller.
const FREE: usize = 4 << 10;

/// What all connections hold, each beyond [`FREE`], in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hoard(Arc<AtomicUsize>);

impl Hoard {
    /// The part of a new connection.
    pub(crate) fn part(&self) -> Part {
        Part {
            all: Arc::clone(&self.0),
            mine: 0,
        }
    }
}

/// What one connection holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    all: Arc<AtomicUsize>,
    mine: usize,
}

impl Part {
    /// The connection holds so many bytes now; false if that is more than there is room for.
    #[must_use]
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        let mine = bytes.saturating_sub(FREE);
        let before = std::mem::replace(&mut self.mine, mine);
        if mine <= before {
            self.all.fetch_sub(before - mine, Ordering::Relaxed);
            return true;
        }
        let more = mine - before;
        self.all.fetch_add(more, Ordering::Relaxed) + more <= MOST
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.all.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_ones_are_free_and_large_ones_are_counted_until_they_are_gone() {
        let hoard = Hoard::default();
        let mut small: Vec<Part> = (0..100_000).map(|_| hoard.part()).collect();
        assert!(small.iter_mut().all(|part| part.hold(FREE)));
        let (mut one, mut other) = (hoard.part(), hoard.part());
        assert!(one.hold(FREE + MOST));
        assert!(!other.hold(FREE + 1));
        assert!(other.hold(FREE));
        assert!(one.hold(FREE + MOST / 2) && other.hold(FREE + MOST / 2));
        assert!(!other.hold(FREE + MOST / 2 + 1));
        drop(one);
        assert!(other.hold(FREE + MOST));
        drop(other);
        assert_eq!(hoard.0.load(Ordering::Relaxed), 0);
    }
}

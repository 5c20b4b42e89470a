//! How much earlier than their turn packets came, over the last seconds.

/// Ticks in one window: one second.
const WINDOW_TICKS: u32 = 50;
/// Windows that are remembered.
const WINDOWS: usize = 5;

/// Least and greatest slack, in samples, window by window; the newest first.
#[derive(Debug)]
pub(super) struct Slack {
    least: [i32; WINDOWS],
    greatest: [i32; WINDOWS],
    tick: u32,
}

impl Slack {
    pub(super) const fn new() -> Self {
        Self {
            least: [i32::MAX; WINDOWS],
            greatest: [i32::MIN; WINDOWS],
            tick: 0,
        }
    }

    pub(super) fn note(&mut self, slack: i32) {
        self.least[0] = self.least[0].min(slack);
        self.greatest[0] = self.greatest[0].max(slack);
    }

    /// The slack of the slowest packet.
    pub(super) fn least(&self) -> Option<i32> {
        self.least
            .iter()
            .copied()
            .min()
            .filter(|slack| *slack != i32::MAX)
    }

    /// The slack of the quickest packet, which is the playout delay.
    pub(super) fn greatest(&self) -> Option<i32> {
        self.greatest
            .iter()
            .copied()
            .max()
            .filter(|slack| *slack != i32::MIN)
    }

    /// Everything from now on is played `by` samples later than before.
    pub(super) fn shift(&mut self, by: i32) {
        for slack in self.least.iter_mut().filter(|slack| **slack != i32::MAX) {
            *slack += by;
        }
        for slack in self.greatest.iter_mut().filter(|slack| **slack != i32::MIN) {
            *slack += by;
        }
    }

    /// Counts a tick.
    pub(super) fn tick(&mut self) {
        self.tick += 1;
        if self.tick.is_multiple_of(WINDOW_TICKS) {
            self.least.rotate_right(1);
            self.greatest.rotate_right(1);
            self.least[0] = i32::MAX;
            self.greatest[0] = i32::MIN;
        }
    }

    /// Whether enough was seen to judge that there is too much.
    pub(super) const fn settled(&self) -> bool {
        self.tick >= WINDOW_TICKS * WINDOWS as u32
    }
}

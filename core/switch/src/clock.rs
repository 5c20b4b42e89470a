//! The clock: read once as a date, then advanced by the monotonic clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cordboard_model::Time;

/// Tells the time on the switch's own line: it never goes backwards, whatever happens to the wall clock.
///
/// Copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    date: Time,
}

/// Turns stamps that the kernel took by its wall clock into times on our line; good for the batch it was
/// made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelClock {
    now: Time,
    wall: Duration,
}

impl Clock {
    /// Starts the line at what the wall clock says now.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            date: Time(nanos(wall_clock())),
        }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Time {
        self.date + self.start.elapsed()
    }

    /// How the kernel's stamps are to be read at present.
    pub(crate) fn kernel(&self) -> KernelClock {
        KernelClock {
            now: self.now(),
            wall: wall_clock(),
        }
    }
}

impl KernelClock {
    /// When this was made.
    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    /// The time of a stamp given as time since the Unix epoch. What lies in the future, or more than a
    /// second back, was stamped before the wall clock was set, and counts as now.
    pub(crate) fn time(&self, stamp: Duration) -> Time {
        match self.wall.checked_sub(stamp) {
            Some(age) if age <= Duration::from_secs(1) => self.now - age,
            _ => self.now,
        }
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn nanos(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_the_date_and_copies_agree() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(second >= first);
        assert!(Time(nanos(wall_clock())).since(first) < Duration::from_secs(60));
    }

    #[test]
    fn kernel_stamps_keep_their_age() {
        let kernel = KernelClock {
            now: Time::from_unix_seconds(1000),
            wall: Duration::from_secs(5000),
        };
        let age = Duration::from_micros(250);
        assert_eq!(kernel.time(Duration::from_secs(5000) - age), kernel.now() - age);
        assert_eq!(
            kernel.time(Duration::from_secs(5001)),
            kernel.now(),
            "from the future"
        );
        assert_eq!(
            kernel.time(Duration::from_secs(3)),
            kernel.now(),
            "from before the clock was set"
        );
    }
}

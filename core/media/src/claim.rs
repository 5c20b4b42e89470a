//! What a peer's packets say of their own loudness (RFC 6464), held against what they sound like.
//!
//! Browsers write it after their noise suppression knows what is voice, so it is worth listening to; but anybody can
//! write anything. Audio is decoded anyway, so the quieter of both counts: who claims to shout and is silent does
//! not talk, and who claims to be silent is not shown, whatever is heard of him.

/// Ticks that a claim may be ahead of its sound: what the jitter buffer holds back at most times.
const AHEAD: usize = 10;
/// Ticks after which a peer that claims nothing any more is judged by its sound alone.
const FORGOTTEN: u8 = 25;

/// Magnitude by level: 0 is full scale, each step one decibel less.
const MAGNITUDE: [u16; 128] = {
    let mut table = [0; 128];
    let (mut at, mut value) = (0, 32_767u64 << 16);
    while at < 128 {
        table[at] = (value >> 16) as u16;
        // Ten to the power of minus one twentieth, of 65,536.
        value = (value * 58_409) >> 16;
        at += 1;
    }
    table
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The loudest magnitude claimed in each of the last ticks, the present one first.
    recent: [u16; AHEAD],
    /// Ticks since the last claim.
    age: u8,
}

impl Default for Claim {
    fn default() -> Self {
        Self {
            recent: [0; AHEAD],
            age: FORGOTTEN,
        }
    }
}

impl Claim {
    /// Takes the level of a packet: 0 is the loudest, 127 silence.
    pub(crate) fn note(&mut self, level: u8) {
        let magnitude = MAGNITUDE[usize::from(level & 0x7f)];
        self.recent[0] = self.recent[0].max(magnitude);
        self.age = 0;
    }

    /// A tick is over; `mean` is the mean magnitude of its frame. Returns what of it is believed.
    pub(crate) fn believe(&mut self, mean: u16) -> u16 {
        let loudest = self.recent.into_iter().max().unwrap_or_default();
        self.recent.rotate_right(1);
        self.recent[0] = 0;
        if self.age >= FORGOTTEN {
            return mean;
        }
        self.age += 1;
        mean.min(loudest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_decibels_below_full_scale() {
        for (level, magnitude) in [(0, 32_767), (6, 16_422), (20, 3277), (40, 328), (127, 0)] {
            let known = MAGNITUDE[level];
            assert!(known.abs_diff(magnitude) <= 20, "{level}: {known}");
        }
    }

    #[test]
    fn the_quieter_of_claim_and_sound_counts() {
        let mut claim = Claim::default();
        assert_eq!(claim.believe(3000), 3000, "nothing is claimed");
        claim.note(0);
        assert_eq!(claim.believe(10), 10, "a liar is as loud as he sounds");
        assert_eq!(claim.believe(3000), 3000);
        let mut quiet = Claim::default();
        for _ in 0..50 {
            quiet.note(0x80 | 127);
            assert_eq!(quiet.believe(3000), 0);
        }
        // After the last claim its silence holds for a while, then the sound alone counts.
        let believed: Vec<u16> = (0..30).map(|_| quiet.believe(3000)).collect();
        assert_eq!(believed.iter().filter(|mean| **mean == 0).count(), 24);
        assert_eq!(believed[29], 3000);
    }
}

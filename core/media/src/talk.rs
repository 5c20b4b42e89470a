//! Whether a peer talks: by level, with a hangover so that pauses between words do not count.

/// Mean magnitude (of 32,768) from which a frame counts as voice: about 43 dB below full scale.
const VOICE: u16 = 200;
/// Magnitude below which a frame may be left out of the mix: about 54 dB below full scale.
const AUDIBLE: u16 = 64;
/// Frames of voice among the last eight that start a talk.
const START: u32 = 3;
/// Frames without voice after which a talk is over: 500 ms.
const HANGOVER: u8 = 25;

/// Frames over which loudness is smoothed, so that syllables do not count.
const SMOOTH: u32 = 32;

/// What one leg's frames say about its peer.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// The last eight frames, newest in the lowest bit: whether they held voice.
    recent: u8,
    since_voice: u8,
    since_audible: u8,
    talking: bool,
    /// Mean magnitude, smoothed over about two thirds of a second, times [`SMOOTH`].
    loudness: u32,
}

impl Talk {
    /// Takes the peak and mean magnitude of the next frame; returns the new state if it changed.
    pub(crate) fn frame(&mut self, peak: u16, mean: u16) -> Option<bool> {
        self.since_audible = if peak >= AUDIBLE {
            0
        } else {
            self.since_audible.saturating_add(1)
        };
        self.loudness = self.loudness - self.loudness / SMOOTH + u32::from(mean);
        self.recent = self.recent << 1 | u8::from(mean >= VOICE);
        self.since_voice = if mean >= VOICE {
            0
        } else {
            self.since_voice.saturating_add(1)
        };
        if !self.talking && self.recent.count_ones() >= START {
            self.talking = true;
            return Some(true);
        }
        if self.talking && self.since_voice >= HANGOVER {
            return self.stop();
        }
        None
    }

    /// Whether the peer talks.
    pub(crate) const fn on(&self) -> bool {
        self.talking
    }

    /// Mean magnitude of the last frames.
    pub(crate) const fn loudness(&self) -> u16 {
        (self.loudness / SMOOTH) as u16
    }

    /// Whether the last frame need not be mixed: nothing audible came for as long as the hangover.
    pub(crate) const fn quiet(&self) -> bool {
        self.since_audible > HANGOVER
    }

    /// The peer is no longer listened to; returns the new state if it changed.
    pub(crate) fn stop(&mut self) -> Option<bool> {
        let was = self.talking;
        *self = Self {
            since_audible: u8::MAX,
            ..Self::default()
        };
        was.then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_starts_within_four_frames_and_ends_half_a_second_after_the_last_word() {
        let mut talk = Talk::default();
        let mut changes = Vec::new();
        for frame in 0..200u32 {
            // Voice from frame 10 to 60 with a pause of 300 ms, and one click at 120.
            let voice = (10..30).contains(&frame) || (45..60).contains(&frame) || frame == 120;
            let (peak, mean) = if voice { (8000, 3000) } else { (20, 8) };
            if let Some(on) = talk.frame(peak, mean) {
                changes.push((frame, on));
            }
        }
        assert_eq!(changes, [(12, true), (84, false)]);
        assert!(talk.quiet());
    }

    #[test]
    fn who_is_cut_off_no_longer_talks() {
        let mut talk = Talk::default();
        for _ in 0..5 {
            talk.frame(8000, 3000);
        }
        assert_eq!(talk.stop(), Some(false));
        assert_eq!(talk.stop(), None);
    }
}

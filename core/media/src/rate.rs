//! The sampling rates of audio inside the shard.

use cordboard_model::media::Codec;

/// Samples in a frame of 20 ms at the highest rate.
pub(crate) const LONGEST_FRAME: usize = 960;

/// How often audio is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rate {
    /// 8 kHz.
    Narrow,
    /// 16 kHz.
    Wide,
    /// 48 kHz.
    Full,
}

impl Rate {
    pub(crate) const ALL: [Self; 3] = [Self::Narrow, Self::Wide, Self::Full];

    /// The rate that a codec's audio has.
    pub(crate) const fn of(codec: Codec) -> Self {
        match codec {
            Codec::Pcmu | Codec::Pcma => Self::Narrow,
            Codec::G722 => Self::Wide,
            Codec::Opus => Self::Full,
        }
    }

    /// Samples in 20 ms.
    pub(crate) const fn frame(self) -> usize {
        match self {
            Self::Narrow => 160,
            Self::Wide => 320,
            Self::Full => LONGEST_FRAME,
        }
    }

    /// Samples per second.
    pub(crate) const fn hertz(self) -> u32 {
        self.frame() as u32 * 50
    }
}

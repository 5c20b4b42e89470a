//! Encoding 20 ms for one leg or for all who hear the same. G.722 and Opus have a memory, so who goes from a
//! shared stream to one of its own (because it begins to talk) or back must not be heard to do so: an own
//! encoder starts from what the shared one did last, and the shared stream is joined again only after both
//! encoders had the same audio for a while.

use cordboard_model::media::{AudioFormat, Codec, OpusLimit, OpusStep};

use crate::opus::MAX_FRAME_BYTES;
use crate::rate::{LONGEST_FRAME, Rate};
use crate::{g711, g722, opus};

/// Ticks with the same audio after which two encoders are alike: 500 ms.
const ALIKE: u32 = 25;
/// Ticks of silence after which Opus sends only one of [`SILENCE_EVERY`], as with its DTX.
const SILENCE_AFTER: u32 = 10;
const SILENCE_EVERY: u32 = 20;
/// Frames that a new Opus encoder is fed first.
const RECENT: usize = 3;

/// 20 ms as they travel; empty if there is nothing to send.
#[derive(Debug)]
pub(crate) struct Code {
    bytes: [u8; MAX_FRAME_BYTES],
    len: usize,
}

impl Code {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; MAX_FRAME_BYTES],
            len: 0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Encodes with G.711, which has no memory.
    pub(crate) fn set_g711(&mut self, codec: Codec, frame: &[i16]) {
        let codes = self
            .bytes
            .first_chunk_mut()
            .expect("longer than a frame of G.711");
        g711::encode(codec, frame, codes);
        self.len = g711::FRAME;
    }
}

/// Whether a codec has a memory.
pub(crate) const fn has_memory(codec: Codec) -> bool {
    matches!(codec, Codec::Opus | Codec::G722)
}

/// What those have in common who can share an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    codec: Codec,
    /// Counts for Opus alone.
    limit: OpusLimit,
}

impl Coding {
    /// How many kinds with a memory there are.
    pub(crate) const KINDS: usize = 1 + 2 * OpusStep::ALL.len();

    pub(crate) const fn of(format: &AudioFormat) -> Self {
        Self {
            codec: format.codec,
            limit: format.opus,
        }
    }

    /// Its place among the kinds with a memory.
    pub(crate) const fn place(self) -> usize {
        match self.codec {
            Codec::Opus => 1 + self.limit.step as usize * 2 + self.limit.constant as usize,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 0,
        }
    }
}

#[derive(Debug)]
enum Kind {
    G722(Box<g722::Encoder>),
    Opus(Box<opus::Encoder>),
}

/// An encoder with a memory.
#[derive(Debug)]
struct Encoder {
    kind: Kind,
    coding: Coding,
    /// Ticks for which there was silence.
    silent: u32,
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        let kind = match coding.codec {
            Codec::Opus => Kind::Opus(Box::new(opus::Encoder::new(coding.limit))),
            Codec::G722 | Codec::Pcmu | Codec::Pcma => Kind::G722(Box::new(g722::Encoder::new())),
        };
        Self {
            kind,
            coding,
            silent: 0,
        }
    }

    fn encode(&mut self, frame: Option<&[i16]>, code: &mut Code) {
        self.silent = if frame.is_some() {
            0
        } else {
            self.silent.saturating_add(1)
        };
        let silence = [0; LONGEST_FRAME];
        let frame = frame.unwrap_or(&silence[..Rate::of(self.coding.codec).frame()]);
        let pauses = self.silent > SILENCE_AFTER && !self.silent.is_multiple_of(SILENCE_EVERY);
        code.len = match &mut self.kind {
            Kind::G722(encoder) => {
                encoder.encode(frame, &mut code.bytes[..frame.len() / 2]);
                frame.len() / 2
            }
            Kind::Opus(_) if pauses && !self.coding.limit.constant => 0,
            Kind::Opus(encoder) => encoder.encode(frame, &mut code.bytes),
        };
    }
}

/// What all who only listen in a mix hear, encoded once per tick.
#[derive(Debug)]
pub(crate) struct Shared {
    encoder: Encoder,
    /// The last frames, if a new encoder will need them; oldest first.
    recent: Option<Box<[[i16; LONGEST_FRAME]; RECENT]>>,
    code: Code,
    done: bool,
}

impl Shared {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            encoder: Encoder::new(coding),
            recent: (coding.codec == Codec::Opus).then(|| Box::new([[0; LONGEST_FRAME]; RECENT])),
            code: Code::new(),
            done: false,
        }
    }

    /// A tick is over; says whether anybody listened in it.
    pub(crate) const fn next_tick(&mut self) -> bool {
        std::mem::replace(&mut self.done, false)
    }

    /// The present frame, encoded.
    pub(crate) fn code(&mut self, frame: Option<&[i16]>) -> &Code {
        if !std::mem::replace(&mut self.done, true) {
            self.encoder.encode(frame, &mut self.code);
            if let Some(recent) = &mut self.recent {
                recent.rotate_left(1);
                match frame {
                    Some(frame) => recent[RECENT - 1].copy_from_slice(frame),
                    None => recent[RECENT - 1].fill(0),
                }
            }
        }
        &self.code
    }
}

/// One leg's own stream.
#[derive(Debug)]
pub(crate) struct Own {
    encoder: Encoder,
    code: Code,
    /// Ticks for which it had the same audio as the shared one.
    alike: u32,
}

impl Own {
    /// Starts after silence.
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            encoder: Encoder::new(coding),
            code: Code::new(),
            alike: 0,
        }
    }

    /// Goes on where the shared stream is; before that takes the present frame.
    pub(crate) fn from(shared: &Shared) -> Self {
        let mut own = Self::new(shared.encoder.coding);
        match (&shared.encoder.kind, &shared.recent) {
            (Kind::G722(encoder), _) => own.encoder.kind = Kind::G722(encoder.clone()),
            (Kind::Opus(_), Some(recent)) => {
                for frame in recent.iter() {
                    own.encoder.encode(Some(frame), &mut own.code);
                }
            }
            (Kind::Opus(_), None) => {}
        }
        own
    }

    pub(crate) const fn coding(&self) -> Coding {
        self.encoder.coding
    }

    /// Encodes what only this leg hears.
    pub(crate) fn code(&mut self, frame: Option<&[i16]>) -> &Code {
        self.alike = 0;
        self.encoder.encode(frame, &mut self.code);
        &self.code
    }

    /// Encodes what all hear; says whether the shared stream may be joined from the next tick on.
    pub(crate) fn code_alike(&mut self, frame: Option<&[i16]>) -> (&Code, bool) {
        self.alike += 1;
        self.encoder.encode(frame, &mut self.code);
        (&self.code, self.alike >= ALIKE)
    }
}

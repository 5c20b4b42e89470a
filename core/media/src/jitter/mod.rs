//! The jitter buffer of one leg: packets go in when they come, frames of `F` samples come out every 20 ms.
//!
//! Samples are kept by their RTP timestamp, so packets of any length, order or overlap fit. A cursor moves
//! through them one frame per tick. How much earlier than its turn each packet came is its slack; the
//! smallest slack of the last seconds decides whether the cursor is held back (audio is stretched by
//! whole periods of its pitch) or pushed on (periods are left out). A sender whose clock is fast or slow
//! shows as slack that grows or falls, and is followed by the same means.
//!
//! Codecs with a memory must be decoded in order, so their packets wait as they came and are decoded just
//! before their turn.

mod conceal;
mod pending;
mod slack;
mod splice;

use conceal::Conceal;
use cordboard_model::Time;
pub(crate) use pending::Decode;
use pending::Pending;
use slack::Slack;

/// No sample here; what is decoded to this level is stored one step above.
const HOLE: i16 = i16::MIN;
/// Longest packet that is taken, in frames: 200 ms.
pub(crate) const LONGEST_PACKET: usize = 10;
/// Ticks between two shortenings, unless there is far too much.
const SHRINK_EVERY: u32 = 10;
/// Frames without a sample after which the sender has paused.
const PAUSE: u32 = 4;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It will be heard.
    Stored,
    /// Its turn was over.
    Late,
    /// More came than fits into the delay; what waited longest was left out.
    Overflow,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct JitterBuffer<const F: usize> {
    ring: Box<[i16]>,
    /// The timestamp of the next sample to play.
    cursor: u32,
    /// One past the newest sample.
    end: u32,
    /// One past the newest sample that was played.
    played: u32,
    playing: bool,
    empty_frames: u32,
    /// What the delay was when audio last began.
    first_delay: i32,
    slack: Slack,
    since_shrink: u32,
    conceal: Conceal<F>,
    /// Packets that are still to be decoded.
    pending: Pending,
    /// First timestamps and arrivals of packets of which nothing was played yet.
    waiting: Vec<(u32, Time)>,
}

impl<const F: usize> JitterBuffer<F> {
    const FRAME: i32 = F as i32;
    /// Samples that the ring holds: at least 512 ms; a power of two, so that places do not jump where
    /// timestamps wrap.
    const RING: usize = (F * 25).next_power_of_two();
    /// Playout delay at the start: 40 ms.
    const FIRST_DELAY: i32 = 2 * Self::FRAME;
    /// Playout delay at most: 200 ms.
    const MAX_DELAY: i32 = 10 * Self::FRAME;
    /// Least slack that is aimed at: 4 ms.
    const LOW: i32 = Self::FRAME / 5;
    /// More slack than is needed: 50 ms.
    const HIGH: i32 = Self::FRAME * 5 / 2;
    /// Slack that is far too much: 80 ms.
    const FAR_TOO_HIGH: i32 = 4 * Self::FRAME;
    /// A packet this far from the cursor belongs to another time line: 280 ms.
    const JUMP: i32 = Self::MAX_DELAY + 4 * Self::FRAME;

    pub(crate) fn new() -> Self {
        Self {
            ring: vec![HOLE; Self::RING].into_boxed_slice(),
            cursor: 0,
            end: 0,
            played: 0,
            playing: false,
            empty_frames: 0,
            first_delay: Self::FIRST_DELAY,
            slack: Slack::new(),
            since_shrink: 0,
            conceal: Conceal::default(),
            pending: Pending::default(),
            waiting: Vec::with_capacity(64),
        }
    }

    /// Forgets all audio; the delay that the network needed is kept.
    pub(crate) fn reset(&mut self) {
        if self.playing {
            self.ring.fill(HOLE);
            if let (Some(least), Some(greatest)) = (self.slack.least(), self.slack.greatest()) {
                self.first_delay = (greatest - least + Self::LOW).clamp(Self::FIRST_DELAY, Self::MAX_DELAY);
            }
        }
        self.playing = false;
        self.conceal = Conceal::default();
        self.pending.clear();
        self.waiting.clear();
    }

    /// Puts a packet's samples (at most [`LONGEST_PACKET`] frames) in.
    ///
    /// `ahead` is how many samples before the next tick the packet came (negative: after it), `newest`
    /// whether no later packet came before it.
    pub(crate) fn put(
        &mut self,
        timestamp: u32,
        samples: &[i16],
        ahead: i32,
        newest: bool,
        stamp: Time,
    ) -> Put {
        let put = self.admit(timestamp, samples.len() as i32, ahead, newest, stamp);
        if put != Put::Late {
            self.store(timestamp, samples);
        }
        put
    }

    /// Puts a packet in that is to be decoded, to `len` samples, when its turn comes.
    pub(crate) fn put_coded(
        &mut self,
        timestamp: u32,
        (packet, len): (&[u8], usize),
        ahead: i32,
        newest: bool,
        stamp: Time,
    ) -> Put {
        let put = self.admit(timestamp, len as i32, ahead, newest, stamp);
        if put == Put::Late || self.pending.insert(timestamp, len as u32, packet) {
            put
        } else {
            Put::Overflow
        }
    }

    /// Makes room for a packet on the time line.
    fn admit(&mut self, timestamp: u32, len: i32, ahead: i32, newest: bool, stamp: Time) -> Put {
        let ahead = ahead.clamp(-Self::JUMP, Self::JUMP);
        if !self.playing {
            self.start(timestamp, ahead);
        }
        let mut put = Put::Stored;
        let mut offset = distance(self.cursor, timestamp);
        if offset > Self::JUMP || (offset < -Self::JUMP && newest) {
            // Another time line, or a pause during which the sender's clock went on; unless audio waits.
            if distance(self.cursor, self.end) > 0 && offset.unsigned_abs() < Self::RING as u32 {
                put = Put::Overflow;
            }
            self.ring.fill(HOLE);
            self.pending.clear();
            self.waiting.clear();
            self.start(timestamp, ahead);
            offset = distance(self.cursor, timestamp);
        }
        if offset < -Self::JUMP {
            return Put::Late;
        }
        if offset + len <= 0 && self.step_back(timestamp, offset) {
            offset = 0;
        }
        self.note_slack(Self::due(offset) + ahead);
        if offset + len <= 0 {
            return Put::Late;
        }
        let end = timestamp.wrapping_add(len as u32);
        if distance(self.end, end) > 0 {
            self.end = end;
        }
        if self.waiting.len() < self.waiting.capacity() {
            self.waiting.push((timestamp, stamp));
        }
        put
    }

    /// Takes the next frame; arrivals of packets that it holds the first samples of are added to
    /// `arrivals`. Returns `false`, and leaves the frame alone, while there is nothing to hear. `decoder` is
    /// for packets that were put in as they came.
    pub(crate) fn take(
        &mut self,
        frame: &mut [i16; F],
        decoder: Option<&mut dyn Decode>,
        arrivals: &mut Vec<Time>,
    ) -> bool {
        if !self.playing {
            return false;
        }
        self.slack.tick();
        if distance(self.cursor, self.end) <= 0 {
            self.empty_frames += 1;
            if self.empty_frames > PAUSE {
                self.reset();
                return false;
            }
        } else {
            self.empty_frames = 0;
        }
        if let Some(decoder) = decoder {
            self.decode_due(decoder);
        }
        let mut ahead = [[HOLE; F]; 2];
        let ahead = ahead.as_flattened_mut();
        self.look(ahead);
        let used = self.play(ahead, frame);
        self.advance(&ahead[..used], arrivals);
        true
    }

    /// Fills the frame from the samples at the cursor and says how many of them that used up.
    fn play(&mut self, ahead: &[i16], frame: &mut [i16; F]) -> usize {
        let (now, next) = ahead.split_at(F);
        let least = self.slack.least().unwrap_or(Self::LOW);
        let grow = self.wants_delay();
        self.since_shrink += 1;
        if grow && now[0] == HOLE && distance(self.cursor, self.end) > 0 {
            // A packet is missing here and others come late: give it a second chance.
            self.conceal.fill(&[HOLE; F], frame);
            self.slack.shift(Self::FRAME);
            return 0;
        }
        if now.contains(&HOLE) || !self.conceal.idle() {
            self.conceal.fill(now, frame);
            return F;
        }
        let every = if least > Self::FAR_TOO_HIGH {
            2
        } else {
            SHRINK_EVERY
        };
        let used = if grow {
            let lag = splice::lengthen(now, frame);
            self.slack.shift(lag as i32);
            F - lag
        } else if least > Self::HIGH
            && self.slack.settled()
            && self.since_shrink >= every
            && !next.contains(&HOLE)
        {
            self.since_shrink = 0;
            let lag = splice::shorten(ahead, frame);
            self.slack.shift(-(lag as i32));
            F + lag
        } else {
            frame.copy_from_slice(now);
            F
        };
        self.conceal.remember(frame);
        used
    }

    /// Moves the cursor past `used` samples, clears them and reports what was heard for the first time.
    fn advance(&mut self, used: &[i16], arrivals: &mut Vec<Time>) {
        if let Some(last) = used.iter().rposition(|sample| *sample != HOLE) {
            self.played = self.cursor.wrapping_add(last as u32 + 1);
        }
        let first = Self::slot(self.cursor);
        let run = (Self::RING - first).min(used.len());
        self.ring[first..first + run].fill(HOLE);
        self.ring[..used.len() - run].fill(HOLE);
        self.cursor = self.cursor.wrapping_add(used.len() as u32);
        let mut at = 0;
        while let Some((timestamp, stamp)) = self.waiting.get(at).copied() {
            if distance(timestamp, self.cursor) > 0 {
                arrivals.push(stamp);
                self.waiting.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn look(&self, ahead: &mut [i16]) {
        let first = Self::slot(self.cursor);
        let run = (Self::RING - first).min(2 * F);
        ahead[..run].copy_from_slice(&self.ring[first..first + run]);
        ahead[run..].copy_from_slice(&self.ring[..2 * F - run]);
    }

    /// Writes samples; what is before the cursor is left out.
    fn store(&mut self, timestamp: u32, samples: &[i16]) {
        let offset = distance(self.cursor, timestamp);
        let samples = samples.get((-offset).max(0) as usize..).unwrap_or_default();
        let first = Self::slot(self.cursor.wrapping_add(offset.max(0) as u32));
        let run = (Self::RING - first).min(samples.len());
        self.ring[first..first + run].copy_from_slice(&samples[..run]);
        self.ring[..samples.len() - run].copy_from_slice(&samples[run..]);
    }

    /// Decodes what is needed for the present frame and, unless something is missing, for the next one.
    fn decode_due(&mut self, decoder: &mut dyn Decode) {
        let now = self.cursor.wrapping_add(F as u32);
        // While the delay grows, what is missing gets a second chance.
        let missing = if self.wants_delay() { self.cursor } else { now };
        let until = now.wrapping_add(F as u32);
        let mut pending = std::mem::take(&mut self.pending);
        pending.decode(missing, until, decoder, |timestamp, samples| {
            if let Some(offset) = samples.iter().position(|sample| *sample == HOLE) {
                samples[offset..]
                    .iter_mut()
                    .for_each(|sample| *sample = (*sample).max(HOLE + 1));
            }
            self.store(timestamp, samples);
        });
        self.pending = pending;
    }

    /// Whether packets come so late that the delay should grow, and may.
    fn wants_delay(&self) -> bool {
        self.slack.least().unwrap_or(Self::LOW) < Self::LOW && self.delay() < Self::MAX_DELAY
    }

    /// Sets the cursor so that a packet that came `ahead` of the next tick is played after about the delay,
    /// at the beginning of a frame.
    fn start(&mut self, timestamp: u32, ahead: i32) {
        let frame = Self::FRAME;
        let offset = (self.first_delay - ahead + frame / 2).clamp(0, Self::MAX_DELAY) / frame * frame;
        self.cursor = timestamp.wrapping_sub(offset as u32);
        self.end = timestamp;
        self.played = self.cursor;
        self.playing = true;
        self.empty_frames = 0;
        self.slack = Slack::new();
    }

    /// A packet whose turn is over: if nothing after it was played, the cursor goes back to it and the
    /// delay is longer from then on.
    fn step_back(&mut self, timestamp: u32, offset: i32) -> bool {
        let overtaken = distance(self.played, timestamp) < 0;
        if overtaken || self.delay() - offset > Self::MAX_DELAY || distance(timestamp, self.end) > Self::JUMP
        {
            return false;
        }
        self.cursor = timestamp;
        self.slack.shift(-offset);
        true
    }

    /// How long the quickest packets wait, in samples.
    fn delay(&self) -> i32 {
        self.slack.greatest().unwrap_or(self.first_delay)
    }

    fn note_slack(&mut self, slack: i32) {
        // What no delay could save says nothing about the delay.
        if slack >= self.delay() - Self::MAX_DELAY {
            self.slack.note(slack);
        }
    }

    /// When the sample that is `offset` after the cursor is taken: samples from the next tick to the one
    /// whose frame holds it.
    const fn due(offset: i32) -> i32 {
        offset.div_euclid(Self::FRAME) * Self::FRAME
    }

    const fn slot(timestamp: u32) -> usize {
        timestamp as usize % Self::RING
    }
}

/// How far `to` is after `from`.
const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

//! The jitter buffer of one leg: packets go in when they come, frames come out every 20 ms.
//!
//! Samples are kept by their RTP timestamp, so packets of any length, order or overlap fit. A cursor moves
//! through them one frame per tick. How much earlier than its turn each packet came is its slack; the
//! smallest slack of the last seconds decides whether the cursor is held back (audio is stretched by
//! whole periods of its pitch) or pushed on (periods are left out). A sender whose clock is fast or slow
//! shows as slack that grows or falls, and is followed by the same means.

mod conceal;
mod slack;
mod splice;

use conceal::Conceal;
use cordboard_model::Time;
use slack::Slack;

use crate::sound::{FRAME, Frame};

/// Samples that the ring holds: 512 ms.
const RING: usize = 4096;
/// No sample here; neither law has this level.
const HOLE: i16 = i16::MIN;
/// Longest packet that is taken, in samples: 200 ms.
pub(crate) const MAX_PACKET: usize = 1600;
/// Playout delay at the start: 40 ms.
const FIRST_DELAY: i32 = 320;
/// Playout delay at most: 200 ms.
const MAX_DELAY: i32 = 1600;
/// Least slack that is aimed at: 4 ms.
const LOW: i32 = 32;
/// More slack than is needed: 50 ms.
const HIGH: i32 = 400;
/// Slack that is far too much: 80 ms.
const FAR_TOO_HIGH: i32 = 640;
/// Ticks between two shortenings, unless there is far too much.
const SHRINK_EVERY: u32 = 10;
/// Frames without a sample after which the sender has paused.
const PAUSE: u32 = 4;
/// A packet this far from the cursor belongs to another time line.
const JUMP: i32 = MAX_DELAY + 640;

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
pub(crate) struct JitterBuffer {
    ring: Box<[i16; RING]>,
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
    conceal: Conceal,
    /// First timestamps and arrivals of packets of which nothing was played yet.
    waiting: Vec<(u32, Time)>,
}

impl JitterBuffer {
    pub(crate) fn new() -> Self {
        Self {
            ring: Box::new([HOLE; RING]),
            cursor: 0,
            end: 0,
            played: 0,
            playing: false,
            empty_frames: 0,
            first_delay: FIRST_DELAY,
            slack: Slack::new(),
            since_shrink: 0,
            conceal: Conceal::default(),
            waiting: Vec::with_capacity(64),
        }
    }

    /// Forgets all audio; the delay that the network needed is kept.
    pub(crate) fn reset(&mut self) {
        if self.playing {
            self.ring.fill(HOLE);
            if let (Some(least), Some(greatest)) = (self.slack.least(), self.slack.greatest()) {
                self.first_delay = (greatest - least + LOW).clamp(FIRST_DELAY, MAX_DELAY);
            }
        }
        self.playing = false;
        self.conceal = Conceal::default();
        self.waiting.clear();
    }

    /// Puts a packet's samples (at most [`MAX_PACKET`]) in.
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
        let len = samples.len() as i32;
        let ahead = ahead.clamp(-JUMP, JUMP);
        if !self.playing {
            self.start(timestamp, ahead);
        }
        let mut put = Put::Stored;
        let mut offset = distance(self.cursor, timestamp);
        if offset > JUMP || (offset < -JUMP && newest) {
            // Another time line, or a pause during which the sender's clock went on; unless audio waits.
            if distance(self.cursor, self.end) > 0 && offset.unsigned_abs() < RING as u32 {
                put = Put::Overflow;
            }
            self.ring.fill(HOLE);
            self.waiting.clear();
            self.start(timestamp, ahead);
            offset = distance(self.cursor, timestamp);
        }
        if offset < -JUMP {
            return Put::Late;
        }
        if offset + len <= 0 && self.step_back(timestamp, offset) {
            offset = 0;
        }
        self.note_slack(due(offset) + ahead);
        if offset + len <= 0 {
            return Put::Late;
        }
        self.store(offset, samples);
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
    /// `arrivals`. Returns `false`, and leaves the frame alone, while there is nothing to hear.
    pub(crate) fn take(&mut self, frame: &mut Frame, arrivals: &mut Vec<Time>) -> bool {
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
        let mut ahead = [HOLE; 2 * FRAME];
        self.look(&mut ahead);
        let used = self.play(&ahead, frame);
        self.advance(&ahead[..used], arrivals);
        true
    }

    /// Fills the frame from the samples at the cursor and says how many of them that used up.
    fn play(&mut self, ahead: &[i16; 2 * FRAME], frame: &mut Frame) -> usize {
        let (now, next) = ahead.split_at(FRAME);
        let least = self.slack.least().unwrap_or(LOW);
        let grow = least < LOW && self.delay() < MAX_DELAY;
        self.since_shrink += 1;
        if grow && now[0] == HOLE && distance(self.cursor, self.end) > 0 {
            // A packet is missing here and others come late: give it a second chance.
            self.conceal.fill(&[HOLE; FRAME], frame);
            self.slack.shift(FRAME as i32);
            return 0;
        }
        if now.contains(&HOLE) || !self.conceal.idle() {
            self.conceal.fill(now, frame);
            return FRAME;
        }
        let every = if least > FAR_TOO_HIGH { 2 } else { SHRINK_EVERY };
        let used = if grow {
            let lag = splice::lengthen(now, frame);
            self.slack.shift(lag as i32);
            FRAME - lag
        } else if least > HIGH && self.slack.settled() && self.since_shrink >= every && !next.contains(&HOLE)
        {
            self.since_shrink = 0;
            let lag = splice::shorten(ahead, frame);
            self.slack.shift(-(lag as i32));
            FRAME + lag
        } else {
            frame.copy_from_slice(now);
            FRAME
        };
        self.conceal.remember(frame);
        used
    }

    /// Moves the cursor past `used` samples, clears them and reports what was heard for the first time.
    fn advance(&mut self, used: &[i16], arrivals: &mut Vec<Time>) {
        if let Some(last) = used.iter().rposition(|sample| *sample != HOLE) {
            self.played = self.cursor.wrapping_add(last as u32 + 1);
        }
        let first = slot(self.cursor);
        let run = (RING - first).min(used.len());
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

    fn look(&self, ahead: &mut [i16; 2 * FRAME]) {
        let first = slot(self.cursor);
        let run = (RING - first).min(2 * FRAME);
        ahead[..run].copy_from_slice(&self.ring[first..first + run]);
        ahead[run..].copy_from_slice(&self.ring[..2 * FRAME - run]);
    }

    /// Writes samples that begin `offset` after the cursor; what is before it is left out.
    fn store(&mut self, offset: i32, samples: &[i16]) {
        let samples = &samples[(-offset).max(0) as usize..];
        let first = slot(self.cursor.wrapping_add(offset.max(0) as u32));
        let run = (RING - first).min(samples.len());
        self.ring[first..first + run].copy_from_slice(&samples[..run]);
        self.ring[..samples.len() - run].copy_from_slice(&samples[run..]);
    }

    /// Sets the cursor so that a packet that came `ahead` of the next tick is played after about the delay,
    /// at the beginning of a frame.
    fn start(&mut self, timestamp: u32, ahead: i32) {
        let frame = FRAME as i32;
        let offset = (self.first_delay - ahead + frame / 2).clamp(0, MAX_DELAY) / frame * frame;
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
        if overtaken || self.delay() - offset > MAX_DELAY || distance(timestamp, self.end) > JUMP {
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
        if slack >= self.delay() - MAX_DELAY {
            self.slack.note(slack);
        }
    }
}

/// When the sample that is `offset` after the cursor is taken: samples from the next tick to the one whose
/// frame holds it.
const fn due(offset: i32) -> i32 {
    offset.div_euclid(FRAME as i32) * FRAME as i32
}

const fn slot(timestamp: u32) -> usize {
    timestamp as usize % RING
}

/// How far `to` is after `from`.
const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

//! A mix: legs that hear each other, and one frame of it with the work that its listeners share.
//!
//! Audio is added up at each rate that someone listens at; a voice of another rate is changed at its leg's
//! border. So who hears G.711 from G.711 hears it unchanged, and what a leg said itself is taken out exactly.

use cordboard_model::media::Codec;
use slab::Slab;

use crate::code::{Code, Coding, Own, Shared};
use crate::leg::Leg;
use crate::rate::{LONGEST_FRAME, Rate};
use crate::sound::{self, Pass};
use crate::voice::Voice;

/// The end of a leg that has left.
#[derive(Debug)]
struct Tail {
    voice: Voice,
    /// It was forwarded to those who hear single speakers.
    apart: bool,
    /// The frame was heard, and only what the filters still hold is to come.
    heard: bool,
}

/// The legs of a mix.
#[derive(Debug, Default)]
pub(crate) struct Mix {
    /// Keys of legs.
    pub(crate) members: Vec<usize>,
    tails: Vec<Tail>,
    /// What all who only listen hear, by each coding with a memory; then the same for those who hear single speakers
    /// beside it.
    shared: [Option<Box<Shared>>; 2 * Coding::KINDS],
}

impl Mix {
    /// The fading end of a leg's audio, heard in the next frame.
    pub(crate) fn leave_tail(&mut self, voice: Voice, apart: bool) {
        self.tails.push(Tail {
            voice,
            apart,
            heard: false,
        });
    }

    /// Adds up what the members say, unless nobody but themselves would hear it: for those who hear all of them, and
    /// `apart` what is not forwarded, for those who hear single speakers.
    pub(crate) fn add_up(&mut self, legs: &mut Slab<Leg>, round: &mut Round, apart: &mut Round) {
        let mut hearers = [0; 2];
        let mut wanted = [[false; 3]; 2];
        for key in &self.members {
            let leg = &legs[*key];
            if leg.hears != Pass::Closed {
                hearers[usize::from(leg.hears_apart)] += 1;
                wanted[usize::from(leg.hears_apart)][leg.rate as usize] = true;
            }
        }
        round.clear(wanted[0]);
        apart.clear(wanted[1]);
        for key in &self.members {
            let leg = &mut legs[*key];
            let hears = leg.hears != Pass::Closed;
            let in_all = leg.speaks && hearers[0] > usize::from(hears && !leg.hears_apart);
            let in_rest =
                leg.speaks && !leg.sends_apart && hearers[1] > usize::from(hears && leg.hears_apart);
            leg.speaks = if leg.hears_apart { in_rest } else { in_all };
            if in_all || in_rest {
                leg.voice.spread(either(wanted, [in_all, in_rest]));
            } else {
                leg.voice.rest();
            }
            if in_all {
                round.add(&leg.voice);
            }
            if in_rest {
                apart.add(&leg.voice);
            }
        }
        self.tails.retain_mut(|tail| {
            let heard = [hearers[0] > 0, hearers[1] > 0 && !tail.apart];
            if heard == [false; 2] {
                return false;
            }
            if tail.heard {
                tail.voice.own().fill(0);
            }
            tail.voice.spread(either(wanted, heard));
            if heard[0] {
                round.add(&tail.voice);
            }
            if heard[1] {
                apart.add(&tail.voice);
            }
            !std::mem::replace(&mut tail.heard, true) && tail.voice.rings()
        });
    }

    /// The shared stream of a coding that has a memory.
    pub(crate) fn shared(&mut self, coding: Coding, apart: bool) -> &mut Shared {
        self.shared[stream(coding, apart)].get_or_insert_with(|| Box::new(Shared::new(coding)))
    }

    /// An own stream for a leg that went along with the shared one.
    pub(crate) fn part(&self, coding: Coding, apart: bool) -> Option<Own> {
        let shared = self.shared[stream(coding, apart)].as_ref()?;
        Some(Own::from(shared))
    }

    /// A tick is over: shared streams that nobody heard end.
    pub(crate) fn end_tick(&mut self) {
        for shared in &mut self.shared {
            if shared.as_mut().is_some_and(|shared| !shared.next_tick()) {
                *shared = None;
            }
        }
    }
}

/// Which of the shared streams is meant.
const fn stream(coding: Coding, apart: bool) -> usize {
    coding.place() + Coding::KINDS * apart as usize
}

/// The rates that are wanted by any of those who are `meant`.
fn either(wanted: [[bool; 3]; 2], meant: [bool; 2]) -> [bool; 3] {
    std::array::from_fn(|rate| meant[0] && wanted[0][rate] || meant[1] && wanted[1][rate])
}

/// One frame of a mix at one rate.
#[derive(Debug)]
struct Level {
    wanted: bool,
    sum: [i32; LONGEST_FRAME],
    /// The sum, limited, once someone needs it.
    frame: [i16; LONGEST_FRAME],
    limited: bool,
}

/// One frame of a mix.
#[derive(Debug)]
pub(crate) struct Round {
    speakers: usize,
    levels: [Level; 3],
    /// What all who only listen hear, in G.711, once someone needs it.
    mu_law: Option<Code>,
    a_law: Option<Code>,
    /// A frame for one leg alone.
    own: [i16; LONGEST_FRAME],
}

impl Round {
    pub(crate) const fn new() -> Self {
        Self {
            speakers: 0,
            levels: [const {
                Level {
                    wanted: false,
                    sum: [0; LONGEST_FRAME],
                    frame: [0; LONGEST_FRAME],
                    limited: false,
                }
            }; 3],
            mu_law: None,
            a_law: None,
            own: [0; LONGEST_FRAME],
        }
    }

    /// Whether anything was added up.
    pub(crate) const fn is_silent(&self) -> bool {
        self.speakers == 0
    }

    fn clear(&mut self, wanted: [bool; 3]) {
        for ((level, rate), wanted) in self.levels.iter_mut().zip(Rate::ALL).zip(wanted) {
            if level.wanted && self.speakers > 0 {
                level.sum[..rate.frame()].fill(0);
            }
            (level.wanted, level.limited) = (wanted, false);
        }
        self.speakers = 0;
        (self.mu_law, self.a_law) = (None, None);
    }

    fn add(&mut self, voice: &Voice) {
        self.speakers += 1;
        for (level, rate) in self.levels.iter_mut().zip(Rate::ALL) {
            if level.wanted {
                sound::add(&mut level.sum[..rate.frame()], voice.at(rate));
            }
        }
    }

    /// Whether a leg hears exactly what all who only listen hear.
    pub(crate) fn is_common_to(&self, leg: &Leg) -> bool {
        leg.hears == Pass::Open && !leg.speaks
    }

    /// What all who only listen hear. `None` is silence.
    pub(crate) fn common(&mut self, rate: Rate) -> Option<&[i16]> {
        if self.speakers == 0 {
            return None;
        }
        let level = &mut self.levels[rate as usize];
        let (sum, frame) = (&level.sum[..rate.frame()], &mut level.frame[..rate.frame()]);
        if !std::mem::replace(&mut level.limited, true) {
            sound::limit(sum, frame);
        }
        Some(frame)
    }

    /// What a leg hears: everything but itself. `None` is silence.
    pub(crate) fn heard_by(&mut self, leg: &Leg) -> Option<&mut [i16]> {
        let rate = leg.rate;
        let others = self.speakers - usize::from(leg.speaks && self.speakers > 0);
        if leg.hears == Pass::Closed || others == 0 {
            return None;
        }
        let frame = &mut self.own[..rate.frame()];
        let sum = &self.levels[rate as usize].sum[..rate.frame()];
        if leg.speaks {
            sound::limit_without(sum, leg.voice.at(rate), frame);
        } else {
            sound::limit(sum, frame);
        }
        leg.hears.shape(frame);
        Some(frame)
    }

    /// What all who only listen hear, in G.711. `None` is silence.
    pub(crate) fn common_g711(&mut self, codec: Codec) -> Option<&Code> {
        let a_law = codec == Codec::Pcma;
        let kept = if a_law { &self.a_law } else { &self.mu_law };
        if kept.is_none() {
            let mut code = Code::new();
            code.set_g711(codec, self.common(Rate::Narrow)?);
            *(if a_law { &mut self.a_law } else { &mut self.mu_law }) = Some(code);
        }
        if a_law {
            self.a_law.as_ref()
        } else {
            self.mu_law.as_ref()
        }
    }
}

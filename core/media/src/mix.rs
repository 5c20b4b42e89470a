//! A mix: legs that hear each other, and one frame of it with the work that its listeners share.

use cordboard_model::media::Codec;
use slab::Slab;

use crate::g711;
use crate::leg::Leg;
use crate::sound::{self, FRAME, Frame, Pass, Sum};

/// The legs of a mix.
#[derive(Debug, Default)]
pub(crate) struct Mix {
    /// Keys of legs.
    pub(crate) members: Vec<usize>,
    /// The fading end of legs that have left.
    tail: Option<Box<Frame>>,
}

impl Mix {
    /// The end of a leg's audio, heard in the next frame.
    pub(crate) fn leave_tail(&mut self, frame: &Frame) {
        match &mut self.tail {
            Some(tail) => {
                for (sample, more) in tail.iter_mut().zip(frame) {
                    *sample = sample.saturating_add(*more);
                }
            }
            None => self.tail = Some(Box::new(*frame)),
        }
    }

    /// Adds up what the members say, unless nobody but themselves would hear it.
    pub(crate) fn add_up(&mut self, legs: &Slab<Leg>, round: &mut Round) {
        round.clear();
        let tail = self.tail.take();
        let hearers = self
            .members
            .iter()
            .filter(|key| legs[**key].hears != Pass::Closed)
            .count();
        for key in &self.members {
            let leg = &legs[*key];
            let others = hearers - usize::from(leg.hears != Pass::Closed);
            if leg.speaks && others > 0 {
                round.speakers += 1;
                sound::add(&mut round.sum, &leg.frame);
            }
        }
        if let Some(tail) = tail.filter(|_| hearers > 0) {
            round.speakers += 1;
            sound::add(&mut round.sum, &tail);
        }
    }
}

/// One frame of a mix.
#[derive(Debug)]
pub(crate) struct Round {
    speakers: usize,
    sum: Sum,
    /// The sum, limited, once someone needs it.
    frame: Option<Frame>,
    /// The same, encoded, once someone needs it.
    mu_law: Option<[u8; FRAME]>,
    a_law: Option<[u8; FRAME]>,
    /// A frame for one leg alone.
    own: [u8; FRAME],
}

impl Round {
    pub(crate) const fn new() -> Self {
        Self {
            speakers: 0,
            sum: [0; FRAME],
            frame: None,
            mu_law: None,
            a_law: None,
            own: [0; FRAME],
        }
    }

    /// Whether anything was added up.
    pub(crate) const fn is_silent(&self) -> bool {
        self.speakers == 0
    }

    fn clear(&mut self) {
        if self.speakers > 0 {
            self.sum.fill(0);
        }
        self.speakers = 0;
        (self.frame, self.mu_law, self.a_law) = (None, None, None);
    }

    /// What a leg hears: everything but itself. `None` is silence.
    pub(crate) fn heard_by(&mut self, leg: &Leg, codec: Codec) -> Option<&[u8; FRAME]> {
        let others = self.speakers - usize::from(leg.speaks && self.speakers > 0);
        if leg.hears == Pass::Closed || others == 0 {
            return None;
        }
        if leg.hears == Pass::Open && !leg.speaks {
            return Some(self.shared(codec));
        }
        let mut frame = [0; FRAME];
        if leg.speaks {
            sound::limit_without(&self.sum, &leg.frame, &mut frame);
        } else {
            frame = *self.limited();
        }
        leg.hears.shape(&mut frame);
        g711::encode(codec, &frame, &mut self.own);
        Some(&self.own)
    }

    fn limited(&mut self) -> &Frame {
        let sum = &self.sum;
        self.frame.get_or_insert_with(|| {
            let mut frame = [0; FRAME];
            sound::limit(sum, &mut frame);
            frame
        })
    }

    fn shared(&mut self, codec: Codec) -> &[u8; FRAME] {
        let frame = *self.limited();
        let codes = match codec {
            Codec::Pcmu => &mut self.mu_law,
            Codec::Pcma => &mut self.a_law,
        };
        codes.get_or_insert_with(|| {
            let mut codes = [0; FRAME];
            g711::encode(codec, &frame, &mut codes);
            codes
        })
    }
}

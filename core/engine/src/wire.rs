//! What every part of the engine acts through: the outputs, the timers, the counts, the time and chance.

use std::collections::VecDeque;

use bytes::Bytes;
use cordboard_model::Time;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::counts::Counts;
use crate::io::{Flow, Output, Packet};
use crate::sip::write::Short;
use crate::timer::Timers;

/// The engine's hands.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) out: VecDeque<Output>,
    pub(crate) timers: Timers,
    pub(crate) counts: Counts,
    pub(crate) now: Time,
    random: ChaCha12Rng,
}

impl Wire {
    pub(crate) fn new(seed: [u8; 32], now: Time) -> Self {
        Self {
            out: VecDeque::new(),
            timers: Timers::default(),
            counts: Counts::default(),
            now,
            random: ChaCha12Rng::from_seed(seed),
        }
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    pub(crate) fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// A random token for a tag or a Call-ID.
    pub(crate) fn token(&mut self) -> String {
        self.short_token().as_str().to_owned()
    }

    /// The same for what is written at once and not kept.
    pub(crate) fn short_token(&mut self) -> Short {
        Short::new().hexadecimal(self.random(), 16)
    }

    pub(crate) fn send(&mut self, flow: Flow, packet: Packet) {
        self.out.push_back(Output::Send { flow, packet });
    }
}

impl Packet {
    /// A message in one part.
    pub const fn whole(bytes: Bytes) -> Self {
        Self {
            head: bytes,
            tail: Bytes::new(),
        }
    }

    /// Its length in bytes.
    pub const fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

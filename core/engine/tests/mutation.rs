//! Mutated messages: nothing panics, and what is let in at the door is sound enough to be answered.
//!
//! The short run makes 100,000 of them; `CORDBOARD_MUTATIONS` says how many instead. The seed is fixed, so a
//! failure comes again; the message that failed is shown.

mod corpus;
mod harm;

use std::panic::{AssertUnwindSafe, catch_unwind};

use corpus::SAMPLES;
use harm::digest;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

const SHORT_RUN: usize = 100_000;

/// What faults are often made of.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\r\n ",
    "\r\n\r\n",
    " ",
    "\t",
    ",",
    ";",
    ";;",
    ":",
    "\"",
    "\\",
    "<",
    ">",
    "@",
    "%",
    "%00",
    "%zz",
    "[",
    "]",
    "[::1]",
    "=",
    "?",
    "*",
    "-1",
    "0",
    "65536",
    "2147483648",
    "4294967296",
    "99999999999999999999",
    "SIP/2.0",
    "sip:",
    "Via: ",
    "l: 0\r\n",
    "Content-Length: 5\r\n",
    "\r\nTo: <sip:x@y>",
    ";tag=",
    ";branch=z9hG4bK",
    ";rport",
    ";lr",
    "ä",
    "☃",
    "v=0\r\n",
    "m=audio 1 RTP/AVP 0\r\n",
];

struct Mutator {
    random: ChaCha12Rng,
    /// The samples that are let in as they are; most mutants descend from them, for they go deepest.
    good: Vec<&'static [u8]>,
}

impl Mutator {
    fn below(&mut self, end: usize) -> usize {
        self.random.next_u32() as usize % end.max(1)
    }

    fn sample(&mut self) -> &'static [u8] {
        SAMPLES[self.below(SAMPLES.len())].1
    }

    fn message(&mut self) -> Vec<u8> {
        let place = self.below(self.good.len());
        let mut bytes = if self.below(4) == 0 {
            self.sample().to_vec()
        } else {
            self.good[place].to_vec()
        };
        for _ in 0..=self.below(3) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(24)).min(bytes.len());
        match self.below(29) {
            0..4 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            4..8 if at < bytes.len() => bytes[at] = self.random.next_u32().to_le_bytes()[0],
            8..12 => drop(bytes.drain(at..end)),
            12..16 => {
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            16..24 => {
                let piece = PIECES[self.below(PIECES.len())].as_bytes();
                bytes.splice(at..at, piece.iter().copied());
            }
            24..28 => {
                let other = self.sample();
                let from = self.below(other.len());
                let until = (from + self.below(200)).min(other.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn mutated_messages_do_no_harm() {
    #[allow(clippy::disallowed_methods)] // The tests are told from outside how long to run.
    let wanted = std::env::var("CORDBOARD_MUTATIONS")
        .ok()
        .map_or(SHORT_RUN, |text| text.parse().expect("a number"));
    let good = SAMPLES
        .iter()
        .map(|(_, bytes)| *bytes)
        .filter(|bytes| digest(bytes).1)
        .collect();
    let mut mutator = Mutator {
        random: ChaCha12Rng::seed_from_u64(0xC04D_B0A4),
        good,
    };
    let (mut read, mut let_in) = (0, 0);
    for turn in 0..wanted {
        let bytes = mutator.message();
        match catch_unwind(AssertUnwindSafe(|| digest(&bytes))) {
            Ok((was_read, was_let_in)) => {
                read += usize::from(was_read);
                let_in += usize::from(was_let_in);
            }
            Err(_) => panic!("mutation {turn} did harm: {}", bytes.escape_ascii()),
        }
    }
    println!("{wanted} mutations, {read} read, {let_in} let in");
    assert!(
        read > wanted / 2 && let_in > wanted / 10,
        "the mutations have become too coarse: {read} read, {let_in} let in"
    );
}

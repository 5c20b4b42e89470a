//! Keys that we press towards a peer: RFC 4733 events, or tones (ITU-T Q.23) for peers that take none.

use std::collections::VecDeque;

use crate::rate::Rate;

/// Keys that wait at most.
const MOST: usize = 64;
/// Ticks of 20 ms for which a key is pressed, and until the next one.
const PRESSED: u32 = 5;
const RELEASED: u32 = 4;
/// How often the end of an event is sent (RFC 4733 section 2.5.1.4).
const ENDS: u32 = 3;
/// Loudness of the keys in dB below full scale: of an event, and of each of a tone's two frequencies as part
/// of full scale (-10 dB).
const VOLUME: u8 = 10;
const AMPLITUDE: f64 = 0.316 * 32_767.0;
const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The keys by row and column.
const PAD: [&[u8; 4]; 4] = [b"123A", b"456B", b"789C", b"*0#D"];
/// The keys by event number (RFC 4733 section 3.2).
pub(crate) const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// A packet of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventPacket {
    /// Whether it is the first of its press, which begins now.
    pub(crate) first: bool,
    pub(crate) payload: [u8; 4],
}

/// The keys that wait and the one that is pressed.
#[derive(Debug, Default)]
pub(crate) struct Dial {
    waiting: VecDeque<u8>,
    /// The event number of the key and ticks since it was pressed.
    pressed: Option<(u8, u32)>,
}

impl Dial {
    /// Adds keys; characters that are none are left out.
    pub(crate) fn add(&mut self, text: &str) {
        let keys = text.bytes().map(|byte| byte.to_ascii_uppercase());
        let events = keys.filter_map(|byte| KEYS.iter().position(|key| *key == byte));
        let room = MOST - self.waiting.len();
        self.waiting.extend(events.take(room).map(|event| event as u8));
    }

    /// Goes on by a tick.
    pub(crate) fn step(&mut self) {
        self.pressed = match self.pressed {
            Some((event, ticks)) if ticks + 1 < PRESSED + RELEASED => Some((event, ticks + 1)),
            _ => self.waiting.pop_front().map(|event| (event, 0)),
        };
    }

    /// Whether a key is down, so that nothing else is to be heard.
    pub(crate) const fn is_down(&self) -> bool {
        matches!(self.pressed, Some((_, ticks)) if ticks < PRESSED)
    }

    /// The event packet of this tick, at a clock of so many units per second.
    pub(crate) fn event(&self, clock: u32) -> Option<EventPacket> {
        let (event, ticks) = self.pressed?;
        let last = PRESSED - 1;
        if ticks >= last + ENDS {
            return None;
        }
        let end = if ticks >= last { 0x80 } else { 0 };
        let duration = ((ticks.min(last) + 1) * clock / 50) as u16;
        let [high, low] = duration.to_be_bytes();
        Some(EventPacket {
            first: ticks == 0,
            payload: [event, end | VOLUME, high, low],
        })
    }

    /// The tone of this tick, if a key is down.
    pub(crate) fn tone(&self, rate: Rate, frame: &mut [i16]) -> bool {
        let Some((event, ticks)) = self.pressed.filter(|_| self.is_down()) else {
            return false;
        };
        let key = KEYS[usize::from(event)];
        let find = |row: &[u8; 4]| row.iter().position(|other| *other == key);
        let Some((row, column)) = PAD
            .iter()
            .enumerate()
            .find_map(|(at, row)| Some((at, find(row)?)))
        else {
            return false;
        };
        let turn = std::f64::consts::TAU / f64::from(rate.hertz());
        let len = frame.len();
        let (whole, edge) = (len * PRESSED as usize, len / 4);
        for (at, sample) in frame.iter_mut().enumerate() {
            let at = ticks as usize * len + at;
            // Over 5 ms the tone rises and falls, so that it does not click.
            let shape = at.min(whole - at).min(edge) as f64 / edge as f64;
            let at = at as f64;
            let waves = (at * LOW[row] * turn).sin() + (at * HIGH[column] * turn).sin();
            *sample = (waves * AMPLITUDE * shape) as i16;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_grow_and_their_end_is_said_three_times() {
        let mut dial = Dial::default();
        dial.add("5x#");
        let mut packets = Vec::new();
        for _ in 0..30 {
            dial.step();
            packets.push(dial.event(8000).map(|packet| (packet.first, packet.payload)));
        }
        let press = |event: u8| {
            let durations = [
                (160u16, 0),
                (320, 0),
                (480, 0),
                (640, 0),
                (800, 0x80),
                (800, 0x80),
                (800, 0x80),
            ];
            let mut packets: Vec<_> = durations
                .iter()
                .enumerate()
                .map(|(at, (duration, end))| {
                    let [high, low] = duration.to_be_bytes();
                    Some((at == 0, [event, end | 10, high, low]))
                })
                .collect();
            packets.extend([None, None]);
            packets
        };
        assert_eq!(packets[..9], press(5));
        assert_eq!(packets[9..18], press(11));
        assert!(packets[18..].iter().all(Option::is_none));
    }

    #[test]
    fn there_is_a_bound_and_small_letters_are_keys() {
        let mut dial = Dial::default();
        dial.add(&"d".repeat(100));
        assert_eq!((dial.waiting.len(), dial.waiting[0]), (MOST, 15));
    }
}

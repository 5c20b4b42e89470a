//! A camera that answers what it is asked for, and a viewer that asks for what it misses.

use std::collections::{BTreeMap, BTreeSet};

use super::browser::Browser;
use super::world::{RTX_SSRC, VIDEO_SSRC, rtp};

/// A VP8 payload: the first of a key frame, or of another.
pub(crate) fn vp8(key: bool, number: u32) -> Vec<u8> {
    let mut payload = vec![0x10, u8::from(!key)];
    payload.extend(number.to_be_bytes());
    payload.resize(1000, 7);
    payload
}

/// The packets of a compound packet: type, format, body.
pub(crate) fn packets(mut bytes: &[u8]) -> Vec<(u8, u8, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) * 4;
        found.push((bytes[1], bytes[0] & 0x1f, &bytes[4..4 + len]));
        bytes = &bytes[4 + len..];
    }
    found
}

/// Sequence numbers that a NACK asks for.
fn asked(body: &[u8]) -> Vec<u16> {
    let mut numbers = Vec::new();
    for entry in body[8..].chunks_exact(4) {
        let (first, bits) = (
            u16::from_be_bytes([entry[0], entry[1]]),
            u16::from_be_bytes([entry[2], entry[3]]),
        );
        numbers.push(first);
        numbers.extend(
            (0..16)
                .filter(|bit| bits >> bit & 1 == 1)
                .map(|bit| first.wrapping_add(bit + 1)),
        );
    }
    numbers
}

pub(crate) fn nack(media: u32, numbers: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 205, 0, 0, 0, 0, 0, 1];
    bytes.extend(media.to_be_bytes());
    for number in numbers {
        bytes.extend(number.to_be_bytes());
        bytes.extend([0, 0]);
    }
    let words = ((bytes.len() - 8) / 4 - 1) as u16;
    bytes[10..12].copy_from_slice(&words.to_be_bytes());
    bytes
}

pub(crate) fn pli(media: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 206, 0, 2, 0, 0, 0, 1];
    bytes.extend(media.to_be_bytes());
    bytes
}

/// Sends numbered packets, key frames when asked for one, and packets again.
pub(crate) struct Camera {
    pub(crate) ssrc: u32,
    pub(crate) next: u16,
    pub(crate) number: u32,
    pub(crate) key: bool,
    pub(crate) pictures: Vec<u64>,
    pub(crate) nacks: usize,
    pub(crate) transport_cc: usize,
    pub(crate) sent: BTreeMap<u16, Vec<u8>>,
    /// The packet numbers of key frames.
    pub(crate) keys: Vec<u32>,
    /// Whether what is sent again goes by RFC 4588.
    rtx: bool,
    rtx_next: u16,
    heard: usize,
}

impl Camera {
    pub(crate) fn new(rtx: bool) -> Self {
        Self {
            ssrc: VIDEO_SSRC,
            next: 65_500,
            number: 0,
            key: true,
            pictures: Vec::new(),
            nacks: 0,
            transport_cc: 0,
            sent: BTreeMap::new(),
            keys: Vec::new(),
            rtx,
            rtx_next: 7,
            heard: 0,
        }
    }

    pub(crate) fn send(&mut self, browser: &mut Browser) {
        let key = std::mem::take(&mut self.key);
        if key {
            self.keys.push(self.number);
        }
        // Four packets a frame.
        let payload = if self.number.is_multiple_of(4) || key {
            vp8(key, self.number)
        } else {
            let mut payload = vp8(false, self.number);
            payload[0] = 0;
            payload
        };
        let packet = rtp(96, self.next, self.number / 4 * 3000, self.ssrc, &payload);
        browser.send(&packet);
        self.sent.insert(self.next, packet);
        self.next = self.next.wrapping_add(1);
        self.number += 1;
    }

    /// Reads what the switch asks for.
    pub(crate) fn listen(&mut self, browser: &mut Browser) {
        let new: Vec<_> = browser.control[self.heard..].to_vec();
        self.heard = browser.control.len();
        for (ms, bytes) in new {
            for (kind, format, body) in packets(&bytes) {
                match (kind, format) {
                    (206, 1 | 4) => {
                        self.pictures.push(ms);
                        self.key = true;
                    }
                    (205, 15) => self.transport_cc += 1,
                    (205, 1) => {
                        self.nacks += 1;
                        assert_eq!(body[4..8], self.ssrc.to_be_bytes());
                        for number in asked(body) {
                            self.again(number, browser);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn again(&mut self, number: u16, browser: &mut Browser) {
        let Some(packet) = self.sent.get(&number) else {
            return;
        };
        if !self.rtx {
            let packet = packet.clone();
            browser.send(&packet);
            return;
        }
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend(&packet[12..]);
        let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
        let again = rtp(97, self.rtx_next, timestamp, RTX_SSRC, &payload);
        self.rtx_next = self.rtx_next.wrapping_add(1);
        browser.send(&again);
    }
}

/// Watches one stream.
pub(crate) struct Viewer {
    pub(crate) ssrc: u32,
    pub(crate) rtx: Option<u32>,
    /// Whether it asks for what it misses.
    pub(crate) asks: bool,
    /// Sequence numbers with their rollovers, and the packet's own number.
    pub(crate) seen: BTreeMap<u64, u32>,
    pub(crate) timestamps: BTreeMap<u64, u32>,
    missing: BTreeMap<u64, (u64, u32)>,
    pub(crate) again: usize,
    heard: usize,
}

impl Viewer {
    pub(crate) fn new(ssrc: u32, rtx: Option<u32>) -> Self {
        Self {
            ssrc,
            rtx,
            asks: true,
            seen: BTreeMap::new(),
            timestamps: BTreeMap::new(),
            missing: BTreeMap::new(),
            again: 0,
            heard: 0,
        }
    }

    /// Numbers of the packets that it has got.
    pub(crate) fn numbers(&self) -> BTreeSet<u32> {
        self.seen.values().copied().collect()
    }

    fn index(&self, sequence: u16) -> u64 {
        let highest = self
            .seen
            .keys()
            .next_back()
            .copied()
            .unwrap_or(1 << 16 | u64::from(sequence));
        let ahead = u64::from(sequence.wrapping_sub(highest as u16));
        if ahead < 1 << 15 {
            highest + ahead
        } else {
            highest + ahead - (1 << 16)
        }
    }

    /// Reads what came, and asks for what did not.
    pub(crate) fn watch(&mut self, ms: u64, browser: &mut Browser) {
        let new: Vec<_> = browser.media[self.heard..].to_vec();
        self.heard = browser.media.len();
        for (_, packet) in new {
            let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
            let (sequence, payload) = if ssrc == self.ssrc {
                (u16::from_be_bytes([packet[2], packet[3]]), &packet[12..])
            } else if Some(ssrc) == self.rtx {
                self.again += 1;
                (u16::from_be_bytes([packet[12], packet[13]]), &packet[14..])
            } else {
                continue;
            };
            let index = self.index(sequence);
            let highest = self.seen.keys().next_back().copied();
            for gap in highest.map_or(index, |highest| highest + 1)..index {
                self.missing.insert(gap, (ms + 10, 0));
            }
            self.missing.remove(&index);
            let number = u32::from_be_bytes(payload[2..6].try_into().unwrap());
            let before = self.seen.insert(index, number);
            assert!(
                before.is_none_or(|before| before == number),
                "one number, two packets"
            );
            self.timestamps
                .insert(index, u32::from_be_bytes(packet[4..8].try_into().unwrap()));
        }
        let due: Vec<u64> = self
            .missing
            .iter()
            .filter(|(_, (at, tries))| *at <= ms && *tries < 15)
            .map(|(gap, _)| *gap)
            .collect();
        if !self.asks || due.is_empty() || !ms.is_multiple_of(20) {
            return;
        }
        for gap in &due {
            let entry = self.missing.get_mut(gap).unwrap();
            *entry = (ms + 60, entry.1 + 1);
        }
        browser.send_control(&nack(self.ssrc, due.iter().map(|gap| *gap as u16)));
    }
}

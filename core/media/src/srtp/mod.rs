//! SRTP and SRTCP (RFC 3711, RFC 7714) of one leg, in place: keys are derived once, packets are protected and
//! unprotected where they lie, and what is not authentic or came before is refused.

mod cipher;
mod window;

use cordboard_model::media::{Mki, Srtp, SrtpKey, SrtpSuite};

use crate::counts::DropReason;
use crate::rtp::HEADER_LEN;
use cipher::{Cipher, Kind};
use window::Window;

/// Sources whose rollover counters are remembered; the oldest is forgotten.
const SOURCES: usize = 48;
/// Keys of ours that were left and are remembered with what was counted: one offer names two, and answers to it may
/// alternate; later ones are new.
const LEFT_KEYS: usize = 4;
/// Bytes of an RTCP packet that stay readable.
const CONTROL_HEADER: usize = 8;
/// The flag that says that an RTCP packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// What is known of one source of the peer.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Rollover counter and sequence number of the newest packet, and which ones came.
    media: Window,
    control: Window,
    /// The peer may have begun anew to count, as it protects by the same key for another suite.
    restarts: bool,
}

/// What was protected by a key of ours.
#[derive(Debug, Clone, Default)]
struct Sent {
    /// Index of the last packet: rollover counter and sequence number.
    media: Option<u64>,
    control: u32,
}

/// One direction's keys.
#[derive(Debug)]
struct Half {
    key: (SrtpSuite, SrtpKey),
    mki: Mki,
    media: Cipher,
    control: Cipher,
}

impl Half {
    fn new(key: &(SrtpSuite, SrtpKey), mki: Mki) -> Self {
        Self {
            key: key.clone(),
            mki,
            media: Cipher::derive(key.0, &key.1, Kind::Media),
            control: Cipher::derive(key.0, &key.1, Kind::Control),
        }
    }

    /// Puts the name of the key into a protected packet at the end of `bytes`: before a tag that stands by itself
    /// (RFC 3711 sections 3.1 and 3.4), else behind all (RFC 7714 sections 8.2 and 9.2). Nothing signs it.
    fn add_mki(&self, cipher: &Cipher, bytes: &mut Vec<u8>) {
        let mki = self.mki.bytes();
        let at = bytes.len() - cipher.tag_behind();
        bytes.extend_from_slice(mki);
        bytes[at..].rotate_right(mki.len());
    }

    /// The packet without the name of the key.
    fn without_mki<'a>(&self, cipher: &Cipher, packet: &'a mut [u8]) -> Result<&'a mut [u8], DropReason> {
        let mki = self.mki.bytes();
        let rest = packet.len().checked_sub(mki.len()).ok_or(DropReason::Malformed)?;
        let at = rest
            .checked_sub(cipher.tag_behind())
            .ok_or(DropReason::Malformed)?;
        if !packet[at..].starts_with(mki) {
            return Err(DropReason::Unauthentic);
        }
        packet[at..].rotate_left(mki.len());
        Ok(&mut packet[..rest])
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    send: Half,
    receive: Half,
    sent: Sent,
    /// The same of keys that were left, the oldest first.
    left: Vec<(SrtpKey, Sent)>,
    sources: Vec<Source>,
}

impl Session {
    pub(crate) fn new(keys: &Srtp) -> Self {
        Self {
            send: Half::new(&keys.send, keys.send_mki),
            receive: Half::new(&keys.receive, keys.receive_mki),
            sent: Sent::default(),
            left: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// The keys have been negotiated again. No number may protect two packets by one key: our counters go on where the
    /// key is one that was used before, whatever came between.
    pub(crate) fn renew(&mut self, keys: &Srtp) {
        if self.send.key.1 != keys.send.1 {
            let mut left = self.left.iter();
            let known = left.position(|(key, _)| *key == keys.send.1);
            let sent = known.map(|at| self.left.remove(at).1).unwrap_or_default();
            let sent = std::mem::replace(&mut self.sent, sent);
            if self.left.len() == LEFT_KEYS {
                self.left.remove(0);
            }
            self.left.push((self.send.key.1.clone(), sent));
        }
        if self.send.key != keys.send {
            self.send = Half::new(&keys.send, keys.send_mki);
        }
        if self.receive.key.1 != keys.receive.1 {
            self.sources.clear();
        }
        if self.receive.key != keys.receive {
            // What was signed by the longer tag can be cut to the shorter one and played again, so that this is
            // believed only the other way round.
            let longer = keys.receive.0 == SrtpSuite::AesCm128HmacSha1_80;
            for source in &mut self.sources {
                source.restarts = longer;
            }
            self.receive = Half::new(&keys.receive, keys.receive_mki);
        }
        (self.send.mki, self.receive.mki) = (keys.send_mki, keys.receive_mki);
    }

    /// The same after plain RTP: who comes back to SRTP counts as it likes.
    pub(crate) fn resume(&mut self, keys: &Srtp) {
        self.sources.clear();
        self.renew(keys);
    }

    /// Protects the RTP packet at the end of `bytes`, which begins at `start`. Its header has no extension.
    pub(crate) fn protect(&mut self, bytes: &mut Vec<u8>, start: usize) {
        let Some(packet) = bytes.get(start..).filter(|packet| packet.len() >= HEADER_LEN) else {
            return;
        };
        let (sequence, ssrc) = (u16::from_be_bytes([packet[2], packet[3]]), word(packet, 8));
        let index = match self.sent.media {
            // We send in order, so that a number that is not greater is of the next round.
            Some(last) => last + 1 + u64::from(sequence.wrapping_sub(last as u16).wrapping_sub(1)),
            None => u64::from(sequence),
        };
        self.sent.media = Some(index);
        self.send.media.seal(bytes, start, HEADER_LEN, ssrc, index, None);
        self.send.add_mki(&self.send.media, bytes);
    }

    /// Protects the RTP packet at the end of `bytes`, which begins at `start` with a header of this length. The
    /// caller counts its index; one that was used before must come with the same packet.
    pub(crate) fn protect_at(&self, bytes: &mut Vec<u8>, start: usize, header: usize, ssrc: u32, index: u64) {
        self.send.media.seal(bytes, start, header, ssrc, index, None);
    }

    /// Protects the RTCP packet at the end of `bytes`, which begins at `start`.
    pub(crate) fn protect_control(&mut self, bytes: &mut Vec<u8>, start: usize) {
        let Some(packet) = bytes.get(start..).filter(|packet| packet.len() >= CONTROL_HEADER) else {
            return;
        };
        let ssrc = word(packet, 4);
        self.sent.control += 1;
        let index = self.sent.control;
        let trailer = Some(index | ENCRYPTED);
        self.send
            .control
            .seal(bytes, start, CONTROL_HEADER, ssrc, u64::from(index), trailer);
        self.send.add_mki(&self.send.control, bytes);
    }

    /// Unprotects an RTP packet; returns its length.
    pub(crate) fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let packet = self.receive.without_mki(&self.receive.media, packet)?;
        let header = header_len(packet).ok_or(DropReason::Malformed)?;
        let (sequence, ssrc) = (u16::from_be_bytes([packet[2], packet[3]]), word(packet, 8));
        let known = self.sources.iter().position(|source| source.ssrc == ssrc);
        let index = known.map_or(u64::from(sequence), |at| self.sources[at].media.guess(sequence));
        if known.is_some_and(|at| self.sources[at].media.is_used(index)) {
            return Err(DropReason::Replayed);
        }
        let mut open = |index| {
            let len = self.receive.media.open(packet, header, ssrc, index, None);
            len.map(|len| (index, len))
        };
        let first = u64::from(sequence);
        let restarts = index != first && known.is_some_and(|at| self.sources[at].restarts);
        // Counter mode, the only one that comes with two tags, leaves a packet as it is until it has proved itself.
        let mut opened = open(index);
        if restarts && opened.is_none() {
            opened = open(first);
        }
        let (proven, len) = opened.ok_or(DropReason::Unauthentic)?;
        let source = self.source(ssrc);
        source.restarts = false;
        if proven != index {
            source.media = Window::default();
        }
        source.media.use_up(proven);
        Ok(len)
    }

    /// Unprotects an RTCP packet; returns its length.
    pub(crate) fn unprotect_control(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let packet = self.receive.without_mki(&self.receive.control, packet)?;
        let trailer_at = self
            .receive
            .control
            .trailer_at(packet.len())
            .ok_or(DropReason::Malformed)?;
        if trailer_at < CONTROL_HEADER {
            return Err(DropReason::Malformed);
        }
        let trailer = word(packet, trailer_at);
        let ssrc = word(packet, 4);
        let index = u64::from(trailer & !ENCRYPTED);
        let mut known = self.sources.iter();
        if known.any(|source| source.ssrc == ssrc && source.control.is_used(index)) {
            return Err(DropReason::Replayed);
        }
        let len = self
            .receive
            .control
            .open(packet, CONTROL_HEADER, ssrc, index, Some(trailer))
            .ok_or(DropReason::Unauthentic)?;
        self.source(ssrc).control.use_up(index);
        Ok(len)
    }

    /// A source that has proved itself.
    fn source(&mut self, ssrc: u32) -> &mut Source {
        let at = self.sources.iter().position(|source| source.ssrc == ssrc);
        let at = at.unwrap_or_else(|| {
            if self.sources.len() == SOURCES {
                self.sources.remove(0);
            }
            self.sources.push(Source {
                ssrc,
                media: Window::default(),
                control: Window::default(),
                restarts: false,
            });
            self.sources.len() - 1
        });
        &mut self.sources[at]
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Where the payload of an RTP packet begins: sources and extension stay readable.
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first().filter(|_| packet.len() >= HEADER_LEN)?;
    let mut len = HEADER_LEN + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words = packet.get(len + 2..len + 4)?;
        len += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
    }
    (len <= packet.len()).then_some(len)
}

#[cfg(test)]
mod tests;

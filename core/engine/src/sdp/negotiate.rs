//! What both sides of an offer can do together.

use cordboard_model::media::{
    AudioFormat, Codec, Control, Direction, OpusLimit, OpusStep, Srtp, SrtpKey, SrtpSuite,
};
use zeroize::Zeroizing;

use super::crypto::{self, OwnKeys};
use super::session::{Media, Session, parameter};

/// The packet lengths that we send, in milliseconds.
const PACKET_MS: [u8; 5] = [10, 20, 30, 40, 60];
/// The clocks of telephone events that we know, with the payload types that we offer for them.
pub(super) const EVENT_TYPES: [(u32, u8); 2] = [(8000, 101), (48_000, 110)];
/// The payload type of comfort noise at 8 kHz (RFC 3551).
const COMFORT_NOISE: u8 = 13;

/// What we offer and take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The codecs, most wanted first; at least one.
    pub codecs: Vec<Codec>,
    /// Whether RFC 4733 events are taken.
    pub telephone_event: bool,
    /// The milliseconds of audio per packet where the peer has no wish: 10, 20, 30, 40 or 60.
    pub packet_ms: u8,
    /// Which way media may flow, seen from us.
    pub direction: Direction,
    /// Whether our first offer names keys for SRTP, which the peer may take or leave (RFC 8643): where nobody on the
    /// way can read them.
    pub secure: bool,
    /// Whether we offer RTCP on the port of RTP (RFC 5761), which the peer may take or leave. Where the peer offers
    /// it, it is always taken.
    pub mux: bool,
}

impl Default for Capabilities {
    /// Every codec and telephone events, 20 ms, both ways, no keys, RTCP on its own port.
    fn default() -> Self {
        Self {
            codecs: Codec::ALL.to_vec(),
            telephone_event: true,
            packet_ms: 20,
            direction: Direction::BOTH,
            secure: false,
            mux: false,
        }
    }
}

/// What stays the same in all that we say in one call: the session, our keys, and what was said last.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    session_id: u64,
    version: u64,
    /// May hold our key.
    last: Zeroizing<String>,
    keys: OwnKeys,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Origin({} {})", self.session_id, self.version)
    }
}

impl Origin {
    /// For a new call. The id must be the call's own and less than 2^62; `key_seed` is what the keys of its
    /// media are made of, and must be as hard to guess as they are to be.
    pub fn new(session_id: u64, key_seed: [u8; 32]) -> Self {
        Self {
            session_id,
            version: session_id,
            last: Zeroizing::new(String::new()),
            keys: OwnKeys::new(key_seed),
        }
    }

    /// The description that we sent last; empty before the first.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// The version of what was sent last.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The text that `write` makes with session id and version: the last one if nothing else has changed,
    /// otherwise with the next version (RFC 3264 section 8).
    pub(super) fn say(&mut self, write: impl Fn(u64, u64) -> String) -> String {
        let text = write(self.session_id, self.version);
        if text != *self.last {
            if !self.last.is_empty() {
                self.version += 1;
            }
            self.last = Zeroizing::new(write(self.session_id, self.version));
        }
        self.last.to_string()
    }

    /// How media are protected from now on: another suite, and SRTP after plain RTP, will be offered and answered with
    /// a key of ours that nothing was protected by.
    pub fn settle(&mut self, srtp: Option<&Srtp>) {
        self.keys.settle(srtp.map(|srtp| &srtp.send));
    }

    /// Our key for a suite: the one that is used, or a new one.
    pub(super) fn key(&self, suite: SrtpSuite) -> SrtpKey {
        self.keys.key(suite)
    }
}

/// Whether we can use this stream: audio with a port, plain or with a key of ours to be answered by.
pub(super) fn is_usable(media: &Media<'_>) -> bool {
    let known = matches!(media.protocol, "RTP/AVP" | "RTP/AVPF")
        || is_secure(media) && crypto::usable(media).next().is_some();
    media.kind == "audio" && media.port != 0 && known
}

/// Whether the stream is SRTP with keys in the description.
pub(super) fn is_secure(media: &Media<'_>) -> bool {
    matches!(media.protocol, "RTP/SAVP" | "RTP/SAVPF")
}

/// What a format of RTP is, as far as we know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Audio(Codec),
    /// Telephone events at this clock.
    Event(u32),
    ComfortNoise,
}

/// The payload type and its meaning; those of RFC 3551 need no `rtpmap`.
pub(super) fn format(media: &Media<'_>, text: &str) -> Option<(u8, Format)> {
    let payload_type: u8 = text.parse().ok().filter(|number| *number < 128)?;
    let Some(map) = media.rtpmap(text) else {
        let mut codecs = Codec::ALL.into_iter();
        let codec = codecs.find(|codec| codec.static_payload_type() == Some(payload_type));
        let noise = (payload_type == COMFORT_NOISE).then_some(Format::ComfortNoise);
        return Some((payload_type, codec.map(Format::Audio).or(noise)?));
    };
    let named = |name: &str| map.encoding.eq_ignore_ascii_case(name);
    let known_clock = EVENT_TYPES.iter().any(|(clock, _)| *clock == map.clock);
    let meaning = if named("telephone-event") && known_clock && map.channels == 1 {
        Format::Event(map.clock)
    } else if named("CN") && map.clock == 8000 && map.channels == 1 {
        Format::ComfortNoise
    } else {
        let mut codecs = Codec::ALL.into_iter();
        // Opus always says two channels (RFC 7587 section 7); some forget to.
        let most = |codec| if codec == Codec::Opus { 2 } else { 1 };
        let codec = codecs.find(|codec| {
            named(codec.name()) && map.clock == codec.clock() && map.channels <= most(*codec)
        })?;
        Format::Audio(codec)
    };
    Some((payload_type, meaning))
}

/// What is left of the formats of the peer's stream when ours are held against it; the peer's order and
/// numbers hold. `None` if no codec is left.
pub(super) fn common(media: &Media<'_>, ours: &Capabilities) -> Option<AudioFormat> {
    let known = || media.formats.iter().filter_map(|text| format(media, text));
    let mut receive: Vec<(u8, Codec)> = Vec::new();
    let mut events: Vec<(u8, u32)> = Vec::new();
    let mut comfort_noise = None;
    for (number, format) in known() {
        match format {
            Format::Audio(codec)
                if ours.codecs.contains(&codec) && receive.iter().all(|(n, _)| *n != number) =>
            {
                receive.push((number, codec));
            }
            Format::Event(clock) if ours.telephone_event && events.iter().all(|(_, c)| *c != clock) => {
                events.push((number, clock));
            }
            Format::ComfortNoise if comfort_noise.is_none() => comfort_noise = Some(number),
            _ => {}
        }
    }
    let (payload_type, codec) = *receive.first()?;
    Some(AudioFormat {
        codec,
        payload_type,
        comfort_noise: comfort_noise.filter(|_| receive.iter().any(|(_, codec)| codec.clock() == 8000)),
        receive,
        events,
        opus: match codec {
            Codec::Opus => opus_limit(media, payload_type),
            Codec::G722 | Codec::Pcmu | Codec::Pcma => OpusLimit::default(),
        },
        packet_ms: packet_ms(media, ours, codec),
    })
}

/// What the peer takes of Opus (RFC 7587 section 6.1).
fn opus_limit(media: &Media<'_>, payload_type: u8) -> OpusLimit {
    let written = media.fmtp(&payload_type.to_string()).unwrap_or_default();
    let number = |name| parameter(written, name).and_then(|text| text.parse().ok());
    OpusLimit {
        step: OpusStep::within(
            number("maxaveragebitrate").unwrap_or(u32::MAX),
            number("maxplaybackrate").unwrap_or(u32::MAX),
        ),
        constant: parameter(written, "cbr") == Some("1"),
    }
}

/// The longest packet that is not longer than the peer wants; Opus only makes multiples of 20 ms.
fn packet_ms(media: &Media<'_>, ours: &Capabilities, codec: Codec) -> u8 {
    let step = if codec == Codec::Opus { 20 } else { 10 };
    let wanted = media
        .ptime()
        .filter(|ms| *ms > 0)
        .unwrap_or(u32::from(ours.packet_ms));
    let most = media
        .maxptime()
        .filter(|ms| *ms > 0)
        .unwrap_or(u32::MAX)
        .min(wanted);
    let mut lengths = PACKET_MS.into_iter().rev().filter(|ms| ms % step == 0);
    lengths.find(|ms| u32::from(*ms) <= most).unwrap_or(step)
}

/// Which way a stream of the peer flows, seen from us. The address 0.0.0.0 is how RFC 2543 held a call:
/// nothing may be sent there.
pub(super) fn mirrored(session: &Session<'_>, media: &Media<'_>, ours: Direction) -> Direction {
    let theirs = session.direction(media);
    let held = session
        .address(media)
        .is_some_and(|address| address.is_unspecified());
    Direction {
        send: theirs.receive && ours.send && !held,
        receive: theirs.send && ours.receive,
    }
}

/// Where RTCP goes; `mux`: both sides want it on the port of RTP.
pub(super) fn control(session: &Session<'_>, media: &Media<'_>, mux: bool) -> Control {
    match session.rtcp_address(media) {
        _ if mux => Control::Muxed,
        Some(address) => Control::Named(address),
        None => Control::NextPort,
    }
}

/// The attribute for a direction.
pub(super) const fn direction_name(direction: Direction) -> &'static str {
    match (direction.send, direction.receive) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    }
}

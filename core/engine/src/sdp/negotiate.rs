//! What both sides of an offer can do together.

use cordboard_model::media::{AudioFormat, Codec, Direction};

use super::session::{Media, Session};

/// The packet lengths that we send, in milliseconds.
const PACKET_MS: [u8; 5] = [10, 20, 30, 40, 60];
/// The payload type that we offer for telephone events.
pub(super) const EVENT_TYPE: u8 = 101;

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
}

impl Default for Capabilities {
    /// G.711 and telephone events, 20 ms, both ways.
    fn default() -> Self {
        let codecs = vec![Codec::Pcmu, Codec::Pcma];
        Self {
            codecs,
            telephone_event: true,
            packet_ms: 20,
            direction: Direction::BOTH,
        }
    }
}

/// What stays the same in all that we say in one call: the session, and what was said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    session_id: u64,
    version: u64,
    last: String,
}

impl Origin {
    /// For a new call. The id must be the call's own and less than 2^62.
    pub const fn new(session_id: u64) -> Self {
        Self {
            session_id,
            version: session_id,
            last: String::new(),
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
        if text != self.last {
            if !self.last.is_empty() {
                self.version += 1;
            }
            self.last = write(self.session_id, self.version);
        }
        self.last.clone()
    }
}

/// Whether we can use this stream: plain RTP audio with a port.
pub(super) fn is_usable(media: &Media<'_>) -> bool {
    media.kind == "audio" && media.port != 0 && matches!(media.protocol, "RTP/AVP" | "RTP/AVPF")
}

/// What a format of RTP is, as far as we know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Audio(Codec),
    Event,
}

/// The payload type and its meaning; those of RFC 3551 need no `rtpmap`.
pub(super) fn format(media: &Media<'_>, text: &str) -> Option<(u8, Format)> {
    let payload_type: u8 = text.parse().ok().filter(|number| *number < 128)?;
    let Some(map) = media.rtpmap(text) else {
        let codec = [(0, Codec::Pcmu), (8, Codec::Pcma)]
            .into_iter()
            .find(|(number, _)| *number == payload_type)?
            .1;
        return Some((payload_type, Format::Audio(codec)));
    };
    if map.clock != 8000 || map.channels != 1 {
        return None;
    }
    if map.encoding.eq_ignore_ascii_case("telephone-event") {
        return Some((payload_type, Format::Event));
    }
    let codec = [Codec::Pcmu, Codec::Pcma]
        .into_iter()
        .find(|c| map.encoding.eq_ignore_ascii_case(c.name()))?;
    Some((payload_type, Format::Audio(codec)))
}

/// What is left of the formats of the peer's stream when ours are held against it; the peer's order and
/// numbers hold. `None` if no codec is left.
pub(super) fn common(media: &Media<'_>, ours: &Capabilities) -> Option<AudioFormat> {
    let known = || media.formats.iter().filter_map(|text| format(media, text));
    let mut receive: Vec<(u8, Codec)> = Vec::new();
    let mut telephone_event = None;
    for (number, format) in known() {
        match format {
            Format::Audio(codec)
                if ours.codecs.contains(&codec) && receive.iter().all(|(n, _)| *n != number) =>
            {
                receive.push((number, codec));
            }
            Format::Event if ours.telephone_event && telephone_event.is_none() => {
                telephone_event = Some(number);
            }
            _ => {}
        }
    }
    let (payload_type, codec) = *receive.first()?;
    Some(AudioFormat {
        codec,
        payload_type,
        receive,
        telephone_event,
        packet_ms: packet_ms(media, ours),
    })
}

/// The longest packet that is not longer than the peer wants.
fn packet_ms(media: &Media<'_>, ours: &Capabilities) -> u8 {
    let wanted = media
        .ptime()
        .filter(|ms| *ms > 0)
        .unwrap_or(u32::from(ours.packet_ms));
    let most = media
        .maxptime()
        .filter(|ms| *ms > 0)
        .unwrap_or(u32::MAX)
        .min(wanted);
    PACKET_MS
        .into_iter()
        .rev()
        .find(|ms| u32::from(*ms) <= most)
        .unwrap_or(PACKET_MS[0])
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

/// The attribute for a direction.
pub(super) const fn direction_name(direction: Direction) -> &'static str {
    match (direction.send, direction.receive) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    }
}

//! Making offers, answering them, and taking answers (RFC 3264).

use std::fmt::Write as _;
use std::net::SocketAddr;

use cordboard_model::media::{AudioFormat, AudioSetup, Codec, Direction};

use super::negotiate::{
    Capabilities, EVENT_TYPE, Format, Origin, common, direction_name, format, is_usable, mirrored,
};
use super::session::{Media, Session};
use crate::sip::message::Refusal;

/// An answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The answer's text.
    pub answer_text: String,
    /// What the media shard is to do.
    pub audio: AudioSetup,
}

const fn not_acceptable(reason: &'static str) -> Refusal {
    Refusal {
        status: 488,
        phrase: "Not Acceptable Here",
        reason,
    }
}

/// The stream that is used.
struct Used<'a> {
    /// Its place among the lines.
    at: usize,
    format: &'a AudioFormat,
    direction: Direction,
}

/// Answers an offer: the first stream that we can use is taken, every other is refused with port 0.
/// `local` is where we listen; `origin` keeps what we say in this call together.
///
/// # Errors
/// 488 where no stream can be used: no plain RTP audio, no codec of ours, or no address but a name.
pub fn answer(
    offer: &Session<'_>,
    ours: &Capabilities,
    local: SocketAddr,
    origin: &mut Origin,
) -> Result<Negotiated, Refusal> {
    let audio_lines = offer
        .media
        .iter()
        .enumerate()
        .filter(|(_, media)| is_usable(media));
    let mut with_address = audio_lines
        .filter_map(|(at, media)| Some((at, media, offer.address(media)?)))
        .peekable();
    if with_address.peek().is_none() {
        return Err(not_acceptable("sdp_no_audio"));
    }
    let (taken, media, address, format) = with_address
        .find_map(|(at, media, address)| Some((at, media, address, common(media, ours)?)))
        .ok_or(not_acceptable("sdp_no_codec"))?;
    let direction = mirrored(offer, media, ours.direction);
    let used = Used {
        at: taken,
        format: &format,
        direction,
    };
    let answer_text = origin.say(|id, version| {
        let mut text = head(id, version, local, offer.time);
        streams(&mut text, local.port(), &offer.media, &used);
        text
    });
    let remote = SocketAddr::new(address, media.port);
    Ok(Negotiated {
        answer_text,
        audio: AudioSetup {
            remote,
            format,
            direction,
        },
    })
}

/// Makes an offer: the first of a call, or a later one, which keeps the streams and payload types of what we
/// said last (RFC 3264 section 8).
pub fn offer(ours: &Capabilities, local: SocketAddr, origin: &mut Origin) -> String {
    let last = origin.last().to_owned();
    let last = Session::parse(&last).ok();
    let before = last
        .as_ref()
        .and_then(|last| Some((last, last.media.iter().position(is_usable)?)));
    origin.say(|id, version| match before {
        Some((last, at)) => {
            let mut text = head(id, version, local, last.time);
            let format = offered(ours, last.media.get(at));
            streams(
                &mut text,
                local.port(),
                &last.media,
                &Used {
                    at,
                    format: &format,
                    direction: ours.direction,
                },
            );
            text
        }
        None => {
            let mut text = head(id, version, local, "0 0");
            stream(
                &mut text,
                "RTP/AVP",
                local.port(),
                &offered(ours, None),
                ours.direction,
            );
            text
        }
    })
}

/// What an answer to our offer has settled.
///
/// # Errors
/// 488 where the answer has not as many streams as the offer, refuses our audio, or names no codec of it.
/// The call is then to be ended with ACK and BYE.
pub fn accept_answer(
    offer: &Session<'_>,
    answer: &Session<'_>,
    ours: &Capabilities,
) -> Result<AudioSetup, Refusal> {
    if offer.media.len() != answer.media.len() {
        return Err(not_acceptable("sdp_streams"));
    }
    let at = offer
        .media
        .iter()
        .position(is_usable)
        .ok_or(not_acceptable("sdp_no_audio"))?;
    let (sent, media) = (&offer.media[at], &answer.media[at]);
    if !is_usable(media) {
        return Err(not_acceptable("sdp_no_audio"));
    }
    let address = answer.address(media).ok_or(not_acceptable("sdp_no_audio"))?;
    let mut format = common(media, ours).ok_or(not_acceptable("sdp_no_codec"))?;
    // We send by the answer's numbers; what comes in bears those of our offer, and some peers use their own.
    let offered = common(sent, ours).map_or_else(Vec::new, |offered| offered.receive);
    for (number, codec) in offered {
        if format.receive.iter().all(|(n, _)| *n != number) {
            format.receive.push((number, codec));
        }
    }
    let direction = mirrored(answer, media, offer.direction(sent));
    Ok(AudioSetup {
        remote: SocketAddr::new(address, media.port),
        format,
        direction,
    })
}

/// All lines before the first stream.
fn head(id: u64, version: u64, local: SocketAddr, time: &str) -> String {
    let (family, ip) = (if local.is_ipv4() { "IP4" } else { "IP6" }, local.ip());
    format!("v=0\r\no=- {id} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt={time}\r\n")
}

/// As many streams as `lines`, all refused but the one that is used.
fn streams(text: &mut String, port: u16, lines: &[Media<'_>], used: &Used<'_>) {
    for (at, media) in lines.iter().enumerate() {
        if at == used.at {
            stream(text, media.protocol, port, used.format, used.direction);
        } else {
            refused(text, media);
        }
        if let Some(mid) = media.mid() {
            let _ = write!(text, "a=mid:{mid}\r\n");
        }
    }
}

/// The lines of the stream that is used.
fn stream(text: &mut String, protocol: &str, port: u16, format: &AudioFormat, direction: Direction) {
    let numbers = format
        .receive
        .iter()
        .map(|(number, _)| *number)
        .chain(format.telephone_event);
    let _ = write!(text, "m=audio {port} {protocol}");
    for number in numbers {
        let _ = write!(text, " {number}");
    }
    text.push_str("\r\n");
    for (number, codec) in &format.receive {
        let _ = write!(text, "a=rtpmap:{number} {}/8000\r\n", codec.name());
    }
    if let Some(number) = format.telephone_event {
        let _ = write!(
            text,
            "a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-15\r\n"
        );
    }
    let _ = write!(
        text,
        "a=ptime:{}\r\na={}\r\n",
        format.packet_ms,
        direction_name(direction)
    );
}

/// The line of a stream that is not used; its formats mean nothing, but there must be one.
fn refused(text: &mut String, media: &Media<'_>) {
    let _ = write!(
        text,
        "m={} 0 {} {}\r\n",
        media.kind,
        media.protocol,
        media.formats.join(" ")
    );
}

/// What we offer, with the payload types that the line had before.
fn offered(ours: &Capabilities, before: Option<&Media<'_>>) -> AudioFormat {
    let known = |wanted: Format| {
        let formats = before
            .into_iter()
            .flat_map(|media| media.formats.iter().map(move |text| format(media, text)));
        formats
            .flatten()
            .find(|(_, format)| *format == wanted)
            .map(|(number, _)| number)
    };
    let usual = |codec| match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
    };
    let number = |codec: Codec| known(Format::Audio(codec)).unwrap_or_else(|| usual(codec));
    let receive: Vec<(u8, Codec)> = ours.codecs.iter().map(|codec| (number(*codec), *codec)).collect();
    let free = (EVENT_TYPE..128).find(|n| receive.iter().all(|(number, _)| number != n));
    let telephone_event = ours
        .telephone_event
        .then(|| known(Format::Event).or(free))
        .flatten();
    let (payload_type, codec) = receive.first().copied().unwrap_or((0, Codec::Pcmu));
    AudioFormat {
        codec,
        payload_type,
        receive,
        telephone_event,
        packet_ms: ours.packet_ms,
    }
}

#[cfg(test)]
mod tests;

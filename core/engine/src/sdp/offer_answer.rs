//! Making offers, answering them, and taking answers (RFC 3264).

use std::fmt::Write as _;
use std::net::SocketAddr;

use cordboard_model::media::{AudioFormat, AudioSetup, Codec, Direction, Mki, OpusLimit, Srtp, SrtpSuite};

use super::crypto::{self, Crypto};
use super::negotiate::{
    Capabilities, EVENT_TYPES, Format, Origin, common, control, direction_name, format, is_secure, is_usable,
    mirrored,
};
use super::session::{Media, Session};
use crate::sip::message::Refusal;

/// An answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The answer's text.
    pub answer_text: String,
    /// What the media shard is to do; `None` where a later offer has turned all audio off.
    pub audio: Option<AudioSetup>,
}

const fn not_acceptable(reason: &'static str) -> Refusal {
    Refusal {
        status: 488,
        phrase: "Not Acceptable Here",
        reason,
    }
}

/// The payload type that Opus usually has.
const OPUS_TYPE: u8 = 111;

/// The stream that is used.
struct Used<'a> {
    /// Its place among the lines.
    at: usize,
    format: &'a AudioFormat,
    direction: Direction,
    /// Our keys, where the stream is or may become SRTP.
    crypto: Vec<Crypto<'a>>,
    /// Whether RTCP is on the port of RTP, or offered to be.
    mux: bool,
}

/// Answers an offer: the first stream that we can use is taken, every other is refused with port 0.
/// `local` is where we listen; `origin` keeps what we say in this call together.
///
/// # Errors
/// 488 where no stream can be used: no audio by RTP or by SRTP with a key that we can use, no codec of ours, or
/// no address but a name. A later offer may turn all its audio off.
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
    if with_address.peek().is_none() && is_turned_off(offer, origin) {
        let answer_text = origin.say(|id, version| {
            let mut text = head(id, version, local, offer.time);
            streams(&mut text, local.port(), &offer.media, None);
            text
        });
        return Ok(Negotiated {
            answer_text,
            audio: None,
        });
    }
    if with_address.peek().is_none() {
        return Err(not_acceptable("sdp_no_audio"));
    }
    let (taken, media, address, format) = with_address
        .find_map(|(at, media, address)| Some((at, media, address, common(media, ours)?)))
        .ok_or(not_acceptable("sdp_no_codec"))?;
    let direction = mirrored(offer, media, ours.direction);
    // Keys in an offer of plain RTP are an offer of SRTP, too (RFC 8643).
    let theirs = crypto::usable(media).next();
    let crypto = theirs.iter().map(|theirs| Crypto {
        key: origin.key(theirs.suite),
        ..theirs.clone()
    });
    let crypto = crypto.collect();
    let srtp = theirs.as_ref().map(|theirs| Srtp {
        send: (theirs.suite, origin.key(theirs.suite)),
        // Ours has the name that theirs has (the example of RFC 4568 section 4).
        send_mki: theirs.mki,
        receive: (theirs.suite, theirs.key.clone()),
        receive_mki: theirs.mki,
    });
    let used = Used {
        at: taken,
        format: &format,
        direction,
        crypto,
        mux: media.rtcp_mux(),
    };
    let answer_text = origin.say(|id, version| {
        let mut text = head(id, version, local, offer.time);
        streams(&mut text, local.port(), &offer.media, Some(&used));
        text
    });
    let remote = SocketAddr::new(address, media.port);
    Ok(Negotiated {
        answer_text,
        audio: Some(AudioSetup {
            remote,
            signaller: None,
            control: control(offer, media, media.rtcp_mux()),
            format,
            direction,
            srtp,
        }),
    })
}

/// Whether a later offer has audio, all of it with port 0.
fn is_turned_off(offer: &Session<'_>, origin: &Origin) -> bool {
    let mut audio = offer
        .media
        .iter()
        .filter(|media| media.kind == "audio")
        .peekable();
    !origin.last().is_empty() && audio.peek().is_some() && audio.all(|media| media.port == 0)
}

/// Makes an offer: the first of a call, or a later one, which keeps the streams and payload types of what we
/// said last (RFC 3264 section 8).
pub fn offer(ours: &Capabilities, local: SocketAddr, origin: &mut Origin) -> String {
    let last = origin.last().to_owned();
    let last = Session::parse(&last).ok();
    // The stream that is in use; or, if the peer has turned it off, the one that was.
    let before = last.as_ref().and_then(|last| {
        let used = last.media.iter().position(is_usable);
        let audio = || last.media.iter().position(|media| media.kind == "audio");
        Some((last, used.or_else(audio)?))
    });

    let keys = match &before {
        // The tags stay; a key that was used before another one is not used again.
        Some((last, at)) => said_keys(origin, &last.media[*at]),
        None if ours.secure => own_keys(origin),
        None => Vec::new(),
    };
    origin.say(|id, version| match before {
        Some((last, at)) => {
            let mut text = head(id, version, local, last.time);
            let format = offered(ours, last.media.get(at));
            let used = Used {
                at,
                format: &format,
                direction: ours.direction,
                crypto: keys.clone(),
                mux: ours.mux,
            };
            streams(&mut text, local.port(), &last.media, Some(&used));
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
                &keys,
            );
            multiplexed(&mut text, ours.mux);
            text
        }
    })
}

/// The keys that we offer again.
fn said_keys<'a>(origin: &Origin, media: &Media<'a>) -> Vec<Crypto<'a>> {
    let keys = crypto::usable(media).map(|said| Crypto {
        key: origin.key(said.suite),
        ..said
    });
    keys.collect()
}

/// A key of ours for each suite that we offer: the shorter tag is for who asks for it.
fn own_keys(origin: &Origin) -> Vec<Crypto<'static>> {
    let tagged = [
        ("1", SrtpSuite::AeadAes128Gcm),
        ("2", SrtpSuite::AesCm128HmacSha1_80),
    ];
    let keys = tagged.into_iter().map(|(tag, suite)| Crypto {
        tag,
        suite,
        key: origin.key(suite),
        mki: Mki::default(),
    });
    keys.collect()
}

/// What an answer to our offer has settled.
///
/// # Errors
/// 488 where the answer has not as many streams as the offer, refuses our audio, names no codec of it, or has
/// not the keys that it needs.
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
    if let Some(offered) = common(sent, ours) {
        also_offered(&mut format, &offered);
    }
    let direction = mirrored(answer, media, offer.direction(sent));
    let theirs = crypto::usable(media).next();
    let srtp = theirs.and_then(|theirs| {
        let mut offered = crypto::usable(sent);
        let ours = offered.find(|ours| (ours.tag, ours.suite) == (theirs.tag, theirs.suite))?;
        Some(Srtp {
            send: (ours.suite, ours.key),
            send_mki: ours.mki,
            receive: (theirs.suite, theirs.key),
            receive_mki: theirs.mki,
        })
    });
    // Keys that were offered with plain RTP may be left aside.
    if srtp.is_none() && (is_secure(sent) || is_secure(media)) {
        return Err(not_acceptable("sdp_keys"));
    }

    Ok(AudioSetup {
        remote: SocketAddr::new(address, media.port),
        signaller: None,
        control: control(answer, media, sent.rtcp_mux() && media.rtcp_mux()),
        format,
        direction,
        srtp,
    })
}

/// Adds the numbers of our offer to those that the peer answered with, behind them.
fn also_offered(format: &mut AudioFormat, offered: &AudioFormat) {
    for (number, codec) in &offered.receive {
        if format.receive.iter().all(|(known, _)| known != number) {
            format.receive.push((*number, *codec));
        }
    }
    for (number, clock) in &offered.events {
        let audio = format.receive.iter().any(|(known, _)| known == number);
        let mut events = format.events.iter();
        // Keys at a clock that the peer does not answer with come from nobody, and must not be sent.
        if !audio
            && events.clone().all(|(known, _)| known != number)
            && events.any(|(_, known)| known == clock)
        {
            format.events.push((*number, *clock));
        }
    }
}

/// All lines before the first stream.
fn head(id: u64, version: u64, local: SocketAddr, time: &str) -> String {
    let (family, ip) = (if local.is_ipv4() { "IP4" } else { "IP6" }, local.ip());
    format!("v=0\r\no=- {id} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt={time}\r\n")
}

/// As many streams as `lines`, all refused but the one that is used.
fn streams(text: &mut String, port: u16, lines: &[Media<'_>], used: Option<&Used<'_>>) {
    for (at, media) in lines.iter().enumerate() {
        match used.filter(|used| used.at == at) {
            Some(used) => {
                stream(
                    text,
                    media.protocol,
                    port,
                    used.format,
                    used.direction,
                    &used.crypto,
                );
                multiplexed(text, used.mux);
            }
            None => refused(text, media),
        }
        if let Some(mid) = media.mid() {
            let _ = write!(text, "a=mid:{mid}\r\n");
        }
    }
}

/// The lines of the stream that is used.
pub(super) fn stream(
    text: &mut String,
    protocol: &str,
    port: u16,
    format: &AudioFormat,
    direction: Direction,
    keys: &[Crypto<'_>],
) {
    let numbers = format
        .receive
        .iter()
        .map(|(number, _)| *number)
        .chain(format.comfort_noise)
        .chain(format.events.iter().map(|(number, _)| *number));
    let _ = write!(text, "m=audio {port} {protocol}");
    for number in numbers {
        let _ = write!(text, " {number}");
    }
    text.push_str("\r\n");
    for (number, codec) in &format.receive {
        let _ = write!(text, "a=rtpmap:{number} {}/{}", codec.name(), codec.clock());
        text.push_str(match codec {
            Codec::Opus => "/2\r\n",
            Codec::G722 | Codec::Pcmu | Codec::Pcma => "\r\n",
        });
        if *codec == Codec::Opus {
            let _ = write!(text, "a=fmtp:{number} useinbandfec=1\r\n");
        }
    }
    if let Some(number) = format.comfort_noise {
        let _ = write!(text, "a=rtpmap:{number} CN/8000\r\n");
    }
    for (number, clock) in &format.events {
        let _ = write!(
            text,
            "a=rtpmap:{number} telephone-event/{clock}\r\na=fmtp:{number} 0-15\r\n"
        );
    }
    for Crypto { tag, suite, key, mki } in keys {
        text.push_str(&crypto::line(tag, *suite, key, *mki));
    }
    let _ = write!(
        text,
        "a=ptime:{}\r\na={}\r\n",
        format.packet_ms,
        direction_name(direction)
    );
}

/// RTCP on the port of RTP (RFC 5761).
fn multiplexed(text: &mut String, mux: bool) {
    if mux {
        text.push_str("a=rtcp-mux\r\n");
    }
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
pub(super) fn offered(ours: &Capabilities, before: Option<&Media<'_>>) -> AudioFormat {
    let known = |wanted: Format| {
        let formats = before
            .into_iter()
            .flat_map(|media| media.formats.iter().map(move |text| format(media, text)));
        formats
            .flatten()
            .find(|(_, format)| *format == wanted)
            .map(|(number, _)| number)
    };
    // What has no number of its own gets the one that it usually has, or else the next one that is free.
    let numbers = before.into_iter().flat_map(|media| &media.formats);
    let mut taken: Vec<u8> = numbers.filter_map(|text| text.parse().ok()).collect();
    let mut number = |wanted: Format, usual: u8| {
        known(wanted).or_else(|| {
            let mut numbers = std::iter::once(usual).chain(96..128);
            let number = numbers.find(|number| !taken.contains(number))?;
            taken.push(number);
            Some(number)
        })
    };
    let codecs = ours.codecs.iter().filter_map(|codec| {
        let usual = codec.static_payload_type().unwrap_or(OPUS_TYPE);
        Some((number(Format::Audio(*codec), usual)?, *codec))
    });
    let receive: Vec<(u8, Codec)> = codecs.collect();
    let clocks = EVENT_TYPES
        .iter()
        .filter(|(clock, _)| ours.telephone_event && ours.codecs.iter().any(|codec| codec.clock() == *clock));
    let events = clocks.filter_map(|(clock, usual)| Some((number(Format::Event(*clock), *usual)?, *clock)));
    let events = events.collect();
    let (payload_type, codec) = receive.first().copied().unwrap_or((0, Codec::Pcmu));
    AudioFormat {
        codec,
        payload_type,
        receive,
        events,
        comfort_noise: None,
        opus: OpusLimit::default(),
        packet_ms: ours.packet_ms,
    }
}

#[cfg(test)]
mod tests;

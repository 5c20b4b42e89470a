//! Video codecs of one line: RTP payload formats, their retransmissions (RFC 4588) and feedback (RFC 4585).

use std::fmt::Write as _;

use cordboard_model::media::peer::{Feedback, VideoCodec, VideoFormat};

use crate::sdp::session::{Media, parameter};

/// The clock of every video codec.
const CLOCK: u32 = 90_000;
/// The longest parameters of a codec that are passed on, in bytes.
const MAX_PARAMETERS: usize = 256;
/// All the feedback that we can make use of.
const ALL_FEEDBACK: Feedback = Feedback {
    nack: true,
    pli: true,
    fir: true,
    transport_cc: true,
};

/// A codec on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    /// What the media side needs of it. Its parameters are only those that tell one bit stream from another,
    /// so that peers that write the others differently still understand each other.
    pub(super) known: VideoFormat,
    /// The parameters as its owner wrote them.
    pub(super) written: String,
}

/// What is offered where we offer first: the numbers that browsers use, so that few of them change.
pub(super) fn first() -> Vec<Format> {
    let codecs = [
        (VideoCodec::Vp8, 96, 97, ""),
        (
            VideoCodec::H264,
            102,
            103,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ),
        (VideoCodec::Vp9, 98, 99, "profile-id=0"),
        (VideoCodec::Av1, 45, 46, ""),
    ];
    codecs
        .map(|(codec, number, rtx, written)| Format {
            known: VideoFormat {
                codec,
                parameters: telling(codec, written),
                payload_type: number,
                rtx: Some(rtx),
                feedback: ALL_FEEDBACK,
            },
            written: written.to_owned(),
        })
        .to_vec()
}

/// The codecs of the peer's line that we forward: the best variant of each, those first that the most peers
/// decode.
pub(super) fn usable(media: &Media<'_>) -> Vec<Format> {
    let repeats = repeats(media);
    let read = |text: &&str| read(media, text, &repeats);
    // Of two that are worth the same the first.
    let all: Vec<Format> = media.formats.iter().rev().filter_map(read).collect();
    let best = VideoCodec::ALL.into_iter().filter_map(|codec| {
        let variants = all.iter().filter(|format| format.known.codec == codec);
        variants.max_by_key(|format| rank(format)).cloned()
    });
    best.collect()
}

/// The payload types that repeat others (RFC 4588), and which: looked for once, as a line may have many formats and
/// attributes.
fn repeats<'a>(media: &Media<'a>) -> Vec<(&'a str, Option<u8>)> {
    let repeated = |text: &&'a str| {
        let map = media.rtpmap(text)?;
        let is_rtx = map.encoding.eq_ignore_ascii_case("rtx");
        let written = media.fmtp(text).filter(|_| is_rtx)?;
        Some((parameter(written, "apt")?, number(text)))
    };
    media.formats.iter().filter_map(repeated).collect()
}

fn read(media: &Media<'_>, text: &str, repeats: &[(&str, Option<u8>)]) -> Option<Format> {
    let payload_type = number(text)?;
    let map = media.rtpmap(text).filter(|map| map.clock == CLOCK)?;
    let codec = VideoCodec::ALL
        .into_iter()
        .find(|codec| map.encoding.eq_ignore_ascii_case(codec.name()))?;
    let written = media.fmtp(text).unwrap_or_default();
    if written.len() > MAX_PARAMETERS || written.chars().any(char::is_control) {
        return None;
    }
    let rtx = repeats.iter().find(|(repeated, _)| *repeated == text);
    Some(Format {
        known: VideoFormat {
            codec,
            parameters: telling(codec, written),
            payload_type,
            rtx: rtx.and_then(|(_, rtx)| *rtx),
            feedback: feedback(media, text),
        },
        written: written.to_owned(),
    })
}

fn number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number| *number < 128)
}

/// The parameters that tell one bit stream of a codec from another, in one spelling.
fn telling(codec: VideoCodec, written: &str) -> String {
    let value = |key: &str, default| parameter(written, key).unwrap_or(default).to_ascii_lowercase();
    match codec {
        VideoCodec::Vp8 => String::new(),
        VideoCodec::Vp9 => format!("profile-id={}", value("profile-id", "0")),
        VideoCodec::Av1 => format!("profile={}", value("profile", "0")),
        // RFC 6184 section 8.1: profile and constraints are the first two bytes; the level is the receiver's limit.
        VideoCodec::H264 => {
            let level = value("profile-level-id", "42000a");
            let profile: String = level.chars().take(4).collect();
            let mode = value("packetization-mode", "0");
            format!("packetization-mode={mode};profile={profile}")
        }
    }
}

/// How much a variant of a codec is worth: constrained baseline is what every browser must have (RFC 7742
/// section 6.2), and profile 0 of the others.
fn rank(format: &Format) -> u8 {
    match (format.known.codec, format.known.parameters.as_str()) {
        (VideoCodec::H264, "packetization-mode=1;profile=42e0") => 3,
        (VideoCodec::H264, "packetization-mode=1;profile=4200") => 2,
        (VideoCodec::H264, other) => u8::from(other.starts_with("packetization-mode=1")),
        (VideoCodec::Vp9, "profile-id=0") | (VideoCodec::Av1, "profile=0") => 1,
        _ => 0,
    }
}

/// The feedback that a line names for a payload type, as far as we make use of it.
fn feedback(media: &Media<'_>, text: &str) -> Feedback {
    let mut found = Feedback::default();
    for line in media.attributes.iter().filter(|a| a.name == "rtcp-fb") {
        let Some((format, what)) = line.value.trim().split_once(' ') else {
            continue;
        };
        if format != text && format != "*" {
            continue;
        }
        match what.trim() {
            "nack" => found.nack = true,
            "nack pli" => found.pli = true,
            "ccm fir" => found.fir = true,
            "transport-cc" => found.transport_cc = true,
            _ => {}
        }
    }
    found
}

/// What is left of what we offered after the peer's answer: our numbers and parameters hold.
pub(super) fn agreed(ours: &[Format], answer: &Media<'_>) -> Vec<Format> {
    let repeats = repeats(answer);
    let left = ours.iter().filter_map(|format| {
        let text = format.known.payload_type.to_string();
        let theirs = read(answer, &text, &repeats).filter(|_| answer.formats.contains(&text.as_str()))?;
        if theirs.known.codec != format.known.codec {
            return None;
        }
        let (a, b) = (format.known.feedback, theirs.known.feedback);
        let feedback = Feedback {
            nack: a.nack && b.nack,
            pli: a.pli && b.pli,
            fir: a.fir && b.fir,
            transport_cc: a.transport_cc && b.transport_cc,
        };
        let rtx = format.known.rtx.filter(|rtx| theirs.known.rtx == Some(*rtx));
        Some(Format {
            known: VideoFormat {
                feedback,
                rtx,
                ..format.known.clone()
            },
            written: format.written.clone(),
        })
    });
    left.collect()
}

/// The payload types of a line, as they stand in its first row.
pub(super) fn numbers(formats: &[Format]) -> impl Iterator<Item = u8> {
    formats
        .iter()
        .flat_map(|format| std::iter::once(format.known.payload_type).chain(format.known.rtx))
}

pub(super) fn write(text: &mut String, formats: &[Format]) {
    for Format { known, written } in formats {
        let number = known.payload_type;
        let _ = write!(text, "a=rtpmap:{number} {}/{CLOCK}\r\n", known.codec.name());
        if !written.is_empty() {
            let _ = write!(text, "a=fmtp:{number} {written}\r\n");
        }
        let kinds = [
            (known.feedback.nack, "nack"),
            (known.feedback.pli, "nack pli"),
            (known.feedback.fir, "ccm fir"),
            (known.feedback.transport_cc, "transport-cc"),
        ];
        for (_, kind) in kinds.into_iter().filter(|(negotiated, _)| *negotiated) {
            let _ = write!(text, "a=rtcp-fb:{number} {kind}\r\n");
        }
        if let Some(rtx) = known.rtx {
            let _ = write!(
                text,
                "a=rtpmap:{rtx} rtx/{CLOCK}\r\na=fmtp:{rtx} apt={number}\r\n"
            );
        }
    }
}

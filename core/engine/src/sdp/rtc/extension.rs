//! Header extensions of RTP (RFC 8285) as lines name them.

use std::fmt::Write as _;

use cordboard_model::media::peer::HeaderExtensions;

use crate::sdp::session::Media;

const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const ORIENTATION: &str = "urn:3gpp:video-orientation";

/// What we offer for audio where we offer first.
pub(super) const FIRST_AUDIO: HeaderExtensions = HeaderExtensions {
    audio_level: Some(1),
    abs_send_time: None,
    transport_cc: None,
    mid: Some(4),
    rid: None,
    orientation: None,
};

/// What we offer for video where we offer first.
pub(super) const FIRST_VIDEO: HeaderExtensions = HeaderExtensions {
    audio_level: None,
    abs_send_time: Some(2),
    transport_cc: Some(3),
    mid: Some(4),
    rid: None,
    orientation: Some(13),
};

/// The extensions of a line that we know, with the ids of whoever wrote it.
pub(super) fn read(media: &Media<'_>) -> HeaderExtensions {
    let audio = media.kind == "audio";
    let mut found = HeaderExtensions::default();
    for line in media.attributes.iter().filter(|a| a.name == "extmap") {
        let Some((id, uri)) = entry(line.value) else {
            continue;
        };
        let place = match uri {
            AUDIO_LEVEL if audio => &mut found.audio_level,
            ABS_SEND_TIME if !audio => &mut found.abs_send_time,
            TRANSPORT_CC if !audio => &mut found.transport_cc,
            MID => &mut found.mid,
            RID if !audio => &mut found.rid,
            ORIENTATION if !audio => &mut found.orientation,
            _ => continue,
        };
        place.get_or_insert(id);
    }
    found
}

/// `4/sendonly urn:x`. Ids of the one-byte form only: nobody needs more than 14.
fn entry(value: &str) -> Option<(u8, &str)> {
    let mut words = value.split_ascii_whitespace();
    let id = words.next()?.split('/').next()?.parse().ok()?;
    (1..=14).contains(&id).then_some((id, words.next()?))
}

/// What both sides name with the same id.
pub(super) fn common(ours: HeaderExtensions, theirs: HeaderExtensions) -> HeaderExtensions {
    let both = |a: Option<u8>, b: Option<u8>| a.filter(|id| b == Some(*id));
    HeaderExtensions {
        audio_level: both(ours.audio_level, theirs.audio_level),
        abs_send_time: both(ours.abs_send_time, theirs.abs_send_time),
        transport_cc: both(ours.transport_cc, theirs.transport_cc),
        mid: both(ours.mid, theirs.mid),
        rid: both(ours.rid, theirs.rid),
        orientation: both(ours.orientation, theirs.orientation),
    }
}

pub(super) fn write(text: &mut String, extensions: HeaderExtensions) {
    let all = [
        (extensions.audio_level, AUDIO_LEVEL),
        (extensions.abs_send_time, ABS_SEND_TIME),
        (extensions.transport_cc, TRANSPORT_CC),
        (extensions.mid, MID),
        (extensions.rid, RID),
        (extensions.orientation, ORIENTATION),
    ];
    for (id, uri) in all {
        if let Some(id) = id {
            let _ = write!(text, "a=extmap:{id} {uri}\r\n");
        }
    }
}

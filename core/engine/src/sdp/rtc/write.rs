//! Writing our side of a WebRTC call.

use std::fmt::Write as _;

use cordboard_model::media::Direction;

use super::bundle::Bundle;
use super::line::{Audio, Camera, Content, Line, Slot, Track};
use super::{extension, transport, video};
use crate::sdp::negotiate::direction_name;
use crate::sdp::offer_answer::stream;

/// Our side of the handshake in an offer (RFC 8842 section 5.2).
pub(super) const OFFERED: &str = "actpass";

/// The whole description: an offer where `setup`, our side of the handshake, is still open.
pub(super) fn description(bundle: &Bundle, lines: &[Line], setup: &str, id: u64, version: u64) -> String {
    let offering = setup == OFFERED;
    let local = bundle
        .local
        .as_ref()
        .expect("nothing is described before the transport is made");
    let address = transport::default_address(local);
    let (ip, port) = (address.ip(), address.port());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let mut text =
        format!("v=0\r\no=- {id} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n");
    let mids = || {
        let used = lines.iter().filter(|line| !line.is_refused());
        used.filter_map(|line| line.mid.as_deref())
    };
    // An answer groups only what its offer grouped (RFC 9143 section 7.3); a call of ours begins with a group.
    let bundled = bundle.bundled || bundle.lines.is_empty();
    if bundled && mids().next().is_some() {
        text.push_str("a=group:BUNDLE");
        for mid in mids() {
            let _ = write!(text, " {mid}");
        }
        text.push_str("\r\n");
    }
    text.push_str("a=msid-semantic:WMS *\r\na=ice-lite\r\n");
    let first = lines.iter().position(|line| !line.is_refused());
    for (place, line) in lines.iter().enumerate() {
        match &line.content {
            Content::Refused(formats) => {
                let _ = write!(text, "m={} 0 {} {formats}\r\n", line.kind, line.protocol);
            }
            Content::Audio(Audio {
                format, direction, ..
            }) => {
                stream(&mut text, &line.protocol, port, format, *direction, &[]);
            }
            Content::Voice(voice) => {
                let direction = Direction {
                    send: !voice.held || offering,
                    receive: false,
                };
                stream(&mut text, &line.protocol, port, &voice.format, direction, &[]);
            }
            Content::Camera(Camera { formats, .. }) | Content::Slot(Slot { formats, .. }) => {
                let _ = write!(text, "m=video {port} {}", line.protocol);
                for number in video::numbers(formats) {
                    let _ = write!(text, " {number}");
                }
                text.push_str("\r\n");
            }
        }
        if let Some(mid) = &line.mid {
            let _ = write!(text, "a=mid:{mid}\r\n");
        }
        if line.is_refused() {
            continue;
        }
        transport::write(&mut text, local, setup, first == Some(place));
        if offering || line.mux {
            text.push_str("a=rtcp-mux\r\n");
        }
        content(&mut text, line, bundle.reduced_size, offering);
    }
    text
}

/// What is each line's own. An offer says what we are ready for; whether the peer is too, its answer says.
fn content(text: &mut String, line: &Line, reduced_size: bool, offering: bool) {
    match &line.content {
        Content::Refused(_) => {}
        Content::Audio(audio) => {
            extension::write(text, audio.extensions);
            if audio.direction.send {
                track(text, &audio.track, None);
            }
        }
        Content::Voice(voice) => {
            extension::write(text, voice.extensions);
            if !voice.held || offering {
                track(text, &voice.track, None);
            }
        }
        Content::Camera(camera) => {
            let direction = Direction {
                send: false,
                receive: camera.flowing || offering,
            };
            video_line(text, direction, &camera.formats, reduced_size);
            extension::write(text, camera.extensions);
        }
        Content::Slot(slot) => {
            let shows = slot.shows.as_ref().filter(|_| !slot.held || offering);
            let direction = Direction {
                send: shows.is_some(),
                receive: false,
            };
            video_line(text, direction, &slot.formats, reduced_size);
            extension::write(text, slot.extensions);
            if let Some(shown) = shows {
                let _ = write!(text, "a=label:{}\r\n", shown.label);
                track(text, &shown.track, Some(shown.rtx).filter(|_| slot.has_rtx()));
            }
        }
    }
}

fn video_line(text: &mut String, direction: Direction, formats: &[video::Format], reduced_size: bool) {
    let _ = write!(text, "a={}\r\n", direction_name(direction));
    if reduced_size {
        text.push_str("a=rtcp-rsize\r\n");
    }
    video::write(text, formats);
}

/// How what we send is named: by stream and track (RFC 8830), and by SSRC (RFC 5576).
fn track(text: &mut String, track: &Track, rtx: Option<u32>) {
    let Track {
        ssrc,
        cname,
        stream,
        id,
    } = track;
    let _ = write!(text, "a=msid:{stream} {id}\r\n");
    if let Some(rtx) = rtx {
        let _ = write!(text, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
    }
    for ssrc in std::iter::once(*ssrc).chain(rtx) {
        let _ = write!(text, "a=ssrc:{ssrc} cname:{cname}\r\n");
    }
}

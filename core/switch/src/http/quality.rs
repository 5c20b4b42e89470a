//! How well the media of a conference is carried, one participant after the other: `GET
//! /v1/conferences/{id}/stats`. Never as metric labels: there are as many as there are calls.
//!
//! `received` and `sent` are the participant's audio, seen from the switch. `videos.received` is what it shows,
//! `videos.sent` what it is sent `of` others (their channel); there `lost`, `jitter_ms` and `round_trip_ms` are what it
//! reports itself. `nacks` and `plis` are packets and pictures that the receiver of a stream asked for, `resends`
//! packets that were sent again for that. Where `waits_for_key_frame` is true nothing is forwarded until one comes, and
//! the picture stands still.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use cordboard_engine::quality::Participant;
use cordboard_model::ConferenceId;
use cordboard_model::LegId;
use cordboard_model::media::peer::VideoTotals;
use cordboard_model::media::{Codec, LegQuality};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::operator::{admit, late};
use super::route::{JSON, Shared, answer};
use super::signaling::Peer;

/// The participants of a conference and what their media has moved.
pub(super) async fn stats(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = admit(&shared, peer, &headers).await {
        return refused;
    }
    let Ok(id) = id.parse::<ConferenceId>() else {
        return nobody("an id has 32 hexadecimal digits, dashes allowed");
    };
    let taken = tokio::time::timeout(shared.setup.limits.timeout, (shared.setup.quality)(id));
    match taken.await {
        Err(_) => late(),
        Ok(None) => nobody("nobody is in this conference"),
        Ok(Some(participants)) => {
            let channel = |leg: LegId| {
                let mut all = participants.iter();
                let found = all.find(|(participant, _)| participant.leg == leg);
                found.map(|(participant, _)| participant.channel.as_str())
            };
            let one = |one| described(one, &channel);
            let all: Vec<Value> = participants.iter().map(one).collect();
            let body = json!({ "conference": id.to_string(), "participants": all });
            answer(StatusCode::OK, JSON, format!("{body}\n"))
        }
    }
}

fn nobody(message: &str) -> Response {
    let body = json!({ "error": "not_found", "message": message });
    answer(StatusCode::NOT_FOUND, JSON, format!("{body}\n"))
}

fn described<'a>(
    (participant, quality): &(Participant, Option<LegQuality>),
    channel: &impl Fn(LegId) -> Option<&'a str>,
) -> Value {
    let mut text = json!({
        "channel": participant.channel,
        "name": participant.name,
        "user": participant.user,
        "transport": participant.transport.name(),
        "since": participant.since.unix_seconds(),
        "codec": participant.codec.map(Codec::name),
        "muted": participant.muted,
        "deaf": participant.deaf,
        "webrtc": participant.webrtc,
        "shows": participant.shows,
        "sees": participant.sees,
    });
    let Some(quality) = quality else { return text };
    let totals = quality.totals;
    text["received"] = json!({
        "packets": totals.packets_in,
        "lost": totals.lost,
        "late": totals.late,
        "jitter_ms": totals.jitter_ms,
    });
    text["sent"] = json!({ "packets": totals.packets_out });
    if let Some(peer) = totals.peer {
        text["sent"]["lost"] = json!(peer.lost);
        text["sent"]["jitter_ms"] = json!(peer.jitter_ms);
        text["sent"]["round_trip_ms"] = json!(peer.round_trip.map(milliseconds));
    }
    let videos = |own: bool| {
        let all = quality.videos.iter();
        let these = all.filter(move |video| video.source.is_none() == own);
        these
            .map(|video| described_video(video, channel))
            .collect::<Vec<_>>()
    };
    text["videos"] = json!({ "received": videos(true), "sent": videos(false) });
    text
}

/// One line: what the participant shows, or what it is sent of another.
fn described_video<'a>(video: &VideoTotals, channel: &impl Fn(LegId) -> Option<&'a str>) -> Value {
    let mut text = json!({
        "mid": video.mid,
        "packets": video.packets,
        "bytes": video.bytes,
        "lost": video.lost,
        "jitter_ms": video.jitter_ms,
        "nacks": video.nacks,
        "plis": video.plis,
        "resends": video.resends,
    });
    match &video.source {
        None => text["hidden"] = json!(video.stopped),
        Some(source) => {
            text["of"] = json!(channel(source.leg));
            text["round_trip_ms"] = json!(video.round_trip.map(milliseconds));
            text["waits_for_key_frame"] = json!(video.stopped);
        }
    }
    text
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

//! How well the media of a conference is carried, one participant after the other: `GET
//! /v1/conferences/{id}/stats`. Never as metric labels: there are as many as there are calls.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use cordboard_engine::quality::Participant;
use cordboard_model::ConferenceId;
use cordboard_model::media::{Codec, LegTotals};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::operator::{opens, unauthorized};
use super::route::{JSON, Shared, answer};

/// The participants of a conference and what their media has moved.
pub(super) async fn stats(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !opens(&headers, &shared.setup.tokens.borrow()) {
        return unauthorized();
    }
    let Ok(id) = id.parse::<ConferenceId>() else {
        return nobody("an id has 32 hexadecimal digits, dashes allowed");
    };
    let taken = tokio::time::timeout(shared.setup.limits.timeout, (shared.setup.quality)(id));
    match taken.await {
        Err(_) => {
            let body = json!({ "error": "timeout", "message": "the switch did not answer in time" });
            answer(StatusCode::SERVICE_UNAVAILABLE, JSON, format!("{body}\n"))
        }
        Ok(None) => nobody("nobody is in this conference"),
        Ok(Some(participants)) => {
            let all: Vec<Value> = participants.iter().map(described).collect();
            let body = json!({ "conference": id.to_string(), "participants": all });
            answer(StatusCode::OK, JSON, format!("{body}\n"))
        }
    }
}

fn nobody(message: &str) -> Response {
    let body = json!({ "error": "not_found", "message": message });
    answer(StatusCode::NOT_FOUND, JSON, format!("{body}\n"))
}

fn described((participant, totals): &(Participant, Option<LegTotals>)) -> Value {
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
    if let Some(totals) = totals {
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
            text["sent"]["round_trip_ms"] = json!(peer.round_trip.map(|span| span.as_secs_f64() * 1000.0));
        }
    }
    text
}

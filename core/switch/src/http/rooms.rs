//! Tickets for chat rooms: for users by their token, for guests by an invite code.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use bytes::Bytes;
use cordboard_engine::chat::io::Proof;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::route::{JSON, Shared, answer};
use super::signaling::Peer;

/// The type of refusals, as chat clients know it.
const REFUSAL: &str = "text/json; charset=utf-8";
/// The longest body of a request, in bytes.
const BODY: usize = 16 << 10;

/// `POST /v1/rooms/{room_id}/start`
pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Path(room): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii());
    let proof = match token {
        Some(token) => Proof::Token(Sha256::digest(token).into()),
        None => Proof::NoToken,
    };
    let mut response = ticket(&shared, peer, room, proof, body).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        let value = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// `POST /v1/rooms/{room_id}/start_invited`
pub(super) async fn start_invited(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Path(room): Path<String>,
    body: Body,
) -> Response {
    ticket(&shared, peer, room, Proof::Invitation, body).await
}

async fn ticket(shared: &Shared, peer: Peer, room: String, proof: Proof, body: Body) -> Response {
    let time = shared.setup.limits.timeout;
    let Ok(body) = tokio::time::timeout(time, to_bytes(body, BODY)).await else {
        return refuse(408, "timeout", "the body did not come in time");
    };
    let Ok(body) = body else {
        return refuse(413, "too_large", "the body is too large, or was broken off");
    };
    let asked = tokio::time::timeout(time, shared.setup.chat.start(peer.address, room, proof, body));
    match asked.await {
        Ok(Some((200, body))) => answer(StatusCode::OK, JSON, body),
        Ok(Some((status, body))) => refusal(status, body),
        Ok(None) | Err(_) => refuse(503, "timeout", "the switch did not answer in time"),
    }
}

/// What chat clients are told when something is refused.
pub(super) fn refusal(status: u16, body: Bytes) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, REFUSAL, body)
}

/// The same for what the HTTP server itself refuses.
pub(super) fn refuse(status: u16, code: &str, message: &str) -> Response {
    refusal(
        status,
        json!({ "code": code, "message": message }).to_string().into(),
    )
}

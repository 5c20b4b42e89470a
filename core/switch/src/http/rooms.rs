//! Tickets for chat rooms: for users by their token, for guests by an invite code.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use cordboard_engine::chat::io::Proof;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::route::{JSON, Shared, answer};
use super::signaling::Peer;

/// The type of refusals, as chat clients know it.
const REFUSAL: &str = "text/json; charset=utf-8";
/// The longest body of a request, in bytes.
const BODY: usize = 16 << 10;

/// Where the chat's own routes begin.
const ROOMS: &str = "/v1/rooms/";
/// What they take.
pub(super) const METHODS: &str = "POST, OPTIONS";
/// What a page may send besides what every page may.
const HEADERS: &str = "authorization, content-type, x-auth-token, x-request-id";
/// For how long a browser needs not ask again, in seconds.
const MAX_AGE: &str = "86400";

/// Whether this is a path of the chat.
pub(super) fn is_room(path: &str) -> bool {
    path.starts_with(ROOMS)
}

/// Pages of every origin may ask for tickets and read what they are told, refusals too (the Fetch standard, CORS).
/// What opens a room is in the request itself, a token or an invite code: no cookie, nothing that a browser adds for a
/// page that does not know it.
pub(super) async fn from_every_page(request: Request, next: Next) -> Response {
    let room = is_room(request.uri().path());
    let mut response = next.run(request).await;
    if room {
        let every = HeaderValue::from_static("*");
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, every);
    }
    response
}

/// `OPTIONS`: what a browser asks before it lets a page of another origin send its request.
pub(super) async fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in [
        (ALLOW, METHODS),
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

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

//! The routes and their answers.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{StatusCode, Version};
use serde_json::json;

use super::count::Counters;
use super::operator::WrongTokens;
use super::{HttpSetup, rooms};
use crate::metric::Exporter;

/// What is known of the media of everybody in a conference.
const STATS: &str = "/v1/conferences/{id}/stats";
/// A source that is banned.
const BAN: &str = "/v1/bans/{source}";
/// Tickets for users, and for guests.
const START: &str = "/v1/rooms/{room_id}/start";
const START_INVITED: &str = "/v1/rooms/{room_id}/start_invited";
const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// What every request sees.
pub(super) struct Shared {
    pub(super) setup: HttpSetup,
    pub(super) exporter: Exporter,
    pub(super) counters: Counters,
    pub(super) wrong: WrongTokens,
}

/// The routes.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { answer(StatusCode::OK, TEXT, "ok\n") }))
        .route("/readyz", get(ready))
        .route("/v1/bans", get(super::operator::bans))
        .route(BAN, delete(super::operator::lift_ban))
        .route(START, post(rooms::start).options(rooms::preflight))
        .route(
            START_INVITED,
            post(rooms::start_invited).options(rooms::preflight),
        )
        .route("/signaling", get(super::signaling::signaling))
        .route(STATS, get(super::quality::stats))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(shared))
        .layer(middleware::from_fn(named_host))
        .layer(middleware::from_fn(rooms::from_every_page))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), measure))
}

pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

async fn measure(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let matched = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    let route = match matched.as_deref() {
        Some("/") => "/",
        Some("/metrics") => "/metrics",
        Some("/healthz") => "/healthz",
        Some("/readyz") => "/readyz",
        Some("/v1/bans") => "/v1/bans",
        Some(BAN) => BAN,
        Some(START) => START,
        Some(START_INVITED) => START_INVITED,
        Some("/signaling") => "/signaling",
        Some(STATS) => STATS,
        _ => "other",
    };
    shared
        .counters
        .request(route, &method, response.status(), begun.elapsed());
    response
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let taken = tokio::time::timeout(shared.setup.limits.timeout, (shared.setup.snapshot)());
    let Ok(snapshot) = taken.await else {
        let body = json!({ "error": "timeout", "message": "the switch did not hand out its counts in time" });
        return answer(StatusCode::SERVICE_UNAVAILABLE, JSON, format!("{body}\n"));
    };
    let text = shared.exporter.text(&snapshot, &shared.counters.snapshot());
    answer(StatusCode::OK, prometheus::TEXT_FORMAT, text)
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let reasons = (shared.setup.not_ready)();
    let (status, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    answer(
        status,
        JSON,
        format!("{}\n", json!({ "status": word, "reasons": reasons })),
    )
}

async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let node = escape(&shared.setup.node);
    let version = env!("CARGO_PKG_VERSION");
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Cordboard on {node}</title>\n\
         <h1>Cordboard {version} on {node}</h1>\n\
         <ul><li><a href=\"/metrics\">metrics</a><li><a href=\"/healthz\">health</a><li><a href=\"/readyz\">readiness</a></ul>\n"
    );
    answer(StatusCode::OK, HTML, html)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Whoever speaks HTTP/1.1 says once whom it speaks to (RFC 9112 section 3.2).
async fn named_host(request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
        (None, _) => request.version() < Version::HTTP_11,
    };
    if named {
        return next.run(request).await;
    }
    let message = "a request of HTTP/1.1 has one Host header, with a name or an address";
    refuse_at(request.uri().path(), 400, "bad_request", message)
}

/// An authority without a user; empty where the target has none.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || (!value.contains(&b'@') && Authority::try_from(value).is_ok())
}

async fn not_found(request: Request) -> Response {
    let message = "there is nothing here; / says what there is";
    refuse_at(request.uri().path(), 404, "not_found", message)
}

async fn wrong_method(request: Request) -> Response {
    let path = request.uri().path();
    let (allowed, message) = if rooms::is_room(path) {
        (rooms::METHODS, "use POST")
    } else if path.starts_with("/v1/bans/") {
        ("DELETE", "use DELETE")
    } else {
        ("GET, HEAD", "use GET")
    };
    let mut response = refuse_at(path, 405, "method_not_allowed", message);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A refusal in the form that clients of this path know.
fn refuse_at(path: &str, status: u16, code: &str, message: &str) -> Response {
    if rooms::is_room(path) {
        return rooms::refuse(status, code, message);
    }
    let status = StatusCode::from_u16(status).expect("one of the statuses here");
    let body = json!({ "error": code, "message": message });
    answer(status, JSON, format!("{body}\n"))
}

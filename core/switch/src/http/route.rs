//! The routes and their answers.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::StatusCode;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::HttpSetup;
use super::count::Counters;
use crate::metric::Exporter;

/// What is known of the media of everybody in a conference.
const STATS: &str = "/v1/conferences/{id}/stats";
const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// What every request sees.
pub(super) struct Shared {
    pub(super) setup: HttpSetup,
    pub(super) exporter: Exporter,
    pub(super) counters: Counters,
}

/// The routes.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { answer(StatusCode::OK, TEXT, "ok\n") }))
        .route("/readyz", get(ready))
        .route("/v1/bans", get(super::operator::bans))
        .route("/v1/rooms/{room_id}/start", post(super::rooms::start))
        .route(
            "/v1/rooms/{room_id}/start_invited",
            post(super::rooms::start_invited),
        )
        .route("/signaling", get(super::signaling::signaling))
        .route(STATS, get(super::quality::stats))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(shared))
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
        Some("/v1/rooms/{room_id}/start") => "/v1/rooms/{room_id}/start",
        Some("/v1/rooms/{room_id}/start_invited") => "/v1/rooms/{room_id}/start_invited",
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

async fn not_found() -> Response {
    let body = json!({ "error": "not_found", "message": "there is nothing here; / says what there is" });
    answer(StatusCode::NOT_FOUND, JSON, format!("{body}\n"))
}

async fn wrong_method(request: Request) -> Response {
    let (allowed, message) = match request.uri().path().starts_with("/v1/rooms/") {
        true => ("POST", "use POST"),
        false => ("GET, HEAD", "use GET"),
    };
    let body = json!({ "error": "method_not_allowed", "message": message });
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, JSON, format!("{body}\n"));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

//! What operators may ask with a token of an account: `X-Auth-Token: ...` or `Authorization: Bearer ...`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::route::{JSON, Shared, answer};

/// The sources that are banned: address, scope (all of the source, or what there calls itself a scanner),
/// reason, offences, until when.
pub(super) async fn bans(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !opens(&headers, &shared.setup.tokens.borrow()) {
        return unauthorized();
    }
    let taken = tokio::time::timeout(shared.setup.limits.timeout, (shared.setup.bans)());
    let Ok(bans) = taken.await else {
        let body = json!({ "error": "timeout", "message": "the switch did not answer in time" });
        return answer(StatusCode::SERVICE_UNAVAILABLE, JSON, format!("{body}\n"));
    };
    let bans: Vec<_> = bans
        .iter()
        .map(|ban| {
            json!({
                "source": ban.source.to_string(),
                "network": match ban.source.is_ipv4() {
                    true => format!("{}/32", ban.source),
                    false => format!("{}/64", ban.source),
                },
                "scope": ban.scope.name(),
                "reason": ban.reason.name(),
                "offences": ban.offences,
                "until": ban.until.unix_seconds(),
            })
        })
        .collect();
    answer(StatusCode::OK, JSON, format!("{}\n", json!({ "bans": bans })))
}

pub(super) fn unauthorized() -> Response {
    let message = "send a token of `[[account]] tokens` as X-Auth-Token or as a Bearer token";
    let body = json!({ "error": "unauthorized", "message": message });
    let mut response = answer(StatusCode::UNAUTHORIZED, JSON, format!("{body}\n"));
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether a request holds one of the tokens. Hashes are compared, so how long it takes tells nothing
/// about the tokens themselves.
pub(super) fn opens(headers: &HeaderMap, tokens: &[[u8; 32]]) -> bool {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token);
    let given = headers.get("x-auth-token").map(HeaderValue::as_bytes).or(bearer);
    given.is_some_and(|given| {
        let given: [u8; 32] = Sha256::digest(given).into();
        tokens.contains(&given)
    })
}

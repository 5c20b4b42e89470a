//! What operators may ask with a token of an account: `X-Auth-Token: ...` or `Authorization: Bearer ...`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use cordboard_engine::limits::source;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use ipnet::IpNet;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::route::{JSON, Shared, answer};
use super::signaling::Peer;

/// Sources whose last wrong token is remembered.
const WRONG: usize = 1024;

/// The sources that are banned: address, scope (all of the source, or what there calls itself a scanner),
/// reason, offences, until when.
pub(super) async fn bans(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = admit(&shared, peer, &headers).await {
        return refused;
    }
    let taken = tokio::time::timeout(shared.setup.limits.timeout, (shared.setup.bans)());
    let Ok(bans) = taken.await else {
        return late();
    };
    let bans: Vec<_> = bans
        .iter()
        .map(|ban| {
            json!({
                "source": ban.source.to_string(),
                "network": ban.network().to_string(),
                "scope": ban.scope.name(),
                "reason": ban.reason.name(),
                "offences": ban.offences,
                "until": ban.until.unix_seconds(),
            })
        })
        .collect();
    answer(StatusCode::OK, JSON, format!("{}\n", json!({ "bans": bans })))
}

/// `DELETE /v1/bans/{source}`: the bans of this source end before their time. A source is named as the list of bans
/// names it, by its network (`192.0.2.5%2F32`, `2001:db8::%2F64`) or an address of it. Nobody lifts the ban of where he
/// is himself: with a token of any account, one could guess passwords and PINs without end.
pub(super) async fn lift_ban(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = admit(&shared, peer, &headers).await {
        return refused;
    }
    let lifted = match named(&name) {
        None => Some(false),
        Some(banned) if banned == source(peer.address) => return own_ban(),
        Some(source) => {
            let lifted = (shared.setup.lift_ban)(source);
            let lifted = tokio::time::timeout(shared.setup.limits.timeout, lifted).await;
            let lifted = lifted.ok().flatten();
            if lifted == Some(true) {
                tracing::info!(%source, operator = %peer.address, "an operator has lifted a ban");
            }
            lifted
        }
    };
    match lifted {
        None => late(),
        Some(true) => answer(StatusCode::NO_CONTENT, JSON, ""),
        Some(false) => {
            let message = "no ban of this source holds; GET /v1/bans lists those that do";
            let body = json!({ "error": "not_found", "message": message });
            answer(StatusCode::NOT_FOUND, JSON, format!("{body}\n"))
        }
    }
}

fn own_ban() -> Response {
    let message = "this is the source that you ask from, whose ban is for others to lift: ask from another address, or \
                   end it with a reload (SIGHUP) that has the source in `[sip] trusted`";
    let body = json!({ "error": "forbidden", "message": message });
    answer(StatusCode::FORBIDDEN, JSON, format!("{body}\n"))
}

/// The source that a network or an address means; `None` for what is neither, or a network that is no source.
fn named(name: &str) -> Option<IpAddr> {
    if let Ok(address) = name.parse() {
        return Some(source(address));
    }
    let network: IpNet = name.parse().ok()?;
    let whole = if network.addr().is_ipv4() { 32 } else { 64 };
    (network.prefix_len() == whole).then(|| source(network.addr()))
}

/// Whether a request may be answered: it must bear one of the tokens, from a source that has not guessed too often. A
/// wrong token is an offence like a wrong digest, the same one again and a missing one are none.
pub(super) async fn admit(shared: &Shared, peer: Peer, headers: &HeaderMap) -> Result<(), Response> {
    let Some(token) = token(headers) else {
        return Err(unauthorized());
    };
    // Hashes are compared, so how long it takes tells nothing about the tokens themselves.
    let given: [u8; 32] = Sha256::digest(token).into();
    let right = shared.setup.tokens.borrow().contains(&given);
    if !right && shared.wrong.is_repeated(peer.address, given) {
        return Err(unauthorized());
    }
    let shown = (shared.setup.show_token)(peer.address, right);
    match tokio::time::timeout(shared.setup.limits.timeout, shown).await {
        Err(_) | Ok(None) => Err(late()),
        Ok(Some(Err(left))) => Err(banned(left)),
        Ok(Some(Ok(()))) if right => Ok(()),
        Ok(Some(Ok(()))) => Err(unauthorized()),
    }
}

fn banned(left: Duration) -> Response {
    let message = "too many wrong proofs have come from this address; try again later";
    let body = json!({ "error": "too_many_requests", "message": message });
    let mut response = answer(StatusCode::TOO_MANY_REQUESTS, JSON, format!("{body}\n"));
    let seconds = left.as_secs() + 1; // not a moment before its end
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// The last wrong token of each source, as a hash: a dashboard whose token has been changed sends the same one again
/// and again, and guesses nothing.
#[derive(Debug, Default)]
pub(super) struct WrongTokens {
    last: Mutex<HashMap<IpAddr, [u8; 32]>>,
}

impl WrongTokens {
    fn is_repeated(&self, source: IpAddr, token: [u8; 32]) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= WRONG && !last.contains_key(&source) {
            last.clear(); // each of them is an offence once more
        }
        last.insert(source, token) == Some(token)
    }
}

/// The switch is too busy, or ends.
pub(super) fn late() -> Response {
    let body = json!({ "error": "timeout", "message": "the switch did not answer in time" });
    answer(StatusCode::SERVICE_UNAVAILABLE, JSON, format!("{body}\n"))
}

fn unauthorized() -> Response {
    let message = "send a token of `[[account]] tokens` as X-Auth-Token or as a Bearer token";
    let body = json!({ "error": "unauthorized", "message": message });
    let mut response = answer(StatusCode::UNAUTHORIZED, JSON, format!("{body}\n"));
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The token that a request bears; an empty one is none.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii());
    let given = headers.get("x-auth-token").map(HeaderValue::as_bytes);
    [given, bearer]
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty())
}

//! The HTTP server: metrics, health, what operators may ask with a token, chat, and a page that says what there is.
//!
//! The same routes on every address, with TLS or without. Connections are bounded in number, and each client in time: for the
//! head of a request, and for its answer.

mod count;
mod operator;
mod patience;
mod quality;
mod rooms;
mod route;
mod server;
mod signaling;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cordboard_engine::limits::Ban;
use cordboard_engine::quality::Participant;
use cordboard_model::ConferenceId;
use cordboard_model::media::LegQuality;
use tokio::sync::watch;

use crate::chat::ChatDoor;
use crate::config::resolved::Http;
use crate::metric::Snapshot;
use crate::net::bind::advice;
use crate::tls::Keys;

pub(crate) use server::{bind, serve};

/// Collects what all workers have counted.
pub(crate) type TakeSnapshot = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Snapshot> + Send>> + Send + Sync>;

/// Who is in a conference, each with what its media has moved; `None` if it is not alive.
pub(crate) type TakeQuality = Arc<
    dyn Fn(
            ConferenceId,
        ) -> Pin<Box<dyn Future<Output = Option<Vec<(Participant, Option<LegQuality>)>>> + Send>>
        + Send
        + Sync,
>;

/// Lists the sources that are banned.
pub(crate) type TakeBans = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Ban>> + Send>> + Send + Sync>;

/// Ends the bans of a source; whether there was one. `None` if control has ended.
pub(crate) type LiftBan =
    Arc<dyn Fn(IpAddr) -> Pin<Box<dyn Future<Output = Option<bool>> + Send>> + Send + Sync>;

/// Tells that a token was shown by somebody there, and whether it is right. Where it is not heard, for a source is
/// banned that has guessed too often, gives how long that will last; nothing where the switch ends.
pub(crate) type ShowToken = Arc<
    dyn Fn(IpAddr, bool) -> Pin<Box<dyn Future<Output = Option<Result<(), Duration>>> + Send>> + Send + Sync,
>;

/// Says why the node is not ready; empty if it is.
pub(crate) type NotReady = Arc<dyn Fn() -> Vec<Reason> + Send + Sync>;

/// Why the node should get no new work.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Reason {
    /// A word for programs: `draining` or `plugin`.
    pub(crate) reason: &'static str,
    /// What it is about, such as a plugin's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// A sentence for people.
    pub(crate) detail: String,
}

impl Reason {
    /// The node is draining.
    pub(crate) fn draining() -> Self {
        Self {
            reason: "draining",
            name: None,
            detail: "the node takes no new calls and will end".into(),
        }
    }

    /// Every configured plugin that does not serve.
    pub(crate) fn of_plugins(host: &cordboard_host::Host) -> Vec<Self> {
        let missing = host.state().into_iter().filter(|state| !state.is_ready());
        missing
            .map(|state| Self {
                reason: "plugin",
                name: Some(state.name),
                detail: state.problem.unwrap_or_else(|| "it is not loaded".into()),
            })
            .collect()
    }
}

/// What the server needs of the switch.
pub(crate) struct HttpSetup {
    /// The node's name, shown on the page.
    pub(crate) node: String,
    /// Bounds.
    pub(crate) limits: Http,
    /// For `/metrics`.
    pub(crate) snapshot: TakeSnapshot,
    /// For `/readyz`.
    pub(crate) not_ready: NotReady,
    /// SHA-256 of the tokens that open `/v1`.
    pub(crate) tokens: watch::Receiver<Vec<[u8; 32]>>,
    /// For every route that wants one of the tokens.
    pub(crate) show_token: ShowToken,
    /// For `/v1/bans`.
    pub(crate) bans: TakeBans,
    /// For `/v1/bans/{source}`.
    pub(crate) lift_ban: LiftBan,
    /// For `/v1/rooms` and `/signaling`.
    pub(crate) chat: ChatDoor,
    /// For `/v1/conferences/{id}/stats`.
    pub(crate) quality: TakeQuality,
    /// For HTTPS.
    pub(crate) keys: Arc<Keys>,
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address} (`[http] {key}`): {}", advice(source))]
pub(crate) struct BindError {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The key that asks for it.
    pub(crate) key: &'static str,
    /// Why.
    pub(crate) source: std::io::Error,
}

//! The chat WebSocket: the upgrade, pings, and what is read from and written to one client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use bytes::Bytes;
use cordboard_engine::chat::io::Departure;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::patience::{PATIENCE, Progress, Watched};
use super::rooms::{refusal, refuse};
use super::route::Shared;
use crate::chat::{ChatDoor, ChatFrame, FrameDoor, Handshake, Welcome};
use crate::net::oversize::linger;
use crate::net::violation::Violation;

const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// A message of so many bytes ends the connection.
const LARGEST: usize = 1_000_000;
/// How often a client is pinged.
const PING: Duration = Duration::from_secs(15);
/// No pong for so long, and the client is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// What is read at once, in bytes; each connection keeps so much.
const READ_BUFFER: usize = 4 << 10;

/// The other end of an HTTP connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) secure: bool,
}

type Socket = WebSocketStream<Watched<TokioIo<Upgraded>>>;

/// `GET /signaling`
pub(super) async fn signaling(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
) -> Response {
    let headers = request.headers();
    let accept = websocket_key(headers).map(|key| derive_accept_key(key.as_bytes()));
    let protocols = protocols(headers);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let handshake = Handshake {
        source: peer.address,
        secure: peer.secure,
        protocols,
        upgradable: accept.is_some() && upgrade.is_some(),
    };
    let asked = timeout(shared.setup.limits.timeout, shared.setup.chat.open(handshake));
    let (connection, welcome) = match asked.await {
        Ok(Some(Ok(opened))) => opened,
        Ok(Some(Err((status, body)))) => return refusal(status, body),
        Ok(None) | Err(_) => return refuse(503, "timeout", "the switch did not answer in time"),
    };
    let (Some(accept), Some(upgrade)) = (accept, upgrade) else {
        // The engine refuses what cannot be upgraded; should it not, the connection ends as it began.
        shared.setup.chat.closed(connection, Departure::Lost).await;
        return refuse(400, "no_websocket", "this is no request that opens a WebSocket");
    };
    let protocol = welcome.protocol;
    tokio::spawn(serve(upgrade, connection, welcome, shared.setup.chat.clone()));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(ACCEPT, accept);
    }
    response
}

/// All subprotocols that are offered, as one list.
fn protocols(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(PROTOCOL).into_iter();
    let lists: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    (!lists.is_empty()).then(|| lists.join(","))
}

/// The key of a request that can open a WebSocket (RFC 6455 section 4.2.1).
fn websocket_key(headers: &HeaderMap) -> Option<String> {
    let lists = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).into_iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let opens = lists(CONNECTION, "upgrade") && lists(UPGRADE, "websocket") && lists(VERSION, "13");
    let key = headers.get(KEY)?.to_str().ok()?.trim();
    (opens && key.len() == 24).then(|| key.to_owned())
}

async fn serve(upgrade: OnUpgrade, connection: u64, welcome: Welcome, chat: ChatDoor) {
    let Ok(Ok(stream)) = timeout(PATIENCE, upgrade).await else {
        return chat.closed(connection, Departure::Lost).await;
    };
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(LARGEST - 1))
        .max_frame_size(Some(LARGEST - 1));
    let stream = Watched::new(TokioIo::new(stream), chat.hoard());
    let progress = stream.progress();
    let socket: Socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
    let (mut sink, mut source) = socket.split();
    let frames = chat.frames(connection);
    let (departure, violation) = {
        let reading = read(&mut source, &frames, &progress);
        let writing = write(&mut sink, welcome.frames, &progress);
        tokio::pin!(reading, writing);
        tokio::select! {
            ended = &mut reading => ended,
            () = &mut writing => {
                // We have closed it; what the client still says is heard until it closes, too.
                let _ = timeout(Duration::from_secs(1), &mut reading).await;
                (Departure::Lost, None)
            }
        }
    };
    if let Some(violation) = violation
        && let Ok(socket) = sink.reunite(source)
    {
        show_out(socket, violation, &progress).await;
        chat.garbage(violation.reason()).await;
    }
    if progress.is_overfull() {
        chat.garbage("messages_held_full").await;
    }
    chat.closed(connection, departure).await;
    welcome.attendance.over();
}

/// The client has sent what it may not: it is told so before the connection ends.
async fn show_out(mut socket: Socket, violation: Violation, progress: &Progress) {
    if progress.in_time(socket.close(Some(violation.close()))).await {
        linger(socket.get_mut(), || progress.whole()).await;
    }
}

/// Reads until the client goes: how it went, and what it did if it is to be shown out.
async fn read(
    source: &mut SplitStream<Socket>,
    frames: &FrameDoor<'_>,
    progress: &Progress,
) -> (Departure, Option<Violation>) {
    let mut deadline = Instant::now() + SILENCE;
    loop {
        let frame = match timeout_at(deadline, source.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return (Departure::Lost, Violation::of(&error)),
            Ok(None) => return (Departure::Lost, None),
            // Pings wait behind what is written before them: who still reads that is not gone.
            Err(_) => match progress.resumed().map(|at| at + SILENCE) {
                Some(later) if later > deadline => {
                    deadline = later;
                    continue;
                }
                _ => return (Departure::Lost, None),
            },
        };
        let came = Instant::now();
        match frame {
            Frame::Text(text) => frames.hand_over(Bytes::from(text)).await,
            Frame::Binary(bytes) => frames.hand_over(bytes).await,
            Frame::Pong(_) => deadline = Instant::now() + SILENCE,
            Frame::Close(said) => {
                // Poll once more, so that our half of the close goes out.
                let _ = timeout(Duration::from_millis(100), source.next()).await;
                let departure = match said {
                    // A page that is loaded anew, or a client that will be back.
                    Some(CloseFrame {
                        code: CloseCode::Away,
                        ..
                    }) => Departure::Lost,
                    _ => Departure::Quit,
                };
                return (departure, None);
            }
            Frame::Ping(_) | Frame::Frame(_) => {} // pings are answered by the library
        }
        progress.whole();
        // While we do not listen, nobody is silent.
        deadline += came.elapsed();
    }
}

async fn write(
    sink: &mut SplitSink<Socket, Frame>,
    mut queue: mpsc::Receiver<ChatFrame>,
    progress: &Progress,
) {
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        let next = tokio::select! {
            next = queue.recv() => next,
            _ = pings.tick() => {
                let ping = Frame::Ping(Bytes::from_static(b"heartbeat"));
                if !progress.in_time(sink.send(ping)).await {
                    return;
                }
                continue;
            }
        };
        let mut next = Some(next);
        // What waits already goes out in one write.
        while let Some(one) = next.take() {
            let (code, reason) = match one {
                Some(ChatFrame::Text(text)) => {
                    if !progress.in_time(sink.feed(Frame::Text(text))).await {
                        return;
                    }
                    next = queue.try_recv().ok().map(Some);
                    continue;
                }
                Some(ChatFrame::Close(code, reason)) => (code, reason),
                None => (1008, "the client reads too slowly"),
            };
            let close = Frame::Close(Some(CloseFrame {
                code: code.into(),
                reason: reason.into(),
            }));
            progress.in_time(sink.send(close)).await; // it may have gone first
            return;
        }
        if !progress.in_time(sink.flush()).await {
            return;
        }
    }
}

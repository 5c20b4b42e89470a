//! SIP over WebSocket (RFC 7118): one message per frame, subprotocol `sip`, path `/ws`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::{Flow, Packet, Transport};
use cordboard_engine::sip::message::Framing;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::connection::{Connections, PATIENCE, WRITE_PATIENCE};

/// How often a silent browser is pinged.
const PING: Duration = Duration::from_secs(30);
/// Nothing for so long, not even a pong, and the browser is gone.
const SILENCE: Duration = Duration::from_secs(95);

/// Takes connections until the task is dropped.
pub(crate) async fn listen(listener: TcpListener, index: u16, connections: Connections) {
    loop {
        let Ok(place) = connections.places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connections = connections.clone();
                tokio::spawn(async move {
                    serve(stream, peer, index, &connections).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a WebSocket connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, index: u16, connections: &Connections) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let limits = WebSocketConfig::default()
        .max_message_size(Some(connections.max_message))
        .max_frame_size(Some(connections.max_message));
    let handshake = accept_hdr_async_with_config(stream, choose, Some(limits));
    let Ok(Ok(socket)) = timeout(PATIENCE, handshake).await else {
        return connections.garbage("websocket_handshake").await;
    };
    let (flow, queue) = connections.open(Transport::Ws, index, peer).await;
    let (sink, source) = socket.split();
    tokio::select! {
        () = read(source, flow, connections) => {}
        () = write(sink, queue) => {}
    }
    connections.close(flow).await;
}

/// The path must be `/ws` and the subprotocol `sip` must be offered (RFC 7118 section 4.1).
#[allow(clippy::result_large_err)] // the library's own signature
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status: StatusCode, why: &str| {
        let mut response = ErrorResponse::new(Some(why.to_owned()));
        *response.status_mut() = status;
        Err(response)
    };
    if request.uri().path() != "/ws" {
        return refuse(StatusCode::NOT_FOUND, "SIP over WebSocket is at /ws\n");
    }
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let sip = |value: &HeaderValue| {
        value.to_str().is_ok_and(|list| {
            list.split(',')
                .any(|name| name.trim().eq_ignore_ascii_case("sip"))
        })
    };
    if !offers.iter().any(sip) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the WebSocket subprotocol must be: sip\n",
        );
    }
    response
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
    Ok(response)
}

async fn read(mut source: SplitStream<WebSocketStream<TcpStream>>, flow: Flow, connections: &Connections) {
    loop {
        let raw = match timeout(SILENCE, source.next()).await {
            Ok(Some(Ok(Frame::Text(text)))) => Bytes::from(text),
            Ok(Some(Ok(Frame::Binary(bytes)))) => bytes,
            Ok(Some(Ok(Frame::Close(_)) | Err(_)) | None) => return,
            Ok(Some(Ok(_))) => continue, // pings are answered by the library
            Err(_) => return connections.garbage("too_slow").await,
        };
        // JsSIP keeps its connection alive by empty lines (RFC 5626 section 3.5.1).
        if raw.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            continue;
        }
        connections.deliver(flow, raw, Framing::Datagram).await;
    }
}

async fn write(mut sink: SplitSink<WebSocketStream<TcpStream>, Frame>, mut queue: mpsc::Receiver<Packet>) {
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        let frame = tokio::select! {
            packet = queue.recv() => match packet {
                Some(packet) => frame(&packet),
                None => break, // control has let go of the connection
            },
            _ = pings.tick() => Frame::Ping(Bytes::from_static(b"cordboard")),
        };
        if !matches!(timeout(WRITE_PATIENCE, sink.send(frame)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = sink.close().await; // the peer may have gone first
}

/// Browsers want text; a body that is none travels in a binary frame (RFC 7118 section 4.2).
fn frame(packet: &Packet) -> Frame {
    let whole = [packet.head.as_ref(), packet.tail.as_ref()].concat();
    match String::from_utf8(whole) {
        Ok(text) => Frame::text(text),
        Err(error) => Frame::binary(error.into_bytes()),
    }
}

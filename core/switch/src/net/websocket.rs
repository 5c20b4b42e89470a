//! SIP over WebSocket (RFC 7118): one message per frame, subprotocol `sip`, path `/ws`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::{Flow, Packet};
use cordboard_engine::sip::message::Framing;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::backlog::{Backlog, Queue};
use super::connection::{Connections, GAVE_WAY, PATIENCE, WRITE_PATIENCE};
use super::meter::{Meter, Metered};
use super::oversize::{Bounded, linger};
use super::place::Place;
use super::upgrade::upgrade;
use super::violation::Violation;

/// What is read at once, in bytes; each connection keeps so much.
const READ_BUFFER: usize = 4 << 10;
/// How often a silent browser is pinged.
const PING: Duration = Duration::from_secs(30);
/// Nothing for so long, not even a pong, and the browser is gone.
const SILENCE: Duration = Duration::from_secs(95);
/// How long what is still to be said to a peer is waited for, once it has sent a message that is too large.
const ANSWER: Duration = Duration::from_millis(500);

/// How long a peer may take to take our half of a close that it has begun.
const LAST: Duration = Duration::from_millis(100);

/// Serves a connection from its first byte (after TLS, where there is TLS) until either side ends it.
pub(super) async fn serve<S>(stream: S, way: Flow, place: &Place, connections: &Connections)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = Metered::new(stream, &connections.hoard);
    let upgrading = timeout(PATIENCE, upgrade(&mut stream, way.transport));
    let upgraded = tokio::select! {
        upgraded = upgrading => upgraded,
        () = place.seat.given_away() => return connections.garbage(GAVE_WAY).await,
    };
    let rest = match upgraded {
        Ok(Ok(rest)) => rest,
        Ok(Err(reason)) => return connections.garbage(reason).await,
        Err(_) => return connections.garbage("too_slow").await,
    };
    let most = connections.max_message();
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let meter = stream.meter();
    let stream = Bounded::new(stream, rest, most);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
    let (flow, mut queue) = connections.open(way, &place.seat).await;
    let backlog = queue.backlog();
    let (mut sink, mut source) = socket.split();
    let violation = tokio::select! {
        violation = read(&mut source, &meter, flow, &backlog, connections) => violation,
        () = write(&mut sink, &mut queue, connections) => None,
        () = place.seat.given_away() => {
            connections.garbage(GAVE_WAY).await;
            None
        }
    };
    if let Ok(mut socket) = sink.reunite(source) {
        part(&mut socket, queue, violation, flow, place, &meter, connections).await;
    } else {
        connections.close(flow).await;
    }
}

/// Ends a connection that nothing is read from any more. Control lets go of it before the peer is shown out, which may
/// take a while: what it had to say until then would be heard by nobody, and it would believe that it was.
async fn part<S>(
    socket: &mut WebSocketStream<Bounded<S>>,
    queue: Queue,
    violation: Option<Violation>,
    flow: Flow,
    place: &Place,
    meter: &Meter,
    connections: &Connections,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let violation = if socket.get_ref().is_over() {
        tokio::select! {
            violation = refuse(socket, queue, flow, connections) => violation,
            () = place.seat.given_away() => {
                connections.garbage(GAVE_WAY).await;
                None
            }
        }
    } else {
        if let Some(violation) = violation {
            connections.garbage(violation.reason()).await;
        }
        violation
    };
    connections.close(flow).await;
    let Some(violation) = violation else { return };
    tokio::select! {
        () = show_out(socket, violation, meter) => {}
        () = place.seat.given_away() => connections.garbage(GAVE_WAY).await,
    }
}

/// A message was too large: it is answered if its head can be read. Says why the connection ends, if the peer can be
/// told.
async fn refuse<S>(
    socket: &mut WebSocketStream<Bounded<S>>,
    mut queue: Queue,
    flow: Flow,
    connections: &Connections,
) -> Option<Violation>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(head) = socket.get_mut().head(PATIENCE).await {
        let backlog = queue.backlog();
        let delivering = connections.deliver(flow, head, Framing::Head, &backlog);
        // Who does not take what waits for it hears nothing of this either.
        if timeout(WRITE_PATIENCE, delivering).await.is_err() {
            return None;
        }
        let end = Instant::now() + ANSWER;
        while let Ok(Some((packet, _))) = timeout_at(end, queue.next()).await {
            if !matches!(
                timeout(WRITE_PATIENCE, socket.send(frame(&packet))).await,
                Ok(Ok(()))
            ) {
                return None;
            }
        }
    } else {
        connections.garbage("too_large").await;
    }
    Some(Violation::Size)
}

/// Tells the peer why its connection ends.
async fn show_out<S>(socket: &mut WebSocketStream<Bounded<S>>, violation: Violation, meter: &Meter)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let close = socket.close(Some(violation.close()));
    if matches!(timeout(WRITE_PATIENCE, close).await, Ok(Ok(()))) {
        linger(socket.get_mut().stream(), || meter.whole()).await;
    }
}

/// Reads until the peer goes; what it did that it may not, if it did.
async fn read<S>(
    source: &mut SplitStream<WebSocketStream<S>>,
    meter: &Meter,
    flow: Flow,
    backlog: &Arc<Backlog>,
    connections: &Connections,
) -> Option<Violation>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let arrived = timeout(SILENCE, source.next()).await;
        if meter.is_overfull() {
            connections.garbage("messages_held_full").await;
            return None;
        }
        meter.whole();
        let raw = match arrived {
            Ok(Some(Ok(Frame::Text(text)))) => Bytes::from(text),
            Ok(Some(Ok(Frame::Binary(bytes)))) => bytes,
            Ok(Some(Ok(Frame::Close(_)))) => {
                // Poll once more, so that our half of the close goes out.
                let _ = timeout(LAST, source.next()).await;
                return None;
            }
            Ok(Some(Ok(_))) => continue, // pings are answered by the library
            Ok(Some(Err(error))) => return Violation::of(&error),
            Ok(None) => return None,
            Err(_) => {
                connections.garbage("too_slow").await;
                return None;
            }
        };
        // JsSIP keeps its connection alive by empty lines (RFC 5626 section 3.5.1).
        if raw.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            continue;
        }
        connections.deliver(flow, raw, Framing::Datagram, backlog).await;
    }
}

async fn write<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Frame>,
    queue: &mut Queue,
    connections: &Connections,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        let (frame, receipt) = tokio::select! {
            packet = queue.next() => match packet {
                Some((packet, receipt)) => (frame(&packet), Some(receipt)),
                None => break, // control has let go of the connection
            },
            _ = pings.tick() => (Frame::Ping(Bytes::from_static(b"cordboard")), None),
        };
        let written = timeout(WRITE_PATIENCE, sink.send(frame)).await;
        if let Some(receipt) = receipt {
            queue.written(receipt);
        }
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
    let (code, reason) = match connections.control.has_ended() {
        true => (CloseCode::Away, "the switch ends"),
        false => (
            CloseCode::Policy,
            "the switch does not listen to this connection any more",
        ),
    };
    let reason = reason.into();
    // The peer may have gone first, or may not read.
    let close = sink.send(Frame::Close(Some(CloseFrame { code, reason })));
    let _ = timeout(WRITE_PATIENCE, close).await;
}

/// Browsers want text; a body that is none travels in a binary frame (RFC 7118 section 4.2).
fn frame(packet: &Packet) -> Frame {
    let whole = [packet.head.as_ref(), packet.tail.as_ref()].concat();
    match String::from_utf8(whole) {
        Ok(text) => Frame::text(text),
        Err(error) => Frame::binary(error.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cordboard_engine::io::Transport;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::clock::Clock;
    use crate::control::{Arrival, ControlParts};
    use crate::net::place::Bounds;
    use crate::tls::{Keys, Material, Roots};

    const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n";
    /// A frame of no known kind.
    const STRANGE: [u8; 6] = [0x83, 0x80, 0, 0, 0, 0];

    /// A peer that takes its time to hear why it has to go is nobody to send to meanwhile.
    #[tokio::test]
    async fn control_lets_go_before_who_broke_a_rule_is_shown_out() {
        let (mut parts, control) = ControlParts::new().unwrap();
        let keys = Arc::new(Keys::new(Material::new(None, &Roots::none()).unwrap()));
        let bounds = Bounds {
            most: 9,
            of_source: 9,
        };
        let connections = Connections::new(control, Clock::start(), keys, bounds, 1000);
        let peer = "192.0.2.1:9".parse().unwrap();
        let way = Flow {
            transport: Transport::Ws,
            listener: 0,
            peer,
            connection: 0,
        };
        // Less than the close frame has, so that this waits for the peer.
        let (mut client, stream) = duplex(8);
        let serving = tokio::spawn(async move {
            let place = connections.places.take(peer.ip()).unwrap();
            serve(stream, way, &place, &connections).await;
        });
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        client.write_all(&STRANGE).await.unwrap();
        let is_closed = |arrival: &Arrival| matches!(arrival, Arrival::Closed { .. });
        // Held like control holds them: who drops the one that opens a connection has let go of it.
        let mut held = Vec::new();
        while !held.last().is_some_and(is_closed) {
            held.push(parts.next_arrival().await.expect("it is closed in the end"));
        }
        held.clear();
        let mut close = [0; 2];
        client.read_exact(&mut close).await.unwrap();
        let mut why = vec![0; usize::from(close[1])];
        client
            .read_exact(&mut why)
            .await
            .expect("only now it is heard why");
        assert_eq!((close[0], &why[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
        drop(client);
        serving.await.unwrap();
        assert!(
            parts.next_arrival().await.is_none(),
            "once, and nobody is left who could say more"
        );
    }
}

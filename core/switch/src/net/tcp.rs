//! SIP over a stream, TCP or TLS (RFC 3261 section 18): framing by Content-Length.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use cordboard_engine::io::Flow;
use cordboard_engine::sip::message::{Framed, Framing, frame};
use futures_util::future::maybe_done;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::backlog::{Backlog, Queue};
use super::connection::{Connections, GAVE_WAY, IDLE, PATIENCE, SKIPPED, WRITE_PATIENCE};
use super::oversize::linger;
use super::place::Place;

/// What is read at once of a body that is skipped, in bytes.
const SKIP_BUFFER: usize = 4 << 10;
/// How long answers that are not there yet are waited for, where the peer sends nothing more. Most who close their side
/// have closed both: what comes later than this finds them by a connection to the port that their Via names.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Why nothing more is read from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is broken, or its peer is not wanted: nothing more is written either.
    Broken,
    /// The peer sends nothing more, but may still read.
    HalfClosed,
    /// Nobody knows where the next message begins. What has been asked is answered.
    Unmeasured,
}

/// Serves a connection until either side ends it.
pub(super) async fn serve<R, W>(reader: R, writer: W, way: Flow, place: &Place, connections: &Connections)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (flow, queue) = connections.open(way, &place.seat).await;
    let backlog = queue.backlog();
    let (pong, pongs) = mpsc::channel(1);
    let mut reader = reader;
    let mut writing = pin!(maybe_done(write(writer, queue, pongs)));
    let serving = async {
        let end = tokio::select! {
            end = read(&mut reader, flow, pong, &backlog, connections) => end,
            () = &mut writing => End::Broken,
        };
        if end == End::HalfClosed && backlog.is_owing() {
            connections.half_close(flow).await;
            tokio::select! {
                // Late answers are not worth a place.
                _ = timeout(LAST_ANSWERS, backlog.settled()) => {}
                () = &mut writing => {}
            }
        }
        connections.close(flow).await;
        if end == End::Broken {
            return;
        }
        writing.await; // what was answered before, and then our side is closed too
        if end == End::Unmeasured {
            linger(&mut reader, || {}).await;
        }
    };
    let gave_way = tokio::select! {
        () = serving => false,
        () = place.seat.given_away() => true,
    };
    if gave_way {
        connections.garbage(GAVE_WAY).await;
        connections.close(flow).await; // once more is no harm
    }
}

async fn read<R>(
    reader: &mut R,
    flow: Flow,
    pong: mpsc::Sender<()>,
    backlog: &Arc<Backlog>,
    connections: &Connections,
) -> End
where
    R: AsyncRead + Unpin,
{
    let broken = async |reason| {
        connections.garbage(reason).await;
        End::Broken
    };
    let mut buffer = BytesMut::new();
    let mut part = connections.hoard.part();
    let mut greeted = false;
    loop {
        match frame(&buffer, connections.max_message()) {
            Ok(Framed::Message(length)) => {
                greeted = true;
                let message = buffer.split_to(length).freeze();
                connections.deliver(flow, message, Framing::Stream, backlog).await;
                if buffer.is_empty() {
                    buffer = BytesMut::new(); // otherwise it keeps the memory of its largest message
                }
                continue;
            }
            Ok(Framed::KeepAlive(length)) => {
                buffer.advance(length);
                if length == 4 && pong.try_send(()).is_err() {
                    connections.garbage("ping_flood").await;
                }
                continue;
            }
            Ok(Framed::TooLarge { head, body }) => {
                greeted = true;
                let raw = buffer.split_to(head).freeze();
                connections.deliver(flow, raw, Framing::Head, backlog).await;
                part = connections.hoard.part(); // nothing of it is held
                let skipped = skip(reader, &mut buffer, body.min(SKIPPED)).await;
                match skipped {
                    Ok(true) if body > SKIPPED => return End::Broken, // it has been counted
                    Ok(true) => {}
                    Ok(false) => return End::HalfClosed,
                    Err(_) => return broken("too_slow").await,
                }
                continue;
            }
            Ok(Framed::Unmeasured(head)) => {
                let raw = buffer.split_to(head).freeze();
                connections.deliver(flow, raw, Framing::Unmeasured, backlog).await;
                return End::Unmeasured;
            }
            Ok(Framed::Incomplete) => {}
            Err(malformed) => return broken(malformed.reason).await,
        }
        if !part.hold(buffer.len()) {
            return broken("messages_held_full").await;
        }
        let patience = if greeted && buffer.is_empty() {
            IDLE
        } else {
            PATIENCE
        };
        match timeout(patience, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return End::HalfClosed,
            Ok(Err(_)) => return End::Broken,
            Ok(Ok(_)) => {}
            Err(_) => return broken("too_slow").await,
        }
    }
}

/// Reads so many bytes and keeps none of them; false if the stream has ended before.
async fn skip<R>(reader: &mut R, buffer: &mut BytesMut, mut bytes: usize) -> Result<bool, Elapsed>
where
    R: AsyncRead + Unpin,
{
    loop {
        let some = bytes.min(buffer.len());
        buffer.advance(some);
        bytes -= some;
        if bytes == 0 {
            *buffer = BytesMut::from(&buffer[..]); // otherwise it keeps the memory of what was skipped
            return Ok(true);
        }
        if buffer.capacity() == SKIP_BUFFER {
            buffer.clear();
        } else {
            *buffer = BytesMut::with_capacity(SKIP_BUFFER);
        }
        if matches!(timeout(PATIENCE, reader.read_buf(buffer)).await?, Ok(0) | Err(_)) {
            return Ok(false);
        }
    }
}

async fn write<W>(mut writer: W, mut queue: Queue, mut pongs: mpsc::Receiver<()>)
where
    W: AsyncWrite + Unpin,
{
    loop {
        let written = tokio::select! {
            packet = queue.next() => match packet {
                Some((packet, receipt)) => {
                    let sending = send(&mut writer, packet.head.chain(packet.tail));
                    let written = timeout(WRITE_PATIENCE, sending).await;
                    queue.written(receipt);
                    written
                }
                None => break, // control has let go of the connection
            },
            Some(()) = pongs.recv() => timeout(WRITE_PATIENCE, send(&mut writer, &b"\r\n"[..])).await,
        };
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
    // The peer may have gone first, or may not read.
    let _ = timeout(WRITE_PATIENCE, writer.shutdown()).await;
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, mut bytes: impl Buf) -> io::Result<()> {
    writer.write_all_buf(&mut bytes).await?;
    writer.flush().await // TLS keeps back what the socket did not take at once
}

#[cfg(test)]
mod tests {
    use cordboard_engine::io::{Packet, Transport};
    use tokio::io::{duplex, split};

    use super::*;
    use crate::clock::Clock;
    use crate::control::{Arrival, ControlParts};
    use crate::net::place::Bounds;
    use crate::tls::{Keys, Material, Roots};

    const REQUEST: &str = "MESSAGE sip:bob@lab.test SIP/2.0\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n";

    /// Control hears at once that nothing more comes, and of the end when the answer has gone out.
    #[tokio::test]
    async fn who_closes_its_side_is_told_what_comes_of_its_request() {
        let (mut parts, control) = ControlParts::new().unwrap();
        let keys = Arc::new(Keys::new(Material::new(None, &Roots::none()).unwrap()));
        let (most, of_source) = (9, 9);
        let connections = Connections::new(control, Clock::start(), keys, Bounds { most, of_source }, 1000);
        let peer = "192.0.2.1:9".parse().unwrap();
        let way = Flow {
            transport: Transport::Tcp,
            listener: 0,
            peer,
            connection: 0,
        };
        let (mut client, stream) = duplex(10_000);
        let serving = tokio::spawn(async move {
            let place = connections.places.take(peer.ip()).unwrap();
            let (reader, writer) = split(stream);
            serve(reader, writer, way, &place, &connections).await;
        });
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let Some(Arrival::Opened { writer, .. }) = parts.next_arrival().await else {
            panic!("a connection opens first")
        };
        let message = parts.next_arrival().await;
        assert!(matches!(message, Some(Arrival::Message { .. })));
        drop(message);
        let half_closed = parts.next_arrival().await;
        assert!(
            matches!(half_closed, Some(Arrival::HalfClosed { .. })),
            "{half_closed:?}"
        );
        let answer = "SIP/2.0 202 Accepted\r\n\r\n";
        writer.write(Packet::whole(answer.into())).unwrap();
        let mut heard = vec![0; answer.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, answer.as_bytes());
        assert!(matches!(parts.next_arrival().await, Some(Arrival::Closed { .. })));
        drop(writer); // as control does then
        assert_eq!(client.read(&mut heard).await.unwrap(), 0);
        serving.await.unwrap();
    }
}

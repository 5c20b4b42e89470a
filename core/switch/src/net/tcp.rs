//! SIP over a stream, TCP or TLS (RFC 3261 section 18): framing by Content-Length.

use std::io;

use bytes::{Buf, BytesMut};
use cordboard_engine::io::{Flow, Packet};
use cordboard_engine::sip::message::{Framed, Framing, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::connection::{Connections, GAVE_WAY, IDLE, PATIENCE, SKIPPED, WRITE_PATIENCE};
use super::place::Place;

/// What is read at once of a body that is skipped, in bytes.
const SKIP_BUFFER: usize = 4 << 10;

/// Serves a connection until either side ends it.
pub(super) async fn serve<R, W>(reader: R, writer: W, way: Flow, place: &Place, connections: &Connections)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (flow, queue) = connections.open(way, &place.seat).await;
    let (pong, pongs) = mpsc::channel(1);
    tokio::select! {
        () = read(reader, flow, pong, connections) => {}
        () = write(writer, queue, pongs) => {}
        () = place.seat.given_away() => connections.garbage(GAVE_WAY).await,
    }
    connections.close(flow).await;
}

async fn read<R>(mut reader: R, flow: Flow, pong: mpsc::Sender<()>, connections: &Connections)
where
    R: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::new();
    let mut part = connections.hoard.part();
    let mut greeted = false;
    loop {
        match frame(&buffer, connections.max_message()) {
            Ok(Framed::Message(length)) => {
                greeted = true;
                let message = buffer.split_to(length).freeze();
                connections.deliver(flow, message, Framing::Stream).await;
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
                connections.deliver(flow, raw, Framing::Head).await;
                part = connections.hoard.part(); // nothing of it is held
                let skipped = skip(&mut reader, &mut buffer, body.min(SKIPPED)).await;
                match skipped {
                    Ok(true) if body > SKIPPED => return, // it has been counted
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(_) => return connections.garbage("too_slow").await,
                }
                continue;
            }
            Ok(Framed::Incomplete) => {}
            Err(malformed) => return connections.garbage(malformed.reason).await,
        }
        if !part.hold(buffer.len()) {
            return connections.garbage("messages_held_full").await;
        }
        let patience = if greeted && buffer.is_empty() {
            IDLE
        } else {
            PATIENCE
        };
        match timeout(patience, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => {}
            Err(_) => return connections.garbage("too_slow").await,
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

async fn write<W>(mut writer: W, mut queue: mpsc::Receiver<Packet>, mut pongs: mpsc::Receiver<()>)
where
    W: AsyncWrite + Unpin,
{
    loop {
        let written = tokio::select! {
            packet = queue.recv() => match packet {
                Some(packet) => timeout(WRITE_PATIENCE, send(&mut writer, packet.head.chain(packet.tail))).await,
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

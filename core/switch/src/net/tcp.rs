//! SIP over TCP (RFC 3261 section 18): accepting, dialling, framing by Content-Length.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use cordboard_engine::io::{Flow, Packet, Transport};
use cordboard_engine::sip::message::{Framed, Framing, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{Connections, IDLE, PATIENCE, WRITE_PATIENCE};

/// How long a connection of ours may take to come up.
const DIAL: Duration = Duration::from_secs(5);

/// Takes connections until the task is dropped.
pub(crate) async fn listen(listener: TcpListener, index: u16, connections: Connections) {
    loop {
        // Waiting for a place before accepting leaves further peers in the kernel's own bounded queue.
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
                tracing::warn!(%error, "a TCP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Makes a connection to a peer; its packets then come from and go to it as with any other.
///
/// # Errors
/// Why there is no connection.
pub(crate) async fn dial(peer: SocketAddr, index: u16, connections: Connections) -> io::Result<()> {
    let place = connections
        .places
        .clone()
        .try_acquire_owned()
        .map_err(|_| io::ErrorKind::ResourceBusy)?;
    let stream = timeout(DIAL, TcpStream::connect(peer))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    tokio::spawn(async move {
        serve(stream, peer, index, &connections).await;
        drop(place);
    });
    Ok(())
}

async fn serve(stream: TcpStream, peer: SocketAddr, index: u16, connections: &Connections) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (flow, queue) = connections.open(Transport::Tcp, index, peer).await;
    let (reader, writer) = stream.into_split();
    let (pong, pongs) = mpsc::channel(1);
    tokio::select! {
        () = read(reader, flow, pong, connections) => {}
        () = write(writer, queue, pongs) => {}
    }
    connections.close(flow).await;
}

async fn read(mut reader: OwnedReadHalf, flow: Flow, pong: mpsc::Sender<()>, connections: &Connections) {
    let mut buffer = BytesMut::new();
    let mut greeted = false;
    loop {
        match frame(&buffer, connections.max_message) {
            Ok(Framed::Message(length)) => {
                greeted = true;
                let message = buffer.split_to(length).freeze();
                connections.deliver(flow, message, Framing::Stream).await;
                continue;
            }
            Ok(Framed::KeepAlive(length)) => {
                buffer.advance(length);
                if length == 4 && pong.try_send(()).is_err() {
                    connections.garbage("ping_flood").await;
                }
                continue;
            }
            Ok(Framed::Incomplete) => {}
            Err(malformed) => return connections.garbage(malformed.reason).await,
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

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Packet>, mut pongs: mpsc::Receiver<()>) {
    loop {
        let written = tokio::select! {
            packet = queue.recv() => match packet {
                Some(packet) => timeout(WRITE_PATIENCE, send(&mut writer, packet)).await,
                None => break, // control has let go of the connection
            },
            Some(()) = pongs.recv() => timeout(WRITE_PATIENCE, writer.write_all(b"\r\n")).await,
        };
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
    let _ = writer.shutdown().await; // the peer may have gone first
}

async fn send(writer: &mut OwnedWriteHalf, packet: Packet) -> io::Result<()> {
    let mut parts = packet.head.chain(packet.tail);
    writer.write_all_buf(&mut parts).await
}

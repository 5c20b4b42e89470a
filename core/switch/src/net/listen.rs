//! Taking and making connections, the same for every transport that has them: a place within the limit, a
//! TLS handshake where there is TLS, and then whoever speaks on it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use cordboard_engine::io::{Flow, Transport};
use rustls::pki_types::ServerName;
use tokio::io::split;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::server;

use super::connection::{Connections, GAVE_WAY, PATIENCE};
use super::place::{NoPlace, Place};
use super::{tcp, websocket};

/// How long a connection of ours may take to come up, and then its TLS handshake.
const DIAL: Duration = Duration::from_secs(5);

/// Takes connections until the task is dropped.
pub(crate) async fn listen(
    listener: TcpListener,
    transport: Transport,
    index: u16,
    connections: Connections,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = match connections.places.take(peer.ip()) {
                    Ok(place) => place,
                    Err(none) => {
                        connections.garbage(none.reason()).await;
                        continue;
                    }
                };
                let connections = connections.clone();
                let way = Flow {
                    transport,
                    listener: index,
                    peer,
                    connection: 0,
                };
                tokio::spawn(async move {
                    serve(stream, way, &place, &connections).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, transport = transport.name(), "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Each way is in a box of its own: otherwise every connection would be as large as the largest.
async fn serve(stream: TcpStream, way: Flow, place: &Place, connections: &Connections) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match way.transport {
        Transport::Udp => {}
        Transport::Tcp => {
            let (reader, writer) = stream.into_split();
            Box::pin(tcp::serve(reader, writer, way, place, connections)).await;
        }
        Transport::Tls => {
            if let Some(stream) = Box::pin(handshake(stream, place, connections)).await {
                let (reader, writer) = split(stream);
                Box::pin(tcp::serve(reader, writer, way, place, connections)).await;
            }
        }
        Transport::Ws => Box::pin(websocket::serve(stream, way, place, connections)).await,
        Transport::Wss => {
            if let Some(stream) = Box::pin(handshake(stream, place, connections)).await {
                Box::pin(websocket::serve(stream, way, place, connections)).await;
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    place: &Place,
    connections: &Connections,
) -> Option<server::TlsStream<TcpStream>> {
    let accepting = timeout(PATIENCE, connections.keys.sip().accept(stream));
    let accepted = tokio::select! {
        accepted = accepting => accepted,
        () = place.seat.given_away() => {
            connections.garbage(GAVE_WAY).await;
            return None;
        }
    };
    match accepted {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            connections.garbage("tls_handshake").await;
            None
        }
        Err(_) => {
            connections.garbage("tls_too_slow").await;
            None
        }
    }
}

/// Why there is no connection to a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// As many connections are open as may be.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// Nobody answers there.
    #[error("no connection: {0}")]
    Unreachable(io::Error),
    /// It shows a certificate that is not believed, or none for its address.
    #[error("its certificate is not believed: {0}; `[tls] ca` names the authorities that are")]
    Untrusted(rustls::Error),
    /// The handshake failed for another reason.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
}

impl DialError {
    /// The word by which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::NoPlace(none) => none.reason(),
            Self::Unreachable(_) => "not_connected",
            Self::Untrusted(_) => "tls_untrusted",
            Self::Handshake(_) => "tls_not_connected",
        }
    }
}

/// Makes a connection to a peer, over TCP or TLS; its packets then come from and go to it as with any other.
///
/// # Errors
/// Why there is no connection.
pub(crate) async fn dial(way: Flow, connections: Connections) -> Result<(), DialError> {
    let place = connections.places.take(way.peer.ip())?;
    place.seat.prove(); // it leads to a phone that has registered
    let stream = in_time(TcpStream::connect(way.peer))
        .await
        .map_err(DialError::Unreachable)?;
    stream.set_nodelay(true).map_err(DialError::Unreachable)?;
    if way.transport == Transport::Tls {
        let stream = connect(stream, way.peer, &connections).await?;
        tokio::spawn(async move {
            let (reader, writer) = split(stream);
            tcp::serve(reader, writer, way, &place, &connections).await;
        });
    } else {
        tokio::spawn(async move {
            let (reader, writer) = stream.into_split();
            tcp::serve(reader, writer, way, &place, &connections).await;
        });
    }
    Ok(())
}

/// The certificate must be good for the address: a contact is known by nothing else here.
async fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    connections: &Connections,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, DialError> {
    let name = ServerName::IpAddress(peer.ip().to_canonical().into());
    let connecting = in_time(connections.keys.connector().connect(name, stream)).await;
    connecting.map_err(|error| {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(inner @ rustls::Error::InvalidCertificate(_)) => DialError::Untrusted(inner.clone()),
            _ => DialError::Handshake(error),
        }
    })
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(DIAL, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

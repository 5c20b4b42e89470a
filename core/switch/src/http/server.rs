//! Listening, and the bounds on what clients may hold.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::count::Counters;
use super::route::{Shared, router};
use super::signaling::Peer;
use super::{BindError, HttpSetup};
use crate::config::resolved::Http;
use crate::metric::Exporter;
use crate::net::bind::tcp;

/// The most bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// After a failed accept, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that the kernel takes of us beyond what is on its way, so that what we write next (a ping, say) does not
/// wait for minutes behind them where the link is slow.
const UNSENT: u32 = 16 << 10;
/// A connection serves at most so long, however diligent its client is.
const CONNECTION_LIFE: Duration = Duration::from_secs(3600);

/// A socket that HTTP comes in by.
pub(crate) struct Listener {
    pub(super) socket: TcpListener,
    tls: bool,
}

/// Listens on every address. Wants a runtime around it.
///
/// # Errors
/// Which address cannot be had, and why.
pub(crate) fn bind(config: &Http) -> Result<Vec<Listener>, BindError> {
    let plain = config.listen.iter().map(|address| (*address, false));
    let all = plain.chain(config.tls.iter().map(|address| (*address, true)));
    let mut listeners = Vec::new();
    for (address, tls) in all {
        let key = if tls { "tls" } else { "listen" };
        let failed = |source| BindError { address, key, source };
        let listener = tcp(address).and_then(TcpListener::from_std).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        tracing::info!(address = %local, "{}", if tls { "HTTPS" } else { "HTTP" });
        listeners.push(Listener {
            socket: listener,
            tls,
        });
    }
    Ok(listeners)
}

/// Serves until `stop` is done; then requests that are being answered are finished, within the time
/// that a client may take.
pub(crate) async fn serve(listeners: Vec<Listener>, setup: HttpSetup, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(setup.limits.connections));
    let time = setup.limits.timeout;
    let shared = Arc::new(Shared {
        setup,
        exporter: Exporter::new(SystemTime::now()),
        counters: Counters::default(),
        wrong: super::operator::WrongTokens::default(),
    });
    let (stopping, stopped) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            Arc::clone(&shared),
            Arc::clone(&room),
            stopped.clone(),
        ));
    }
    stop.await;
    // There is always a receiver here: `stopped`.
    let _ = stopping.send(true);
    let finish = async { while accepting.join_next().await.is_some() {} };
    if tokio::time::timeout(time, finish).await.is_err() {
        tracing::info!("HTTP clients that did not finish in time are cut off");
    }
}

async fn accept(
    listener: Listener,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let stopping = stopped.clone();
    loop {
        let next = async {
            let place = Arc::clone(&room)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            listener
                .socket
                .accept()
                .await
                .map(|(stream, peer)| (stream, peer, place))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
                let peer = Peer {
                    address: peer.ip().to_canonical(),
                    secure: listener.tls,
                };
                connections.spawn(async move {
                    connection(stream, peer, &shared, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept an HTTP connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers are small and whole, so they are not held back to fill packets; who does not read them for
/// `time` is cut off by the kernel.
fn tune(stream: &TcpStream, time: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    Ok(setsockopt(stream, TcpUserTimeout, &millis)?)
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    shared: &Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) {
    let _open = shared.counters.open();
    if let Err(error) = tune(&stream, shared.setup.limits.timeout) {
        tracing::debug!("an HTTP connection was gone before it was served: {error}");
        return;
    }
    if !peer.secure {
        return requests(stream, peer, shared, stopping).await;
    }
    let handshake = tokio::time::timeout(
        shared.setup.limits.timeout,
        shared.setup.keys.http().accept(stream),
    );
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    match shaken {
        Ok(Ok(stream)) => requests(stream, peer, shared, stopping).await,
        Ok(Err(_)) => shared.counters.refused("tls_handshake"),
        Err(_) => shared.counters.refused("timeout"),
    }
}

async fn requests<S>(stream: S, peer: Peer, shared: &Arc<Shared>, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router(shared).layer(Extension(peer)));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.setup.limits.timeout)
        .max_buf_size(HEAD_BYTES)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let enough = async {
        // The guard that `wait_for` gives must not live across the next await.
        let stopping = async { drop(stopping.wait_for(|stopping| *stopping).await) };
        // Either way it is time to close.
        let _ = tokio::time::timeout(CONNECTION_LIFE, stopping).await;
    };
    let done = tokio::select! {
        done = serving.as_mut() => Some(done),
        () = enough => None,
    };
    let done = match done {
        Some(done) => done,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = done {
        shared.counters.refused(if error.is_timeout() {
            "timeout"
        } else if error.is_parse() || error.is_parse_too_large() {
            "malformed"
        } else {
            "broken"
        });
    }
}

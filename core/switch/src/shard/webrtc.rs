//! The port of a media thread for WebRTC peers: one UDP socket and one TCP listener per address that peers may know.

mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use cordboard_media::Identity;
use cordboard_model::Time;
use cordboard_model::media::peer::Candidate;
use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};

use crate::clock::KernelClock;
use crate::net::bind::{advice, tcp};
use crate::net::udp::Datagram;
use crate::net::webrtc::{WebRtcRoom, WebRtcSocket};

pub(crate) use stream::StreamEnd;
use stream::Streams;

/// The token of the first socket; 0 is the waker's.
const FIRST: usize = 1;

/// What a shard needs to serve WebRTC.
#[derive(Debug)]
pub(crate) struct WebRtcPort {
    /// Bound, one for each address.
    pub(super) sockets: Vec<WebRtcSocket>,
    /// Bound to the same addresses and ports, for peers that have no UDP.
    pub(super) listeners: Vec<TcpListener>,
    /// Certificate and addresses.
    pub(super) config: cordboard_media::WebRtc,
}

impl WebRtcPort {
    /// Binds the port on each of the addresses that peers reach us at.
    ///
    /// # Errors
    /// The address that cannot be had, and why.
    pub(crate) fn bind(public: &[IpAddr], port: u16, identity: Identity) -> anyhow::Result<Self> {
        let (mut sockets, mut listeners) = (Vec::<WebRtcSocket>::new(), Vec::new());
        let mut candidates = Vec::new();
        for ip in public {
            let address = SocketAddr::new(*ip, port);
            let everywhere =
                |socket: &WebRtcSocket| socket.serves(*ip) && socket.local().ip().is_unspecified();
            if let Some(socket) = sockets.iter().find(|socket| everywhere(socket)) {
                candidates.push(candidate(*ip, socket));
                continue;
            }
            let socket = WebRtcSocket::bind(address).map_err(|error| taken("UDP", address, error))?;
            candidates.push(candidate(*ip, &socket));
            let listener = tcp(socket.local()).map_err(|error| taken("TCP", socket.local(), error))?;
            listeners.push(listener);
            sockets.push(socket);
        }
        // Behind all of UDP: who has that needs no other.
        let over_tcp: Vec<_> = candidates
            .iter()
            .map(|udp| Candidate { tcp: true, ..*udp })
            .collect();
        candidates.extend(over_tcp);
        let config = cordboard_media::WebRtc { identity, candidates };
        Ok(Self {
            sockets,
            listeners,
            config,
        })
    }
}

fn taken(kind: &str, address: SocketAddr, error: io::Error) -> anyhow::Error {
    let advice = advice(&error);
    anyhow::Error::new(error).context(format!(
        "cannot have {kind} {address} for WebRTC (`[media] webrtc_port`): {advice}"
    ))
}

const fn candidate(ip: IpAddr, socket: &WebRtcSocket) -> Candidate {
    let address = SocketAddr::new(ip, socket.local().port());
    Candidate { address, tcp: false }
}

/// The sockets of a running shard, and which of them may have packets.
pub(super) struct WebRtc {
    sockets: Vec<(WebRtcSocket, bool)>,
    room: Option<WebRtcRoom>,
    streams: Streams,
}

impl WebRtc {
    /// None at all.
    pub(super) fn none() -> Self {
        Self {
            sockets: Vec::new(),
            room: None,
            streams: Streams::none(),
        }
    }

    /// Sockets that wake the thread from now on.
    pub(super) fn new(
        sockets: Vec<WebRtcSocket>,
        listeners: Vec<TcpListener>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let streams = Streams::new(listeners, registry, FIRST + sockets.len())?;
        for (at, socket) in sockets.iter().enumerate() {
            registry.register(
                &mut SourceFd(&socket.as_raw_fd()),
                Token(FIRST + at),
                Interest::READABLE,
            )?;
        }
        Ok(Self {
            sockets: sockets.into_iter().map(|socket| (socket, true)).collect(),
            room: Some(WebRtcRoom::new()),
            streams,
        })
    }

    /// Notes which sockets have packets.
    pub(super) fn wake(&mut self, events: &Events, now: Time) {
        for event in events {
            let at = event.token().0.checked_sub(FIRST);
            match at.and_then(|at| self.sockets.get_mut(at)) {
                Some((_, ready)) => *ready = true,
                None => self.streams.wake(event.token(), now),
            }
        }
    }

    /// Whether packets may wait.
    pub(super) fn is_ready(&self) -> bool {
        self.sockets.iter().any(|(_, ready)| *ready) || self.streams.is_ready()
    }

    /// Closes connections whose peers have proven nothing in time.
    pub(super) fn sweep(&mut self, now: Time, proven: impl Fn(SocketAddr) -> bool) {
        self.streams.sweep(now, proven);
    }

    /// Connections that ended or were not taken, by [`StreamEnd::ALL`].
    pub(super) const fn stream_ends(&self) -> [u64; StreamEnd::ALL.len()] {
        self.streams.ends
    }

    /// Takes a batch from each socket; returns how many sockets failed.
    pub(super) fn receive(&mut self, kernel: &KernelClock, mut each: impl FnMut(Datagram<'_>)) -> u64 {
        let Some(room) = &mut self.room else { return 0 };
        let mut failed = 0;
        for (socket, ready) in &mut self.sockets {
            if !*ready {
                continue;
            }
            match socket.receive(room, kernel, &mut each) {
                Ok(more) => *ready = more,
                Err(error) => {
                    tracing::warn!(address = %socket.local(), %error, "the WebRTC port fails");
                    (*ready, failed) = (false, failed + 1);
                }
            }
        }
        self.streams.receive(kernel, &mut each);
        failed
    }

    /// Sends datagrams; returns how many were not taken.
    pub(super) fn send(&mut self, destination: SocketAddr, bytes: &[u8], segment: usize) -> u64 {
        if stream::is_connection(destination) {
            return self.streams.send(destination, bytes, segment).unwrap_or(1);
        }
        let mut sockets = self.sockets.iter();
        match sockets.find(|(socket, _)| socket.serves(destination.ip())) {
            Some((socket, _)) => socket.send(destination, bytes, segment),
            None => 1,
        }
    }
}

#[cfg(test)]
mod tests;

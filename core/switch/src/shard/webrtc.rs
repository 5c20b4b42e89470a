//! The port of a media thread for WebRTC peers: one socket per address that peers may know.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use anyhow::Context as _;
use cordboard_media::Identity;
use cordboard_model::media::peer::Candidate;
use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};

use crate::clock::KernelClock;
use crate::net::udp::Datagram;
use crate::net::webrtc::{WebRtcRoom, WebRtcSocket};

/// The token of the first socket; 0 is the waker's.
const FIRST: usize = 1;

/// What a shard needs to serve WebRTC.
#[derive(Debug)]
pub(crate) struct WebRtcPort {
    /// Bound, one for each address.
    pub(super) sockets: Vec<WebRtcSocket>,
    /// Certificate and addresses.
    pub(super) config: cordboard_media::WebRtc,
}

impl WebRtcPort {
    /// Binds the port on each of the addresses that peers reach us at.
    ///
    /// # Errors
    /// The address that cannot be had, and why.
    pub(crate) fn bind(public: &[IpAddr], port: u16, identity: Identity) -> anyhow::Result<Self> {
        let (mut sockets, mut candidates) = (Vec::<WebRtcSocket>::new(), Vec::new());
        for ip in public {
            let address = SocketAddr::new(*ip, port);
            candidates.push(Candidate { address, tcp: false });
            let everywhere =
                |socket: &WebRtcSocket| socket.serves(*ip) && socket.local().ip().is_unspecified();
            if sockets.iter().any(everywhere) {
                continue;
            }
            let socket = WebRtcSocket::bind(address).with_context(|| {
                format!("cannot have UDP port {port} of {ip} for WebRTC; is another program there? Change `[media] webrtc_port` in the config")
            })?;
            sockets.push(socket);
        }
        let config = cordboard_media::WebRtc { identity, candidates };
        Ok(Self { sockets, config })
    }
}

/// The sockets of a running shard, and which of them may have packets.
pub(super) struct WebRtc {
    sockets: Vec<(WebRtcSocket, bool)>,
    room: Option<WebRtcRoom>,
}

impl WebRtc {
    /// None at all.
    pub(super) const fn none() -> Self {
        Self {
            sockets: Vec::new(),
            room: None,
        }
    }

    /// Sockets that wake the thread from now on.
    pub(super) fn new(sockets: Vec<WebRtcSocket>, registry: &Registry) -> io::Result<Self> {
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
        })
    }

    /// Notes which sockets have packets.
    pub(super) fn wake(&mut self, events: &Events) {
        for event in events {
            let at = event.token().0.checked_sub(FIRST);
            if let Some((_, ready)) = at.and_then(|at| self.sockets.get_mut(at)) {
                *ready = true;
            }
        }
    }

    /// Whether packets may wait.
    pub(super) fn is_ready(&self) -> bool {
        self.sockets.iter().any(|(_, ready)| *ready)
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
        failed
    }

    /// Sends datagrams; returns how many were not taken.
    pub(super) fn send(&self, destination: SocketAddr, bytes: &[u8], segment: usize) -> u64 {
        let mut sockets = self.sockets.iter();
        match sockets.find(|(socket, _)| socket.serves(destination.ip())) {
            Some((socket, _)) => socket.send(destination, bytes, segment),
            None => 1,
        }
    }
}

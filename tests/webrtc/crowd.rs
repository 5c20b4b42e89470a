//! Many clients, waited for together.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::peer::{Identity, Opened, Peer};
use super::reader::Reader;

/// Something that came to one of them.
#[derive(Debug)]
pub struct Seen {
    /// To which one.
    pub peer: usize,
    /// What.
    pub what: Opened,
    /// When the kernel had it, in nanoseconds since 1970.
    pub at: u64,
}

/// See the module.
pub struct Crowd {
    /// The clients, by number.
    pub peers: Vec<Peer>,
    address: IpAddr,
    identity: Arc<Identity>,
    reader: Reader,
    poll: Poll,
    events: Events,
}

impl Crowd {
    /// Nobody yet; all of them will be at this address of ours.
    ///
    /// # Errors
    /// The system has nothing to wait with.
    pub fn new(address: IpAddr) -> io::Result<Self> {
        Ok(Self {
            address,
            peers: Vec::new(),
            identity: Identity::new(),
            reader: Reader::default(),
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
        })
    }

    /// One more; its number.
    ///
    /// # Errors
    /// No socket could be had.
    pub fn add(&mut self) -> io::Result<usize> {
        let (peer, number) = (Peer::new(&self.identity, self.address)?, self.peers.len());
        let fd = peer.socket.as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), Token(number), Interest::READABLE)?;
        self.peers.push(peer);
        Ok(number)
    }

    /// Does what is due and hands what has come to `each`; waits at most `patience` for something.
    pub fn pump(&mut self, patience: Duration, mut each: impl FnMut(Seen)) {
        let now = Instant::now();
        self.peers.iter_mut().for_each(|peer| peer.tick(now));
        if self.poll.poll(&mut self.events, Some(patience)).is_err() {
            return; // a signal
        }
        let Self {
            peers,
            reader,
            events,
            ..
        } = self;
        for event in events.iter() {
            let number = event.token().0;
            let Ok(socket) = peers[number].socket.try_clone() else {
                continue;
            };
            let peer = &mut peers[number];
            reader.empty(&socket, |bytes, at| {
                each(Seen {
                    peer: number,
                    what: peer.take(bytes),
                    at,
                });
            });
        }
    }

    /// Whether everybody's handshake is done.
    pub fn is_connected(&self) -> bool {
        self.peers.iter().all(Peer::is_connected)
    }
}

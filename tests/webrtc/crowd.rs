//! Many clients, looked after together: their sockets are asked in turn, not waited for, so that waking this process
//! is no part of what a server's sending costs.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
}

impl Crowd {
    /// Nobody yet; all of them will be at this address of ours.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            peers: Vec::new(),
            identity: Identity::new(),
            reader: Reader::default(),
        }
    }

    /// One more; its number.
    ///
    /// # Errors
    /// No socket could be had.
    pub fn add(&mut self) -> io::Result<usize> {
        let (peer, number) = (Peer::new(&self.identity, self.address)?, self.peers.len());
        self.peers.push(peer);
        Ok(number)
    }

    /// Sleeps for `pause`, does what is due and hands what has come to `each`.
    pub fn pump(&mut self, pause: Duration, mut each: impl FnMut(Seen)) {
        std::thread::sleep(pause);
        let now = Instant::now();
        for (number, peer) in self.peers.iter_mut().enumerate() {
            peer.tick(now);
            peer.empty(&mut self.reader, |what, at| {
                each(Seen {
                    peer: number,
                    what,
                    at,
                })
            });
        }
    }

    /// Whether everybody's handshake is done.
    pub fn is_connected(&self) -> bool {
        self.peers.iter().all(Peer::is_connected)
    }
}

//! WebRTC over TCP for peers whose network lets no UDP through: ICE-TCP, passive (RFC 6544), each datagram behind its
//! length (RFC 4571). To the shard a connection is an address like any other, though never one that UDP could have:
//! who connects from the port that another peer sends by must not get what is meant for that.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use cordboard_model::Time;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::clock::KernelClock;
use crate::net::udp::Datagram;

/// Connections of one media thread.
const MAX: usize = 512;
/// A connection whose peer has proven nothing after this long is closed.
const PROOF: Duration = Duration::from_secs(5);
/// The longest datagram that is taken.
const LONGEST: usize = 2048;
/// Bytes that are read from one connection before the others have their turn.
const TURN: usize = 64 << 10;
/// Bytes that wait for a peer that does not read; what comes on top is dropped, as a network would.
const WAITING: usize = 256 << 10;

/// Why a connection ended, or was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum StreamEnd {
    /// There are too many.
    Full,
    /// Its peer has proven nothing in time.
    Unproven,
    /// It sent what is no datagram behind its length.
    Malformed,
    /// Its peer, or the network, ended it.
    Closed,
}

impl StreamEnd {
    /// Every reason, in the order in which they are counted.
    pub(crate) const ALL: [Self; 4] = [Self::Full, Self::Unproven, Self::Malformed, Self::Closed];

    /// The reason as a metric label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unproven => "unproven",
            Self::Malformed => "malformed",
            Self::Closed => "closed",
        }
    }
}

/// Tells the addresses of connections from those of UDP: a flow label is shorter than this.
const LABEL: u32 = u32::MAX;

/// What the peer of a connection is called here and in the shard.
fn named(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, address.port(), LABEL, 0).into()
}

/// Whether this is the name of a connection.
pub(super) fn is_connection(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.flowinfo() == LABEL)
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    begun: Time,
    ready: bool,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// See the module.
pub(super) struct Streams {
    listeners: Vec<TcpListener>,
    connections: Slab<Connection>,
    keys: HashMap<SocketAddr, usize>,
    /// The token of the first listener; those of connections follow behind all listeners.
    first: usize,
    registry: Option<Registry>,
    /// Ends by [`StreamEnd::ALL`].
    pub(super) ends: [u64; StreamEnd::ALL.len()],
}

impl Streams {
    pub(super) fn none() -> Self {
        Self {
            listeners: Vec::new(),
            connections: Slab::new(),
            keys: HashMap::new(),
            first: 0,
            registry: None,
            ends: [0; StreamEnd::ALL.len()],
        }
    }

    /// Takes connections from now on; tokens from `first` on are its own.
    pub(super) fn new(
        listeners: Vec<std::net::TcpListener>,
        registry: &Registry,
        first: usize,
    ) -> io::Result<Self> {
        let mut streams = Self {
            first,
            registry: Some(registry.try_clone()?),
            ..Self::none()
        };
        for (at, listener) in listeners.into_iter().enumerate() {
            let mut listener = TcpListener::from_std(listener);
            registry.register(&mut listener, Token(first + at), Interest::READABLE)?;
            streams.listeners.push(listener);
        }
        Ok(streams)
    }

    /// Notes that something can be done.
    pub(super) fn wake(&mut self, token: Token, now: Time) {
        let Some(at) = token.0.checked_sub(self.first) else {
            return;
        };
        if at < self.listeners.len() {
            self.accept(at, now);
        } else if let Some(connection) = self.connections.get_mut(at - self.listeners.len()) {
            connection.ready = true;
            if connection.write_on().is_err() {
                self.end(at - self.listeners.len(), StreamEnd::Closed);
            }
        }
    }

    fn accept(&mut self, at: usize, now: Time) {
        while let Ok((mut stream, address)) = self.listeners[at].accept() {
            let address = named(address);
            if self.connections.len() >= MAX || self.keys.contains_key(&address) {
                self.ends[StreamEnd::Full as usize] += 1;
                continue;
            }
            let entry = self.connections.vacant_entry();
            let token = Token(self.first + self.listeners.len() + entry.key());
            let registry = self.registry.as_ref().expect("there is a listener");
            if registry
                .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
                .is_err()
            {
                self.ends[StreamEnd::Full as usize] += 1;
                continue;
            }
            let _ = stream.set_nodelay(true); // a wish
            self.keys.insert(address, entry.key());
            entry.insert(Connection {
                stream,
                address,
                begun: now,
                ready: true,
                incoming: Vec::new(),
                outgoing: Vec::new(),
            });
        }
    }

    /// Whether datagrams may wait.
    pub(super) fn is_ready(&self) -> bool {
        self.connections.iter().any(|(_, connection)| connection.ready)
    }

    /// Takes a bounded number of datagrams from each connection.
    pub(super) fn receive(&mut self, kernel: &KernelClock, mut each: impl FnMut(Datagram<'_>)) {
        for key in 0..self.connections.capacity() {
            let Some(connection) = self
                .connections
                .get_mut(key)
                .filter(|connection| connection.ready)
            else {
                continue;
            };
            if let Err(end) = connection.read(kernel, &mut each) {
                self.end(key, end);
            }
        }
    }

    /// Sends datagrams to a peer that is connected; `None` if there is none at this address, else how many were
    /// not taken.
    pub(super) fn send(&mut self, destination: SocketAddr, bytes: &[u8], segment: usize) -> Option<u64> {
        let key = *self.keys.get(&destination)?;
        let connection = &mut self.connections[key];
        let mut refused = 0;
        for datagram in bytes.chunks(segment.max(1)) {
            if connection.outgoing.len() + datagram.len() > WAITING {
                refused += 1;
                continue;
            }
            connection
                .outgoing
                .extend_from_slice(&(datagram.len() as u16).to_be_bytes());
            connection.outgoing.extend_from_slice(datagram);
        }
        if connection.write_on().is_err() {
            self.end(key, StreamEnd::Closed);
        }
        Some(refused)
    }

    /// Closes connections whose peers have proven nothing in time.
    pub(super) fn sweep(&mut self, now: Time, proven: impl Fn(SocketAddr) -> bool) {
        for key in 0..self.connections.capacity() {
            let Some(connection) = self.connections.get(key) else {
                continue;
            };
            if now.since(connection.begun) > PROOF && !proven(connection.address) {
                self.end(key, StreamEnd::Unproven);
            }
        }
    }

    fn end(&mut self, key: usize, end: StreamEnd) {
        let mut connection = self.connections.remove(key);
        self.keys.remove(&connection.address);
        if let Some(registry) = &self.registry {
            let _ = registry.deregister(&mut connection.stream); // it closes anyway
        }
        self.ends[end as usize] += 1;
    }
}

impl Connection {
    fn read(&mut self, kernel: &KernelClock, mut each: impl FnMut(Datagram<'_>)) -> Result<(), StreamEnd> {
        let mut taken = 0;
        let mut part = [0; 8192];
        while taken < TURN {
            match self.stream.read(&mut part) {
                Ok(0) => return Err(StreamEnd::Closed),
                Ok(len) => {
                    taken += len;
                    self.incoming.extend_from_slice(&part[..len]);
                    self.deliver(kernel, &mut each)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(StreamEnd::Closed),
            }
        }
        Ok(())
    }

    /// Hands whole datagrams on and keeps the rest.
    fn deliver(&mut self, kernel: &KernelClock, mut each: impl FnMut(Datagram<'_>)) -> Result<(), StreamEnd> {
        let mut at = 0;
        while let Some(head) = self.incoming.get(at..at + 2) {
            let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
            if len > LONGEST {
                return Err(StreamEnd::Malformed);
            }
            let Some(bytes) = self.incoming.get(at + 2..at + 2 + len) else {
                break;
            };
            if !bytes.is_empty() {
                each(Datagram {
                    bytes,
                    source: self.address,
                    stamp: kernel.now(),
                });
            }
            at += 2 + len;
        }
        self.incoming.drain(..at);
        Ok(())
    }

    /// Writes what waits, as much as the peer takes.
    fn write_on(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => {
                    self.outgoing.drain(..len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

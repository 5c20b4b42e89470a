//! Binding the SIP sockets that the config asks for, each at the place of its listener's index.

use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use cordboard_engine::config::Listener;
use cordboard_engine::io::Transport;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

use super::connection::Connections;
use super::listen::listen;
use super::udp::SipSocket;
use crate::config::resolved::Sip;

/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;

/// Listens on an address, for connections of its family alone: beside `[::]` there is a place for `0.0.0.0`, as with
/// UDP.
///
/// # Errors
/// The address cannot be had.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What is left of connections of a run before does not keep us from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What an operator can do where an address cannot be had.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program has it, or another key of the config",
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address",
        io::ErrorKind::PermissionDenied => "ports below 1024 want a privilege (CAP_NET_BIND_SERVICE)",
        _ => "is the address right?",
    }
}

/// The SIP sockets.
pub(crate) struct Bound {
    /// What the engine is told of them, in the order of their indexes.
    pub(crate) listeners: Vec<Listener>,
    /// Those of datagrams.
    pub(crate) udp: Vec<(u16, SipSocket)>,
    /// Those of connections.
    pub(crate) streams: Vec<Stream>,
}

/// A socket that connections come in by.
pub(crate) struct Stream {
    index: u16,
    transport: Transport,
    listener: TcpListener,
}

impl Bound {
    /// Wants a runtime around it.
    ///
    /// # Errors
    /// The address that cannot be had, and why.
    pub(crate) fn new(config: &Sip) -> anyhow::Result<Self> {
        let mut bound = Self {
            listeners: Vec::new(),
            udp: Vec::new(),
            streams: Vec::new(),
        };
        for address in &config.udp {
            let socket = SipSocket::bind(*address).map_err(|error| taken(address, Transport::Udp, error))?;
            let index = bound.add(Transport::Udp, socket.local())?;
            bound.udp.push((index, socket));
        }
        for (transport, addresses) in [
            (Transport::Tcp, &config.tcp),
            (Transport::Tls, &config.tls),
            (Transport::Ws, &config.ws),
            (Transport::Wss, &config.wss),
        ] {
            for address in addresses {
                let listener = tcp(*address)
                    .and_then(TcpListener::from_std)
                    .map_err(|error| taken(address, transport, error))?;
                let index = bound.add(transport, listener.local_addr()?)?;
                bound.streams.push(Stream {
                    index,
                    transport,
                    listener,
                });
            }
        }
        Ok(bound)
    }

    fn add(&mut self, transport: Transport, address: SocketAddr) -> anyhow::Result<u16> {
        let index = u16::try_from(self.listeners.len()).context("too many listeners")?;
        self.listeners.push(Listener { transport, address });
        tracing::info!(transport = transport.name(), %address, "SIP");
        Ok(index)
    }
}

impl Stream {
    /// Takes connections from now on, until the runtime ends.
    pub(crate) fn serve(self, connections: Connections) {
        tokio::spawn(listen(self.listener, self.transport, self.index, connections));
    }
}

fn taken(address: &SocketAddr, transport: Transport, error: io::Error) -> anyhow::Error {
    let advice = advice(&error);
    anyhow::Error::new(error).context(format!(
        "cannot listen on {address} (`[sip] {}`): {advice}",
        transport.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_all_addresses_of_ipv6_there_is_a_place_for_those_of_ipv4() {
        let Ok(six) = tcp("[::]:0".parse().unwrap()) else {
            return; // a machine without IPv6
        };
        let port = six.local_addr().unwrap().port();
        let four = tcp(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
        tcp(SocketAddr::from(([127, 0, 0, 1], port))).unwrap_err();
        drop(four);
    }
}

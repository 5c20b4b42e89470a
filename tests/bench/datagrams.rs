//! Datagrams in batches, as cheaply as the system allows: what the bare loops are made of.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Datagrams of one call.
const BATCH: usize = 64;
/// More than any datagram of a bench has.
const LARGEST: usize = 2048;

/// Memory for a batch.
pub struct Batch(Vec<u8>);

impl Batch {
    /// Room for one batch.
    pub fn new() -> Self {
        Self(vec![0; BATCH * LARGEST])
    }

    /// Waits for datagrams and hands them to `each`.
    pub fn receive(&mut self, socket: &UdpSocket, mut each: impl FnMut(&[u8], SocketAddrV4)) {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .0
            .chunks_exact_mut(LARGEST)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let flags = MsgFlags::MSG_WAITFORONE;
        let Ok(messages) = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) else {
            return; // an answer of the network to an earlier datagram
        };
        for message in messages {
            if let (Some(source), Some(bytes)) = (message.address, message.iovs().next()) {
                each(bytes, SocketAddrV4::new(source.ip(), source.port()));
            }
        }
    }
}

/// Sends datagrams, each to its own address.
pub fn send(socket: &UdpSocket, datagrams: &[(Vec<u8>, SocketAddrV4)]) {
    for part in datagrams.chunks(BATCH) {
        let slices: Vec<[IoSlice<'_>; 1]> = part.iter().map(|(bytes, _)| [IoSlice::new(bytes)]).collect();
        let addresses: Vec<Option<SockaddrIn>> =
            part.iter().map(|(_, to)| Some(SockaddrIn::from(*to))).collect();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        // What the kernel does not take is lost, as on any network.
        let _ = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            slices.iter(),
            &addresses,
            [],
            MsgFlags::empty(),
        );
    }
}

/// A socket of the loopback with room for many datagrams.
pub fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    widen(&socket);
    socket
}

/// As much room as the system lets us have.
pub fn widen(socket: &impl std::os::fd::AsFd) {
    use nix::sys::socket::{setsockopt, sockopt};
    const ROOM: usize = 4 << 20;
    if setsockopt(socket, sockopt::RcvBufForce, &ROOM).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &ROOM);
    }
}

/// The address where a socket of ours is bound.
pub fn local(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("it is bound")
}

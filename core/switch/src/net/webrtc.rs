//! The UDP port of a media thread for WebRTC: reception in batches with the kernel's time stamps, sending in bursts
//! that the kernel cuts up (generic segmentation offload).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::udp::{Datagram, unspecified};
use crate::clock::KernelClock;

/// Bytes of one reception: the kernel joins datagrams of one source and size.
const LARGEST: usize = 65_535;
/// What the kernel is asked to keep while we are busy, in bytes.
const BUFFER: usize = 4 << 20;

/// Memory that receives a batch; used again and again, one per thread.
pub(crate) struct WebRtcRoom {
    bytes: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl WebRtcRoom {
    /// Room for a batch.
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH_SIZE * LARGEST],
            meta: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

/// See the module.
///
/// Registered with mio by [`mio::unix::SourceFd`], it wakes once for new packets:
/// [`receive`](Self::receive) is then to be called until it returns `false`.
#[derive(Debug)]
pub(crate) struct WebRtcSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl WebRtcSocket {
    /// Binds a port of `address`, or of every address of its family where this machine does not have it (it may
    /// be that of a router before it).
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        match Self::bind_exactly(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                Self::bind_exactly(SocketAddr::new(unspecified(address.ip()), address.port()))
            }
            outcome => outcome,
        }
    }

    fn bind_exactly(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&SockAddr::from(address))?;
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // A wish: the system may allow less.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), BUFFER);
        let local = socket.local_addr()?;
        Ok(Self { socket, state, local })
    }

    /// Where it is bound.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether packets to this address can leave here.
    pub(crate) const fn serves(&self, address: IpAddr) -> bool {
        self.local.is_ipv4() == address.is_ipv4()
    }

    /// Hands up to one batch of waiting packets to `each`; returns whether there may be more.
    ///
    /// # Errors
    /// Only what makes the socket useless.
    pub(crate) fn receive(
        &self,
        room: &mut WebRtcRoom,
        kernel: &KernelClock,
        mut each: impl FnMut(Datagram<'_>),
    ) -> io::Result<bool> {
        let mut rooms = room.bytes.chunks_exact_mut(LARGEST);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().expect("the batch has a room for each")));
        let count = match self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, &mut room.meta)
        {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // The network's answer to an earlier packet says nothing about this socket.
            Err(error) if is_about_a_peer(&error) => return Ok(true),
            Err(error) => return Err(error),
        };
        for (slice, meta) in slices.iter().zip(&room.meta).take(count) {
            let stamp = meta.timestamp.map_or(kernel.now(), |stamp| kernel.time(stamp));
            for bytes in slice[..meta.len].chunks(meta.stride.max(1)) {
                each(Datagram {
                    bytes,
                    source: meta.addr,
                    stamp,
                });
            }
        }
        // More may have come meanwhile: what is found now need not wake the thread.
        Ok(count > 0)
    }

    /// Sends datagrams of `segment` bytes each, of which the last may be shorter; returns how many the kernel did
    /// not take.
    pub(crate) fn send(&self, destination: SocketAddr, bytes: &[u8], segment: usize) -> u64 {
        let most = self.state.max_gso_segments();
        let mut failed = 0;
        for part in bytes.chunks(segment.max(1) * most.max(1)) {
            let count = part.len().div_ceil(segment.max(1)) as u64;
            let transmit = Transmit {
                destination,
                ecn: None,
                contents: part,
                segment_size: (count > 1).then_some(segment),
                src_ip: None,
            };
            let sent = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
            if sent.is_err_and(|error| !is_about_a_peer(&error)) {
                failed += count;
            }
        }
        failed
    }
}

impl AsRawFd for WebRtcSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn is_about_a_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use cordboard_model::Time;

    use super::*;
    use crate::clock::Clock;

    fn wait(
        socket: &WebRtcSocket,
        room: &mut WebRtcRoom,
        clock: &Clock,
        count: usize,
    ) -> Vec<(Vec<u8>, Time)> {
        let mut got = Vec::new();
        let end = Instant::now() + Duration::from_secs(10);
        while got.len() < count && Instant::now() < end {
            let kernel = clock.kernel();
            let more = socket.receive(room, &kernel, |packet| {
                got.push((packet.bytes.to_vec(), packet.stamp));
            });
            if !more.unwrap() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        got
    }

    #[test]
    fn a_burst_arrives_as_the_packets_that_it_was_made_of() {
        let (clock, mut room) = (Clock::start(), WebRtcRoom::new());
        for address in ["127.0.0.1:0", "[::1]:0"] {
            if UdpSocket::bind(address).is_err() {
                continue; // a machine without IPv6
            }
            let one = WebRtcSocket::bind(address.parse().unwrap()).unwrap();
            let other = WebRtcSocket::bind(address.parse().unwrap()).unwrap();
            assert!(one.serves(other.local().ip()));
            let bytes: Vec<u8> = (0..4550u32).map(|at| (at / 700) as u8).collect();
            assert_eq!(one.send(other.local(), &bytes, 700), 0);
            assert_eq!(one.send(other.local(), b"alone", 5), 0);
            let got = wait(&other, &mut room, &clock, 8);
            let sizes: Vec<usize> = got.iter().map(|(packet, _)| packet.len()).collect();
            assert_eq!(sizes, [700, 700, 700, 700, 700, 700, 350, 5]);
            for (at, (packet, stamp)) in got[..7].iter().enumerate() {
                assert!(packet.iter().all(|byte| usize::from(*byte) == at));
                assert!(*stamp <= clock.now());
            }
        }
    }

    #[test]
    fn a_closed_port_does_not_stop_a_socket() {
        let socket = WebRtcSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let gone = WebRtcSocket::bind("127.0.0.1:0".parse().unwrap())
            .unwrap()
            .local();
        assert_eq!((0..3).map(|_| socket.send(gone, b"hello", 5)).sum::<u64>(), 0);
    }
}

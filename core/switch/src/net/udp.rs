//! UDP sockets: reception in batches with the kernel's time stamps, sending in two parts.
//!
//! [`SipSocket`] carries SIP: many packets from many sources on one port. [`MediaSocket`] carries one leg's
//! RTP or RTCP: few packets, thousands of sockets.

use std::cmp::Reverse;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use bytes::Bytes;
use cordboard_model::Time;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, getsockopt, recvmmsg,
    recvmsg, sendmmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::clock::{Clock, KernelClock};

/// Packets taken from a SIP socket, or given to it, by one call.
const BATCH: usize = 32;
/// Packets to one destination that the kernel is given as one, to be cut up again.
const TRAIN: usize = 32;
/// Fewer than so many go with the others of a batch: a train is a call of its own.
const TRAIN_LEAST: usize = 3;
/// The largest packet of a train: more may not fit the way, and then none of them leaves.
const TRAIN_PACKET: usize = 1200;
/// The largest datagram there is.
const LARGEST: usize = 65_535;
/// More than any network carries in one piece.
const MEDIA_LARGEST: usize = 2048;
/// What a SIP socket asks the kernel to keep while we are busy, in bytes.
const SIP_BUFFER: usize = 4 << 20;
/// DiffServ expedited forwarding (RFC 4594 section 4.1), as the byte of the IP header.
const EXPEDITED: u32 = 46 << 2;

/// A datagram that came.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    /// What it holds.
    pub(crate) bytes: &'a [u8],
    /// Who sent it.
    pub(crate) source: SocketAddr,
    /// When the kernel received it.
    pub(crate) stamp: Time,
}

/// Memory for a batch that comes or goes; used again and again, one per thread.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    outgoing: MultiHeaders<SockaddrStorage>,
    destinations: Vec<Option<SockaddrStorage>>,
}

impl Batch {
    /// Room for a batch of datagrams of any size.
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * LARGEST],
            outgoing: MultiHeaders::preallocate(BATCH, None),
            destinations: Vec::with_capacity(BATCH),
        }
    }
}

/// A datagram that is to be sent, in two parts, and where to.
pub(crate) type Outgoing = (Bytes, Bytes, SocketAddr);

/// What became of packets that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    /// Handed to the kernel.
    pub(crate) packets: u64,
    /// Refused by it: no route, no permission, too large.
    pub(crate) failed: u64,
    /// Not taken because its buffer was full.
    pub(crate) full: u64,
}

/// A UDP port for SIP.
///
/// Registered with mio by [`mio::unix::SourceFd`] over its raw descriptor, it wakes once for new packets:
/// [`receive`](Self::receive) is then to be called until it returns `false`.
pub(crate) struct SipSocket {
    socket: Socket,
    local: SocketAddr,
    kernel_drops: u64,
    /// Whether the kernel takes trains: one that knows nothing of them would send a single packet made of all.
    trains: bool,
}

impl SipSocket {
    /// Binds the port.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = open(address)?;
        widen(&socket);
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        let trains = getsockopt(&socket, sockopt::UdpGsoSegment).is_ok();
        let local = local_address(&socket)?;
        Ok(Self {
            socket,
            local,
            kernel_drops: 0,
            trains,
        })
    }

    /// Where it is bound, with the port that the system chose if it was to choose.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Packets that came and were lost because its buffer was full.
    pub(crate) const fn kernel_drops(&self) -> u64 {
        self.kernel_drops
    }

    /// Hands up to one batch of waiting packets to `each`; returns whether there may be more.
    ///
    /// # Errors
    /// Only what makes the socket useless; reports about packets sent earlier are not errors.
    pub(crate) fn receive(
        &mut self,
        batch: &mut Batch,
        clock: &Clock,
        mut each: impl FnMut(Datagram<'_>),
    ) -> io::Result<bool> {
        let mut rooms = batch.bytes.chunks_exact_mut(LARGEST);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            [IoSliceMut::new(
                rooms.next().expect("the batch has a room for each"),
            )]
        });
        // Made anew each time: a call leaves in it how much of its space for stamps it used.
        let space = nix::cmsg_space!(TimeSpec, u32);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(space));
        let fd = self.socket.as_raw_fd();
        let messages = match recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => messages,
            Err(Errno::EAGAIN) => return Ok(false),
            Err(errno) if is_about_a_peer(errno) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        };
        let kernel = clock.kernel();
        let mut count = 0;
        for message in messages {
            count += 1;
            let mut stamp = kernel.now();
            for note in message.cmsgs().into_iter().flatten() {
                match note {
                    ControlMessageOwned::ScmTimestampns(at) => stamp = kernel.time(at.into()),
                    // Counts from the socket's beginning, in 32 bits.
                    ControlMessageOwned::RxqOvfl(drops) => {
                        let more = drops.wrapping_sub(self.kernel_drops as u32);
                        self.kernel_drops += u64::from(more);
                    }
                    _ => {}
                }
            }
            let (Some(source), Some(bytes)) =
                (message.address.as_ref().and_then(address), message.iovs().next())
            else {
                continue; // an empty datagram
            };
            each(Datagram { bytes, source, stamp });
        }
        Ok(count == BATCH)
    }

    /// Sends packets that are each made of two parts, those to one destination in their order but for final responses
    /// that follow each other. What cannot be sent is counted, not kept: SIP over UDP sends again by itself.
    pub(crate) fn send(&self, batch: &mut Batch, packets: &mut [Outgoing]) -> Sent {
        if !self.trains {
            return self.send_each(batch, packets);
        }
        bring_together(packets);
        let mut sent = Sent::default();
        let (mut singles, mut at) = (0, 0);
        while at < packets.len() {
            let train = train(&packets[at..]);
            if train > 1 {
                sent.add(self.send_each(batch, &packets[singles..at]));
                singles = at;
                // If not, each goes alone: not every device and way takes trains.
                if self.send_train(&packets[at..at + train]).is_ok() {
                    sent.packets += train as u64;
                    singles += train;
                }
            }
            at += train;
        }
        sent.add(self.send_each(batch, &packets[singles..]));
        sent
    }

    /// Sends packets to one destination and of one size, of which the last may be shorter, all or none.
    fn send_train(&self, packets: &[Outgoing]) -> nix::Result<usize> {
        let (_, _, to) = &packets[0];
        let size = size(&packets[0]) as u16;
        let mut parts = [IoSlice::new(&[]); 2 * TRAIN];
        for (parts, (head, tail, _)) in parts.chunks_exact_mut(2).zip(packets) {
            parts[0] = IoSlice::new(head);
            parts[1] = IoSlice::new(tail);
        }
        sendmsg(
            self.socket.as_raw_fd(),
            &parts[..2 * packets.len()],
            &[ControlMessage::UdpGsoSegments(&size)],
            MsgFlags::MSG_DONTWAIT,
            Some(&SockaddrStorage::from(*to)),
        )
    }

    /// Sends packets one by one.
    fn send_each(&self, batch: &mut Batch, packets: &[Outgoing]) -> Sent {
        let mut sent = Sent::default();
        let mut rest = packets;
        let mut retried = false;
        while !rest.is_empty() {
            match self.send_some(batch, &rest[..rest.len().min(BATCH)]) {
                Ok(count) => {
                    sent.packets += count as u64;
                    rest = &rest[count..];
                    retried = false;
                }
                // It was about an earlier packet: the first one has not been tried yet.
                Err(errno) if is_about_a_peer(errno) && errno != Errno::EMSGSIZE && !retried => {
                    retried = true;
                }
                Err(errno) => {
                    sent.full += u64::from(errno == Errno::EAGAIN);
                    sent.failed += u64::from(errno != Errno::EAGAIN);
                    rest = &rest[1..];
                    retried = false;
                }
            }
        }
        sent
    }

    /// Sends the first packets of a batch, how many the kernel says; the error is the first one's.
    fn send_some(&self, batch: &mut Batch, packets: &[Outgoing]) -> nix::Result<usize> {
        batch.destinations.clear();
        batch
            .destinations
            .extend(packets.iter().map(|(_, _, to)| Some(SockaddrStorage::from(*to))));
        let parts = |at: usize| {
            packets
                .get(at)
                .map_or((&[][..], &[][..]), |(head, tail, _)| (&head[..], &tail[..]))
        };
        let slices: [[IoSlice<'_>; 2]; BATCH] = std::array::from_fn(|at| {
            let (head, tail) = parts(at);
            [IoSlice::new(head), IoSlice::new(tail)]
        });
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let (headers, to) = (&mut batch.outgoing, &batch.destinations);
        let results = sendmmsg(fd, headers, &slices[..packets.len()], to, [], flags)?;
        Ok(results.count())
    }
}

/// Brings together what can go as a train: a proxy or trunk is one destination for many packets.
///
/// Whoever asked knows final responses apart by their transactions, whichever comes first.
fn bring_together(packets: &mut [Outgoing]) {
    let is_final =
        |(head, _, _): &Outgoing| head.starts_with(b"SIP/2.0 ") && matches!(head.get(8), Some(b'2'..=b'6'));
    packets.sort_by_key(|(_, _, to)| *to);
    for run in packets.chunk_by_mut(|one, next| one.2 == next.2 && is_final(one) && is_final(next)) {
        run.sort_by_key(|packet| Reverse(size(packet)));
    }
}

/// How many of the first packets may be sent as one train: 1 if it is to go alone.
fn train(packets: &[Outgoing]) -> usize {
    let (first, to) = (size(&packets[0]), packets[0].2);
    if first == 0 || first > TRAIN_PACKET {
        return 1;
    }
    let same = packets
        .iter()
        .take(TRAIN)
        .take_while(|packet| packet.2 == to && size(packet) == first)
        .count();
    if same + 1 < TRAIN_LEAST {
        return 1;
    }
    let shorter = packets
        .get(same)
        .is_some_and(|packet| same < TRAIN && packet.2 == to && (1..first).contains(&size(packet)));
    match same + usize::from(shorter) {
        few if few < TRAIN_LEAST => 1,
        train => train,
    }
}

const fn size((head, tail, _): &Outgoing) -> usize {
    head.len() + tail.len()
}

impl AsRawFd for SipSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Sent {
    /// Adds another count.
    pub(crate) const fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.failed += other.failed;
        self.full += other.full;
    }
}

/// A UDP port for one leg's RTP or RTCP.
#[derive(Debug)]
pub(crate) struct MediaSocket {
    socket: UdpSocket,
}

/// Memory that receives packets of media; used again and again, one per thread.
pub(crate) struct MediaRoom {
    bytes: Vec<u8>,
    stamp: Vec<u8>,
}

impl MediaRoom {
    /// Room for a packet as large as any network carries in one piece, and its stamp.
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; MEDIA_LARGEST],
            stamp: nix::cmsg_space!(TimeSpec),
        }
    }
}

impl MediaSocket {
    /// Binds a port of an address that this machine has.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = open(address)?;
        // Marks are a wish; not every network, or container, lets us make it.
        let _ = match address {
            SocketAddr::V4(_) => socket.set_tos_v4(EXPEDITED),
            SocketAddr::V6(_) => {
                setsockopt(&socket, sockopt::Ipv6TClass, &EXPEDITED.cast_signed()).map_err(io::Error::from)
            }
        };
        Ok(Self {
            socket: socket.into(),
        })
    }

    /// Takes the packet that has waited longest; `None` when none waits.
    ///
    /// One by a call, not a batch: hardly ever do two wait, and a call that looks for a second one costs half as
    /// much again.
    ///
    /// # Errors
    /// Only what makes the socket useless.
    pub(crate) fn receive<'a>(
        &self,
        room: &'a mut MediaRoom,
        kernel: &KernelClock,
    ) -> io::Result<Option<Datagram<'a>>> {
        let MediaRoom { bytes, stamp } = room;
        let (source, length, stamp) = loop {
            let mut slices = [IoSliceMut::new(bytes)];
            let fd = self.socket.as_raw_fd();
            match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(stamp), MsgFlags::MSG_DONTWAIT) {
                Ok(message) => {
                    let Some(source) = message.address.as_ref().and_then(address) else {
                        continue; // nobody sent it
                    };
                    let stamp = message.cmsgs().into_iter().flatten().find_map(|note| match note {
                        ControlMessageOwned::ScmTimestampns(at) => Some(kernel.time(at.into())),
                        _ => None,
                    });
                    break (source, message.bytes, stamp);
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) if is_about_a_peer(errno) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        Ok(Some(Datagram {
            bytes: &bytes[..length],
            source,
            stamp: stamp.unwrap_or(kernel.now()),
        }))
    }

    /// Sends a packet; `false` if the kernel did not take it.
    pub(crate) fn send(&self, bytes: &[u8], to: SocketAddr) -> bool {
        again(|| self.socket.send_to(bytes, to)).is_ok()
    }
}

/// The address that stands for every address of the family.
pub(crate) const fn unspecified(family_of: IpAddr) -> IpAddr {
    match family_of {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// A bound socket that never blocks and notes when packets came.
fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Asks for large buffers: as much as the system lets us have.
fn widen(socket: &Socket) {
    if setsockopt(socket, sockopt::RcvBufForce, &SIP_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(SIP_BUFFER);
    }
    if setsockopt(socket, sockopt::SndBufForce, &SIP_BUFFER).is_err() {
        let _ = socket.set_send_buffer_size(SIP_BUFFER);
    }
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("a UDP socket without an IP address"))
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))
}

/// Whether an error is the network's answer to an earlier packet, which says nothing about this socket.
const fn is_about_a_peer(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EINTR
            | Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENETDOWN
            | Errno::EPROTO
            | Errno::EMSGSIZE
    )
}

/// Sends, once more if what came back was about an earlier packet.
fn again(mut send: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    match send() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted
            ) =>
        {
            send()
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests;

//! One audio stream of a phone: sends a tone or silence as PCMU every 20 ms, keeps all that comes.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

use crate::tone;

/// Samples in one packet: 20 ms.
const FRAME: usize = 160;

/// A received packet.
#[derive(Debug, Clone)]
pub struct Packet {
    /// When the kernel had it, since some fixed moment; a sleepy reader does not change it.
    pub at: Duration,
    /// The sequence number.
    pub sequence: u16,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// The payload type.
    pub payload_type: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A UDP port that sends and receives.
#[derive(Debug)]
pub struct Rtp {
    socket: UdpSocket,
    received: Arc<Mutex<Vec<Packet>>>,
    /// The tone's frequency as the bits of an f64; 0 is silence.
    tone: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Rtp {
    /// Opens an even port on 127.0.0.1 and listens.
    ///
    /// # Errors
    /// No port could be had.
    pub fn open() -> io::Result<Self> {
        let socket = even_port()?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(io::Error::from)?;
        let rtp = Self {
            socket,
            received: Arc::default(),
            tone: Arc::default(),
            stop: Arc::default(),
            threads: Mutex::default(),
        };
        let (socket, received, stop) = (rtp.socket.try_clone()?, rtp.received.clone(), rtp.stop.clone());
        rtp.keep(std::thread::spawn(move || listen(&socket, &received, &stop)));
        Ok(rtp)
    }

    /// The port for the SDP.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |a| a.port())
    }

    /// Starts sending to `peer`: silence until [`Rtp::play`] says otherwise.
    ///
    /// # Errors
    /// The socket could not be shared with the sending thread.
    pub fn send_to(&self, peer: SocketAddr) -> io::Result<()> {
        let (socket, tone, stop) = (self.socket.try_clone()?, self.tone.clone(), self.stop.clone());
        self.keep(std::thread::spawn(move || talk(&socket, peer, &tone, &stop)));
        Ok(())
    }

    /// Changes what is sent: a tone of `hertz`, or silence for 0.
    pub fn play(&self, hertz: f64) {
        self.tone.store(hertz.to_bits(), Ordering::Relaxed);
    }

    /// All packets so far.
    pub fn packets(&self) -> Vec<Packet> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many packets came so far.
    pub fn count(&self) -> usize {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The samples of the PCMU packets from packet number `from` on, in the order they came.
    pub fn samples(&self, from: usize) -> Vec<i16> {
        let packets = self.packets();
        let heard = packets
            .get(from..)
            .unwrap_or_default()
            .iter()
            .filter(|p| p.payload_type == 0);
        heard
            .flat_map(|p| p.payload.iter().map(|&b| tone::from_mulaw(b)))
            .collect()
    }

    fn keep(&self, thread: JoinHandle<()>) {
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
    }
}

impl Drop for Rtp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            // A panic there has been printed by its own thread; a second one in a drop would hide it.
            let _ = thread.join();
        }
    }
}

/// The longest time between two neighbouring packets; `None` for fewer than two.
pub fn longest_gap(packets: &[Packet]) -> Option<Duration> {
    packets
        .windows(2)
        .map(|pair| pair[1].at.saturating_sub(pair[0].at))
        .max()
}

/// How many sequence numbers are missing between the first and the last packet.
pub fn sequence_holes(packets: &[Packet]) -> usize {
    let (Some(first), Some(last)) = (packets.first(), packets.last()) else {
        return 0;
    };
    let span = usize::from(last.sequence.wrapping_sub(first.sequence)) + 1;
    span.saturating_sub(packets.len())
}

fn even_port() -> io::Result<UdpSocket> {
    for _ in 0..100 {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        if socket.local_addr()?.port().is_multiple_of(2) {
            return Ok(socket);
        }
    }
    Err(io::Error::other("the kernel gave no even port in 100 tries"))
}

fn listen(socket: &UdpSocket, received: &Mutex<Vec<Packet>>, stop: &AtomicBool) {
    let mut buffer = [0; 2_048];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let Ok(message) = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        ) else {
            continue;
        };
        let length = message.bytes;
        let stamp = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|c| match c {
                ControlMessageOwned::ScmTimestampns(t) => Some(Duration::from(t)),
                _ => None,
            })
        });
        let packet = stamp
            .zip(buffer.get(..length))
            .and_then(|(at, bytes)| read(bytes, at));
        received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(packet);
    }
}

/// Reads an RTP packet; RTCP and others are left out.
fn read(bytes: &[u8], at: Duration) -> Option<Packet> {
    let (head, rest) = bytes.split_at_checked(12)?;
    let payload_type = head[1] & 0x7f;
    if head[0] >> 6 != 2 || (64..96).contains(&payload_type) {
        return None;
    }
    let skipped = usize::from(head[0] & 0x0f) * 4;
    Some(Packet {
        at,
        sequence: u16::from_be_bytes([head[2], head[3]]),
        timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        payload_type,
        payload: rest.get(skipped..)?.to_vec(),
    })
}

fn talk(socket: &UdpSocket, peer: SocketAddr, tone: &AtomicU64, stop: &AtomicBool) {
    let ssrc = u32::from(socket.local_addr().map_or(1, |a| a.port())) << 8;
    let start = Instant::now();
    let mut sent: u32 = 0;
    while !stop.load(Ordering::Relaxed) {
        let hertz = f64::from_bits(tone.load(Ordering::Relaxed));
        let amplitude = if hertz > 0.0 { 0.25 } else { 0.0 };
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&(sent as u16).to_be_bytes());
        packet.extend_from_slice(&(sent.wrapping_mul(FRAME as u32)).to_be_bytes());
        packet.extend_from_slice(&ssrc.to_be_bytes());
        let samples = tone::sine(hertz, amplitude, sent as usize * FRAME, FRAME);
        packet.extend(samples.into_iter().map(tone::to_mulaw));
        // A refused datagram means that the other side has hung up: the stream ends with the call, not here.
        let _ = socket.send_to(&packet, peer);
        sent += 1;
        let next = start + Duration::from_millis(20) * sent;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_hear_each_other() {
        let (a, b) = (Rtp::open().expect("a port"), Rtp::open().expect("a port"));
        a.play(1_000.0);
        a.send_to(SocketAddr::from(([127, 0, 0, 1], b.port())))
            .expect("sending");
        crate::until(Duration::from_secs(10), || (b.count() >= 30).then_some(())).expect("30 packets");
        assert!(tone::peak_level(&b.samples(0), 1_000.0) > 0.2);
        assert_eq!((a.count(), sequence_holes(&b.packets())), (0, 0));
        assert!(longest_gap(&b.packets()).is_some_and(|gap| gap > Duration::from_millis(5)));
    }

    #[test]
    fn holes_and_gaps_are_counted() {
        let packet = |sequence, ms| Packet {
            at: Duration::from_millis(ms),
            sequence,
            timestamp: 0,
            payload_type: 0,
            payload: Vec::new(),
        };
        let packets = [packet(65_534, 0), packet(65_535, 20), packet(1, 75)];
        assert_eq!(longest_gap(&packets), Some(Duration::from_millis(55)));
        assert_eq!(sequence_holes(&packets), 1);
    }
}

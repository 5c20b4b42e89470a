//! A camera that films nothing: frames of a few packets at an even pace, each packet with its number and the time of
//! its sending inside.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc_srtp::context::Context;

use super::peer::Peer;

/// Where number and time stand in a payload.
const STAMP: usize = 12;
/// Bytes before the payload: the head of RTP and the extensions.
const HEADER: usize = 12 + 12;
/// Between two key frames.
const KEY_FRAMES: Duration = Duration::from_millis(500);

/// What is filmed.
#[derive(Debug, Clone, Copy)]
pub struct Film {
    /// The SSRC.
    pub ssrc: u32,
    /// Packets a second.
    pub rate: u32,
    /// Packets of one frame, which are sent at once.
    pub burst: u32,
    /// Bytes of a payload.
    pub size: usize,
}

/// What a packet says of its sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Which packet of its film it is, from 0.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub at: u64,
}

impl Sent {
    fn read(payload: &[u8]) -> Option<Self> {
        let (number, at) = payload.get(STAMP..STAMP + 16)?.split_first_chunk::<8>()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            at: u64::from_be_bytes(at.try_into().ok()?),
        })
    }

    /// Reads it from an RTP packet with extensions of any length.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let mut at = 12 + usize::from(packet.first()? & 15) * 4;
        if packet[0] & 0x10 != 0 {
            let words = packet.get(at + 2..at + 4)?;
            at += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
        }
        Self::read(packet.get(at..)?)
    }
}

/// Nanoseconds since 1970.
pub fn now() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
}

/// A camera on a thread of its own; it ends when dropped.
#[derive(Debug)]
pub struct Camera {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Option<Context>>>,
}

impl Camera {
    /// Films with the keys of a peer, which can send nothing else meanwhile; `None` where it is not connected. The
    /// first packet has this number.
    pub fn start(peer: &mut Peer, film: Film, first: u64) -> Option<Self> {
        let (socket, context) = peer.lend()?;
        Some(Self::film(socket, Some(context), film, first))
    }

    /// Films in the clear, for a server that takes plain RTP.
    ///
    /// # Errors
    /// No socket could be had, or the address cannot be reached.
    pub fn plain(to: SocketAddr, film: Film) -> io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        Ok(Self::film(socket, None, film, 0))
    }

    fn film(socket: UdpSocket, context: Option<Context>, film: Film, first: u64) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(first)));
        let (theirs, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let mut reel = Reel {
                film,
                number: first,
                context,
                frame: 0,
            };
            reel.run(&socket, &theirs, &count);
            reel.context
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// The number that the next packet will have.
    pub fn next(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Ends it and gives the peer its keys back; the number that a next packet would have.
    pub fn end(mut self, peer: &mut Peer) -> u64 {
        self.stop.store(true, Ordering::Release);
        if let Some(Ok(Some(context))) = self.thread.take().map(JoinHandle::join) {
            peer.give_back(context);
        }
        self.next()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Reel {
    film: Film,
    number: u64,
    /// `None`: in the clear.
    context: Option<Context>,
    frame: u64,
}

impl Reel {
    fn run(&mut self, socket: &UdpSocket, stop: &AtomicBool, sent: &AtomicU64) {
        let Film { rate, burst, .. } = self.film;
        let pause = Duration::from_secs(1) * burst / rate;
        let (mut due, mut next_key) = (Instant::now(), Instant::now());
        while !stop.load(Ordering::Acquire) {
            let key = Instant::now() >= next_key;
            if key {
                next_key = Instant::now() + KEY_FRAMES;
            }
            for place in 0..burst {
                let packet = self.packet(key, place);
                // What the kernel does not take is counted as lost where it is missing.
                let _ = match &mut self.context {
                    Some(context) => {
                        let packet = context.encrypt_rtp(&packet).expect("a packet is not too long");
                        socket.send(&packet)
                    }
                    None => socket.send(&packet),
                };
                self.number += 1;
            }
            self.frame += 1;
            sent.store(self.number, Ordering::Release);
            due += pause;
            let now = Instant::now();
            // Who was held up does not catch up: that would be a burst that nobody asked for.
            due = due.max(now - pause.min(Duration::from_millis(20)));
            std::thread::sleep(due.saturating_duration_since(now));
        }
    }

    fn packet(&self, key: bool, place: u32) -> Vec<u8> {
        let Film {
            ssrc,
            rate,
            burst,
            size,
        } = self.film;
        let at = now();
        let mut packet = Vec::with_capacity(HEADER + size);
        let marker = if place + 1 == burst { 0x80 } else { 0 };
        packet.extend([0x90, 96 | marker]);
        packet.extend((self.number as u16).to_be_bytes());
        let step = 90_000 * u64::from(burst) / u64::from(rate);
        packet.extend(((self.frame * step) as u32).to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        // Extensions as Chromium sends them: the time of sending (24 bits, 18 after the point), the transport's number.
        let seconds = (u128::from(at) << 18) / 1_000_000_000;
        packet.extend([0xbe, 0xde, 0, 2, 0x22]);
        packet.extend(&(seconds as u32).to_be_bytes()[1..]);
        packet.push(0x31);
        packet.extend((self.number as u16).to_be_bytes());
        packet.push(0);
        // VP8 (RFC 7741): the start of a frame, and of a key frame its magic number.
        let start = place == 0;
        packet.push(if start { 0x10 } else { 0 });
        packet.extend([
            u8::from(!(key && start)),
            0,
            0,
            0x9d,
            0x01,
            0x2a,
            64,
            1,
            180,
            0,
            0,
        ]);
        packet.extend(self.number.to_be_bytes());
        packet.extend(at.to_be_bytes());
        packet.resize(HEADER + size, 7);
        packet
    }
}

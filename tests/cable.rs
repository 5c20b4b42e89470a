//! A network namespace of its own and a cable to it that the test holds in its hands: it loses, repeats, delays and
//! reorders what goes through.
//!
//! The cable is two veth pairs whose inner ends are read and written here, frame by frame; that needs no module
//! of the kernel beyond veth, where `tc netem` would. It needs root.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt,
    socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// What the cable does to packets, each way.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Of a hundred packets so many are lost.
    pub lost: u64,
    /// Of a hundred so many come twice.
    pub doubled: u64,
    /// Of a hundred so many overtake others: they take no time.
    pub overtaking: u64,
    /// How long the others take at least.
    pub delay: Duration,
    /// And how much longer at most: that rises and falls from second to second, without reordering by itself.
    pub jitter: Duration,
}

/// The kind of a frame that leaves (packet(7)).
const OUTGOING: u8 = 4;
/// How long the delay takes to rise and fall.
const WAVE: Duration = Duration::from_millis(1700);

/// The namespace and its cable; both are gone when it is dropped.
#[derive(Debug)]
pub struct Cable {
    /// The namespace's name.
    pub name: String,
    net: u32,
    stop: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<[u64; 4]>>,
}

/// Runs `ip`; what it says if it fails.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

impl Cable {
    /// A cable like no other of this number, in calm weather until [`Cable::carry`]; `None` without the right to lay
    /// one, which is said.
    ///
    /// # Panics
    /// The system refuses for another reason.
    pub fn try_lay(number: u32) -> Option<Self> {
        match Self::lay(number) {
            Ok(cable) => Some(cable),
            Err(why) if why.contains("not permitted") => {
                println!("left out, this needs root: {why}");
                None
            }
            Err(why) => panic!("{why}"),
        }
    }

    fn lay(number: u32) -> Result<Self, String> {
        let name = format!("cbn{number}");
        let cable = Self {
            net: number % 250,
            name: name.clone(),
            stop: Arc::default(),
            carriers: Vec::new(),
        };
        let net = number % 250;
        for step in [
            format!("netns add {name}"),
            format!("link add {name}a type veth peer name {name}x"),
            format!("link add {name}b type veth peer name {name}y"),
            // What goes through is seen as it is on a wire: one packet a frame.
            format!("link set {name}a gso_max_segs 1"),
            format!("link set {name}b gso_max_segs 1"),
            format!("link set {name}b netns {name}"),
            format!("addr add 10.213.{net}.1/24 dev {name}a"),
            format!("-n {name} addr add 10.213.{net}.2/24 dev {name}b"),
            // The ends that we hold are nobody: the kernel must not answer there.
            format!("link set {name}x arp off"),
            format!("link set {name}y arp off"),
            format!("link set {name}a up"),
            format!("link set {name}x up"),
            format!("link set {name}y up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set {name}b up"),
        ] {
            ip(&step)?;
        }
        Ok(cable)
    }

    /// The address of the near end, which is ours.
    pub fn near(&self) -> IpAddr {
        IpAddr::from([10, 213, self.net as u8, 1])
    }

    /// The address of the far end, in the namespace.
    pub fn far(&self) -> IpAddr {
        IpAddr::from([10, 213, self.net as u8, 2])
    }

    /// A program that will run in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Begins to carry packets.
    ///
    /// # Panics
    /// The ends cannot be had, which needs root like all of it.
    #[must_use]
    pub fn carry(mut self, weather: Weather) -> Self {
        for (from, to, seed) in [("x", "y", 1), ("y", "x", 2)] {
            let open = |end: &str| socket_of(&format!("{}{end}", self.name)).expect("the cable is there");
            let (from, to) = (open(from), open(to));
            let way = Way {
                weather,
                chance: Chance(seed),
                begun: Instant::now(),
            };
            let stop = Arc::clone(&self.stop);
            self.carriers
                .push(std::thread::spawn(move || carry(&from, &to, way, &stop)));
        }
        self
    }

    /// Frames that were carried, lost, doubled and let overtake, both ways together.
    ///
    /// # Panics
    /// A carrier has.
    pub fn cut(&mut self) -> [u64; 4] {
        self.stop.store(true, Ordering::Relaxed);
        let ways = self
            .carriers
            .drain(..)
            .map(|way| way.join().expect("it carries on"));
        ways.fold([0; 4], |all, way| std::array::from_fn(|at| all[at] + way[at]))
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // What was never made cannot be removed, and need not be.
        let _ = ip(&format!("link del {}a", self.name));
        let _ = ip(&format!("link del {}y", self.name));
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// The socket that reads and writes the frames of an interface.
fn socket_of(interface: &str) -> Result<OwnedFd, String> {
    let said = |error: nix::Error| format!("{interface}: {error}");
    let mut all = getifaddrs().map_err(said)?;
    let address = all.find_map(|one| {
        let link = *one.address?.as_link_addr()?;
        (one.interface_name == interface).then_some(link)
    });
    let address = address.ok_or_else(|| format!("there is no {interface}"))?;
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).map_err(said)?;
    bind(socket.as_raw_fd(), &address).map_err(said)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(2)).map_err(said)?;
    Ok(socket)
}

/// A die with a fixed beginning: what it says is the same in each run, for the same frames.
struct Chance(u64);

impl Chance {
    fn of_a_hundred(&mut self, so_many: u64) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 100 < so_many
    }
}

/// What happens to packets one way.
struct Way {
    weather: Weather,
    chance: Chance,
    begun: Instant,
}

impl Way {
    /// When a packet that came now is there, and whether it overtakes others.
    fn arrival(&mut self, now: Instant) -> (Instant, bool) {
        if self.chance.of_a_hundred(self.weather.overtaking) {
            return (now, true);
        }
        let passed = now.duration_since(self.begun).as_secs_f64() / WAVE.as_secs_f64();
        let height = 1.0 - (2.0 * passed.fract() - 1.0).abs();
        (
            now + self.weather.delay + self.weather.jitter.mul_f64(height),
            false,
        )
    }
}

/// Carries frames one way until it is told to stop.
fn carry(from: &OwnedFd, to: &OwnedFd, mut way: Way, stop: &AtomicBool) -> [u64; 4] {
    static ORDER: AtomicU64 = AtomicU64::new(0);
    let mut under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut counts = [0; 4];
    let mut buffer = [0; 4_096];
    while !stop.load(Ordering::Relaxed) {
        let came = recvfrom::<LinkAddr>(from.as_raw_fd(), &mut buffer).ok();
        // What the other way has just sent here is seen as well: it would go round and round.
        let came = came.filter(|(_, link)| link.is_none_or(|link| link.pkttype() != OUTGOING));
        if let Some((length, _)) = came {
            let frame = buffer[..length].to_vec();
            let frame = if is_ip(&frame) { summed(frame) } else { frame };
            counts[0] += 1;
            let now = Instant::now();
            if is_ip(&frame) && way.chance.of_a_hundred(way.weather.lost) {
                counts[1] += 1;
            } else {
                let copies = if way.chance.of_a_hundred(way.weather.doubled) {
                    2
                } else {
                    1
                };
                counts[2] += copies - 1;
                for _ in 0..copies {
                    let (at, overtakes) = way.arrival(now);
                    counts[3] += u64::from(overtakes);
                    let order = ORDER.fetch_add(1, Ordering::Relaxed);
                    under_way.push(Reverse((at, order, frame.clone())));
                }
            }
        }
        while under_way
            .peek()
            .is_some_and(|Reverse((at, ..))| *at <= Instant::now())
        {
            let Some(Reverse((_, _, frame))) = under_way.pop() else {
                break;
            };
            // An interface that is going down takes no more.
            let _ = send(to.as_raw_fd(), &frame, MsgFlags::empty());
        }
    }
    counts
}

/// IPv4, and not the question who has an address.
fn is_ip(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0])
}

/// The kernel leaves the sums of what it sends to hardware that is not there. That of UDP may be zero, which says that
/// there is none; TCP's is made here.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let Some(packet) = frame.get_mut(14..).filter(|packet| packet.len() >= 20) else {
        return frame;
    };
    let head = usize::from(packet[0] & 0x0f) * 4;
    let whole = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let (protocol, addresses): (u8, [u8; 8]) = (packet[9], std::array::from_fn(|at| packet[12 + at]));
    let Some(segment) = packet.get_mut(head..whole.max(head)) else {
        return frame;
    };
    match protocol {
        17 if segment.len() >= 8 => segment[6..8].fill(0),
        6 if segment.len() >= 20 => {
            segment[16..18].fill(0);
            let len = (segment.len() as u16).to_be_bytes();
            let pseudo = [&addresses[..], &[0, 6], &len].concat();
            let sum = ones(&pseudo) + ones(segment);
            let folded = (sum & 0xffff) + (sum >> 16);
            let folded = (folded & 0xffff) + (folded >> 16);
            segment[16..18].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        }
        _ => {}
    }
    frame
}

/// The sum of all words of 16 bits (RFC 1071).
fn ones(bytes: &[u8]) -> u64 {
    let words = bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    words.sum()
}

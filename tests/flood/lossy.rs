//! Calls through a network that loses, repeats and reorders packets: sipp in a network namespace of its own, and
//! a cable to it that this test holds in its hands.
//!
//! The cable is two veth pairs whose inner ends are read and written here, frame by frame; that needs no module
//! of the kernel beyond veth, where `tc netem` would. It needs root, and says so where it is not.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cordboard_tests::http::metric;
use cordboard_tests::program::Program;
use cordboard_tests::switch::Lab;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::{is_long, turn};

/// Of a hundred frames so many are lost, so many come twice, and so many overtake others.
const LOST: u64 = 10;
const DOUBLED: u64 = 5;
const OVERTAKING: u64 = 30;
/// How long a frame that overtakes nobody is under way.
const DELAY: Duration = Duration::from_millis(20);
/// How long after its last call a switch may keep transactions: Timer H or J and some air.
const QUIET: Duration = Duration::from_secs(90);

/// The namespace and its cable; both are gone when it is dropped.
struct Cable {
    name: String,
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
    /// The near end has the address 10.213.N.1, the far end in the namespace 10.213.N.2.
    fn lay(number: u32) -> Result<Self, String> {
        let name = format!("cbn{number}");
        let cable = Self {
            name: name.clone(),
            stop: Arc::default(),
            carriers: Vec::new(),
        };
        let net = number % 250;
        for step in [
            format!("netns add {name}"),
            format!("link add {name}a type veth peer name {name}x"),
            format!("link add {name}b type veth peer name {name}y"),
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
        cable.carry()
    }

    fn carry(mut self) -> Result<Self, String> {
        for (from, to, seed) in [("x", "y", 1), ("y", "x", 2)] {
            let from = end(&format!("{}{from}", self.name))?;
            let to = end(&format!("{}{to}", self.name))?;
            let stop = Arc::clone(&self.stop);
            self.carriers
                .push(std::thread::spawn(move || carry(&from, &to, Chance(seed), &stop)));
        }
        Ok(self)
    }

    /// Frames that were carried, lost, doubled and let overtake, both ways together.
    fn cut(&mut self) -> [u64; 4] {
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
fn end(interface: &str) -> Result<OwnedFd, String> {
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

/// Carries frames one way until it is told to stop.
fn carry(from: &OwnedFd, to: &OwnedFd, mut chance: Chance, stop: &AtomicBool) -> [u64; 4] {
    static ORDER: AtomicU64 = AtomicU64::new(0);
    let mut under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut counts = [0; 4];
    let mut buffer = [0; 4_096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(length) = recv(from.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            let frame = without_checksum(buffer[..length].to_vec());
            counts[0] += 1;
            let now = Instant::now();
            if is_ip(&frame) && chance.of_a_hundred(LOST) {
                counts[1] += 1;
            } else {
                let copies = if chance.of_a_hundred(DOUBLED) { 2 } else { 1 };
                counts[2] += copies - 1;
                for _ in 0..copies {
                    let overtakes = chance.of_a_hundred(OVERTAKING);
                    counts[3] += u64::from(overtakes);
                    let at = if overtakes { now } else { now + DELAY };
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

/// Where the IPv4 packet of a frame begins its payload, if that is UDP.
fn udp(frame: &[u8]) -> Option<usize> {
    let packet = frame.get(14..)?;
    let is_udp = is_ip(frame) && packet.get(9) == Some(&17);
    is_udp.then(|| 14 + usize::from(packet[0] & 0x0f) * 4)
}

/// IPv4, and not the question who has an address.
fn is_ip(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0])
}

/// The kernel leaves the sum of a UDP datagram to hardware that is not there; zero says that there is none.
fn without_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(begin) = udp(&frame)
        && let Some(sum) = frame.get_mut(begin + 6..begin + 8)
    {
        sum.fill(0);
    }
    frame
}

/// How many calls sipp says went well.
fn went_well(said: &str) -> u32 {
    let line = said.lines().rev().find(|line| line.contains("Successful call"));
    let count = line.and_then(|line| line.rsplit('|').next()?.trim().parse().ok());
    count.unwrap_or_default()
}

/// The lines of a metric that are not zero.
fn lines(text: &str, name: &str) -> String {
    let wanted = |line: &&str| line.starts_with(name) && !line.ends_with(" 0");
    let lines = text.lines().filter(wanted);
    lines
        .map(|line| line.trim_start_matches(name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn calls_over_a_bad_network_come_to_an_end() {
    let _turn = turn();
    let number = std::process::id();
    let mut cable = match Cable::lay(number) {
        Ok(cable) => cable,
        Err(why) if why.contains("not permitted") => return println!("left out, this needs root: {why}"),
        Err(why) => panic!("{why}"),
    };
    let (calls, rate) = if is_long() { (500, 10) } else { (20, 10) };
    let net = number % 250;
    let near = format!("10.213.{net}.1");
    let switch = Lab::new()
        .trust(&format!("10.213.{net}.0/24"))
        .at(near.parse().expect("an address"))
        .start();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &cable.name, "sipp", &format!("{near}:5060")]);
    command.args([
        "-i",
        &format!("10.213.{net}.2"),
        "-mi",
        &format!("10.213.{net}.2"),
        "-sn",
        "uac",
        "-s",
        "3000",
    ]);
    command.args([
        "-m",
        &calls.to_string(),
        "-r",
        &rate.to_string(),
        "-d",
        "2000",
        "-nostdin",
    ]);
    // A 100 that comes after the 200 is no reason to drop the call.
    command.args([
        "-timeout",
        "600s",
        "-max_retrans",
        "10",
        "-default_behaviors",
        "all,-abortunexp",
    ]);
    let mut sipp = Program::start("sipp", switch.folder(), &mut command).expect("tests/run installs sipp");
    sipp.wait(Duration::from_secs(600))
        .expect("every call comes to an end at sipp's side");
    let good = went_well(&sipp.output());

    // The cable is cut: whatever still waits for an answer gets none, and must not wait for ever.
    let carried = cable.cut();
    let open = || {
        let text = switch.metrics();
        let names = [
            "cordboard_sip_dialogs",
            "cordboard_sip_transactions",
            "cordboard_participants",
        ];
        names.map(|name| metric(&text, name, &[]))
    };
    let gone = cordboard_tests::until(QUIET, || (open() == [0.0; 3]).then_some(()));
    let text = switch.metrics();
    println!(
        "{good} of {calls} calls went well; of {} frames {} were lost, {} doubled, {} overtook others; ended: {}; \
         timers: {}; retransmissions: {}",
        carried[0],
        carried[1],
        carried[2],
        carried[3],
        lines(&text, "cordboard_calls_ended_total"),
        lines(&text, "cordboard_sip_timeouts_total"),
        lines(&text, "cordboard_sip_retransmissions_total"),
    );
    assert!(
        gone.is_some(),
        "dialogs, transactions and participants are left: {:?}",
        open()
    );
    assert!(
        carried[1] > 0 && carried[3] > 0,
        "the network was bad: {carried:?}"
    );
    assert!(good * 10 >= calls * 9, "{good} of {calls} calls went well");
}

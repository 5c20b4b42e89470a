//! One film through a server, and what it cost.

use std::time::{Duration, Instant};

use cordboard_tests::webrtc::{Camera, Crowd, Film, Opened, Seen, Sent};

use crate::cost::cpu_seconds;

/// How long a film runs before anything counts, how long it is measured, and how long late packets are waited for.
const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(4);
const LATE: Duration = Duration::from_millis(300);
/// Between two looks at the sockets: the kernel stamps what comes meanwhile.
const LOOK: Duration = Duration::from_millis(4);
/// Between two reports of a receiver.
const REPORTS: Duration = Duration::from_secs(1);

/// A load.
#[derive(Debug)]
pub struct Scene {
    /// What it is called.
    pub name: &'static str,
    /// Clients that watch.
    pub receivers: usize,
    /// What they watch.
    pub film: Film,
}

/// What came of it.
#[derive(Debug)]
pub struct Figures {
    /// CPU microseconds of the server per packet that arrived.
    pub cost: f64,
    cores: f64,
    wanted: u64,
    arrived: u64,
    spoiled: u64,
    /// Nanoseconds from sending to arrival, sorted.
    delays: Vec<u32>,
}

/// Measures a film that runs already.
pub fn measure(scene: &Scene, pid: u32, crowd: &mut Crowd, film: &Camera) -> Figures {
    let mut audience = Audience {
        first: u64::MAX,
        arrived: 0,
        spoiled: 0,
        delays: Vec::new(),
        newest: vec![None; crowd.peers.len()],
        reported: Instant::now(),
    };
    audience.watch(crowd, WARM_UP);
    audience.first = film.next();
    let (before, begun) = (cpu_seconds(pid), Instant::now());
    audience.watch(crowd, TIME);
    let (used, last) = (cpu_seconds(pid) - before, film.next());
    let time = begun.elapsed().as_secs_f64();
    let sent = last - audience.first;
    let came = audience.arrived;
    audience.watch(crowd, LATE);
    audience.delays.truncate(came as usize);
    let mut figures = Figures {
        cost: used * 1e6 / came.max(1) as f64,
        cores: used / time,
        wanted: sent * scene.receivers as u64,
        arrived: audience.numbered(last),
        spoiled: audience.spoiled,
        delays: audience.delays.iter().map(|(_, delay)| *delay).collect(),
    };
    figures.delays.sort_unstable();
    figures
}

/// Everybody who watches.
struct Audience {
    /// Packets from this one on count.
    first: u64,
    arrived: u64,
    spoiled: u64,
    delays: Vec<(u64, u32)>,
    /// SSRC and sequence number of each one's newest packet.
    newest: Vec<Option<(u32, u16)>>,
    reported: Instant,
}

impl Audience {
    fn watch(&mut self, crowd: &mut Crowd, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::thread::sleep(LOOK);
            crowd.pump(Duration::ZERO, |seen| self.take(&seen));
            if self.reported.elapsed() >= REPORTS {
                self.reported = Instant::now();
                self.report(crowd);
            }
        }
    }

    fn take(&mut self, seen: &Seen) {
        let packet = match &seen.what {
            Opened::Media(packet) => packet,
            Opened::Spoiled => {
                self.spoiled += 1;
                return;
            }
            _ => return,
        };
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        self.newest[seen.peer] = Some((ssrc, u16::from_be_bytes([packet[2], packet[3]])));
        let Some(sent) = Sent::of(packet).filter(|sent| sent.number >= self.first) else {
            return;
        };
        self.arrived += 1;
        let delay = u32::try_from(seen.at.saturating_sub(sent.at)).unwrap_or(u32::MAX);
        self.delays.push((sent.number, delay));
    }

    /// Each receiver's report, as a browser sends one (RFC 3550 section 6.4.2).
    fn report(&self, crowd: &mut Crowd) {
        for (peer, newest) in crowd.peers.iter_mut().zip(&self.newest) {
            let Some((ssrc, sequence)) = newest else { continue };
            let mut packet = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
            packet.extend(ssrc.to_be_bytes());
            packet.extend([0; 6]);
            packet.extend(sequence.to_be_bytes());
            packet.extend([0; 12]);
            peer.send_control(&packet);
        }
    }
}

impl Audience {
    /// Packets that came of those with numbers before `last`.
    fn numbered(&self, last: u64) -> u64 {
        self.delays.iter().filter(|(number, _)| *number < last).count() as u64
    }
}

impl Figures {
    fn delay(&self, quantile: f64) -> f64 {
        let place = self.delays.len().saturating_sub(1) as f64 * quantile;
        f64::from(self.delays.get(place as usize).copied().unwrap_or_default()) / 1000.0
    }

    /// Prints it.
    pub fn print(&self, name: &str) {
        println!(
            "  {name:9}  {:.2} us per packet ({:.2} cores)  p50 {:.0} us  p99 {:.0} us  p99.9 {:.0} us  lost {} of {}  spoiled {}",
            self.cost,
            self.cores,
            self.delay(0.5),
            self.delay(0.99),
            self.delay(0.999),
            self.wanted.saturating_sub(self.arrived),
            self.wanted,
            self.spoiled
        );
    }
}

//! One film through a server, and what it cost.

use std::fmt;
use std::time::{Duration, Instant};

use cordboard_tests::webrtc::{Camera, Crowd, Film, Opened, Seen, Sent};

use crate::best;
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
    delays: Delays,
}

/// Nanoseconds from sending to arrival, sorted.
#[derive(Debug)]
pub struct Delays(Vec<u32>);

impl Delays {
    /// Of these packets.
    pub fn new(mut all: Vec<u32>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    fn at(&self, quantile: f64) -> f64 {
        let place = self.0.len().saturating_sub(1) as f64 * quantile;
        f64::from(self.0.get(place as usize).copied().unwrap_or_default()) / 1000.0
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly_all] = [0.5, 0.99, 0.999].map(|quantile| self.at(quantile));
        write!(f, "p50 {half:.0} us  p99 {most:.0} us  p99.9 {nearly_all:.0} us")
    }
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
    let counting = audience.delays.iter().filter(|(number, _)| *number < last);
    let delays: Vec<u32> = counting.map(|(_, delay)| *delay).collect();
    Figures {
        cost: used * 1e6 / came.max(1) as f64,
        cores: used / time,
        wanted: sent * scene.receivers as u64,
        arrived: delays.len() as u64,
        spoiled: audience.spoiled,
        delays: Delays::new(delays),
    }
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
            crowd.pump(LOOK, |seen| self.take(&seen));
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

/// The least cost of several rounds, and the delays of the round that was least disturbed: whatever else the machine
/// does adds to each of them on its own.
pub fn fastest(rounds: Vec<Figures>) -> Figures {
    let calm = |figures: &Figures| figures.delays.at(0.99);
    let cost = rounds.iter().map(|figures| figures.cost).fold(f64::MAX, f64::min);
    let calmest = best(rounds, calm);
    Figures { cost, ..calmest }
}

impl Figures {
    /// Prints it.
    pub fn print(&self, name: &str) {
        println!(
            "  {name}  {:.2} us per packet ({:.2} cores)  {}  lost {} of {}  spoiled {}",
            self.cost,
            self.cores,
            self.delays,
            self.wanted.saturating_sub(self.arrived),
            self.wanted,
            self.spoiled
        );
    }
}

//! What participants take in memory: idle ones, and those who watch.

use std::time::Duration;

use cordboard_tests::switch::Lab;
use cordboard_tests::webrtc::{Camera, Film, Meeting, Part};

use super::{CAMERA, PATIENCE, SHOWS};
use crate::cost::resident_bytes;

/// How many there are when memory is looked at.
const STEPS: [usize; 6] = [10, 50, 100, 200, 350, 500];
/// How long everything runs before a look.
const REST: Duration = Duration::from_secs(2);
/// A slow film: what counts is that everybody gets it.
const FILM: Film = Film {
    ssrc: CAMERA,
    rate: 100,
    burst: 8,
    size: 1200,
};

/// Runs the bench.
pub fn run() {
    let idle = grow("idle participants, with audio", true, false);
    let watching = grow("subscribers of one video, without audio", false, true);
    println!(
        "webrtc memory: {:.1} KiB per idle participant, {:.1} KiB per subscriber of a flowing stream",
        idle / 1024.0,
        watching / 1024.0
    );
}

/// Bytes per participant, by the line that fits best.
fn grow(name: &str, audio: bool, film: bool) -> f64 {
    let switch = Lab::new().trust("127.0.0.0/8").video().start();
    let mut meeting = Meeting::new(switch.sip(), "3000");
    let camera = meeting.join(if film { SHOWS } else { Part { camera: None, audio } });
    meeting.settle(PATIENCE, |_| 0);
    let peer = &mut meeting.crowd.peers[camera];
    let reel = film.then(|| Camera::start(peer, FILM, 0).expect("it is connected"));
    let empty = resident_bytes(switch.pid());
    println!(
        "webrtc memory: {name}; {:.1} MiB with one",
        empty as f64 / f64::from(1 << 20)
    );
    let mut points = Vec::new();
    let part = Part { camera: None, audio };
    for step in STEPS {
        while meeting.crowd.peers.len() <= step {
            meeting.join(part);
        }
        meeting.settle(PATIENCE, |part| usize::from(film && part.camera.is_none()));
        meeting.idle(REST);
        let bytes = resident_bytes(switch.pid());
        points.push((step as f64, bytes as f64));
        println!("  {step:3}  {:.1} MiB", bytes as f64 / f64::from(1 << 20));
    }
    if let Some(reel) = reel {
        reel.end(&mut meeting.crowd.peers[camera]);
    }
    meeting.leave();
    let (slope, worst) = line(&points);
    println!(
        "  {:.1} KiB each, by the line that fits best; no point is farther from it than {:.0} KiB",
        slope / 1024.0,
        worst / 1024.0
    );
    slope
}

/// The slope of the line that fits best, and the farthest distance of a point from it.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let rise: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let run: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = rise / run;
    let distance = |point: &(f64, f64)| (point.1 - y - slope * (point.0 - x)).abs();
    (slope, points.iter().map(distance).fold(0.0, f64::max))
}

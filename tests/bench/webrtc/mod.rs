//! Video that is forwarded: what each packet costs, how much later it arrives, what a participant takes.
//!
//! Clients of our own (cordboard_tests::webrtc) join the switch by SIP, and Janus by its own API: one has a camera,
//! the others watch. All of it is AES-GCM. A packet holds the time of its sending; the kernel stamps its arrival.

mod floor;
mod janus;
mod load;
mod memory;

use std::time::Duration;

use cordboard_tests::switch::Lab;
use cordboard_tests::webrtc::{Camera, Film, Meeting, Part};

use crate::datagrams::{local, socket};
use crate::{ROUNDS, best};
use janus::{Janus, STREAMING, VIDEOROOM};
use load::{Figures, Scene};

/// How long everybody may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// The SSRC of the camera.
const CAMERA: u32 = 0x0cab_0001;

/// Who watches: nobody hears anything.
const WATCHES: Part = Part {
    camera: None,
    audio: false,
};
/// Who is watched.
const SHOWS: Part = Part {
    camera: Some(CAMERA),
    audio: false,
};

const fn scene(name: &'static str, receivers: usize, rate: u32, burst: u32, size: usize) -> Scene {
    Scene {
        name,
        receivers,
        film: Film {
            ssrc: CAMERA,
            rate,
            burst,
            size,
        },
    }
}

/// What is measured: receivers, packets a second to each, packets of a frame, bytes of a payload.
const SCENES: [Scene; 5] = [
    scene("20 x 1,000", 20, 1000, 8, 1200),
    scene("100 x 500", 100, 500, 8, 1200),
    scene("20 x 1,000 small", 20, 1000, 8, 160),
    scene("half of 20 x 1,000", 20, 500, 8, 1200),
    scene("20 x 1,000 one by one", 20, 1000, 1, 1200),
];

/// Runs the bench.
pub fn run() {
    let wanted = std::env::var("CORDBOARD_WEBRTC").unwrap_or_default();
    let is_wanted = |name: &str| wanted.is_empty() || name.starts_with(&wanted);
    for scene in SCENES.iter().filter(|scene| is_wanted(scene.name)) {
        compare(scene);
    }
    if is_wanted("memory") {
        memory::run();
    }
}

/// The switch, Janus and the bare loop in turns.
fn compare(scene: &Scene) {
    let Film {
        rate, burst, size, ..
    } = scene.film;
    println!(
        "webrtc {}: {} receivers, {rate} packets/s of {size} bytes to each in frames of {burst}",
        scene.name, scene.receivers
    );
    let (mut ours, mut room, mut mountpoint) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hot, mut paced) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hot.push(floor::hot(scene));
        paced.push(floor::paced(scene));
        ours.push(switch(scene));
        room.extend(videoroom(scene));
        mountpoint.extend(streaming(scene));
    }
    let (hot, paced) = (best(hot, |cost| *cost), best(paced, |paced| paced.cost));
    let ours = load::fastest(ours);
    println!("  bare loop  {hot:.2} us per packet one frame after the other");
    println!(
        "  bare loop  {:.2} us per packet at this pace  {}",
        paced.cost, paced.delays
    );
    ours.print("cordboard");
    println!(
        "  cordboard takes {:.2} times the bare loop at this pace, {:.2} times the one without pauses",
        ours.cost / paced.cost,
        ours.cost / hot
    );
    if room.is_empty() || mountpoint.is_empty() {
        println!("  janus is not installed, or this machine has no address but the loopback: not compared");
        return;
    }
    for (name, theirs) in [("janus, videoroom", room), ("janus, mountpoint", mountpoint)] {
        let theirs = load::fastest(theirs);
        theirs.print(name);
        println!("  cordboard takes 1/{:.1} of {name}", theirs.cost / ours.cost);
    }
}

fn switch(scene: &Scene) -> Figures {
    let switch = Lab::new().trust("127.0.0.0/8").video().start();
    let mut meeting = Meeting::new(switch.sip(), "3000");
    let camera = meeting.join(SHOWS);
    for _ in 0..scene.receivers {
        meeting.join(WATCHES);
    }
    meeting.settle(PATIENCE, |part| usize::from(part == WATCHES));
    let film = Camera::start(&mut meeting.crowd.peers[camera], scene.film, 0).expect("it is connected");
    let figures = load::measure(scene, switch.pid(), &mut meeting.crowd, &film);
    film.end(&mut meeting.crowd.peers[camera]);
    meeting.leave();
    figures
}

fn videoroom(scene: &Scene) -> Option<Figures> {
    let mut janus = Janus::start(VIDEOROOM, free_port())?;
    let camera = janus.publish(SHOWS);
    for _ in 0..scene.receivers {
        janus.watch(WATCHES);
    }
    janus.settle(PATIENCE);
    let film = Camera::start(&mut janus.crowd.peers[camera], scene.film, 0).expect("it is connected");
    let figures = load::measure(scene, janus.pid(), &mut janus.crowd, &film);
    film.end(&mut janus.crowd.peers[camera]);
    Some(figures)
}

fn streaming(scene: &Scene) -> Option<Figures> {
    let inlet = free_port();
    let mut janus = Janus::start(STREAMING, inlet)?;
    for _ in 0..scene.receivers {
        janus.watch(WATCHES);
    }
    janus.settle(PATIENCE);
    let film = Camera::plain(([127, 0, 0, 1], inlet).into(), scene.film).expect("the loopback is there");
    Some(load::measure(scene, janus.pid(), &mut janus.crowd, &film))
}

/// A port that is free now.
fn free_port() -> u16 {
    local(&socket()).port()
}

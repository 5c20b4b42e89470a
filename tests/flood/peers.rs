//! Attacks on live WebRTC peers, and through them: whoever watches misses nothing, and all of it is counted.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use cordboard_tests::http::metric;
use cordboard_tests::switch::{Lab, Switch};
use cordboard_tests::webrtc::{Camera, Film, Meeting, Opened, Part, Seen, Sent};

use crate::witness::{Witness, resident};
use crate::{length, stranger, turn};

/// Packets of an attack in a second.
const RATE: u64 = 10_000;
/// Those who watch.
const WATCHERS: usize = 3;
/// How long everybody may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what was sent last may be under way.
const LATE: Duration = Duration::from_millis(500);
/// The most memory of the switch, in MiB.
const MEMORY: u64 = 256;
/// The SSRC of the camera.
const CAMERA: u32 = 0x0cab_0001;
const FILM: Film = Film {
    ssrc: CAMERA,
    rate: 400,
    burst: 4,
    size: 1000,
};

/// A switch, one who shows himself, and those who watch.
struct Scene {
    switch: Switch,
    meeting: Meeting,
    camera: usize,
    watchers: Vec<usize>,
}

/// What was seen of it.
#[derive(Debug, Default)]
struct Watched {
    /// Numbers of packets, for each peer.
    numbers: Vec<Vec<u64>>,
    spoiled: usize,
    /// Requests for a picture that reached the camera.
    pictures: usize,
    /// The SSRC under which each watcher is shown the camera.
    ssrcs: Vec<u32>,
}

impl Watched {
    fn take(&mut self, seen: Seen) {
        match seen.what {
            Opened::Media(packet) => {
                self.ssrcs[seen.peer] = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
                self.numbers[seen.peer].extend(Sent::of(&packet).map(|sent| sent.number));
            }
            Opened::Control(bytes) => self.pictures += pictures(&bytes),
            Opened::Spoiled => self.spoiled += 1,
            Opened::Transport => {}
        }
    }
}

/// Requests for a picture in a compound packet: PLI and FIR (RFC 4585, RFC 5104).
fn pictures(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [first, kind, high, low, ..] = bytes {
        count += usize::from(*kind == 206 && matches!(first & 31, 1 | 4));
        let len = 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]));
        bytes = bytes.get(len..).unwrap_or_default();
    }
    count
}

impl Scene {
    fn new() -> Self {
        let switch = Lab::new().trust("127.0.0.0/8").video().start();
        let mut meeting = Meeting::new(switch.sip(), "3000");
        let part = |camera| Part { camera, audio: true };
        let camera = meeting.join(part(Some(CAMERA)));
        let watchers = (0..WATCHERS).map(|_| meeting.join(part(None))).collect();
        meeting.settle(PATIENCE, |part| usize::from(part.camera.is_none()));
        Self {
            switch,
            meeting,
            camera,
            watchers,
        }
    }

    /// Films while `attack` sends what is due: it gets the meeting and how many packets it is to send now. What was
    /// seen, how many packets were sent, and how many were filmed meanwhile.
    fn withstands(
        &mut self,
        name: &str,
        mut attack: impl FnMut(&mut Meeting, &Watched, u64),
    ) -> (Watched, u64) {
        let all = self.meeting.crowd.peers.len();
        let mut watched = Watched {
            numbers: vec![Vec::new(); all],
            ssrcs: vec![0; all],
            ..Watched::default()
        };
        let peer = &mut self.meeting.crowd.peers[self.camera];
        let film = Camera::start(peer, FILM, 0).expect("it is connected");
        let begun = Instant::now();
        // Each of them begins with a key frame.
        let blind = |watched: &Watched, watcher: &usize| watched.numbers[*watcher].is_empty();
        while self.watchers.iter().any(|watcher| blind(&watched, watcher)) && begun.elapsed() < PATIENCE {
            self.meeting
                .pump(Duration::from_millis(4), |seen| watched.take(seen));
        }
        let (first, begun, mut sent) = (film.next(), Instant::now(), 0);
        watched.pictures = 0;
        while begun.elapsed() < length() {
            let due = begun.elapsed().as_micros() as u64 * RATE / 1_000_000 - sent;
            attack(&mut self.meeting, &watched, due);
            sent += due;
            self.meeting
                .pump(Duration::from_millis(2), |seen| watched.take(seen));
        }
        let (span, requests) = (begun.elapsed(), watched.pictures);
        let last = film.end(&mut self.meeting.crowd.peers[self.camera]);
        let ended = Instant::now();
        while ended.elapsed() < LATE {
            self.meeting
                .pump(Duration::from_millis(4), |seen| watched.take(seen));
        }
        println!(
            "{name}: {:.0}/s for {:.1} s, {} packets filmed, {requests} pictures asked for, {} MiB resident",
            sent as f64 / span.as_secs_f64(),
            span.as_secs_f64(),
            last - first,
            resident(&self.switch)
        );
        for watcher in &self.watchers {
            let numbers = &mut watched.numbers[*watcher];
            numbers.retain(|number| (first..last).contains(number));
            numbers.sort_unstable();
            numbers.dedup();
            let missing = last - first - numbers.len() as u64;
            assert_eq!(missing, 0, "{name}: packets are missing");
        }
        assert_eq!(watched.spoiled, 0, "{name}");
        assert!(resident(&self.switch) < MEMORY);
        assert!(self.meeting.crowd.is_connected());
        (watched, sent)
    }

    fn dropped(&self, reason: &str) -> u64 {
        let label = format!("reason=\"{reason}\"");
        metric(
            &self.switch.metrics(),
            "cordboard_rtp_dropped_packets_total",
            &[&label],
        ) as u64
    }

    /// The counter is read a moment after what it counts.
    fn counts(&self, reason: &str, least: u64) {
        let counted = cordboard_tests::until(PATIENCE, || (self.dropped(reason) >= least).then_some(()));
        assert!(counted.is_some(), "{reason}: {} of {least}", self.dropped(reason));
    }
}

/// Bytes that look random and are the same in each run.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as u8
    }

    /// An RTP packet of this stream, with anything behind its head.
    fn rtp(&mut self, payload_type: u8, ssrc: u32) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type, self.byte(), self.byte()];
        packet.extend((0..4).map(|_| self.byte()));
        packet.extend(ssrc.to_be_bytes());
        packet.extend((0..180).map(|_| self.byte()));
        packet
    }
}

#[test]
fn of_garbage_from_a_live_peers_own_address() {
    let _turn = turn();
    let mut scene = Scene::new();
    let mut noise = Noise(1);
    // From the camera's own address under its own SSRC, and from a watcher's: media and RTCP.
    let sockets: Vec<UdpSocket> = [scene.camera, scene.watchers[0]]
        .map(|peer| scene.meeting.crowd.peers[peer].socket().expect("a socket"))
        .into();
    let (_, sent) = scene.withstands("SRTP garbage", |_, _, due| {
        for number in 0..due {
            let mut packet = noise.rtp(96, CAMERA);
            if number % 4 == 0 {
                packet[1] = 200 + noise.byte() % 8;
            }
            let _ = sockets[number as usize % 2].send(&packet); // a full buffer is the switch's affair
        }
    });
    // The kernel may drop some of it where the switch has no time.
    scene.counts("unauthentic", sent * 8 / 10);
}

#[test]
fn of_media_from_strangers() {
    let _turn = turn();
    let mut scene = Scene::new();
    let to = scene.meeting.crowd.peers[scene.camera]
        .remote()
        .expect("it is connected");
    let mut noise = Noise(2);
    let sockets: Vec<UdpSocket> = (0..500)
        .map(|number| UdpSocket::bind(stranger(number)).expect("an address of the loopback"))
        .collect();
    let (_, sent) = scene.withstands("media of strangers", |_, _, due| {
        for number in 0..due {
            let mut packet = noise.rtp(96, CAMERA);
            // Also beginnings of handshakes, and what looks like a check.
            match number % 4 {
                0 => packet[..3].copy_from_slice(&[22, 254, 253]),
                1 => packet[..8].copy_from_slice(&[0, 1, 0, 160, 0x21, 0x12, 0xa4, 0x42]),
                _ => {}
            }
            let _ = sockets[noise.byte() as usize].send_to(&packet, to); // as above
        }
    });
    scene.counts("unproven_source", sent * 3 / 4 * 8 / 10);
}

#[test]
fn of_control_garbage_that_is_authentic() {
    let _turn = turn();
    let mut scene = Scene::new();
    let (mut noise, watcher) = (Noise(3), scene.watchers[0]);
    let before = metric(
        &scene.switch.metrics(),
        "cordboard_rtcp_packets_total",
        &["direction=\"in\""],
    );
    let (_, sent) = scene.withstands("RTCP garbage", |meeting, watched, due| {
        for _ in 0..due {
            let ssrc = watched.ssrcs[watcher].to_be_bytes();
            let mut packet = vec![
                0x80 | noise.byte() & 31,
                200 + noise.byte() % 8,
                0,
                noise.byte() % 32,
            ];
            packet.extend(ssrc);
            packet.extend((0..60).map(|_| noise.byte()));
            if noise.byte() % 2 == 0 {
                packet[8..12].copy_from_slice(&ssrc);
            }
            meeting.crowd.peers[watcher].send_control(&packet);
        }
    });
    let taken = || {
        let text = scene.switch.metrics();
        let read = metric(&text, "cordboard_rtcp_packets_total", &["direction=\"in\""]) - before;
        read as u64 + scene.dropped("malformed")
    };
    let least = sent * 8 / 10;
    let counted = cordboard_tests::until(PATIENCE, || (taken() >= least).then_some(()));
    assert!(counted.is_some(), "{} of {least}", taken());
}

#[test]
fn of_requests_for_pictures() {
    let _turn = turn();
    let mut scene = Scene::new();
    let watchers = scene.watchers.clone();
    let begun = Instant::now();
    let (watched, sent) = scene.withstands("PLI storm", |meeting, watched, due| {
        for number in 0..due as usize {
            let watcher = watchers[number % watchers.len()];
            let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 206, 0, 2, 0, 0, 0, 1];
            packet.extend(watched.ssrcs[watcher].to_be_bytes());
            meeting.crowd.peers[watcher].send_control(&packet);
        }
    });
    // At most one in half a second, however many want one.
    let most = begun.elapsed().as_millis() as usize / 500 + 2;
    assert!(
        (1..=most).contains(&watched.pictures),
        "{} of {most}",
        watched.pictures
    );
    let heard = || {
        metric(
            &scene.switch.metrics(),
            "cordboard_rtcp_feedback_total",
            &["kind=\"pli\"", "direction=\"in\""],
        )
    };
    let least = (sent * 8 / 10) as f64;
    let counted = cordboard_tests::until(PATIENCE, || (heard() >= least).then_some(()));
    assert!(counted.is_some(), "{} of {least}", heard());
}

#[test]
fn of_media_at_a_phones_port() {
    let _turn = turn();
    let switch = Lab::new().start();
    let mut witness = Witness::new(&switch);
    let ports = witness.ports();
    let attack = std::thread::spawn(move || {
        let sockets: Vec<UdpSocket> = (0..100)
            .map(|number| UdpSocket::bind(stranger(number)).expect("an address of the loopback"))
            .collect();
        let (mut noise, begun, mut sent) = (Noise(4), Instant::now(), 0);
        while begun.elapsed() < length() {
            let due = begun.elapsed().as_micros() as u64 * RATE / 1_000_000 - sent;
            for number in 0..due {
                let packet = noise.rtp(0, 7);
                let socket = &sockets[usize::from(noise.byte()) % sockets.len()];
                let _ = socket.send_to(&packet, ports[number as usize % ports.len()]); // as above
            }
            sent += due;
            std::thread::sleep(Duration::from_millis(2));
        }
        sent
    });
    witness.watch(|| attack.is_finished());
    let sent = attack.join().expect("the attack ends");
    println!("RTP of strangers at phones' ports: {sent} packets: {witness}");
    witness.is_unharmed();
    let dropped = || {
        metric(
            &switch.metrics(),
            "cordboard_rtp_dropped_packets_total",
            &["reason=\"foreign_source\""],
        )
    };
    let counted = cordboard_tests::until(PATIENCE, || (dropped() >= sent as f64 / 4.0).then_some(()));
    assert!(counted.is_some(), "{} of {sent}", dropped());
}

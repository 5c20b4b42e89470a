//! A media thread with WebRTC peers on real sockets: browsers are those of the media's own tests.

#![allow(dead_code, reason = "the browsers can do more than is needed here")]

#[path = "../../../../media/tests/webrtc/browser.rs"]
mod browser;
#[path = "../../../../media/tests/webrtc/stun.rs"]
mod stun;
#[path = "../../../../media/tests/webrtc/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use cordboard_model::media::peer::{PeerCommand, PeerEvent, PeerSetup, VideoLine};
use cordboard_model::media::{MediaCommand, MediaEvent};
use cordboard_model::{LegId, MixId, ShardId};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use socket2::{Domain, Socket, Type};

use super::{StreamEnd, WebRtcPort};
use crate::clock::Clock;
use crate::shard::{ShardConfig, ShardHandle, start};
use browser::Browser;
use cordboard_media::Identity;
use world::{VIDEO_SSRC, audio_line, publish, rtp, subscribe};

/// How a browser reaches the switch.
enum Line {
    Udp(UdpSocket),
    /// Each datagram behind its length (RFC 4571).
    Tcp(TcpStream, Vec<u8>),
}

impl Line {
    fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Udp(socket) => {
                socket.send(bytes).unwrap();
            }
            Self::Tcp(stream, _) => {
                let framed = [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
                // In two pieces: frames do not arrive as they were sent.
                // A connection that has been closed is seen by reading.
                for piece in [&framed[..1], &framed[1..]] {
                    let _ = stream.write_all(piece);
                }
            }
        }
    }

    fn receive(&mut self) -> Vec<Vec<u8>> {
        let (mut got, mut part) = (Vec::new(), [0; 4096]);
        match self {
            Self::Udp(socket) => {
                while let Ok(len) = socket.recv(&mut part) {
                    got.push(part[..len].to_vec());
                }
            }
            Self::Tcp(stream, rest) => {
                while let Ok(len @ 1..) = stream.read(&mut part) {
                    rest.extend(&part[..len]);
                }
                while let Some(head) = rest.get(..2) {
                    let len = 2 + usize::from(u16::from_be_bytes([head[0], head[1]]));
                    let Some(bytes) = rest.get(2..len) else { break };
                    got.push(bytes.to_vec());
                    rest.drain(..len);
                }
            }
        }
        got
    }
}

struct Hall {
    shard: ShardHandle,
    events: Receiver<MediaEvent>,
    browsers: BTreeMap<u64, (Browser, Line)>,
    begun: Instant,
}

impl Hall {
    fn new() -> Self {
        let clock = Clock::start();
        let begun = Instant::now();
        let identity = Identity::new((begun, clock.now())).unwrap();
        // A port that is free for UDP may be taken for TCP.
        let bind = || WebRtcPort::bind(&["127.0.0.1".parse().unwrap()], 0, identity.clone());
        let port = (0..10)
            .find_map(|_| bind().ok())
            .expect("one of ten is free for both");
        let (sender, events) = channel();
        let config = ShardConfig {
            id: ShardId(0),
            ports: 30_200..=30_201,
            clock,
            webrtc: Some(port),
        };
        let shard = start(config, move |event| {
            let _ = sender.send(event);
        });
        Self {
            shard: shard.unwrap(),
            events,
            browsers: BTreeMap::new(),
            begun,
        }
    }

    fn join(&mut self, leg: u64, tcp: bool, video: Vec<VideoLine>) {
        let mut browser = Browser::new(leg, true, &[SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm]);
        let id = LegId(leg);
        let open = PeerCommand::Open {
            leg: id,
            mix: MixId(1),
            muted: false,
            deaf: false,
        };
        self.shard.send(MediaCommand::Peer(open)).unwrap();
        let opened = self.events.recv_timeout(Duration::from_secs(10)).unwrap();
        let MediaEvent::Peer(PeerEvent::Opened { local, .. }) = opened else {
            panic!("{opened:?}")
        };
        let line = if tcp {
            let candidate = local.candidates.iter().find(|candidate| candidate.tcp).unwrap();
            let stream = TcpStream::connect(candidate.address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            Line::Tcp(stream, Vec::new())
        } else {
            assert!(!local.candidates[0].tcp, "UDP is the best");
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(local.candidates[0].address).unwrap();
            socket.set_nonblocking(true).unwrap();
            Line::Udp(socket)
        };
        browser.local = Some(local.clone());
        let setup = PeerSetup {
            local: local.ice,
            ice: browser.ice.clone(),
            dtls_client: false,
            fingerprints: vec![browser.fingerprint],
            audio: Some(audio_line(leg)),
            voices: Vec::new(),
            video,
        };
        let setup = Box::new(setup);
        self.shard
            .send(MediaCommand::Peer(PeerCommand::Describe { leg: id, setup }))
            .unwrap();
        self.browsers.insert(leg, (browser, line));
    }

    /// Lets the browsers work until `done` says so.
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !done(self) {
            assert!(Instant::now() < end, "{:?}", self.shard.counts().media);
            let (ms, now) = (self.begun.elapsed().as_millis() as u64, Instant::now());
            for (browser, line) in self.browsers.values_mut() {
                browser.tick(ms, now);
                while let Some(bytes) = browser.outgoing.pop_front() {
                    line.send(&bytes);
                }
                for bytes in line.receive() {
                    browser.receive(ms, now, &bytes);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn browser(&mut self, leg: u64) -> &mut Browser {
        &mut self.browsers.get_mut(&leg).unwrap().0
    }
}

#[test]
fn video_goes_from_socket_to_socket_and_audio_through_the_mix() {
    for tcp in [false, true] {
        watch(tcp);
    }
}

/// One browser sends, by UDP or TCP, and the other sees and hears it.
fn watch(tcp: bool) {
    let mut hall = Hall::new();
    hall.join(1, tcp, vec![publish("1", vec![(VIDEO_SSRC, None)])]);
    hall.join(2, tcp, vec![subscribe("1", 1, "1", false)]);
    hall.until(|hall| hall.browsers.values().all(|(browser, _)| browser.connected));
    let mut at = 0u16;
    hall.until(|hall| {
        // A frame of several packets, and a frame of audio.
        for _ in 0..5 {
            let mut payload = vec![0x10, 0];
            payload.resize(900, 3);
            hall.browser(1)
                .send(&rtp(96, at, u32::from(at) * 300, VIDEO_SSRC, &payload));
            at = at.wrapping_add(1);
        }
        let audio = at / 5;
        hall.browser(1)
            .send(&rtp(0, audio, u32::from(audio) * 160, 77, &[0x90; 160]));
        let heard = hall.browser(2).payloads(0x9002);
        let heard = heard
            .iter()
            .filter(|payload| payload.iter().all(|code| *code == 0x90))
            .count();
        heard > 10 && hall.browser(2).payloads(0xa001).len() > 200
    });
    let seen: Vec<u16> = hall
        .browser(2)
        .media
        .iter()
        .filter(|(_, packet)| packet[8..12] == 0xa001u32.to_be_bytes())
        .map(|(_, packet)| u16::from_be_bytes([packet[2], packet[3]]))
        .collect();
    assert!(
        seen.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "in order, none missing"
    );
    assert_eq!(hall.browser(2).spoiled, 0);
    hall.until(|hall| hall.shard.counts().media.peers.forward_latency.count() > 200);
    let counts = hall.shard.counts();
    assert_eq!((counts.media.peers.connected, counts.send_errors), (2, 0));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let clock = Clock::start();
    let identity = Identity::new((Instant::now(), clock.now())).unwrap();
    let refused = WebRtcPort::bind(&["127.0.0.1".parse().unwrap()], port, identity).unwrap_err();
    let text = format!("{refused:#}");
    assert!(
        text.contains("webrtc_port") && text.contains(&port.to_string()),
        "{text}"
    );
}

#[test]
fn who_connects_from_the_port_that_another_sends_by_gets_nothing_of_it() {
    let mut hall = Hall::new();
    hall.join(1, false, vec![publish("1", vec![(VIDEO_SSRC, None)])]);
    hall.join(2, false, vec![subscribe("1", 1, "1", false)]);
    hall.until(|hall| hall.browsers.values().all(|(browser, _)| browser.connected));
    let address = hall.browser(2).local.as_ref().unwrap().candidates[0].address;
    let Line::Udp(socket) = &hall.browsers[&2].1 else {
        unreachable!("it joined by UDP")
    };
    let own = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    own.bind(&socket.local_addr().unwrap().into()).unwrap();
    own.connect(&address.into()).unwrap();
    let mut at = 0u16;
    hall.until(|hall| {
        let payload = [&[0x10, 0][..], &[3; 900]].concat();
        hall.browser(1)
            .send(&rtp(96, at, u32::from(at) * 300, VIDEO_SSRC, &payload));
        at += 1;
        hall.browser(2).payloads(0xa001).len() > 100
    });
    own.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = TcpStream::from(own);
    assert_eq!(
        stream.read(&mut [0; 10]).unwrap(),
        0,
        "it was told nothing, and was closed"
    );
}

#[test]
fn connections_that_prove_nothing_are_closed() {
    let mut hall = Hall::new();
    hall.join(1, true, vec![]);
    hall.until(|hall| hall.browsers[&1].0.connected);
    let address = hall.browser(1).local.as_ref().unwrap().candidates[0].address;
    let mut liar = TcpStream::connect(address).unwrap();
    liar.write_all(&[0xff; 100]).unwrap();
    liar.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(liar.read(&mut [0; 10]).unwrap_or(0), 0, "too long for a datagram");
    let mut idle = TcpStream::connect(address).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(idle.read(&mut [0; 10]).unwrap(), 0, "it has said nothing");
    let ends = |hall: &mut Hall| hall.shard.counts().stream_ends;
    hall.until(|hall| ends(hall) != [0; 4]);
    hall.until(|hall| ends(hall)[StreamEnd::Unproven as usize] == 1);
    assert_eq!(ends(&mut hall), [0, 1, 1, 0], "the browser's own goes on");
}

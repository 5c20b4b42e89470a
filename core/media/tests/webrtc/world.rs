//! One shard, browsers around it, and the network between, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard_media::{Identity, Shard, WebRtc};
use cordboard_model::media::peer::{
    AudioLine, Candidate, Feedback, HeaderExtensions, PeerCommand, PeerEvent, PeerLoss, PeerSetup,
    VideoCodec, VideoFlow, VideoFormat, VideoLine,
};
use cordboard_model::media::{AudioFormat, Codec, Direction, MediaCommand, MediaEvent, OpusLimit};
use cordboard_model::{LegId, MixId, Time};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::browser::Browser;

const START: Time = Time(1_700_000_000_000_000_000);

/// What the network does to the packet with this number: the milliseconds that it takes, or a loss.
pub(crate) type Network = Box<dyn FnMut(u64) -> Option<u64>>;

/// What is shown every datagram that the shard sends.
pub(crate) type Tap = Box<dyn FnMut(&[u8])>;

/// A packet on its way: to (the shard where it names nobody), from, and what it is.
type Travelling = (Option<SocketAddr>, SocketAddr, Vec<u8>);

pub(crate) struct World {
    pub(crate) shard: Shard,
    pub(crate) ms: u64,
    pub(crate) browsers: BTreeMap<u64, Browser>,
    pub(crate) events: Vec<(u64, MediaEvent)>,
    /// Both ways.
    pub(crate) network: Network,
    /// Is shown every datagram that the shard sends.
    pub(crate) tap: Option<Tap>,
    /// Bytes that the shard sent to addresses where no browser is.
    pub(crate) astray: Vec<(SocketAddr, Vec<u8>)>,
    /// Handshake datagrams that the shard takes in a millisecond.
    pub(crate) work: usize,
    start: Instant,
    queue: BTreeMap<(u64, u64), Travelling>,
    packets: u64,
}

pub(crate) const VIDEO_SSRC: u32 = 0x7000;
pub(crate) const RTX_SSRC: u32 = 0x7001;

pub(crate) fn audio_line(leg: u64) -> AudioLine {
    AudioLine {
        mid: "0".to_owned(),
        format: AudioFormat {
            codec: Codec::Pcmu,
            payload_type: 0,
            receive: vec![(0, Codec::Pcmu), (111, Codec::Opus)],
            events: vec![(101, 8000)],
            comfort_noise: None,
            opus: OpusLimit::default(),
            packet_ms: 20,
        },
        direction: Direction::BOTH,
        ssrc: 0x9000 + leg as u32,
        remote_ssrcs: vec![],
        extensions: HeaderExtensions::default(),
    }
}

pub(crate) fn format(payload_type: u8, rtx: Option<u8>) -> VideoFormat {
    VideoFormat {
        codec: VideoCodec::Vp8,
        parameters: String::new(),
        payload_type,
        rtx,
        feedback: Feedback {
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
        },
    }
}

pub(crate) fn publish(mid: &str, ssrcs: Vec<(u32, Option<u32>)>) -> VideoLine {
    VideoLine {
        mid: mid.to_owned(),
        formats: vec![format(96, Some(97))],
        extensions: HeaderExtensions {
            transport_cc: Some(3),
            mid: Some(4),
            orientation: Some(5),
            ..Default::default()
        },
        flow: VideoFlow::Publish { ssrcs, muted: false },
    }
}

pub(crate) fn subscribe(mid: &str, from: u64, source: &str, rtx: bool) -> VideoLine {
    VideoLine {
        mid: mid.to_owned(),
        formats: vec![format(120, rtx.then_some(121))],
        extensions: HeaderExtensions {
            orientation: Some(9),
            ..Default::default()
        },
        flow: VideoFlow::Subscribe {
            source: cordboard_model::media::peer::VideoSource {
                leg: LegId(from),
                mid: source.to_owned(),
            },
            ssrc: 0xa000 + from as u32,
            rtx: rtx.then_some(0xb000 + from as u32),
        },
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        let identity = Identity::new((start, START)).unwrap();
        let address = "10.0.0.1:10000".parse().unwrap();
        let candidates = vec![Candidate { address, tcp: false }];
        Self {
            shard: Shard::new(1).with_webrtc(WebRtc { identity, candidates }),
            ms: 0,
            browsers: BTreeMap::new(),
            events: Vec::new(),
            network: Box::new(|_| Some(1)),
            tap: None,
            astray: Vec::new(),
            work: 4,
            start,
            queue: BTreeMap::new(),
            packets: 0,
        }
    }

    pub(crate) fn now(&self) -> Time {
        START + Duration::from_millis(self.ms)
    }

    pub(crate) fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    pub(crate) fn browser(&mut self, leg: u64) -> &mut Browser {
        self.browsers.get_mut(&leg).unwrap()
    }

    pub(crate) fn command(&mut self, command: MediaCommand) {
        self.shard.command(command, self.now());
        self.drain();
    }

    /// A browser that begins the handshake and takes both ciphers, with these video lines and audio.
    pub(crate) fn join(&mut self, leg: u64, video: Vec<VideoLine>) {
        let both = [
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ];
        self.join_as(Browser::new(leg, true, &both), video);
    }

    pub(crate) fn join_as(&mut self, browser: Browser, video: Vec<VideoLine>) {
        let leg = browser.leg;
        self.browsers.insert(leg.0, browser);
        self.command(MediaCommand::Peer(PeerCommand::Open {
            leg,
            mix: MixId(1),
            muted: false,
            deaf: false,
        }));
        self.describe(leg.0, video);
    }

    pub(crate) fn setup(&mut self, leg: u64, video: Vec<VideoLine>) -> PeerSetup {
        let browser = self.browser(leg);
        PeerSetup {
            ice: browser.ice.clone(),
            local: browser.local.as_ref().expect("the peer is open").ice.clone(),
            dtls_client: !browser.is_client,
            fingerprints: vec![[1; 32], browser.fingerprint],
            audio: Some(audio_line(leg)),
            voices: Vec::new(),
            video,
        }
    }

    pub(crate) fn describe(&mut self, leg: u64, video: Vec<VideoLine>) {
        let setup = Box::new(self.setup(leg, video));
        self.command(MediaCommand::Peer(PeerCommand::Describe {
            leg: LegId(leg),
            setup,
        }));
    }

    /// Lets the shard have a datagram now.
    pub(crate) fn inject(&mut self, source: SocketAddr, bytes: &[u8]) {
        self.shard.webrtc_packet(source, bytes, self.now(), self.now());
        self.drain();
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u64) {
        self.run_with(ms, |_| ());
    }

    /// Lets time pass and calls `each` every millisecond.
    pub(crate) fn run_with(&mut self, ms: u64, mut each: impl FnMut(&mut Self)) {
        for _ in 0..ms {
            self.ms += 1;
            each(self);
            let (at, instant) = (self.ms, self.instant());
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= at) {
                let (to, source, bytes) = entry.remove();
                match to {
                    None => self.shard.webrtc_packet(source, &bytes, self.now(), self.now()),
                    Some(to) => match self.browsers.values_mut().find(|browser| browser.address == to) {
                        Some(browser) => browser.receive(at, instant, &bytes),
                        None => self.astray.push((to, bytes)),
                    },
                }
            }
            if self.shard.has_work() {
                self.shard.work(self.work, self.now());
            }
            if self.shard.next_timeout().is_some_and(|due| due <= self.now()) {
                self.shard.timeout(self.now());
            }
            for browser in self.browsers.values_mut() {
                browser.tick(at, instant);
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        let Self {
            shard,
            queue,
            packets,
            network,
            ms,
            events,
            browsers,
            tap,
            ..
        } = self;
        let mut send = |to: Option<SocketAddr>, source: SocketAddr, bytes: &[u8]| {
            *packets += 1;
            if let (Some(tap), Some(_)) = (tap.as_mut(), to) {
                tap(bytes);
            }
            if let Some(late) = network(*packets) {
                queue.insert((*ms + late, *packets), (to, source, bytes.to_vec()));
            }
        };
        let switch = SocketAddr::from(([10, 0, 0, 1], 10_000));
        shard.drain_packets(|packet| send(Some(packet.destination), switch, packet.bytes));
        shard.drain_webrtc(|burst| {
            burst
                .bytes
                .chunks(burst.segment)
                .for_each(|bytes| send(Some(burst.destination), switch, bytes));
        });
        for browser in browsers.values_mut() {
            while let Some(bytes) = browser.outgoing.pop_front() {
                send(None, browser.address, &bytes);
            }
        }
        shard.handed_over(START + Duration::from_millis(*ms));
        while let Some(event) = shard.poll_event() {
            if let MediaEvent::Peer(PeerEvent::Opened { leg, local }) = &event {
                browsers.get_mut(&leg.0).unwrap().local = Some(local.clone());
            }
            events.push((*ms, event));
        }
    }

    pub(crate) fn connected(&self, leg: u64) -> bool {
        let event = MediaEvent::Peer(PeerEvent::Connected { leg: LegId(leg) });
        self.events.iter().any(|(_, known)| *known == event) && self.browsers[&leg].connected
    }

    pub(crate) fn lost(&self, leg: u64) -> Option<PeerLoss> {
        self.events.iter().find_map(|(_, event)| match event {
            MediaEvent::Peer(PeerEvent::Lost { leg: lost, reason }) if lost.0 == leg => Some(*reason),
            _ => None,
        })
    }
}

/// A packet.
pub(crate) fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

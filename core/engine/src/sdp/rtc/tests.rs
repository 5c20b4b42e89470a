//! Tables for WebRTC descriptions: what browsers offer, what they hear, what they answer.

use cordboard_model::LegId;
use cordboard_model::media::peer::{
    Candidate, IceCredentials, LocalPeer, PeerSetup, VideoCodec, VideoFlow, VideoSource,
};
use cordboard_model::media::{Codec, Direction};

use super::bundle::{Bundle, Terms};
use super::plan::Wanted;
use super::transport::is_webrtc;
use crate::sdp::{Capabilities, Origin, Session};

mod names;

const CHROMIUM: &str = include_str!("../../../../../tests/corpus/sdp/chromium-156-offer.sdp");

/// What Firefox writes otherwise: the transport before the first line, other spellings of the same codecs, no
/// FID group on audio, and a data channel.
const FIREFOX: &str = "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 5215 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=sendrecv\r\n\
    a=fingerprint:sha-256 0E:5C:0B:0D:91:5B:20:C6:4B:3E:B9:5A:73:3D:5D:AB:9A:C6:91:71:E2:18:C3:9B:E4:4A:3A:14:C3:9C:B4:53\r\n\
    a=group:BUNDLE 0 1 2\r\na=ice-options:trickle\r\na=msid-semantic:WMS *\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\r\nc=IN IP4 0.0.0.0\r\na=sendrecv\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level\r\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\na=fmtp:101 0-15\r\na=ice-pwd:a1b2c3d4e5f60718293a4b5c6d7e8f90\r\na=ice-ufrag:deadbeef\r\n\
    a=mid:0\r\na=msid:{s} {a}\r\na=rtcp-mux\r\na=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000/1\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000/1\r\na=setup:actpass\r\na=ssrc:1111 cname:{c}\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 120 124 121 125 126 127\r\nc=IN IP4 0.0.0.0\r\na=sendrecv\r\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\na=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\r\n\
    a=fmtp:127 apt=126\r\na=fmtp:120 max-fs=12288;max-fr=60\r\na=fmtp:124 apt=120\r\na=fmtp:121 max-fs=12288;max-fr=60\r\na=fmtp:125 apt=121\r\n\
    a=ice-pwd:a1b2c3d4e5f60718293a4b5c6d7e8f90\r\na=ice-ufrag:deadbeef\r\na=mid:1\r\na=rtcp-fb:* nack\r\na=rtcp-fb:120 nack pli\r\na=rtcp-fb:120 ccm fir\r\n\
    a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:120 VP8/90000\r\na=rtpmap:124 rtx/90000\r\na=rtpmap:121 VP9/90000\r\na=rtpmap:125 rtx/90000\r\n\
    a=rtpmap:126 H264/90000\r\na=rtpmap:127 rtx/90000\r\na=setup:actpass\r\na=ssrc:2222 cname:{c}\r\na=ssrc:3333 cname:{c}\r\na=ssrc-group:FID 2222 3333\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=sendrecv\r\na=ice-pwd:a1b2c3d4e5f60718293a4b5c6d7e8f90\r\n\
    a=ice-ufrag:deadbeef\r\na=mid:2\r\na=setup:actpass\r\na=sctp-port:5000\r\n";

/// One end of a call, with everything that its descriptions need.
struct Call {
    bundle: Bundle,
    origin: Origin,
    audio: Capabilities,
    video: bool,
    voices: bool,
    number: u64,
}

impl Call {
    fn new() -> Self {
        let mut bundle = Bundle::default();
        bundle.open(LocalPeer {
            ice: IceCredentials {
                ufrag: "ours".into(),
                pwd: "0123456789abcdefghijkl".to_owned().into(),
            },
            fingerprint: [0xab; 32],
            candidates: vec![Candidate {
                address: "[2001:db8::1]:10001".parse().unwrap(),
                tcp: false,
            }],
        });
        Self {
            bundle,
            origin: Origin::new(7, [5; 32]),
            audio: Capabilities::default(),
            video: true,
            voices: false,
            number: 0,
        }
    }

    #[track_caller]
    fn answer(&mut self, offer: &str) -> String {
        self.try_answer(offer).unwrap()
    }

    fn try_answer(&mut self, offer: &str) -> Result<String, &'static str> {
        let session = Session::parse(offer).unwrap();
        assert!(is_webrtc(&session));
        let terms = Terms {
            audio: &self.audio,
            video: self.video,
            voices: self.voices,
        };
        let number = &mut self.number;
        let mut chance = || {
            *number += 1 << 32;
            *number
        };
        let text = self
            .bundle
            .answer(&session, terms, &mut self.origin, &mut chance)
            .map_err(|refusal| refusal.reason)?;
        let back = Session::parse(&text).expect("our answers can be read");
        assert_eq!(back.media.len(), session.media.len());
        Ok(text)
    }

    fn offer(&mut self, wanted: &[Wanted]) -> String {
        let terms = Terms {
            audio: &self.audio,
            video: self.video,
            voices: self.voices,
        };
        let number = &mut self.number;
        let mut chance = || {
            *number += 1 << 32;
            *number
        };
        self.bundle.offer(wanted, terms, &mut self.origin, &mut chance)
    }

    fn hear(&mut self, answer: &str) -> Result<(), &'static str> {
        let session = Session::parse(answer).unwrap();
        let terms = Terms {
            audio: &self.audio,
            video: self.video,
            voices: self.voices,
        };
        self.bundle = self
            .bundle
            .answered(&session, terms)
            .map_err(|refusal| refusal.reason)?;
        self.bundle.conclude();
        Ok(())
    }

    fn setup(&self) -> PeerSetup {
        self.bundle
            .setup(false, false)
            .expect("both have described themselves")
    }
}

fn wanted(leg: u64) -> Wanted {
    Wanted {
        source: VideoSource {
            leg: LegId(leg),
            mid: "1".into(),
        },
        label: format!("1800000000.{leg}"),
    }
}

/// What a browser would answer: every line as it is, the other way round.
fn mirror(offer: &str) -> String {
    let turned = offer
        .replace("a=actpass", "")
        .replace("a=setup:actpass", "a=setup:active")
        .replace("a=sendonly", "a=x-sendonly")
        .replace("a=recvonly", "a=sendonly")
        .replace("a=x-sendonly", "a=recvonly");
    turned.replace("a=ice-lite\r\n", "")
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|other| other == line)
}

#[test]
fn both_browsers_get_their_own_numbers_back() {
    let cases = [
        (
            CHROMIUM,
            "m=audio 10001 UDP/TLS/RTP/SAVPF 111 9 0 8 13 110 126",
            "m=video 10001 UDP/TLS/RTP/SAVPF 96 97 108 109 98 99 45 46",
            [
                "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
                "a=fmtp:97 apt=96",
            ],
        ),
        (
            FIREFOX,
            "m=audio 10001 UDP/TLS/RTP/SAVPF 109 9 0 8 101",
            "m=video 10001 UDP/TLS/RTP/SAVPF 120 124 126 127 121 125",
            [
                "a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1",
                "a=rtcp-fb:126 nack",
            ],
        ),
    ];
    for (offer, audio, video, lines) in cases {
        let text = Call::new().answer(offer);
        for line in [audio, video].into_iter().chain(lines) {
            assert!(has(&text, line), "{line} in\n{text}");
        }
        assert!(!text.contains("simulcast") && !text.contains("goog-remb"));
    }
    assert!(has(
        &Call::new().answer(FIREFOX),
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"
    ));
}

#[test]
fn browsers_that_spell_a_codec_differently_mean_the_same() {
    let formats = |offer: &str| {
        let mut call = Call::new();
        call.answer(offer);
        let formats = call.setup().video.remove(0).formats;
        let known = formats
            .into_iter()
            .map(|format| (format.codec, format.parameters));
        known
            .filter(|(codec, _)| *codec != VideoCodec::Av1)
            .collect::<Vec<_>>()
    };
    assert_eq!(formats(CHROMIUM), formats(FIREFOX));
}

#[test]
fn the_media_side_is_told_what_the_offer_says() {
    let mut call = Call::new();
    call.answer(FIREFOX);
    let setup = call.setup();
    assert_eq!(
        (setup.ice.ufrag.as_str(), setup.fingerprints.len()),
        ("deadbeef", 1)
    );
    assert_eq!(setup.fingerprints[0][..3], [0x0e, 0x5c, 0x0b]);
    assert!(setup.dtls_client);
    let audio = setup.audio.unwrap();
    assert_eq!(
        (audio.format.codec, audio.format.payload_type),
        (Codec::Opus, 109)
    );
    assert_eq!((audio.remote_ssrcs, audio.extensions.mid), (vec![1111], Some(3)));
    let [camera] = &setup.video[..] else {
        panic!("one video line")
    };
    assert_eq!(
        camera.flow,
        VideoFlow::Publish {
            ssrcs: vec![(2222, Some(3333))],
            muted: false
        }
    );
    let vp8 = &camera.formats[0];
    assert_eq!(
        (vp8.codec, vp8.payload_type, vp8.rtx),
        (VideoCodec::Vp8, 120, Some(124))
    );
    assert!(vp8.feedback.nack && vp8.feedback.pli && vp8.feedback.fir && !vp8.feedback.transport_cc);
}

#[test]
fn who_begins_the_handshake_is_settled_once() {
    for (theirs, ours, client) in [
        ("actpass", "active", true),
        ("passive", "active", true),
        ("active", "passive", false),
    ] {
        let mut call = Call::new();
        let offer = CHROMIUM.replace("setup:actpass", &format!("setup:{theirs}"));
        let text = call.answer(&offer);
        assert!(has(&text, &format!("a=setup:{ours}")), "{theirs}");
        assert_eq!(call.setup().dtls_client, client, "{theirs}");
        assert!(has(&call.offer(&[wanted(2)]), "a=setup:actpass"));
        let again = call.answer(CHROMIUM);
        assert!(has(&again, &format!("a=setup:{ours}")), "{theirs}, later");
    }
    let mut call = Call::new();
    let text = call.offer(&[]);
    call.hear(&mirror(&text)).unwrap();
    assert!(!call.setup().dtls_client, "the answer was active");
}

#[test]
fn what_cannot_be_a_peer_is_refused() {
    let no_codec = CHROMIUM.replacen("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 63", 1);
    assert_ne!(no_codec, CHROMIUM);
    assert_eq!(Call::new().try_answer(&no_codec), Err("sdp_no_codec"));
    let mut blind = Call::new();
    blind.video = false;
    let no_audio = CHROMIUM.replacen("m=audio 45174", "m=audio 0", 1);
    assert_eq!(
        blind.try_answer(&no_audio),
        Err("sdp_no_codec"),
        "nothing is left"
    );
    let strange = CHROMIUM.replace("a=mid:0", "a=mid:a b");
    assert_eq!(Call::new().try_answer(&strange), Err("sdp_no_codec"));
    let short = CHROMIUM.replace("a=ice-pwd:q2pMju6HMvlNbnr/S1pqadq3", "a=ice-pwd:short");
    assert_eq!(Call::new().try_answer(&short), Err("sdp_no_transport"));
    let weak = CHROMIUM.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1");
    assert_eq!(Call::new().try_answer(&weak), Err("sdp_no_transport"));
}

#[test]
fn without_a_bundle_only_the_audio_is_taken() {
    let apart = CHROMIUM.replace("a=group:BUNDLE 0 1\r\n", "");
    let mut call = Call::new();
    let text = call.answer(&apart);
    assert!(text.contains("m=video 0 "), "{text}");
    assert!(
        !text.contains("a=group"),
        "an answer groups only what the offer groups: {text}"
    );
    call.voices = true;
    let later = call.offer(&[wanted(2)]);
    let lines = Session::parse(&later).unwrap().media.len();
    assert!(
        lines == 2 && !later.contains("a=group"),
        "there is one transport: {later}"
    );
    call.hear(&mirror(&later)).unwrap();
    assert!(call.setup().audio.is_some() && call.setup().voices.is_empty());
    // Who groups later is shown everybody.
    let mut call = Call::new();
    call.answer(&apart);
    assert!(has(&call.answer(CHROMIUM), "a=group:BUNDLE 0 1"));
    assert!(has(&call.offer(&[wanted(2)]), "a=label:1800000000.2"));

    let camera = &apart[apart.find("m=video").unwrap()..];
    let head = &apart[..apart.find("m=audio").unwrap()];
    let text = Call::new().answer(&format!("{head}{camera}{}", camera.replace("a=mid:1", "a=mid:2")));
    let session = Session::parse(&text).unwrap();
    let ports: Vec<u16> = session.media.iter().map(|media| media.port).collect();
    assert_eq!(ports, [10_001, 0], "{text}");
}

#[test]
fn a_peer_may_name_its_profile_as_it_likes_and_gets_it_back() {
    for profile in [
        "UDP/TLS/RTP/SAVP",
        "RTP/SAVPF",
        "RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF",
        "TCP/DTLS/RTP/SAVP",
    ] {
        let offer = CHROMIUM.replace("UDP/TLS/RTP/SAVPF", profile);
        let mut call = Call::new();
        let text = call.answer(&offer);
        let session = Session::parse(&text).unwrap();
        let lines: Vec<_> = session
            .media
            .iter()
            .map(|media| (media.port, media.protocol))
            .collect();
        assert_eq!(lines, [(10_001, profile); 2], "{text}");
        assert!(call.setup().video[0].formats[0].feedback.pli, "{profile}");
        let quiet: String = offer
            .split_inclusive('\n')
            .filter(|line| !line.contains("rtcp-fb"))
            .collect();
        let mut call = Call::new();
        assert!(!call.answer(&quiet).contains("rtcp-fb"), "{profile}");
        let later = call.offer(&[wanted(2)]);
        assert_eq!(later.matches(&format!(" {profile} ")).count(), 2, "{later}");
        call.hear(&mirror(&later)).unwrap();
        assert_eq!(call.bundle.seen().count(), 1);
    }
}

#[test]
fn a_call_that_needs_no_dtls_is_not_taken_for_one_that_does() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\na=mid:0";
    let both = CHROMIUM.replace("a=mid:0", key);
    let is_peer = |offer: &str| is_webrtc(&Session::parse(offer).unwrap());
    assert!(is_peer(&both), "only DTLS can key UDP/TLS");
    let open = both.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVP");
    assert!(!is_peer(&open), "keys in the description are the usual reading");
    assert!(!is_peer(&open.replace("m=video 57782", "m=video 0")));
    let bare = CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVP");
    assert!(is_peer(&bare));
    let strange = bare.replace("a=mid:0", &key.replace("AES_CM_128", "F8_128"));
    assert!(is_peer(&strange), "such a key is none");
    let plain = format!("{strange}m=audio 9 RTP/AVP 0\r\n");
    assert!(!is_peer(&plain), "the audio that we can use wants none");
    let gone = bare
        .replace("m=audio 45174", "m=audio 0")
        .replace("m=video 57782", "m=video 0");
    assert!(!is_peer(&gone) && is_peer(&gone.replace("a=mid:1", "a=mid:1\r\na=bundle-only")));
}

#[test]
fn an_answer_without_a_bundle_has_one_line() {
    let mut call = Call::new();
    let answer = mirror(&call.offer(&[]));
    assert!(has(&answer, "a=group:BUNDLE 0 1"), "{answer}");
    call.hear(&answer.replace("a=group:BUNDLE 0 1\r\n", "")).unwrap();
    assert!(call.setup().audio.is_some() && call.setup().video.is_empty());
    assert!(!call.offer(&[wanted(2)]).contains("a=group"));
}

#[test]
fn rtcp_shares_the_port_only_where_that_is_offered() {
    let never = CHROMIUM.replace("a=rtcp-mux\r\n", "");
    let alone = never.replace("a=group:BUNDLE 0 1\r\n", "");
    for offer in [&never, &alone] {
        assert_eq!(Call::new().try_answer(offer), Err("sdp_no_transport"), "{offer}");
    }
    // A line may leave it to another of its bundle.
    let once = CHROMIUM.replacen("a=rtcp-mux\r\n", "", 1);
    let text = Call::new().answer(&once);
    let session = Session::parse(&text).unwrap();
    let muxed: Vec<_> = session
        .media
        .iter()
        .map(|media| (media.port, media.rtcp_mux()))
        .collect();
    assert_eq!(muxed, [(10_001, false), (10_001, true)], "{text}");
    let mute = once.replace("a=group:BUNDLE 0 1\r\n", "");
    assert_eq!(
        Call::new().try_answer(&mute),
        Err("sdp_no_codec"),
        "its audio is not dropped silently"
    );
    let only = CHROMIUM.replace("a=rtcp-mux\r\n", "a=rtcp-mux-only\r\n");
    let text = Call::new().answer(&only);
    assert_eq!(text.matches("a=rtcp-mux\r\n").count(), 2, "{text}");
    assert!(!text.contains("rtcp-mux-only"));

    let mut call = Call::new();
    call.answer(CHROMIUM);
    let before = call.setup();
    assert_eq!(call.try_answer(&never), Err("sdp_no_transport"));
    assert_eq!(call.setup(), before, "what was agreed goes on");
}

#[test]
fn a_line_that_comes_with_its_bundle_is_taken() {
    let text = Call::new().answer(
        &CHROMIUM
            .replace("m=video 57782", "m=video 0")
            .replace("a=mid:1", "a=mid:1\r\na=bundle-only"),
    );
    assert!(text.contains("m=video 10001 "), "{text}");
}

#[test]
fn a_line_that_we_were_not_asked_to_fill_is_a_slot() {
    let mut call = Call::new();
    let (head, video) = CHROMIUM.split_at(CHROMIUM.find("m=video").unwrap());
    let text = call.answer(&format!("{head}{}", video.replace("sendrecv", "recvonly")));
    assert!(has(&text, "a=inactive"), "{text}");
    assert_eq!(call.bundle.camera(), None);
    let text = call.offer(&[wanted(2)]);
    assert!(
        !text.contains("video-2") && text.contains("a=label:1800000000.2"),
        "{text}"
    );
    call.hear(&mirror(&text)).unwrap();
    assert!(matches!(call.setup().video[0].flow, VideoFlow::Subscribe { .. }));
}

#[test]
fn nothing_of_an_offer_holds_before_its_answer() {
    let mut call = Call::new();
    call.answer(CHROMIUM);
    let before = call.setup();
    let text = call.offer(&[wanted(2), wanted(3)]);
    assert_eq!(call.setup(), before);
    assert_eq!(Session::parse(&text).unwrap().media.len(), 4);
    call.bundle.conclude();
    assert_eq!(call.setup(), before);
    assert_eq!(call.hear(&mirror(&text)), Err("sdp_streams"), "nobody has asked");
    let again = call.offer(&[wanted(3)]);
    call.hear(&mirror(&again)).unwrap();
    let flows: Vec<_> = call
        .setup()
        .video
        .into_iter()
        .skip(1)
        .map(|line| line.flow)
        .collect();
    let [
        VideoFlow::Subscribe {
            source, rtx: Some(_), ..
        },
    ] = &flows[..]
    else {
        panic!("{flows:?}")
    };
    assert_eq!(source.leg, LegId(3));
    assert!(!call.bundle.is_news(
        &[wanted(3)],
        Terms {
            audio: &call.audio,
            video: true,
            voices: false,
        }
    ));
    assert!(call.bundle.is_news(
        &[],
        Terms {
            audio: &call.audio,
            video: true,
            voices: false,
        }
    ));
}

#[test]
fn an_answer_may_refuse_lines_and_leave_the_last_ones_out() {
    for text in ["port 0", "left out"] {
        let mut call = Call::new();
        call.answer(CHROMIUM);
        let answer = mirror(&call.offer(&[wanted(2)]));
        let at = answer.rfind("m=video").unwrap();
        let answer = match text {
            "port 0" => format!("{}{}", &answer[..at], answer[at..].replace("10001", "0")),
            _ => answer[..at].to_owned(),
        };
        call.hear(&answer).unwrap();
        assert_eq!(call.setup().video.len(), 1, "{text}");
        let later = call.offer(&[wanted(2), wanted(3)]);
        assert!(
            later.contains("m=video 0 ") && !later.contains("video-3"),
            "{later}"
        );
        assert_eq!(
            Session::parse(&later).unwrap().media.len(),
            3,
            "no line is ever removed"
        );
    }
}

#[test]
fn an_answer_without_what_we_need_is_no_answer() {
    let mut call = Call::new();
    let offer = call.offer(&[]);
    let answer = mirror(&offer);
    let cases = [
        (answer.replacen("m=audio 10001", "m=audio 0", 1), "sdp_no_audio"),
        (answer.replace("a=fingerprint", "a=x"), "sdp_no_transport"),
        (
            format!("{answer}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"),
            "sdp_streams",
        ),
        (
            answer.replace("UDP/TLS/RTP/SAVPF 111 9 0 8", "UDP/TLS/RTP/SAVPF 5"),
            "sdp_no_codec",
        ),
    ];
    for (answer, reason) in cases {
        assert_eq!(call.hear(&answer), Err(reason), "{answer}");
    }
    call.hear(&answer).unwrap();
    assert_eq!(call.setup().audio.unwrap().direction, Direction::BOTH);
}

#[test]
fn a_crowd_is_shown_as_far_as_lines_go() {
    let mut call = Call::new();
    call.answer(CHROMIUM);
    let crowd: Vec<Wanted> = (2..200).map(wanted).collect();
    let text = call.offer(&crowd);
    assert!(call.bundle.is_full(&crowd) && !call.bundle.is_full(&crowd[..30]));
    assert_eq!(Session::parse(&text).expect("it can be read").media.len(), 32);
    assert!(text.len() < 60_000, "{}", text.len());
    call.hear(&mirror(&text)).unwrap();
    assert_eq!(call.bundle.seen().count(), 30);
}

#[test]
fn each_offer_has_the_next_version() {
    let mut call = Call::new();
    assert!(call.answer(CHROMIUM).contains("o=- 7 7 IN IP6 2001:db8::1\r\n"));
    for version in 8..11 {
        let text = call.offer(&[wanted(version)]);
        assert!(text.contains(&format!("o=- 7 {version} IN")), "{text}");
        call.hear(&mirror(&text)).unwrap();
    }
}

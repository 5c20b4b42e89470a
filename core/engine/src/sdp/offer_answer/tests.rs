//! Tables for offers and answers.

mod secure;

use cordboard_model::media::{Control, OpusLimit, OpusStep};

use super::*;

const HEAD: &str = "v=0\r\no=p 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n";

fn local() -> SocketAddr {
    "198.51.100.1:4000".parse().unwrap()
}

fn answer_to(media: &str) -> Result<Negotiated, Refusal> {
    let text = format!("{HEAD}{media}");
    answer(
        &Session::parse(&text).unwrap(),
        &Capabilities::default(),
        local(),
        &mut Origin::new(7, [5; 32]),
    )
}

#[track_caller]
fn media_of(media: &str) -> String {
    let text = answer_to(media).unwrap().answer_text;
    let head = "v=0\r\no=- 7 7 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n";
    Session::parse(&text).expect("our answers can be read");
    text.strip_prefix(head)
        .unwrap_or_else(|| panic!("{text}"))
        .replace("\r\n", "|")
}

const G711: &str = "a=rtpmap:0 PCMU/8000|a=rtpmap:8 PCMA/8000|";

#[test]
fn the_offers_order_and_numbers_are_kept() {
    let cases = [
        ("m=audio 9 RTP/AVP 0 8\r\n", format!("m=audio 4000 RTP/AVP 0 8|{G711}a=ptime:20|a=sendrecv|")),
        ("m=audio 9 RTP/AVP 8\r\n", "m=audio 4000 RTP/AVP 8|a=rtpmap:8 PCMA/8000|a=ptime:20|a=sendrecv|".into()),
        (
            "m=audio 9 RTP/AVPF 97 100 98\r\na=rtpmap:97 iLBC/8000\r\na=rtpmap:100 pcma/8000\r\na=rtpmap:98 Telephone-Event/8000\r\n",
            "m=audio 4000 RTP/AVPF 100 98|a=rtpmap:100 PCMA/8000|a=rtpmap:98 telephone-event/8000|a=fmtp:98 0-15|a=ptime:20|a=sendrecv|".into(),
        ),
        (
            "m=audio 9 RTP/AVP 96 9 13 0 97 98\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\na=rtpmap:98 telephone-event/8000\r\n",
            "m=audio 4000 RTP/AVP 96 9 0 13 97 98|a=rtpmap:96 opus/48000/2|a=fmtp:96 useinbandfec=1|a=rtpmap:9 G722/8000|a=rtpmap:0 PCMU/8000|\
             a=rtpmap:13 CN/8000|a=rtpmap:97 telephone-event/48000|a=fmtp:97 0-15|a=rtpmap:98 telephone-event/8000|a=fmtp:98 0-15|a=ptime:20|a=sendrecv|".into(),
        ),
        // A static number that was given another meaning, and telephone events at another clock, are not ours;
        // comfort noise is for 8 kHz.
        (
            "m=audio 9 RTP/AVP 0 8 97\r\na=rtpmap:0 L16/44100\r\na=rtpmap:97 telephone-event/16000\r\n",
            "m=audio 4000 RTP/AVP 8|a=rtpmap:8 PCMA/8000|a=ptime:20|a=sendrecv|".into(),
        ),
    ];
    for (offer, expect) in cases {
        assert_eq!(media_of(offer), expect, "{offer}");
    }
}

#[test]
fn there_are_as_many_streams_as_in_the_offer() {
    let offer = "m=video 7 RTP/AVP 31 34\r\na=mid:v\r\nm=audio 9 RTP/SAVP 0\r\nm=audio 0 RTP/AVP 0\r\nm=audio 11 RTP/AVP 3\r\n\
                 m=audio 13 RTP/AVP 0\r\na=mid:a\r\nm=audio 15 RTP/AVP 0\r\nm=application 17 UDP/BFCP *\r\n";
    let expect = "m=video 0 RTP/AVP 31 34|a=mid:v|m=audio 0 RTP/SAVP 0|m=audio 0 RTP/AVP 0|m=audio 0 RTP/AVP 3|\
                  m=audio 4000 RTP/AVP 0|a=rtpmap:0 PCMU/8000|a=ptime:20|a=sendrecv|a=mid:a|m=audio 0 RTP/AVP 0|m=application 0 UDP/BFCP *|";
    assert_eq!(media_of(offer), expect);
    assert_eq!(
        answer_to(offer).unwrap().audio.unwrap().remote,
        "192.0.2.9:13".parse().unwrap()
    );
}

#[test]
fn what_cannot_be_used_is_refused() {
    let cases = [
        ("", "sdp_no_audio"),
        ("m=video 7 RTP/AVP 31\r\n", "sdp_no_audio"),
        ("m=audio 0 RTP/AVP 0\r\n", "sdp_no_audio"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", "sdp_no_audio"),
        ("m=audio 9 RTP/AVP 0\r\nc=IN IP4 host.example\r\n", "sdp_no_audio"),
        ("m=audio 9 RTP/AVP 3 18\r\n", "sdp_no_codec"),
        (
            "m=audio 9 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n",
            "sdp_no_codec",
        ),
    ];
    for (offer, reason) in cases {
        let refusal = answer_to(offer).unwrap_err();
        assert_eq!((refusal.status, refusal.reason), (488, reason), "{offer}");
    }
}

#[test]
fn the_direction_is_mirrored() {
    let (send, receive) = (true, true);
    let cases = [
        ("", Direction { send, receive }, "sendrecv"),
        ("a=sendonly\r\n", Direction { send: false, receive }, "recvonly"),
        ("a=recvonly\r\n", Direction { send, receive: false }, "sendonly"),
        (
            "a=inactive\r\n",
            Direction {
                send: false,
                receive: false,
            },
            "inactive",
        ),
        (
            "c=IN IP4 0.0.0.0\r\n",
            Direction { send: false, receive },
            "recvonly",
        ),
        (
            "c=IN IP4 0.0.0.0\r\na=sendonly\r\n",
            Direction { send: false, receive },
            "recvonly",
        ),
        (
            "c=IN IP6 ::\r\na=inactive\r\n",
            Direction {
                send: false,
                receive: false,
            },
            "inactive",
        ),
    ];
    for (lines, direction, name) in cases {
        let negotiated = answer_to(&format!("m=audio 9 RTP/AVP 0\r\n{lines}")).unwrap();
        assert_eq!(negotiated.audio.as_ref().unwrap().direction, direction, "{lines}");
        assert!(
            negotiated.answer_text.ends_with(&format!("a={name}\r\n")),
            "{lines}"
        );
    }
}

#[test]
fn our_own_wish_narrows_the_direction() {
    let ours = Capabilities {
        direction: Direction {
            send: true,
            receive: false,
        },
        ..Capabilities::default()
    };
    let text = format!("{HEAD}m=audio 9 RTP/AVP 0\r\n");
    let negotiated = answer(
        &Session::parse(&text).unwrap(),
        &ours,
        local(),
        &mut Origin::new(1, [5; 32]),
    )
    .unwrap();
    assert_eq!(negotiated.audio.as_ref().unwrap().direction, ours.direction);
    assert!(negotiated.answer_text.ends_with("a=sendonly\r\n"));
}

#[test]
fn the_packet_length_is_the_longest_that_the_peer_takes() {
    let cases = [
        ("", 20),
        ("ptime:30", 30),
        ("ptime:25", 20),
        ("ptime:5", 10),
        ("ptime:200", 60),
        ("ptime:0", 20),
        ("maxptime:10", 10),
        ("ptime:60\r\na=maxptime:40", 40),
        ("ptime:x", 20),
    ];
    for (lines, expect) in cases {
        let negotiated = answer_to(&format!("m=audio 9 RTP/AVP 0\r\na={lines}\r\n")).unwrap();
        assert_eq!(
            negotiated.audio.as_ref().unwrap().format.packet_ms,
            expect,
            "{lines}"
        );
        assert!(
            negotiated.answer_text.contains(&format!("a=ptime:{expect}\r\n")),
            "{lines}"
        );
    }
}

#[test]
fn the_format_for_the_media_is_what_was_answered() {
    let audio = answer_to("m=audio 9 RTP/AVP 8 0 96 8\r\na=rtpmap:96 telephone-event/8000\r\n")
        .unwrap()
        .audio
        .unwrap();
    let expect = AudioFormat {
        codec: Codec::Pcma,
        payload_type: 8,
        receive: vec![(8, Codec::Pcma), (0, Codec::Pcmu)],
        events: vec![(96, 8000)],
        comfort_noise: None,
        opus: OpusLimit::default(),
        packet_ms: 20,
    };
    assert_eq!(audio.format, expect);
}

#[test]
fn opus_is_sent_as_the_receiver_takes_it() {
    let cases = [
        ("", OpusStep::Full, false),
        (
            "useinbandfec=1;maxplaybackrate=48000;cbr=0",
            OpusStep::Full,
            false,
        ),
        ("maxaveragebitrate=510000; cbr=1", OpusStep::Full, true),
        ("maxaveragebitrate=31999", OpusStep::Wide, false),
        ("maxplaybackrate=24000", OpusStep::Wide, false),
        ("maxaveragebitrate=12000; cbr=1", OpusStep::WideLow, true),
        (
            "maxaveragebitrate=12000;maxplaybackrate=8000",
            OpusStep::Narrow,
            false,
        ),
        (
            "maxaveragebitrate=8000;maxplaybackrate=8000",
            OpusStep::NarrowLow,
            false,
        ),
        ("MaxAverageBitrate=6000", OpusStep::Least, false),
        ("maxaveragebitrate=x;maxplaybackrate=", OpusStep::Full, false),
    ];
    for (written, step, constant) in cases {
        let offer = format!("m=audio 9 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 {written}\r\n");
        let audio = answer_to(&offer).unwrap().audio.unwrap();
        assert_eq!(audio.format.opus, OpusLimit { step, constant }, "{written}");
    }
    let other = answer_to("m=audio 9 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 cbr=1\r\n");
    assert_eq!(other.unwrap().audio.unwrap().format.opus, OpusLimit::default());
}

#[test]
fn the_version_rises_by_one_and_only_when_the_text_changes() {
    let mut origin = Origin::new(1 << 61, [5; 32]);
    let ours = Capabilities::default();
    let mut say = |media: &str| {
        let text = format!("{HEAD}{media}");
        let text = answer(&Session::parse(&text).unwrap(), &ours, local(), &mut origin)
            .unwrap()
            .answer_text;
        assert_eq!(text, origin.last());
        let origin_line = Session::parse(&text).unwrap().origin.to_owned();
        assert!(origin_line.starts_with(&format!("- {} ", 1u64 << 61)));
        Session::parse(&text).unwrap().version() - (1 << 61)
    };
    let versions = ["", "", "a=sendonly\r\n", "a=sendonly\r\n", "", "a=ptime:30\r\n"]
        .map(|line| say(&format!("m=audio 9 RTP/AVP 0\r\n{line}")));
    assert_eq!(versions, [0, 0, 1, 1, 2, 3]);
    assert!(answer_to("m=video 9 RTP/AVP 31\r\n").is_err());
}

#[test]
fn an_answer_to_our_offer_settles_the_call() {
    let mut origin = Origin::new(1, [5; 32]);
    let ours = Capabilities::default();
    let text = offer(&ours, local(), &mut origin);
    let offer = Session::parse(&text).unwrap();
    assert_eq!(offer.media[0].formats, ["111", "9", "0", "8", "101", "110"]);
    let accept = |media: &str| {
        let text = format!("{HEAD}{media}");
        accept_answer(&offer, &Session::parse(&text).unwrap(), &ours)
    };
    let audio = accept(
        "m=audio 9 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=recvonly\r\na=ptime:30\r\n",
    )
    .unwrap();
    assert_eq!(audio.remote, "192.0.2.9:9".parse().unwrap());
    assert_eq!(
        (
            audio.format.codec,
            audio.format.payload_type,
            audio.format.packet_ms
        ),
        (Codec::Pcma, 8, 30)
    );
    assert_eq!(
        (&audio.format.events[..], audio.direction),
        (
            &[(101, 8000)][..],
            Direction {
                send: true,
                receive: false
            }
        )
    );
    let all = [
        (8, Codec::Pcma),
        (111, Codec::Opus),
        (9, Codec::G722),
        (0, Codec::Pcmu),
    ];
    assert_eq!(audio.format.receive, all);
    let cases = [
        ("", "sdp_streams"),
        ("m=audio 9 RTP/AVP 0\r\nm=video 9 RTP/AVP 31\r\n", "sdp_streams"),
        ("m=audio 0 RTP/AVP 0\r\n", "sdp_no_audio"),
        ("m=audio 9 RTP/AVP 3\r\n", "sdp_no_codec"),
    ];
    for (media, reason) in cases {
        assert_eq!(accept(media).map_err(|r| r.reason), Err(reason), "{media}");
    }
}

/// RFC 3264 section 5.1: the answerer sends by the numbers of the offer, and is sent to by those of its answer.
#[test]
fn keys_come_by_both_numbers_and_go_by_the_answers() {
    let mut origin = Origin::new(1, [5; 32]);
    let ours = Capabilities::default();
    let text = offer(&ours, local(), &mut origin);
    let offer = Session::parse(&text).unwrap();
    let cases = [
        ("8 97", "97 telephone-event/8000", vec![(97, 8000), (101, 8000)]),
        ("8 101", "101 telephone-event/8000", vec![(101, 8000)]),
        // Only by the clocks that the peer knows, even where ours is that of its codec.
        ("111 97", "97 telephone-event/8000", vec![(97, 8000), (101, 8000)]),
        ("8", "97 telephone-event/8000", vec![]),
        // A number that means audio to the peer means no keys.
        (
            "8 101 97",
            "97 telephone-event/8000\r\na=rtpmap:101 PCMU/8000",
            vec![(97, 8000)],
        ),
    ];
    for (formats, map, expect) in cases {
        let text =
            format!("{HEAD}m=audio 9 RTP/AVP {formats}\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:{map}\r\n");
        let audio = accept_answer(&offer, &Session::parse(&text).unwrap(), &ours).unwrap();
        assert_eq!(audio.format.events, expect, "{text}");
    }
}

#[test]
fn a_later_offer_keeps_streams_and_numbers() {
    let mut origin = Origin::new(1, [5; 32]);
    let ours = Capabilities::default();
    let theirs = format!(
        "{HEAD}m=video 7 RTP/AVP 31\r\na=mid:v\r\nm=audio 9 RTP/AVP 100 96\r\na=mid:a\r\na=rtpmap:100 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n"
    );
    answer(&Session::parse(&theirs).unwrap(), &ours, local(), &mut origin).unwrap();
    let text = offer(&ours, local(), &mut origin);
    let session = Session::parse(&text).unwrap();
    let [video, audio] = &session.media[..] else {
        panic!("{text}")
    };
    assert_eq!(
        (video.port, video.mid(), audio.port, audio.mid()),
        (0, Some("v"), 4000, Some("a"))
    );
    assert_eq!(audio.formats, ["111", "9", "0", "100", "96", "110"]);
    assert_eq!(session.version(), 2);
    assert_eq!(
        offer(&ours, local(), &mut origin),
        text,
        "the same again is the same text"
    );
}

#[test]
fn our_order_is_that_of_the_configuration_and_numbers_never_clash() {
    let ours = Capabilities {
        codecs: vec![Codec::Pcma, Codec::Opus],
        ..Capabilities::default()
    };
    let text = offer(&ours, local(), &mut Origin::new(1, [5; 32]));
    assert_eq!(
        Session::parse(&text).unwrap().media[0].formats,
        ["8", "111", "101", "110"]
    );
    // The peer uses our usual numbers for something else.
    let mut origin = Origin::new(1, [5; 32]);
    let theirs = format!(
        "{HEAD}m=audio 9 RTP/AVP 111 101\r\na=rtpmap:111 telephone-event/8000\r\na=rtpmap:101 PCMA/8000\r\n"
    );
    answer(&Session::parse(&theirs).unwrap(), &ours, local(), &mut origin).unwrap();
    let text = offer(&ours, local(), &mut origin);
    let session = Session::parse(&text).unwrap();
    let media = &session.media[0];
    assert_eq!(media.formats[0], "101");
    let distinct: std::collections::BTreeSet<_> = media.formats.iter().collect();
    assert_eq!(distinct.len(), media.formats.len(), "{text}");
    assert_eq!(media.rtpmap("111").unwrap().encoding, "telephone-event");
}

#[test]
fn opus_is_sent_in_multiples_of_20_ms() {
    for (line, expect) in [
        ("ptime:10", 20),
        ("ptime:30", 20),
        ("maxptime:10", 20),
        ("ptime:60", 60),
        ("ptime:40", 40),
    ] {
        let offer = format!("m=audio 9 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na={line}\r\n");
        assert_eq!(
            answer_to(&offer).unwrap().audio.unwrap().format.packet_ms,
            expect,
            "{line}"
        );
    }
}

#[test]
fn audio_may_be_turned_off_and_on_again() {
    let mut origin = Origin::new(1, [5; 32]);
    let ours = Capabilities::default();
    let mut say = |port: u16| {
        let text = format!("{HEAD}m=audio {port} RTP/AVP 0\r\na=mid:a\r\n");
        answer(&Session::parse(&text).unwrap(), &ours, local(), &mut origin)
    };
    assert_eq!(
        say(0).unwrap_err().reason,
        "sdp_no_audio",
        "not as the first word"
    );
    assert!(say(9).unwrap().audio.is_some());
    let off = say(0).unwrap();
    assert!(off.audio.is_none() && off.answer_text.contains("m=audio 0 RTP/AVP 0\r\na=mid:a\r\n"));
    assert!(say(9).unwrap().audio.is_some());
    say(0).unwrap();
    let text = offer(&ours, local(), &mut origin);
    let session = Session::parse(&text).unwrap();
    assert_eq!(
        (session.media.len(), session.media[0].port, session.media[0].mid()),
        (1, 4000, Some("a"))
    );
}

#[test]
fn reports_go_where_both_sides_agree() {
    let named = |address: &str| Control::Named(address.parse().unwrap());
    for (lines, expect) in [
        ("", Control::NextPort),
        ("a=rtcp:5000\r\n", named("192.0.2.9:5000")),
        ("a=rtcp:5000 IN IP4 192.0.2.8\r\n", named("192.0.2.8:5000")),
        ("a=rtcp:5000 IN IP4 host.example\r\n", named("192.0.2.9:5000")),
        ("a=rtcp:0\r\n", Control::NextPort),
        ("a=rtcp:port\r\n", Control::NextPort),
        ("a=rtcp:5000\r\na=rtcp-mux\r\n", Control::Muxed),
    ] {
        let media = format!("m=audio 9 RTP/AVP 0\r\n{lines}");
        assert_eq!(
            answer_to(&media).unwrap().audio.unwrap().control,
            expect,
            "{lines}"
        );
        assert_eq!(
            media_of(&media).contains("a=rtcp-mux|"),
            expect == Control::Muxed,
            "{lines}"
        );
        // The same in an answer; the port of RTP only where we have offered it.
        for mux in [true, false] {
            let ours = Capabilities {
                mux,
                ..Capabilities::default()
            };
            let mut origin = Origin::new(7, [5; 32]);
            let text = offer(&ours, local(), &mut origin);
            assert_eq!(text.ends_with("a=sendrecv\r\na=rtcp-mux\r\n"), mux, "{text}");
            let again = offer(&ours, local(), &mut origin);
            assert_eq!(again, text, "a later offer says the same");
            let theirs = format!("{HEAD}{media}");
            let (sent, said) = (Session::parse(&text).unwrap(), Session::parse(&theirs).unwrap());
            let settled = accept_answer(&sent, &said, &ours).unwrap().control;
            match (mux, expect) {
                (false, Control::Muxed) => assert_eq!(settled, named("192.0.2.9:5000")),
                _ => assert_eq!(settled, expect, "{lines}"),
            }
        }
    }
}

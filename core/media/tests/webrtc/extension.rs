//! Header extensions of forwarded video: each receiver's own ids and values.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use cordboard_model::media::peer::{HeaderExtensions, VideoLine};

use crate::stream::{nack, packets, vp8};
use crate::video::Scene;
use crate::world::{VIDEO_SSRC, rtp, subscribe};

#[test]
fn extensions_get_the_subscribers_ids_and_arrival_times_are_told() {
    let mut scene = Scene::new(1, true);
    scene.world.run(1500);
    for at in 0..100u16 {
        let mut packet = rtp(96, at, u32::from(at) * 900, VIDEO_SSRC, &[]);
        packet[0] |= 0x10;
        // The transport-wide number under 3, the line's name under 4, the orientation under 5.
        packet.extend([0xbe, 0xde, 0, 2, 0x31]);
        packet.extend(at.to_be_bytes());
        packet.extend([0x40, b'1', 0x50, 2, 0]);
        packet.extend(vp8(at == 0, at.into()));
        scene.world.browser(1).send(&packet);
        scene.world.run(10);
    }
    scene.world.run(200);
    let seen = &scene.world.browsers[&2].media;
    let video: Vec<_> = seen
        .iter()
        .filter(|(_, packet)| packet[8..12] == 0xa001u32.to_be_bytes())
        .collect();
    assert_eq!(video.len(), 100);
    assert!(
        video
            .iter()
            .all(|(_, packet)| packet[0] == 0x90 && packet[12..20] == [0xbe, 0xde, 0, 1, 0x90, 2, 0, 0]),
        "only the orientation, under 9: {:?}",
        &video[0].1[..20]
    );
    let control = &scene.world.browsers[&1].control;
    let told: u16 = control
        .iter()
        .flat_map(|(_, bytes)| packets(bytes))
        .filter(|(kind, format, _)| (*kind, *format) == (205, 15))
        .map(|(_, _, body)| u16::from_be_bytes([body[10], body[11]]))
        .sum();
    assert_eq!(told, 100, "each packet's arrival is told once");
}

/// The header extensions of a packet, by id.
fn extensions(packet: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut found = BTreeMap::new();
    if packet[0] & 0x10 == 0 {
        return found;
    }
    assert_eq!(packet[12..14], [0xbe, 0xde]);
    let words = usize::from(u16::from_be_bytes([packet[14], packet[15]]));
    let mut rest = &packet[16..16 + words * 4];
    while let [head, after @ ..] = rest {
        let len = usize::from(head & 15) + 1;
        rest = if *head == 0 {
            after
        } else {
            found.insert(head >> 4, after[..len].to_vec());
            &after[len..]
        };
    }
    found
}

/// Bytes of the header with its extensions.
fn header(packet: &[u8]) -> usize {
    16 + usize::from(u16::from_be_bytes([packet[14], packet[15]])) * 4
}

/// A line on which the camera of browser 1 is seen, with these extensions.
fn extended(rtx: bool, extensions: HeaderExtensions) -> VideoLine {
    VideoLine {
        mid: "video-2".to_owned(),
        extensions,
        ..subscribe("video-2", 1, "1", rtx)
    }
}

#[test]
fn packets_bear_line_time_and_number_under_the_ids_of_who_gets_them() {
    let mut scene = Scene::new(0, true);
    let both = [
        HeaderExtensions {
            mid: Some(3),
            abs_send_time: Some(6),
            transport_cc: Some(7),
            ..Default::default()
        },
        HeaderExtensions {
            mid: Some(8),
            abs_send_time: Some(2),
            transport_cc: Some(1),
            ..Default::default()
        },
    ];
    for (leg, (rtx, ids)) in [(2, (true, both[0])), (3, (false, both[1]))] {
        scene.world.join(leg, vec![extended(rtx, ids)]);
    }
    scene.film(3000);
    scene.rest(50);
    for (leg, ids) in [(2, both[0]), (3, both[1])] {
        let browser = scene.world.browser(leg);
        let video: Vec<_> = browser
            .media
            .iter()
            .filter(|(_, packet)| packet[8..12] == 0xa001u32.to_be_bytes())
            .cloned()
            .collect();
        assert!(video.len() > 200, "{}", video.len());
        let first = extensions(&video[0].1);
        let number = |found: &BTreeMap<u8, Vec<u8>>| {
            let value = &found[&ids.transport_cc.unwrap()];
            u16::from_be_bytes([value[0], value[1]])
        };
        for (at, (ms, packet)) in video.iter().enumerate() {
            let found = extensions(packet);
            assert_eq!(found.len(), 3, "nothing else");
            assert_eq!(found[&ids.mid.unwrap()], b"video-2");
            assert_eq!(
                number(&found),
                number(&first).wrapping_add(at as u16),
                "each has the next"
            );
            // 18 bits after the point of a second; it was a millisecond on its way.
            let time = &found[&ids.abs_send_time.unwrap()];
            let time = u64::from(u32::from_be_bytes([0, time[0], time[1], time[2]]));
            let sent = (1_700_000_000_000 + ms - 1) % 64_000;
            assert_eq!(time, (sent << 18) / 1000);
        }
        // What is sent again goes by itself and counts anew, or is the same packet.
        let asked = &video[video.len() - 20].1;
        let sequence = u16::from_be_bytes([asked[2], asked[3]]);
        let before = browser.media.len();
        browser.send_control(&nack(0xa001, std::iter::once(sequence)));
        scene.world.run(50);
        let browser = scene.world.browser(leg);
        let again = browser.media[before..]
            .iter()
            .map(|(_, packet)| packet)
            .find(|packet| packet[8..12] == if leg == 2 { 0xb001u32 } else { 0xa001 }.to_be_bytes());
        if leg == 3 {
            // Its copy is dropped as a replay by the witness; that nothing is spoiled shows that it is no other packet.
            assert!(again.is_none());
            assert_eq!(browser.spoiled, 1);
            continue;
        }
        let again = again.expect("it was sent again");
        let found = extensions(again);
        let last = extensions(&video.last().unwrap().1);
        assert_eq!(found[&ids.mid.unwrap()], b"video-2");
        assert_eq!(number(&found), number(&last).wrapping_add(1));
        let (own, head) = (header(asked), header(again));
        assert_eq!(again[head..head + 2], asked[2..4]);
        assert_eq!(again[head + 2..], asked[own..]);
    }
}

#[test]
fn what_is_sent_again_without_a_stream_of_its_own_is_the_same_packet() {
    let mut scene = Scene::new(0, false);
    let ids = HeaderExtensions {
        abs_send_time: Some(2),
        transport_cc: Some(1),
        ..Default::default()
    };
    scene.world.join(2, vec![extended(false, ids)]);
    let heard = Rc::new(RefCell::new(Vec::new()));
    scene.film(2000);
    let keep = Rc::clone(&heard);
    scene.world.tap = Some(Box::new(move |bytes: &[u8]| {
        keep.borrow_mut().push(bytes.to_vec());
    }));
    scene.film(1000);
    let newest = scene.world.browsers[&2].media.last().unwrap().1.clone();
    let sequence = u16::from_be_bytes([newest[2], newest[3]]);
    for back in [3, 50, 100] {
        let browser = scene.world.browser(2);
        browser.send_control(&nack(0xa001, std::iter::once(sequence.wrapping_sub(back))));
    }
    scene.world.run(100);
    let heard = heard.borrow();
    let copies = |back: u16| {
        let wanted = sequence.wrapping_sub(back).to_be_bytes();
        let all = heard
            .iter()
            .filter(|bytes| bytes[1] & 0x7f == 120 && bytes[2..4] == wanted);
        all.collect::<Vec<_>>()
    };
    for back in [3, 50, 100] {
        let copies = copies(back);
        assert_eq!(copies.len(), 2, "{back}");
        assert_eq!(copies[0], copies[1]);
    }
}

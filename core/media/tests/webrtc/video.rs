//! Video that goes from one browser to others.

use cordboard_media::{DropReason, FeedbackKind, ResendOutcome};
use cordboard_model::LegId;
use cordboard_model::MixId;
use cordboard_model::media::MediaCommand;
use cordboard_model::media::peer::{VideoFlow, VideoLine};

use crate::stream::{Camera, Viewer, nack, packets, pli};
use crate::world::{Network, RTX_SSRC, VIDEO_SSRC, World, publish, subscribe};

/// A camera in the browser 1, and a viewer in each of the others.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) camera: Camera,
    pub(crate) viewers: Vec<(u64, Viewer)>,
}

impl Scene {
    pub(crate) fn new(viewers: u64, rtx: bool) -> Self {
        let mut scene = Self {
            world: World::new(),
            camera: Camera::new(rtx),
            viewers: Vec::new(),
        };
        scene
            .world
            .join(1, vec![publish("1", vec![(VIDEO_SSRC, rtx.then_some(RTX_SSRC))])]);
        for leg in 2..2 + viewers {
            scene.add(leg, rtx);
        }
        scene
    }

    pub(crate) fn add(&mut self, leg: u64, rtx: bool) {
        self.world.join(leg, vec![subscribe("1", 1, "1", rtx)]);
        self.viewers
            .push((leg, Viewer::new(0xa001, rtx.then_some(0xb001))));
    }

    /// Lets time pass; the camera sends a packet every 5 ms.
    pub(crate) fn film(&mut self, ms: u64) {
        let Self {
            world,
            camera,
            viewers,
        } = self;
        world.run_with(ms, |world| {
            let now = world.ms;
            let film = world.browser(1);
            if film.connected {
                camera.listen(film);
                if now % 5 == 0 {
                    camera.send(film);
                }
            }
            for (leg, viewer) in viewers.iter_mut() {
                if let Some(browser) = world.browsers.get_mut(leg).filter(|browser| browser.connected) {
                    viewer.watch(now, browser);
                }
            }
        });
    }

    /// Lets time pass without new packets.
    pub(crate) fn rest(&mut self, ms: u64) {
        let Self {
            world,
            camera,
            viewers,
        } = self;
        world.run_with(ms, |world| {
            let now = world.ms;
            camera.listen(world.browser(1));
            for (leg, viewer) in viewers.iter_mut() {
                viewer.watch(now, world.browser(*leg));
            }
        });
    }

    pub(crate) fn viewer(&self, at: usize) -> &Viewer {
        &self.viewers[at].1
    }
}

/// Loses `lost` of a hundred packets, and holds `late` of a hundred back for up to 100 ms.
fn bad(lost: u64, late: u64) -> Network {
    let mut state = 12_345u64;
    let mut dice = move |sides: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    Box::new(move |_| {
        if dice(100) < lost {
            return None;
        }
        Some(20 + if dice(100) < late { dice(100) } else { 0 })
    })
}

#[test]
fn a_video_reaches_each_subscriber_whole_and_begins_with_a_key_frame() {
    let mut scene = Scene::new(3, true);
    scene.film(3000);
    scene.rest(200);
    for at in 0..3 {
        let viewer = scene.viewer(at);
        let numbers: Vec<u32> = viewer.seen.values().copied().collect();
        assert!(scene.camera.keys.contains(&numbers[0]), "{}", numbers[0]);
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "nothing is missing"
        );
        assert_eq!(numbers.last(), Some(&(scene.camera.number - 1)));
        let indexes: Vec<u64> = viewer.seen.keys().copied().collect();
        assert!(
            indexes.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "no gap in the numbers"
        );
    }
    let browser = &scene.world.browsers[&2];
    assert!(
        browser
            .media
            .iter()
            .filter(|(_, packet)| packet[11] == 1)
            .all(|(_, packet)| packet[1] & 0x7f == 120)
    );
    let counts = scene.world.shard.counts();
    assert_eq!((counts.peers.sources, counts.peers.subscriptions), (1, 3));
    assert!(counts.peers.forward_latency.count() > 500);
    // Reports tell each subscriber what it was sent, and the publisher what came.
    let all = |leg: u64, kind: u8| {
        let control = &scene.world.browsers[&leg].control;
        let bodies = control.iter().flat_map(|(_, bytes)| packets(bytes));
        bodies
            .filter(|(known, ..)| *known == kind)
            .map(|(_, _, body)| body.to_vec())
            .collect::<Vec<_>>()
    };
    assert!(
        all(2, 200)
            .iter()
            .any(|body| body[..4] == 0xa001u32.to_be_bytes())
    );
    assert!(
        all(1, 201)
            .iter()
            .any(|body| body.len() >= 28 && body[4..8] == VIDEO_SSRC.to_be_bytes())
    );
}

#[test]
fn on_a_bad_network_every_packet_arrives_or_is_counted() {
    for rtx in [true, false] {
        let mut scene = Scene::new(2, rtx);
        scene.film(2000);
        let first = scene.camera.number;
        scene.world.network = bad(5, 20);
        scene.film(20_000);
        let last = scene.camera.number;
        scene.world.network = Box::new(|_| Some(20));
        scene.film(1000);
        scene.rest(2000);
        let counts = scene.world.shard.counts();
        for at in 0..2 {
            let numbers = scene.viewer(at).numbers();
            let missing: Vec<u32> = (first..last).filter(|number| !numbers.contains(number)).collect();
            assert!(missing.len() as u64 <= counts.lost, "{missing:?} {}", counts.lost);
            assert!(missing.len() <= 5, "rtx {rtx}: {missing:?}");
        }
        assert!(scene.camera.nacks > 50, "{}", scene.camera.nacks);
        assert!(counts.peers.recovered > 150, "{}", counts.peers.recovered);
        assert!(
            counts.peers.resent[ResendOutcome::Sent as usize] > 150,
            "{:?}",
            counts.peers.resent
        );
        if rtx {
            // Without a stream of its own a packet that comes twice looks like a replay.
            assert_eq!(scene.world.browsers[&2].spoiled, 0);
            assert!(scene.viewer(0).again > 100);
        }
    }
}

#[test]
fn pictures_are_asked_for_at_most_twice_a_second_however_many_want_one() {
    let mut scene = Scene::new(3, true);
    scene.film(2000);
    let before = scene.camera.pictures.len();
    for _ in 0..100 {
        for leg in 2..5 {
            for _ in 0..10 {
                scene.world.browser(leg).send_control(&pli(0xa001));
            }
        }
        scene.film(20);
    }
    let asked = &scene.camera.pictures[before..];
    assert!((3..=5).contains(&asked.len()), "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= 500), "{asked:?}");
    let counts = scene.world.shard.counts();
    assert_eq!(counts.peers.feedback_in[FeedbackKind::Pli as usize], 3000);
    assert!(counts.peers.feedback_out[FeedbackKind::Pli as usize] < 10);
}

#[test]
fn a_subscriber_that_joins_later_sees_a_key_frame_first() {
    let mut scene = Scene::new(1, true);
    scene.film(3000);
    let before = scene.camera.pictures.len();
    scene.add(3, true);
    scene.film(2000);
    assert!(scene.camera.pictures.len() > before);
    let numbers: Vec<u32> = scene.viewer(1).seen.values().copied().collect();
    assert!(scene.camera.keys.contains(&numbers[0]) && numbers.len() > 100);
}

fn muted(line: VideoLine, muted: bool) -> VideoLine {
    let VideoFlow::Publish { ssrcs, .. } = line.flow else {
        panic!("publishes")
    };
    VideoLine {
        flow: VideoFlow::Publish { ssrcs, muted },
        ..line
    }
}

#[test]
fn mute_stops_forwarding_and_afterwards_the_stream_goes_on_without_a_gap() {
    let mut scene = Scene::new(1, true);
    let line = || publish("1", vec![(VIDEO_SSRC, Some(RTX_SSRC))]);
    scene.film(2000);
    scene.world.describe(1, vec![muted(line(), true)]);
    scene.film(100);
    let before = scene.viewer(0).seen.len();
    scene.film(2000);
    assert_eq!(scene.viewer(0).seen.len(), before, "nothing is forwarded");
    assert!(scene.world.shard.counts().dropped_for(DropReason::Muted) > 350);
    scene.world.describe(1, vec![muted(line(), false)]);
    scene.film(2000);
    let viewer = scene.viewer(0);
    assert!(viewer.seen.len() > before + 300);
    let indexes: Vec<u64> = viewer.seen.keys().copied().collect();
    assert!(
        indexes.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no gap in the numbers"
    );
    let (index, number) = viewer.seen.iter().nth(before).unwrap();
    assert!(scene.camera.keys.contains(number), "it goes on with a key frame");
    let passed = viewer.timestamps[index].wrapping_sub(viewer.timestamps[&(index - 1)]);
    assert!((2000 * 90..2600 * 90).contains(&passed), "{passed}");
}

#[test]
fn a_stream_that_begins_anew_goes_on_for_its_subscribers() {
    let mut scene = Scene::new(1, true);
    scene.film(2000);
    let before = scene.viewer(0).seen.len();
    scene.camera.next = scene.camera.next.wrapping_add(20_000);
    scene.film(2000);
    let viewer = scene.viewer(0);
    assert!(viewer.seen.len() > before + 300, "{} {before}", viewer.seen.len());
    let indexes: Vec<u64> = viewer.seen.keys().copied().collect();
    assert!(
        indexes.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no gap in the numbers"
    );
}

#[test]
fn streams_that_no_description_names_are_found_by_their_payload_type() {
    let mut scene = Scene {
        world: World::new(),
        camera: Camera::new(true),
        viewers: Vec::new(),
    };
    scene.world.join(1, vec![publish("1", vec![])]);
    scene.add(2, true);
    scene.film(3000);
    assert!(
        scene.viewer(0).seen.len() > 300,
        "{:?}",
        scene.world.shard.counts()
    );
}

#[test]
fn only_who_is_in_the_same_mix_sees_a_video() {
    let mut scene = Scene::new(1, true);
    scene.film(2000);
    scene.world.command(MediaCommand::Move {
        leg: LegId(2),
        mix: MixId(2),
    });
    scene.film(200);
    let before = scene.viewer(0).seen.len();
    scene.film(1000);
    assert_eq!(scene.viewer(0).seen.len(), before);
    scene.world.command(MediaCommand::Move {
        leg: LegId(2),
        mix: MixId(1),
    });
    scene.film(1500);
    assert!(scene.viewer(0).seen.len() > before + 100);
}

#[test]
fn a_publisher_that_leaves_and_comes_back_is_seen_again() {
    let mut scene = Scene::new(1, true);
    scene.film(2000);
    scene.world.command(MediaCommand::Close { leg: LegId(1) });
    scene.world.run(500);
    assert_eq!(scene.world.shard.counts().peers.subscriptions, 0);
    let before = scene.viewer(0).seen.len();
    scene.camera = Camera::new(true);
    scene
        .world
        .join(1, vec![publish("1", vec![(VIDEO_SSRC, Some(RTX_SSRC))])]);
    scene.film(3000);
    let viewer = scene.viewer(0);
    assert!(viewer.seen.len() > before + 300);
    let indexes: Vec<u64> = viewer.seen.keys().copied().collect();
    assert!(
        indexes.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no gap in the numbers"
    );
}

#[test]
fn what_may_be_asked_for_again_is_bounded() {
    let mut scene = Scene::new(1, true);
    scene.film(3000);
    let newest = scene.viewer(0).seen.keys().next_back().copied().unwrap() as u16;
    let browser = scene.world.browser(2);
    let before = browser.media.len();
    for _ in 0..40 {
        browser.send_control(&nack(0xa001, (0..50).map(|back| newest.wrapping_sub(back))));
    }
    scene.world.run(50);
    let again = scene.world.browser(2).media.len() - before;
    let counts = scene.world.shard.counts();
    assert!((400..500).contains(&again), "{again}");
    assert!(
        counts.peers.resent[ResendOutcome::Refused as usize] > 1500,
        "{:?}",
        counts.peers.resent
    );
    scene.world.browser(2).send_control(&nack(
        0xa001,
        (0..50).map(|ahead| newest.wrapping_add(1000 + ahead)),
    ));
    scene.world.run(50);
    assert!(scene.world.shard.counts().peers.resent[ResendOutcome::Missing as usize] >= 50);
}

#[test]
fn a_publisher_that_changes_to_an_ssrc_that_nobody_named_is_followed() {
    let mut scene = Scene {
        world: World::new(),
        camera: Camera::new(true),
        viewers: Vec::new(),
    };
    scene.world.join(1, vec![publish("1", vec![])]);
    scene.add(2, true);
    scene.film(3000);
    let before = scene.viewer(0).seen.len();
    scene.camera.ssrc = 0x7100;
    scene.camera.next = 9;
    scene.camera.sent.clear();
    scene.film(4000);
    let viewer = scene.viewer(0);
    assert!(viewer.seen.len() > before + 300, "{} {before}", viewer.seen.len());
    let indexes: Vec<u64> = viewer.seen.keys().copied().collect();
    assert!(
        indexes.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no gap in the numbers"
    );
}

#[test]
fn a_stream_that_ends_and_comes_back_under_its_ssrc_uses_no_number_twice() {
    let mut scene = Scene::new(1, true);
    scene.film(2500);
    scene.world.describe(2, vec![]);
    scene.film(500);
    let before = scene.viewer(0).seen.len();
    scene.world.describe(2, vec![subscribe("2", 1, "1", true)]);
    scene.film(2000);
    let viewer = scene.viewer(0);
    assert!(viewer.seen.len() > before + 200);
    let indexes: Vec<u64> = viewer.seen.keys().copied().collect();
    assert!(
        indexes.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "it goes on where it was"
    );
    assert_eq!(scene.world.browsers[&2].spoiled, 0);
}

#[test]
fn two_streams_under_one_ssrc_are_not_both_served() {
    let mut scene = Scene::new(0, true);
    let twice = vec![subscribe("1", 1, "1", false), subscribe("2", 1, "1", false)];
    scene.world.join(2, twice);
    scene.film(2500);
    assert_eq!(scene.world.shard.counts().peers.subscriptions, 1);
    assert_eq!(scene.world.browsers[&2].spoiled, 0);
}

#[test]
fn each_video_line_has_its_own_numbers() {
    let mut scene = Scene::new(2, true);
    scene.film(3000);
    // The way from the camera loses packets: ours are asked for. Then one viewer asks for something.
    scene.world.network = bad(10, 0);
    scene.film(3000);
    scene.world.network = Box::new(|_| Some(1));
    scene.film(500);
    scene.rest(500);
    let newest = scene.viewer(0).seen.keys().next_back().copied().unwrap() as u16;
    let before = scene.world.shard.leg(LegId(2)).unwrap().videos.remove(0);
    let browser = scene.world.browser(2);
    browser.send_control(&nack(0xa001, (0..5).map(|back| newest.wrapping_sub(back))));
    browser.send_control(&pli(0xa001));
    // A report: three packets lost of ours, a jitter of 900 units of its clock.
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0xa0, 1, 0, 0, 0, 3, 0, 0, 0, 0];
    report.extend([0, 0, 3, 0x84, 0, 0, 0, 0, 0, 0, 0, 0]);
    browser.send_control(&report);
    scene.rest(100);
    let sent = scene.world.shard.leg(LegId(2)).unwrap().videos;
    let [sent] = &sent[..] else {
        panic!("one line: {sent:?}")
    };
    assert_eq!(
        (sent.mid.as_str(), sent.source.as_ref().unwrap().leg),
        ("1", LegId(1))
    );
    assert_eq!((sent.nacks, sent.resends), (before.nacks + 5, before.resends + 5));
    assert_eq!(sent.plis, before.plis + 1);
    assert_eq!((sent.lost, sent.jitter_ms, sent.stopped), (3, 10.0, false));
    assert_eq!(sent.packets, before.packets);
    assert!(
        sent.bytes >= sent.packets * 1000 && sent.packets > 1000,
        "{sent:?}"
    );

    let shown = scene.world.shard.leg(LegId(1)).unwrap().videos;
    let [shown] = &shown[..] else {
        panic!("one line: {shown:?}")
    };
    assert_eq!((shown.source.as_ref(), shown.stopped), (None, false));
    assert!(
        shown.nacks > 20 && shown.resends > 20 && shown.plis >= 1,
        "{shown:?}"
    );
    assert!(
        shown.packets > 1000 && shown.bytes >= shown.packets * 1000,
        "{shown:?}"
    );
    // Who waits for a key frame is told apart.
    scene.world.browser(1).checks = false;
    scene.add(9, true);
    scene.world.run(2000);
    let waits = scene.world.shard.leg(LegId(9)).unwrap().videos;
    assert!(waits[0].stopped && waits[0].packets == 0, "{waits:?}");
}

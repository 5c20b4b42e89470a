//! Video that goes from one browser to others.

use crate::world::{RTX_SSRC, VIDEO_SSRC, World, publish, rtp, subscribe};

/// A VP8 payload: the first of a key frame, or of another.
fn vp8(key: bool, number: u32) -> Vec<u8> {
    let mut payload = vec![0x10, u8::from(!key)];
    payload.extend(number.to_be_bytes());
    payload.resize(1000, 7);
    payload
}

#[test]
fn a_video_reaches_its_subscriber_with_the_subscribers_numbers() {
    let mut world = World::new();
    world.join(1, vec![publish("1", vec![(VIDEO_SSRC, Some(RTX_SSRC))])]);
    world.join(2, vec![subscribe("1", 1, "1", true)]);
    world.run(2000);
    assert!(world.connected(1) && world.connected(2));
    for at in 0..100u16 {
        world.browser(1).send(&rtp(
            96,
            at,
            u32::from(at) * 3000,
            VIDEO_SSRC,
            &vp8(at == 0, at.into()),
        ));
        world.run(5);
    }
    world.run(50);
    let browser = world.browser(2);
    let payloads = browser.payloads(0xa001);
    assert_eq!(payloads.len(), 100);
    for (at, payload) in payloads.iter().enumerate() {
        assert_eq!(payload[2..6], (at as u32).to_be_bytes());
    }
    assert!(
        browser
            .media
            .iter()
            .filter(|(_, packet)| packet[11] == 1)
            .all(|(_, packet)| packet[1] & 0x7f == 120)
    );
}

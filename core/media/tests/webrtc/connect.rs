//! Who gets in, who does not, and audio both ways.

use cordboard_media::DropReason;
use cordboard_model::LegId;
use cordboard_model::media::peer::{PeerCommand, PeerLoss};
use cordboard_model::media::{MediaCommand, MediaEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::browser::Browser;
use crate::world::{World, rtp};

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const SHA1: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

/// A constant level in G.711 mu-law.
const LOUD: u8 = 0x90;

fn talk(world: &mut World, leg: u64, from: u16, packets: u16) {
    for at in from..from + packets {
        world
            .browser(leg)
            .send(&rtp(0, at, u32::from(at) * 160, 77, &[LOUD; 160]));
        world.run(20);
    }
}

fn heard(world: &mut World, leg: u64) -> usize {
    let ssrc = 0x9000 + leg as u32;
    world
        .browser(leg)
        .payloads(ssrc)
        .iter()
        .filter(|payload| payload.iter().all(|code| *code == LOUD))
        .count()
}

#[test]
fn browsers_of_either_role_and_cipher_hear_each_other() {
    for (client, profile) in [(true, GCM), (true, SHA1), (false, GCM), (false, SHA1)] {
        let mut world = World::new();
        world.join_as(Browser::new(1, client, &[profile]), vec![]);
        world.join(2, vec![]);
        world.run(2000);
        assert!(
            world.connected(1) && world.connected(2),
            "{client} {profile:?} {:?}",
            world.events
        );
        talk(&mut world, 1, 0, 50);
        assert!(heard(&mut world, 2) > 30, "{}", heard(&mut world, 2));
        assert_eq!(heard(&mut world, 1), 0, "nobody hears himself");
        let counts = world.shard.counts();
        assert_eq!((counts.peers.connected, counts.dropped), (2, [0; 18]));
        assert_eq!((world.browser(1).spoiled, world.browser(2).spoiled), (0, 0));
        world.command(MediaCommand::Close { leg: LegId(1) });
        world.run(100);
        assert!(world.browser(1).closed, "it was told goodbye");
        assert_eq!(world.shard.counts().peers.connected, 1);
    }
}

#[test]
fn a_certificate_that_the_description_does_not_name_ends_the_peer() {
    for client in [true, false] {
        let mut world = World::new();
        let mut browser = Browser::new(1, client, &[GCM]);
        browser.fingerprint = [9; 32];
        world.join_as(browser, vec![]);
        world.run(3000);
        assert_eq!(world.lost(1), Some(PeerLoss::Fingerprint));
        let packet = rtp(0, 1, 160, 77, &[LOUD; 160]);
        let before = world.browser(1).media.len();
        if world.browser(1).connected {
            world.browser(1).send(&packet);
        }
        world.run(500);
        assert_eq!(world.browser(1).media.len(), before, "nothing is sent to it");
        assert_eq!(world.shard.counts().packets_in, 0);
    }
}

#[test]
fn a_restart_keeps_the_old_way_until_the_new_one_is_nominated() {
    let mut world = World::new();
    world.join(1, vec![]);
    world.join(2, vec![]);
    world.run(2000);
    let browser = world.browser(2);
    browser.checks = false;
    let mut former = browser.check().unwrap();
    former.nominates = false;
    browser.ice.ufrag = "again".to_owned();
    let local = browser.local.as_mut().unwrap();
    local.ice.ufrag = "fresh".to_owned();
    local.ice.pwd = "the new password of the switch".to_owned().into();
    world.describe(2, vec![]);
    talk(&mut world, 1, 0, 30);
    let at_home = heard(&mut world, 2);
    assert!(at_home > 15, "{at_home}");

    // The former credentials still hold, and so does their consent.
    let home = world.browser(2).address;
    let answers = world.browser(2).answers.len();
    world.run(20_000);
    world.inject(home, &former.bytes(1));
    world.run(20_000);
    assert_eq!(world.lost(2), None);
    assert_eq!(world.browser(2).answers.len(), answers + 1);

    // A new one elsewhere is answered, and used as soon as it is nominated; the handshake is not made again.
    let elsewhere = "203.0.113.5:40000".parse().unwrap();
    let mut fresh = world.browser(2).check().unwrap();
    fresh.nominates = false;
    world.inject(elsewhere, &fresh.bytes(2));
    talk(&mut world, 1, 100, 30);
    let still = heard(&mut world, 2);
    assert!(still > at_home + 15, "{still}");
    fresh.nominates = true;
    world.inject(elsewhere, &fresh.bytes(3));
    world.browser(2).address = elsewhere;
    talk(&mut world, 1, 200, 30);
    assert!(heard(&mut world, 2) > still + 15, "{}", heard(&mut world, 2));
    assert_eq!(world.shard.counts().dropped, [0; 18]);
    world.inject(elsewhere, &former.bytes(4));
    assert_eq!(world.shard.counts().dropped_for(DropReason::UnknownFragment), 1);
    assert_eq!(
        world.shard.counts().peers.outcomes[0],
        2,
        "each was connected once"
    );
    world.command(MediaCommand::Close { leg: LegId(2) });
    world.inject(elsewhere, &fresh.bytes(5));
    assert_eq!(world.shard.counts().dropped_for(DropReason::UnknownFragment), 2);
}

/// Sends audio that says how loud it is, a second of it.
fn talk_claiming(world: &mut World, from: u16, code: u8, level: u8) {
    for at in from..from + 50 {
        let mut packet = rtp(0, at, u32::from(at) * 160, 77, &[]);
        packet[0] |= 0x10;
        packet.extend([0xbe, 0xde, 0, 1, 0x10, level, 0, 0]);
        // A wave: a constant would be no sound.
        packet.extend((0..160).map(|sample| if sample % 16 < 8 { code } else { code & 0x7f }));
        world.browser(1).send(&packet);
        world.run(20);
    }
}

#[test]
fn who_talks_is_told_by_what_packets_claim_and_by_how_they_sound() {
    // Level and code: loud is near 0x80, silence near 0xff.
    let cases = [
        (20, 0x90, true, "loud and says so"),
        (0x80 | 20, 0x90, true, "the flag of voice is no level"),
        (0, 0xfe, false, "a liar is as loud as he sounds"),
        (127, 0x90, false, "who says that it is nothing is not shown"),
    ];
    for (level, code, talks, why) in cases {
        let mut world = World::new();
        world.join(1, vec![]);
        world.join(2, vec![]);
        let mut setup = world.setup(1, vec![]);
        setup.audio.as_mut().unwrap().extensions.audio_level = Some(1);
        world.command(MediaCommand::Peer(PeerCommand::Describe {
            leg: LegId(1),
            setup: Box::new(setup),
        }));
        world.run(2000);
        talk_claiming(&mut world, 0, code, level);
        talk_claiming(&mut world, 50, 0xff, 127);
        let told: Vec<bool> = world
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                MediaEvent::Talking { leg: LegId(1), on } => Some(*on),
                _ => None,
            })
            .collect();
        assert_eq!(told, if talks { vec![true, false] } else { vec![] }, "{why}");
    }
}

#[test]
fn who_closes_its_association_is_gone_unless_it_comes_back_with_another() {
    for client in [true, false] {
        let mut world = World::new();
        world.join(1, vec![]);
        world.join_as(Browser::new(2, client, &[GCM]), vec![]);
        world.run(2000);
        for _ in 0..2 {
            let now = world.instant();
            world.browser(2).checks = false;
            world.browser(2).closes(now);
            world.run(300);
            assert_eq!(world.lost(2), None);
            world.browser(2).renews();
            world.run(1500);
            assert!(world.browser(2).connected, "{client}");
            let (before, from) = (heard(&mut world, 2), world.ms as u16);
            talk(&mut world, 1, from, 50);
            assert!(heard(&mut world, 2) > before + 30, "{client}");
        }
        assert_eq!(world.browser(2).spoiled, 0);
        let now = world.instant();
        world.browser(2).checks = false;
        world.browser(2).closes(now);
        world.run(900);
        assert_eq!(world.lost(2), None);
        world.run(300);
        assert_eq!(world.lost(2), Some(PeerLoss::Closed), "{client}");
    }
}

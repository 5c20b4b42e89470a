//! Who gets in, who does not, and audio both ways.

use cordboard_model::LegId;
use cordboard_model::media::MediaCommand;
use cordboard_model::media::peer::PeerLoss;
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

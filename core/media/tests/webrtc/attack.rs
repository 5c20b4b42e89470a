//! What strangers and ill-behaved peers may try: nobody is harmed, and all of it is counted.

use std::net::SocketAddr;

use cordboard_media::DropReason;
use cordboard_model::media::peer::PeerLoss;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::browser::Browser;
use crate::world::{World, rtp};

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;

fn stranger() -> SocketAddr {
    "198.51.100.66:6666".parse().unwrap()
}

/// Two browsers that hear each other.
fn two() -> World {
    let mut world = World::new();
    world.join(1, vec![]);
    world.join(2, vec![]);
    world.run(1500);
    assert!(world.connected(1) && world.connected(2));
    world
}

/// Browser 1 talks for a second; how many of its frames the other hears.
fn heard(world: &mut World, from: u16) -> usize {
    let before = world.browser(2).payloads(0x9002).len();
    for at in from..from + 50 {
        world
            .browser(1)
            .send(&rtp(0, at, u32::from(at) * 160, 77, &[0x90; 160]));
        world.run(20);
    }
    let loud = |payload: &&&[u8]| payload.iter().all(|code| *code == 0x90);
    world.browser(2).payloads(0x9002)[before..]
        .iter()
        .filter(loud)
        .count()
}

#[test]
fn a_stranger_who_is_first_with_his_hello_changes_nothing() {
    let mut world = World::new();
    let mut browser = Browser::new(1, true, &[GCM]);
    browser.checks = false;
    world.join_as(browser, vec![]);
    world.join(2, vec![]);
    // A hello from nowhere, and one from an address whose check was forged.
    let mut thief = Browser::new(9, true, &[GCM]);
    thief.address = stranger();
    thief.local = world.browser(1).local.clone();
    let mut check = thief.check().unwrap();
    check.password = "not the password of the switch".to_owned();
    let check = check.bytes(1);
    thief.answers.push(Vec::new()); // it goes on as if it had been answered
    thief.checks = false;
    thief.tick(0, std::time::Instant::now());
    let hello = thief.outgoing.pop_front().unwrap();
    for _ in 0..20 {
        world.inject(stranger(), &check);
        world.inject(stranger(), &hello);
        world.run(5);
    }
    let counts = world.shard.counts();
    assert_eq!(counts.dropped_for(DropReason::ForgedCheck), 20);
    assert_eq!(counts.dropped_for(DropReason::UnprovenSource), 20);
    assert!(
        world.astray.iter().all(|(_, bytes)| bytes[0] < 4),
        "no handshake with him"
    );
    assert!(world.astray.len() <= 20 && counts.peers.checks_refused == 20);
    world.browser(1).checks = true;
    world.run(1500);
    assert!(world.connected(1));
    assert!(heard(&mut world, 0) > 30);
}

#[test]
fn hoarding_fragments_costs_the_hoarder_alone() {
    let mut world = World::new();
    let mut hoarder = Browser::new(3, true, &[GCM]);
    hoarder.address = "10.0.1.3:50000".parse().unwrap();
    world.join_as(hoarder, vec![]);
    world.join(1, vec![]);
    world.join(2, vec![]);
    // Its checks are right; its handshake is pieces of messages that never end.
    world.browser(3).is_client = false;
    world.run(500);
    for at in 0..20_000u32 {
        let mut piece = vec![22, 254, 253, 0, 0, 0, 0];
        piece.extend(at.to_be_bytes());
        piece.extend([0, 112, 1, 0, 62, 128, 0, 1, 0]);
        piece.extend(((at * 100) % 15_000).to_be_bytes()[2..].iter());
        piece.extend([0, 0, 100]);
        piece.extend([7; 100]);
        world.browser(3).outgoing.push_back(piece);
        if at % 20 == 0 {
            world.run(1);
        }
    }
    world.run(500);
    let counts = world.shard.counts();
    let refused = counts.dropped_for(DropReason::HandshakeRefused)
        + counts.dropped_for(DropReason::HandshakeOverload)
        + counts.dropped_for(DropReason::Malformed);
    assert!(refused > 15_000, "{refused}");
    assert!(world.connected(1) && world.connected(2) && !world.connected(3));
    assert!(heard(&mut world, 0) > 30);
    world.run(25_000);
    assert_eq!(world.lost(3), Some(PeerLoss::Handshake));
}

#[test]
fn checks_that_are_forged_move_nobody() {
    let mut world = two();
    let check = world.browser(1).check().unwrap();
    let mut forged = check.clone();
    forged.password.push('x');
    let mut nobody = check.clone();
    nobody.username = "nobody:br1".to_owned();
    let mut other = check.clone();
    other.username = format!("{}:br2", check.username.split(':').next().unwrap());
    for at in 0..100 {
        for check in [&forged, &nobody, &other] {
            world.inject(stranger(), &check.bytes(at));
        }
        let mut spoiled = check.bytes(at);
        let last = spoiled.len() - 1;
        spoiled[last] ^= 1;
        world.inject(stranger(), &spoiled);
    }
    world.run(100);
    let counts = world.shard.counts();
    assert_eq!(counts.dropped_for(DropReason::ForgedCheck), 200);
    assert_eq!(counts.dropped_for(DropReason::UnknownFragment), 100);
    assert_eq!(counts.dropped_for(DropReason::Malformed), 100);
    assert!(world.astray.len() <= 10, "few answers: {}", world.astray.len());
    assert!(heard(&mut world, 0) > 30);
}

#[test]
fn a_peer_moves_by_a_check_and_by_nothing_else() {
    let mut world = two();
    assert!(heard(&mut world, 0) > 30);
    let home = world.browser(2).address;
    let elsewhere: SocketAddr = "203.0.113.5:40000".parse().unwrap();
    let packet = world.browser(2).protect(&rtp(0, 1, 160, 78, &[0xff; 160]));
    world.inject(elsewhere, &packet);
    assert_eq!(world.shard.counts().dropped_for(DropReason::UnprovenSource), 1);
    world.browser(2).address = elsewhere;
    world.browser(2).checks = false;
    assert_eq!(heard(&mut world, 50), 0, "it is still thought to be at {home}");
    let check = world.browser(2).check().unwrap().bytes(5);
    world.inject(elsewhere, &check);
    assert!(heard(&mut world, 100) > 30);
}

#[test]
fn another_peers_address_cannot_be_taken() {
    let mut world = two();
    let victim = world.browser(2).address;
    let check = world.browser(1).check().unwrap().bytes(99);
    world.inject(victim, &check);
    assert_eq!(world.shard.counts().dropped_for(DropReason::AddressTaken), 1);
    assert!(heard(&mut world, 0) > 30);
}

#[test]
fn consent_that_is_not_renewed_ends() {
    let mut world = two();
    world.browser(2).checks = false;
    world.run(25_000);
    assert_eq!(world.lost(2), None);
    world.run(10_000);
    assert_eq!(world.lost(2), Some(PeerLoss::Consent));
    assert_eq!(world.lost(1), None);
    let before = world.browser(2).media.len();
    world.run(1000);
    assert_eq!(
        world.browser(2).media.len(),
        before,
        "nothing is sent without consent"
    );
}

#[test]
fn garbage_and_replays_at_a_live_peer_are_dropped() {
    let mut world = two();
    assert!(heard(&mut world, 0) > 30);
    let address = world.browser(1).address;
    let good = world
        .browser(1)
        .protect(&rtp(0, 200, 200 * 160, 77, &[0x90; 160]));
    world.inject(address, &good);
    let fresh = world
        .browser(1)
        .protect(&rtp(0, 201, 201 * 160, 77, &[0x90; 160]));
    let before = world.shard.counts();
    for at in 0..10_000u32 {
        let mut bad = fresh.clone();
        let place = 2 + at as usize % (bad.len() - 2);
        bad[place] ^= 1 + (at % 255) as u8;
        if bad[1] & 0x7f >= 64 {
            continue;
        }
        world.inject(address, &bad);
        if at % 10 == 0 {
            world.inject(address, &good);
            world.run(1);
        }
    }
    let counts = world.shard.counts();
    assert!(counts.dropped_for(DropReason::Unauthentic) > 9000);
    // Some of the garbage has the number of an old packet.
    let replayed = counts.dropped_for(DropReason::Replayed) - before.dropped_for(DropReason::Replayed);
    assert!((1000..1200).contains(&replayed), "{replayed}");
    assert_eq!(counts.packets_in, before.packets_in);
    assert!(heard(&mut world, 300) > 30);
}

#[test]
fn control_garbage_of_a_peer_is_read_without_harm() {
    let mut world = two();
    let mut state = 1u64;
    for _ in 0..3000 {
        let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        for at in 0..60 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            packet.push((state >> 40) as u8);
            if at == 0 {
                *packet.last_mut().unwrap() |= 0x80;
            }
        }
        packet[9] = 200 + packet[9] % 8;
        packet[10] = 0;
        world.browser(1).send_control(&packet);
        world.run(1);
    }
    world.run(10);
    let counts = world.shard.counts();
    assert!(counts.control_in + counts.dropped_for(DropReason::Malformed) >= 3000);
    assert!(heard(&mut world, 0) > 30);
}

#[test]
fn alerts_in_the_clear_end_no_handshake_and_no_call() {
    let mut world = World::new();
    world.join(1, vec![]);
    world.join(2, vec![]);
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
    for _ in 0..200 {
        let address = world.browser(1).address;
        world.inject(address, &alert);
        world.run(5);
    }
    assert!(world.connected(1) && world.lost(1).is_none());
    assert!(world.shard.counts().dropped_for(DropReason::HandshakeRefused) > 100);
    assert!(heard(&mut world, 0) > 30);
}

#[test]
fn handshakes_of_many_wait_for_their_turn() {
    let mut world = World::new();
    world.work = 1;
    for leg in 1..=20 {
        world.join(leg, vec![]);
    }
    world.run(4000);
    assert!((1..=20).all(|leg| world.connected(leg)));
}

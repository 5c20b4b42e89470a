//! What is measured of messages: our own time is neither hidden by slow phones nor blamed for them.

use std::time::Duration;

use crate::phone::{Line, Phone};
use crate::world::World;

const TEXT: &str = "Content-Type: text/plain\r\n";
const ZERO: Duration = Duration::ZERO;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Says so many things in a conference.
fn say(world: &mut World, alice: &mut Phone, line: &mut Line, count: usize) {
    for _ in 0..count {
        let answer = alice.within(world, line, "MESSAGE", TEXT, b"hi");
        assert_eq!(answer.status(), 202);
    }
}

/// Answers all messages that are there, and those that come thereupon.
fn answers(world: &mut World, phone: &mut Phone) -> usize {
    let mut count = 0;
    loop {
        phone.listen(world);
        if phone.inbox.is_empty() {
            return count;
        }
        phone.gets(world, "MESSAGE", true);
        count += 1;
    }
}

fn page(world: &mut World, alice: &mut Phone, to: &str) -> u16 {
    let uri = format!("sip:{to}@lab.test");
    alice.request(world, "MESSAGE", &uri, TEXT, b"hi").status()
}

#[test]
fn a_copy_that_waits_for_a_slow_phone_is_fan_out_and_no_relay_latency() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut line = alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    say(&mut world, &mut alice, &mut line, 6);
    assert_eq!(world.relays, [ZERO; 4], "the window is four");
    assert_eq!(world.fanouts, [("conference", ZERO); 4]);
    world.advance(Duration::from_millis(400)); // before anything is repeated
    assert_eq!(answers(&mut world, &mut bob), 6);
    assert_eq!(world.relays.len(), 4);
    let waited = ("conference", Duration::from_millis(400));
    assert_eq!(
        world.fanouts[4..],
        [waited; 2],
        "once per message, as long as it took"
    );
    assert_eq!(world.engine.counts().recipients.count(), 6);
    assert_eq!(world.engine.counts().delivery_seconds["udp"].count(), 6);
}

#[test]
fn what_left_at_once_is_measured_whoever_else_is_slow() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut carol = Phone::new("carol", 3);
    let mut line = alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    carol.call(&mut world, "3000");
    for _ in 0..6 {
        say(&mut world, &mut alice, &mut line, 1);
        assert_eq!(answers(&mut world, &mut carol), 1);
    }
    assert_eq!(world.relays, [ZERO; 6]);
    assert_eq!(world.fanouts.len(), 4);
    world.advance(Duration::from_millis(300));
    answers(&mut world, &mut bob);
    assert_eq!((world.relays.len(), world.fanouts.len()), (6, 6));
}

#[test]
fn a_message_to_two_phones_is_measured_when_it_goes_to_them() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut desk = Phone::new("bob-desk", 5);
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    world.disk_hangs = true;
    for _ in 0..3 {
        assert_eq!(page(&mut world, &mut alice, "bob"), 0);
    }
    world.advance(Duration::from_millis(50));
    assert_eq!((world.relays.len(), world.fanouts.len()), (0, 0));
    world.commit(true);
    let slow_disk = Duration::from_millis(50);
    assert_eq!(
        world.relays,
        [slow_disk],
        "the disk is ours; the others wait for the phones"
    );
    assert_eq!(world.fanouts, [("pager", slow_disk)]);
    world.advance(Duration::from_millis(350));
    world.disk_hangs = false;
    for _ in 0..3 {
        bob.gets(&mut world, "MESSAGE", true);
        desk.gets(&mut world, "MESSAGE", true);
    }
    assert_eq!(world.relays, [slow_disk]);
    assert_eq!(world.fanouts[1..], [("pager", Duration::from_millis(400)); 2]);
    assert_eq!(world.engine.counts().recipients.count(), 3);
    assert_eq!(world.engine.counts().delivery_seconds["udp"].count(), 6);
}

#[test]
fn nobody_is_slow_who_is_away() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut desk = Phone::new("bob-desk", 5);
    assert_eq!(page(&mut world, &mut alice, "bob"), 202);
    world.advance(seconds(3600));
    bob.register(&mut world, 600);
    bob.gets(&mut world, "MESSAGE", true);
    // Nor who was there, and then no more.
    desk.register(&mut world, 600);
    for _ in 0..2 {
        assert_eq!(page(&mut world, &mut alice, "bob"), 202);
    }
    world.relays.clear();
    world.fanouts.clear();
    world.advance(seconds(300)); // both are silent
    bob.inbox.clear();
    bob.listen(&mut world);
    bob.inbox.clear();
    bob.register(&mut world, 600);
    assert_eq!((world.relays.len(), world.fanouts.len()), (0, 0));
    bob.gets(&mut world, "MESSAGE", true);
    bob.gets(&mut world, "MESSAGE", true);
    assert_eq!((world.relays.len(), world.fanouts.len()), (0, 0));
}

#[test]
fn a_message_that_stands_behind_another_is_not_late_by_our_doing() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    assert_eq!(page(&mut world, &mut alice, "bob"), 202);
    bob.register(&mut world, 600);
    let first = bob.gets(&mut world, "MESSAGE", false);
    assert_eq!(page(&mut world, &mut alice, "bob"), 0, "it is held");
    world.advance(Duration::from_millis(200));
    bob.respond(&mut world, &first, 200, "", "");
    bob.gets(&mut world, "MESSAGE", true);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    assert_eq!(world.relays, []);
    assert_eq!(world.fanouts, [("pager", Duration::from_millis(200))]);
    // One phone, at once: as it should be.
    page(&mut world, &mut alice, "bob");
    assert_eq!(world.relays, [ZERO]);
}

//! Messages to phones that say nothing for long: the sender hears in time what became of them (RFC 4320).

use std::time::Duration;

use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::MessageVerdict;
use cordboard_model::{Ask, Verdict};

use crate::phone::Phone;
use crate::world::{World, chain};

const TEXT: &str = "Content-Type: text/plain\r\n";

fn seconds(count: f64) -> Duration {
    Duration::from_secs_f64(count)
}

fn send(alice: &mut Phone, world: &mut World, headers: &str, body: &str) -> Message {
    alice.request(world, "MESSAGE", "sip:bob@lab.test", headers, body.as_bytes())
}

/// Alice has written to bob, whose phone is silent.
fn silence(mailbox: bool) -> (World, Phone, Phone) {
    let mut world = World::with(|config| {
        if !mailbox {
            config.mail.count = 0;
        }
    });
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 3600);
    assert_eq!(send(&mut alice, &mut world, TEXT, "1").status(), 0);
    (world, alice, bob)
}

/// The statuses that a phone has been sent.
fn statuses(phone: &mut Phone, world: &mut World) -> Vec<u16> {
    phone.listen(world);
    phone
        .inbox
        .drain(..)
        .map(|delivery| delivery.message.status())
        .collect()
}

#[test]
fn what_a_silent_phone_does_not_take_is_kept_before_its_sender_gives_up() {
    let (mut world, mut alice, mut bob) = silence(true);
    let first = bob.gets(&mut world, "MESSAGE", false);
    world.advance(seconds(3.4));
    alice.has_nothing(&mut world);
    world.advance(seconds(0.2));
    assert_eq!(statuses(&mut alice, &mut world), [100]);
    world.advance(seconds(20.3));
    alice.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    world.advance(seconds(0.2));
    assert_eq!(statuses(&mut alice, &mut world), [202]);
    assert_eq!(world.engine.gauges().kept_messages, 1);
    world.advance(seconds(60.0));
    alice.has_nothing(&mut world);
    bob.listen(&mut world);
    bob.inbox.clear();
    // The phone is back: the same message, which it may know.
    bob.register(&mut world, 3600);
    let again = bob.gets(&mut world, "MESSAGE", true);
    assert_eq!(
        (again.body_slice(), again.call_id()),
        (&b"1"[..], first.call_id())
    );
    assert_eq!(again.other("Message-ID"), first.other("Message-ID"));
    assert!(again.other("Message-ID").is_some());
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn however_many_write_to_silent_phones_nothing_is_given_up() {
    for phones in [1, 2] {
        let mut world = World::new();
        let mut alice = Phone::new("alice", 1);
        let mut bobs = [Phone::new("bob", 2), Phone::new("bob-desk", 5)];
        for phone in &mut bobs[..phones] {
            phone.register(&mut world, 7200);
        }
        let all: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        for body in &all {
            send(&mut alice, &mut world, TEXT, body);
            world.advance(seconds(60.0));
            alice.listen(&mut world);
            alice.inbox.clear();
        }
        assert_eq!(world.engine.gauges().kept_messages, all.len());
        for phone in &mut bobs[..phones] {
            phone.listen(&mut world);
            phone.inbox.clear();
        }
        bobs[0].register(&mut world, 7200);
        let mut heard = Vec::new();
        while heard.len() < all.len() {
            let message = bobs[0].gets(&mut world, "MESSAGE", true);
            heard.push(String::from_utf8(message.body_slice().to_vec()).unwrap());
        }
        assert_eq!(heard, all);
        assert_eq!(world.engine.gauges().kept_messages, 0);
    }
}

#[test]
fn a_phone_that_says_nothing_for_hours_however_often_it_registers_loses_nothing() {
    let (mut world, _, mut bob) = silence(true);
    for _ in 0..180 {
        world.advance(seconds(60.0));
        bob.register(&mut world, 600);
        bob.inbox.clear();
        assert_eq!(world.engine.gauges().kept_messages, 1);
    }
    world.advance(seconds(60.0));
    bob.listen(&mut world);
    bob.inbox.clear();
    bob.register(&mut world, 600);
    bob.gets(&mut world, "MESSAGE", true);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn a_phone_that_takes_it_late_gets_it_once() {
    let (mut world, mut alice, mut bob) = silence(true);
    let message = bob.gets(&mut world, "MESSAGE", false);
    world.advance(seconds(26.0));
    assert_eq!(statuses(&mut alice, &mut world), [100, 202]);
    bob.respond(&mut world, &message, 200, "", "");
    assert_eq!(world.engine.gauges().kept_messages, 0);
    alice.has_nothing(&mut world);
    world.advance(seconds(60.0));
    bob.listen(&mut world);
    bob.inbox.clear();
    bob.register(&mut world, 3600);
    bob.has_nothing(&mut world);
    // A message that it takes brings what was kept before.
    assert_eq!(send(&mut alice, &mut world, TEXT, "2").status(), 0);
    world.advance(seconds(33.0));
    assert_eq!(statuses(&mut alice, &mut world), [100, 202]);
    bob.listen(&mut world);
    bob.inbox.clear();
    assert_eq!(send(&mut alice, &mut world, TEXT, "3").status(), 0);
    assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), b"3");
    assert_eq!(statuses(&mut alice, &mut world), [200]);
    assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), b"2");
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn a_phone_that_comes_while_another_is_silent_gets_it_too() {
    let (mut world, mut alice, mut bob) = silence(true);
    bob.gets(&mut world, "MESSAGE", false);
    world.advance(seconds(10.0));
    let mut other = Phone::new("bob-desk", 7);
    other.register(&mut world, 3600);
    world.advance(seconds(15.0));
    assert_eq!(statuses(&mut alice, &mut world), [100, 202]);
    world.advance(seconds(10.0));
    other.gets(&mut world, "MESSAGE", true);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn what_a_phone_asks_for_before_another_is_known_to_be_silent_is_heard() {
    let (mut world, _, _) = silence(true);
    world.advance(seconds(10.0));
    let mut other = Phone::new("bob-desk", 7);
    other.register(&mut world, 3600);
    let message = other.gets(&mut world, "MESSAGE", false);
    other.respond(&mut world, &message, 429, "Retry-After: 600\r\n", "");
    world.advance(seconds(500.0));
    assert_eq!(world.engine.gauges().kept_messages, 1);
    other.has_nothing(&mut world);
    world.advance(seconds(140.0));
    assert_eq!(other.gets(&mut world, "MESSAGE", true).body_slice(), b"1");
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn without_a_mailbox_the_sender_is_told_that_nobody_answers() {
    let (mut world, mut alice, mut bob) = silence(false);
    let message = bob.gets(&mut world, "MESSAGE", false);
    world.advance(seconds(24.0));
    alice.listen(&mut world);
    let answer = alice.inbox.pop().expect("an answer in time").message;
    assert_eq!((answer.status(), answer.reason()), (480, "Phone Does Not Answer"));
    alice.inbox.clear();
    bob.respond(&mut world, &message, 200, "", "");
    world.advance(seconds(60.0));
    alice.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().transactions, 0);
}

#[test]
fn a_time_out_that_a_phone_tells_of_is_not_passed_on() {
    let (mut world, mut alice, mut bob) = silence(true);
    let message = bob.gets(&mut world, "MESSAGE", false);
    bob.respond(&mut world, &message, 408, "", "");
    assert_eq!(statuses(&mut alice, &mut world), [480]);
}

#[test]
fn one_that_waits_behind_another_is_kept_in_time_too() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    assert_eq!(send(&mut alice, &mut world, TEXT, "1").status(), 202);
    bob.register(&mut world, 3600);
    bob.gets(&mut world, "MESSAGE", false);
    world.advance(seconds(1.0));
    assert_eq!(send(&mut alice, &mut world, TEXT, "2").status(), 0);
    world.advance(seconds(24.0));
    assert_eq!(statuses(&mut alice, &mut world), [100, 202]);
    assert_eq!(world.engine.gauges().kept_messages, 2);
    world.advance(seconds(60.0));
    bob.listen(&mut world);
    bob.inbox.clear();
    bob.register(&mut world, 3600);
    for body in [b"1", b"2"] {
        assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), body);
    }
}

#[test]
fn one_whose_time_is_over_while_it_waits_is_not_delivered() {
    // Whether the mailbox has room for it when a second phone comes, or it goes on waiting.
    for second in [false, true] {
        let (mut world, mut carol) = (World::new(), Phone::new("carol", 3));
        let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        assert_eq!(send(&mut alice, &mut world, TEXT, "kept").status(), 202);
        bob.register(&mut world, 3600);
        let first = bob.gets(&mut world, "MESSAGE", false);
        for (phone, expires) in [(&mut alice, 10), (&mut carol, 11)] {
            let headers = format!("{TEXT}Expires: {expires}\r\n");
            assert_eq!(send(phone, &mut world, &headers, "news").status(), 0);
        }
        world.advance(seconds(10.0));
        if second {
            Phone::new("bob-desk", 5).register(&mut world, 3600);
            let answer = send(&mut Phone::new("grace", 6), &mut world, TEXT, "more");
            assert_eq!(answer.status(), 0, "it waits");
        }
        bob.respond(&mut world, &first, 200, "", "");
        assert_eq!(statuses(&mut alice, &mut world), [100, 480]);
        let accepted = if second { 202 } else { 200 };
        bob.listen(&mut world);
        bob.inbox
            .retain(|delivery| delivery.message.body_slice() != b"kept");
        assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), b"news");
        assert_eq!(statuses(&mut carol, &mut world), [100, accepted]);
    }
}

/// `kept` are kept for bob, whose phone has the first and says nothing; another message waits for ten seconds when a second
/// phone comes. There is `room` for so many.
fn behind(kept: &[&str], room: usize) -> (World, Phone, [Phone; 2], Message) {
    let mut world = World::with(|config| config.mail.count = room);
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    for body in kept {
        assert_eq!(send(&mut alice, &mut world, TEXT, body).status(), 202);
    }
    bob.register(&mut world, 3600);
    let first = bob.gets(&mut world, "MESSAGE", false);
    assert_eq!(send(&mut alice, &mut world, TEXT, "1").status(), 0);
    world.advance(seconds(10.0));
    let mut desk = Phone::new("bob-desk", 5);
    desk.register(&mut world, 3600);
    for phone in [&mut bob, &mut desk] {
        phone.listen(&mut world);
        phone.inbox.clear();
    }
    alice.listen(&mut world);
    alice.inbox.clear();
    (world, alice, [bob, desk], first)
}

#[test]
fn one_that_waits_does_not_overtake_because_the_mailbox_is_full() {
    let (mut world, mut alice, [mut bob, mut desk], first) = behind(&["k1", "k2"], 2);
    assert_eq!(send(&mut alice, &mut world, TEXT, "2").status(), 0);
    bob.has_nothing(&mut world);
    desk.has_nothing(&mut world);
    bob.respond(&mut world, &first, 200, "", "");
    for body in [b"k2".as_slice(), b"1", b"2"] {
        assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), body);
        assert_eq!(desk.gets(&mut world, "MESSAGE", true).body_slice(), body);
    }
    assert_eq!(statuses(&mut alice, &mut world), [202, 202]);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn one_that_waits_and_is_kept_then_is_no_relay_latency() {
    let (mut world, mut alice, [mut bob, mut desk], first) = behind(&["k"], 3);
    world.disk_hangs = true;
    assert_eq!(send(&mut alice, &mut world, TEXT, "2").status(), 0);
    bob.respond(&mut world, &first, 200, "", "");
    world.commit(true);
    assert_eq!(bob.gets(&mut world, "MESSAGE", false).body_slice(), b"1");
    assert_eq!(desk.gets(&mut world, "MESSAGE", false).body_slice(), b"1");
    assert!(world.relays.is_empty(), "{:?}", world.relays);
}

#[test]
fn one_that_is_overdue_leaves_the_others_where_they_wait() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let mut grace = Phone::new("grace", 6);
    for to in ["bob", "grace"] {
        let uri = format!("sip:{to}@lab.test");
        assert_eq!(
            alice.request(&mut world, "MESSAGE", &uri, TEXT, b"1").status(),
            202
        );
    }
    bob.register(&mut world, 3600);
    grace.register(&mut world, 3600);
    let first = bob.gets(&mut world, "MESSAGE", false);
    grace.gets(&mut world, "MESSAGE", false);
    assert_eq!(send(&mut alice, &mut world, TEXT, "2").status(), 0);
    world.advance(seconds(10.0));
    for (to, body) in [("bob", "3"), ("grace", "other")] {
        let uri = format!("sip:{to}@lab.test");
        let answer = alice.request(&mut world, "MESSAGE", &uri, TEXT, body.as_bytes());
        assert_eq!(answer.status(), 0, "{to}: it waits");
    }
    world.advance(seconds(14.0));
    // The second is kept, the third and that of another user still wait.
    assert_eq!(world.engine.gauges().kept_messages, 3);
    bob.listen(&mut world);
    bob.inbox.clear();
    bob.respond(&mut world, &first, 200, "", "");
    for body in [b"2", b"3"] {
        assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), body);
    }
    bob.has_nothing(&mut world);
    let told = statuses(&mut alice, &mut world);
    assert_eq!(
        told.into_iter()
            .filter(|status| *status >= 200)
            .collect::<Vec<_>>(),
        [202, 200]
    );
    world.advance(seconds(10.0));
    assert_eq!(
        statuses(&mut alice, &mut world).last(),
        Some(&202),
        "that to grace"
    );
}

#[test]
fn plugins_cannot_have_a_time_out_sent_either() {
    let mut world = World::with(|config| config.hooks.message_filter = chain(OnFailure::Pass));
    let mut alice = Phone::new("alice", 1);
    assert_eq!(send(&mut alice, &mut world, TEXT, "1").status(), 0);
    let (ticket, Ask::Message(_)) = world.question() else {
        panic!("a question about a message")
    };
    let verdict = MessageVerdict::Reject {
        code: 408,
        reason: "no".into(),
    };
    world.answer(ticket, Verdict::Message(verdict));
    assert_eq!(statuses(&mut alice, &mut world), [480]);
}

#[test]
fn an_answer_for_which_nobody_waits_any_more_is_not_sent() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    world.disk_hangs = true;
    assert_eq!(alice.register(&mut world, 600).header(Name::Contact), None);
    world.advance(seconds(32.0));
    world.commit(true);
    alice.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().transactions, 0);
    assert_eq!(world.engine.counts().timeouts["late_answer"], 1);
}

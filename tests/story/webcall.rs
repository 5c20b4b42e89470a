//! Browsers in calls between users, with phones and with each other; and browsers whose connection breaks.

use std::time::Duration;

use cordboard_engine::io::{Input, Transport};
use cordboard_engine::sdp::Session;

use crate::bridge::{Pair, up_with};
use crate::browser::{Browser, body};
use crate::phone::Phone;
use crate::sfu::{legs, setup_of, subscriptions};
use crate::world::World;

#[test]
fn a_phone_calls_a_browser_and_is_heard() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Phone::new("alice", 1), Browser::new("bob", 2));
    assert_eq!(bob.phone.register(&mut world, 600).status(), 200);
    let (mut line, early) = alice.invite(&mut world, "bob");
    assert!(early.is_none());
    let invite = bob.picks_up(&mut world);
    let text = body(&invite);
    assert!(!text.contains("m=video"), "there is nothing to see: {text}");
    assert!(text.contains("m=audio 10000 UDP/TLS/RTP/SAVPF 111 "), "{text}");
    let answer = alice.final_response(&mut world);
    assert_eq!(answer.status(), 200);
    assert!(body(&answer).contains("RTP/AVP 0"), "the phone speaks as it did");
    line.learn(&answer);
    alice.ack(&mut world, &line);
    let setup = setup_of(&world, legs(&world)[0]);
    assert!(
        setup.dtls_client && setup.audio.is_some(),
        "the browser is passive"
    );
    bob.hangs_up(&mut world);
    alice.gets(&mut world, "BYE", true);
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn a_browser_calls_a_phone_which_is_offered_no_video() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Browser::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 600);
    let (line, early) = alice.phone.invite(&mut world, "bob");
    assert!(early.is_none());
    let invite = bob.gets(&mut world, "INVITE", false);
    assert!(body(&invite).contains("RTP/AVP") && !body(&invite).contains("m=video"));
    bob.pick_up(&mut world, &invite);
    bob.gets(&mut world, "ACK", false);
    let answer = alice.phone.final_response(&mut world);
    let text = body(&answer);
    let session = Session::parse(&text).unwrap();
    assert_eq!((session.media[0].port, session.media[1].port), (10000, 0));
    alice.line = line;
    alice.line.learn(&answer);
    alice.phone.ack(&mut world, &alice.line);
    alice.is_left_alone(&mut world);
    alice.hangs_up(&mut world);
    bob.gets(&mut world, "BYE", true);
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn browsers_that_call_each_other_see_each_other() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Browser::new("alice", 1), Browser::new("bob", 2));
    bob.phone.register(&mut world, 600);
    let (line, early) = alice.phone.invite(&mut world, "bob");
    assert!(early.is_none());
    let invite = bob.picks_up(&mut world);
    assert!(body(&invite).contains("m=video"), "the browser may show itself");
    let answer = alice.phone.final_response(&mut world);
    alice.line = line;
    alice.line.learn(&answer);
    alice.mids = vec!["0".into(), "1".into()];
    alice.phone.ack(&mut world, &alice.line);
    assert_eq!(alice.looks(&mut world).len(), 1);
    assert_eq!(bob.looks(&mut world).len(), 1);
    let legs = legs(&world);
    assert_eq!(subscriptions(&world, legs[0]), [legs[1]]);
    assert_eq!(subscriptions(&world, legs[1]), [legs[0]]);
    alice.hangs_up(&mut world);
    bob.phone.gets(&mut world, "BYE", true);
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn a_browser_whose_connection_breaks_is_told_on_the_next_one() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Browser::new("alice", 1), Browser::new("bob", 2));
    alice.call(&mut world, "3000");
    alice.is_left_alone(&mut world);
    bob.call(&mut world, "3000");
    alice.offered(&mut world);
    world.handle(Input::FlowClosed { connection: 1 });
    alice.is_left_alone(&mut world);
    assert_eq!(world.engine.gauges().dialogs, 2, "its media is still there");
    // It comes back, which its first request shows.
    alice.phone.flow.connection = 17;
    let answer = alice.phone.within(&mut world, &mut alice.line, "UPDATE", "", b"");
    assert_eq!(answer.status(), 200);
    world.advance(Duration::from_secs(4));
    assert_eq!(alice.looks(&mut world).len(), 1);
    alice.is_left_alone(&mut world);
}

#[test]
fn a_browser_that_never_comes_back_is_not_called_for_ever() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Browser::new("alice", 1), Browser::new("bob", 2));
    alice.call(&mut world, "3000");
    alice.is_left_alone(&mut world);
    bob.call(&mut world, "3000");
    assert_eq!(bob.looks(&mut world).len(), 1);
    let mut offers = 0;
    loop {
        alice.phone.listen(&mut world);
        let new = alice.phone.inbox.iter();
        let new = new
            .filter(|delivery| delivery.message.method_text() == "INVITE")
            .count();
        alice.phone.inbox.clear();
        if new == 0 {
            break;
        }
        offers += new;
        world.handle(Input::FlowClosed { connection: 1 });
        world.advance(Duration::from_secs(4));
    }
    assert_eq!(offers, 11, "the first and ten more");
    assert_eq!(world.engine.gauges().dialogs, 2, "how it ends, its media decides");
}

#[test]
fn a_phone_that_registers_on_a_new_connection_is_told_there_what_happens_to_its_call() {
    let ways = [Transport::Tcp, Transport::Tls];
    // The end of the old connection is noticed before the phone comes back, or after that.
    for (transport, early) in ways.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let mut world = World::new();
        let mut alice = Phone::new("alice", 1).over(transport, 5);
        let bob = Phone::new("bob", 2).over(transport, 6);
        let mut mallory = Phone::new("carol", 3).over(transport, 9);
        alice.register(&mut world, 600);
        let Pair {
            mut world,
            mut alice,
            mut bob,
            mut from_alice,
            ..
        } = up_with(world, alice, bob, "", "");
        let back = |world: &mut World, bob: &mut Phone| {
            bob.flow.connection = 17;
            assert_eq!(bob.register(world, 600).status(), 200);
        };
        if early {
            back(&mut world, &mut bob);
        }
        world.handle(Input::FlowClosed { connection: 6 });
        // Somebody else who registers bob's contact gets nothing of bob's.
        let headers = format!("Contact: {}\r\nExpires: 600\r\n", bob.contact());
        mallory.request(&mut world, "REGISTER", "sip:lab.test", &headers, b"");
        // Nor do other phones of his, one of them on the same machine.
        let mut desk = Phone::new("bob", 4).over(transport, 10);
        desk.register(&mut world, 600);
        let mut window = Phone::new("bob", 2).over(transport, 11);
        window.flow.peer.set_port(5062);
        let headers = format!("User-Agent: Window\r\nContact: {}\r\n", window.contact());
        window.request_in(
            &mut world,
            "reg-window",
            1,
            "REGISTER",
            "sip:lab.test",
            &headers,
            b"",
        );
        if !early {
            back(&mut world, &mut bob);
        }
        assert_eq!(
            alice.within(&mut world, &mut from_alice, "BYE", "", b"").status(),
            200
        );
        mallory.has_nothing(&mut world);
        desk.has_nothing(&mut world);
        window.has_nothing(&mut world);
        bob.listen(&mut world);
        assert_eq!(bob.inbox[0].flow.connection, 17, "{transport:?}, {early}");
        bob.gets(&mut world, "BYE", true);
        world.advance(Duration::from_secs(70));
        world.is_clean();
    }
}

#[test]
fn a_phone_whose_connection_broke_is_called_where_its_contact_says() {
    let (alice, bob) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2).over(Transport::Tcp, 6),
    );
    let Pair {
        mut world,
        mut alice,
        mut bob,
        mut from_alice,
        ..
    } = up_with(World::new(), alice, bob, "", "");
    world.handle(Input::FlowClosed { connection: 6 });
    assert_eq!(
        alice.within(&mut world, &mut from_alice, "BYE", "", b"").status(),
        200
    );
    bob.flow.connection = 0;
    bob.gets(&mut world, "BYE", true);
}

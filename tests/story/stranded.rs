//! Answers and requests to a phone whose connection is gone, or that names another way than it came by.

use std::time::Duration;

use cordboard_engine::io::{Input, Transport};
use cordboard_engine::sip::message::Message;

use crate::phone::{Line, Phone};
use crate::world::{Delivery, World};

/// Alice has called by TCP, on connection 5, and bob's phone rings.
fn ringing() -> (World, Phone, Phone, Line, Message) {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    alice.register(&mut world, 600);
    bob.register(&mut world, 7200);
    let (line, _) = alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    alice.listen(&mut world);
    alice.inbox.clear();
    (world, alice, bob, line, invite)
}

/// The only message for a phone.
fn only(phone: &mut Phone, world: &mut World) -> Delivery {
    phone.listen(world);
    assert_eq!(phone.inbox.len(), 1, "{:?}", phone.inbox);
    phone.inbox.remove(0)
}

#[test]
fn a_caller_that_comes_back_on_another_connection_hears_there_what_it_has_missed() {
    // The phone is picked up before the caller is back, or after that.
    for early in [true, false] {
        let (mut world, mut alice, mut bob, mut line, invite) = ringing();
        if early {
            bob.pick_up(&mut world, &invite);
            assert_eq!(only(&mut alice, &mut world).flow.connection, 5, "and is lost");
        }
        world.handle(Input::FlowClosed { connection: 5 });
        alice.flow.connection = 17;
        alice.register(&mut world, 600);
        if !early {
            bob.respond(&mut world, &invite, 180, "", "");
            let rings = only(&mut alice, &mut world);
            assert_eq!((rings.message.status(), rings.flow.connection), (180, 17));
            bob.pick_up(&mut world, &invite);
        }
        let answer = only(&mut alice, &mut world);
        assert_eq!((answer.message.status(), answer.flow.connection), (200, 17));
        line.learn(&answer.message);
        alice.ack(&mut world, &line);
        world.advance(Duration::from_secs(40));
        alice.has_nothing(&mut world);
        assert_eq!(alice.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
        bob.gets(&mut world, "ACK", false);
        bob.gets(&mut world, "BYE", true);
        world.advance(Duration::from_secs(70));
        world.is_clean();
    }
}

#[test]
fn a_caller_that_does_not_come_back_is_called_where_its_via_says() {
    for early in [true, false] {
        let (mut world, mut alice, mut bob, _, invite) = ringing();
        if early {
            bob.pick_up(&mut world, &invite);
            only(&mut alice, &mut world);
        }
        world.handle(Input::FlowClosed { connection: 5 });
        match early {
            true => world.advance(Duration::from_millis(500)),
            false => {
                bob.pick_up(&mut world, &invite);
            }
        }
        let answer = only(&mut alice, &mut world);
        assert_eq!((answer.message.status(), answer.flow.connection), (200, 0));
    }
}

#[test]
fn what_waits_for_the_ack_of_a_call_that_is_over_follows_the_caller() {
    let (mut world, mut alice, mut bob, mut line, invite) = ringing();
    let mut from_bob = bob.pick_up(&mut world, &invite);
    only(&mut alice, &mut world);
    bob.gets(&mut world, "ACK", false);
    bob.within(&mut world, &mut from_bob, "BYE", "", b"");
    world.handle(Input::FlowClosed { connection: 5 });
    alice.flow.connection = 17;
    alice.register(&mut world, 600);
    world.advance(Duration::from_millis(500));
    let answer = only(&mut alice, &mut world);
    assert_eq!((answer.message.status(), answer.flow.connection), (200, 17));
    line.learn(&answer.message);
    alice.ack(&mut world, &line);
    let bye = only(&mut alice, &mut world);
    assert_eq!((bye.message.method_text(), bye.flow.connection), ("BYE", 17));
}

//! Answers and requests to a phone whose connection is gone, or that names another way than it came by.

use std::time::Duration;

use cordboard_engine::io::{Flow, Input, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::bridge::{Pair, up_with};
use crate::phone::{Line, Phone, SDP, SDP_TYPE};
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
pub(crate) fn only(phone: &mut Phone, world: &mut World) -> Delivery {
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

/// Bob hangs up; how the BYE comes to alice: its transport, listener, connection and Via.
pub(crate) fn bye_comes_by(pair: &mut Pair) -> (Transport, u16, u64, String) {
    let Pair {
        world,
        alice,
        bob,
        from_bob,
        ..
    } = pair;
    world.take(alice.flow.peer);
    assert_eq!(bob.within(world, from_bob, "BYE", "", b"").status(), 200);
    let bye = only(alice, world);
    assert_eq!(bye.message.method_text(), "BYE");
    alice.respond(world, &bye.message, 200, "", "");
    let via = bye.message.header(Name::Via).unwrap();
    let via = via.split(';').next().unwrap().to_owned();
    let Flow {
        transport,
        listener,
        connection,
        ..
    } = bye.flow;
    (transport, listener, connection, via)
}

/// A call of this phone to bob.
pub(crate) fn called_by(world: World, alice: Phone) -> Pair {
    up_with(world, alice, Phone::new("bob", 2), "", "")
}

/// The same with one that is registered by a connection.
pub(crate) fn called_by_tcp() -> Pair {
    let mut world = World::new();
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    alice.register(&mut world, 600);
    called_by(world, alice)
}

fn udp() -> (Transport, u16, u64, String) {
    (Transport::Udp, 0, 0, "SIP/2.0/UDP 192.0.2.1:5060".into())
}

pub(crate) fn tcp(connection: u64) -> (Transport, u16, u64, String) {
    (Transport::Tcp, 1, connection, "SIP/2.0/TCP 192.0.2.1:5060".into())
}

#[test]
fn a_phone_that_used_tcp_for_a_large_invite_only_is_called_by_udp_when_that_is_gone() {
    let mut pair = called_by(World::new(), Phone::new("alice", 1).over(Transport::Tcp, 5));
    pair.world.handle(Input::FlowClosed { connection: 5 });
    assert_eq!(bye_comes_by(&mut pair), udp());
    pair.is_gone();
}

#[test]
fn a_phone_that_is_registered_by_tcp_or_asks_for_it_is_called_by_tcp_when_its_connection_is_gone() {
    for named in ["", ";transport=tcp"] {
        let mut world = World::new();
        let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
        alice.named = named;
        if named.is_empty() {
            alice.register(&mut world, 600);
        }
        let mut pair = called_by(world, alice);
        pair.world.handle(Input::FlowClosed { connection: 5 });
        assert_eq!(bye_comes_by(&mut pair), tcp(0), "{named}");
        pair.is_gone();
    }
}

#[test]
fn a_phone_that_changes_to_udp_inside_a_call_is_reached_there() {
    for closed in [false, true] {
        let mut pair = called_by(World::new(), Phone::new("alice", 1).over(Transport::Tcp, 5));
        if closed {
            pair.world.handle(Input::FlowClosed { connection: 5 });
        }
        let alice = &mut pair.alice;
        alice.flow = Phone::new("alice", 1).flow;
        alice.flow.peer.set_port(6060);
        let answer = alice.within(&mut pair.world, &mut pair.from_alice, "UPDATE", "", b"");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header(Name::Contact), Some("<sip:bob@192.0.2.1:5060>"));
        assert_eq!(bye_comes_by(&mut pair), udp());
        pair.is_gone();
    }
}

#[test]
fn a_phone_on_udp_that_asks_for_tcp_is_called_by_tcp() {
    let mut alice = Phone::new("alice", 1);
    alice.named = ";transport=TCP";
    let mut pair = called_by(World::new(), alice);
    assert_eq!(bye_comes_by(&mut pair), tcp(0));
    pair.is_gone();
}

#[test]
fn a_phone_that_takes_no_connection_is_called_the_way_that_it_came() {
    let mut alice = Phone::new("alice", 1);
    alice.named = ";transport=tcp";
    let mut pair = called_by(World::new(), alice);
    let Pair {
        world,
        alice,
        bob,
        from_bob,
        ..
    } = &mut pair;
    world.take(alice.flow.peer);
    let held = crate::bridge::flowing("sendonly");
    let answer = bob.within(world, from_bob, "INVITE", SDP_TYPE, held.as_bytes());
    assert_eq!(answer.status(), 200);
    bob.ack(world, from_bob);
    let offer = only(alice, world);
    assert_eq!(offer.flow.transport, Transport::Tcp);
    world.handle(Input::Unreachable { flow: offer.flow });
    world.advance(Duration::from_secs(4));
    alice.listen(world);
    let offer = alice.inbox.remove(0);
    assert_eq!(offer.flow.transport, Transport::Udp);
    alice.inbox.clear();
    alice.takes(world, &offer.message, SDP);
    assert_eq!(bye_comes_by(&mut pair), udp());
    pair.is_gone();
}

#[test]
fn a_phone_behind_a_nat_that_asks_for_tcp_is_called_the_way_that_it_came() {
    let mut alice = Phone::new("alice", 1);
    alice.named = ";transport=tcp";
    let mut pair = called_by(World::new(), alice);
    let alice = &mut pair.alice;
    alice.flow.peer = "203.0.113.7:4444".parse().unwrap();
    let line = &mut pair.from_alice;
    line.cseq += 1;
    // Its Contact is the one before, which is not where it sends from.
    let text = format!(
        "UPDATE {} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;rport;branch=z9hG4bKnat\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} UPDATE\r\n\
         Contact: <sip:alice@198.51.100.1:5060;transport=tcp>\r\nContent-Length: 0\r\n\r\n",
        line.target, line.own, line.theirs, line.call_id, line.cseq
    );
    pair.world.receive(alice.flow, &text, b"");
    assert_eq!(alice.next(&mut pair.world).status(), 200);
    assert_eq!(bye_comes_by(&mut pair), udp());
    pair.is_gone();
}

#[test]
fn a_phone_that_asks_for_tcp_is_called_by_its_own_connection_while_that_lives() {
    // It moves there by a re-INVITE, or only sends something there.
    for method in ["UPDATE", "INFO"] {
        for closed in [false, true] {
            let mut pair = called_by(World::new(), Phone::new("alice", 1));
            let alice = &mut pair.alice;
            let line = &mut pair.from_alice;
            alice.named = ";transport=tcp";
            if method == "INFO" {
                let named = alice.within(&mut pair.world, line, "UPDATE", "", b"");
                assert_eq!(named.status(), 200);
            }
            *alice = std::mem::replace(alice, Phone::new("alice", 1)).over(Transport::Tcp, 5);
            let answer = alice.within(&mut pair.world, line, method, "", b"");
            assert_eq!(answer.status(), 200, "{method}");
            if closed {
                pair.world.handle(Input::FlowClosed { connection: 5 });
            }
            let by = bye_comes_by(&mut pair);
            assert_eq!(by, tcp(if closed { 0 } else { 5 }), "{method}");
            pair.is_gone();
        }
    }
}

/// A caller on UDP that asks for TCP.
fn asking_for_tcp() -> Phone {
    let mut alice = Phone::new("alice", 1);
    alice.named = ";transport=tcp";
    alice
}

/// Takes the only message for a phone, whose connection is not there.
pub(crate) fn unreachable(phone: &mut Phone, world: &mut World) -> Message {
    let Delivery { flow, message } = only(phone, world);
    assert_eq!(flow.transport, Transport::Tcp, "{message:?}");
    world.handle(Input::Unreachable { flow });
    message
}

#[test]
fn a_bye_that_finds_no_connection_goes_the_way_that_its_phone_came() {
    for silent in [false, true] {
        let mut pair = called_by(World::new(), asking_for_tcp());
        let Pair {
            world,
            alice,
            bob,
            from_bob,
            ..
        } = &mut pair;
        bob.within(world, from_bob, "BYE", "Reason: Q.850;cause=16\r\n", b"");
        if silent {
            only(alice, world);
            world.advance(Duration::from_secs(32));
        } else {
            unreachable(alice, world);
        }
        let bye = only(alice, world);
        assert_eq!(
            (bye.message.method_text(), bye.flow.transport),
            ("BYE", Transport::Udp)
        );
        assert_eq!(bye.message.header(Name::Reason), Some("Q.850;cause=16"));
        assert!(bye.message.header(Name::Via).unwrap().starts_with("SIP/2.0/UDP "));
        alice.respond(world, &bye.message, 200, "", "");
        world.advance(Duration::from_secs(70));
        alice.has_nothing(world);
        world.is_clean();
    }
}

#[test]
fn a_called_phone_that_takes_no_connection_gets_its_ack_all_the_same() {
    for hung_up in [false, true] {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        let (mut line, _) = alice.invite(&mut world, "bob");
        let invite = bob.gets(&mut world, "INVITE", false);
        bob.named = ";transport=tcp";
        bob.pick_up(&mut world, &invite);
        assert_eq!(unreachable(&mut bob, &mut world).method_text(), "ACK");
        line.learn(&alice.final_response(&mut world));
        alice.ack(&mut world, &line);
        if hung_up {
            alice.within(&mut world, &mut line, "BYE", "", b"");
            assert_eq!(unreachable(&mut bob, &mut world).method_text(), "BYE");
        } else {
            bob.pick_up(&mut world, &invite); // it repeats its 200
        }
        bob.listen(&mut world);
        let heard = bob.inbox.iter();
        let heard: Vec<_> = heard
            .map(|delivery| (delivery.message.method_text(), delivery.flow))
            .collect();
        let expected = [("ACK", bob.flow), ("BYE", bob.flow)];
        assert_eq!(heard, expected[..1 + usize::from(hung_up)]);
    }
}

#[test]
fn a_refresh_that_finds_no_connection_goes_the_way_that_its_phone_came() {
    let world = World::with(|config| config.session_expires = Duration::from_secs(1800));
    let allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
    let mut pair = up_with(world, asking_for_tcp(), Phone::new("bob", 2), allow, allow);
    let Pair {
        world, alice, bob, ..
    } = &mut pair;
    world.advance(Duration::from_secs(901));
    assert_eq!(unreachable(alice, world).method_text(), "UPDATE");
    bob.gets(world, "UPDATE", true);
    world.advance(Duration::from_secs(4));
    alice.listen(world);
    let update = alice.inbox.remove(0);
    assert_eq!(
        (update.message.method_text(), update.flow.transport),
        ("UPDATE", Transport::Udp)
    );
    alice.inbox.clear();
    alice.respond(world, &update.message, 200, "", "");
    world.advance(Duration::from_secs(60));
    assert_eq!(world.engine.gauges().dialogs, 2);
    assert_eq!(bye_comes_by(&mut pair), udp());
    pair.is_gone();
}

/// This phone sends by another way from now on.
fn uses(phone: &mut Phone, transport: Transport, connection: u64) {
    phone.flow = Flow {
        transport,
        listener: u16::from(transport == Transport::Tcp),
        connection,
        ..phone.flow
    };
}

/// Alice, on UDP, has named TCP as her transport and sent something by a connection of her own, 5.
fn with_a_connection_beside() -> Pair {
    let mut pair = called_by(World::new(), asking_for_tcp());
    let Pair {
        world,
        alice,
        from_alice,
        ..
    } = &mut pair;
    uses(alice, Transport::Tcp, 5);
    assert_eq!(alice.within(world, from_alice, "INFO", "", b"").status(), 200);
    uses(alice, Transport::Udp, 0);
    pair
}

/// Bob wants to hold, and alice is told; not yet how she takes it.
pub(crate) fn held(pair: &mut Pair) -> Delivery {
    let Pair {
        world,
        alice,
        bob,
        from_bob,
        ..
    } = pair;
    let held = crate::bridge::flowing("sendonly");
    let answer = bob.within(world, from_bob, "INVITE", SDP_TYPE, held.as_bytes());
    assert_eq!(answer.status(), 200);
    bob.ack(world, from_bob);
    only(alice, world)
}

#[test]
fn an_offer_that_is_lost_with_a_connection_beside_the_dialog_is_made_again() {
    let mut pair = with_a_connection_beside();
    assert_eq!(held(&mut pair).flow.connection, 5);
    let Pair { world, alice, .. } = &mut pair;
    world.handle(Input::FlowClosed { connection: 5 });
    world.advance(Duration::from_secs(4));
    assert_eq!(unreachable(alice, world).method_text(), "INVITE");
    world.advance(Duration::from_secs(4));
    alice.listen(world);
    let offer = alice.inbox.remove(0);
    assert_eq!(offer.flow.transport, Transport::Udp);
    alice.inbox.clear();
    alice.takes(world, &offer.message, SDP);
    assert_eq!(bye_comes_by(&mut pair), udp());
    pair.is_gone();
}

#[test]
fn nobody_is_led_by_udp_to_an_address_that_he_does_not_come_from() {
    let mut pair = called_by(World::new(), Phone::new("alice", 1).over(Transport::Tcp, 5));
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        from_bob,
        ..
    } = &mut pair;
    let line = from_alice;
    line.cseq += 1;
    let text = format!(
        "UPDATE {} SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.1;branch=z9hG4bKled\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} UPDATE\r\n\
         Contact: <sip:alice@203.0.113.66:5060>\r\nContent-Length: 0\r\n\r\n",
        line.target, line.own, line.theirs, line.call_id, line.cseq
    );
    world.receive(alice.flow, &text, b"");
    assert_eq!(alice.next(world).status(), 200);
    world.handle(Input::FlowClosed { connection: 5 });
    bob.within(world, from_bob, "BYE", "", b"");
    let by: Vec<_> = world.take("203.0.113.66:5060".parse().unwrap());
    assert!(
        by.iter()
            .all(|delivery| delivery.flow.transport == Transport::Tcp),
        "{by:?}"
    );
    alice.has_nothing(world);
}

#[test]
fn a_bye_that_waits_leaves_a_connection_beside_the_dialog_that_is_gone() {
    let mut pair = with_a_connection_beside();
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        from_bob,
        ..
    } = &mut pair;
    let answer = alice.within(world, from_alice, "INVITE", SDP_TYPE, SDP.as_bytes());
    assert_eq!(answer.status(), 200);
    bob.within(world, from_bob, "BYE", "", b"");
    alice.has_nothing(world);
    world.handle(Input::FlowClosed { connection: 5 });
    alice.ack(world, from_alice);
    let bye = only(alice, world);
    assert_eq!((bye.message.method_text(), bye.flow.connection), ("BYE", 0));
}

#[test]
fn a_bye_that_waits_for_an_offer_goes_by_the_new_connection_of_its_phone() {
    let mut pair = called_by_tcp();
    assert_eq!(held(&mut pair).flow.connection, 5);
    let Pair {
        world,
        alice,
        bob,
        from_bob,
        ..
    } = &mut pair;
    bob.within(world, from_bob, "BYE", "", b"");
    alice.has_nothing(world);
    alice.flow.connection = 17;
    alice.register(world, 600);
    world.handle(Input::FlowClosed { connection: 5 });
    let bye = only(alice, world);
    assert_eq!((bye.message.method_text(), bye.flow.connection), ("BYE", 17));
}

#[test]
fn the_end_of_a_connection_is_noticed_also_where_the_dialog_has_left_it() {
    let mut pair = with_a_connection_beside();
    let Pair {
        world,
        alice,
        from_alice,
        ..
    } = &mut pair;
    for (transport, connection, named) in [
        (Transport::Tcp, 5, ";transport=tcp"),
        (Transport::Udp, 0, ""),
        (Transport::Udp, 0, ";transport=tcp"),
    ] {
        uses(alice, transport, connection);
        alice.named = named;
        assert_eq!(alice.within(world, from_alice, "UPDATE", "", b"").status(), 200);
    }
    world.handle(Input::FlowClosed { connection: 5 });
    assert_eq!(bye_comes_by(&mut pair), tcp(0));
    pair.is_gone();
}

#[test]
fn the_end_of_a_connection_beside_the_dialog_moves_no_call() {
    let mut pair = called_by_tcp();
    let Pair {
        world,
        alice,
        from_alice,
        ..
    } = &mut pair;
    uses(alice, Transport::Ws, 9);
    assert_eq!(alice.within(world, from_alice, "INFO", "", b"").status(), 200);
    uses(alice, Transport::Tcp, 17);
    alice.register(world, 600);
    world.handle(Input::FlowClosed { connection: 9 });
    assert_eq!(bye_comes_by(&mut pair), tcp(5));
    pair.is_gone();
}

#[test]
fn a_drain_does_not_wait_for_a_phone_that_takes_no_connection() {
    let mut pair = called_by(World::new(), asking_for_tcp());
    let Pair { world, alice, .. } = &mut pair;
    world.handle(Input::End);
    assert!(world.drained);
    alice.listen(world);
    let byes = alice.inbox.iter().map(|delivery| delivery.flow.transport);
    assert_eq!(byes.collect::<Vec<_>>(), [Transport::Tcp, Transport::Udp]);
}

#[test]
fn a_sender_whose_connection_ends_hears_the_answer_to_its_message_by_a_new_one() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    bob.register(&mut world, 600);
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    let text = "Content-Type: text/plain\r\n";
    alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", text, b"hello");
    world.handle(Input::FlowClosed { connection: 5 });
    let message = bob.gets(&mut world, "MESSAGE", false);
    bob.respond(&mut world, &message, 200, "", "");
    let answer = only(&mut alice, &mut world);
    assert_eq!((answer.message.status(), answer.flow.connection), (200, 0));
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn a_phone_whose_connection_ends_while_its_registration_is_written_hears_of_it_by_a_new_one() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1).over(Transport::Tcp, 5));
    world.disk_hangs = true;
    alice.register(&mut world, 600);
    world.handle(Input::FlowClosed { connection: 5 });
    world.commit(true);
    let answer = only(&mut alice, &mut world);
    let flow = answer.flow;
    assert_eq!(
        (
            answer.message.status(),
            flow.connection,
            flow.peer.to_string().as_str()
        ),
        (200, 0, "198.51.100.1:5060")
    );
    // A stranger is not called: it was asked who it is on its own connection, and that was all.
    let mut stranger = Phone::new("mallory", 9).over(Transport::Tcp, 6);
    let via = "Via: SIP/2.0/TCP 198.51.100.9:25;branch=z9hG4bKm";
    let ask = format!(
        "REGISTER sip:lab.test SIP/2.0\r\n{via}\r\nMax-Forwards: 70\r\nFrom: <sip:alice@lab.test>;tag=m\r\n\
         To: <sip:alice@lab.test>\r\nCall-ID: m\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
    );
    world.receive(stranger.flow, &ask, b"");
    assert_eq!(only(&mut stranger, &mut world).flow.connection, 6);
}

//! Which way goes what belongs to a call whose phone asks for another, or whose connection breaks, before the answer and
//! in the middle of an offer.

use std::time::Duration;

use cordboard_engine::io::{Input, Transport};
use cordboard_engine::record::CallRecord;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::Verdict;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::conference::{Admission, JoinVerdict};
use cordboard_model::hook::route::RouteVerdict;

use crate::bridge::{Pair, up_with};
use crate::phone::{Phone, SDP, SDP_TYPE};
use crate::stranded::{bye_comes_by, called_by, called_by_tcp, held, only, tcp, unreachable};
use crate::world::{Delivery, World, chain};

#[test]
fn a_phone_that_asks_for_tcp_before_its_answer_is_confirmed_to_by_tcp() {
    // It takes the connection, refuses it, or says nothing there.
    for taken in [Some(true), Some(false), None] {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        alice.invite(&mut world, "bob");
        let invite = bob.gets(&mut world, "INVITE", false);
        bob.named = ";transport=tcp";
        let contact = bob.contact();
        let rings = |number: u32| format!("Contact: {contact}\r\nRequire: 100rel\r\nRSeq: {number}\r\n");
        bob.respond(&mut world, &invite, 180, &rings(7), "");
        let prack = match taken {
            Some(true) => only(&mut bob, &mut world),
            Some(false) => {
                assert_eq!(
                    unreachable(&mut bob, &mut world).header(Name::RAck),
                    Some("7 1 INVITE")
                );
                only(&mut bob, &mut world)
            }
            None => {
                assert_eq!(only(&mut bob, &mut world).flow.transport, Transport::Tcp);
                world.advance(Duration::from_secs(32));
                only(&mut bob, &mut world)
            }
        };
        let by = match taken {
            Some(true) => Transport::Tcp,
            _ => Transport::Udp,
        };
        assert_eq!((prack.message.method_text(), prack.flow.transport), ("PRACK", by));
        assert_eq!(prack.message.header(Name::RAck), Some("7 1 INVITE"));
        let via = prack.message.header(Name::Via).unwrap();
        assert!(via.starts_with(&format!("SIP/2.0/{} ", by.via())), "{via}");
        bob.respond(&mut world, &prack.message, 200, "", "");
        // What is known of the way holds for the next one, and for the ACK.
        bob.respond(&mut world, &invite, 180, &rings(8), "");
        let next = only(&mut bob, &mut world);
        assert_eq!(next.message.header(Name::RAck), Some("8 1 INVITE"));
        assert_eq!(next.flow.transport, by);
        bob.respond(&mut world, &next.message, 200, "", "");
        bob.pick_up(&mut world, &invite);
        let ack = only(&mut bob, &mut world);
        assert_eq!((ack.message.method_text(), ack.flow.transport), ("ACK", by));
    }
}

/// Alice, on connection 5, comes back on 17.
fn comes_back(world: &mut World, alice: &mut Phone) {
    alice.flow.connection = 17;
    assert_eq!(alice.register(world, 600).status(), 200);
}

/// What alice hears, and by which connection.
fn heard(world: &mut World, alice: &mut Phone) -> (u16, u64) {
    let answer = only(alice, world);
    (answer.message.status(), answer.flow.connection)
}

/// Alice dials by connection 5, which breaks while the plugins are asked.
fn asked(world: &mut World, number: &str) -> (Phone, crate::phone::Line, cordboard_model::Ticket) {
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    alice.register(world, 600);
    let (line, _) = alice.invite(world, number);
    let (ticket, _) = world.question();
    assert_eq!(heard(world, &mut alice), (100, 5));
    world.handle(Input::FlowClosed { connection: 5 });
    (alice, line, ticket)
}

#[test]
fn a_caller_whose_connection_breaks_while_its_way_is_asked_for_is_answered_where_it_is() {
    // It comes back before the plugins have decided, or while the phone rings, or only with its ACK.
    for (early, late) in [(true, false), (false, true), (false, false)] {
        let mut world = World::with(|config| config.hooks.call_router = chain(OnFailure::Pass));
        let mut bob = Phone::new("bob", 2);
        bob.register(&mut world, 600);
        let (mut alice, mut line, ticket) = asked(&mut world, "bob");
        if early {
            comes_back(&mut world, &mut alice);
        }
        world.answer(ticket, Verdict::Route(RouteVerdict::Pass));
        let invite = bob.gets(&mut world, "INVITE", false);
        bob.respond(&mut world, &invite, 180, "", "");
        let by = if early { 17 } else { 0 };
        assert_eq!(heard(&mut world, &mut alice), (180, by));
        if late {
            comes_back(&mut world, &mut alice);
        }
        bob.pick_up(&mut world, &invite);
        bob.gets(&mut world, "ACK", false);
        let answer = only(&mut alice, &mut world);
        let by = if early || late { 17 } else { 0 };
        assert_eq!((answer.message.status(), answer.flow.connection), (200, by));
        line.learn(&answer.message);
        alice.flow.connection = 17;
        alice.ack(&mut world, &line);
        assert_eq!(alice.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
        bob.gets(&mut world, "BYE", true);
        world.advance(Duration::from_secs(70));
        world.is_clean();
    }
}

#[test]
fn a_caller_whose_connection_breaks_while_its_way_is_asked_for_hears_the_refusal_where_it_is() {
    for (back, by) in [(true, 17), (false, 0)] {
        let mut world = World::with(|config| config.hooks.call_router = chain(OnFailure::Pass));
        let (mut alice, _, ticket) = asked(&mut world, "bob");
        if back {
            comes_back(&mut world, &mut alice);
        }
        let verdict = RouteVerdict::Refuse {
            code: 486,
            reason: "Not Today".into(),
        };
        world.answer(ticket, Verdict::Route(verdict));
        assert_eq!(heard(&mut world, &mut alice), (486, by));
    }
}

#[test]
fn a_caller_whose_connection_breaks_while_it_waits_to_be_admitted_is_answered_where_it_is() {
    for (back, by) in [(true, 17), (false, 0)] {
        let mut world = World::with(|config| config.hooks.conference_policy = chain(OnFailure::Pass));
        let (mut alice, _, ticket) = asked(&mut world, "3000");
        if back {
            comes_back(&mut world, &mut alice);
        }
        let verdict = JoinVerdict::Admit(Admission::default());
        world.answer(ticket, Verdict::Join(verdict));
        assert_eq!(heard(&mut world, &mut alice), (200, by));
    }
}

#[test]
fn an_offer_that_is_lost_with_the_only_connection_of_its_phone_is_made_again() {
    // The phone comes back, or takes a connection from us.
    for (back, by) in [(true, 17), (false, 0)] {
        let mut pair = called_by_tcp();
        assert_eq!(held(&mut pair).flow.connection, 5);
        let Pair { world, alice, .. } = &mut pair;
        world.handle(Input::FlowClosed { connection: 5 });
        assert_eq!(world.engine.gauges().dialogs, 2);
        if back {
            comes_back(world, alice);
        }
        world.advance(Duration::from_secs(4));
        let offer = only(alice, world);
        assert_eq!(
            (offer.message.method_text(), offer.flow.connection),
            ("INVITE", by)
        );
        assert!(String::from_utf8_lossy(offer.message.body_slice()).contains("a=sendonly"));
        alice.takes(world, &offer.message, SDP);
        assert_eq!(bye_comes_by(&mut pair), tcp(by));
        pair.is_gone();
    }
}

#[test]
fn a_refresh_that_is_lost_with_the_only_connection_of_its_phone_is_asked_for_again() {
    let mut world = World::with(|config| config.session_expires = Duration::from_secs(1800));
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    alice.register(&mut world, 7200);
    let allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
    let mut pair = up_with(world, alice, Phone::new("bob", 2), allow, allow);
    let Pair {
        world, alice, bob, ..
    } = &mut pair;
    world.advance(Duration::from_secs(901));
    bob.gets(world, "UPDATE", true);
    assert_eq!(only(alice, world).message.method_text(), "UPDATE");
    world.handle(Input::FlowClosed { connection: 5 });
    comes_back(world, alice);
    world.advance(Duration::from_secs(4));
    let again = only(alice, world);
    assert_eq!(
        (again.message.method_text(), again.flow.connection),
        ("UPDATE", 17)
    );
    alice.respond(world, &again.message, 200, "", "");
    assert_eq!(bye_comes_by(&mut pair), tcp(17));
    pair.is_gone();
}

#[test]
fn a_phone_that_does_not_come_back_to_an_offer_loses_its_call() {
    let mut pair = called_by_tcp();
    held(&mut pair);
    let Pair {
        world, alice, bob, ..
    } = &mut pair;
    world.handle(Input::FlowClosed { connection: 5 });
    let mut tries: Vec<Message> = Vec::new();
    while world.engine.gauges().dialogs == 2 {
        world.advance(Duration::from_secs(4));
        tries.push(unreachable(alice, world));
    }
    assert_eq!(tries.len(), 10);
    alice.listen(world);
    alice.inbox.clear(); // a BYE that leads nowhere either
    bob.gets(world, "BYE", true);
    pair.is_gone();
}

#[test]
fn a_contact_that_refuses_its_connection_fails_at_once_and_the_others_go_on_ringing() {
    for others in [false, true] {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        bob.named = ";transport=tcp";
        bob.register(&mut world, 600);
        let mut desk = Phone::new("bob-desk", 3);
        if others {
            desk.register(&mut world, 600);
        }
        alice.invite(&mut world, "bob");
        assert_eq!(unreachable(&mut bob, &mut world).method_text(), "INVITE");
        bob.has_nothing(&mut world);
        if others {
            alice.has_nothing_but_provisionals(&mut world);
            let invite = desk.gets(&mut world, "INVITE", false);
            desk.pick_up(&mut world, &invite);
            assert_eq!(alice.final_response(&mut world).status(), 200);
        } else {
            assert_eq!(alice.final_response(&mut world).status(), 480);
            world.advance(Duration::from_secs(70));
            world.is_clean();
        }
    }
}

#[test]
fn nobody_leads_us_to_programs_on_our_own_machine_or_to_many_at_once() {
    for hop in [
        "127.0.0.1:6379",
        "0.0.0.0:6379",
        "[::ffff:127.0.0.1]:6379",
        // Our own addresses, and what only our own link hears: clouds tell machines of themselves there.
        "192.0.2.1:6379",
        "203.0.113.80:6379",
        "[2001:db8::80]:6379",
        "169.254.169.254:80",
        "[fe80::1]:80",
        "224.0.1.75",
        "255.255.255.255",
    ] {
        let recorded = format!("Record-Route: <sip:{hop};lr>\r\n");
        let bob = Phone::new("bob", 2);
        let world = World::with(|config| {
            let named = ["203.0.113.80", "2001:db8::80"];
            config.public_ip = named.map(|ip| ip.parse().unwrap()).to_vec();
        });
        let mut pair = up_with(world, Phone::new("alice", 1), bob, &recorded, "");
        let Pair {
            world,
            alice,
            bob,
            from_bob,
            ..
        } = &mut pair;
        bob.within(world, from_bob, "BYE", "", b"");
        alice.gets(world, "BYE", true);
        // The contact of one that has registered by a connection which is gone.
        let mut carol = Phone::new("carol", 3).over(Transport::Tcp, 7);
        let headers = format!("Contact: <sip:carol@{hop}>\r\n");
        carol.request(world, "REGISTER", "sip:lab.test", &headers, b"");
        world.handle(Input::FlowClosed { connection: 7 });
        bob.invite(world, "carol");
        assert!(
            world
                .wire
                .iter()
                .all(|delivery| [alice.flow.peer, bob.flow.peer, carol.flow.peer]
                    .contains(&delivery.flow.peer)),
            "{hop}: {:?}",
            world.wire
        );
    }
}

#[test]
fn a_trunk_on_our_own_machine_leads_to_its_other_ports() {
    for hop in ["192.0.2.1:5070", "127.0.0.1:5070"] {
        let recorded = format!("Record-Route: <sip:{hop};lr>\r\n");
        let mut trunk = Phone::new("alice", 1);
        trunk.flow.peer = "192.0.2.1:5099".parse().unwrap();
        let mut pair = up_with(World::new(), trunk, Phone::new("bob", 2), &recorded, "");
        let Pair {
            world,
            alice,
            bob,
            from_bob,
            ..
        } = &mut pair;
        bob.within(world, from_bob, "BYE", "", b"");
        alice.flow.peer = hop.parse().unwrap();
        alice.gets(world, "BYE", true);
        pair.is_gone();
    }
}

#[test]
fn records_tell_a_connection_that_is_gone_from_a_phone_that_is_silent() {
    for (lost, reason) in [(true, "connection_lost"), (false, "no_answer_to_offer")] {
        let mut pair = called_by(World::new(), Phone::new("alice", 1).over(Transport::Ws, 5));
        let Pair {
            world,
            alice,
            bob,
            from_bob,
            ..
        } = &mut pair;
        world.take(alice.flow.peer);
        if lost {
            world.handle(Input::FlowClosed { connection: 5 });
        }
        let held = crate::bridge::flowing("sendonly");
        let answer = bob.within(world, from_bob, "INVITE", SDP_TYPE, held.as_bytes());
        assert_eq!(answer.status(), 200);
        bob.ack(world, from_bob);
        for _ in 0..20 {
            for Delivery { flow, .. } in world.take(alice.flow.peer) {
                if lost {
                    world.handle(Input::Unreachable { flow });
                }
            }
            world.advance(Duration::from_secs(4));
        }
        let ended = |user: &str| {
            let is_his = |record: &&CallRecord| record.user.as_deref() == Some(user);
            world.records.iter().find(is_his).map(|record| record.reason)
        };
        assert_eq!(ended("alice"), Some(reason));
        let others: Vec<_> = world.records.iter().map(|record| record.reason).collect();
        assert!(others.contains(&"other_side_lost"), "{others:?}");
    }
}

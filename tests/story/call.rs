//! Users call each other.

use std::time::Duration;

use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::media::MediaCommand;

use crate::phone::{Line, Phone, SDP};
use crate::world::World;

struct Three {
    world: World,
    alice: Phone,
    bob: Phone,
    desk: Phone,
}

/// Bob has two phones.
fn registered() -> Three {
    let mut world = World::new();
    let (alice, mut bob, mut desk) = (
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("bob-desk", 3),
    );
    assert_eq!(bob.register(&mut world, 600).status(), 200);
    assert_eq!(desk.register(&mut world, 600).status(), 200);
    Three {
        world,
        alice,
        bob,
        desk,
    }
}

fn calling(three: &mut Three) -> (Line, Message, Message) {
    let (line, response) = three.alice.invite(&mut three.world, "bob");
    assert!(response.is_none());
    let to_bob = three.bob.gets(&mut three.world, "INVITE", false);
    let to_desk = three.desk.gets(&mut three.world, "INVITE", false);
    (line, to_bob, to_desk)
}

#[test]
fn all_phones_ring_and_the_first_answer_wins() {
    let mut three = registered();
    let (mut line, to_bob, to_desk) = calling(&mut three);
    let Three {
        world,
        alice,
        bob,
        desk,
    } = &mut three;
    assert!(
        to_bob
            .header(Name::From)
            .unwrap()
            .starts_with("\"Alice\" <sip:alice@lab.test>")
    );
    bob.respond(world, &to_bob, 180, "", "");
    desk.respond(world, &to_desk, 180, "", "");
    let statuses: Vec<u16> = std::iter::from_fn(|| {
        alice.listen(world);
        (!alice.inbox.is_empty()).then(|| alice.inbox.remove(0).message.status())
    })
    .collect();
    assert_eq!(statuses, [100, 180], "one ringing is enough");
    let mut from_bob = bob.pick_up(world, &to_bob);
    bob.gets(world, "ACK", false);
    let cancel = desk.gets(world, "CANCEL", false);
    assert_eq!(cancel.via().unwrap().branch(), to_desk.via().unwrap().branch());
    desk.respond(world, &cancel, 200, "", "");
    desk.respond(world, &to_desk, 487, "", "");
    desk.gets(world, "ACK", false);
    let answer = alice.final_response(world);
    assert_eq!(answer.status(), 200);
    line.learn(&answer);
    alice.ack(world, &line);
    assert_eq!(world.engine.gauges().dialogs, 2);
    assert_eq!(bob.within(world, &mut from_bob, "BYE", "", b"").status(), 200);
    alice.gets(world, "BYE", true);
    assert_eq!(world.engine.gauges().dialogs, 0);
    let count =
        |wanted: fn(&MediaCommand) -> bool| world.media.iter().filter(|command| wanted(command)).count();
    assert_eq!(count(|c| matches!(c, MediaCommand::Open { .. })), 3);
    assert_eq!(count(|c| matches!(c, MediaCommand::Close { .. })), 3);
}

#[test]
fn a_phone_that_answers_too_late_is_thanked_and_hung_up_on() {
    let mut three = registered();
    let (_, to_bob, to_desk) = calling(&mut three);
    let Three { world, bob, desk, .. } = &mut three;
    bob.respond(world, &to_bob, 180, "", "");
    desk.respond(world, &to_desk, 180, "", "");
    bob.pick_up(world, &to_bob);
    desk.pick_up(world, &to_desk);
    desk.gets(world, "CANCEL", false);
    desk.gets(world, "ACK", false);
    desk.gets(world, "BYE", true);
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn when_all_refuse_the_caller_hears_the_best_of_it() {
    let mut three = registered();
    let (_, to_bob, to_desk) = calling(&mut three);
    let Three {
        world,
        alice,
        bob,
        desk,
    } = &mut three;
    bob.respond(world, &to_bob, 486, "", "");
    bob.gets(world, "ACK", false);
    desk.respond(world, &to_desk, 480, "", "");
    desk.gets(world, "ACK", false);
    assert_eq!(alice.final_response(world).status(), 480);
    assert_eq!(world.engine.gauges().dialogs, 0);
}

#[test]
fn a_phone_that_says_nothing_is_given_up_after_timer_b() {
    let mut three = registered();
    calling(&mut three);
    let Three {
        world, alice, bob, ..
    } = &mut three;
    world.advance(Duration::from_secs(33));
    bob.listen(world);
    let invites = bob
        .inbox
        .iter()
        .filter(|delivery| delivery.message.method_text() == "INVITE")
        .count();
    assert_eq!(invites, 6, "timer A: after 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
    assert_eq!(alice.final_response(world).status(), 408);
    assert_eq!(world.engine.counts().timeouts["B"], 2);
    world.advance(Duration::from_secs(33));
    assert_eq!(world.engine.gauges().transactions, 0, "nothing is left of it");
}

#[test]
fn nobody_rings_for_ever() {
    let mut three = registered();
    let (_, to_bob, to_desk) = calling(&mut three);
    let Three {
        world,
        alice,
        bob,
        desk,
    } = &mut three;
    bob.respond(world, &to_bob, 180, "", "");
    desk.respond(world, &to_desk, 180, "", "");
    world.advance(Duration::from_secs(181));
    bob.gets(world, "CANCEL", false);
    assert_eq!(alice.final_response(world).status(), 480);
    world.advance(Duration::from_secs(70));
    assert_eq!(world.engine.gauges().dialogs, 0);
    assert_eq!(world.engine.gauges().transactions, 0);
}

#[test]
fn nobody_is_home_and_nobody_is_known() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    for (number, status) in [("carol", 480), ("dave", 404)] {
        assert_eq!(
            alice.invite(&mut world, number).1.unwrap().status(),
            status,
            "{number}"
        );
    }
}

#[test]
fn a_stranger_is_asked_who_he_is_and_costs_nothing() {
    let (mut world, mut mallory) = (World::new(), Phone::new("mallory", 66));
    let (_, response) = mallory.invite(&mut world, "bob");
    assert_eq!(response.unwrap().status(), 401);
    assert_eq!(world.engine.gauges().transactions, 0);
    assert_eq!(world.engine.gauges().dialogs, 0);
}

#[test]
fn a_request_with_a_via_that_cannot_be_read_is_refused_where_it_came_from_and_costs_nothing() {
    let (mut world, mut mallory) = (World::new(), Phone::new("mallory", 66));
    let cases = [
        ("SIP/7.0", "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw", 505),
        ("SIP/2.0", "SIP/2.0/UDP 192.0.2.15;;,;,,", 400),
        ("SIP/2.0", "nonsense", 400),
    ];
    for (version, via, status) in cases {
        let text = format!(
            "OPTIONS sip:bob@lab.test {version}\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
             From: <sip:mallory@lab.test>;tag=1\r\nTo: <sip:bob@lab.test>\r\nCall-ID: {via}\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        world.receive(mallory.flow, &text, b"");
        let response = mallory.next(&mut world);
        assert_eq!(response.status(), status, "{via}");
        let answered: Vec<&str> = response.headers(Name::Via).collect();
        assert_eq!(answered.join(","), via, "as it was");
    }
    let text =
        "OPTIONS sip:bob@lab.test SIP/2.0\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    world.receive(mallory.flow, text, b"");
    mallory.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().transactions, 0);
}

#[test]
fn a_message_inside_the_call_reaches_the_other_side() {
    let mut three = registered();
    let (mut line, to_bob, _) = calling(&mut three);
    let Three {
        world, alice, bob, ..
    } = &mut three;
    bob.pick_up(world, &to_bob);
    bob.gets(world, "ACK", false);
    let answer = alice.final_response(world);
    line.learn(&answer);
    alice.ack(world, &line);
    let response = alice.within(
        world,
        &mut line,
        "MESSAGE",
        "Content-Type: text/plain\r\n",
        b"hello",
    );
    assert_eq!(response.status(), 202);
    assert_eq!(bob.gets(world, "MESSAGE", true).body_slice(), b"hello");
}

#[test]
fn a_phone_that_changes_its_network_inside_a_call_is_found_there() {
    let mut three = registered();
    let (mut line, to_bob, _) = calling(&mut three);
    let Three {
        world, alice, bob, ..
    } = &mut three;
    let mut from_bob = bob.pick_up(world, &to_bob);
    bob.gets(world, "ACK", false);
    let answer = alice.final_response(world);
    line.learn(&answer);
    alice.ack(world, &line);
    alice.flow.peer = "203.0.113.9:6060".parse().unwrap();
    let headers = "Contact: <sip:alice@203.0.113.9:6060>\r\nContent-Type: application/sdp\r\n";
    let moved = alice.within(world, &mut line, "INVITE", headers, SDP.as_bytes());
    assert_eq!(moved.status(), 200);
    alice.ack(world, &line);
    assert_eq!(bob.within(world, &mut from_bob, "BYE", "", b"").status(), 200);
    alice.gets(world, "BYE", true);
}

#[test]
fn questions_and_cancels_about_what_is_not_there_are_481_and_cost_nothing() {
    let (mut world, mut mallory) = (World::new(), Phone::new("mallory", 66));
    for method in ["OPTIONS", "CANCEL"] {
        let tag = if method == "OPTIONS" { ";tag=no-such" } else { "" };
        let text = format!(
            "{method} sip:bob@lab.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.66;branch=z9hG4bK{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:mallory@lab.test>;tag=1\r\nTo: <sip:bob@lab.test>{tag}\r\n\
             Call-ID: {method}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        world.receive(mallory.flow, &text, b"");
        assert_eq!(mallory.next(&mut world).status(), 481, "{method}");
    }
    assert_eq!(world.engine.gauges().transactions, 0);
}

#[test]
fn a_response_that_has_lost_its_way_is_dropped() {
    let mut three = registered();
    let (_, to_bob, _) = calling(&mut three);
    let Three {
        world, alice, bob, ..
    } = &mut three;
    alice.listen(world);
    alice.inbox.clear();
    let another = "Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKanother\r\n";
    bob.respond(world, &to_bob, 180, another, "");
    alice.has_nothing(world);
    assert_eq!(world.engine.counts().rejected["bad_response"], 1);
    bob.respond(world, &to_bob, 180, "", "");
    assert_eq!(alice.next(world).status(), 180);
}

#[test]
fn extensions_that_nobody_knows_are_all_named_and_hold_up_no_cancel() {
    let mut three = registered();
    let (_, to_bob, _) = calling(&mut three);
    let Three {
        world, alice, bob, ..
    } = &mut three;
    bob.respond(world, &to_bob, 180, "", ""); // nobody cancels what is not known to have arrived
    let wanted = "Require: 100rel, one\r\nRequire: two\r\n";
    let refused = alice.request(world, "OPTIONS", "sip:lab.test", wanted, b"");
    assert_eq!(refused.status(), 420);
    assert_eq!(refused.header(Name::Unsupported), Some("one, two"));
    alice.cancel(world, wanted);
    let answer = alice.final_response(world);
    assert_eq!((answer.status(), answer.method_text()), (200, "CANCEL"));
    assert_eq!(bob.gets(world, "CANCEL", true).call_id(), to_bob.call_id());
}

#[test]
fn numbers_and_names_with_asterisks_are_called_as_they_are() {
    let mut world = World::with(|config| {
        config.credentials[1].username = "a*b".into();
        config.conferences[0].member.numbers = vec!["*30".into(), "4*5".into()];
        config.conferences[0].moderator.numbers = vec!["30*01".into()];
    });
    let mut alice = Phone::new("alice", 1);
    for (dialled, status, number) in [
        ("*30", 200, "*30"),
        ("4*5", 200, "4*5"),
        ("30*01*1234", 200, "30*01"),
        ("30*01*9", 403, "30*01"),
        ("a*b", 480, "a*b"),
        ("*31", 404, "*31"),
        ("5000*1234", 404, "5000"),
    ] {
        let (mut line, answer) = alice.invite(&mut world, dialled);
        let answer = answer.unwrap_or_else(|| alice.final_response(&mut world));
        assert_eq!(answer.status(), status, "{dialled}");
        if status == 200 {
            line.learn(&answer);
            alice.ack(&mut world, &line);
            alice.within(&mut world, &mut line, "BYE", "", b"");
        }
        let record = world.records.pop().expect("a record");
        assert_eq!(
            (record.number, record.to),
            (number.to_owned(), format!("sip:{number}@lab.test"))
        );
    }
}

//! How calls between users end: what the other side hears of it, and what the records say.

use std::time::Duration;

use cordboard_engine::io::{Flow, Input, Transport};
use cordboard_engine::record::CallDirection;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::media::{MediaCommand, MediaEvent};

use crate::bridge::{Pair, pair};
use crate::phone::{Line, Phone, SDP_TYPE};
use crate::world::World;

/// Alice has called bob, whose three phones ring.
struct Ringing {
    world: World,
    alice: Phone,
    line: Line,
    phones: Vec<(Phone, Message)>,
}

fn ringing(asked: &str) -> Ringing {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut phones = vec![
        Phone::new("bob", 2),
        Phone::new("bob-desk", 3),
        Phone::new("bob", 4),
    ];
    phones[2].registering = "third".into();
    for phone in &mut phones {
        assert_eq!(phone.register(&mut world, 7200).status(), 200);
    }
    let (line, _) = alice.invite_with(&mut world, "bob", asked);
    assert_eq!(alice.next(&mut world).status(), 100);
    let phones = phones.into_iter().map(|mut phone| {
        let invite = phone.gets(&mut world, "INVITE", false);
        phone.respond(&mut world, &invite, 180, "", "");
        (phone, invite)
    });
    let phones = phones.collect();
    alice.listen(&mut world);
    alice.inbox.clear();
    Ringing {
        world,
        alice,
        line,
        phones,
    }
}

/// The reasons of records, with their statuses.
type Words = Vec<(&'static str, u16)>;

/// The words of the records so far, of callers and of called phones, and their statuses.
fn words(world: &World) -> (Words, Words) {
    let of = |direction| {
        let records = world
            .records
            .iter()
            .filter(move |record| record.direction == direction);
        records.map(|record| (record.reason, record.status)).collect()
    };
    (of(CallDirection::In), of(CallDirection::Out))
}

#[test]
fn who_declines_for_all_stops_the_other_phones_at_once() {
    let Ringing {
        mut world,
        mut alice,
        mut phones,
        ..
    } = ringing("");
    let (mut first, invite) = phones.remove(0);
    first.respond(&mut world, &invite, 603, "Reason: Q.850;cause=21\r\n", "");
    let answer = alice.final_response(&mut world);
    assert_eq!(
        (answer.status(), answer.header(Name::Reason)),
        (603, Some("Q.850;cause=21"))
    );
    let (mut late, invite) = phones.remove(0);
    let cancel = late.gets(&mut world, "CANCEL", true);
    assert!(cancel.header(Name::Reason).unwrap().starts_with("SIP;cause=603;"));
    // It was picked up in the same moment.
    late.pick_up(&mut world, &invite);
    late.gets(&mut world, "ACK", false);
    late.gets(&mut world, "BYE", true);
    let (mut last, invite) = phones.remove(0);
    last.gets(&mut world, "CANCEL", true);
    last.respond(&mut world, &invite, 487, "", "");
    alice.has_nothing(&mut world);
    let expected = vec![
        ("declined", 603),
        ("refused_elsewhere", 200),
        ("refused_elsewhere", 487),
    ];
    assert_eq!(words(&world), (vec![("declined", 603)], expected));
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn a_refusal_for_all_after_the_answer_of_another_phone_changes_nothing() {
    let Ringing {
        mut world,
        mut alice,
        mut phones,
        mut line,
    } = ringing("");
    let (mut first, invite) = phones.remove(0);
    first.pick_up(&mut world, &invite);
    line.learn(&alice.final_response(&mut world));
    alice.ack(&mut world, &line);
    let (mut second, invite) = phones.remove(0);
    second.gets(&mut world, "CANCEL", true);
    second.respond(&mut world, &invite, 603, "", "");
    alice.has_nothing(&mut world);
    first.gets(&mut world, "ACK", false);
    first.has_nothing(&mut world);
}

#[test]
fn an_invitation_that_expires_is_over_on_all_phones_and_for_the_caller() {
    let Ringing {
        mut world,
        mut alice,
        phones,
        ..
    } = ringing("Expires: 2\r\n");
    world.advance(Duration::from_millis(1900));
    alice.has_nothing(&mut world);
    world.advance(Duration::from_millis(200));
    assert_eq!(alice.final_response(&mut world).status(), 487);
    for (mut phone, invite) in phones {
        assert_eq!(invite.header(Name::Expires), Some("2"));
        phone.gets(&mut world, "CANCEL", true);
        phone.respond(&mut world, &invite, 487, "", "");
    }
    let expected = vec![("no_answer", 487); 3];
    assert_eq!(words(&world), (vec![("no_answer", 487)], expected));
}

#[test]
fn records_say_why_nobody_answered() {
    let cases = [
        (486, 486, "busy", "busy"),
        (603, 603, "declined", "declined"),
        (480, 480, "no_answer", "no_answer"),
        (404, 404, "refused", "refused"),
        (405, 480, "refused", "refused"),
        (415, 488, "refused", "refused"),
        (420, 480, "refused", "refused"),
        (421, 480, "refused", "refused"),
        (494, 480, "refused", "refused"),
        (503, 500, "refused", "refused"),
    ];
    for (said, heard, called, caller) in cases {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        alice.invite(&mut world, "bob");
        let invite = bob.gets(&mut world, "INVITE", false);
        bob.respond(&mut world, &invite, said, "", "");
        assert_eq!(alice.final_response(&mut world).status(), heard);
        assert_eq!(words(&world), (vec![(caller, heard)], vec![(called, said)]));
    }
}

#[test]
fn records_say_that_a_phone_cannot_be_reached() {
    // One that is silent, and one that takes no connection.
    for gone in [false, true] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        let mut bob = match gone {
            false => Phone::new("bob", 2),
            true => Phone::new("bob", 2).over(Transport::Tcp, 7),
        };
        bob.register(&mut world, 7200);
        if gone {
            world.handle(Input::FlowClosed { connection: 7 });
        }
        alice.invite(&mut world, "bob");
        if gone {
            let flow = Flow {
                connection: 0,
                ..bob.flow
            };
            world.handle(Input::Unreachable { flow });
        } else {
            world.advance(Duration::from_secs(33));
        }
        let (heard, said) = if gone { (480, 503) } else { (408, 408) };
        assert_eq!(alice.final_response(&mut world).status(), heard);
        let expected = (vec![("unreachable", heard)], vec![("unreachable", said)]);
        assert_eq!(words(&world), expected);
    }
}

#[test]
fn records_say_what_ended_a_phone_that_never_answers_its_cancel() {
    let Ringing {
        mut world,
        mut phones,
        ..
    } = ringing("");
    let (mut first, invite) = phones.remove(0);
    first.pick_up(&mut world, &invite);
    for (mut phone, _) in phones {
        phone.gets(&mut world, "CANCEL", true);
    }
    world.advance(Duration::from_secs(33));
    let given_up = |(why, _): &(&str, u16)| *why == "answered_elsewhere";
    let said: Words = words(&world).1.into_iter().filter(given_up).collect();
    assert_eq!(said, [("answered_elsewhere", 487); 2]);
}

#[test]
fn records_say_that_the_caller_gave_up() {
    let Ringing {
        mut world,
        mut alice,
        phones,
        ..
    } = ringing("");
    alice.cancel(&mut world, "");
    for (mut phone, invite) in phones {
        phone.gets(&mut world, "CANCEL", true);
        phone.respond(&mut world, &invite, 487, "", "");
    }
    let expected = vec![("cancelled", 487); 3];
    assert_eq!(words(&world), (vec![("cancelled", 487)], expected));
}

#[test]
fn records_say_who_hung_up() {
    for caller in [true, false] {
        let Pair {
            mut world,
            mut alice,
            mut bob,
            mut from_alice,
            mut from_bob,
            ..
        } = pair();
        if caller {
            alice.within(&mut world, &mut from_alice, "BYE", "", b"");
            bob.gets(&mut world, "BYE", true);
        } else {
            bob.within(&mut world, &mut from_bob, "BYE", "", b"");
            alice.gets(&mut world, "BYE", true);
        }
        let (hung_up, other) = (vec![("hung_up", 200)], vec![("other_side", 200)]);
        let expected = if caller {
            (hung_up, other)
        } else {
            (other, hung_up)
        };
        assert_eq!(words(&world), expected);
        let [first, second] = &world.records[..] else {
            panic!("{:?}", world.records)
        };
        assert_eq!((first.number.as_str(), second.number.as_str()), ("bob", "bob"));
        let contacts = [&alice, &bob].map(|phone| phone.contact());
        for record in [first, second] {
            let phone = usize::from(record.direction == CallDirection::Out);
            assert_eq!(format!("<{}>", record.contact), contacts[phone]);
        }
    }
}

#[test]
fn records_say_whose_media_stopped() {
    let Pair {
        mut world,
        mut alice,
        mut bob,
        ..
    } = pair();
    let opened = world.media.iter().find_map(|command| match command {
        MediaCommand::Open { leg, .. } => Some(*leg),
        _ => None,
    });
    let leg = opened.expect("alice has one");
    world.handle(Input::Media(MediaEvent::Silent { leg }));
    alice.gets(&mut world, "BYE", true);
    bob.gets(&mut world, "BYE", true);
    let expected = (vec![("no_media", 200)], vec![("other_side_no_media", 200)]);
    assert_eq!(words(&world), expected);
}

/// Bob picks up and hangs up at once, while the 200 to alice is lost; and what bob said why.
fn hung_up_before_the_ack() -> (World, Phone, Line) {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    let (line, _) = alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    let mut from_bob = bob.pick_up(&mut world, &invite);
    bob.gets(&mut world, "ACK", false);
    alice.listen(&mut world);
    alice.inbox.clear();
    let why = "Reason: Q.850;cause=16\r\n";
    assert_eq!(
        bob.within(&mut world, &mut from_bob, "BYE", why, b"").status(),
        200
    );
    alice.has_nothing(&mut world);
    (world, alice, line)
}

#[test]
fn a_caller_that_has_lost_the_answer_hears_it_again_and_the_bye_after_its_ack() {
    let (mut world, mut alice, mut line) = hung_up_before_the_ack();
    world.advance(Duration::from_secs(2));
    let answers: Vec<u16> = (0..2).map(|_| alice.next(&mut world).status()).collect();
    assert_eq!(answers, [200, 200]);
    world.advance(Duration::from_secs(2));
    line.learn(&alice.final_response(&mut world));
    alice.ack(&mut world, &line);
    let bye = alice.gets(&mut world, "BYE", true);
    assert_eq!(bye.header(Name::Reason), Some("Q.850;cause=16"));
    alice.ack(&mut world, &line);
    world.advance(Duration::from_secs(70));
    alice.has_nothing(&mut world);
    world.is_clean();
}

#[test]
fn a_caller_that_never_confirms_hears_bye_when_the_answer_is_given_up() {
    let (mut world, mut alice, _) = hung_up_before_the_ack();
    world.advance(Duration::from_millis(31_900));
    alice.listen(&mut world);
    let answers = alice.inbox.drain(..);
    assert!(answers.map(|answer| answer.message.status()).eq([200; 10]));
    world.advance(Duration::from_millis(100));
    alice.gets(&mut world, "BYE", true);
    assert_eq!(world.engine.counts().timeouts["ack"], 1);
    world.advance(Duration::from_secs(70));
    alice.has_nothing(&mut world);
    world.is_clean();
}

#[test]
fn a_caller_that_hangs_up_itself_before_its_ack_ends_it() {
    let (mut world, mut alice, mut line) = hung_up_before_the_ack();
    world.advance(Duration::from_millis(500));
    line.learn(&alice.final_response(&mut world));
    assert_eq!(alice.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
    world.advance(Duration::from_secs(70));
    alice.has_nothing(&mut world);
    world.is_clean();
}

#[test]
fn a_phone_that_thinks_for_ever_about_an_offer_leaves_nothing_when_its_call_ends() {
    let mut pair = pair();
    let Pair {
        world,
        alice,
        bob,
        from_bob,
        ..
    } = &mut pair;
    let held = crate::bridge::flowing("sendonly");
    bob.within(world, from_bob, "INVITE", SDP_TYPE, held.as_bytes());
    bob.ack(world, from_bob);
    let offer = alice.gets(world, "INVITE", false);
    alice.respond(world, &offer, 100, "", "");
    bob.within(world, from_bob, "BYE", "", b"");
    world.advance(Duration::from_secs(4));
    alice.gets(world, "CANCEL", true);
    alice.gets(world, "BYE", true);
    pair.is_gone();
}

/// A call by this transport whose other side holds it; and the offer that the caller, or the called phone, gets of that.
fn held(caller: bool, transport: Transport) -> (Pair, Message) {
    let by = |phone: Phone, connection| match transport {
        Transport::Udp => phone,
        _ => phone.over(transport, connection),
    };
    let (alice, bob) = (by(Phone::new("alice", 1), 5), by(Phone::new("bob", 2), 6));
    let mut pair = crate::bridge::up_with(World::new(), alice, bob, "", "");
    let held = crate::bridge::flowing("sendonly");
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        from_bob,
        ..
    } = &mut pair;
    let (holds, line, other) = match caller {
        true => (bob, from_bob, alice),
        false => (alice, from_alice, bob),
    };
    holds.within(world, line, "INVITE", SDP_TYPE, held.as_bytes());
    holds.ack(world, line);
    let offer = other.gets(world, "INVITE", false);
    (pair, offer)
}

const BOTH_SIDES_AND_WAYS: [(bool, Transport); 4] = [
    (true, Transport::Udp),
    (false, Transport::Udp),
    (true, Transport::Tcp),
    (false, Transport::Tcp),
];

#[test]
fn a_phone_that_hangs_up_instead_of_answering_an_offer_leaves_nothing() {
    for (caller, transport) in BOTH_SIDES_AND_WAYS {
        // It confirms that the offer is taken back, or has gone for good.
        for answers in [true, false] {
            let (mut pair, offer) = held(caller, transport);
            let Pair {
                world,
                alice,
                bob,
                from_alice,
                from_bob,
                ..
            } = &mut pair;
            let (phone, line, other) = match caller {
                true => (alice, from_alice, bob),
                false => (bob, from_bob, alice),
            };
            phone.respond(world, &offer, 100, "", "");
            assert_eq!(phone.within(world, line, "BYE", "", b"").status(), 200);
            other.gets(world, "BYE", true);
            phone.gets(world, "CANCEL", answers);
            if answers {
                phone.respond(world, &offer, 487, "", "");
                phone.gets(world, "ACK", false);
                phone.has_nothing(world);
            }
            pair.is_gone();
        }
    }
}

#[test]
fn an_offer_that_is_first_heard_of_after_the_end_of_its_call_is_taken_back() {
    for (caller, transport) in BOTH_SIDES_AND_WAYS {
        // The phone hangs up itself, or the other side does.
        for own in [true, false] {
            let (mut pair, offer) = held(caller, transport);
            let Pair {
                world,
                alice,
                bob,
                from_alice,
                from_bob,
                ..
            } = &mut pair;
            let (phone, line, other, of_other) = match caller {
                true => (alice, from_alice, bob, from_bob),
                false => (bob, from_bob, alice, from_alice),
            };
            if own {
                assert_eq!(phone.within(world, line, "BYE", "", b"").status(), 200);
                other.gets(world, "BYE", true);
            } else {
                other.within(world, of_other, "BYE", "", b"");
            }
            world.advance(Duration::from_secs(5));
            phone.listen(world);
            let byes = phone.inbox.drain(..).filter(|d| d.message.method_text() == "BYE");
            assert_eq!(byes.count() > 0, !own);
            phone.respond(world, &offer, 100, "", "");
            phone.gets(world, "CANCEL", true);
            phone.respond(world, &offer, 487, "", "");
            phone.gets(world, "ACK", false);
            pair.is_gone();
        }
    }
}

#[test]
fn where_no_bye_can_wait_any_more_the_offer_is_taken_back_at_once() {
    let mut world = World::with(|config| config.limits.calls = 2);
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    let held = crate::bridge::flowing("sendonly");
    for place in [true, true, false] {
        let (mut line, _) = alice.invite(&mut world, "bob");
        let invite = bob.gets(&mut world, "INVITE", false);
        bob.pick_up(&mut world, &invite);
        bob.gets(&mut world, "ACK", false);
        line.learn(&alice.final_response(&mut world));
        alice.ack(&mut world, &line);
        alice.within(&mut world, &mut line, "INVITE", SDP_TYPE, held.as_bytes());
        alice.ack(&mut world, &line);
        let offer = bob.gets(&mut world, "INVITE", false);
        bob.respond(&mut world, &offer, 100, "", "");
        alice.within(&mut world, &mut line, "BYE", "", b"");
        if place {
            bob.has_nothing(&mut world);
        } else {
            bob.gets(&mut world, "CANCEL", true);
            bob.gets(&mut world, "BYE", true);
        }
    }
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn a_phone_ends_no_call_that_it_has_not_answered() {
    let Ringing {
        mut world,
        mut alice,
        mut phones,
        ..
    } = ringing("");
    let (mut phone, invite) = phones.remove(0);
    let mut line = Line {
        call_id: invite.call_id().to_owned(),
        own: invite.header(Name::To).unwrap().to_owned(), // without the tag that would make a dialog
        theirs: invite.header(Name::From).unwrap().to_owned(),
        target: invite.contacts().next().unwrap().unwrap().uri.to_owned(),
        cseq: 0,
    };
    assert_eq!(phone.within(&mut world, &mut line, "BYE", "", b"").status(), 481);
    phone.pick_up(&mut world, &invite);
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

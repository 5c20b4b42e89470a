//! Before the answer: ringing, early media, and provisional responses that are confirmed (RFC 3262).

use std::time::Duration;

use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::media::MediaCommand;

use crate::phone::{Line, Phone, SDP, SDP_TYPE};
use crate::world::World;

const RELIABLE: &str = "Supported: 100rel\r\n";

struct Ringing {
    world: World,
    alice: Phone,
    bob: Phone,
    line: Line,
    invite: Message,
}

/// Alice calls with these headers; bob's phone has the INVITE.
fn calling(asked: &str) -> Ringing {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    let (line, _) = alice.invite_with(&mut world, "bob", asked);
    let invite = bob.gets(&mut world, "INVITE", false);
    assert_eq!(alice.next(&mut world).status(), 100);
    Ringing {
        world,
        alice,
        bob,
        line,
        invite,
    }
}

/// What bob's phone says with a provisional response: contact, description, reliability.
fn early(bob: &Phone, rseq: u32) -> String {
    let reliable = match rseq {
        0 => String::new(),
        number => format!("Require: 100rel\r\nRSeq: {number}\r\n"),
    };
    format!("Contact: {}\r\n{SDP_TYPE}{reliable}", bob.contact())
}

/// Alice confirms a provisional response.
fn prack(ringing: &mut Ringing, response: &Message, rack: &str) -> Message {
    let Ringing {
        world, alice, line, ..
    } = ringing;
    line.learn(response);
    alice.within(world, line, "PRACK", &format!("RAck: {rack}\r\n"), b"")
}

fn rack_of(response: &Message) -> String {
    let cseq = response.cseq().unwrap().number;
    format!("{} {cseq} INVITE", response.header(Name::RSeq).unwrap())
}

fn set(commands: &[MediaCommand]) -> Vec<String> {
    let set = commands
        .iter()
        .filter(|command| matches!(command, MediaCommand::Modify { .. }));
    set.map(|command| format!("{command:?}")).collect()
}

#[test]
fn early_media_passes_through_the_switch() {
    let mut ringing = calling("");
    let Ringing {
        world,
        alice,
        bob,
        line,
        invite,
    } = &mut ringing;
    let before = world.media.len();
    bob.respond(world, invite, 183, &early(bob, 0), SDP);
    let heard = alice.next(world);
    assert_eq!(heard.status(), 183);
    assert!(String::from_utf8_lossy(heard.body_slice()).contains("c=IN IP4 192.0.2.1"));
    assert_eq!(heard.header(Name::Require), None, "alice cannot confirm");
    let told = set(&world.media[before..]);
    assert_eq!(told.len(), 2, "both legs know where their peer listens");
    bob.respond(world, invite, 183, &early(bob, 0), SDP);
    alice.has_nothing(world);
    let before = world.media.len();
    bob.pick_up(world, invite);
    bob.gets(world, "ACK", false);
    let answer = alice.final_response(world);
    assert_eq!(
        set(&world.media[before..]),
        told,
        "the media shard looks for both again: they may send only now"
    );
    assert_eq!(answer.body_slice(), heard.body_slice(), "what was said holds");
    assert_eq!(answer.header(Name::To), heard.header(Name::To), "one dialog");
    line.learn(&answer);
    alice.ack(world, line);
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn each_state_is_told_once_and_a_description_that_cannot_be_used_is_only_progress() {
    let mut ringing = calling("");
    let Ringing {
        world,
        alice,
        bob,
        invite,
        ..
    } = &mut ringing;
    for (status, body) in [(180, ""), (183, "v=rubbish"), (180, ""), (183, SDP), (180, "")] {
        bob.respond(world, invite, status, &early(bob, 0), body);
    }
    alice.listen(world);
    let told: Vec<(u16, bool)> = alice
        .inbox
        .drain(..)
        .map(|delivery| {
            (
                delivery.message.status(),
                !delivery.message.body_slice().is_empty(),
            )
        })
        .collect();
    assert_eq!(told, [(180, false), (183, false), (183, true)]);
}

#[test]
fn we_confirm_each_reliable_response_of_a_phone_once_and_in_order() {
    let mut ringing = calling("");
    let Ringing {
        world, bob, invite, ..
    } = &mut ringing;
    assert!(invite.values(Name::Supported).any(|word| word == "100rel"));
    let cseq = invite.cseq().unwrap().number;
    // The number of each response, and the RAck that it is answered with.
    let cases = [
        (41, true),
        (41, false),
        (43, false),
        (42, true),
        (41, false),
        (43, true),
    ];
    let mut last = cseq;
    for (rseq, confirmed) in cases {
        bob.respond(world, invite, 183, &early(bob, rseq), SDP);
        if !confirmed {
            bob.has_nothing(world);
            continue;
        }
        let prack = bob.gets(world, "PRACK", true);
        assert_eq!(
            prack.header(Name::RAck),
            Some(format!("{rseq} {cseq} INVITE").as_str())
        );
        assert!(prack.cseq().unwrap().number > last);
        assert!(prack.header(Name::To).unwrap().contains("tag=bob2"));
        last = prack.cseq().unwrap().number;
    }
    // The answer may be without a description: it came before.
    bob.respond(world, invite, 200, &format!("Contact: {}\r\n", bob.contact()), "");
    let ack = bob.gets(world, "ACK", false);
    assert_eq!(ack.cseq().unwrap().number, cseq);
    let Ringing {
        world,
        alice,
        bob,
        line,
        ..
    } = &mut ringing;
    let answer = alice.final_response(world);
    assert_eq!(answer.status(), 200);
    line.learn(&answer);
    alice.ack(world, line);
    assert_eq!(alice.within(world, line, "BYE", "", b"").status(), 200);
    let bye = bob.gets(world, "BYE", true);
    assert!(
        bye.cseq().unwrap().number > last,
        "the numbers go on after the PRACKs"
    );
}

#[test]
fn nothing_provisional_is_repeated_after_the_answer() {
    let mut ringing = calling("Require: 100rel\r\n");
    let Ringing {
        world,
        alice,
        bob,
        invite,
        line,
    } = &mut ringing;
    bob.respond(world, invite, 180, "", "");
    assert_eq!(alice.next(world).status(), 180);
    // A 180 without a description need not be confirmed before the 200.
    bob.pick_up(world, invite);
    let answer = alice.final_response(world);
    assert_eq!(answer.status(), 200);
    line.learn(&answer);
    alice.ack(world, line);
    world.advance(Duration::from_secs(60));
    alice.has_nothing(world);
}

#[test]
fn a_caller_that_can_confirm_gets_early_media_again_until_it_does() {
    let mut ringing = calling(RELIABLE);
    let Ringing {
        world,
        alice,
        bob,
        invite,
        ..
    } = &mut ringing;
    bob.respond(world, invite, 180, "", "");
    assert_eq!(
        alice.next(world).header(Name::Require),
        None,
        "ringing alone is not worth it"
    );
    bob.respond(world, invite, 183, &early(bob, 0), SDP);
    let heard = alice.next(world);
    assert_eq!(
        (heard.status(), heard.header(Name::Require)),
        (183, Some("100rel"))
    );
    let rseq: u32 = heard.header(Name::RSeq).unwrap().parse().unwrap();
    assert!((1..1 << 31).contains(&rseq));
    world.advance(Duration::from_millis(3500));
    alice.listen(world);
    assert_eq!(alice.inbox.len(), 3, "after 0.5, 1.5 and 3.5 s");
    assert!(
        alice
            .inbox
            .drain(..)
            .all(|delivery| delivery.message.raw() == heard.raw())
    );
    // The answer waits for the confirmation, because a description is still unconfirmed.
    bob.pick_up(world, invite);
    bob.gets(world, "ACK", false);
    alice.has_nothing(world);
    let wrong = format!("{} {} INVITE", rseq + 1, heard.cseq().unwrap().number);
    assert_eq!(prack(&mut ringing, &heard, &wrong).status(), 481);
    assert_eq!(prack(&mut ringing, &heard, "1 2").status(), 481);
    let Ringing {
        world, alice, line, ..
    } = &mut ringing;
    // The 200 to the PRACK stands before the one to the INVITE.
    line.cseq += 1;
    let rack = format!("RAck: {}\r\n", rack_of(&heard));
    alice.send(world, line, "PRACK", line.cseq, &rack, b"");
    let (confirmed, answer) = (alice.next(world), alice.next(world));
    assert_eq!((confirmed.status(), confirmed.method_text()), (200, "PRACK"));
    assert_eq!((answer.status(), answer.method_text()), (200, "INVITE"));
    line.cseq = answer.cseq().unwrap().number;
    alice.ack(world, line);
    world.advance(Duration::from_secs(60));
    alice.has_nothing(world);
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn a_confirmation_with_a_body_that_is_no_offer_confirms_all_the_same() {
    let mut ringing = calling(RELIABLE);
    let Ringing {
        world,
        alice,
        bob,
        line,
        invite,
    } = &mut ringing;
    let parts = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b--\r\n"
    );
    let mixed = format!(
        "Contact: {}\r\nContent-Type: multipart/mixed; boundary=b\r\n",
        bob.contact()
    );
    bob.respond(world, invite, 183, &mixed, &parts);
    let heard = alice.next(world);
    assert_eq!(
        (heard.status(), heard.header(Name::Require)),
        (183, Some("100rel")),
        "the description in a part is early media"
    );
    bob.pick_up(world, invite);
    bob.gets(world, "ACK", false);
    alice.has_nothing(world);
    line.learn(&heard);
    line.cseq += 1;
    let headers = format!("RAck: {}\r\nContent-Type: text/plain\r\n", rack_of(&heard));
    alice.send(world, line, "PRACK", line.cseq, &headers, b"hi");
    let mut answers = [alice.final_response(world), alice.final_response(world)];
    answers.sort_by_key(Message::status);
    let [answer, refused] = answers;
    assert_eq!((answer.status(), answer.method_text()), (200, "INVITE"));
    assert_eq!(
        (refused.status(), refused.header(Name::Accept)),
        (415, Some("application/sdp, multipart/*"))
    );
}

#[test]
fn a_caller_that_never_confirms_is_refused_and_the_phone_released() {
    let mut ringing = calling(RELIABLE);
    let Ringing {
        world,
        alice,
        bob,
        invite,
        ..
    } = &mut ringing;
    bob.respond(world, invite, 183, &early(bob, 0), SDP);
    bob.pick_up(world, invite);
    bob.gets(world, "ACK", false);
    world.advance(Duration::from_secs(33));
    assert_eq!(alice.final_response(world).status(), 504);
    bob.gets(world, "BYE", true);
    assert_eq!(world.engine.counts().timeouts["prack"], 1);
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn a_caller_that_requires_it_gets_every_provisional_response_reliably_one_at_a_time() {
    let mut ringing = calling("Require: 100rel\r\n");
    let Ringing {
        world,
        alice,
        bob,
        invite,
        ..
    } = &mut ringing;
    bob.respond(world, invite, 180, "", "");
    bob.respond(world, invite, 182, "", "");
    bob.respond(world, invite, 183, &early(bob, 0), SDP);
    let first = alice.next(world);
    assert_eq!(
        (first.status(), first.header(Name::Require)),
        (180, Some("100rel"))
    );
    alice.has_nothing(world);
    let confirmed = prack(&mut ringing, &first, &rack_of(&first));
    assert_eq!(confirmed.status(), 200);
    let second = ringing.alice.next(&mut ringing.world);
    assert_eq!(second.status(), 183, "the newest of those that waited");
    let number = |message: &Message| message.header(Name::RSeq).unwrap().parse::<u32>().unwrap();
    assert_eq!(number(&second), number(&first) + 1);
    assert_eq!(
        prack(&mut ringing, &first, &rack_of(&first)).status(),
        481,
        "confirmed already"
    );
    assert_eq!(prack(&mut ringing, &second, &rack_of(&second)).status(), 200);
}

#[test]
fn a_caller_without_an_offer_gets_ours_early_and_answers_with_the_prack() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    let uri = "sip:bob@lab.test";
    let headers = format!("Contact: {}\r\nRequire: 100rel\r\n", alice.contact());
    alice.request_in(&mut world, "no-offer", 1, "INVITE", uri, &headers, b"");
    let invite = bob.gets(&mut world, "INVITE", false);
    alice.inbox.clear();
    bob.respond(&mut world, &invite, 180, "", "");
    let ringing = alice.next(&mut world);
    assert!(String::from_utf8_lossy(ringing.body_slice()).contains("m=audio"));
    let mut line = Line {
        call_id: "no-offer".into(),
        own: "<sip:alice@lab.test>;tag=alice1".into(),
        theirs: String::new(),
        target: uri.into(),
        cseq: ringing.cseq().unwrap().number,
    };
    line.learn(&ringing);
    let headers = format!("RAck: {}\r\n{SDP_TYPE}", rack_of(&ringing));
    let confirmed = alice.within(&mut world, &mut line, "PRACK", &headers, SDP.as_bytes());
    assert_eq!(confirmed.status(), 200);
    bob.pick_up(&mut world, &invite);
    let answer = alice.final_response(&mut world);
    assert_eq!(
        (answer.status(), answer.body_slice()),
        (200, &b""[..]),
        "all is said"
    );
    line.cseq = answer.cseq().unwrap().number;
    alice.ack(&mut world, &line);
    world.advance(Duration::from_secs(40));
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn a_caller_that_gives_up_while_early_media_flows_releases_the_phone() {
    let mut ringing = calling(RELIABLE);
    let Ringing {
        world,
        alice,
        bob,
        invite,
        line,
    } = &mut ringing;
    bob.respond(world, invite, 183, &early(bob, 7), SDP);
    bob.gets(world, "PRACK", true);
    let heard = alice.next(world);
    line.learn(&heard);
    alice.cancel(world, "Reason: SIP;cause=486;text=\"Never mind\"\r\n");
    assert_eq!(alice.next(world).method_text(), "CANCEL");
    assert_eq!(alice.final_response(world).status(), 487);
    let cancel = bob.gets(world, "CANCEL", true);
    assert_eq!(
        cancel.header(Name::Reason),
        Some("SIP;cause=486;text=\"Never mind\"")
    );
    bob.respond(world, invite, 487, "", "");
    bob.gets(world, "ACK", false);
    world.advance(Duration::from_secs(70));
    world.is_clean();
}

#[test]
fn an_update_of_the_phone_before_its_answer_is_answered_once_offer_and_answer_are_over() {
    let mut ringing = calling("");
    let Ringing {
        world, bob, invite, ..
    } = &mut ringing;
    let line = |invite: &Message| Line {
        call_id: invite.call_id().to_owned(),
        own: format!("{};tag=bob2", invite.header(Name::To).unwrap()),
        theirs: invite.header(Name::From).unwrap().to_owned(),
        target: invite.contacts().next().unwrap().unwrap().uri.to_owned(),
        cseq: 0,
    };
    let mut line = line(invite);
    assert_eq!(
        bob.within(world, &mut line, "UPDATE", SDP_TYPE, SDP.as_bytes())
            .status(),
        481,
        "no dialog yet"
    );
    bob.respond(world, invite, 183, &early(bob, 1), SDP);
    bob.gets(world, "PRACK", true);
    let answer = bob.within(world, &mut line, "UPDATE", SDP_TYPE, SDP.as_bytes());
    assert_eq!(answer.status(), 200);
    assert!(!answer.body_slice().is_empty());
    assert_eq!(
        bob.within(world, &mut line, "BYE", "", b"").status(),
        481,
        "only the caller may"
    );
    let asked = bob.within(world, &mut line, "INVITE", SDP_TYPE, SDP.as_bytes());
    assert_eq!(asked.status(), 491, "ours is not answered");
    bob.send(world, &line, "ACK", line.cseq, "", b"");
    let asked = bob.within(world, &mut line, "OPTIONS", "", b"");
    assert_eq!(asked.status(), 200);
    assert!(asked.header(Name::Allow).unwrap().contains("UPDATE"));
    for method in ["INFO", "MESSAGE"] {
        let asked = bob.within(world, &mut line, method, "Content-Type: text/plain\r\n", b"x");
        assert_eq!(asked.status(), 500);
        assert!(asked.header(Name::RetryAfter).is_some(), "{method}");
    }
}

#[test]
fn each_sign_of_life_moves_timer_c() {
    let mut ringing = calling("");
    let Ringing {
        world,
        alice,
        bob,
        invite,
        ..
    } = &mut ringing;
    for _ in 0..3 {
        bob.respond(world, invite, 180, "", "");
        world.advance(Duration::from_secs(170));
        bob.has_nothing(world);
    }
    world.advance(Duration::from_secs(10));
    bob.gets(world, "CANCEL", true);
    assert_eq!(alice.final_response(world).status(), 480);
    assert_eq!(world.engine.counts().timeouts["C"], 1);
}

#[test]
fn a_phone_that_says_for_ever_that_it_rings_does_not_ring_for_ever() {
    let mut ringing = calling("");
    let Ringing {
        world, bob, invite, ..
    } = &mut ringing;
    for _ in 0..9 {
        bob.respond(world, invite, 180, "", "");
        world.advance(Duration::from_secs(60));
        bob.has_nothing(world);
    }
    bob.respond(world, invite, 180, "", "");
    world.advance(Duration::from_secs(61));
    bob.gets(world, "CANCEL", true);
}

#[test]
fn a_confirmation_that_the_answer_has_overtaken_is_accepted_once() {
    let mut ringing = calling("Require: 100rel\r\n");
    let Ringing {
        world,
        alice,
        bob,
        invite,
        ..
    } = &mut ringing;
    bob.respond(world, invite, 180, &early(bob, 0), "");
    let ringing_tone = alice.next(world);
    bob.pick_up(world, invite);
    bob.gets(world, "ACK", false);
    assert_eq!(alice.final_response(world).status(), 200);
    let rack = rack_of(&ringing_tone);
    assert_eq!(prack(&mut ringing, &ringing_tone, &rack).status(), 200);
    assert_eq!(
        prack(&mut ringing, &ringing_tone, &rack).status(),
        481,
        "nothing is open any more"
    );
}

#[test]
fn a_phone_that_sends_its_callers_elsewhere_is_one_that_cannot_be_reached() {
    let mut ringing = calling("");
    let Ringing {
        world,
        alice,
        bob,
        invite,
        ..
    } = &mut ringing;
    bob.respond(
        world,
        invite,
        302,
        "Contact: <sip:voicemail@198.51.100.7>\r\n",
        "",
    );
    bob.gets(world, "ACK", false);
    assert_eq!(alice.final_response(world).status(), 480);
}

#[test]
fn a_hold_before_the_answer_is_told_to_the_phone_that_answers() {
    let mut ringing = calling(RELIABLE);
    let contact = early(&ringing.bob, 7);
    ringing
        .bob
        .respond(&mut ringing.world, &ringing.invite, 183, &contact, SDP);
    ringing.bob.gets(&mut ringing.world, "PRACK", true);
    let heard = ringing.alice.next(&mut ringing.world);
    assert_eq!(prack(&mut ringing, &heard, &rack_of(&heard)).status(), 200);
    let Ringing {
        world,
        alice,
        bob,
        line,
        invite,
    } = &mut ringing;
    let held = format!("{SDP}a=sendonly\r\n");
    let answer = alice.within(world, line, "UPDATE", SDP_TYPE, held.as_bytes());
    assert_eq!(answer.status(), 200);
    let contact = format!("Contact: {}\r\n", bob.contact());
    bob.respond(world, invite, 200, &contact, "");
    bob.gets(world, "ACK", false);
    let offer = bob.gets(world, "INVITE", false);
    assert!(String::from_utf8_lossy(offer.body_slice()).contains("a=sendonly"));
    bob.takes(world, &offer, &format!("{SDP}a=recvonly\r\n"));
    assert_eq!(alice.final_response(world).status(), 200);
    alice.has_nothing(world);
}

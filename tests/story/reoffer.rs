//! Offers inside a call: theirs, ours, and both at once.

use std::time::Duration;

use cordboard_engine::sip::name::Name;
use cordboard_model::media::MediaCommand;

use crate::bridge::{Pair, flowing, pair, up_with};
use crate::phone::{Phone, SDP, SDP_TYPE};
use crate::world::World;

/// Alice holds; bob has our offer and has not answered it.
pub(crate) fn held() -> (Pair, cordboard_engine::sip::message::Message) {
    let mut pair = pair();
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    let answer = alice.within(
        world,
        from_alice,
        "INVITE",
        SDP_TYPE,
        flowing("sendonly").as_bytes(),
    );
    assert_eq!(answer.status(), 200);
    alice.ack(world, from_alice);
    let offer = bob.gets(world, "INVITE", false);
    (pair, offer)
}

fn direction(message: &cordboard_engine::sip::message::Message) -> &'static str {
    let text = String::from_utf8_lossy(message.body_slice()).into_owned();
    ["sendrecv", "sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|word| text.contains(&format!("a={word}")))
        .expect("the description says which way")
}

#[test]
fn hold_and_resume_of_one_side_are_offered_to_the_other() {
    let (mut pair, offer) = held();
    assert_eq!(direction(&offer), "sendonly");
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    let headers = format!("Contact: {}\r\n{SDP_TYPE}", bob.contact());
    bob.respond(world, &offer, 200, &headers, &flowing("recvonly"));
    let ack = bob.gets(world, "ACK", false);
    assert_eq!(ack.cseq().unwrap().number, offer.cseq().unwrap().number);
    assert!(
        matches!(world.media.last(), Some(MediaCommand::Modify { audio, .. }) if audio.direction.send && !audio.direction.receive),
        "{:?}",
        world.media.last()
    );
    let answer = alice.within(world, from_alice, "UPDATE", SDP_TYPE, SDP.as_bytes());
    assert_eq!((answer.status(), direction(&answer)), (200, "sendrecv"));
    let offer = bob.gets(world, "INVITE", false);
    assert_eq!(direction(&offer), "sendrecv");
    bob.respond(world, &offer, 200, &headers, SDP);
    bob.gets(world, "ACK", false);
    alice.has_nothing(world);
    bob.respond(world, &offer, 200, &headers, SDP);
    bob.gets(world, "ACK", false);
}

#[test]
fn who_calls_or_answers_on_hold_is_on_hold_from_the_beginning() {
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    (alice.sdp, bob.sdp) = (flowing("recvonly").leak(), flowing("sendonly").leak());
    let mut pair = up_with(World::new(), alice, bob, "", "");
    assert_eq!(direction(&pair.invite), "recvonly", "bob is to send only");
    assert_eq!(direction(&pair.answer), "sendonly", "alice is to listen only");
    pair.alice.has_nothing(&mut pair.world);
    pair.bob.has_nothing(&mut pair.world);

    let (alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    bob.sdp = flowing("inactive").leak();
    let mut pair = up_with(World::new(), alice, bob, "", "");
    assert_eq!(direction(&pair.invite), "sendrecv");
    assert_eq!(direction(&pair.answer), "inactive", "bob answers on hold");
    pair.bob.sdp = SDP;
    let resumed = pair.bob.within(
        &mut pair.world,
        &mut pair.from_bob,
        "INVITE",
        SDP_TYPE,
        SDP.as_bytes(),
    );
    assert_eq!((resumed.status(), direction(&resumed)), (200, "sendrecv"));
    assert_eq!(
        direction(&pair.alice.gets(&mut pair.world, "INVITE", false)),
        "sendrecv"
    );
}

#[test]
fn a_callee_that_answers_on_hold_after_early_media_is_told_of_by_an_offer() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.register(&mut world, 7200);
    let (mut line, _) = alice.invite_with(&mut world, "bob", "");
    let invite = bob.gets(&mut world, "INVITE", false);
    let headers = format!("Contact: {}\r\n{SDP_TYPE}", bob.contact());
    bob.respond(&mut world, &invite, 183, &headers, SDP);
    bob.respond(&mut world, &invite, 200, &headers, &flowing("sendonly"));
    bob.gets(&mut world, "ACK", false);
    let answer = alice.final_response(&mut world);
    line.learn(&answer);
    alice.ack(&mut world, &line);
    assert_eq!(direction(&alice.gets(&mut world, "INVITE", false)), "sendonly");
}

#[test]
fn a_caller_that_brings_its_description_with_the_ack_may_hold_with_it() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    alice.sdp = "";
    bob.register(&mut world, 7200);
    let (mut line, _) = alice.invite_with(&mut world, "bob", "");
    let invite = bob.gets(&mut world, "INVITE", false);
    bob.pick_up(&mut world, &invite);
    bob.gets(&mut world, "ACK", false);
    let answer = alice.final_response(&mut world);
    line.learn(&answer);
    let held = flowing("sendonly");
    alice.send(&mut world, &line, "ACK", line.cseq, SDP_TYPE, held.as_bytes());
    assert_eq!(direction(&bob.gets(&mut world, "INVITE", false)), "sendonly");
}

#[test]
fn while_our_offer_is_open_theirs_is_491_and_an_update_without_one_is_not() {
    let (mut pair, offer) = held();
    let Pair {
        world, bob, from_bob, ..
    } = &mut pair;
    let glare = bob.within(world, from_bob, "INVITE", SDP_TYPE, SDP.as_bytes());
    assert_eq!(glare.status(), 491);
    let glare = bob.within(world, from_bob, "UPDATE", SDP_TYPE, SDP.as_bytes());
    assert_eq!(glare.status(), 491);
    assert_eq!(bob.within(world, from_bob, "UPDATE", "", b"").status(), 200);
    bob.takes(world, &offer, SDP);
    assert_eq!(
        bob.within(world, from_bob, "UPDATE", SDP_TYPE, SDP.as_bytes())
            .status(),
        200
    );
}

#[test]
fn their_second_offer_before_the_answer_to_the_first_is_500_and_told_when_to_come_back() {
    let mut pair = pair();
    let Pair {
        world,
        alice,
        from_alice,
        ..
    } = &mut pair;
    // An INVITE without an offer: the 200 brings ours, the ACK is to bring the answer.
    assert_eq!(alice.within(world, from_alice, "INVITE", "", b"").status(), 200);
    let invite = alice.within(world, from_alice, "INVITE", SDP_TYPE, SDP.as_bytes());
    assert_eq!(invite.status(), 491, "our offer is open");
    from_alice.cseq -= 1;
    alice.send(
        world,
        from_alice,
        "ACK",
        from_alice.cseq,
        SDP_TYPE,
        SDP.as_bytes(),
    );
    from_alice.cseq += 1;
    assert_eq!(
        alice
            .within(world, from_alice, "INVITE", SDP_TYPE, SDP.as_bytes())
            .status(),
        200
    );
    let again = alice.within(world, from_alice, "INVITE", SDP_TYPE, SDP.as_bytes());
    let seconds: u64 = again.header(Name::RetryAfter).unwrap().parse().unwrap();
    assert_eq!(again.status(), 500);
    assert!((1..=10).contains(&seconds), "{seconds}");
}

#[test]
fn nothing_is_sent_between_our_offer_and_its_ack() {
    let (mut pair, offer) = held();
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    let text = "Content-Type: text/plain\r\n";
    assert_eq!(
        alice.within(world, from_alice, "MESSAGE", text, b"wait").status(),
        202
    );
    bob.has_nothing(world);
    bob.respond(world, &offer, 100, "", "");
    bob.has_nothing(world);
    let headers = format!("Contact: {}\r\n{SDP_TYPE}", bob.contact());
    bob.respond(world, &offer, 200, &headers, SDP);
    let ack = bob.gets(world, "ACK", false);
    let message = bob.gets(world, "MESSAGE", true);
    assert!(message.cseq().unwrap().number > ack.cseq().unwrap().number);
}

#[test]
fn what_changes_while_an_offer_is_open_is_offered_once_as_it_is_then() {
    let (mut pair, offer) = held();
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    for wish in ["inactive", "sendrecv", "sendonly", "inactive"] {
        let answer = alice.within(world, from_alice, "UPDATE", SDP_TYPE, flowing(wish).as_bytes());
        assert_eq!(answer.status(), 200, "{wish}");
    }
    bob.has_nothing(world);
    bob.takes(world, &offer, &flowing("recvonly"));
    let newest = bob.gets(world, "INVITE", false);
    assert_eq!(direction(&newest), "inactive");
    bob.takes(world, &newest, &flowing("inactive"));
    bob.has_nothing(world);
}

#[test]
fn a_refused_offer_is_made_again_after_the_pause_that_the_refusal_asks_for() {
    // What is refused, and between which times after that the next offer comes, in milliseconds.
    let cases = [
        (491, "", 2100, 4000),
        (403, "", 1000, 3000),
        (500, "", 1000, 3000),
        (500, "Retry-After: 7\r\n", 7000, 7000),
        (488, "", 0, 0),
    ];
    for (status, header, first, last) in cases {
        let (mut pair, offer) = held();
        let Pair { world, bob, .. } = &mut pair;
        bob.respond(world, &offer, status, header, "");
        bob.gets(world, "ACK", false);
        if first == 0 {
            world.advance(Duration::from_secs(60));
            bob.has_nothing(world);
            assert_eq!(world.engine.gauges().dialogs, 2, "{status} ends no call");
            continue;
        }
        world.advance(Duration::from_millis(first - 1));
        bob.has_nothing(world);
        world.advance(Duration::from_millis(last - first + 1));
        let again = bob.gets(world, "INVITE", false);
        assert!(
            again.cseq().unwrap().number > offer.cseq().unwrap().number,
            "{status}"
        );
        assert_eq!(direction(&again), "sendonly", "{status}");
    }
}

#[test]
fn a_peer_that_refuses_for_ever_is_left_in_peace_and_keeps_its_call() {
    let (mut pair, mut offer) = held();
    let Pair { world, bob, .. } = &mut pair;
    let mut offers = 1;
    loop {
        bob.respond(world, &offer, 491, "", "");
        bob.gets(world, "ACK", false);
        world.advance(Duration::from_secs(5));
        bob.listen(world);
        if bob.inbox.is_empty() {
            break;
        }
        offer = bob.gets(world, "INVITE", false);
        bob.inbox.clear(); // its repeats
        offers += 1;
        assert!(offers < 50, "it never ends");
    }
    assert_eq!(offers, 11);
    assert_eq!(world.engine.gauges().dialogs, 2);
}

#[test]
fn a_peer_whose_dialog_is_gone_ends_the_call_and_so_does_silence() {
    for status in [481, 408, 0] {
        let (mut pair, offer) = held();
        let Pair {
            world, alice, bob, ..
        } = &mut pair;
        if status == 0 {
            world.advance(Duration::from_secs(33));
            bob.listen(world);
            bob.inbox
                .retain(|delivery| delivery.message.method_text() == "BYE");
        } else {
            bob.respond(world, &offer, status, "", "");
            bob.gets(world, "ACK", false);
        }
        let bye = bob.gets(world, "BYE", true);
        assert!(bye.header(Name::Reason).is_some(), "{status}");
        alice.gets(world, "BYE", true);
        pair.is_gone();
    }
}

#[test]
fn an_offer_that_is_only_thought_about_is_taken_back() {
    let (mut pair, offer) = held();
    let Pair { world, bob, .. } = &mut pair;
    bob.respond(world, &offer, 100, "", "");
    world.advance(Duration::from_secs(31));
    bob.has_nothing(world);
    world.advance(Duration::from_secs(1));
    let cancel = bob.gets(world, "CANCEL", true);
    assert_eq!(cancel.cseq().unwrap().number, offer.cseq().unwrap().number);
    bob.respond(world, &offer, 487, "", "");
    bob.gets(world, "ACK", false);
    assert_eq!(world.engine.gauges().dialogs, 2, "the call goes on as it was");
}

#[test]
fn a_side_that_hangs_up_in_the_middle_of_an_offer_ends_the_call_and_the_bye_follows_the_ack() {
    for status in [200, 491, 0] {
        let (mut pair, offer) = held();
        let Pair {
            world,
            alice,
            bob,
            from_alice,
            ..
        } = &mut pair;
        assert_eq!(alice.within(world, from_alice, "BYE", "", b"").status(), 200);
        bob.has_nothing(world);
        match status {
            0 => world.advance(Duration::from_secs(4)),
            200 => {
                bob.takes(world, &offer, SDP);
            }
            _ => {
                bob.respond(world, &offer, status, "", "");
                bob.gets(world, "ACK", false);
            }
        }
        bob.listen(world);
        bob.inbox
            .retain(|delivery| delivery.message.method_text() != "INVITE");
        bob.gets(world, "BYE", true);
        bob.has_nothing(world);
        if status == 0 {
            // What comes after all gets its ACK.
            bob.takes(world, &offer, SDP);
        }
        bob.has_nothing(world);
        pair.is_gone();
    }
}

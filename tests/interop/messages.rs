//! Messages with the real binary: what happens in a conference is told in its calls, and what was accepted for
//! one who is away survives kill -9.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use cordboard_tests::client::{Message, Phone};
use cordboard_tests::switch::Lab;
use serde_json::Value;

use crate::{SOON, long, turn};

const EVENT: &str = "application/x-asterisk-confbridge-event+json";
const TOLD: &str = "\n[[conference]]\nid = \"c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1\"\nname = \"Told\"\n\
     conference_numbers = [\"3100\"]\nmoderator = { numbers = [\"3101\"], pins = [\"1234\"] }\nvideo = \"none\"\n\
     send_events = true\n";

fn event(message: &Message) -> Option<Value> {
    (message.method() == "MESSAGE" && message.header("Content-Type") == Some(EVENT))
        .then(|| serde_json::from_slice(&message.body).expect("an event is JSON"))
}

/// Waits for an event of this type, with this talking status where one is given.
fn wait(phone: &Phone, kind: &str, talking: Option<&str>) -> Value {
    let wanted = |message: &Message| {
        event(message).is_some_and(|event| {
            event["type"] == kind
                && talking.is_none_or(|status| event["channels"][0]["talking_status"] == status)
        })
    };
    let heard = phone.wait(SOON, wanted);
    let heard = heard.unwrap_or_else(|| panic!("{kind} {talking:?} comes"));
    event(&heard.message).expect("it was wanted for that")
}

#[test]
fn who_comes_talks_and_goes_is_told_in_the_calls() {
    let _turn = turn();
    let switch = Lab::new().also(TOLD).start();
    let (alice, bob) = (switch.phone("alice"), switch.phone("bob"));
    let first = alice.call("3101*1234");
    let start = wait(&alice, "ConfbridgeStart", None);
    assert_eq!(start["bridge"]["id"], "c1c1c1c1-c1c1-c1c1-c1c1-c1c1c1c1c1c1");
    assert_eq!(start["bridge"]["name"], "Told");
    let second = bob.call("3100");
    let join = wait(&alice, "ConfbridgeJoin", None);
    let welcome = wait(&bob, "ConfbridgeWelcome", None);
    let ids: Vec<_> = welcome["channels"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|channel| (channel["protocol_id"].as_str(), channel["admin"].as_bool()))
        .collect();
    assert_eq!(
        ids,
        [(Some(first.id()), Some(true)), (Some(second.id()), Some(false))]
    );
    assert_eq!(join["channels"][0], welcome["channels"][1]);
    second.rtp.play(440.0);
    let on = wait(&alice, "ConfbridgeTalking", Some("on"));
    assert_eq!(on["channels"][0]["id"], join["channels"][0]["id"]);
    second.rtp.play(0.0);
    wait(&alice, "ConfbridgeTalking", Some("off"));
    assert_eq!(second.hang_up().expect("answered").code(), Some(200));
    let leave = wait(&alice, "ConfbridgeLeave", None);
    assert_eq!(leave["channels"][0]["protocol_id"], second.id());
}

/// Sends a message to bob until it is accepted as kept; whether it may have been accepted before under
/// another Call-ID, unheard.
fn send(phone: &Phone, body: &str) -> bool {
    let headers = [("Content-Type", "text/plain;charset=utf-8")];
    let mut unheard = false;
    for _ in 0..10 {
        match phone.request("MESSAGE", "sip:bob@lab.test", &headers, body.as_bytes()) {
            Ok(answer) if answer.code() == Some(202) => return unheard,
            // The proof was for the switch of before the kill, which may have accepted it all the same.
            Ok(answer) => {
                assert_eq!(answer.code(), Some(401), "{}", answer.start);
                unheard = true;
            }
            Err(_) => unheard = true,
        }
    }
    panic!("{body} is never accepted");
}

/// What a phone has been sent: body, Call-ID and id, in order.
fn received(phone: &Phone) -> Vec<(String, String, String)> {
    let heard = phone.heard(|message| message.code().is_none() && message.method() == "MESSAGE");
    let read = |message: Message| {
        (
            String::from_utf8_lossy(&message.body).into_owned(),
            message.call_id().to_owned(),
            message.header("Message-ID").unwrap_or_default().to_owned(),
        )
    };
    heard.into_iter().map(|heard| read(heard.message)).collect()
}

#[test]
fn what_was_accepted_survives_kill_9_comes_in_order_and_repeats_under_its_own_id() {
    const EACH: usize = 12;
    let _turn = turn();
    let mut switch = Lab::new().start();
    let alice = switch.phone("alice");
    for round in 0..if long() { 200 } else { 2 } {
        // The kill comes while she writes: she repeats what she has no answer to.
        let accepted = AtomicUsize::new(0);
        let twice: Vec<String> = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut twice = Vec::new();
                for body in (0..EACH).map(|number| format!("{round}.{number:02}")) {
                    if send(&alice, &body) {
                        twice.push(body);
                    }
                    accepted.fetch_add(1, Ordering::Release);
                }
                twice
            });
            let enough = 1 + round % (EACH - 1);
            let reached = || (accepted.load(Ordering::Acquire) >= enough).then_some(());
            cordboard_tests::until(SOON, reached).expect("some are accepted");
            switch.kill();
            switch.run();
            writing.join().expect("she writes to the end")
        });
        // At first he gives no answer; the switch ends; then he does.
        let bob = switch.phone("bob");
        bob.answer_messages_with(0);
        assert_eq!(bob.register(600).expect("answered").code(), Some(200));
        let first = || (!received(&bob).is_empty()).then_some(());
        cordboard_tests::until(SOON, first).expect("the first comes");
        switch.kill();
        bob.answer_messages_with(200);
        switch.run();
        let wanted: Vec<String> = (0..EACH).map(|number| format!("{round}.{number:02}")).collect();
        let all = || {
            let last = wanted.last().expect("there are some");
            received(&bob).iter().any(|(body, ..)| body == last).then_some(())
        };
        cordboard_tests::until(SOON, all).expect("all come");
        let came = received(&bob);
        let mut bodies: Vec<&str> = came.iter().map(|(body, ..)| body.as_str()).collect();
        bodies.dedup();
        assert_eq!(bodies, wanted, "in order, none missing");
        let mut ids: HashMap<&str, (&str, &str)> = HashMap::new();
        for (body, call_id, id) in &came {
            assert_eq!(id.len(), 32);
            if twice.contains(body) {
                continue;
            }
            let known = *ids.entry(body).or_insert((call_id, id));
            assert_eq!(known, (call_id.as_str(), id.as_str()), "{body}");
        }
        assert!(came.len() > EACH, "the first came again");
        assert_eq!(bob.register(0).expect("answered").code(), Some(200));
    }
}

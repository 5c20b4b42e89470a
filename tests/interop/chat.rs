//! Chat over real WebSockets, with callers beside, and across kill -9.

use std::collections::BTreeSet;
use std::time::Duration;

use cordboard_tests::client::Note;
use cordboard_tests::client::meeting::{Heard, Meeting, start, start_invited};
use cordboard_tests::http;
use cordboard_tests::switch::{Lab, Switch};
use serde_json::{Value, json};

use crate::{SOON, long, turn};

const ROOM: &str = "c0c0c0c0-c0c0-c0c0-c0c0-c0c0c0c0c0c0";
const INVITATION: &str = "0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21";

fn user(switch: &Switch, name: &str, body: &Value) -> Meeting {
    let answer = start(switch.http(), ROOM, &format!("{name}-token"), body).expect("an answer");
    assert_eq!(answer.code, 200, "{}", answer.body);
    Meeting::connect(switch.http(), &answer).expect("the ticket opens the WebSocket")
}

pub(crate) fn joined(switch: &Switch, name: &str) -> Meeting {
    let mut client = user(switch, name, &json!({}));
    client.join(name).expect("let in");
    client
}

pub(crate) fn guest(switch: &Switch) -> Meeting {
    let body = json!({ "invite_code": INVITATION });
    let answer = start_invited(switch.http(), ROOM, &body).expect("an answer");
    assert_eq!(answer.code, 200, "{}", answer.body);
    Meeting::connect(switch.http(), &answer).expect("the ticket opens the WebSocket")
}

pub(crate) fn texts(history: &Value) -> Vec<String> {
    let messages = history.as_array().expect("a history");
    let text = |message: &Value| message["content"].as_str().unwrap_or_default().to_owned();
    messages.iter().map(text).collect()
}

/// The text of the next message that a client is told of.
pub(crate) fn hears(client: &mut Meeting) -> Option<String> {
    let frame = client.event(SOON, "message_sent")?;
    frame["payload"]["content"].as_str().map(str::to_owned)
}

#[test]
fn two_users_a_guest_and_a_phone_talk_in_one_room() {
    let switch = Lab::new().start();
    let (mut alice, mut bob) = (joined(&switch, "alice"), joined(&switch, "bob"));
    let carol = switch.phone("carol");
    let call = carol.call("3000");
    let joined = alice.event(SOON, "joined").expect("bob");
    assert_eq!(joined["payload"]["control"]["display_name"], "bob");
    let joined = alice.event(SOON, "joined").expect("carol's phone");
    assert_eq!(joined["payload"]["control"]["participation_kind"], "sip");
    alice.write("hello from the web").expect("sent");
    assert_eq!(
        hears(&mut alice).as_deref(),
        Some("hello from the web"),
        "the echo"
    );
    assert_eq!(hears(&mut bob).as_deref(), Some("hello from the web"));
    let message = call
        .wait_request(SOON, "MESSAGE")
        .expect("the phone gets it")
        .message;
    assert_eq!(message.body, b"hello from the web");
    let answer = call.send(&Note::text("hello from the phone")).expect("answered");
    assert_eq!(answer.code(), Some(202));
    assert_eq!(hears(&mut alice).as_deref(), Some("hello from the phone"));
    assert_eq!(hears(&mut bob).as_deref(), Some("hello from the phone"));
    let mut gus = guest(&switch);
    let success = gus.join("Gus").expect("let in");
    assert_eq!(
        texts(&success["chat"]["room_history"]),
        ["hello from the web", "hello from the phone"]
    );
    let id = joined["payload"]["id"].clone();
    alice
        .say("moderation", json!({ "action": "kick", "target": id }))
        .expect("sent");
    assert!(call.wait_request(SOON, "BYE").is_some(), "kicked");
    let metrics = switch.metrics();
    assert_eq!(http::metric(&metrics, "cordboard_chat_connections", &[]), 3.0);
    assert_eq!(
        http::metric(&metrics, "cordboard_messages_total", &["\"chat\"", "accepted"]),
        2.0
    );
    bob.close();
    gus.close();
    let left = alice.event(SOON, "left").expect("carol");
    assert_eq!(left["payload"]["reason"], "kicked");
    assert_eq!(
        alice.event(SOON, "left").expect("somebody")["payload"]["reason"],
        "quit"
    );
}

#[test]
fn tickets_and_handshakes_are_refused_in_the_form_that_clients_know() {
    let switch = Lab::new().start();
    let refused = start(switch.http(), ROOM, "nobodys", &json!({})).expect("an answer");
    assert_eq!(refused.code, 401);
    assert!(
        refused
            .head
            .to_ascii_lowercase()
            .contains("text/json; charset=utf-8"),
        "{}",
        refused.head
    );
    let body: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(body["code"], "unauthorized");
    let refused = start_invited(switch.http(), ROOM, &json!({ "invite_code": "x" })).expect("an answer");
    assert_eq!(refused.code, 422, "{}", refused.body);
    let plain = http::get(switch.http(), "/signaling").expect("an answer");
    let body: Value = serde_json::from_str(&plain.body).expect("JSON");
    assert_eq!(
        (plain.code, body["code"].as_str()),
        (400, Some("missing_protocol"))
    );
    let answer = start(switch.http(), ROOM, "alice-token", &json!({})).expect("an answer");
    let first = Meeting::connect(switch.http(), &answer).expect("once");
    assert!(
        Meeting::connect(switch.http(), &answer).is_err(),
        "a ticket is good once"
    );
    drop(first);
}

#[test]
fn large_frames_are_read_below_a_million_bytes_and_end_the_connection_above() {
    let switch = Lab::new().start();
    let mut alice = joined(&switch, "alice");
    let large = |length: usize| "x".repeat(length);
    alice.write(&large(900_000)).expect("sent");
    assert_eq!(hears(&mut alice).map(|text| text.len()), Some(4096));
    alice.write(&large(1_000_000)).expect("sent");
    let ended = loop {
        match alice.next(SOON) {
            Some(Heard::Frame(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended, Some(Heard::Closed(1009)));
}

#[test]
fn sigterm_closes_chats_with_1001() {
    let mut switch = Lab::new().start();
    let mut alice = joined(&switch, "alice");
    switch
        .process()
        .signal(nix::sys::signal::Signal::SIGTERM)
        .expect("it runs");
    assert_eq!(alice.next(SOON), Some(Heard::Closed(1001)));
    let status = switch.process().wait(SOON);
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

#[test]
fn kill_9_under_load_loses_no_acknowledged_message_and_doubles_none() {
    let _turn = turn();
    let mut switch = Lab::new().also("[messages]\nrate = 0\n").start();
    let mut alice = joined(&switch, "alice");
    let mut bob = joined(&switch, "bob");
    let mut acknowledged = BTreeSet::new();
    let mut seen_by_bob = BTreeSet::new();
    for round in 0..if long() { 200 } else { 3 } {
        for n in 0..40 {
            alice.write(&format!("{round}.{n}")).expect("sent");
        }
        // The kill comes in the middle of the acknowledgements.
        let take = 5 + round % 30;
        for _ in 0..take {
            let frame = alice.event(SOON, "message_sent").expect("acknowledged");
            acknowledged.insert(frame["payload"]["id"].to_string());
        }
        switch.kill();
        for (client, ids) in [(&mut alice, &mut acknowledged), (&mut bob, &mut seen_by_bob)] {
            while let Some(Heard::Frame(frame)) = client.next(Duration::from_secs(5)) {
                if frame["payload"]["message"] == "message_sent" {
                    let id = frame["payload"]["id"].to_string();
                    assert!(ids.insert(id), "told once");
                }
            }
        }
        switch.run();
        let resume = |client: &Meeting| json!({ "resumption": client.resumption });
        let mut again = [
            user(&switch, "alice", &resume(&alice)),
            user(&switch, "bob", &resume(&bob)),
        ];
        for (client, old) in again.iter_mut().zip([&alice, &bob]) {
            let success = client.join("somebody").expect("let in");
            assert_eq!(client.id, old.id, "who it was");
            let history = success["chat"]["room_history"].as_array().expect("a history");
            let ids: Vec<String> = history.iter().map(|message| message["id"].to_string()).collect();
            let all: BTreeSet<String> = ids.iter().cloned().collect();
            assert_eq!(all.len(), ids.len(), "none twice");
            for told in [&acknowledged, &seen_by_bob] {
                let lost: Vec<_> = told.difference(&all).collect();
                assert!(lost.is_empty(), "round {round}: told of and not kept: {lost:?}");
            }
            // What was kept and not told before the kill is known now.
            if client.id == alice.id {
                acknowledged.extend(all);
            } else {
                seen_by_bob.extend(all);
            }
        }
        [alice, bob] = again;
    }
}

#[test]
fn a_late_joiner_reads_everything_once_while_messages_flow() {
    let _turn = turn();
    let switch = Lab::new().also("[messages]\nrate = 0\n").start();
    let mut alice = joined(&switch, "alice");
    let writer = std::thread::spawn(move || {
        for n in 0..600 {
            alice.write(&n.to_string()).expect("sent");
            std::thread::sleep(Duration::from_millis(5));
        }
        alice
    });
    std::thread::sleep(Duration::from_millis(500));
    let mut gus = guest(&switch);
    let success = gus.join("Gus").expect("let in");
    let mut all = texts(&success["chat"]["room_history"]);
    assert!(!all.is_empty() && all.len() < 600, "in the middle: {}", all.len());
    while all.len() < 600 {
        all.push(hears(&mut gus).expect("the rest comes"));
    }
    let wanted: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    assert_eq!(all, wanted, "nothing missing, nothing twice, in order");
    writer.join().expect("alice wrote all");
}

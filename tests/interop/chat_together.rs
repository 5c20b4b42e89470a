//! One conference, four kinds of clients: a phone, two on the chat WebSocket, a browser with JsSIP. And one more who
//! comes late, while messages flow.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cordboard_tests::client::meeting::Meeting;
use cordboard_tests::client::{Message, Note};
use cordboard_tests::switch::Lab;
use serde_json::{Value, json};

use crate::browser::{Chromium, Participant, Stack};
use crate::chat::{guest, hears, joined, texts};
use crate::{SOON, turn};

/// A type of an application's own that chat can read.
const JSON: &str = "application/x-lab-chat+json";
const TEXT: &str = "text/plain;charset=utf-8";
/// Messages of the flow, and the pause between two: 200 a second.
const FLOW: usize = 600;
const PAUSE: Duration = Duration::from_millis(5);

fn says(message: &Message, text: &str) -> bool {
    message.body == text.as_bytes()
}

/// The numbers of the flow among these texts, in the order in which they came.
fn numbers<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<usize> {
    let number = |text: &str| text.strip_prefix("flow ").and_then(|rest| rest.parse().ok());
    texts.filter_map(number).collect()
}

/// Reads until the last number of the flow is there.
fn rest_of_flow(client: &mut Meeting, mut seen: Vec<usize>) -> Vec<usize> {
    while seen.len() < FLOW {
        let text = hears(client).expect("the rest comes");
        seen.extend(numbers(std::iter::once(text.as_str())));
    }
    seen
}

#[test]
fn a_phone_two_chat_clients_and_a_browser_all_talk_and_a_late_joiner_misses_nothing() {
    let _turn = turn();
    let switch = Lab::new().video().also("[messages]\nrate = 0\n").start();
    let (mut alice, mut gus) = (joined(&switch, "alice"), guest(&switch));
    gus.join("Gus").expect("let in");
    let phone = switch.phone("bob");
    let bob = phone.call("3000");
    let mut chromium = Chromium::start();
    chromium.join(
        &switch,
        Participant {
            user: "carol",
            stack: Stack::JsSip,
            number: Some("3000"),
            hertz: 440.0,
            secure: false,
        },
    );
    chromium.until("carol", "state()", |state| state["connection"] == "connected");

    // From each to all others, as each of them reads it.
    for (client, name) in [(&mut alice, "alice"), (&mut gus, "Gus")] {
        let text = format!("{name} to all \u{2603}");
        client.write(&text).expect("sent");
        hears_at_last(client, &text); // the echo
        let got = bob
            .wait_message(SOON, |message| says(message, &text))
            .expect("the phone");
        assert_eq!(got.message.header("Content-Type"), Some(TEXT));
        chromium.is_told("carol", name, TEXT, &text);
    }
    let answer = bob.send(&Note::text("phone to all")).expect("answered");
    assert_eq!(answer.code(), Some(202));
    chromium.is_told("carol", "Bob", "text/plain", "phone to all");
    let body = "{\"From\":\"Carol\",\"Body\":\"browser to all\"}";
    assert_eq!(chromium.say("carol", JSON, body), 202);
    bob.wait_message(SOON, |message| says(message, body))
        .expect("the phone, as it was");
    for client in [&mut alice, &mut gus] {
        let mut heard = BTreeSet::new();
        while !(heard.contains("phone to all") && heard.contains("browser to all")) {
            heard.insert(hears(client).expect("both"));
        }
    }
    private(&mut alice, &mut gus);

    // 200 a second for all of them, and one who comes in the middle.
    let writer = std::thread::spawn(move || {
        let begun = Instant::now();
        for n in 0..FLOW {
            alice.write(&format!("flow {n}")).expect("sent");
            let due = begun + PAUSE * u32::try_from(n).unwrap_or_default();
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        alice
    });
    std::thread::sleep(PAUSE * 200);
    let mut late = guest(&switch);
    let success = late.join("Late").expect("let in");
    let history = texts(&success["chat"]["room_history"]);
    let before = numbers(history.iter().map(String::as_str));
    assert!(
        !before.is_empty() && before.len() < FLOW,
        "in the middle: {}",
        before.len()
    );
    let all: Vec<usize> = (0..FLOW).collect();
    assert_eq!(rest_of_flow(&mut late, before), all, "once each, in order");
    assert_eq!(rest_of_flow(&mut gus, Vec::new()), all);
    writer.join().expect("alice wrote all");
    let last = format!("flow {}", FLOW - 1);
    bob.wait_message(SOON, |message| says(message, &last))
        .expect("the phone has the last");
    let got = bob.messages();
    let bodies: Vec<String> = got
        .iter()
        .map(|message| String::from_utf8_lossy(&message.message.body).into_owned())
        .collect();
    assert_eq!(numbers(bodies.iter().map(String::as_str)), all);
    // The browser has written JSON, so it is written to in JSON.
    let wanted = json!({ "From": "alice", "Body": last }).to_string();
    chromium.is_told("carol", "alice", JSON, &wanted);
    let told = chromium.run("carol", "messages");
    let bodies = told.as_array().expect("a list").iter().filter_map(|message| {
        let body: Value = serde_json::from_str(message["body"].as_str()?).ok()?;
        body["Body"].as_str().map(str::to_owned)
    });
    let bodies: Vec<String> = bodies.collect();
    assert_eq!(numbers(bodies.iter().map(String::as_str)), all);
}

/// Reads on until a client is told this text.
fn hears_at_last(client: &mut Meeting, text: &str) {
    while hears(client).unwrap_or_else(|| panic!("{text:?} comes")) != text {}
}

/// A private message each way, and to nobody else.
fn private(alice: &mut Meeting, gus: &mut Meeting) {
    let (to_gus, to_alice) = (gus.id.clone(), alice.id.clone());
    for (from, to, target) in [(true, "psst", to_gus), (false, "yes?", to_alice)] {
        let (sender, receiver) = if from {
            (&mut *alice, &mut *gus)
        } else {
            (&mut *gus, &mut *alice)
        };
        let command =
            json!({ "action": "send_message", "scope": "private", "target": target, "content": to });
        sender.say("chat", command).expect("sent");
        for client in [sender, receiver] {
            hears_at_last(client, to);
        }
    }
}

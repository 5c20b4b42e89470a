//! Messages inside a conference call, as people's clients send them.

use std::time::Duration;

use cordboard_tests::client::{Call, Message, Note, Phone, display_name, parameter, uri};
use cordboard_tests::http::metric;
use cordboard_tests::switch::{Lab, Switch};

use crate::{SOON, turn};

const TYPE: &str = "application/x-myphone-confbridge-chat+json";
const NAME: &str = "Ännä \"Q\" ☃";

/// Three phones in the conference.
fn three(switch: &Switch) -> ([Phone; 3], [Call; 3]) {
    let phones = ["alice", "bob", "carol"].map(|user| switch.phone(user));
    let calls = phones.each_ref().map(|phone| phone.call("3000"));
    (phones, calls)
}

/// Sends and expects 202; then the copy at each of the two others.
fn relayed(calls: &[Call; 3], note: &Note<'_>) -> [Message; 2] {
    let answer = calls[0].send(note).expect("answered");
    assert_eq!(answer.code(), Some(202), "{}", answer.start);
    [1, 2].map(|n| {
        let same = |m: &Message| m.body == note.body;
        let got = calls[n]
            .wait_message(SOON, same)
            .unwrap_or_else(|| panic!("leg {n} got no copy: {:?}", calls[n].messages()));
        got.message
    })
}

#[test]
fn a_message_reaches_the_others_byte_for_byte_with_its_display_name() {
    let _turn = turn();
    let switch = Lab::new().start();
    let (_phones, calls) = three(&switch);
    let body = "{\"Body\":\"grüße \\u2603 \\\"x\\\"\",\"n\":[1,2]}\r\n\0tail".as_bytes();
    let note = Note {
        content_type: Some(TYPE),
        display_name: Some(NAME),
        headers: &[
            ("Subject", "hello"),
            ("X-Secret", "mine"),
            ("P-Asserted-Identity", "<sip:alice@lab.test>"),
        ],
        body,
    };
    let copies = relayed(&calls, &note);
    for copy in &copies {
        let from = copy.header("From").expect("From");
        assert_eq!(display_name(from), NAME, "{from}");
        assert!(
            !uri(from).contains("alice"),
            "nothing but the display name tells who it was: {from}"
        );
        assert_eq!(copy.header("Content-Type"), Some(TYPE));
        assert_eq!(copy.header("Subject"), Some("hello"));
        assert!(
            copy.header("X-Secret").is_none() && copy.header("P-Asserted-Identity").is_none(),
            "{copy:?}"
        );
        let text = String::from_utf8_lossy(&copy.bytes()).into_owned();
        assert!(
            !text.contains("alice"),
            "no trace of the sender's address:\n{text}"
        );
    }
    let tags = copies.each_ref().map(|c| {
        c.header("From")
            .and_then(|f| parameter(f, "tag"))
            .map(str::to_owned)
    });
    assert_ne!(tags[0], tags[1], "each copy goes in its own dialog");
    assert!(calls[0].messages().is_empty(), "the sender gets no copy");
    let text = switch.metrics();
    assert!(
        metric(
            &text,
            "cordboard_relay_latency_seconds_count",
            &["media=\"message\""]
        ) > 0.0,
        "{text}"
    );
}

#[test]
fn content_types_are_kept_as_sent_and_the_name_of_the_call_stands_in() {
    let _turn = turn();
    let switch = Lab::new().start();
    let (_phones, calls) = three(&switch);
    for (n, content_type) in [
        "text/plain;charset=utf-8",
        "text/html",
        "application/json",
        "message/cpim",
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!("message {n}");
        let note = Note {
            content_type: Some(content_type),
            body: body.as_bytes(),
            ..Note::default()
        };
        for copy in relayed(&calls, &note) {
            assert_eq!(copy.header("Content-Type"), Some(content_type));
        }
    }
    let big = "x".repeat(60_000);
    let [copy, _] = relayed(&calls, &Note::text(&big));
    assert_eq!(copy.body.len(), 60_000);
}

#[test]
fn what_cannot_be_relayed_is_refused_with_its_own_status() {
    let _turn = turn();
    let switch = Lab::new().start();
    let (_phones, calls) = three(&switch);
    let send = |note: &Note<'_>| calls[0].send(note).expect("answered");
    let picture = send(&Note {
        content_type: Some("image/png"),
        body: b"x",
        ..Note::default()
    });
    assert_eq!(picture.code(), Some(415), "{}", picture.start);
    assert!(
        picture.header("Accept").is_some_and(|a| a.contains("text/*")),
        "{picture:?}"
    );
    assert_eq!(
        send(&Note {
            content_type: None,
            body: b"x",
            ..Note::default()
        })
        .code(),
        Some(415)
    );
    assert_eq!(send(&Note::text("")).code(), Some(415));
    let old = calls[0]
        .send_with_old_cseq(&Note::text("late"))
        .expect("answered");
    assert_eq!(old.code(), Some(500), "{}", old.start);
    assert_eq!(
        relayed(&calls, &Note::text("the call goes on"))[0].body,
        b"the call goes on"
    );
    assert_eq!(
        calls[1].messages().len(),
        1,
        "nothing of the refused came through"
    );
}

#[test]
fn an_order_of_messages_is_the_same_for_all_and_each_comes_once() {
    let _turn = turn();
    let switch = Lab::new().start();
    let (_phones, calls) = three(&switch);
    std::thread::scope(|scope| {
        for call in &calls[..2] {
            scope.spawn(move || {
                for n in 0..20 {
                    let body = format!("{} {n}", call.id());
                    let answer = call.send(&Note::text(&body)).expect("answered");
                    assert_eq!(answer.code(), Some(202), "{}", answer.start);
                }
            });
        }
    });
    let bodies = |call: &Call| {
        call.messages()
            .into_iter()
            .map(|h| h.message.body)
            .collect::<Vec<_>>()
    };
    cordboard_tests::until(SOON, || (bodies(&calls[2]).len() >= 40).then_some(())).expect("all at carol");
    let at_carol = bodies(&calls[2]);
    assert_eq!(at_carol.len(), 40);
    for n in [0, 1] {
        cordboard_tests::until(SOON, || (bodies(&calls[n]).len() >= 20).then_some(())).expect("the other's");
        let others: Vec<_> = at_carol
            .iter()
            .filter(|b| !b.starts_with(calls[n].id().as_bytes()))
            .cloned()
            .collect();
        assert_eq!(
            bodies(&calls[n]),
            others,
            "leg {n} has the other's in the order that carol has"
        );
    }
}

#[test]
fn a_leg_that_is_silent_or_refuses_keeps_nobody_waiting_and_keeps_its_call() {
    let _turn = turn();
    let switch = Lab::new().start();
    let (phones, calls) = three(&switch);
    phones[1].answer_messages_with(0);
    let [_, copy] = relayed(&calls, &Note::text("one"));
    assert_eq!(copy.body, b"one");
    phones[1].answer_messages_with(486);
    relayed(&calls, &Note::text("two"));
    phones[1].answer_messages_with(405);
    relayed(&calls, &Note::text("three"));
    assert!(
        calls[1].wait_request(Duration::from_millis(500), "BYE").is_none(),
        "the call goes on"
    );
    assert_eq!(
        calls[1].send(&Note::text("still here")).expect("answered").code(),
        Some(202)
    );
}

#[test]
fn after_the_call_there_is_no_dialog() {
    let switch = Lab::new().start();
    let alice = switch.phone("alice");
    let call = alice.call("3000");
    assert_eq!(
        call.send(&Note::text("alone")).expect("answered").code(),
        Some(202),
        "nobody else is there"
    );
    assert_eq!(call.hang_up().expect("answered").code(), Some(200));
    assert_eq!(
        call.send(&Note::text("too late")).expect("answered").code(),
        Some(481)
    );
}

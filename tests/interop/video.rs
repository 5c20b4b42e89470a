//! Browsers and phones in one conference.

use std::time::Duration;

use cordboard_tests::switch::{Lab, Switch};
use cordboard_tests::tone::peak_level;

use crate::baresip::Baresip;
use crate::browser::{Chromium, Participant, Stack};
use crate::turn;

/// Who sends which tone. None is a multiple of another.
const TONES: [(&str, f64); 4] = [
    ("alice", 440.0),
    ("bob", 620.0),
    ("carol", 1_010.0),
    ("dave", 1_370.0),
];
/// A type of its own, as applications make them up.
const JSON: &str = "application/x-lab-chat+json";

fn participant(place: usize, stack: Stack) -> Participant<'static> {
    let (user, hertz) = TONES[place];
    Participant {
        user,
        stack,
        number: Some("3000"),
        hertz,
        secure: false,
    }
}

/// A switch whose conference shows everybody to everybody.
fn lab() -> Switch {
    Lab::new().secure().video().start()
}

/// Everybody sees and hears the others and not itself.
fn all_meet(chromium: &mut Chromium, places: &[usize]) {
    for place in places {
        let (page, own) = TONES[*place];
        let others: Vec<f64> = places
            .iter()
            .filter(|other| *other != place)
            .map(|other| TONES[*other].1)
            .collect();
        chromium.sees(page, others.len());
        chromium.hears(page, &others, &[own]);
    }
}

#[test]
fn four_browsers_meet_and_come_and_go() {
    let _turn = turn();
    let switch = lab();
    let mut chromium = Chromium::start();
    let stacks = [Stack::JsSip, Stack::JsSip, Stack::OldJsSip, Stack::JsSip];
    for (place, stack) in stacks.into_iter().enumerate() {
        let secure = place == 1;
        chromium.join(
            &switch,
            Participant {
                secure,
                ..participant(place, stack)
            },
        );
    }
    all_meet(&mut chromium, &[0, 1, 2, 3]);
    for (page, _) in TONES {
        chromium.shows(page, 3);
    }

    // Messages of a type of the page's own, both ways, between the old JsSIP and the new one.
    assert_eq!(chromium.say("carol", JSON, "{\"a\":\"ü\"}"), 202);
    chromium.is_told("alice", "Carol", JSON, "{\"a\":\"ü\"}");
    assert_eq!(chromium.say("alice", JSON, "[2]"), 202);
    chromium.is_told("carol", "Alice", JSON, "[2]");

    // One leaves: its views go. It comes back: there are new ones.
    chromium.run("bob", "leave()");
    all_meet(&mut chromium, &[0, 2, 3]);
    chromium.reload("bob");
    chromium.call(&switch, participant(1, Stack::JsSip));
    all_meet(&mut chromium, &[0, 1, 2, 3]);

    // One mutes itself.
    chromium.run("dave", "silence(true)");
    chromium.hears("alice", &[TONES[1].1, TONES[2].1], &[TONES[0].1, TONES[3].1]);
    chromium.run("dave", "silence(false)");
    all_meet(&mut chromium, &[0, 1, 2, 3]);
}

#[test]
fn a_page_that_is_reloaded_in_the_middle_of_its_call_comes_back() {
    let _turn = turn();
    let switch = lab();
    let mut chromium = Chromium::start();
    chromium.join(&switch, participant(0, Stack::JsSip));
    chromium.join(&switch, participant(1, Stack::JsSip));
    all_meet(&mut chromium, &[0, 1]);
    // The former call says no good-bye: what is left of it ends when nobody is there any more.
    chromium.reload("bob");
    chromium.call(&switch, participant(1, Stack::JsSip));
    all_meet(&mut chromium, &[0, 1]);
}

#[test]
fn a_phone_among_browsers_hears_and_is_heard() {
    let _turn = turn();
    let switch = lab();
    let mut chromium = Chromium::start();
    chromium.join(&switch, participant(0, Stack::JsSip));
    chromium.join(&switch, participant(1, Stack::JsSip));
    all_meet(&mut chromium, &[0, 1]);
    let mut phone = Baresip::call(&switch, "carol", "3000", 1_010.0, 12);
    chromium.hears("alice", &[620.0, 1_010.0], &[440.0]);
    chromium.hears("bob", &[440.0, 1_010.0], &[620.0]);
    chromium.sees("alice", 1);
    let samples = phone.recording(Duration::from_secs(40));
    let heard = |hertz| peak_level(&samples, hertz);
    assert!(
        heard(440.0) > 0.05 && heard(620.0) > 0.05,
        "{} {}",
        heard(440.0),
        heard(620.0)
    );
    assert!(heard(1_010.0) < 0.01, "{}", heard(1_010.0));
}

#[test]
fn sip_js_meets_jssip() {
    let _turn = turn();
    let switch = lab();
    let mut chromium = Chromium::start();
    chromium.join(&switch, participant(0, Stack::SipJs));
    chromium.join(&switch, participant(1, Stack::SipJs));
    chromium.join(&switch, participant(2, Stack::JsSip));
    all_meet(&mut chromium, &[0, 1, 2]);
    assert_eq!(chromium.say("alice", JSON, "{}"), 202);
    chromium.is_told("bob", "Alice", JSON, "{}");
    chromium.is_told("carol", "Alice", JSON, "{}");
    chromium.run("bob", "leave()");
    all_meet(&mut chromium, &[0, 2]);
}

#[test]
fn a_phone_calls_a_browser_and_they_hear_each_other() {
    let _turn = turn();
    let switch = lab();
    let mut chromium = Chromium::start();
    let alice = Participant {
        number: None,
        ..participant(0, Stack::JsSip)
    };
    chromium.join(&switch, alice);
    let mut phone = Baresip::call(&switch, "bob", "alice", 620.0, 8);
    chromium.hears("alice", &[620.0], &[440.0]);
    let samples = phone.recording(Duration::from_secs(40));
    assert!(
        peak_level(&samples, 440.0) > 0.05,
        "{}",
        peak_level(&samples, 440.0)
    );
}

#[test]
fn four_browsers_hear_each_other_on_lines_of_their_own_where_audio_is_forwarded() {
    let _turn = turn();
    let switch = Lab::new().secure().forward_audio().start();
    let mut chromium = Chromium::start();
    let stacks = [Stack::JsSip, Stack::JsSip, Stack::SipJs, Stack::JsSip];
    for (place, stack) in stacks.into_iter().enumerate() {
        chromium.join(&switch, participant(place, stack));
    }
    let all_hear = |chromium: &mut Chromium, places: &[usize]| {
        for place in places {
            let (page, own) = TONES[*place];
            let others = places.iter().filter(|other| *other != place);
            let others: Vec<f64> = others.map(|other| TONES[*other].1).collect();
            chromium.hears(page, &others, &[own]);
        }
    };
    all_hear(&mut chromium, &[0, 1, 2, 3]);
    for (page, _) in TONES {
        // Audio goes by the three lines for speakers, and hardly any by that of the mix.
        chromium.until(page, "speakers()", |lines| {
            let lines = lines.as_array().cloned().unwrap_or_default();
            let packets = |line: &serde_json::Value| line["packets"].as_u64().unwrap_or_default();
            lines.len() == 4
                && lines[1..]
                    .iter()
                    .all(|line| line["direction"] == "recvonly" && packets(line) > 100)
                && packets(&lines[0]) < packets(&lines[1])
        });
    }
    // A phone is heard in the mix beside them, and hears them all.
    let mut phone = Baresip::call(&switch, "dave", "3000", 1_790.0, 12);
    chromium.hears("alice", &[620.0, 1_010.0, 1_370.0, 1_790.0], &[440.0]);
    chromium.hears("carol", &[440.0, 620.0, 1_370.0, 1_790.0], &[1_010.0]);
    let samples = phone.recording(Duration::from_secs(40));
    for (_, hertz) in TONES {
        assert!(
            peak_level(&samples, hertz) > 0.05,
            "{hertz}: {}",
            peak_level(&samples, hertz)
        );
    }
    // One leaves and comes back: the same lines go on to serve.
    chromium.run("bob", "leave()");
    all_hear(&mut chromium, &[0, 2, 3]);
    chromium.reload("bob");
    chromium.call(&switch, participant(1, Stack::JsSip));
    all_hear(&mut chromium, &[0, 1, 2, 3]);
}

/// Each offers anew and is seen and heard as before.
fn restarts(chromium: &mut Chromium, page: &str) {
    let fragments = |way: &serde_json::Value| [way["ours"].clone(), way["theirs"].clone()];
    let before = fragments(&chromium.run(page, "way()"));
    chromium.run(page, "renegotiate({ iceRestart: true })");
    chromium.until(page, "way()", |way| {
        let now = fragments(way);
        now[0] != before[0] && now[1] != before[1] && way["ice"] == "connected"
    });
}

#[test]
fn ice_restarts_and_microphones_that_come_and_go_leave_the_rest_alone() {
    let _turn = turn();
    let switch = lab();
    let mut chromium = Chromium::start();
    for (place, stack) in [Stack::JsSip, Stack::SipJs].into_iter().enumerate() {
        chromium.join(&switch, participant(place, stack));
    }
    all_meet(&mut chromium, &[0, 1]);
    for page in ["alice", "bob"] {
        restarts(&mut chromium, page);
        all_meet(&mut chromium, &[0, 1]);
    }
    for (page, other) in [("alice", "bob"), ("bob", "alice")] {
        let own = TONES.iter().find(|(name, _)| *name == page).unwrap().1;
        chromium.run(page, "microphone(false)");
        chromium.hears(other, &[], &[own]);
        chromium.sees(other, 1);
        chromium.sees(page, 1);
        chromium.run(page, "microphone(true)");
        all_meet(&mut chromium, &[0, 1]);
    }
}

#[test]
fn pages_written_for_asterisk_name_every_view() {
    let _turn = turn();
    let switch = Lab::new().secure().video().events().start();
    let mut chromium = Chromium::start();
    let stacks = [Stack::OldJsSip, Stack::JsSip, Stack::SipJs];
    for (place, stack) in stacks.into_iter().enumerate() {
        chromium.join(&switch, participant(place, stack));
    }
    let named = |chromium: &mut Chromium, page: &str, names: &[&str]| {
        chromium.until(page, "names()", |shown| *shown == serde_json::json!(names));
    };
    named(&mut chromium, "alice", &["Bob", "Carol"]);
    named(&mut chromium, "bob", &["Alice", "Carol"]);
    named(&mut chromium, "carol", &["Alice", "Bob"]);
    // Another one gets the line of who leaves, and its own name.
    chromium.run("bob", "leave()");
    named(&mut chromium, "alice", &["Carol"]);
    chromium.join(&switch, participant(3, Stack::OldJsSip));
    named(&mut chromium, "alice", &["Carol", "Dave"]);
    named(&mut chromium, "carol", &["Alice", "Dave"]);
    named(&mut chromium, "dave", &["Alice", "Carol"]);
    chromium.sees("alice", 2);
}

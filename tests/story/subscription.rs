//! Who watches a conference is told who is in it.

use std::time::Duration;

use cordboard_engine::io::{ConferenceCommand, Input};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::hook::conference::Role;
use cordboard_model::media::MediaCommand;
use cordboard_model::{ConferenceId, ParticipantId};

use crate::phone::{Line, Phone};
use crate::world::{REALM, World};

pub(crate) fn subscribe(
    phone: &mut Phone,
    world: &mut World,
    number: &str,
    headers: &str,
) -> (Line, Message) {
    let uri = format!("sip:{number}@{REALM}");
    let headers = format!("Contact: {}\r\n{headers}", phone.contact());
    let call_id = format!("sub-{}", phone.next_number());
    let (cseq, response) = phone.request_in(world, &call_id, 1, "SUBSCRIBE", &uri, &headers, b"");
    let mut line = Line {
        call_id,
        own: format!("<sip:{}@{REALM}>;tag={}1", phone.name, phone.name),
        theirs: format!("<{uri}>"),
        target: uri,
        cseq,
    };
    line.learn(&response);
    (line, response)
}

pub(crate) const CONFERENCE: &str =
    "Event: conference\r\nAccept: application/conference-info+xml\r\nExpires: 600\r\n";

fn text(notify: &Message) -> String {
    String::from_utf8(notify.body_slice().to_vec()).unwrap()
}

fn state(notify: &Message) -> &str {
    notify.header(Name::SubscriptionState).unwrap()
}

#[test]
fn a_subscriber_hears_the_whole_state_and_then_what_changes() {
    let (mut world, mut alice, mut bob, mut carol) = (
        World::new(),
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    );
    bob.call(&mut world, "3000");
    let (_, response) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    assert_eq!(
        (response.status(), response.header(Name::Expires)),
        (200, Some("600"))
    );
    let first = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(state(&first), "active;expires=600");
    assert_eq!(first.header(Name::Event), Some("conference"));
    assert_eq!(
        first.header(Name::ContentType),
        Some("application/conference-info+xml")
    );
    let whole = text(&first);
    for part in [
        "entity=\"sip:3000@lab.test\" state=\"full\" version=\"0\"",
        "<user-count>1</user-count><active>true</active>",
        "<user entity=\"sip:bob@lab.test\" state=\"full\"><display-text>Bob</display-text>",
        "<status>sendrecv</status>",
    ] {
        assert!(whole.contains(part), "{part} is not in {whole}");
    }
    let mut line = carol.call(&mut world, "3000");
    alice.has_nothing(&mut world);
    world.advance(Duration::from_secs(5));
    let second = text(&alice.gets(&mut world, "NOTIFY", true));
    assert!(second.contains("state=\"partial\" version=\"1\"") && second.contains("sip:carol@lab.test"));
    assert!(!second.contains("sip:bob@lab.test"), "{second}");
    world.advance(Duration::from_secs(10));
    carol.within(&mut world, &mut line, "BYE", "", b"");
    let third = text(&alice.gets(&mut world, "NOTIFY", true));
    assert!(
        third.contains("<user entity=\"sip:carol@lab.test\" state=\"deleted\"/>"),
        "{third}"
    );
    assert!(third.contains("version=\"2\"") && third.contains("<user-count>1</user-count>"));
    carol.call(&mut world, "3000");
    carol.call(&mut world, "3000");
    world.advance(Duration::from_secs(5));
    let fourth = text(&alice.gets(&mut world, "NOTIFY", true));
    assert_eq!(
        fourth.matches("<endpoint ").count(),
        2,
        "one user, two phones: {fourth}"
    );
    alice.has_nothing(&mut world);
}

#[test]
fn only_known_events_and_conferences_can_be_watched() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    for event in ["Event: presence\r\n", "", "Event: conferences\r\n"] {
        let (_, bad) = subscribe(&mut alice, &mut world, "3000", event);
        assert_eq!(
            (bad.status(), bad.header(Name::AllowEvents)),
            (489, Some("conference"))
        );
    }
    for (number, headers, status) in [
        ("bob", CONFERENCE, 404),
        ("3999", CONFERENCE, 404),
        ("3000", "Event: conference\r\nAccept: text/plain\r\n", 406),
        ("3000", "Event: conference\r\nExpires: 30\r\n", 423),
    ] {
        let (_, refused) = subscribe(&mut alice, &mut world, number, headers);
        assert_eq!(refused.status(), status, "{number} {headers}");
        let offered = (status == 406).then_some("application/conference-info+xml");
        assert_eq!(refused.header(Name::Accept), offered);
    }
    let mut mallory = Phone::new("mallory", 66);
    assert_eq!(
        subscribe(&mut mallory, &mut world, "3000", CONFERENCE).1.status(),
        401
    );
    assert_eq!(world.engine.gauges().subscriptions, 0);
}

#[test]
fn who_is_behind_a_pin_is_shown_to_those_who_know_it_and_to_those_who_take_part() {
    let (mut world, mut alice, mut bob, mut carol) = (
        World::with(|config| config.conferences[0].member.pins = vec!["99".into()]),
        Phone::new("alice", 1),
        Phone::new("bob", 2),
        Phone::new("carol", 3),
    );
    let mut line = bob.call(&mut world, "3001*1234");
    carol.call(&mut world, "3000*99");
    for number in ["3001", "3001*9999", "3001*", "3001*99", "3000", "3000*1234"] {
        let (_, response) = subscribe(&mut alice, &mut world, number, CONFERENCE);
        assert_eq!(response.status(), 403, "{number}");
    }
    let rejected = &world.engine.counts().rejected;
    assert_eq!((rejected["missing_pin"], rejected["wrong_pin"]), (2, 4));
    for number in ["3001*1234", "3000*99"] {
        let (_, response) = subscribe(&mut alice, &mut world, number, CONFERENCE);
        assert_eq!(response.status(), 200, "{number}");
        let whole = text(&alice.gets(&mut world, "NOTIFY", true));
        let (number, pin) = number.split_once('*').unwrap();
        assert!(
            whole.contains(&format!("entity=\"sip:{number}@lab.test\"")),
            "{whole}"
        );
        assert!(!whole.contains(&format!("*{pin}")), "{whole}");
    }
    // Where the focus is, a phone in the conference has heard from its Contact, which names no PIN.
    // One that it dials is not looked at, so that nobody learns there whether it is right.
    let tried = ["3001", "3001*1234", "3001*1"];
    for number in tried {
        let (_, response) = subscribe(&mut bob, &mut world, number, CONFERENCE);
        assert_eq!(response.status(), 200, "{number}");
        bob.gets(&mut world, "NOTIFY", true);
    }
    let (_, response) = subscribe(&mut alice, &mut world, "3001", CONFERENCE);
    assert_eq!(response.status(), 403, "who watches does not take part");
    bob.within(&mut world, &mut line, "BYE", "", b"");
    for number in tried {
        let last = bob.gets(&mut world, "NOTIFY", true);
        assert_eq!(state(&last), "terminated;reason=rejected", "{number}");
    }
    let (_, response) = subscribe(&mut bob, &mut world, "3001", CONFERENCE);
    assert_eq!(response.status(), 403);
    world.advance(Duration::from_secs(6));
    let known = text(&alice.gets(&mut world, "NOTIFY", true));
    assert!(known.contains("<user-count>1</user-count>"), "{known}");
}

#[test]
fn a_subscription_is_renewed_and_ended_by_its_subscriber() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut line, _) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    alice.gets(&mut world, "NOTIFY", true);
    world.advance(Duration::from_secs(500));
    let renewed = alice.within(&mut world, &mut line, "SUBSCRIBE", CONFERENCE, b"");
    assert_eq!(renewed.status(), 200);
    let again = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(state(&again), "active;expires=600");
    assert!(text(&again).contains("state=\"full\" version=\"1\""));
    world.advance(Duration::from_secs(500));
    assert_eq!(world.engine.gauges().subscriptions, 1, "the first end has passed");
    let over = alice.within(
        &mut world,
        &mut line,
        "SUBSCRIBE",
        "Event: conference\r\nExpires: 0\r\n",
        b"",
    );
    assert_eq!((over.status(), over.header(Name::Expires)), (200, Some("0")));
    let last = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(state(&last), "terminated;reason=timeout");
    assert_eq!(world.engine.gauges().subscriptions, 0);
    let gone = alice.within(&mut world, &mut line, "SUBSCRIBE", CONFERENCE, b"");
    assert_eq!(gone.status(), 481);
}

#[test]
fn one_look_is_a_subscription_that_ends_at_once() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    subscribe(
        &mut alice,
        &mut world,
        "3000",
        "Event: conference\r\nExpires: 0\r\n",
    );
    let only = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(state(&only), "terminated;reason=timeout");
    assert!(text(&only).contains("<user-count>0</user-count><active>false</active>"));
    assert_eq!(world.engine.gauges().subscriptions, 0);
}

#[test]
fn what_is_not_renewed_ends_and_says_so() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    alice.gets(&mut world, "NOTIFY", true);
    world.advance(Duration::from_secs(600));
    let last = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(state(&last), "terminated;reason=timeout");
    world.advance(Duration::from_secs(60));
    assert_eq!(world.engine.gauges().subscriptions, 0);
    assert_eq!(world.engine.gauges().transactions, 0);
}

#[test]
fn a_subscriber_that_refuses_or_is_silent_is_forgotten() {
    for (status, headers, kept) in [
        (481, "", 0),
        (401, "", 0),
        (603, "", 0),
        (503, "", 0),
        (503, "Retry-After: 5\r\n", 1),
        (0, "", 0),
    ] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        subscribe(&mut alice, &mut world, "3000", CONFERENCE);
        let notify = alice.gets(&mut world, "NOTIFY", false);
        match status {
            0 => world.advance(Duration::from_secs(33)),
            status => alice.respond(&mut world, &notify, status, headers, ""),
        }
        assert_eq!(world.engine.gauges().subscriptions, kept, "{status} {headers}");
        alice.inbox.clear();
        world.take(alice.flow.peer);
        world.advance(Duration::from_secs(60));
        alice.has_nothing(&mut world);
    }
}

#[test]
fn nobody_subscribes_without_end() {
    let mut world = World::with(|config| config.abuse.user_requests_per_second = 0);
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let statuses: Vec<u16> = (0..60)
        .map(|_| {
            let (_, response) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
            alice.inbox.clear();
            response.status()
        })
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 50);
    assert_eq!(statuses[59], 503);
    assert_eq!(
        subscribe(&mut bob, &mut world, "3000", CONFERENCE).1.status(),
        200
    );
}

#[test]
fn a_switch_that_goes_down_says_when_to_come_back() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    alice.gets(&mut world, "NOTIFY", true);
    let deadline = world.now + Duration::from_secs(60);
    world.handle(Input::Drain { deadline });
    let last = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(state(&last), "terminated;reason=probation;retry-after=30");
    assert_eq!(
        subscribe(&mut alice, &mut world, "3000", CONFERENCE).1.status(),
        503
    );
}

#[test]
fn a_subscription_ends_with_a_conference_that_is_taken_out_once_the_last_has_left() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut from_bob = bob.call(&mut world, "3000");
    subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    alice.gets(&mut world, "NOTIFY", true);
    world.advance(Duration::from_secs(10));
    world.reconfigure(|config| config.conferences.clear());
    alice.has_nothing(&mut world);
    bob.within(&mut world, &mut from_bob, "BYE", "", b"");
    let last = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(state(&last), "terminated;reason=noresource");
    assert_eq!(world.engine.gauges().subscriptions, 0);

    let mut world = World::new();
    subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    alice.gets(&mut world, "NOTIFY", true);
    world.reconfigure(|config| config.conferences.clear());
    assert_eq!(
        state(&alice.gets(&mut world, "NOTIFY", true)),
        "terminated;reason=noresource"
    );
}

#[test]
fn who_is_muted_and_that_it_is_locked_is_told() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    bob.call(&mut world, "3000");
    subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    let first = text(&alice.gets(&mut world, "NOTIFY", true));
    assert!(first.contains("<locked>false</locked>"), "{first}");
    let leg = world.media.iter().find_map(|command| match command {
        MediaCommand::Open { leg, .. } => Some(*leg),
        _ => None,
    });
    let participant = ParticipantId(leg.unwrap().0);
    let commands = [
        (
            ConferenceCommand::Mute {
                participant,
                muted: true,
            },
            "<status>recvonly</status>",
            false,
        ),
        (
            ConferenceCommand::Deafen {
                participant,
                deaf: true,
            },
            "<status>inactive</status>",
            false,
        ),
        (
            ConferenceCommand::Role {
                participant,
                role: Role::Moderator,
            },
            "<roles><entry>moderator</entry></roles>",
            false,
        ),
        (ConferenceCommand::Lock(true), "<locked>true</locked>", true),
    ];
    for (version, (command, part, of_conference)) in commands.into_iter().enumerate() {
        world.advance(Duration::from_secs(10));
        let id = ConferenceId(0xc0);
        world.handle(Input::Conference { id, command });
        let news = text(&alice.gets(&mut world, "NOTIFY", true));
        assert!(news.contains(part), "{part} is not in {news}");
        assert!(
            news.contains(&format!("state=\"partial\" version=\"{}\"", version + 1)),
            "{news}"
        );
        assert_eq!(news.contains("<user "), !of_conference, "{news}");
    }
}

#[test]
fn a_dialog_holds_the_subscription_that_made_it_and_no_other() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let event = |id: &str| format!("Event: conference{id}\r\nExpires: 600\r\n");
    let (mut line, accepted) = subscribe(&mut alice, &mut world, "3000", &event(";id=42"));
    assert_eq!(accepted.header(Name::AllowEvents), Some("conference"));
    let notify = alice.gets(&mut world, "NOTIFY", true);
    assert_eq!(notify.header(Name::Event), Some("conference;id=42"));
    for (id, status) in [(";id=43", 481), ("", 481), (";x=y; ID=42", 200)] {
        let answer = alice.within(&mut world, &mut line, "SUBSCRIBE", &event(id), b"");
        assert_eq!(answer.status(), status, "{id}");
    }
    alice.gets(&mut world, "NOTIFY", true);
    let demanded = format!(
        "{}Content-Type: application/simple-filter+xml\r\nContent-Disposition: session;handling=required\r\n",
        event(";id=42")
    );
    let refused = alice.within(&mut world, &mut line, "SUBSCRIBE", &demanded, b"<filter/>");
    assert_eq!((refused.status(), refused.header(Name::Accept)), (415, Some("")));
    let (_, refused) = subscribe(&mut alice, &mut world, "3000", &demanded);
    assert_eq!(refused.status(), 200, "there is no body");
    alice.gets(&mut world, "NOTIFY", true);
    let told = alice.within(&mut world, &mut line, "OPTIONS", "", b"");
    assert_eq!(told.status(), 200);
    assert!(told.values(Name::Allow).any(|method| method == "SUBSCRIBE"));
    let refused = alice.within(&mut world, &mut line, "INFO", "", b"");
    assert_eq!(
        (refused.status(), refused.header(Name::Allow)),
        (405, Some("SUBSCRIBE, OPTIONS"))
    );
    assert_eq!(world.engine.gauges().subscriptions, 2);
}

#[test]
fn a_call_is_no_place_for_a_subscription() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let (mut line, answer) = alice.invite(&mut world, "3000");
    assert_eq!(answer.unwrap().header(Name::AllowEvents), Some("conference"));
    alice.ack(&mut world, &line);
    let refused = alice.within(&mut world, &mut line, "SUBSCRIBE", CONFERENCE, b"");
    assert_eq!(refused.status(), 403);
    assert_eq!(world.engine.counts().rejected["subscribe_in_call"], 1);
    assert_eq!(world.engine.gauges().dialogs, 1);
}

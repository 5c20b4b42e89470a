//! Plugins say where a call goes.

use std::time::Duration;

use cordboard_engine::sip::name::Name;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::route::{RouteAsk, RouteVerdict};
use cordboard_model::{Ask, Ticket, Verdict};

use crate::phone::{Line, Phone};
use crate::world::{World, chain};

fn world(on_failure: OnFailure) -> World {
    World::with(|config| config.hooks.call_router = chain(on_failure))
}

/// Conferences whose numbers have asterisks; one has a PIN.
fn star_world(on_failure: OnFailure) -> World {
    World::with(|config| {
        config.hooks.call_router = chain(on_failure);
        config.conferences[0].member.numbers = vec!["4*5".into()];
        config.conferences[0].moderator.numbers = vec!["*30".into()];
    })
}

/// Alice dials, and the plugins are asked.
fn dial(world: &mut World, alice: &mut Phone, number: &str) -> (Line, Ticket, RouteAsk) {
    let (line, response) = alice.invite(world, number);
    assert!(response.is_none());
    let (ticket, ask) = world.question();
    let Ask::Route(ask) = ask else {
        panic!("a question about the route, not {ask:?}")
    };
    (line, ticket, ask)
}

fn answer(world: &mut World, ticket: Ticket, verdict: RouteVerdict) {
    world.answer(ticket, Verdict::Route(verdict));
}

#[test]
fn plugins_are_told_who_dials_what() {
    let (mut world, mut alice) = (world(OnFailure::Pass), Phone::new("alice", 1));
    let (_, ticket, ask) = dial(&mut world, &mut alice, "3001*1234");
    assert_eq!(
        ask,
        RouteAsk {
            realm: "lab.test".into(),
            number: "3001".into(),
            user: Some("alice".into()),
            display_name: "Alice".into(),
            transport: "udp",
        }
    );
    answer(&mut world, ticket, RouteVerdict::Pass);
    alice.listen(&mut world);
    let statuses: Vec<u16> = alice.inbox.drain(..).map(|d| d.message.status()).collect();
    assert_eq!(statuses, [100, 200], "the PIN was taken along");
}

#[test]
fn a_number_that_nobody_has_leads_where_plugins_say() {
    let (mut world, mut alice, mut bob) = (
        world(OnFailure::Pass),
        Phone::new("alice", 1),
        Phone::new("bob", 2),
    );
    bob.register(&mut world, 600);
    let (_, ticket, _) = dial(&mut world, &mut alice, "4711");
    answer(&mut world, ticket, RouteVerdict::Conference("3000".into()));
    assert_eq!(alice.final_response(&mut world).status(), 200);
    assert_eq!(world.engine.gauges().conferences, 1);
    let (_, ticket, _) = dial(&mut world, &mut alice, "4712");
    answer(&mut world, ticket, RouteVerdict::User("bob".into()));
    bob.gets(&mut world, "INVITE", false);
}

#[test]
fn wherever_plugins_send_a_call_the_rules_of_the_place_hold() {
    for (verdict, status) in [
        (RouteVerdict::Conference("bob".into()), 404),
        (RouteVerdict::User("3000".into()), 404),
        (RouteVerdict::User("carol".into()), 480),
        (RouteVerdict::Conference("3001".into()), 403),
        (
            RouteVerdict::Refuse {
                code: 603,
                reason: "Not now".into(),
            },
            603,
        ),
        (
            RouteVerdict::Refuse {
                code: 200,
                reason: "Odd".into(),
            },
            403,
        ),
    ] {
        let (mut world, mut alice) = (world(OnFailure::Pass), Phone::new("alice", 1));
        let (_, ticket, _) = dial(&mut world, &mut alice, "4711");
        answer(&mut world, ticket, verdict.clone());
        assert_eq!(alice.final_response(&mut world).status(), status, "{verdict:?}");
    }
}

#[test]
fn plugins_that_say_nothing_leave_it_to_the_rule() {
    for (rule, status) in [(OnFailure::Pass, 200), (OnFailure::Refuse, 500)] {
        let (mut world, mut alice) = (world(rule), Phone::new("alice", 1));
        let (_, ticket, _) = dial(&mut world, &mut alice, "3000");
        world.advance(Duration::from_millis(21));
        assert_eq!(alice.final_response(&mut world).status(), status);
        answer(&mut world, ticket, RouteVerdict::User("bob".into()));
        assert_eq!(world.engine.counts().stale_verdicts, 1);
        assert_eq!(world.engine.counts().hook_timeouts["call-router"], 1);
        let recorded = world.records.last().map(|record| (record.status, record.reason));
        assert_eq!(recorded, (status == 500).then_some((500, "plugin_failed")));
        let refused = world.engine.counts().rejected.get("plugin_failed");
        assert_eq!(refused.is_some(), status == 500);
    }
}

#[test]
fn plugins_hear_star_codes_whole_and_no_pins() {
    for (dialled, told) in [
        ("*97", "*97"),
        ("*72*5551234", "*72*5551234"),
        ("bob*72", "bob*72"),
        ("*30*1234", "*30"),
        ("4711*1234", "4711"),
        ("4*5", "4*5"),
        ("4*5*1234", "4*5"),
        ("*", "*"),
    ] {
        let mut world = star_world(OnFailure::Pass);
        let (_, ticket, ask) = dial(&mut world, &mut Phone::new("alice", 1), dialled);
        assert_eq!(ask.number, told, "{dialled}");
        answer(&mut world, ticket, RouteVerdict::Conference("*30".into()));
        world.advance(Duration::from_millis(10));
        let wanted = u16::from(dialled.ends_with("*1234")); // the PIN is taken along
        assert_eq!(
            world.engine.gauges().conferences,
            usize::from(wanted),
            "{dialled}"
        );
    }
}

#[test]
fn records_say_what_was_dialled_wherever_plugins_lead_it() {
    let (mut world, mut alice, mut bob) = (
        world(OnFailure::Pass),
        Phone::new("alice", 1),
        Phone::new("bob", 2),
    );
    bob.register(&mut world, 600);
    let (mut line, ticket, _) = dial(&mut world, &mut alice, "17005550100");
    answer(&mut world, ticket, RouteVerdict::User("bob".into()));
    let to_bob = bob.gets(&mut world, "INVITE", false);
    bob.pick_up(&mut world, &to_bob);
    line.learn(&alice.final_response(&mut world));
    alice.ack(&mut world, &line);
    alice.within(&mut world, &mut line, "BYE", "", b"");
    let seen = |world: &World| -> Vec<_> {
        let records = world.records.iter();
        records
            .map(|record| (record.number.clone(), record.to.clone()))
            .collect()
    };
    let [dialled, called] = ["sip:17005550100@lab.test", "sip:bob@lab.test"].map(str::to_owned);
    let number = "17005550100".to_owned();
    let both = [(number.clone(), called), (number.clone(), dialled.clone())];
    let mut told = seen(&world);
    told.sort_by_key(|(_, to)| std::cmp::Reverse(to.clone()));
    assert_eq!(told, both);
    world.records.clear();
    for verdict in [
        RouteVerdict::Conference("3001".into()),
        RouteVerdict::User("nobody".into()),
    ] {
        let (_, ticket, _) = dial(&mut world, &mut alice, "17005550100");
        answer(&mut world, ticket, verdict);
        alice.final_response(&mut world);
    }
    assert_eq!(
        seen(&world),
        [(number.clone(), dialled.clone()), (number, dialled)]
    );
}

#[test]
fn a_caller_who_hangs_up_meanwhile_hears_487() {
    let (mut world, mut alice) = (world(OnFailure::Pass), Phone::new("alice", 1));
    let uri = "sip:3000@lab.test";
    let (line, ticket, _) = dial(&mut world, &mut alice, "3000");
    // The CANCEL has the branch of its INVITE, the last that the phone used.
    let branch = alice.last_branch();
    let text = format!(
        "CANCEL {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch={branch}\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
         To: <{uri}>\r\nCall-ID: {}\r\nCSeq: {} CANCEL\r\nContent-Length: 0\r\n\r\n",
        alice.flow.peer, line.own, line.call_id, line.cseq
    );
    world.receive(alice.flow, &text, b"");
    alice.listen(&mut world);
    let seen: Vec<_> = alice
        .inbox
        .drain(..)
        .map(|d| {
            (
                d.message.status(),
                d.message.header(Name::CSeq).unwrap().to_owned(),
            )
        })
        .filter(|(status, _)| *status >= 200)
        .collect();
    assert_eq!(
        seen,
        [
            (200, format!("{} CANCEL", line.cseq)),
            (487, format!("{} INVITE", line.cseq))
        ]
    );
    answer(&mut world, ticket, RouteVerdict::Pass);
    assert_eq!(world.engine.gauges().dialogs, 0);
}

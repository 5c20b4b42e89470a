//! Strangers, scanners and floods: who gets no answer, and who must not suffer from it.

use std::time::Duration;

use cordboard_engine::config::Config;
use cordboard_engine::io::{Input, Transport};
use cordboard_engine::limits::Offence;
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::name::Name;

use crate::phone::Phone;
use crate::world::{REALM, World};

/// A bare OPTIONS without any proof.
pub(crate) fn probe(phone: &Phone, number: u32, headers: &str) -> String {
    format!(
        "OPTIONS sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/{} {};rport;branch=z9hG4bKp{number}\r\n\
         From: <sip:{name}@{REALM}>;tag=1\r\nTo: <sip:{name}@{REALM}>\r\nCall-ID: p\r\nCSeq: {number} OPTIONS\r\n\
         Max-Forwards: 70\r\n{headers}Content-Length: 0\r\n\r\n",
        phone.flow.transport.via(),
        phone.flow.peer,
        name = phone.name
    )
}

/// How many of so many probes are answered.
pub(crate) fn answered(world: &mut World, phone: &mut Phone, first: u32, count: u32) -> usize {
    for number in first..first + count {
        world.receive(phone.flow, &probe(phone, number, ""), b"");
    }
    phone.listen(world);
    phone.inbox.drain(..).count()
}

/// Fails to register so often.
pub(crate) fn guess(world: &mut World, mallory: &mut Phone, times: u32) {
    mallory.password = "guess";
    for _ in 0..times {
        mallory.register(world, 600);
    }
}

pub(crate) fn strict(config: &mut Config) {
    config.abuse.ban_after = 3;
}

#[test]
fn whoever_guesses_passwords_is_left_without_answers_for_a_time() {
    let (mut world, mut mallory, mut bob) =
        (World::with(strict), Phone::new("alice", 66), Phone::new("bob", 2));
    guess(&mut world, &mut mallory, 3);
    let ban = world.bans[0];
    assert_eq!(
        (ban.source, ban.reason, ban.offences),
        (mallory.flow.peer.ip(), Offence::BadProof, 3)
    );
    assert_eq!(ban.until, world.now + Duration::from_secs(600));
    assert_eq!(world.engine.bans(world.now), [ban]);
    assert!(world.engine.is_banned(ban.source, world.now));
    let may_show = |right| world.engine.may_show_token(ban.source, right, world.now);
    assert!(may_show(true) && !may_show(false), "its operator sees why");
    assert_eq!(world.engine.gauges().banned, 1);
    mallory.listen(&mut world);
    mallory.inbox.clear();
    assert_eq!(answered(&mut world, &mut mallory, 1, 5), 0);
    assert_eq!(
        bob.register(&mut world, 600).status(),
        200,
        "others do not notice"
    );
    world.advance(Duration::from_secs(601));
    assert_eq!(answered(&mut world, &mut mallory, 10, 5), 5);
    assert_eq!(world.engine.gauges().banned, 0);
}

#[test]
fn the_last_guess_gets_no_answer_either() {
    let (mut world, mut mallory) = (World::with(strict), Phone::new("alice", 66));
    guess(&mut world, &mut mallory, 2);
    mallory.register(&mut world, 600);
    mallory.has_nothing(&mut world);
    assert_eq!(world.engine.counts().bans["bad_credentials"], 1);
}

#[test]
fn a_company_behind_one_address_outlives_one_stale_password() {
    let (mut world, mut stale, mut bob) = (World::with(strict), Phone::new("alice", 2), Phone::new("bob", 2));
    assert_eq!(bob.register(&mut world, 600).status(), 200);
    guess(&mut world, &mut stale, 3);
    assert!(world.bans.is_empty());
    guess(&mut world, &mut stale, 9);
    assert_eq!(world.bans.len(), 1, "but not for ever");
}

#[test]
fn nobody_gets_another_banned_by_forging_its_address() {
    let (mut world, mut mallory, mut bob) =
        (World::with(strict), Phone::new("alice", 66), Phone::new("bob", 2));
    mallory.password = "guess";
    world.receive(
        mallory.flow,
        &probe(&mallory, 1, "").replace("OPTIONS", "REGISTER"),
        b"",
    );
    let challenge = mallory.final_response(&mut world);
    let uri = format!("sip:{REALM}");
    let proof = mallory.authorization(&challenge, "REGISTER", &uri, 1);
    for number in 10..30 {
        let text = probe(&bob, number, &proof).replace("OPTIONS", "REGISTER");
        world.receive(bob.flow, &text, b"");
        assert_eq!(bob.final_response(&mut world).status(), 401);
    }
    assert!(
        world.bans.is_empty(),
        "a nonce that went to mallory says nothing about bob"
    );
    for number in 30..33 {
        let text = probe(&mallory, number, &proof).replace("OPTIONS", "REGISTER");
        world.receive(mallory.flow, &text, b"");
    }
    assert_eq!(world.bans.len(), 1);
}

#[test]
fn trusted_networks_are_exempt() {
    let mut world = World::with(|config| {
        strict(config);
        config.abuse.requests_per_second = 1;
        config.trusted = vec!["198.51.100.9/32".parse().unwrap()];
    });
    let mut proxy = Phone::new("alice", 9);
    guess(&mut world, &mut proxy, 10);
    assert!(world.bans.is_empty());
    proxy.inbox.clear();
    assert_eq!(answered(&mut world, &mut proxy, 1, 100), 100);
}

#[test]
fn known_scanners_hear_nothing_unless_the_operator_wants_it() {
    for answers in [false, true] {
        let mut world = World::with(|config| config.abuse.answer_scanners = answers);
        let mut scanner = Phone::new("alice", 66);
        let text = probe(&scanner, 1, "User-Agent: Friendly-Scanner v3\r\n");
        world.receive(scanner.flow, &text, b"");
        scanner.listen(&mut world);
        assert_eq!(scanner.inbox.len(), usize::from(answers));
        let dropped = world.engine.counts().rejected.contains_key("scanner");
        assert_eq!(dropped, !answers);
    }
}

#[test]
fn a_scanner_on_a_connection_is_banned_and_cut() {
    let mut world = World::with(strict);
    let mut scanner = Phone::new("alice", 66).over(Transport::Tcp, 5);
    for number in 1..=3 {
        let text = probe(&scanner, number, "User-Agent: sipcli/v1.8\r\n");
        world.receive(scanner.flow, &text, b"");
    }
    scanner.has_nothing(&mut world);
    assert_eq!(world.bans[0].reason, Offence::Scanner);
    assert_eq!(world.closed, [5]);
}

#[test]
fn strangers_may_ask_so_often_and_users_go_on() {
    let mut world = World::with(|config| config.abuse.requests_per_second = 5);
    let (mut mallory, mut alice) = (Phone::new("mallory", 66), Phone::new("alice", 1));
    assert_eq!(alice.register(&mut world, 600).status(), 200);
    assert_eq!(
        answered(&mut world, &mut mallory, 1, 100),
        20,
        "four seconds' worth"
    );
    assert_eq!(world.engine.counts().rejected["rate_limited"], 80);
    assert_eq!(answered(&mut world, &mut mallory, 200, 10), 0);
    alice.call(&mut world, "3000");
    world.advance(Duration::from_secs(1));
    assert_eq!(answered(&mut world, &mut mallory, 300, 100), 5);
}

#[test]
fn on_a_connection_the_limit_explains_itself() {
    let mut world = World::with(|config| config.abuse.requests_per_second = 1);
    let mut mallory = Phone::new("mallory", 66).over(Transport::Tcp, 5);
    for number in 1..=5 {
        world.receive(mallory.flow, &probe(&mallory, number, ""), b"");
    }
    mallory.listen(&mut world);
    let last = &mallory.inbox[4].message;
    assert_eq!((last.status(), last.reason()), (503, "Too Many Requests"));
    assert_eq!(last.header(Name::RetryAfter), Some("1"));
}

#[test]
fn a_user_may_not_ask_without_end_either() {
    let mut world = World::with(|config| config.abuse.user_requests_per_second = 1);
    let mut alice = Phone::new("alice", 1);
    let statuses: Vec<u16> = (0..5).map(|_| alice.register(&mut world, 600).status()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 503]);
    world.advance(Duration::from_secs(1));
    assert_eq!(alice.register(&mut world, 600).status(), 200);
}

/// A message that has waited for so long.
fn receive_late(world: &mut World, phone: &Phone, text: &str, waited: Duration) {
    let raw = text.as_bytes().to_vec().into();
    let message = Message::parse(raw, Framing::Datagram).unwrap();
    let stamp = world.now - waited;
    world.handle(Input::Message {
        flow: phone.flow,
        message,
        stamp,
    });
}

#[test]
fn when_messages_wait_too_long_strangers_are_refused_first_then_all_that_is_new() {
    let mut world = World::new();
    let (mut mallory, mut alice) = (Phone::new("mallory", 66), Phone::new("alice", 1));
    let mut line = alice.call(&mut world, "3000");
    let uri = format!("sip:{REALM}");
    world.receive(
        alice.flow,
        &probe(&alice, 1, "").replace("OPTIONS", "REGISTER"),
        b"",
    );
    let challenge = alice.final_response(&mut world);
    let mut number = 100;
    let mut asked = |world: &mut World, alice: &mut Phone, wait: u64| {
        number += 1;
        let proof = alice.authorization(&challenge, "REGISTER", &uri, number);
        let text = probe(alice, number, &proof).replace("OPTIONS", "REGISTER");
        receive_late(world, alice, &text, Duration::from_millis(wait));
        alice.final_response(world).status()
    };
    for (wait, stranger, user) in [(400, 200, 200), (600, 503, 200), (1100, 503, 503)] {
        let text = probe(&mallory, 1000 + wait, "");
        receive_late(&mut world, &mallory, &text, Duration::from_millis(wait.into()));
        let answer = mallory.final_response(&mut world);
        assert_eq!(answer.status(), stranger, "a stranger after {wait} ms");
        if stranger == 503 {
            let after: u32 = answer.header(Name::RetryAfter).unwrap().parse().unwrap();
            assert!((5..15).contains(&after));
        }
        assert_eq!(
            asked(&mut world, &mut alice, wait.into()),
            user,
            "alice after {wait} ms"
        );
    }
    let bye = format!(
        "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKbye\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
         Call-ID: {}\r\nCSeq: 50 BYE\r\nContent-Length: 0\r\n\r\n",
        line.target, alice.flow.peer, line.own, line.theirs, line.call_id
    );
    line.cseq = 50;
    receive_late(&mut world, &alice, &bye, Duration::from_secs(3));
    assert_eq!(
        alice.final_response(&mut world).status(),
        200,
        "what ends a call helps"
    );
}

#[test]
fn near_the_bound_of_transactions_strangers_are_refused_first() {
    let mut world = World::with(|config| {
        config.limits.transactions = 100;
        config.abuse.user_requests_per_second = 0;
    });
    let (mut mallory, mut alice) = (Phone::new("mallory", 66), Phone::new("alice", 1));
    let mut line = alice.call(&mut world, "3000");
    while world.engine.gauges().transactions < 80 {
        assert_eq!(alice.register(&mut world, 600).status(), 200);
    }
    world.receive(mallory.flow, &probe(&mallory, 1, ""), b"");
    assert_eq!(mallory.final_response(&mut world).status(), 503);
    let open = world.engine.gauges().transactions;
    world.receive(mallory.flow, &probe(&mallory, 2, ""), b"");
    assert_eq!(
        world.engine.gauges().transactions,
        open,
        "the refusal keeps nothing"
    );
    let answer = alice.within(
        &mut world,
        &mut line,
        "MESSAGE",
        "Content-Type: text/plain\r\n",
        b"hi",
    );
    assert_eq!(answer.status(), 202);
}

/// What RFC 3261 and RFC 3581 add to every answer: the To tag, `received`, the value of `rport`, and a
/// start line that may be longer than the request's.
const DEMANDED: usize = 21 + 23 + 5 + 11;

#[test]
fn answers_to_strangers_are_no_larger_than_what_must_be_said() {
    let (mut world, mut mallory) = (World::new(), Phone::new("mallory", 66));
    for (number, method) in [(1, "OPTIONS"), (2, "BYE"), (3, "INFO")] {
        let text = probe(&mallory, number, "").replace("OPTIONS", method);
        world.receive(mallory.flow, &text, b"");
        mallory.listen(&mut world);
        let answer = mallory.inbox.remove(0).message;
        assert!(
            answer.raw().len() <= text.len() + DEMANDED,
            "{method}: {} for {}",
            answer.raw().len(),
            text.len()
        );
    }
    let text = probe(&mallory, 4, "").replace("OPTIONS", "REGISTER");
    world.receive(mallory.flow, &text, b"");
    let challenge = mallory.final_response(&mut world);
    assert!(challenge.raw().len() <= 2 * text.len());
    assert_eq!(challenge.header(Name::Server), None);
    assert!(world.engine.counts().slimmed > 0);
    let mut tcp = Phone::new("mallory", 67).over(Transport::Tcp, 3);
    world.receive(tcp.flow, &probe(&tcp, 5, ""), b"");
    let whole = tcp.final_response(&mut world);
    assert!(whole.header(Name::Allow).is_some() && whole.header(Name::Server).is_some());
}

/// What of an answer is not of its own request or moment.
pub(crate) fn shape(answer: &Message) -> Vec<String> {
    let nonce = |value: &str| {
        let (before, after) = value.split_once("nonce=\"").unwrap_or((value, ""));
        format!("{before}{}", after.split_once('"').map_or("", |(_, after)| after))
    };
    let own = [Name::Via, Name::To, Name::From, Name::CallId, Name::CSeq];
    let mut shape = vec![format!("{} {}", answer.status(), answer.reason())];
    for (name, text, value) in answer.all_headers() {
        if !own.contains(&name) {
            shape.push(format!("{text}: {}", nonce(value)));
        }
    }
    shape
}

#[test]
fn nobody_finds_out_who_is_there() {
    let mut shapes = Vec::new();
    for (name, realm, password) in [
        ("alice", REALM, "wrong!"),
        ("nobodyx", REALM, "secret"),
        ("alice", "else.test", "secret"),
        ("bob", REALM, "wrong!"),
    ] {
        let (mut world, mut mallory) = (World::new(), Phone::new(name, 66));
        mallory.password = password;
        for method in ["REGISTER", "INVITE", "MESSAGE"] {
            let ask = |proof: &str, number| probe(&mallory, number, proof).replace("OPTIONS", method);
            world.receive(mallory.flow, &ask("", 1), b"");
            let challenge = mallory.final_response(&mut world);
            let uri = format!("sip:{REALM}");
            let proof = mallory
                .authorization(&challenge, method, &uri, 1)
                .replace(&format!("realm=\"{REALM}\""), &format!("realm=\"{realm}\""));
            let text = probe(&mallory, 2, &proof).replace("OPTIONS", method);
            world.receive(mallory.flow, &text, b"");
            let refusal = mallory.final_response(&mut world);
            assert_eq!(refusal.status(), 401);
            shapes.push(shape(&refusal));
        }
    }
    assert!(shapes.iter().all(|shape| *shape == shapes[0]), "{shapes:#?}");
}

#[test]
fn a_challenge_to_our_own_request_is_never_answered() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    assert_eq!(bob.register(&mut world, 600).status(), 200);
    let (_, response) = alice.invite(&mut world, "bob");
    assert!(response.is_none());
    let invite = bob.gets(&mut world, "INVITE", false);
    let challenge =
        format!("WWW-Authenticate: Digest realm=\"{REALM}\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n");
    bob.respond(&mut world, &invite, 401, &challenge, "");
    bob.gets(&mut world, "ACK", false);
    bob.has_nothing(&mut world);
    assert_eq!(alice.final_response(&mut world).status(), 480);
    assert!(invite.header(Name::Authorization).is_none());
}

#[test]
fn a_ban_is_for_what_is_new_and_a_call_that_is_up_goes_on() {
    let mut world = World::with(|config| {
        strict(config);
        config.abuse.proven_for = Duration::ZERO;
    });
    let (mut alice, mut bob) = (Phone::new("alice", 66), Phone::new("bob", 2));
    let (mut line, mut other) = (alice.call(&mut world, "3000"), bob.call(&mut world, "3000"));
    world.advance(Duration::from_secs(1));
    let mut stale = Phone::new("carol", 66);
    guess(&mut world, &mut stale, 3);
    assert_eq!(world.bans.len(), 1);
    alice.inbox.clear();

    let text = "Content-Type: text/plain\r\n";
    assert_eq!(
        alice
            .within(&mut world, &mut line, "MESSAGE", text, b"hi")
            .status(),
        202
    );
    bob.gets(&mut world, "MESSAGE", true);
    // What the switch asks of it is answered.
    assert_eq!(
        bob.within(&mut world, &mut other, "MESSAGE", text, b"ho")
            .status(),
        202
    );
    alice.gets(&mut world, "MESSAGE", true);
    world.advance(Duration::from_secs(40));
    assert!(
        world.engine.counts().timeouts.is_empty(),
        "{:?}",
        world.engine.counts().timeouts
    );

    // Nothing that is new, and nothing that only looks as if it belonged to something.
    assert_eq!(answered(&mut world, &mut alice, 1, 5), 0);
    for method in ["ACK", "CANCEL", "BYE", "MESSAGE", "SUBSCRIBE"] {
        let tag = format!("To: <sip:alice@{REALM}>;tag=0.0123456789abcdef\r\n");
        let text = probe(&alice, 50, "").replace("OPTIONS", method);
        let text = text.replace(&format!("To: <sip:alice@{REALM}>\r\n"), &tag);
        world.receive(alice.flow, &text, b"");
        alice.has_nothing(&mut world);
    }
    assert_eq!(world.engine.counts().rejected["banned"], 10);

    assert_eq!(alice.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
    assert_eq!(world.engine.gauges().dialogs, 1);
}

#[test]
fn a_ban_does_not_cut_the_connection_that_a_call_goes_over() {
    for calls in [true, false] {
        let mut world = World::with(|config| {
            strict(config);
            config.abuse.proven_for = Duration::ZERO;
        });
        let mut alice = Phone::new("alice", 66).over(Transport::Tcp, 5);
        let line = calls.then(|| alice.call(&mut world, "3000"));
        world.advance(Duration::from_secs(1));
        let mut stale = Phone::new("carol", 66).over(Transport::Tcp, 5);
        guess(&mut world, &mut stale, 3);
        alice.inbox.clear();
        assert_eq!(world.bans.len(), 1);
        let cut: &[u64] = if calls { &[] } else { &[5] };
        assert_eq!(world.closed, cut);
        if let Some(mut line) = line {
            assert_eq!(alice.within(&mut world, &mut line, "BYE", "", b"").status(), 200);
        }
    }
}

#[test]
fn while_there_is_no_time_for_all_known_phones_are_read_first() {
    let mut world = World::with(|config| {
        config.trusted = vec!["203.0.113.0/24".parse().expect("a network")];
        config.abuse.proven_for = Duration::from_secs(100);
    });
    let mut alice = Phone::new("alice", 1);
    assert_eq!(alice.register(&mut world, 600).status(), 200);
    let known = |world: &World, address: &str| {
        let address = address.parse().expect("an address");
        world.engine.is_known(address, world.now)
    };
    assert!(known(&world, "198.51.100.1") && known(&world, "203.0.113.9"));
    assert!(!known(&world, "198.51.100.66"));
    world.advance(Duration::from_secs(101));
    assert!(!known(&world, "198.51.100.1") && known(&world, "203.0.113.9"));

    let late = |world: &World, ms| {
        world
            .engine
            .is_late(world.now - Duration::from_millis(ms), world.now)
    };
    assert!(
        !late(&world, 60) && late(&world, 65),
        "an eighth of half a second"
    );
    world.reconfigure(|config| config.limits.lag = Duration::ZERO);
    assert!(!late(&world, 60_000), "never for this");
}

#[test]
fn a_known_phone_is_heard_without_a_proof_when_strangers_are_not() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    assert_eq!(alice.register(&mut world, 600).status(), 200);
    let text = probe(&alice, 1, "").replace("OPTIONS", "REGISTER");
    receive_late(&mut world, &alice, &text, Duration::from_millis(600));
    assert_eq!(alice.final_response(&mut world).status(), 401);
}

#[test]
fn whoever_guesses_the_tokens_of_operators_is_banned_for_sip_as_well() {
    let (mut world, mut mallory) = (World::with(strict), Phone::new("alice", 66));
    let source = mallory.flow.peer.ip();
    for _ in 0..2 {
        world.handle(Input::WrongToken { source });
    }
    assert!(world.bans.is_empty());
    world.handle(Input::WrongToken { source });
    assert_eq!(world.bans[0].reason, Offence::BadToken);
    assert!(world.engine.is_banned(source, world.now));
    assert!(!world.engine.may_show_token(source, true, world.now));
    assert_eq!(answered(&mut world, &mut mallory, 1, 1), 0);
}

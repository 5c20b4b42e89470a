//! Phones register, and the switch remembers.

use std::net::SocketAddr;
use std::time::Duration;

use cordboard_engine::config::DigestAlgorithm;
use cordboard_engine::io::{StoreWrite, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::phone::{Phone, SDP_TYPE};
use crate::world::{REALM, World};

#[test]
fn alice_registers_with_each_digest() {
    for algorithm in [DigestAlgorithm::Md5, DigestAlgorithm::Sha256] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        alice.algorithm = algorithm;
        let response = alice.register(&mut world, 600);
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.header(Name::Contact),
            Some("<sip:alice@198.51.100.1:5060>;expires=600;q=1")
        );
        assert_eq!(world.engine.gauges().registrations, 1);
    }
}

#[test]
fn a_phone_that_chokes_on_other_digests_is_offered_md5_alone() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let uri = format!("sip:{REALM}");
    for (agent, challenges) in [("baresip v1.0.0 (x86_64/linux)", 1), ("Linphone/5.1", 2)] {
        let text = format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKq{challenges}\r\n\
             From: <sip:alice@{REALM}>;tag=1\r\nTo: <sip:alice@{REALM}>\r\nCall-ID: q\r\nCSeq: 1 REGISTER\r\n\
             Max-Forwards: 70\r\nUser-Agent: {agent}\r\nContact: <sip:alice@198.51.100.1:5060>\r\n\
             Expires: 600\r\nContent-Length: 0\r\n\r\n"
        );
        world.receive(alice.flow, &text, b"");
        let response = alice.final_response(&mut world);
        assert_eq!(
            response.headers(Name::WwwAuthenticate).count(),
            challenges,
            "{agent}"
        );
    }
}

#[test]
fn what_browsers_run_is_offered_md5_alone() {
    let (mut world, alice) = (World::new(), Phone::new("alice", 1));
    let mut alice = alice.over(Transport::Ws, 5);
    let text = format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKq\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@{REALM}>;tag=1\r\nTo: <sip:alice@{REALM}>\r\nCall-ID: q\r\nCSeq: 1 REGISTER\r\n\
         User-Agent: My own phone\r\nContent-Length: 0\r\n\r\n"
    );
    world.receive(alice.flow, &text, b"");
    let response = alice.final_response(&mut world);
    let challenges: Vec<&str> = response.headers(Name::WwwAuthenticate).collect();
    assert_eq!(challenges.len(), 1);
    assert!(challenges[0].contains("algorithm=MD5"), "{challenges:?}");
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_told_the_same() {
    let mut world = World::new();
    let mut alice = Phone::new("alice", 1);
    alice.password = "guess";
    let wrong = alice.register(&mut world, 600);
    let mut mallory = Phone::new("mallory", 66);
    let unknown = mallory.register(&mut world, 600);
    assert_eq!((wrong.status(), unknown.status()), (401, 401));
    assert_eq!(wrong.reason(), unknown.reason());
    assert_eq!(world.engine.gauges().registrations, 0);
    assert_eq!(world.engine.gauges().transactions, 0, "strangers cost no state");
}

#[test]
fn bob_cannot_register_as_alice() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let uri = format!("sip:{REALM}");
    let challenge = bob.request(&mut world, "REGISTER", &uri, "", b"");
    assert_eq!(challenge.status(), 200, "a query of his own address is his right");
    let text = |authorization: &str| {
        format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2:5060;rport;branch=z9hG4bKx{}\r\n\
             From: <sip:bob@{REALM}>;tag=1\r\nTo: <sip:alice@{REALM}>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\n\
             Max-Forwards: 70\r\nContact: <sip:bob@198.51.100.2>\r\n{authorization}Content-Length: 0\r\n\r\n",
            authorization.len()
        )
    };
    world.receive(bob.flow, &text(""), b"");
    let challenge = bob.final_response(&mut world);
    assert_eq!(challenge.status(), 401);
    let proof = bob.authorization(&challenge, "REGISTER", &uri, 1);
    world.receive(bob.flow, &text(&proof), b"");
    assert_eq!(bob.final_response(&mut world).status(), 403);
}

#[test]
fn a_proof_cannot_be_used_twice() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let uri = format!("sip:{REALM}");
    let text = |cseq: u32, authorization: &str| {
        format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKr{cseq}\r\n\
             From: <sip:alice@{REALM}>;tag=1\r\nTo: <sip:alice@{REALM}>\r\nCall-ID: r\r\nCSeq: {cseq} REGISTER\r\n\
             Max-Forwards: 70\r\n{authorization}Content-Length: 0\r\n\r\n"
        )
    };
    world.receive(alice.flow, &text(1, ""), b"");
    let challenge = alice.final_response(&mut world);
    let proof = alice.authorization(&challenge, "REGISTER", &uri, 1);
    world.receive(alice.flow, &text(2, &proof), b"");
    assert_eq!(alice.final_response(&mut world).status(), 200);
    world.receive(alice.flow, &text(3, &proof), b"");
    let replayed = alice.final_response(&mut world);
    assert_eq!(replayed.status(), 401);
    assert!(
        replayed
            .header(Name::WwwAuthenticate)
            .unwrap()
            .contains("stale=true")
    );
    let next = alice.authorization(&challenge, "REGISTER", &uri, 2);
    world.receive(alice.flow, &text(4, &next), b"");
    assert_eq!(
        alice.final_response(&mut world).status(),
        200,
        "the next count of the same nonce is new"
    );
    world.advance(Duration::from_secs(301));
    let old = alice.authorization(&challenge, "REGISTER", &uri, 3);
    world.receive(alice.flow, &text(5, &old), b"");
    assert!(
        alice
            .final_response(&mut world)
            .header(Name::WwwAuthenticate)
            .unwrap()
            .contains("stale=true")
    );
}

/// A REGISTER of alice whose proof knows no quality of protection (RFC 2069).
fn without_qop(nonce: &str, number: u32, contact: &str, more: &str) -> String {
    let hash = |text: &str| hex::encode(<md5::Md5 as md5::Digest>::digest(text));
    let uri = format!("sip:{REALM}");
    let ha1 = hash(&format!("alice:{REALM}:secret"));
    let proof = hash(&format!("{ha1}:{nonce}:{}", hash(&format!("REGISTER:{uri}"))));
    format!(
        "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKr{number}\r\n\
         From: <sip:alice@{REALM}>;tag=1\r\nTo: <sip:alice@{REALM}>\r\nCall-ID: r\r\nCSeq: {number} REGISTER\r\n\
         Max-Forwards: 70\r\nContact: <sip:{contact}>\r\nAuthorization: Digest username=\"alice\", realm=\"{REALM}\", \
         nonce=\"{nonce}\", uri=\"{uri}\", response=\"{proof}\"{more}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn nonce_of(challenge: &Message) -> String {
    let value = challenge.header(Name::WwwAuthenticate).unwrap();
    value.split('"').nth(3).unwrap().to_owned()
}

#[test]
fn a_proof_without_qop_serves_once_whatever_stands_beside_it() {
    let mut world = World::new();
    let (mut alice, mut mallory) = (Phone::new("alice", 1), Phone::new("mallory", 66));
    world.receive(alice.flow, &without_qop("none", 1, "alice@198.51.100.1", ""), b"");
    let nonce = nonce_of(&alice.final_response(&mut world));
    let good = without_qop(&nonce, 2, "alice@198.51.100.1", "");
    for _ in 0..2 {
        world.receive(alice.flow, &good, b"");
        let response = alice.final_response(&mut world);
        assert_eq!(response.status(), 200, "and a repeat is absorbed as ever");
    }
    let replays = [
        "",
        ", nc=00000001",
        ", nc=00000002",
        ", nc=ffffffff, cnonce=\"c\"",
    ];
    for (number, more) in (3..).zip(replays) {
        let replay = without_qop(&nonce, number, "mallory@198.51.100.66", more);
        world.receive(mallory.flow, &replay, b"");
        let refused = mallory.final_response(&mut world);
        assert_eq!(refused.status(), 401, "{more}");
        assert!(
            refused
                .header(Name::WwwAuthenticate)
                .unwrap()
                .contains("stale=true")
        );
    }
    assert_eq!(world.engine.gauges().registrations, 1);
    assert!(world.bans.is_empty(), "such a proof is no guess");
}

#[test]
fn a_phone_without_qop_that_asks_twice_at_once_gets_there() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    world.receive(alice.flow, &without_qop("none", 1, "alice@198.51.100.1", ""), b"");
    let mut nonce = nonce_of(&alice.final_response(&mut world));
    // Both with the nonce that it has; then again with that of the newest challenge.
    for contact in ["a@198.51.100.1", "b@198.51.100.1"] {
        let number = 10 + alice.inbox.len() as u32;
        world.receive(alice.flow, &without_qop(&nonce, number, contact, ""), b"");
        alice.listen(&mut world);
    }
    let statuses: Vec<_> = alice.inbox.iter().map(|d| d.message.status()).collect();
    assert_eq!(statuses, [200, 401]);
    nonce = nonce_of(&alice.inbox[1].message);
    alice.inbox.clear();
    world.receive(alice.flow, &without_qop(&nonce, 12, "b@198.51.100.1", ""), b"");
    assert_eq!(alice.final_response(&mut world).status(), 200);
    assert_eq!(world.engine.gauges().registrations, 2);
}

#[test]
fn a_binding_ends_when_its_time_is_up_and_not_before() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    alice.register(&mut world, 600);
    world.advance(Duration::from_secs(599));
    assert_eq!(world.engine.gauges().registrations, 1);
    alice.register(&mut world, 600);
    world.advance(Duration::from_secs(599));
    assert_eq!(
        world.engine.gauges().registrations,
        1,
        "the refresh moved the end"
    );
    world.advance(Duration::from_secs(2));
    assert_eq!(world.engine.gauges().registrations, 0);
    assert!(
        matches!(world.writes.last(), Some(StoreWrite::DeleteBinding { aor, .. }) if **aor == *"alice@lab.test")
    );
}

#[test]
fn too_short_is_423_and_too_long_is_shortened() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let brief = alice.register(&mut world, 30);
    assert_eq!(
        (brief.status(), brief.header(Name::MinExpires)),
        (423, Some("60"))
    );
    let long = alice.register(&mut world, 100_000);
    assert!(long.header(Name::Contact).unwrap().contains("expires=7200"));
}

#[test]
fn alice_unregisters_one_contact_or_all() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    alice.register(&mut world, 600);
    assert_eq!(alice.register(&mut world, 0).header(Name::Contact), None);
    assert_eq!(world.engine.gauges().registrations, 0);
    let two = "Contact: <sip:a@198.51.100.1>;q=0.2, <sip:b@198.51.100.1>;q=0.9\r\nExpires: 600\r\n";
    let uri = format!("sip:{REALM}");
    let both = alice.request(&mut world, "REGISTER", &uri, two, b"");
    let listed: Vec<&str> = both.headers(Name::Contact).collect();
    assert!(
        listed[0].starts_with("<sip:b@") && listed[1].starts_with("<sip:a@"),
        "the preferred first: {listed:?}"
    );
    let all = alice.request(&mut world, "REGISTER", &uri, "Contact: *\r\nExpires: 0\r\n", b"");
    assert_eq!((all.status(), world.engine.gauges().registrations), (200, 0));
    let bad = alice.request(&mut world, "REGISTER", &uri, "Contact: *\r\n", b"");
    assert_eq!(bad.status(), 400, "a star without Expires 0 means nothing");
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    assert_eq!(bob.register(&mut world, 600).status(), 200);
    world.restart();
    assert_eq!(world.engine.gauges().registrations, 1);
    let (_, response) = alice.invite(&mut world, "bob");
    assert!(response.is_none(), "bob's phone rings");
    bob.gets(&mut world, "INVITE", false);
}

#[test]
fn a_registration_that_cannot_be_written_is_not_acknowledged() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    world.disk_works = false;
    let response = alice.register(&mut world, 600);
    assert_eq!(
        (response.status(), response.header(Name::RetryAfter)),
        (500, Some("5"))
    );
}

#[test]
fn whoever_renews_often_costs_no_more_and_ends_when_he_said_last() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    alice.register(&mut world, 600);
    for _ in 0..100 {
        world.advance(Duration::from_secs(60));
        assert_eq!(alice.register(&mut world, 600).status(), 200);
    }
    alice.register(&mut world, 120);
    world.advance(Duration::from_secs(119));
    assert_eq!(world.engine.gauges().registrations, 1);
    world.advance(Duration::from_secs(2));
    assert_eq!(
        world.engine.gauges().registrations,
        0,
        "a shorter time counts too"
    );
    let mut left = 0;
    while let Some(at) = world.engine.next_timeout() {
        world.advance(at.since(world.now));
        left += 1;
    }
    assert!(left < 10, "{left} timers are left of 100 renewals");
}

#[test]
fn a_phone_that_comes_back_under_another_contact_replaces_its_old_one() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1).over(Transport::Tcp, 7));
    let instance = "\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
    let mut register = |world: &mut World, user: &str, phone: &str| {
        let headers = format!(
            "Supported: outbound\r\nContact: <sip:{user}@198.51.100.1:5060>{phone}\r\nExpires: 600\r\n"
        );
        let answer = alice.request(world, "REGISTER", &format!("sip:{REALM}"), &headers, b"");
        assert_eq!(answer.status(), 200);
        let listed: Vec<String> = answer.headers(Name::Contact).map(str::to_owned).collect();
        (listed, answer.header(Name::Require) == Some("outbound"))
    };
    let flow = |number: u32| format!(";+sip.instance={instance};reg-id={number}");
    let (listed, outbound) = register(&mut world, "first", &flow(1));
    assert_eq!(
        listed,
        [format!(
            "<sip:first@198.51.100.1:5060>;expires=600;q=1;+sip.instance={instance};reg-id=1"
        )]
    );
    assert!(outbound);
    world.restart();
    let (listed, _) = register(&mut world, "second", &flow(1));
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].starts_with("<sip:second@"));
    // Another flow of the same phone, and a contact that names no flow, are contacts of their own.
    assert_eq!(register(&mut world, "third", &flow(2)).0.len(), 2);
    let unnumbered = format!(";+sip.instance={instance}");
    let (listed, outbound) = register(&mut world, "fourth", &unnumbered);
    assert_eq!((listed.len(), outbound), (3, false));
    assert_eq!(register(&mut world, "fifth", &unnumbered).0.len(), 4);
    world.restart();
    assert_eq!(world.engine.gauges().registrations, 4);
}

#[test]
fn a_phone_unregisters_its_flow_whatever_its_contact_is_by_now() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let instance = "\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
    let mut register = |world: &mut World, port: u16, flow: &str, expires: u32| {
        let headers = format!(
            "Contact: <sip:alice@198.51.100.1:{port}>;+sip.instance={instance}{flow}\r\nExpires: {expires}\r\n"
        );
        let answer = alice.request(world, "REGISTER", &format!("sip:{REALM}"), &headers, b"");
        assert_eq!(answer.status(), 200);
        answer.headers(Name::Contact).count()
    };
    assert_eq!(register(&mut world, 5060, ";reg-id=1", 600), 1);
    assert_eq!(register(&mut world, 5061, ";reg-id=2", 600), 2);
    // Its network has changed, and the port with it: another flow of its own and a nameless one are not meant.
    assert_eq!(register(&mut world, 7000, ";reg-id=3", 0), 2);
    assert_eq!(register(&mut world, 7000, "", 0), 2);
    assert_eq!(register(&mut world, 7000, ";reg-id=1", 0), 1);
    world.restart();
    assert_eq!(world.engine.gauges().registrations, 1, "the disk knows it, too");
    assert_eq!(register(&mut world, 7000, ";reg-id=2", 0), 0);
}

#[test]
fn a_phone_on_udp_that_keeps_its_flow_alive_is_called_on_it() {
    let (mut world, mut bob, mut alice) = (World::new(), Phone::new("bob", 2), Phone::new("alice", 1));
    let mut register = |world: &mut World, more: &str| {
        let headers = format!(
            "Supported: path, outbound\r\n{more}Contact: <sip:bob@198.51.100.2:7777;ob>;reg-id=1;\
             +sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"\r\nExpires: 600\r\n"
        );
        let answer = bob.request(world, "REGISTER", &format!("sip:{REALM}"), &headers, b"");
        assert_eq!(answer.status(), 200);
        let said = |name| answer.header(name).map(str::to_owned);
        (said(Name::Require), said(Name::FlowTimer))
    };
    // A proxy between us that does not hold the phone's flow, and one that does.
    for (hops, holds) in [
        ("<sip:edge.lab.test;lr>", false),
        ("<sip:edge.lab.test;lr;ob>", true),
        ("<sip:edge.lab.test;lr;ob>, <sip:near.lab.test;lr>", false),
    ] {
        let (require, _) = register(&mut world, &format!("Path: {hops}\r\n"));
        assert_eq!(require.as_deref() == Some("outbound"), holds, "{hops}");
    }
    let (require, timer) = register(&mut world, "");
    assert_eq!(
        (require.as_deref(), timer.as_deref()),
        (Some("outbound"), Some("30"))
    );
    // Not to the port that its contact names: no NAT lets that through.
    alice.invite(&mut world, "bob");
    let invite = world.take(bob.flow.peer);
    assert_eq!(invite.len(), 1);
    assert_eq!(invite[0].message.method_text(), "INVITE");
    alice.request(
        &mut world,
        "MESSAGE",
        "sip:bob@lab.test",
        "Content-Type: text/plain\r\n",
        b"hi",
    );
    assert_eq!(world.take(bob.flow.peer).len(), 1);
    // Nor inside its calls, where it says so.
    let contact = format!("Contact: <sip:bob@198.51.100.2:7777;ob>\r\n{SDP_TYPE}");
    bob.respond(&mut world, &invite[0].message, 200, &contact, bob.sdp);
    let inside = world.take(bob.flow.peer);
    assert_eq!(inside.len(), 1);
    assert_eq!(inside[0].message.method_text(), "ACK");
}

#[test]
fn two_flows_of_one_phone_are_two_bindings_of_which_one_is_called() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let (mut alice, mut carol) = (Phone::new("alice", 1), Phone::new("carol", 3));
    let phone = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"";
    // Each by an edge of its own, under one contact.
    let mut register = |world: &mut World, number: u32, expires: u32| {
        let headers = format!(
            "Supported: path, outbound\r\nPath: <sip:198.51.100.{};lr;ob>\r\nExpires: {expires}\r\n\
             Contact: <sip:bob@198.51.100.2:5060>;reg-id={number};{phone}\r\n",
            100 + number
        );
        let answer = bob.request(world, "REGISTER", &format!("sip:{REALM}"), &headers, b"");
        assert_eq!(answer.status(), 200);
        answer.headers(Name::Contact).count()
    };
    let edge = |number: u8| SocketAddr::from(([198, 51, 100, 100 + number], 5060));
    assert_eq!(register(&mut world, 1, 600), 1);
    assert_eq!(register(&mut world, 2, 600), 2);
    world.restart();
    assert_eq!(world.engine.gauges().registrations, 2, "the disk knows both");
    world.advance(Duration::from_secs(1));
    assert_eq!(register(&mut world, 1, 600), 2);
    alice.invite(&mut world, "bob");
    assert_eq!((world.take(edge(1)).len(), world.take(edge(2)).len()), (1, 0));
    // Who ends one has the other one left.
    assert_eq!(register(&mut world, 1, 0), 1);
    carol.invite(&mut world, "bob");
    assert_eq!((world.take(edge(1)).len(), world.take(edge(2)).len()), (0, 1));
}

#[test]
fn what_a_contact_says_beside_the_address_never_becomes_part_of_a_request() {
    let (mut world, mut bob, mut alice) = (World::new(), Phone::new("bob", 2), Phone::new("alice", 1));
    let contact = "<sip:bob@198.51.100.2:5060;method=BYE;ob?Route=%3Csip:evil.test%3E&Subject=x>;q=nan";
    let headers = format!("Contact: {contact}\r\nExpires: 600\r\n");
    let uri = format!("sip:{REALM}");
    let answer = bob.request(&mut world, "REGISTER", &uri, &headers, b"");
    assert_eq!(
        answer.header(Name::Contact),
        Some("<sip:bob@198.51.100.2:5060;ob>;expires=600;q=1")
    );
    alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    assert_eq!(invite.request_uri(), "sip:bob@198.51.100.2:5060;ob");
    // The same in a dialog.
    let headers = format!("Contact: {contact}\r\n{SDP_TYPE}");
    bob.respond(&mut world, &invite, 200, &headers, bob.sdp);
    let ack = bob.gets(&mut world, "ACK", false);
    assert_eq!(ack.request_uri(), "sip:bob@198.51.100.2:5060;ob");
}

#[test]
fn a_path_that_leads_nowhere_is_refused() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    for path in ["foo bar", "<sip:edge.lab.test;lr>, <>", "<sip:>"] {
        let headers = format!("Path: {path}\r\nContact: {}\r\n", bob.contact());
        let answer = bob.request(&mut world, "REGISTER", &format!("sip:{REALM}"), &headers, b"");
        assert_eq!((answer.status(), answer.reason()), (400, "Bad Path"), "{path}");
    }
    assert_eq!(world.engine.gauges().registrations, 0);
}

#[test]
fn a_phone_that_got_a_new_instance_is_not_called_twice() {
    let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
    let mut register = |world: &mut World, instance: &str, flow: u32, path: &str| {
        let headers = format!(
            "{path}Contact: {};+sip.instance=\"<urn:uuid:{instance}>\";reg-id={flow}\r\nExpires: 600\r\n",
            bob.contact()
        );
        let answer = bob.request(world, "REGISTER", &format!("sip:{REALM}"), &headers, b"");
        assert_eq!(answer.status(), 200);
        answer.headers(Name::Contact).count()
    };
    assert_eq!(register(&mut world, "old", 1, ""), 1);
    assert_eq!(
        register(&mut world, "old", 2, ""),
        2,
        "another flow of the same phone"
    );
    assert_eq!(register(&mut world, "new", 1, ""), 1);
    world.restart();
    assert_eq!(world.engine.gauges().registrations, 1);
    // Two phones behind one proxy may have the same private address.
    let path = "Path: <sip:198.51.100.2;lr>\r\n";
    assert_eq!(register(&mut world, "new", 1, path), 1);
    assert_eq!(register(&mut world, "other", 1, path), 2);
}

//! `sips:` URIs: TLS on each hop, or nothing (RFC 5630).

use cordboard_engine::config::Listener;
use cordboard_engine::io::{Input, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::pager::{bodies, read};
use crate::phone::{Phone, SDP_TYPE};
use crate::world::World;

const BOB: &str = "sips:bob@lab.test";
const TEXT: &str = "Content-Type: text/plain\r\n";

/// The switch takes TLS too.
fn world() -> World {
    World::with(|config| {
        config.listeners.push(Listener {
            transport: Transport::Tls,
            address: "192.0.2.1:5061".parse().unwrap(),
        });
    })
}

fn over_tls(name: &'static str, host: u8, connection: u64) -> Phone {
    let mut phone = Phone::new(name, host).over(Transport::Tls, connection);
    phone.flow.listener = 3;
    phone
}

fn calls(phone: &mut Phone, world: &mut World, uri: &str) -> Message {
    let headers = format!("Contact: {}\r\n{SDP_TYPE}", phone.contact());
    phone.request(world, "INVITE", uri, &headers, phone.sdp.as_bytes())
}

fn writes(phone: &mut Phone, world: &mut World, uri: &str) -> Message {
    phone.request(world, "MESSAGE", uri, TEXT, b"hello")
}

/// What says that only TLS is missing.
fn needs_tls(answer: &Message) {
    let warning = answer.header(Name::Warning);
    assert_eq!(
        (answer.status(), answer.reason(), warning),
        (
            480,
            "SIPS Not Allowed",
            Some("380 cordboard \"SIPS Not Allowed\"")
        )
    );
}

#[test]
fn what_asks_for_tls_goes_to_no_phone_in_clear() {
    for way in [Transport::Udp, Transport::Tcp, Transport::Ws] {
        let (mut world, mut alice) = (world(), over_tls("alice", 1, 5));
        let mut bob = Phone::new("bob", 2);
        if way != Transport::Udp {
            bob = bob.over(way, 6);
        }
        bob.register(&mut world, 600);
        needs_tls(&calls(&mut alice, &mut world, BOB));
        needs_tls(&writes(&mut alice, &mut world, BOB));
        bob.has_nothing(&mut world);
        assert_eq!(world.engine.gauges().kept_messages, 0);
        // By `sip:` the same phones are reached as before.
        calls(&mut alice, &mut world, "sip:bob@lab.test");
        bob.gets(&mut world, "INVITE", false);
    }
}

#[test]
fn only_the_phones_on_tls_are_asked() {
    let (mut world, mut alice) = (world(), over_tls("alice", 1, 5));
    let (mut bob, mut desk) = (Phone::new("bob", 2), over_tls("bob-desk", 3, 7));
    bob.register(&mut world, 600);
    desk.register(&mut world, 600);
    calls(&mut alice, &mut world, BOB);
    desk.gets(&mut world, "INVITE", false);
    writes(&mut alice, &mut world, BOB);
    assert_eq!(bodies(&read(&mut desk, &mut world, 200)), ["hello"]);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    bob.has_nothing(&mut world);
}

#[test]
fn a_message_that_asks_for_tls_is_not_kept_for_phones_that_may_come_in_clear() {
    let (mut world, mut alice) = (world(), over_tls("alice", 1, 5));
    let answer = writes(&mut alice, &mut world, BOB);
    assert_eq!((answer.status(), answer.header(Name::Warning)), (480, None));
    // Nor does one follow its addressee out of TLS.
    let (mut desk, mut bob) = (over_tls("bob-desk", 3, 7), Phone::new("bob", 2));
    desk.register(&mut world, 600);
    writes(&mut alice, &mut world, BOB);
    desk.gets(&mut world, "MESSAGE", false);
    bob.register(&mut world, 600);
    bob.has_nothing(&mut world);
    world.handle(Input::FlowClosed { connection: 7 });
    world.advance(std::time::Duration::from_secs(40));
    bob.has_nothing(&mut world);
    assert_eq!(alice.final_response(&mut world).status(), 480);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn one_that_waits_behind_a_kept_one_goes_to_no_phone_in_clear_that_comes_meanwhile() {
    let (mut world, mut alice) = (world(), over_tls("alice", 1, 5));
    let text = |phone: &mut Phone, world: &mut World, uri: &str, body: &str| {
        let answer = phone.request(world, "MESSAGE", uri, TEXT, body.as_bytes());
        answer.status()
    };
    let (mut desk, mut bob) = (over_tls("bob-desk", 3, 7), Phone::new("bob", 2));
    assert_eq!(text(&mut alice, &mut world, "sip:bob@lab.test", "kept"), 202);
    desk.register(&mut world, 600);
    let kept = desk.gets(&mut world, "MESSAGE", false);
    assert_eq!(text(&mut alice, &mut world, BOB, "secret"), 0);
    bob.register(&mut world, 600);
    let mut carol = Phone::new("carol", 4);
    text(&mut carol, &mut world, "sip:bob@lab.test", "other");
    let mut in_clear = bodies(&read(&mut bob, &mut world, 200));
    desk.respond(&mut world, &kept, 200, "", "");
    let by_tls = bodies(&read(&mut desk, &mut world, 200));
    in_clear.extend(bodies(&read(&mut bob, &mut world, 200)));
    world.advance(std::time::Duration::from_secs(40));
    in_clear.extend(bodies(&read(&mut bob, &mut world, 200)));
    assert!(by_tls.contains(&"secret".to_owned()), "{by_tls:?}");
    assert!(in_clear.contains(&"other".to_owned()), "{in_clear:?}");
    assert!(!in_clear.contains(&"secret".to_owned()), "{in_clear:?}");
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn what_a_phone_has_by_tls_is_left_there_when_it_renews_its_way_in_clear() {
    let (mut world, mut alice) = (world(), over_tls("alice", 1, 5));
    let (mut tls, mut udp) = (over_tls("bob", 3, 7), Phone::new("bob", 2));
    let renew = |phone: &mut Phone, world: &mut World, number: u8| {
        let headers = format!(
            "Supported: outbound\r\nExpires: 600\r\n\
             Contact: {};reg-id={number};+sip.instance=\"<urn:uuid:1>\"\r\n",
            phone.contact()
        );
        world.advance(std::time::Duration::from_secs(1));
        let answer = phone.request(world, "REGISTER", "sip:lab.test", &headers, b"");
        assert_eq!(answer.status(), 200);
    };
    renew(&mut tls, &mut world, 1);
    writes(&mut alice, &mut world, BOB);
    let message = tls.gets(&mut world, "MESSAGE", false);
    renew(&mut udp, &mut world, 2);
    tls.has_nothing(&mut world);
    udp.has_nothing(&mut world);
    tls.respond(&mut world, &message, 200, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn a_conference_is_reached_by_sips_over_tls_and_not_in_clear() {
    let mut world = world();
    let answer = calls(&mut over_tls("alice", 1, 5), &mut world, "sips:3000@lab.test");
    assert_eq!(answer.status(), 200);
    for mut phone in [
        Phone::new("carol", 4),
        Phone::new("carol", 4).over(Transport::Tcp, 8),
    ] {
        needs_tls(&calls(&mut phone, &mut world, "sips:3000@lab.test"));
        needs_tls(&writes(&mut phone, &mut world, BOB));
    }
}

#[test]
fn a_contact_that_asks_for_tls_is_registered_over_tls_alone() {
    let mut world = world();
    let headers = |expires: u32| format!("Contact: <sips:bob@198.51.100.2:5061>\r\nExpires: {expires}\r\n");
    for mut bob in [Phone::new("bob", 2), Phone::new("bob", 2).over(Transport::Tcp, 6)] {
        let answer = bob.request(&mut world, "REGISTER", "sip:lab.test", &headers(600), b"");
        assert_eq!(
            (answer.status(), answer.reason()),
            (400, "A SIPS Contact Needs TLS")
        );
        let answer = bob.request(&mut world, "REGISTER", "sip:lab.test", &headers(0), b"");
        assert_eq!(answer.status(), 200, "nobody is called there");
    }
    let mut world = self::world();
    let (mut alice, mut bob) = (over_tls("alice", 1, 5), over_tls("bob", 2, 7));
    let answer = bob.request(&mut world, "REGISTER", "sip:lab.test", &headers(600), b"");
    assert_eq!(answer.status(), 200);
    for uri in [BOB, "sip:bob@lab.test"] {
        calls(&mut alice, &mut world, uri);
        let invite = bob.gets(&mut world, "INVITE", false);
        assert_eq!(invite.request_uri(), "sips:bob@198.51.100.2:5061");
        bob.respond(&mut world, &invite, 486, "", "");
        bob.gets(&mut world, "ACK", false);
        assert_eq!(alice.final_response(&mut world).status(), 486);
    }
}

#[test]
fn a_proxy_on_tls_is_asked_only_for_contacts_that_ask_the_same_of_it() {
    for (contact, asked) in [("sip:bob@10.0.0.9", false), ("sips:bob@10.0.0.9", true)] {
        let (mut world, mut alice, mut edge) = (world(), over_tls("alice", 1, 5), over_tls("bob", 2, 7));
        let headers = format!(
            "Contact: <{contact}>\r\nExpires: 600\r\nSupported: path\r\nPath: <sip:198.51.100.2:5061;lr>\r\n"
        );
        let answer = edge.request(&mut world, "REGISTER", "sip:lab.test", &headers, b"");
        assert_eq!(answer.status(), 200);
        let answer = calls(&mut alice, &mut world, BOB);
        match asked {
            true => drop(edge.gets(&mut world, "INVITE", false)),
            false => needs_tls(&answer),
        }
    }
}

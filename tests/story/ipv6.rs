//! Phones with IPv6 addresses: Via, Contact, descriptions and URIs.

use std::net::SocketAddr;

use cordboard_engine::config::Listener;
use cordboard_engine::io::{Input, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::media::MediaCommand;

use crate::bridge::{Pair, up_with};
use crate::phone::{Phone, SDP};
use crate::world::{Delivery, World};

const OURS: &str = "2001:db8::1";
const SDP6: &str = "v=0\r\no=- 1 1 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 2001:db8::20\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 8\r\n";

/// The switch is reached at an address of each family.
fn world() -> World {
    World::with(|config| {
        config.public_ip.push(OURS.parse().unwrap());
        config.listeners.push(Listener {
            transport: Transport::Udp,
            address: SocketAddr::new(OURS.parse().unwrap(), 5060),
        });
    })
}

fn phone6(name: &'static str, host: u16) -> Phone {
    let mut phone = Phone::new(name, 1);
    phone.flow.peer = SocketAddr::new(format!("2001:db8::{host:x}").parse().unwrap(), 5060);
    phone.flow.listener = 3;
    phone.sdp = SDP6;
    phone
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.raw()).into_owned()
}

#[test]
fn two_ipv6_phones_call_each_other() {
    let mut pair = up_with(world(), phone6("alice", 0x10), phone6("bob", 0x20), "", "");
    let invite = text(&pair.invite);
    assert!(
        invite.starts_with("INVITE sip:bob@[2001:db8::20]:5060 SIP/2.0\r\n"),
        "{invite}"
    );
    assert!(
        invite.contains("Via: SIP/2.0/UDP [2001:db8::1]:5060;"),
        "{invite}"
    );
    assert!(
        invite.contains("Contact: <sip:alice@[2001:db8::1]:5060>"),
        "{invite}"
    );
    assert!(invite.contains("c=IN IP6 2001:db8::1\r\n"), "{invite}");
    let answer = text(&pair.answer);
    assert!(
        answer.contains("Contact: <sip:bob@[2001:db8::1]:5060>"),
        "{answer}"
    );
    assert!(answer.contains("c=IN IP6 2001:db8::1\r\n"), "{answer}");
    let Pair {
        world,
        alice,
        bob,
        from_alice,
        ..
    } = &mut pair;
    let remotes: Vec<SocketAddr> = world
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Modify { audio, .. } => Some(audio.remote),
            _ => None,
        })
        .collect();
    assert_eq!(remotes, ["[2001:db8::20]:4000".parse().unwrap(); 2]);
    assert!(
        world
            .media
            .iter()
            .all(|command| !matches!(command, MediaCommand::Open { local, .. } if local.is_ipv4()))
    );
    assert_eq!(alice.within(world, from_alice, "BYE", "", b"").status(), 200);
    let bye = bob.gets(world, "BYE", true);
    assert_eq!(bye.request_uri(), "sip:bob@[2001:db8::20]:5060");
    pair.is_gone();
}

#[test]
fn an_ipv4_phone_calls_an_ipv6_one_and_each_sees_its_own_family() {
    let pair = up_with(world(), Phone::new("alice", 1), phone6("bob", 0x20), "", "");
    assert!(text(&pair.invite).contains("c=IN IP6 2001:db8::1\r\n"));
    assert!(text(&pair.answer).contains("c=IN IP4 192.0.2.1\r\n"));
    assert!(text(&pair.answer).contains("Contact: <sip:bob@192.0.2.1:5060>"));
}

#[test]
fn an_ipv4_phone_on_a_socket_of_both_families_gets_an_ipv4_description() {
    let mut world = world();
    let mut alice = Phone::new("alice", 1);
    alice.flow.peer = "[::ffff:198.51.100.1]:5060".parse().unwrap();
    alice.flow.listener = 3;
    let (_, answer) = alice.invite(&mut world, "3000");
    assert!(text(&answer.unwrap()).contains("c=IN IP4 192.0.2.1\r\n"));
}

#[test]
fn media_has_the_family_that_the_offer_wants() {
    let mut world = world();
    let mut alice = Phone::new("alice", 1);
    alice.sdp = SDP6;
    let (_, answer) = alice.invite(&mut world, "3000");
    let answer = text(&answer.unwrap());
    assert!(answer.contains("c=IN IP6 2001:db8::1\r\n"), "{answer}");
    assert!(answer.contains("Contact: <sip:3000@192.0.2.1:5060>"), "{answer}");
    let opened = world.media.iter().filter_map(|command| match command {
        MediaCommand::Open { local, .. } => Some(local.to_string()),
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), [OURS]);
    // Where we have no address of that family, that of the signalling is all that there is.
    let mut world = World::new();
    let (_, answer) = alice.invite(&mut world, "3000");
    assert!(text(&answer.unwrap()).contains("c=IN IP4 192.0.2.1\r\n"));
}

#[test]
fn a_response_goes_to_where_the_request_came_from_and_says_so() {
    let mut world = world();
    let mut alice = phone6("alice", 0x10);
    let ask = |via: &str| {
        format!(
            "OPTIONS sip:[2001:db8::1] SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@[2001:db8::10]>;tag=a\r\nTo: <sip:[2001:db8::1]>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n",
            via.len()
        )
    };
    // What the Via says, what comes back in it, and to which port.
    let cases = [
        (
            "[2001:db8::10]:5060",
            "SIP/2.0/UDP [2001:db8::10]:5060;branch=z9hG4bK19",
            5060,
        ),
        (
            "[2001:db8::10]",
            "SIP/2.0/UDP [2001:db8::10];branch=z9hG4bK14",
            5060,
        ),
        (
            "[fe80::5]:7000;rport",
            "SIP/2.0/UDP [fe80::5]:7000;rport=5060;branch=z9hG4bK20;received=2001:db8::10",
            5060,
        ),
        (
            "[fe80::77]:5060",
            "SIP/2.0/UDP [fe80::77]:5060;branch=z9hG4bK15;received=2001:db8::10",
            5060,
        ),
    ];
    for (via, back, port) in cases {
        world.receive(alice.flow, &ask(via), b"");
        alice.listen(&mut world);
        let delivery = alice.inbox.remove(0);
        assert_eq!(delivery.message.status(), 200, "{via}");
        assert_eq!(delivery.message.header(Name::Via), Some(back));
        assert_eq!(delivery.flow.peer.port(), port, "{via}");
    }
}

#[test]
fn an_ipv6_phone_registers_and_is_found_after_a_crash() {
    let mut world = world();
    let (mut alice, mut bob) = (Phone::new("alice", 1), phone6("bob", 0x20));
    let answer = bob.register(&mut world, 600);
    assert_eq!(
        answer.header(Name::Contact),
        Some("<sip:bob@[2001:db8::20]:5060>;expires=600;q=1")
    );
    world.restart();
    alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    assert_eq!(invite.request_uri(), "sip:bob@[2001:db8::20]:5060");
    assert_ne!(bob.sdp, SDP, "it is an IPv6 phone indeed");
}

/// Every interface, by UDP and TCP: a socket of each family.
fn everywhere() -> World {
    World::with(|config| {
        config.public_ip.push(OURS.parse().unwrap());
        let ways = [Transport::Udp, Transport::Tcp].into_iter();
        let sockets = ways.flat_map(|transport| {
            ["0.0.0.0:5060", "[::]:5060"].map(|address| Listener {
                transport,
                address: address.parse().unwrap(),
            })
        });
        config.listeners = sockets.collect();
    })
}

/// The only request on the wire of this method, wherever it goes.
fn sent(world: &World, method: &str) -> Delivery {
    let is_it = |delivery: &&Delivery| {
        let message = &delivery.message;
        message.is_request() && message.method_text() == method
    };
    let all: Vec<&Delivery> = world.wire.iter().filter(is_it).collect();
    assert_eq!(all.len(), 1, "{method}: {:?}", world.wire);
    all[0].clone()
}

/// Where it goes, by which transport and from which socket.
fn way(delivery: &Delivery) -> (String, Transport, u16) {
    let flow = delivery.flow;
    (flow.peer.to_string(), flow.transport, flow.listener)
}

#[test]
fn a_caller_of_either_family_whose_connection_is_gone_is_called_by_udp() {
    for (peer, listener, ours) in [
        ("198.51.100.1:5060", 0, "192.0.2.1"),
        ("[2001:db8::10]:5060", 1, "[2001:db8::1]"),
    ] {
        let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
        (alice.flow.peer, alice.flow.listener) = (peer.parse().unwrap(), 2 + listener);
        let mut pair = up_with(everywhere(), alice, Phone::new("bob", 2), "", "");
        let Pair {
            world,
            alice,
            bob,
            from_bob,
            ..
        } = &mut pair;
        world.handle(Input::FlowClosed { connection: 5 });
        bob.within(world, from_bob, "BYE", "", b"");
        let bye = sent(world, "BYE");
        assert_eq!(way(&bye), (peer.to_owned(), Transport::Udp, listener));
        assert!(text(&bye.message).contains(&format!("Via: SIP/2.0/UDP {ours}:5060;")));
        alice.flow.transport = Transport::Udp;
        alice.gets(world, "BYE", true);
    }
}

/// Bob has registered by IPv4 through a proxy that is called by IPv6.
fn behind_ipv6(world: &mut World) {
    let mut bob = Phone::new("bob", 2);
    let headers = "Contact: <sip:bob@10.0.0.9>\r\nExpires: 600\r\nSupported: path\r\n\
        Path: <sip:[2001:db8::9]:5060;lr>\r\n";
    let answer = bob.request(world, "REGISTER", "sip:lab.test", headers, b"");
    assert_eq!(answer.status(), 200);
}

#[test]
fn a_proxy_of_the_other_family_is_reached_from_our_socket_of_that_family() {
    // Where we have none, what goes there takes the way that the REGISTER came.
    let (hop, source) = ("[2001:db8::9]:5060".to_owned(), "198.51.100.2:5060".to_owned());
    let cases = [
        (world(), (hop, Transport::Udp, 3), "[2001:db8::1]:5060"),
        (World::new(), (source, Transport::Udp, 0), "192.0.2.1:5060"),
    ];
    for (mut world, expected, ours) in cases {
        behind_ipv6(&mut world);
        let mut alice = Phone::new("alice", 1);
        alice.request(
            &mut world,
            "MESSAGE",
            "sip:bob@lab.test",
            "Content-Type: text/plain\r\n",
            b"hello",
        );
        alice.invite(&mut world, "bob");
        for method in ["MESSAGE", "INVITE"] {
            let request = sent(&world, method);
            assert_eq!(way(&request), expected, "{method}");
            let text = text(&request.message);
            assert!(text.contains(&format!("Via: SIP/2.0/UDP {ours};")), "{text}");
            let contact = format!("Contact: <sip:alice@{ours}>");
            assert_eq!(text.contains(&contact), method == "INVITE", "{text}");
        }
    }
}

#[test]
fn a_caller_behind_a_router_of_the_other_family_hears_that_the_call_is_over() {
    let own = || ("198.51.100.1:5060".to_owned(), Transport::Udp, 0);
    let cases = [
        (
            world(),
            ("[2001:db8::9]:5060".to_owned(), Transport::Udp, 3),
            true,
        ),
        (World::new(), own(), false),
    ];
    for (world, expected, comes_again) in cases {
        let routers = "Record-Route: <sip:[2001:db8::9]:5060;lr>\r\n";
        let mut pair = up_with(world, Phone::new("alice", 1), Phone::new("bob", 2), routers, "");
        let Pair {
            world, bob, from_bob, ..
        } = &mut pair;
        bob.within(world, from_bob, "BYE", "", b"");
        let bye = sent(world, "BYE");
        assert_eq!(way(&bye), expected);
        // A router that is silent there may be heard where it was heard before.
        world.advance(std::time::Duration::from_secs(31));
        world.wire.clear();
        world.advance(std::time::Duration::from_millis(1500));
        let again = world.wire.iter().any(|delivery| way(delivery) == own());
        assert!(again || !comes_again, "{:?}", world.wire);
    }
}

#[test]
fn a_connection_to_a_contact_of_the_other_family_is_made_in_our_name_of_that_family() {
    let mut world = everywhere();
    let mut bob = Phone::new("bob", 2).over(Transport::Tcp, 7);
    bob.flow.listener = 2;
    let headers = "Contact: <sip:bob@[2001:db8::20]:5060;transport=tcp>\r\nExpires: 600\r\n";
    let answer = bob.request(&mut world, "REGISTER", "sip:lab.test", headers, b"");
    assert_eq!(answer.status(), 200);
    world.handle(Input::FlowClosed { connection: 7 });
    Phone::new("alice", 1).invite(&mut world, "bob");
    let invite = sent(&world, "INVITE");
    assert_eq!(
        way(&invite),
        ("[2001:db8::20]:5060".to_owned(), Transport::Tcp, 3)
    );
    let text = text(&invite.message);
    assert!(text.contains("Via: SIP/2.0/TCP [2001:db8::1]:5060;"), "{text}");
}

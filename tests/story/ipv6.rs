//! Phones with IPv6 addresses: Via, Contact, descriptions and URIs.

use std::net::SocketAddr;

use cordboard_engine::config::Listener;
use cordboard_engine::io::Transport;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::media::MediaCommand;

use crate::bridge::{Pair, up_with};
use crate::phone::{Phone, SDP};
use crate::world::World;

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

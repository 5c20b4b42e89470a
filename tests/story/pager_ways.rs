//! Messages between users that are delivered at once: who is told of it, and which way large ones go.

use std::time::Duration;

use cordboard_engine::io::{Input, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;
use cordboard_model::Verdict;
use cordboard_model::hook::OnFailure;
use cordboard_model::hook::message::MessageVerdict;

use crate::phone::Phone;
use crate::stranded::only;
use crate::world::{World, chain};

const CPIM: &str = "Content-Type: message/cpim\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n";

fn cpim(wanted: &str) -> String {
    format!(
        "From: <sip:alice@lab.test>\r\nTo: <sip:bob@lab.test>\r\nDateTime: 2027-01-15T08:00:00Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\nimdn.Disposition-Notification: {wanted}\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhello"
    )
}

/// Sends a message to bob, lets him answer, and gives what the sender is answered.
fn page(world: &mut World, alice: &mut Phone, bob: &mut Phone, body: &str, status: u16) -> Message {
    alice.request(world, "MESSAGE", "sip:bob@lab.test", CPIM, body.as_bytes());
    let message = bob.gets(world, "MESSAGE", false);
    bob.respond(world, &message, status, "", "");
    alice.listen(world);
    let answer = alice
        .inbox
        .iter()
        .position(|delivery| !delivery.message.is_request());
    alice.inbox.remove(answer.expect("an answer")).message
}

#[test]
fn delivery_at_once_is_notified_too_where_it_was_asked_for() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    alice.register(&mut world, 600);
    bob.register(&mut world, 600);
    let answer = page(&mut world, &mut alice, &mut bob, &cpim("positive-delivery"), 200);
    assert_eq!(answer.status(), 200);
    let told = alice.gets(&mut world, "MESSAGE", true);
    let text = String::from_utf8_lossy(told.body_slice()).into_owned();
    assert!(
        text.contains("<message-id>m1</message-id>") && text.contains("<delivered/>"),
        "{text}"
    );
    assert!(told.header(Name::From).unwrap().contains("<sip:bob@lab.test>"));
    alice.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    // Neither without the wish nor without the delivery: the sender's answer says that it failed.
    for (wanted, status) in [("negative-delivery", 200), ("positive-delivery", 486)] {
        let answer = page(&mut world, &mut alice, &mut bob, &cpim(wanted), status);
        assert_eq!(answer.status(), status);
        alice.has_nothing(&mut world);
    }
}

#[test]
fn without_a_mailbox_the_notification_goes_out_once() {
    let mut world = World::with(|config| config.mail.count = 0);
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    alice.register(&mut world, 600);
    bob.register(&mut world, 600);
    page(&mut world, &mut alice, &mut bob, &cpim("positive-delivery"), 200);
    let told = alice.gets(&mut world, "MESSAGE", true);
    assert!(String::from_utf8_lossy(told.body_slice()).contains("<delivered/>"));
}

/// Alice, who writes what no datagram holds over a connection, and bob on UDP.
fn huge() -> (World, Phone, Phone, Vec<u8>) {
    let mut world = World::with(|config| config.max_message = 1 << 20);
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    let mut bob = Phone::new("bob", 2);
    alice.register(&mut world, 600);
    bob.register(&mut world, 600);
    (world, alice, bob, vec![b'x'; 65_600])
}

#[test]
fn a_refusal_says_what_would_be_taken_and_when() {
    let long = format!("Allow: {}\r\n", "X".repeat(600));
    for (status, said, told, heard) in [
        (
            415,
            "Accept: text/html\r\nAccept: text/x;q=0.5\r\nAccept-Encoding: gzip\r\nAllow: INVITE\r\n",
            415,
            vec![
                (Name::Accept, "text/html, text/x;q=0.5"),
                (Name::AcceptEncoding, "gzip"),
            ],
        ),
        (
            405,
            "Allow: INVITE, ACK\r\n",
            405,
            vec![(Name::Allow, "INVITE, ACK")],
        ),
        (405, long.as_str(), 405, vec![]),
        (420, "Unsupported: foo\r\n", 420, vec![(Name::Unsupported, "foo")]),
        (
            486,
            "Retry-After: 60\r\nContact: <sip:x@y>\r\n",
            486,
            vec![(Name::RetryAfter, "60")],
        ),
        // Not ours to say: who hears it avoids the switch.
        (503, "Retry-After: 30\r\n", 480, vec![(Name::RetryAfter, "30")]),
    ] {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 600);
        alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, b"hi");
        let message = bob.gets(&mut world, "MESSAGE", false);
        bob.respond(&mut world, &message, status, said, "");
        let answer = alice.final_response(&mut world);
        assert_eq!(answer.status(), told, "{status}");
        let found: Vec<(Name, &str)> = [
            Name::Accept,
            Name::AcceptEncoding,
            Name::Allow,
            Name::Unsupported,
            Name::RetryAfter,
        ]
        .into_iter()
        .filter_map(|name| Some((name, answer.header(name)?)))
        .collect();
        assert_eq!(found, heard, "{status}");
        assert_eq!(answer.header(Name::Contact), None);
    }
}

#[test]
fn a_phone_on_udp_gets_what_is_large_by_the_connection_that_it_has_too() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut ways = [Phone::new("bob", 2).over(Transport::Tcp, 6), Phone::new("bob", 3)];
    for (number, bob) in ways.iter_mut().enumerate() {
        let (number, contact) = (number + 1, bob.contact());
        let headers = format!(
            "Supported: outbound\r\nExpires: {number}000\r\n\
             Contact: {contact};reg-id={number};+sip.instance=\"<urn:uuid:1>\"\r\n"
        );
        let answer = bob.request(&mut world, "REGISTER", "sip:lab.test", &headers, b"");
        assert_eq!(answer.status(), 200);
    }
    let [mut by_tcp, mut by_udp] = ways;
    let (large, mut is_connected) = ([b'x'; 1300], true);
    for body in [&large[..], b"small", &large] {
        alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, body);
        // Once the connection is gone there is UDP alone.
        let (phone, other) = match body.len() == large.len() && is_connected {
            true => (&mut by_tcp, &mut by_udp),
            false => (&mut by_udp, &mut by_tcp),
        };
        let message = phone.gets(&mut world, "MESSAGE", false);
        assert_eq!(message.body_slice(), body);
        phone.respond(&mut world, &message, 200, "", "");
        assert_eq!(alice.final_response(&mut world).status(), 200);
        other.has_nothing(&mut world);
        if body == b"small" {
            world.handle(Input::FlowClosed { connection: 6 });
            is_connected = false;
        }
    }
}

/// Registers a flow of bob's one phone: by its number, for so many seconds.
fn flow(phone: &mut Phone, world: &mut World, number: u8, expires: u32) {
    let headers = format!(
        "Supported: outbound\r\nExpires: {expires}\r\n\
         Contact: {};reg-id={number};+sip.instance=\"<urn:uuid:1>\"\r\n",
        phone.contact()
    );
    let answer = phone.request(world, "REGISTER", "sip:lab.test", &headers, b"");
    assert_eq!(answer.status(), 200);
}

/// Bob's phone on UDP with two connections beside that, of which it renewed the second last.
fn beside(world: &mut World) -> [Phone; 3] {
    let mut ways = [
        Phone::new("bob", 2).over(Transport::Tcp, 6),
        Phone::new("bob", 2).over(Transport::Tcp, 7),
        Phone::new("bob", 3),
    ];
    for (phone, number) in ways.iter_mut().zip(1..) {
        flow(phone, world, number, 1000 * u32::from(number));
    }
    ways
}

fn takes(phone: &mut Phone, world: &mut World, body: &[u8]) {
    let message = phone.gets(world, "MESSAGE", false);
    assert_eq!(message.body_slice(), body);
    phone.respond(world, &message, 200, "", "");
}

#[test]
fn what_has_no_answer_by_a_connection_goes_by_udp_in_time_and_so_does_what_follows() {
    let (mut world, mut alice, large) = (World::new(), Phone::new("alice", 1), [b'x'; 1300]);
    let [mut first, mut last, mut udp] = beside(&mut world);
    let writes = |alice: &mut Phone, world: &mut World| {
        let answer = alice.request(world, "MESSAGE", "sip:bob@lab.test", TEXT, &large);
        assert!(answer.status() < 200);
    };
    writes(&mut alice, &mut world);
    last.gets(&mut world, "MESSAGE", false);
    udp.has_nothing(&mut world);
    world.advance(Duration::from_secs(12));
    takes(&mut udp, &mut world, &large);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    // The connection is left until the phone renews it.
    writes(&mut alice, &mut world);
    takes(&mut udp, &mut world, &large);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    flow(&mut last, &mut world, 2, 2000);
    writes(&mut alice, &mut world);
    takes(&mut last, &mut world, &large);
    assert_eq!(alice.final_response(&mut world).status(), 200);
    udp.has_nothing(&mut world);
    // Who is silent by either way is as one who is silent.
    writes(&mut alice, &mut world);
    last.gets(&mut world, "MESSAGE", false);
    world.advance(Duration::from_secs(24));
    udp.gets(&mut world, "MESSAGE", false);
    assert_eq!(alice.final_response(&mut world).status(), 202);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.engine.gauges().kept_messages, 1);
    for phone in [&mut first, &mut last] {
        phone.has_nothing(&mut world);
    }
}

#[test]
fn what_is_kept_and_has_no_answer_by_a_connection_goes_by_udp_too() {
    for closed in [false, true] {
        let (mut world, mut alice, large) = (World::new(), Phone::new("alice", 1), [b'x'; 1300]);
        let [mut first, mut last, mut udp] = beside(&mut world);
        // With two phones it is kept first.
        let mut desk = Phone::new("bob-desk", 5);
        desk.register(&mut world, 600);
        let answer = alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, &large);
        assert_eq!(answer.status(), 202);
        let message = desk.gets(&mut world, "MESSAGE", false);
        desk.respond(&mut world, &message, 486, "", "");
        last.gets(&mut world, "MESSAGE", false);
        udp.has_nothing(&mut world);
        if closed {
            world.handle(Input::FlowClosed { connection: 7 });
            // Not by the other connection: who makes one after the other would be sent it for ever.
            first.has_nothing(&mut world);
        } else {
            world.advance(Duration::from_secs(33));
        }
        takes(&mut udp, &mut world, &large);
        udp.inbox.clear(); // what UDP has repeated by then
        assert_eq!(world.engine.gauges().kept_messages, 0, "{closed}");
        world.advance(Duration::from_secs(40));
        for phone in [&mut last, &mut udp, &mut desk] {
            phone.has_nothing(&mut world);
        }
    }
}

#[test]
fn a_phone_that_renewed_its_connection_last_and_is_silent_there_gets_it_by_udp_too() {
    for body in [&[b'x'; 1300][..], b"small"] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        let mut udp = Phone::new("bob", 3);
        let mut tcp = Phone::new("bob", 2).over(Transport::Tcp, 6);
        flow(&mut tcp, &mut world, 2, 2000);
        flow(&mut udp, &mut world, 1, 1000);
        let writes = |alice: &mut Phone, world: &mut World| {
            let answer = alice.request(world, "MESSAGE", "sip:bob@lab.test", TEXT, body);
            assert!(answer.status() < 200);
        };
        writes(&mut alice, &mut world);
        tcp.gets(&mut world, "MESSAGE", false);
        world.advance(Duration::from_secs(12));
        takes(&mut udp, &mut world, body);
        assert_eq!(alice.final_response(&mut world).status(), 200);
        // Whatever follows goes by UDP at once, until the phone renews the connection.
        writes(&mut alice, &mut world);
        takes(&mut udp, &mut world, body);
        assert_eq!(alice.final_response(&mut world).status(), 200);
        tcp.has_nothing(&mut world);
        flow(&mut tcp, &mut world, 2, 2000);
        // Silent by either way it is as any: tried by each once, and then kept.
        writes(&mut alice, &mut world);
        tcp.gets(&mut world, "MESSAGE", false);
        udp.has_nothing(&mut world);
        world.advance(Duration::from_secs(90));
        assert_eq!(alice.final_response(&mut world).status(), 202);
        assert_eq!(world.engine.gauges().kept_messages, 1);
        let first = udp.gets(&mut world, "MESSAGE", false);
        for repeat in &udp.inbox {
            assert_eq!(repeat.message.header(Name::Via), first.header(Name::Via));
        }
        tcp.has_nothing(&mut world);
    }
}

#[test]
fn a_phone_with_tls_is_not_left_for_udp() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    let mut udp = Phone::new("bob", 3);
    let mut tls = Phone::new("bob", 2).over(Transport::Tls, 6);
    flow(&mut tls, &mut world, 2, 2000);
    flow(&mut udp, &mut world, 1, 1000);
    alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, b"x");
    tls.gets(&mut world, "MESSAGE", false);
    world.advance(Duration::from_secs(90));
    udp.has_nothing(&mut world);
}

#[test]
fn what_is_over_is_not_sent_by_udp_instead() {
    let large = [b'x'; 1300];
    // Alone its sender waits; with two phones it is kept first.
    for kept in [false, true] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        let [_, mut last, mut udp] = beside(&mut world);
        let mut desk = Phone::new("bob-desk", 5);
        if kept {
            desk.register(&mut world, 600);
        }
        let headers = format!("{TEXT}Expires: 10\r\n");
        let mut answer = alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", &headers, &large);
        if kept {
            let message = desk.gets(&mut world, "MESSAGE", false);
            desk.respond(&mut world, &message, 486, "", "");
        }
        last.gets(&mut world, "MESSAGE", false);
        world.advance(Duration::from_secs(70));
        udp.has_nothing(&mut world);
        if !kept {
            answer = alice.final_response(&mut world);
        }
        assert_eq!(answer.status(), if kept { 202 } else { 480 });
        assert_eq!(world.engine.gauges().kept_messages, 0, "{kept}");
    }
}

#[test]
fn a_phone_that_has_said_100_on_a_connection_is_not_sent_it_by_udp_while_it_works() {
    let (mut world, mut alice, large) = (World::new(), Phone::new("alice", 1), [b'x'; 1300]);
    let [_, mut last, mut udp] = beside(&mut world);
    alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, &large);
    let message = last.gets(&mut world, "MESSAGE", false);
    last.respond(&mut world, &message, 100, "", "");
    world.advance(Duration::from_secs(15));
    udp.has_nothing(&mut world);
    last.respond(&mut world, &message, 200, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 200);
    // Nor is the connection left.
    alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, &large);
    takes(&mut last, &mut world, &large);
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn what_fits_into_no_datagram_goes_by_a_new_connection() {
    let (mut world, mut alice, mut bob, body) = huge();
    alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, &body);
    bob.listen(&mut world);
    let flow = bob.inbox[0].flow;
    assert_eq!(
        (flow.transport, flow.connection, flow.peer),
        (Transport::Tcp, 0, bob.flow.peer)
    );
    let message = bob.gets(&mut world, "MESSAGE", false);
    assert!(message.header(Name::Via).unwrap().starts_with("SIP/2.0/TCP "));
    assert_eq!(message.body_slice(), body);
    bob.flow = flow;
    bob.respond(&mut world, &message, 200, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn where_no_connection_can_be_made_the_sender_is_told_413() {
    let (mut world, mut alice, mut bob, body) = huge();
    alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, &body);
    bob.listen(&mut world);
    let flow = bob.inbox.remove(0).flow;
    world.handle(Input::Unreachable { flow });
    assert_eq!(alice.final_response(&mut world).status(), 413);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn a_switch_without_tcp_refuses_it_at_once() {
    let mut world = World::with(|config| {
        config.max_message = 1 << 20;
        config.listeners[1].transport = Transport::Wss;
    });
    let mut alice = Phone::new("alice", 1).over(Transport::Ws, 5);
    let mut bob = Phone::new("bob", 2);
    alice.register(&mut world, 600);
    bob.register(&mut world, 600);
    let body = vec![b'x'; 65_600];
    let answer = alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, &body);
    assert_eq!(answer.status(), 413);
    assert_eq!(world.engine.counts().messages[&("out", "pager", "too_large")], 1);
    let large = vec![b'x'; 1400];
    alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, &large);
    assert_eq!(bob.gets(&mut world, "MESSAGE", true).body_slice(), large);
    assert_eq!(
        world.engine.counts().messages[&("out", "pager", "large_over_udp")],
        1
    );
}

#[test]
fn hops_are_counted_down_where_a_message_is_kept_too() {
    for contacts in [0, 2] {
        let mut world = World::new();
        let mut alice = Phone::new("alice", 1);
        let mut phones = [Phone::new("bob", 2), Phone::new("bob-desk", 3)];
        for phone in phones.iter_mut().take(contacts) {
            phone.register(&mut world, 600);
        }
        for (hops, status) in [(12, 202), (1, 202), (0, 483)] {
            alice.hops = hops;
            let answer = alice.request(&mut world, "MESSAGE", "sip:bob@lab.test", TEXT, b"hello");
            assert_eq!(answer.status(), status, "{hops}");
        }
        world.restart();
        for phone in &mut phones {
            phone.inbox.clear();
            phone.register(&mut world, 600);
        }
        world.advance(std::time::Duration::from_secs(1));
        for hops in [11, 0] {
            let message = phones[0].gets(&mut world, "MESSAGE", true);
            assert_eq!(message.max_forwards(), Some(Ok(hops)), "{contacts} contacts");
            phones[0].listen(&mut world);
            phones[0]
                .inbox
                .retain(|delivery| delivery.message.max_forwards() != Some(Ok(hops)));
        }
    }
}

/// While what the connection of a sender breaks: plugins are asked, or the phone is, or the message is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Asked,
    Relayed,
    Kept,
}

/// Alice, behind a trusted proxy, sends bob a message by connection 5; this is what it says each time.
fn sends(world: &mut World, alice: &Phone) {
    let via = format!("SIP/2.0/{} {}", alice.flow.transport.via(), alice.flow.peer);
    let text = format!(
        "MESSAGE sip:bob@lab.test SIP/2.0\r\nVia: {via};branch=z9hG4bKonce\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@lab.test>;tag=1\r\nTo: <sip:bob@lab.test>\r\nCall-ID: once\r\nCSeq: 1 MESSAGE\r\n\
         {TEXT}Content-Length: 5\r\n\r\n"
    );
    world.receive(alice.flow, &text, b"hello");
}

#[test]
fn a_sender_whose_connection_breaks_hears_its_answer_and_is_delivered_once() {
    use Breaks::{Asked, Kept, Relayed};
    for breaks in [Asked, Relayed, Kept] {
        for (transport, early) in [
            (Transport::Tcp, true),
            (Transport::Tcp, false),
            (Transport::Ws, true),
            (Transport::Ws, false),
        ] {
            let mut world = World::with(|config| {
                config.trusted = vec!["198.51.100.1/32".parse().unwrap()];
                config.hooks.message_filter = chain(OnFailure::Pass);
            });
            let mut alice = Phone::new("alice", 1).over(transport, 5);
            let mut bob = Phone::new("bob", 2);
            if breaks != Kept {
                bob.register(&mut world, 600);
            }
            world.disk_hangs = true;
            sends(&mut world, &alice);
            let (ticket, _) = world.question();
            // Repeats in time are absorbed, later ones hear the answer once more.
            let breaks_now = |world: &mut World, alice: &mut Phone| {
                world.handle(Input::FlowClosed { connection: 5 });
                if early {
                    alice.flow.connection = 17;
                    sends(world, alice);
                }
            };
            if breaks == Asked {
                breaks_now(&mut world, &mut alice);
            }
            world.answer(ticket, Verdict::Message(MessageVerdict::Pass));
            if breaks != Asked {
                breaks_now(&mut world, &mut alice);
            }
            let status = match breaks {
                Kept => {
                    world.commit(true);
                    202
                }
                _ => {
                    bob.gets(&mut world, "MESSAGE", true);
                    200
                }
            };
            let heard = |world: &mut World, alice: &mut Phone, by| {
                alice.listen(world);
                let answer = alice.inbox.remove(0);
                let came = (answer.message.status(), answer.flow.connection);
                assert_eq!(came, (status, by), "{breaks:?} {transport:?} {early}");
            };
            heard(&mut world, &mut alice, if early { 17 } else { 0 });
            if !early {
                alice.flow.connection = 18;
                sends(&mut world, &alice);
                heard(&mut world, &mut alice, 18);
            }
            bob.has_nothing(&mut world);
            assert!(world.asked.is_empty());
            world.advance(Duration::from_secs(40));
            assert_eq!(world.engine.gauges().transactions, 0);
        }
    }
}

#[test]
fn a_sender_whose_connections_break_one_after_the_other_is_delivered_once_and_hears_it_on_the_last() {
    for transport in [Transport::Tcp, Transport::Ws] {
        // The answer comes when so many connections have broken; the phone is back by another one each time.
        for broken in 1..=3 {
            let mut world = World::with(|config| {
                config.trusted = vec!["198.51.100.1/32".parse().unwrap()];
            });
            let (mut alice, mut bob) = (Phone::new("alice", 1).over(transport, 5), Phone::new("bob", 2));
            bob.register(&mut world, 600);
            sends(&mut world, &alice);
            let message = bob.gets(&mut world, "MESSAGE", false);
            for round in 1..=3 {
                let connection = alice.flow.connection;
                world.handle(Input::FlowClosed { connection });
                if round == broken {
                    bob.respond(&mut world, &message, 200, "", "");
                    let lost = only(&mut alice, &mut world);
                    assert_eq!((lost.message.status(), lost.flow.connection), (200, 0));
                }
                alice.flow.connection += 10;
                sends(&mut world, &alice);
                if round >= broken {
                    let heard = only(&mut alice, &mut world);
                    let came = (heard.message.status(), heard.flow.connection);
                    assert_eq!(came, (200, alice.flow.connection), "{transport:?} {broken}");
                }
                alice.has_nothing(&mut world);
            }
            bob.has_nothing(&mut world);
            world.advance(Duration::from_secs(70));
            assert_eq!(world.engine.gauges().transactions, 0);
        }
    }
}

//! Proxies between the switch and a phone: Path, Record-Route both ways, strict routers.

use cordboard_engine::io::{Flow, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::pager;
use crate::phone::{Line, Phone, SDP, SDP_TYPE};
use crate::world::{REALM, World};

fn routes(message: &Message) -> Vec<String> {
    message.values(Name::Route).map(str::to_owned).collect()
}

/// A phone behind a proxy; what is sent to it arrives at the proxy's address.
fn proxy(name: &'static str, host: u8) -> Phone {
    Phone::new(name, host)
}

#[test]
fn what_goes_to_a_phone_that_registered_through_proxies_takes_their_path() {
    let (mut world, mut alice, mut edge) = (World::new(), Phone::new("alice", 1), proxy("bob", 2));
    let path = "<sip:198.51.100.2:5060;lr>, <sip:inner.lab.test;lr>";
    let headers =
        format!("Contact: <sip:bob@10.0.0.9:5060>\r\nExpires: 600\r\nPath: {path}\r\nSupported: path\r\n");
    let answer = edge.request(&mut world, "REGISTER", &format!("sip:{REALM}"), &headers, b"");
    assert_eq!((answer.status(), answer.header(Name::Path)), (200, Some(path)));
    world.restart();
    alice.invite(&mut world, "bob");
    let invite = edge.gets(&mut world, "INVITE", false);
    assert_eq!(invite.request_uri(), "sip:bob@10.0.0.9:5060");
    assert_eq!(
        routes(&invite),
        ["<sip:198.51.100.2:5060;lr>", "<sip:inner.lab.test;lr>"]
    );
    // The CANCEL goes the INVITE's way.
    edge.respond(&mut world, &invite, 180, "", "");
    alice.cancel(&mut world, "");
    let cancel = edge.gets(&mut world, "CANCEL", true);
    assert_eq!(
        (cancel.request_uri(), routes(&cancel)),
        (invite.request_uri(), routes(&invite))
    );
}

#[test]
fn a_called_phone_is_reached_through_the_routers_that_recorded_themselves_last_first() {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), proxy("bob", 2));
    bob.register(&mut world, 600);
    alice.invite(&mut world, "bob");
    let invite = bob.gets(&mut world, "INVITE", false);
    let headers = format!(
        "Record-Route: <sip:10.9.9.9;lr>\r\nRecord-Route: <sip:198.51.100.2:5060;lr>\r\nContact: <sip:bob@10.0.0.9>\r\n{SDP_TYPE}"
    );
    bob.respond(&mut world, &invite, 200, &headers, SDP);
    let ack = bob.gets(&mut world, "ACK", false);
    assert_eq!(ack.request_uri(), "sip:bob@10.0.0.9");
    assert_eq!(routes(&ack), ["<sip:198.51.100.2:5060;lr>", "<sip:10.9.9.9;lr>"]);
}

/// Alice's INVITE comes through proxies; the line that it makes, and her proxy.
fn through(world: &mut World, record_route: &str) -> (Phone, Line) {
    let mut proxy = proxy("alice", 1);
    let (mut line, answer) = proxy.invite_with(world, "bob", record_route);
    assert!(answer.is_none());
    line.own = format!("<sip:alice@{REALM}>;tag=alice1");
    (proxy, line)
}

#[test]
fn a_caller_is_reached_through_its_routers_first_first_and_sees_them_in_the_answer() {
    // What the proxies recorded, where our BYE goes, and the routes in it.
    let contact = "sip:alice@198.51.100.1:5060";
    let cases: [(&str, &str, &[&str]); 3] = [
        (
            "Record-Route: <sip:198.51.100.1:5060;lr>, <sip:10.1.1.1;lr>\r\n",
            contact,
            &["<sip:198.51.100.1:5060;lr>", "<sip:10.1.1.1;lr>"],
        ),
        // A strict router gets the request under its own name, and the target as the last route.
        (
            "Record-Route: <sip:198.51.100.1:5060>, <sip:10.1.1.1;lr>\r\n",
            "sip:198.51.100.1:5060",
            &["<sip:10.1.1.1;lr>", "<sip:alice@198.51.100.1:5060>"],
        ),
        // A router that is named by a name is the one that the INVITE came from.
        (
            "Record-Route: <sip:edge.example;lr>\r\n",
            contact,
            &["<sip:edge.example;lr>"],
        ),
    ];
    for (recorded, uri, expect) in cases {
        let (mut world, mut bob) = (World::new(), Phone::new("bob", 2));
        bob.register(&mut world, 600);
        let (mut alice, mut line) = through(&mut world, recorded);
        let invite = bob.gets(&mut world, "INVITE", false);
        assert_eq!(
            routes(&invite),
            [""; 0],
            "the caller's routers are not on the way to bob"
        );
        let mut from_bob = bob.pick_up(&mut world, &invite);
        bob.gets(&mut world, "ACK", false);
        let answer = alice.final_response(&mut world);
        let told: Vec<&str> = answer.values(Name::RecordRoute).collect();
        let sent = recorded.trim_start_matches("Record-Route: ").trim_end();
        assert_eq!(told.join(", "), sent);
        line.learn(&answer);
        alice.ack(&mut world, &line);
        assert_eq!(
            bob.within(&mut world, &mut from_bob, "BYE", "", b"").status(),
            200
        );
        let bye = alice.gets(&mut world, "BYE", true);
        assert_eq!(bye.request_uri(), uri);
        assert_eq!(routes(&bye), expect);
    }
}

/// Bob, on UDP, has registered this contact; where he is called, and what that says.
fn called_at(contact: &str) -> (Flow, Message) {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let headers = format!("Supported: outbound\r\nContact: {contact}\r\nExpires: 600\r\n");
    let answer = bob.request(&mut world, "REGISTER", "sip:lab.test", &headers, b"");
    assert_eq!(answer.status(), 200);
    alice.invite(&mut world, "bob");
    let invite = world
        .wire
        .iter()
        .find(|delivery| delivery.message.is_request() && delivery.message.method_text() == "INVITE");
    let invite = invite.expect("bob is called");
    (invite.flow, invite.message.clone())
}

#[test]
fn a_contact_that_asks_for_tcp_is_called_by_tcp_where_that_can_be() {
    let (flow, invite) = called_at("<sip:bob@198.51.100.2:7777;transport=TCP>");
    assert_eq!(
        (flow.transport, flow.connection, flow.peer.to_string()),
        (Transport::Tcp, 0, "198.51.100.2:7777".into())
    );
    assert!(invite.header(Name::Via).unwrap().starts_with("SIP/2.0/TCP"));
    assert!(invite.header(Name::Contact).unwrap().contains("transport=tcp"));
    let by_udp = [
        // Behind a NAT, and one who keeps its flow.
        "<sip:bob@10.0.0.2:7777;transport=tcp>",
        "<sip:bob@198.51.100.2:7777;transport=tcp;ob>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"",
    ];
    for contact in by_udp {
        let (flow, _) = called_at(contact);
        assert_eq!(
            (flow.transport, flow.peer.port()),
            (Transport::Udp, 5060),
            "{contact}"
        );
    }
}

/// A flow that is gone is a word between the phone's proxy and us: its callers hear that it cannot be reached.
#[test]
fn who_calls_a_phone_whose_proxy_has_lost_it_hears_480() {
    let (mut world, mut alice, mut edge) = (World::new(), Phone::new("alice", 1), proxy("bob", 2));
    edge.register(&mut world, 600);
    alice.invite(&mut world, "bob");
    let invite = edge.gets(&mut world, "INVITE", false);
    edge.respond(&mut world, &invite, 430, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 480);
}

#[test]
fn a_message_to_a_phone_whose_proxy_has_lost_it_is_kept_until_it_registers_again() {
    let (mut world, mut alice, mut edge) = (World::new(), Phone::new("alice", 1), proxy("bob", 2));
    edge.register(&mut world, 600);
    // One that went straight to the phone, and one that was kept when that failed.
    for attempt in 0..2 {
        if attempt == 0 {
            pager::send(
                &mut alice,
                &mut world,
                "bob",
                "Content-Type: text/plain\r\n",
                "hello",
            );
        } else {
            edge.register(&mut world, 600);
        }
        let message = edge.gets(&mut world, "MESSAGE", false);
        edge.respond(&mut world, &message, 430, "", "");
        if attempt == 0 {
            assert_eq!(alice.final_response(&mut world).status(), 202);
        }
        assert_eq!(world.engine.gauges().kept_messages, 1);
    }
    edge.register(&mut world, 600);
    assert_eq!(pager::bodies(&pager::read(&mut edge, &mut world, 200)), ["hello"]);
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn what_a_proxy_says_of_a_lost_flow_is_a_refusal_for_now_whatever_the_size() {
    let mut world = World::with(|config| config.max_message = 1 << 20);
    let mut alice = Phone::new("alice", 1).over(Transport::Tcp, 5);
    let mut edge = proxy("bob", 2);
    edge.register(&mut world, 600);
    let body = "x".repeat(65_600);
    pager::send(
        &mut alice,
        &mut world,
        "bob",
        "Content-Type: text/plain\r\n",
        &body,
    );
    // The message that no datagram holds went by a connection.
    edge.listen(&mut world);
    edge.flow = edge.inbox[0].flow;
    let message = edge.gets(&mut world, "MESSAGE", false);
    edge.respond(&mut world, &message, 430, "", "");
    assert_eq!(alice.final_response(&mut world).status(), 202);
    assert_eq!(pager::count(&world, "out", "timeout"), 0);
    // It is kept; the proxy says of that when to come back.
    let message = edge.gets(&mut world, "MESSAGE", false);
    edge.respond(&mut world, &message, 430, "Retry-After: 90\r\n", "");
    assert_eq!(pager::count(&world, "out", "refused"), 2);
    world.advance(std::time::Duration::from_secs(89));
    edge.has_nothing(&mut world);
    world.advance(std::time::Duration::from_secs(1));
    assert_eq!(
        edge.gets(&mut world, "MESSAGE", true).body_slice().len(),
        body.len()
    );
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

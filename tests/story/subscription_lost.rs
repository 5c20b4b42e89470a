//! Who watches a conference and loses the connection is told on the next one what happened meanwhile.

use std::time::Duration;

use cordboard_engine::io::{Flow, Input, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::phone::{Line, Phone};
use crate::subscription::{CONFERENCE, subscribe};
use crate::world::{REALM, World};

/// Alice watches over connection 9, and knows what there is to know.
fn watching(transport: Transport) -> (World, Phone, Line) {
    let world = World::new();
    let mut alice = Phone::new("alice", 1).over(transport, 9);
    if transport == Transport::Tcp {
        alice.named = ";transport=tcp";
    }
    watched_by(world, alice)
}

/// The same in this world, by this phone.
fn watched_by(mut world: World, mut alice: Phone) -> (World, Phone, Line) {
    let (line, _) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    alice.gets(&mut world, "NOTIFY", true);
    world.advance(Duration::from_secs(10));
    (world, alice, line)
}

fn breaks(world: &mut World, connection: u64) {
    world.handle(Input::FlowClosed { connection });
}

/// Alice registers the contact that she had, on another connection.
fn back(world: &mut World, alice: &mut Phone, connection: u64) {
    let headers = format!("Contact: {}\r\nExpires: 600\r\n", alice.contact());
    alice.flow.connection = connection;
    let uri = format!("sip:{REALM}");
    let answer = alice.request(world, "REGISTER", &uri, &headers, b"");
    assert_eq!(answer.status(), 200);
}

/// The next NOTIFY for alice, and the way that it went.
fn told(world: &mut World, alice: &mut Phone, answer: bool) -> (Flow, String) {
    alice.listen(world);
    let flow = alice.inbox.first().expect("a NOTIFY").flow;
    let notify = alice.gets(world, "NOTIFY", answer);
    (flow, text(&notify))
}

fn text(notify: &Message) -> String {
    String::from_utf8(notify.body_slice().to_vec()).unwrap()
}

#[test]
fn a_browser_that_comes_back_is_told_everything_on_its_new_connection() {
    for in_flight in [false, true] {
        let (mut world, mut alice, _) = watching(Transport::Ws);
        let mut bob = Phone::new("bob", 2);
        if in_flight {
            bob.call(&mut world, "3000");
            alice.gets(&mut world, "NOTIFY", false);
        }
        breaks(&mut world, 9);
        if !in_flight {
            bob.call(&mut world, "3000");
        }
        world.advance(Duration::from_secs(60));
        alice.has_nothing(&mut world);
        assert_eq!(world.engine.gauges().subscriptions, 1);
        back(&mut world, &mut alice, 10);
        let (flow, whole) = told(&mut world, &mut alice, true);
        assert_eq!(flow.connection, 10);
        assert!(
            whole.contains("state=\"full\"") && whole.contains("sip:bob@lab.test"),
            "{whole}"
        );
        alice.has_nothing(&mut world);
        // From now on it is a subscription like any other.
        world.advance(Duration::from_secs(120));
        Phone::new("carol", 3).call(&mut world, "3000");
        let (flow, news) = told(&mut world, &mut alice, true);
        assert_eq!(flow.connection, 10);
        assert!(
            news.contains("state=\"partial\"") && news.contains("sip:carol@lab.test"),
            "{news}"
        );
    }
}

#[test]
fn a_phone_on_tcp_is_called_where_its_contact_says() {
    let (mut world, mut alice, _) = watching(Transport::Tcp);
    breaks(&mut world, 9);
    alice.has_nothing(&mut world);
    Phone::new("bob", 2).call(&mut world, "3000");
    let (flow, news) = told(&mut world, &mut alice, true);
    assert_eq!((flow.transport, flow.connection), (Transport::Tcp, 0));
    assert_eq!(flow.peer, alice.flow.peer);
    assert!(news.contains("sip:bob@lab.test"), "{news}");
    world.advance(Duration::from_secs(200));
    assert_eq!(world.engine.gauges().subscriptions, 1, "it answers");
}

#[test]
fn a_phone_that_names_no_tcp_is_told_by_udp_when_its_connection_is_gone() {
    // It answers there or not; it has registered by TCP or not.
    for (answers, registered) in [(true, false), (false, false), (true, true)] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1).over(Transport::Tcp, 9));
        if registered {
            alice.register(&mut world, 600);
        }
        let (mut world, mut alice, _) = watched_by(world, alice);
        breaks(&mut world, 9);
        Phone::new("bob", 2).call(&mut world, "3000");
        let (flow, news) = told(&mut world, &mut alice, answers);
        let by = match registered {
            true => (Transport::Tcp, 0),
            false => (Transport::Udp, 0),
        };
        assert_eq!((flow.transport, flow.connection), by);
        assert_eq!(flow.peer, alice.flow.peer);
        assert!(news.contains("sip:bob@lab.test"), "{news}");
        if answers {
            world.advance(Duration::from_secs(130));
            Phone::new("carol", 3).call(&mut world, "3000");
            let (flow, _) = told(&mut world, &mut alice, true);
            assert_eq!((flow.transport, flow.connection), by);
        } else {
            world.advance(Duration::from_secs(60));
            world.take(alice.flow.peer);
            back(&mut world, &mut alice, 11);
            let (flow, whole) = told(&mut world, &mut alice, true);
            assert_eq!((flow.transport, flow.connection), (Transport::Tcp, 11));
            assert!(whole.contains("state=\"full\""), "{whole}");
        }
    }
}

#[test]
fn a_phone_on_udp_that_asks_for_tcp_is_told_by_tcp_where_that_can_be() {
    for refused in [false, true] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        alice.named = ";transport=tcp";
        subscribe(&mut alice, &mut world, "3000", CONFERENCE);
        if refused {
            let (flow, _) = told(&mut world, &mut alice, false);
            assert_eq!(flow.transport, Transport::Tcp);
            world.handle(Input::Unreachable { flow });
        }
        let by = match refused {
            true => Transport::Udp,
            false => Transport::Tcp,
        };
        let (flow, whole) = told(&mut world, &mut alice, true);
        assert_eq!(flow.transport, by);
        assert!(whole.contains("state=\"full\""), "{whole}");
        world.advance(Duration::from_secs(10));
        Phone::new("bob", 2).call(&mut world, "3000");
        let (flow, _) = told(&mut world, &mut alice, true);
        assert_eq!(flow.transport, by);
    }
}

/// The next NOTIFY for alice is the last one, and goes by this.
fn told_the_end(world: &mut World, alice: &mut Phone, by: Transport) -> Flow {
    alice.listen(world);
    let flow = alice.inbox.first().expect("a NOTIFY").flow;
    let notify = alice.gets(world, "NOTIFY", false);
    let state = notify.header(Name::SubscriptionState);
    assert_eq!((state, flow.transport), (Some("terminated;reason=timeout"), by));
    let via = notify.header(Name::Via).unwrap();
    assert!(via.starts_with(&format!("SIP/2.0/{} ", by.via())), "{via}");
    assert!(text(&notify).contains("state=\"full\""));
    if by == Transport::Udp {
        alice.respond(world, &notify, 200, "", "");
    }
    flow
}

#[test]
fn the_last_notify_goes_by_udp_where_the_phone_takes_no_tcp() {
    // The connection is refused, or nothing is heard of it.
    for refused in [true, false] {
        // It asks but once, or leaves again while the first connection is still being made.
        for once in [true, false] {
            let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
            alice.named = ";transport=tcp";
            let ends = CONFERENCE.replace("600", "0");
            if once {
                subscribe(&mut alice, &mut world, "3000", &ends);
            } else {
                let (mut line, _) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
                assert_eq!(told(&mut world, &mut alice, false).0.transport, Transport::Tcp);
                alice.within(&mut world, &mut line, "SUBSCRIBE", &ends, b"");
            }
            let flow = told_the_end(&mut world, &mut alice, Transport::Tcp);
            alice.has_nothing(&mut world);
            if refused {
                world.handle(Input::Unreachable { flow });
            } else {
                world.advance(Duration::from_secs(32));
            }
            told_the_end(&mut world, &mut alice, Transport::Udp);
            alice.has_nothing(&mut world);
            assert_eq!(world.engine.gauges().subscriptions, 0);
            world.advance(Duration::from_secs(70));
            world.is_clean();
        }
    }
}

#[test]
fn a_drain_waits_until_the_last_notify_has_found_its_way() {
    let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
    alice.named = ";transport=tcp";
    subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    told(&mut world, &mut alice, true);
    let deadline = world.now + Duration::from_secs(20);
    world.handle(Input::Drain { deadline });
    let (flow, _) = told(&mut world, &mut alice, false);
    assert_eq!((flow.transport, world.drained), (Transport::Tcp, false));
    world.advance(Duration::from_secs(20));
    let (flow, _) = told(&mut world, &mut alice, true);
    assert_eq!((flow.transport, world.drained), (Transport::Udp, true));
}

#[test]
fn last_notifies_that_cannot_be_kept_go_the_way_that_the_phone_came() {
    let mut world = World::with(|config| config.limits.calls = 4);
    let mut alice = Phone::new("alice", 1);
    alice.named = ";transport=tcp";
    let ends = CONFERENCE.replace("600", "0");
    for by in [Transport::Tcp, Transport::Tcp, Transport::Udp] {
        subscribe(&mut alice, &mut world, "3000", &ends);
        told_the_end(&mut world, &mut alice, by);
    }
}

#[test]
fn a_subscription_follows_a_phone_that_changes_to_udp() {
    let (mut world, mut alice, mut line) = watching(Transport::Tcp);
    breaks(&mut world, 9);
    (alice.flow, alice.named) = (Phone::new("alice", 1).flow, "");
    let answer = alice.within(&mut world, &mut line, "SUBSCRIBE", CONFERENCE, b"");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header(Name::Contact),
        Some("<sip:3000@192.0.2.1:5060>;isfocus")
    );
    let (flow, _) = told(&mut world, &mut alice, true);
    assert_eq!(flow, alice.flow);
    world.advance(Duration::from_secs(130));
    assert_eq!(world.engine.gauges().subscriptions, 1);
}

#[test]
fn one_that_cannot_be_called_is_told_when_it_comes_back() {
    let (mut world, mut alice, _) = watching(Transport::Tcp);
    breaks(&mut world, 9);
    let mut bob = Phone::new("bob", 2);
    let mut line = bob.call(&mut world, "3000");
    let (flow, _) = told(&mut world, &mut alice, false);
    world.handle(Input::Unreachable { flow });
    world.advance(Duration::from_secs(10));
    bob.within(&mut world, &mut line, "BYE", "", b"");
    world.advance(Duration::from_secs(10));
    alice.has_nothing(&mut world); // it is not called again and again
    back(&mut world, &mut alice, 11);
    let (flow, whole) = told(&mut world, &mut alice, true);
    assert_eq!(flow.connection, 11);
    assert!(
        whole.contains("state=\"full\"") && whole.contains("<user-count>0</user-count>"),
        "{whole}"
    );
}

#[test]
fn a_subscription_follows_the_connection_by_which_it_is_renewed() {
    let (mut world, mut alice, mut line) = watching(Transport::Ws);
    breaks(&mut world, 9);
    alice.flow.connection = 12;
    let renewed = alice.within(&mut world, &mut line, "SUBSCRIBE", CONFERENCE, b"");
    assert_eq!(renewed.status(), 200);
    assert_eq!(told(&mut world, &mut alice, true).0.connection, 12);
    // The connection that it has now is the one whose end counts.
    world.advance(Duration::from_secs(130));
    assert_eq!(world.engine.gauges().subscriptions, 1);
    breaks(&mut world, 12);
    world.advance(Duration::from_secs(121));
    assert_eq!(world.engine.gauges().subscriptions, 0);
}

#[test]
fn who_does_not_come_back_is_forgotten() {
    let (mut world, mut alice, mut line) = watching(Transport::Ws);
    breaks(&mut world, 9);
    world.advance(Duration::from_secs(119));
    assert_eq!(world.engine.gauges().subscriptions, 1);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.engine.gauges().subscriptions, 0);
    assert_eq!(world.engine.counts().subscriptions_ended["connection_lost"], 1);
    alice.flow.connection = 12;
    let gone = alice.within(&mut world, &mut line, "SUBSCRIBE", CONFERENCE, b"");
    assert_eq!(gone.status(), 481);
}

#[test]
fn another_phone_of_the_user_is_not_taken_for_the_one_that_is_gone() {
    let (mut world, mut alice, _) = watching(Transport::Ws);
    breaks(&mut world, 9);
    alice.flow.connection = 10; // and its contact with it
    back(&mut world, &mut alice, 10);
    alice.has_nothing(&mut world);
}

#[test]
fn those_whose_connection_is_gone_give_way() {
    let mut world = World::with(|config| config.abuse.user_requests_per_second = 0);
    let mut alice = Phone::new("alice", 1).over(Transport::Ws, 9);
    for _ in 0..50 {
        subscribe(&mut alice, &mut world, "3000", CONFERENCE);
        alice.inbox.clear();
    }
    let (_, full) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    assert_eq!((full.status(), full.header(Name::RetryAfter)), (503, Some("60")));
    breaks(&mut world, 9);
    alice.flow.connection = 10;
    let (_, again) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
    assert_eq!(again.status(), 200);
    assert_eq!(world.engine.gauges().subscriptions, 50);
}

#[test]
fn who_is_back_while_its_address_is_still_being_called_keeps_its_subscription() {
    let (mut world, mut alice, _) = watching(Transport::Tcp);
    breaks(&mut world, 9);
    Phone::new("bob", 2).call(&mut world, "3000");
    let (flow, _) = told(&mut world, &mut alice, false);
    back(&mut world, &mut alice, 11);
    alice.has_nothing(&mut world);
    world.handle(Input::Unreachable { flow });
    let (flow, whole) = told(&mut world, &mut alice, true);
    assert_eq!(flow.connection, 11);
    assert!(
        whole.contains("state=\"full\"") && whole.contains("sip:bob@lab.test"),
        "{whole}"
    );
    assert_eq!(world.engine.gauges().subscriptions, 1);
}

#[test]
fn who_renews_by_another_way_while_a_notify_is_lost_is_told_again() {
    for transport in [Transport::Ws, Transport::Udp] {
        let connection = if transport == Transport::Udp { 0 } else { 9 };
        let mut world = World::new();
        let mut alice = Phone::new("alice", 1).over(transport, connection);
        let (mut line, _) = subscribe(&mut alice, &mut world, "3000", CONFERENCE);
        alice.gets(&mut world, "NOTIFY", true);
        world.advance(Duration::from_secs(10));
        Phone::new("bob", 2).call(&mut world, "3000");
        world.take(alice.flow.peer); // it never comes
        if transport == Transport::Udp {
            alice.flow.peer.set_port(40_001);
        } else {
            alice.flow.connection = 12;
        }
        let renewed = alice.within(&mut world, &mut line, "SUBSCRIBE", CONFERENCE, b"");
        assert_eq!(renewed.status(), 200);
        world.advance(Duration::from_secs(33));
        assert_eq!(world.engine.gauges().subscriptions, 1, "{transport:?}");
        let (_, whole) = told(&mut world, &mut alice, true);
        assert!(whole.contains("state=\"full\""), "{whole}");
    }
}

#[test]
fn who_came_back_before_the_old_connection_was_known_dead_goes_on_at_once() {
    for in_flight in [false, true] {
        let (mut world, mut alice, _) = watching(Transport::Ws);
        back(&mut world, &mut alice, 10);
        if in_flight {
            Phone::new("bob", 2).call(&mut world, "3000");
            world.take(alice.flow.peer); // it goes by the dead connection
        }
        breaks(&mut world, 9);
        let (flow, whole) = told(&mut world, &mut alice, true);
        assert_eq!(flow.connection, 10);
        assert!(whole.contains("state=\"full\""), "{whole}");
        world.advance(Duration::from_secs(200));
        assert_eq!(world.engine.gauges().subscriptions, 1);
    }
}

#[test]
fn a_stranger_at_the_address_of_one_that_is_lost_ends_nothing() {
    let (mut world, mut alice, _) = watching(Transport::Tcp);
    breaks(&mut world, 9);
    Phone::new("bob", 2).call(&mut world, "3000");
    alice.listen(&mut world);
    let notify = alice.inbox.remove(0).message;
    alice.respond(&mut world, &notify, 481, "", "");
    assert_eq!(world.engine.gauges().subscriptions, 1);
    back(&mut world, &mut alice, 11);
    assert_eq!(told(&mut world, &mut alice, true).0.connection, 11);
}

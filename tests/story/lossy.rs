//! Ten thousand calls over a bad network: whatever is lost, late or doubled, nothing stays behind.

use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::Input;
use cordboard_engine::sip::message::{Framing, Message};

use crate::net::{DOUBLED, Event, LATE, LOST, Net};
use crate::phone::Phone;
use crate::robot::Robots;
use crate::world::World;

/// One step: time goes on to the next event or timer, and what the switch sends goes onto the network.
fn step(world: &mut World, net: &mut Net, robots: &mut Robots) -> bool {
    let times = [world.engine.next_timeout(), net.next()];
    let Some(at) = times.into_iter().flatten().min() else {
        return false;
    };
    world.advance(at.since(world.now));
    let now = world.now;
    while let Some(event) = net.due(now) {
        match event {
            Event::ToSwitch(flow, bytes) => {
                let message = Message::parse(bytes, Framing::Datagram).unwrap();
                world.handle(Input::Message {
                    flow,
                    message,
                    stamp: now,
                });
            }
            Event::ToPhone(peer, bytes) => robots.receive(net, now, peer, bytes),
            Event::Again(key, round) => robots.again(net, now, &key, round),
            Event::Act(call, act) => robots.act(net, now, &call, act),
            Event::Call(number) => {
                let to = ["bob", "carol", "3000"][number as usize % 3];
                let from = ([198, 51, 100, 100 + (number % 50) as u8], 5060).into();
                let cancels = net.chance(10) == 0;
                robots.call(net, now, number, from, to, cancels);
            }
        }
        carry(world, net);
    }
    carry(world, net);
    true
}

fn carry(world: &mut World, net: &mut Net) {
    for delivery in world.wire.drain(..) {
        let bytes: Bytes = delivery.message.raw().clone();
        let peer = delivery.flow.peer;
        net.carry(world.now, || Event::ToPhone(peer, bytes.clone()));
    }
}

#[test]
fn after_calls_over_a_bad_network_nothing_is_left() {
    let calls: u32 = match std::env::var_os("CORDBOARD_LONG") {
        Some(_) => 10_000,
        None => 1_000,
    };
    let mut world = World::with(|config| {
        config.trusted = vec!["198.51.100.0/24".parse().unwrap()];
        config.conferences[0].max_participants = 100_000;
        config.session_expires = Duration::from_secs(1800);
    });
    for (name, host) in [("bob", 2), ("bob-desk", 3), ("carol", 4)] {
        assert_eq!(Phone::new(name, host).register(&mut world, 7200).status(), 200);
    }
    let (mut net, mut robots) = (Net::new(0x5eed), Robots::new());
    for number in 0..calls {
        let at = world.now + Duration::from_millis(u64::from(number) * 40);
        net.at(at, Event::Call(number));
    }
    let last = world.now + Duration::from_millis(u64::from(calls) * 40);
    let quiet = last + Duration::from_secs(300);
    while world.now < quiet && step(&mut world, &mut net, &mut robots) {}
    let counts = world.engine.counts().clone();
    println!(
        "{calls} calls, {LOST} % lost ({}), {LATE} % late, {DOUBLED} % doubled ({})\nphones: {:?}\nended: {:?}\n\
         timers: {:?}\nrejected: {:?}\nsent again: {}, absorbed: {}",
        net.lost,
        net.doubled,
        robots.ends,
        counts.calls_ended,
        counts.timeouts,
        counts.rejected,
        counts.retransmissions_out,
        counts.retransmissions_in
    );
    let (lines, repeated) = robots.left();
    assert!(
        lines.is_empty(),
        "phones that still think they are in a call: {lines:?}"
    );
    assert!(repeated.is_empty(), "what phones still repeat: {repeated:?}");
    world.is_clean();
    let begun = robots.ends.values().sum::<u32>();
    assert_eq!(
        begun as usize,
        robots.all(),
        "every call came to an end that is counted"
    );
    let timers: Vec<&str> = counts.timeouts.keys().copied().collect();
    assert_eq!(
        timers,
        ["B", "C", "F", "H", "ack", "prack", "session"],
        "each of them ended something, because phones vanish, and some are rude"
    );
    let hung_up: u32 = ["hung up", "hung up on"]
        .iter()
        .filter_map(|end| robots.ends.get(*end))
        .sum();
    assert!(
        hung_up > calls / 2,
        "most calls are answered and end with a BYE: {:?}",
        robots.ends
    );
    assert!(
        counts.retransmissions_in > u64::from(calls / 10),
        "the network is as bad as it should be"
    );
    // Nothing waits for a time either, once the registrations are over.
    world.advance(Duration::from_secs(7200 + 1800));
    assert_eq!(world.engine.gauges().registrations, 0);
    assert_eq!(world.engine.next_timeout(), None);
}

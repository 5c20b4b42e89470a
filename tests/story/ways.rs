//! Which way goes what belongs to a call whose phone asks for another, or whose connection breaks, before the answer and
//! in the middle of an offer.

use std::time::Duration;

use cordboard_engine::io::Transport;
use cordboard_engine::sip::name::Name;

use crate::phone::Phone;
use crate::stranded::{only, unreachable};
use crate::world::World;

#[test]
fn a_phone_that_asks_for_tcp_before_its_answer_is_confirmed_to_by_tcp() {
    // It takes the connection, refuses it, or says nothing there.
    for taken in [Some(true), Some(false), None] {
        let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
        bob.register(&mut world, 7200);
        alice.invite(&mut world, "bob");
        let invite = bob.gets(&mut world, "INVITE", false);
        bob.named = ";transport=tcp";
        let contact = bob.contact();
        let rings = |number: u32| format!("Contact: {contact}\r\nRequire: 100rel\r\nRSeq: {number}\r\n");
        bob.respond(&mut world, &invite, 180, &rings(7), "");
        let prack = match taken {
            Some(true) => only(&mut bob, &mut world),
            Some(false) => {
                assert_eq!(
                    unreachable(&mut bob, &mut world).header(Name::RAck),
                    Some("7 1 INVITE")
                );
                only(&mut bob, &mut world)
            }
            None => {
                assert_eq!(only(&mut bob, &mut world).flow.transport, Transport::Tcp);
                world.advance(Duration::from_secs(32));
                only(&mut bob, &mut world)
            }
        };
        let by = match taken {
            Some(true) => Transport::Tcp,
            _ => Transport::Udp,
        };
        assert_eq!((prack.message.method_text(), prack.flow.transport), ("PRACK", by));
        assert_eq!(prack.message.header(Name::RAck), Some("7 1 INVITE"));
        let via = prack.message.header(Name::Via).unwrap();
        assert!(via.starts_with(&format!("SIP/2.0/{} ", by.via())), "{via}");
        bob.respond(&mut world, &prack.message, 200, "", "");
        // What is known of the way holds for the next one, and for the ACK.
        bob.respond(&mut world, &invite, 180, &rings(8), "");
        let next = only(&mut bob, &mut world);
        assert_eq!(next.message.header(Name::RAck), Some("8 1 INVITE"));
        assert_eq!(next.flow.transport, by);
        bob.respond(&mut world, &next.message, 200, "", "");
        bob.pick_up(&mut world, &invite);
        let ack = only(&mut bob, &mut world);
        assert_eq!((ack.message.method_text(), ack.flow.transport), ("ACK", by));
    }
}

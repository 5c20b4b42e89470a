//! A call between alice and bob that is up, for stories of what comes then.

use cordboard_engine::sip::message::Message;

use crate::phone::{Line, Phone, SDP};
use crate::world::World;

/// Both ends of a call between users.
pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) alice: Phone,
    pub(crate) bob: Phone,
    /// The caller's.
    pub(crate) from_alice: Line,
    /// The called party's.
    pub(crate) from_bob: Line,
    /// The INVITE that bob got, and the 200 that alice got.
    pub(crate) invite: Message,
    pub(crate) answer: Message,
}

/// Bob registers, alice calls, bob answers, in a world of their own.
pub(crate) fn pair() -> Pair {
    up(World::new(), "", "")
}

/// The same in this world, and with these headers.
pub(crate) fn up(world: World, asked: &str, told: &str) -> Pair {
    up_with(world, Phone::new("alice", 1), Phone::new("bob", 2), asked, told)
}

pub(crate) fn up_with(mut world: World, mut alice: Phone, mut bob: Phone, asked: &str, told: &str) -> Pair {
    assert_eq!(bob.register(&mut world, 7200).status(), 200);
    let (mut from_alice, response) = alice.invite_with(&mut world, "bob", asked);
    assert!(response.is_none(), "bob's phone rings first");
    let invite = bob.gets(&mut world, "INVITE", false);
    let from_bob = bob.pick_up_with(&mut world, &invite, told);
    bob.gets(&mut world, "ACK", false);
    let answer = alice.final_response(&mut world);
    assert_eq!(answer.status(), 200, "{}", answer.reason());
    from_alice.learn(&answer);
    alice.ack(&mut world, &from_alice);
    assert_eq!(world.engine.gauges().dialogs, 2);
    Pair {
        world,
        alice,
        bob,
        from_alice,
        from_bob,
        invite,
        answer,
    }
}

impl Pair {
    /// Nothing is left of it: no dialog, no transaction once all timers are over, no leg.
    pub(crate) fn is_gone(&mut self) {
        self.world.advance(std::time::Duration::from_secs(70));
        self.world.is_clean();
    }
}

/// A description with another direction.
pub(crate) fn flowing(direction: &str) -> String {
    format!("{SDP}a={direction}\r\n")
}

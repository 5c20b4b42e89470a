//! The law of the engine: the same inputs at the same times with the same seed give the same outputs.

use std::time::Duration;

use crate::phone::Phone;
use crate::world::World;

fn a_busy_hour() -> Vec<String> {
    let (mut world, mut alice, mut bob) = (World::new(), Phone::new("alice", 1), Phone::new("bob", 2));
    let mut heard = Vec::new();
    alice.register(&mut world, 600);
    bob.register(&mut world, 600);
    let mut line = alice.call(&mut world, "3000");
    bob.call(&mut world, "3000");
    alice.within(
        &mut world,
        &mut line,
        "MESSAGE",
        "Content-Type: text/plain\r\n",
        b"hello",
    );
    world.advance(Duration::from_secs(40));
    for phone in [&mut alice, &mut bob] {
        phone.listen(&mut world);
        heard.extend(
            phone
                .inbox
                .drain(..)
                .map(|delivery| String::from_utf8_lossy(delivery.message.raw()).into_owned()),
        );
    }
    heard.extend(world.media.iter().map(|command| format!("{command:?}")));
    heard.extend(world.writes.iter().map(|write| format!("{write:?}")));
    heard
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let (first, second) = (a_busy_hour(), a_busy_hour());
    assert!(first.len() > 10, "{first:?}");
    assert_eq!(first, second);
}

//! A page that was written for Asterisk's video conferences: it knows whom each of its views shows by holding the
//! labels of the lines against the channels that conference events name, and it answers nothing out of turn.

use std::collections::BTreeMap;

use cordboard_engine::io::ConferenceCommand;
use cordboard_model::ParticipantId;
use serde_json::Value;

use crate::browser::{Browser, body};
use crate::sfu::{command, legs};
use crate::world::World;

/// What the type of an event is.
const EVENT: &str = "application/x-asterisk-confbridge-event+json";

struct Page {
    browser: Browser,
    /// The names of channels, as events have told them.
    names: BTreeMap<String, String>,
    /// What was told, by kind, and of whom.
    told: Vec<(String, String)>,
}

impl Page {
    fn join(world: &mut World, name: &'static str, host: u8) -> Self {
        let mut browser = Browser::new(name, host);
        browser.call(world, "3000");
        let mut page = Self {
            browser,
            names: BTreeMap::new(),
            told: Vec::new(),
        };
        page.settles(world);
        page
    }

    /// Takes what has come, one after the other: an offer is answered before anything else is looked at, and nothing
    /// but its ACK may come in between.
    fn settles(&mut self, world: &mut World) {
        loop {
            let phone = &mut self.browser.phone;
            phone.listen(world);
            phone
                .inbox
                .retain(|delivery| delivery.message.is_request() || delivery.message.status() >= 200);
            let Some(first) = phone.inbox.first() else { return };
            match first.message.method_text() {
                "INVITE" => {
                    let offer = self.browser.offered(world);
                    self.browser.is_left_alone(world);
                    self.browser.answers(world, &offer);
                }
                "MESSAGE" => {
                    let message = phone.gets(world, "MESSAGE", true);
                    assert_eq!(
                        message.header(cordboard_engine::sip::name::Name::ContentType),
                        Some(EVENT)
                    );
                    self.hears(&serde_json::from_str(&body(&message)).unwrap());
                }
                other => panic!("{other}"),
            }
        }
    }

    fn hears(&mut self, event: &Value) {
        let kind = event["type"].as_str().unwrap().to_owned();
        for channel in event["channels"].as_array().unwrap() {
            let id = channel["id"].as_str().unwrap().to_owned();
            let name = channel["caller"]["name"].as_str().unwrap().to_owned();
            self.told.push((kind.clone(), name.clone()));
            match kind.as_str() {
                "ConfbridgeWelcome" | "ConfbridgeJoin" => drop(self.names.insert(id, name)),
                "ConfbridgeLeave" => drop(self.names.remove(&id)),
                _ => assert_eq!(self.names.get(&id), Some(&name), "{kind} of somebody unknown"),
            }
        }
    }

    /// The names under its views, in the order of the lines; each view is a stream and a track of its own.
    fn views(&self) -> Vec<&str> {
        let mut streams: Vec<&str> = self.browser.views.values().map(|view| &*view.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        assert_eq!(streams.len(), self.browser.views.len());
        let labels = self.browser.sees();
        let names = labels.iter().map(|label| self.names.get(label));
        names
            .map(|name| name.expect("the channel was named").as_str())
            .collect()
    }
}

fn telling() -> World {
    World::with(|config| {
        config.conferences[0].send_events = true;
        config.conferences[0].echo_events = true;
    })
}

#[test]
fn every_view_has_the_name_of_whom_it_shows() {
    let mut world = telling();
    let mut alice = Page::join(&mut world, "alice", 1);
    let mut bob = Page::join(&mut world, "bob", 2);
    alice.settles(&mut world);
    let mut carol = Page::join(&mut world, "carol", 3);
    for page in [&mut alice, &mut bob] {
        page.settles(&mut world);
    }
    assert_eq!(alice.views(), ["Bob", "Carol"]);
    assert_eq!(bob.views(), ["Alice", "Carol"]);
    assert_eq!(carol.views(), ["Alice", "Bob"]);
    // Each is named by its welcome or by the others' arrival, itself as well.
    assert_eq!(alice.names.len(), 3);

    // Who leaves takes its view along; who comes next gets the line, and a view with its own name.
    bob.browser.hangs_up(&mut world);
    let mut frank = Page::join(&mut world, "frank", 4);
    for page in [&mut alice, &mut carol] {
        page.settles(&mut world);
    }
    frank.settles(&mut world);
    assert_eq!(alice.views(), ["Frank", "Carol"], "the line of bob");
    assert_eq!(carol.views(), ["Alice", "Frank"]);
    assert_eq!(frank.views(), ["Alice", "Carol"]);
    assert!(alice.told.contains(&("ConfbridgeLeave".into(), "Bob".into())));
}

#[test]
fn events_are_about_channels_that_lines_have_shown_or_welcomes_have_named() {
    let mut world = telling();
    let mut alice = Page::join(&mut world, "alice", 1);
    let mut bob = Page::join(&mut world, "bob", 2);
    alice.settles(&mut world);
    let participant = ParticipantId(legs(&world)[1].0);
    for muted in [true, false] {
        command(&mut world, ConferenceCommand::Mute { participant, muted });
    }
    command(&mut world, ConferenceCommand::Lock(true));
    for page in [&mut alice, &mut bob] {
        page.settles(&mut world);
        let told: Vec<&str> = page
            .told
            .iter()
            .filter(|(kind, name)| kind.ends_with("ute") && name == "Bob")
            .map(|(kind, _)| kind.as_str())
            .collect();
        assert_eq!(told, ["ConfbridgeMute", "ConfbridgeUnmute"]);
    }
}

#[test]
fn a_page_that_is_slow_gets_its_events_after_the_ack_and_all_of_them() {
    let mut world = telling();
    let mut alice = Page::join(&mut world, "alice", 1);
    let mut bob = Browser::new("bob", 2);
    bob.call(&mut world, "3000");
    // Alice first hears that bob is there, then is offered his video. She thinks while others come and go.
    let phone = &mut alice.browser.phone;
    let message = phone.gets(&mut world, "MESSAGE", true);
    alice.hears(&serde_json::from_str(&body(&message)).unwrap());
    let open = alice.browser.offered(&mut world);
    let carol = Page::join(&mut world, "carol", 3);
    let frank = Page::join(&mut world, "frank", 4);
    alice.browser.is_left_alone(&mut world);
    alice.browser.answers(&mut world, &open);
    alice.settles(&mut world);
    assert_eq!(alice.views(), ["Bob", "Carol", "Frank"]);
    assert_eq!((carol.views().len(), frank.views().len()), (2, 3));
}

//! Reading and searching what was said, and changing it.

use serde_json::{Value, json};

use crate::meeting::Client;
use crate::world::World;

fn chunk(world: &mut World, client: &mut Client, payload: Value) -> Value {
    client.told(world);
    client.say(world, "chat", payload);
    client.payload(world)
}

fn texts(chunk: &Value) -> Vec<String> {
    let messages = chunk["messages"].as_array().expect("a chunk");
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn history_is_read_in_chunks_of_a_hundred() {
    let mut world = World::with(|config| config.message_rate = 0);
    let mut alice = Client::joined(&mut world, "alice");
    for n in 0..150 {
        alice.write(&mut world, &format!("number {n}"));
    }
    let ask =
        |index: u64| json!({ "action": "get_history_chunk", "message_index": index, "scope": "global" });
    let first = chunk(&mut world, &mut alice, ask(149));
    assert_eq!(first["message"], "room_chat_history_chunk");
    let history = &first["history"];
    assert_eq!(history["next_index"], 49);
    assert_eq!(
        (texts(history).len(), texts(history)[0].as_str()),
        (100, "number 50")
    );
    let second = chunk(&mut world, &mut alice, ask(49));
    assert_eq!(second["history"]["next_index"], Value::Null);
    assert_eq!(texts(&second["history"]).len(), 50);
    let beyond = chunk(&mut world, &mut alice, ask(150));
    assert_eq!(beyond["history"], json!({ "messages": [], "next_index": null }));
}

#[test]
fn chunks_of_groups_and_private_histories_are_for_their_people() {
    let mut world = World::new();
    let alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    let mut carol = Client::joined(&mut world, "carol");
    let (id_alice, id_bob) = (alice.id.clone(), bob.id.clone());
    alice.write_to(&mut world, "group", "/Lab/Backend", "group");
    alice.write_to(&mut world, "private", &id_bob, "private");
    let group = json!({ "action": "get_history_chunk", "message_index": 0, "scope": "group", "target": "/Lab/Backend" });
    let answer = chunk(&mut world, &mut bob, group.clone());
    assert_eq!(answer["message"], "group_chat_history_chunk");
    assert_eq!(answer["name"], "/Lab/Backend");
    assert!(answer["id"].is_string());
    assert_eq!(texts(&answer["history"]), ["group"]);
    let private =
        json!({ "action": "get_history_chunk", "message_index": 0, "scope": "private", "target": id_alice });
    let answer = chunk(&mut world, &mut bob, private.clone());
    assert_eq!(answer["message"], "private_chat_history_chunk");
    assert_eq!(answer["correspondent"], id_alice);
    assert_eq!(texts(&answer["history"]), ["private"]);
    carol.told(&world);
    carol.say(&mut world, "chat", group);
    carol.has_nothing(&world);
    let answer = chunk(&mut world, &mut carol, private);
    assert_eq!(texts(&answer["history"]), [""; 0]);
}

#[test]
fn a_search_finds_what_holds_the_term_in_its_case() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    for text in ["Tea at five", "no tea", "coffee", "Tea at six"] {
        alice.write(&mut world, text);
    }
    let ask = |term: &str, index: Value| json!({ "action": "search_history", "term": term, "message_index": index, "scope": "global" });
    let found = chunk(&mut world, &mut alice, ask("Tea", Value::Null));
    assert_eq!(found["message"], "search_results");
    assert_eq!(found["scope"], "global");
    assert_eq!(texts(&found["matches"]), ["Tea at five", "Tea at six"]);
    let found = chunk(&mut world, &mut alice, ask("Tea", json!(0)));
    assert_eq!(
        texts(&found["matches"]),
        ["Tea at five"],
        "the index is within the matches"
    );
    let short = chunk(&mut world, &mut alice, ask("T", Value::Null));
    assert_eq!(
        short,
        json!({ "message": "error", "error": "invalid_search_term_length", "min": 2 })
    );
    let without = json!({ "action": "search_history", "term": "coffee", "scope": "global" });
    assert_eq!(
        texts(&chunk(&mut world, &mut alice, without)["matches"]),
        ["coffee"]
    );
}

#[test]
fn authors_change_and_delete_their_messages_and_moderators_delete() {
    let mut world = World::new();
    let mut alice = Client::joined(&mut world, "alice");
    let mut bob = Client::joined(&mut world, "bob");
    let mut carol = Client::joined(&mut world, "carol");
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        bob.told(&world);
        bob.write(&mut world, text);
        ids.push(bob.payload(&world)["id"].as_str().unwrap().to_owned());
    }
    let (_, _, _) = (alice.told(&world), bob.told(&world), carol.told(&world));
    let edit = |id: &str, text: &str| json!({ "action": "edit_message", "id": id, "content": text });
    let delete = |id: &str| json!({ "action": "delete_message", "id": id });
    carol.say(&mut world, "chat", delete(&ids[0]));
    carol.say(&mut world, "chat", edit(&ids[0], "x"));
    alice.say(&mut world, "chat", edit(&ids[0], "x"));
    assert_eq!(carol.events(&world), ["error insufficient_permissions"; 2]);
    assert_eq!(alice.events(&world), ["error insufficient_permissions"]);
    bob.say(&mut world, "chat", edit(&ids[0], "ONE"));
    assert_eq!(
        carol.payload(&world),
        json!({ "message": "message_edited", "id": ids[0], "issued_by": bob.id, "content": "ONE" })
    );
    bob.say(&mut world, "chat", delete(&ids[1]));
    alice.say(&mut world, "chat", delete(&ids[2]));
    assert_eq!(carol.events(&world), ["message_deleted", "message_deleted"]);
    let mut gus = Client::guest(&mut world);
    let success = gus.join(&mut world, "Gus");
    let history = success["chat"]["room_history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(
        (&history[0]["id"], &history[0]["content"]),
        (&json!(ids[0]), &json!("ONE"))
    );
}

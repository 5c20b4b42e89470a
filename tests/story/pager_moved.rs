//! Messages whose addressee's phones change while they are on their way: they follow the phones, in their order.

use std::collections::HashSet;
use std::time::Duration;

use cordboard_engine::io::Transport;
use cordboard_engine::sip::message::Message;

use crate::phone::Phone;
use crate::world::World;

const TEXT: &str = "Content-Type: text/plain\r\n";

fn send(alice: &mut Phone, world: &mut World, body: &str) -> u16 {
    let answer = alice.request(world, "MESSAGE", "sip:bob@lab.test", TEXT, body.as_bytes());
    answer.status()
}

/// Alice writes to bob, whose phone is silent and forgets what it is sent.
fn silence(bodies: &[&str]) -> (World, Phone, Phone) {
    silence_in(World::new(), bodies)
}

fn silence_in(mut world: World, bodies: &[&str]) -> (World, Phone, Phone) {
    let (mut alice, mut dead) = (Phone::new("alice", 1), Phone::new("bob", 2));
    dead.register(&mut world, 3600);
    for body in bodies {
        assert_eq!(send(&mut alice, &mut world, body), 0);
    }
    forget(&mut dead, &mut world);
    (world, alice, dead)
}

fn forget(phone: &mut Phone, world: &mut World) {
    phone.listen(world);
    phone.inbox.clear();
}

fn seconds(world: &mut World, count: u64) {
    world.advance(Duration::from_secs(count));
}

/// The finals that a phone has been sent.
fn finals(phone: &mut Phone, world: &mut World) -> Vec<u16> {
    phone.listen(world);
    let statuses = phone.inbox.drain(..).map(|delivery| delivery.message.status());
    statuses.filter(|status| *status >= 200).collect()
}

/// The next message, which nothing else has come with; it is accepted.
fn takes(phone: &mut Phone, world: &mut World, body: &str) -> Message {
    let message = phone.gets(world, "MESSAGE", false);
    assert_eq!(message.body_slice(), body.as_bytes());
    phone.has_nothing(world);
    phone.respond(world, &message, 200, "", "");
    message
}

/// The other phone, which stands where the first one does not.
fn other() -> Phone {
    another(9)
}

fn another(host: u8) -> Phone {
    let mut phone = Phone::new("bob", host);
    phone.registering = format!("reg-bob-{host}");
    phone
}

/// One phone unregisters and the other registers.
fn move_to(phone: &mut Phone, from: &mut Phone, world: &mut World) {
    assert_eq!(from.register(world, 0).status(), 200);
    assert_eq!(phone.register(world, 3600).status(), 200);
}

/// The same in one request.
fn replace_by(phone: &mut Phone, from: &Phone, world: &mut World) {
    assert_eq!(replacing(phone, from, world), 200);
}

/// The status of that; 0 where there is none yet.
fn replacing(phone: &mut Phone, from: &Phone, world: &mut World) -> u16 {
    let (call_id, contacts) = (phone.registering.clone(), [from.contact(), phone.contact()]);
    let headers = format!(
        "Contact: {};expires=0, {};expires=3600\r\n",
        contacts[0], contacts[1]
    );
    let (_, answer) = phone.request_in(world, &call_id, 1, "REGISTER", "sip:lab.test", &headers, b"");
    answer.status()
}

#[test]
fn what_is_kept_and_on_its_way_to_a_phone_that_is_gone_follows_at_once_and_in_order() {
    let (mut world, mut alice, mut dead) = silence(&["1", "2"]);
    seconds(&mut world, 27);
    assert_eq!(finals(&mut alice, &mut world), [202, 202]);
    let mut live = other();
    move_to(&mut live, &mut dead, &mut world);
    assert_eq!(send(&mut alice, &mut world, "3"), 0);
    takes(&mut live, &mut world, "1");
    takes(&mut live, &mut world, "2");
    takes(&mut live, &mut world, "3");
    assert_eq!(finals(&mut alice, &mut world), [200]);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    forget(&mut dead, &mut world);
    seconds(&mut world, 60);
    dead.has_nothing(&mut world);
    live.has_nothing(&mut world);
    world.is_clean();
}

#[test]
fn one_whose_sender_waits_follows_before_those_that_come_later() {
    let (mut world, mut alice, mut dead) = silence(&["1"]);
    seconds(&mut world, 1);
    forget(&mut dead, &mut world);
    let mut live = other();
    replace_by(&mut live, &dead, &mut world);
    assert_eq!(send(&mut alice, &mut world, "2"), 0);
    let first = live.gets(&mut world, "MESSAGE", true);
    assert_eq!(first.body_slice(), b"1");
    takes(&mut live, &mut world, "2");
    assert_eq!(finals(&mut alice, &mut world), [200, 200]);
    forget(&mut dead, &mut world);
    seconds(&mut world, 60);
    dead.has_nothing(&mut world);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    world.is_clean();
}

#[test]
fn it_is_kept_while_no_phone_is_there_and_comes_under_the_same_call_id() {
    let (mut world, mut alice, mut dead) = silence(&[]);
    assert_eq!(send(&mut alice, &mut world, "1"), 0);
    let had = dead.gets(&mut world, "MESSAGE", false);
    dead.register(&mut world, 0);
    assert_eq!(finals(&mut alice, &mut world), [202]);
    let mut live = other();
    live.register(&mut world, 3600);
    assert_eq!(takes(&mut live, &mut world, "1").call_id(), had.call_id());
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

#[test]
fn a_registration_that_ends_by_itself_is_as_one_that_is_taken_back() {
    let mut world = World::new();
    let (mut alice, mut dead) = (Phone::new("alice", 1), Phone::new("bob", 2));
    dead.register(&mut world, 60);
    seconds(&mut world, 50);
    assert_eq!(send(&mut alice, &mut world, "1"), 0);
    seconds(&mut world, 9);
    assert!(finals(&mut alice, &mut world).is_empty());
    seconds(&mut world, 2);
    assert_eq!(finals(&mut alice, &mut world), [202]);
    let mut live = other();
    live.register(&mut world, 3600);
    takes(&mut live, &mut world, "1");
}

#[test]
fn a_registration_that_is_only_renewed_changes_nothing() {
    for kept in [false, true] {
        let (mut world, mut alice, mut phone) = silence(&[]);
        assert_eq!(send(&mut alice, &mut world, "1"), 0);
        let message = phone.gets(&mut world, "MESSAGE", false);
        seconds(&mut world, if kept { 26 } else { 1 });
        forget(&mut phone, &mut world);
        phone.register(&mut world, 3600);
        phone.has_nothing(&mut world);
        // What it had before is what it answers.
        phone.respond(&mut world, &message, 200, "", "");
        let expected = if kept { 202 } else { 200 };
        assert_eq!(finals(&mut alice, &mut world), [expected]);
        assert_eq!(world.engine.gauges().kept_messages, 0);
        seconds(&mut world, 60);
        phone.has_nothing(&mut world);
    }
}

#[test]
fn a_contact_that_is_renewed_over_another_connection_is_reached_over_that() {
    let mut world = World::new();
    let mut alice = Phone::new("alice", 1);
    let mut before = Phone::new("bob", 2).over(Transport::Tcp, 5);
    before.register(&mut world, 3600);
    assert_eq!(send(&mut alice, &mut world, "1"), 0);
    forget(&mut before, &mut world);
    // The old connection is not known dead yet.
    let mut again = Phone::new("bob", 2).over(Transport::Tcp, 6);
    again.registering = "reg-bob-again".into();
    again.register(&mut world, 3600);
    again.listen(&mut world);
    assert_eq!(again.inbox[0].flow.connection, 6);
    takes(&mut again, &mut world, "1");
    assert_eq!(finals(&mut alice, &mut world), [200]);
}

#[test]
fn of_two_contacts_the_one_that_remains_is_left_its_copy() {
    let (mut world, mut alice, mut dead) = silence(&[]);
    let mut slow = other();
    assert_eq!(slow.register(&mut world, 3600).status(), 200);
    assert_eq!(send(&mut alice, &mut world, "1"), 202);
    assert_eq!(send(&mut alice, &mut world, "2"), 202);
    let message = slow.gets(&mut world, "MESSAGE", false);
    forget(&mut dead, &mut world);
    dead.register(&mut world, 0);
    slow.has_nothing(&mut world);
    slow.respond(&mut world, &message, 200, "", "");
    takes(&mut slow, &mut world, "2");
    assert_eq!(world.engine.gauges().kept_messages, 0);
    dead.has_nothing(&mut world);
}

#[test]
fn a_phone_that_comes_beside_a_silent_one_gets_all_at_once() {
    let (mut world, mut alice, mut dead) = silence(&["1", "2"]);
    seconds(&mut world, 20);
    assert_eq!(send(&mut alice, &mut world, "3"), 0);
    seconds(&mut world, 6);
    assert_eq!(finals(&mut alice, &mut world), [202, 202]);
    let mut live = other();
    assert_eq!(live.register(&mut world, 3600).status(), 200);
    let read: Vec<Message> = (0..3).map(|_| live.gets(&mut world, "MESSAGE", true)).collect();
    // The third is not kept: its sender still waits, and it need not wait for the others' answers.
    let mut bodies: Vec<&[u8]> = read.iter().map(Message::body_slice).collect();
    assert_eq!(bodies[0], b"1");
    bodies.sort_unstable();
    assert_eq!(bodies, [b"1", b"2", b"3"]);
    assert_eq!(finals(&mut alice, &mut world), [200]);
    assert_eq!(world.engine.gauges().kept_messages, 0);
    forget(&mut dead, &mut world);
    seconds(&mut world, 60);
    live.has_nothing(&mut world);
    world.is_clean();
}

#[test]
fn what_waits_is_not_overtaken_by_what_comes_once_a_second_phone_is_there() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let mut desk = Phone::new("bob-desk", 5);
    assert_eq!(send(&mut alice, &mut world, "1"), 202);
    bob.register(&mut world, 3600);
    let first = bob.gets(&mut world, "MESSAGE", false);
    assert_eq!(first.body_slice(), b"1");
    // This one waits for the answer to the first; for two phones the next is kept at once.
    assert_eq!(send(&mut alice, &mut world, "2"), 0);
    desk.register(&mut world, 3600);
    send(&mut alice, &mut world, "3");
    alice.listen(&mut world);
    bob.respond(&mut world, &first, 200, "", "");
    for body in ["2", "3"] {
        takes(&mut bob, &mut world, body);
    }
    assert_eq!(world.engine.gauges().kept_messages, 0);
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(desk.gets(&mut world, "MESSAGE", true).body_slice().to_vec());
    }
    assert_eq!(heard, [b"1", b"2", b"3"]);
    desk.has_nothing(&mut world);
}

#[test]
fn a_change_that_cannot_be_written_is_none() {
    let (mut world, mut alice, mut phone) = silence(&[]);
    assert_eq!(send(&mut alice, &mut world, "1"), 0);
    let message = phone.gets(&mut world, "MESSAGE", false);
    world.disk_hangs = true;
    phone.register(&mut world, 0);
    world.commit(false);
    world.disk_hangs = false;
    assert_eq!(phone.final_response(&mut world).status(), 500);
    phone.has_nothing(&mut world);
    assert!(finals(&mut alice, &mut world).is_empty());
    phone.respond(&mut world, &message, 200, "", "");
    assert_eq!(finals(&mut alice, &mut world), [200]);
    // What was written while it seemed that no phone was there comes now.
    world.disk_hangs = true;
    phone.register(&mut world, 0);
    assert_eq!(send(&mut alice, &mut world, "2"), 0);
    world.commit_first(1, false);
    world.commit(true);
    world.disk_hangs = false;
    assert_eq!(finals(&mut alice, &mut world), [202]);
    assert_eq!(phone.final_response(&mut world).status(), 500);
    takes(&mut phone, &mut world, "2");
}

#[test]
fn a_phone_that_moves_on_and_on_gets_one_after_the_other() {
    let (mut world, mut alice, first) = silence(&["1", "2"]);
    let (mut second, mut third) = (another(8), another(9));
    replace_by(&mut second, &first, &mut world);
    for body in [b"1", b"2"] {
        assert_eq!(second.gets(&mut world, "MESSAGE", false).body_slice(), body);
    }
    assert!(finals(&mut alice, &mut world).is_empty());
    replace_by(&mut third, &second, &mut world);
    assert_eq!(finals(&mut alice, &mut world), [202, 202]);
    takes(&mut third, &mut world, "1");
    takes(&mut third, &mut world, "2");
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

/// A phone registers one of its flows (RFC 5626).
fn register_flow(phone: &mut Phone, world: &mut World, number: u32, expires: u32) {
    let headers = format!(
        "Supported: outbound\r\nExpires: {expires}\r\n\
         Contact: {};reg-id={number};+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"\r\n",
        phone.contact()
    );
    let call_id = [phone.registering.clone(), phone.next_number()].concat();
    let (_, answer) = phone.request_in(world, &call_id, 1, "REGISTER", "sip:lab.test", &headers, b"");
    assert_eq!(answer.status(), 200);
}

#[test]
fn a_phone_that_renews_one_of_its_flows_is_left_the_copy_that_it_has_by_the_other() {
    for kept in [false, true] {
        let (mut world, mut alice) = (World::new(), Phone::new("alice", 1));
        let (mut one, mut two) = (another(8), another(9));
        register_flow(&mut one, &mut world, 1, 600);
        seconds(&mut world, 1);
        register_flow(&mut two, &mut world, 2, 600);
        assert_eq!(send(&mut alice, &mut world, "1"), 0);
        let message = two.gets(&mut world, "MESSAGE", false);
        seconds(&mut world, if kept { 26 } else { 1 });
        forget(&mut two, &mut world);
        register_flow(&mut one, &mut world, 1, 600);
        one.has_nothing(&mut world);
        two.respond(&mut world, &message, 200, "", "");
        let expected = if kept { 202 } else { 200 };
        assert_eq!(finals(&mut alice, &mut world), [expected]);
        assert_eq!(world.engine.gauges().kept_messages, 0);
        // One whose flow ends goes on by the other.
        assert_eq!(send(&mut alice, &mut world, "2"), 0);
        forget(&mut one, &mut world);
        register_flow(&mut one, &mut world, 1, 0);
        takes(&mut two, &mut world, "2");
        assert_eq!(finals(&mut alice, &mut world), [200]);
        seconds(&mut world, 60);
        one.has_nothing(&mut world);
        two.has_nothing(&mut world);
    }
}

#[test]
fn what_is_on_its_way_to_the_disk_is_not_overtaken_by_what_came_later() {
    for ok in [true, false] {
        let (mut world, mut alice, first) = silence(&["1"]);
        let (mut second, mut third) = (another(8), another(9));
        replace_by(&mut second, &first, &mut world);
        assert_eq!(second.gets(&mut world, "MESSAGE", false).body_slice(), b"1");
        assert_eq!(send(&mut alice, &mut world, "2"), 0);
        assert_eq!(second.gets(&mut world, "MESSAGE", false).body_slice(), b"2");
        // The first is kept, as it has moved once already; the second is not.
        world.disk_hangs = true;
        assert_eq!(replacing(&mut third, &second, &mut world), 0);
        world.commit_first(1, true);
        assert_eq!(third.final_response(&mut world).status(), 200);
        third.has_nothing(&mut world);
        world.disk_hangs = false;
        world.commit(ok);
        if ok {
            takes(&mut third, &mut world, "1");
        }
        takes(&mut third, &mut world, "2");
        let first = if ok { 202 } else { 503 };
        assert_eq!(finals(&mut alice, &mut world), [first, 200]);
        assert_eq!(world.engine.gauges().kept_messages, 0);
    }
}

#[test]
fn where_nothing_is_kept_a_message_goes_on_with_a_phone_that_moves_on_and_on() {
    let world = World::with(|config| config.mail.count = 0);
    let (mut world, mut alice, mut phone) = silence_in(world, &["1"]);
    for host in 20..25 {
        let mut next = another(host);
        replace_by(&mut next, &phone, &mut world);
        forget(&mut phone, &mut world);
        let message = next.gets(&mut world, "MESSAGE", false);
        assert_eq!(message.body_slice(), b"1");
        next.has_nothing(&mut world);
        seconds(&mut world, 1);
        forget(&mut next, &mut world);
        phone = next;
    }
    assert!(finals(&mut alice, &mut world).is_empty());
    // Until its sender has been told.
    seconds(&mut world, 24);
    assert_eq!(finals(&mut alice, &mut world), [480]);
    let mut last = another(30);
    replace_by(&mut last, &phone, &mut world);
    last.has_nothing(&mut world);
    forget(&mut phone, &mut world);
    seconds(&mut world, 60);
    phone.has_nothing(&mut world);
    world.is_clean();
}

#[test]
fn silent_phones_of_which_one_came_later_are_tried_once() {
    let (mut world, mut alice, mut one) = silence(&["1"]);
    seconds(&mut world, 5);
    let mut two = another(9);
    assert_eq!(two.register(&mut world, 3600).status(), 200);
    let copies = |phone: &mut Phone, world: &mut World| {
        phone.listen(world);
        let heads = phone.inbox.drain(..).map(|delivery| delivery.message);
        let branches: HashSet<String> = heads
            .map(|message| message.via().unwrap().branch().unwrap().to_owned())
            .collect();
        branches.len()
    };
    seconds(&mut world, 120);
    assert_eq!(finals(&mut alice, &mut world), [202]);
    assert_eq!(
        (copies(&mut one, &mut world), copies(&mut two, &mut world)),
        (1, 1)
    );
    assert_eq!(world.engine.gauges().kept_messages, 1);
    // It waits for a registration.
    two.register(&mut world, 3600);
    takes(&mut two, &mut world, "1");
    assert_eq!(world.engine.gauges().kept_messages, 0);
}

//! The store on real files: what was reported survives a reopening, and trouble is named.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use cordboard_engine::io::Transport;

use super::*;
use crate::config::resolved::StoreConfig;

fn config(folder: &Path) -> StoreConfig {
    StoreConfig {
        path: folder.join("cordboard.db"),
        full_sync: true,
    }
}

fn open(folder: &Path) -> (Sqlite, Receiver<(Ticket, bool)>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let on_stored: OnStored = Arc::new(move |tickets: &[Ticket], ok| {
        for ticket in tickets {
            // A test that no longer listens does not mind.
            let _ = sender.lock().unwrap().send((*ticket, ok));
        }
    });
    (
        Sqlite::open(folder, &config(folder), on_stored).unwrap(),
        receiver,
    )
}

fn error(folder: &Path) -> String {
    match Sqlite::open(folder, &config(folder), Arc::new(|_, _| ())) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

fn binding(user: &str, expires: u64) -> StoredBinding {
    StoredBinding {
        aor: format!("{user}@lab.test").into(),
        contact: format!("sip:{user}@[2001:db8::1]:5062;transport=tcp").into(),
        expires: Time::from_unix_seconds(expires),
        q: 700,
        call_id: "a84b4c76e66710".into(),
        cseq: u32::MAX,
        transport: Transport::Tcp,
        local: "127.0.0.1:5060".parse().unwrap(),
        peer: "[2001:db8::1]:40000".parse().unwrap(),
        connection: 0,
        user_agent: "Ännä's phone \u{2603}".into(),
        path: "<sip:edge.lab.test;lr>".into(),
        instance: "\"<urn:uuid:0C67446E-F1A1-11D9-94D3-000A95A0E128>\";reg-id=1".into(),
    }
}

fn put(user: &str, expires: u64) -> StoreWrite {
    StoreWrite::PutBinding(Box::new(binding(user, expires)))
}

#[test]
fn what_was_reported_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    store.write(Ticket(1), put("alice", 100));
    store.write(Ticket(2), put("alice", 200));
    store.write(Ticket(3), put("bob", 200));
    store.write(Ticket(4), put("carol", 200));
    let gone = StoreWrite::DeleteBinding {
        aor: "carol@lab.test".into(),
        contact: binding("carol", 0).contact,
        instance: binding("carol", 0).instance,
    };
    store.write(Ticket(5), gone);
    for ticket in 1..=5 {
        assert_eq!(reported.recv().unwrap(), (Ticket(ticket), true));
    }
    assert_eq!(store.counts().written, 5);
    drop(store);

    let (store, _) = open(folder.path());
    let mut loaded = store.load_bindings(Time::from_unix_seconds(150)).unwrap();
    loaded.sort_by(|a, b| a.aor.cmp(&b.aor));
    assert_eq!(loaded, [binding("alice", 200), binding("bob", 200)]);
}

#[test]
fn several_writes_of_one_ticket_are_written_in_their_order_and_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    let gone = StoreWrite::DeleteBinding {
        aor: "alice@lab.test".into(),
        contact: binding("alice", 0).contact,
        instance: binding("alice", 0).instance,
    };
    store.write(
        Ticket(1),
        StoreWrite::All(vec![put("alice", 200), put("bob", 200), gone]),
    );
    store.write(Ticket(2), put("carol", 200));
    assert_eq!(reported.recv().unwrap(), (Ticket(1), true));
    assert_eq!(reported.recv().unwrap(), (Ticket(2), true));
    drop(store);
    let (store, _) = open(folder.path());
    let mut loaded = store.load_bindings(Time::from_unix_seconds(150)).unwrap();
    loaded.sort_by(|a, b| a.aor.cmp(&b.aor));
    assert_eq!(loaded, [binding("bob", 200), binding("carol", 200)]);
}

#[test]
fn messages_are_kept_in_their_order_byte_for_byte_until_they_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    let message = |number: u64| StoredMessage {
        id: u128::MAX - u128::from(number),
        number,
        to: "bob@lab.test".into(),
        from: "sip:anonymous@anonymous.invalid".into(),
        hidden: "sip:alice@lab.test".into(),
        name: "\u{c4}nn\u{e4} \"Q\"".into(),
        headers: "Content-Type: text/plain\r\nSubject: s\r\n".into(),
        body: bytes::Bytes::from_static(b"a\0\xff\r\nb"),
        hops: 3,
        accepted: Time(1_800_000_000_123_456_789),
        expires: Time::from_unix_seconds(1_900_000_000),
    };
    let put = |number| StoreWrite::PutMessage(Box::new(message(number)));
    // The same message once more is still one message.
    for write in [
        put(3),
        put(1),
        put(2),
        put(1),
        StoreWrite::DeleteMessage { id: message(2).id },
    ] {
        store.write(Ticket(7), write);
        assert_eq!(reported.recv().unwrap(), (Ticket(7), true));
    }
    drop(store);
    let (store, _) = open(folder.path());
    assert_eq!(store.load_messages().unwrap(), [message(1), message(3)]);
    drop(store);
    // Those of a switch that did not keep the Max-Forwards have that of a new message.
    let older = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
    let back = "ALTER TABLE message DROP COLUMN hops; ALTER TABLE message DROP COLUMN hidden; DROP TABLE call_up; DROP TABLE alive; \
                ALTER TABLE call_record DROP COLUMN last_alive; ALTER TABLE call_record DROP COLUMN contact; \
                ALTER TABLE call_record DROP COLUMN peer_lost; ALTER TABLE call_record DROP COLUMN peer_jitter_ms; \
                ALTER TABLE call_record DROP COLUMN peer_round_trip_ms; PRAGMA user_version = 6;";
    older.execute_batch(back).unwrap();
    drop(older);
    let (store, _) = open(folder.path());
    let loaded = store.load_messages().unwrap();
    let hops: Vec<u8> = loaded.iter().map(|message| message.hops).collect();
    assert_eq!(hops, [70, 70]);
    assert!(loaded.iter().all(|message| message.hidden.is_empty()));
}

#[test]
fn registrations_that_have_ended_are_removed_when_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    store.write(Ticket(1), put("alice", 100));
    reported.recv().unwrap();
    assert_eq!(store.load_bindings(Time::from_unix_seconds(100)).unwrap(), []);
    assert_eq!(
        store.load_bindings(Time::from_unix_seconds(0)).unwrap(),
        [],
        "it is gone for good"
    );
}

#[test]
fn closing_writes_what_waits_and_later_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    for number in 0..20_000 {
        store.write(Ticket(number), put(&format!("user{number}"), 100));
    }
    store.close();
    store.write(Ticket(99_999), put("late", 100));
    let reports: Vec<_> = reported.try_iter().collect();
    assert_eq!(reports.len(), 20_001);
    assert_eq!(reports.last(), Some(&(Ticket(99_999), false)));
    assert!(reports[..20_000].iter().all(|(_, ok)| *ok));
    let counts = store.counts();
    assert_eq!((counts.written, counts.refused, counts.waiting), (20_000, 1, 0));
    assert!(
        counts.commit_seconds.count() < 20_000,
        "writes are committed in groups"
    );
    drop(store);
    let (store, _) = open(folder.path());
    assert_eq!(store.load_bindings(Time::default()).unwrap().len(), 20_000);
}

#[test]
fn what_plugins_keep_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let keep = |plugin, key, value: Option<&[u8]>| store.keep(KvWrite { plugin, key, value });
    keep("word-filter", "hits", Some(b"1"));
    keep("word-filter", "hits", Some(b"2"));
    keep("word-filter", "gone", Some(b"x"));
    keep("word-filter", "gone", None);
    keep("office-hours", "hits", Some(b"\0\xff"));
    drop(store);
    let (store, _) = open(folder.path());
    let mut kept = store.load_kv().unwrap();
    kept.sort_by(|a, b| (&a.plugin, &a.key).cmp(&(&b.plugin, &b.key)));
    let entry = |plugin: &str, value: &[u8]| KvEntry {
        plugin: plugin.into(),
        key: "hits".into(),
        value: value.into(),
    };
    assert_eq!(
        kept,
        [entry("office-hours", b"\0\xff"), entry("word-filter", b"2")]
    );
}

#[test]
fn a_write_that_fails_is_reported_as_not_safe() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    let other = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
    other.execute_batch("DROP TABLE binding").unwrap();
    store.write(Ticket(1), put("alice", 100));
    assert_eq!(reported.recv().unwrap(), (Ticket(1), false));
    assert_eq!(store.counts().failed, 1);
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cordboard.db");
    let rubbish = b"this is not a database".repeat(400);
    std::fs::write(&path, &rubbish).unwrap();
    let error = error(folder.path());
    assert!(
        error.contains("cordboard.db is damaged") && error.contains("nothing was changed"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), rubbish);
}

#[test]
fn a_database_of_a_newer_switch_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
    connection.pragma_update(None, "user_version", 1000).unwrap();
    drop(connection);
    let error = error(folder.path());
    assert!(error.contains("has version 1000"), "{error}");
}

#[test]
fn a_database_of_the_first_version_is_taken_over_with_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE binding (
                aor TEXT NOT NULL, contact TEXT NOT NULL, expires INTEGER NOT NULL, q INTEGER NOT NULL,
                call_id TEXT NOT NULL, cseq INTEGER NOT NULL, transport TEXT NOT NULL, local TEXT NOT NULL,
                peer TEXT NOT NULL, user_agent TEXT NOT NULL, path TEXT NOT NULL,
                PRIMARY KEY (aor, contact)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE plugin_kv (
                plugin TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (plugin, key)
            ) STRICT, WITHOUT ROWID;
            INSERT INTO binding VALUES ('alice@lab.test', 'sip:alice@192.0.2.9', 5, 1000, 'c', 1, 'udp',
                '127.0.0.1:5060', '192.0.2.9:5060', '', '');
            PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    let (store, reported) = open(folder.path());
    let kept = store.load_bindings(Time::from_unix_seconds(0)).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((&*kept[0].aor, kept[0].instance.as_str()), ("alice@lab.test", ""));
    // Two flows of one phone under one contact are two rows.
    let mut second = binding("bob", 200);
    second.instance = second.instance.replace("reg-id=1", "reg-id=2");
    store.write(Ticket(1), put("bob", 200));
    store.write(Ticket(2), StoreWrite::PutBinding(Box::new(second.clone())));
    let first = StoreWrite::DeleteBinding {
        aor: second.aor.clone(),
        contact: second.contact.clone(),
        instance: binding("bob", 200).instance,
    };
    store.write(Ticket(3), first);
    for ticket in 1..=3 {
        assert_eq!(reported.recv().unwrap(), (Ticket(ticket), true));
    }
    let kept = store.load_bindings(Time::from_unix_seconds(100)).unwrap();
    assert_eq!(kept, [second]);
}

#[test]
fn a_folder_has_one_switch_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let error = error(folder.path());
    assert!(error.contains("in use by another running switch"), "{error}");
    drop(store);
    open(folder.path());
}

#[test]
fn folder_and_files_are_for_their_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let (store, reported) = open(&folder);
    store.write(Ticket(1), put("alice", 100));
    reported.recv().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = error(&file.join("data"));
    assert!(
        error.contains("file/data cannot be used") && error.contains("data_dir"),
        "{error}"
    );
}

#[test]
fn call_records_are_rows_and_old_ones_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    let count = || -> i64 {
        let database = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
        database
            .query_row("SELECT count(*) FROM call_record", [], |row| row.get(0))
            .unwrap()
    };
    let put = |record: CallRecord, forget: u64| {
        let (record, forget_before) = (Box::new(record), Time::from_unix_seconds(forget));
        store.write(
            Ticket(0),
            StoreWrite::PutRecord {
                record,
                forget_before,
            },
        );
        assert_eq!(reported.recv().unwrap(), (Ticket(0), true));
    };
    let write = |id: u128, ended: u64, forget: u64| {
        let mut record = crate::cdr::tests::record(id);
        record.ended = Some(Time::from_unix_seconds(ended));
        put(record, forget);
    };
    for id in 1..=200 {
        write(id, 100, 50);
    }
    assert_eq!(count(), 200);
    for id in 201..=256 {
        write(id, 300, 200);
    }
    assert_eq!(count(), 56);
    let database = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
    let row: (String, Option<i64>, i64) = database
        .query_row(
            "SELECT caller, answered, ended FROM call_record WHERE id LIKE '%0100'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(row, ("sip:alice@lab.test".into(), None, 300_000_000_000));
    let row: (String, i64, f64) = database
        .query_row(
            "SELECT contact, peer_lost, peer_round_trip_ms FROM call_record LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(row, ("sip:alice@198.51.100.1:5060".into(), 3, 12.5));
    // One of nobody knows which end counts by what is known of it, not by its beginning.
    let begun = crate::cdr::tests::call(1).started;
    for (id, known) in [
        (257, None),
        (258, Some(begun + std::time::Duration::from_secs(3600))),
    ] {
        let mut record = crate::cdr::tests::call(id);
        record.last_alive = known;
        put(record, begun.unix_seconds());
    }
    for id in 259..=512 {
        write(id, begun.unix_seconds() + 60, begun.unix_seconds() + 60);
    }
    assert_eq!(count(), 512 - 257);
}

#[test]
fn calls_that_are_up_come_back_until_their_record_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    let write = |store: &Sqlite, reported: &Receiver<_>, write| {
        store.write(Ticket(0), write);
        assert_eq!(reported.recv().unwrap(), (Ticket(0), true));
    };
    let call = |id: u128| {
        let mut call = crate::cdr::tests::call(id);
        call.answered = Some(call.started + std::time::Duration::from_secs(u64::try_from(id).unwrap()));
        call
    };
    for id in [3, 1, 2, 1] {
        write(&store, &reported, StoreWrite::PutCall(Box::new(call(id))));
    }
    drop(store);
    let (store, reported) = open(folder.path());
    let load = |store: &Sqlite| -> Vec<CallRecord> { store.load_calls().unwrap() };
    let known = |id: u128, last_alive| CallRecord {
        last_alive,
        ..call(id)
    };
    assert_eq!(
        load(&store),
        [1, 2, 3].map(|id| known(id, call(id).answered)),
        "the answer of a call is a sign of life"
    );
    let after = |seconds| call(3).started + std::time::Duration::from_secs(seconds);
    let alive = |seconds, up: &[u128]| StoreWrite::Alive {
        at: after(seconds),
        up: up.iter().copied().collect(),
    };
    let later = after(90);
    write(&store, &reported, alive(90, &[1, 2, 3]));
    write(&store, &reported, StoreWrite::DeleteCall { id: 2 });
    assert_eq!(load(&store), [1, 3].map(|id| known(id, Some(later))));
    // Of calls that are not up any more no more is known, whatever comes after them.
    write(&store, &reported, StoreWrite::PutCall(Box::new(call(120))));
    write(&store, &reported, alive(150, &[120]));
    write(&store, &reported, alive(180, &[1, 120]));
    let left = [1, 3].map(|id| known(id, Some(later)));
    assert_eq!(load(&store)[..2], left);
    assert_eq!(load(&store)[2], known(120, Some(after(180))));
    write(&store, &reported, StoreWrite::DeleteCall { id: 120 });
    let forget_before = Time(0);
    let mut record = crate::cdr::tests::record(3);
    record.answered = call(3).answered;
    let record = Box::new(record);
    write(
        &store,
        &reported,
        StoreWrite::PutRecord {
            record,
            forget_before,
        },
    );
    assert_eq!(load(&store), [known(1, Some(later))]);
    let record = Box::new(known(1, Some(later)));
    write(
        &store,
        &reported,
        StoreWrite::PutRecord {
            record,
            forget_before,
        },
    );
    assert_eq!(load(&store), []);
    let database = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
    let row: (Option<i64>, i64, Option<i64>) = database
        .query_row(
            "SELECT ended, last_alive, lost FROM call_record WHERE reason = 'cut_off'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(row, (None, i64::try_from(later.0).unwrap(), None));
}

#[test]
fn records_of_an_older_database_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (store, reported) = open(folder.path());
    let (record, forget_before) = (Box::new(crate::cdr::tests::record(5)), Time(0));
    store.write(
        Ticket(0),
        StoreWrite::PutRecord {
            record,
            forget_before,
        },
    );
    reported.recv().unwrap();
    drop(store);
    let row = || -> (String, i64, i64, f64) {
        let database = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let columns = "SELECT contact, ended, peer_lost, peer_round_trip_ms FROM call_record";
        database.query_row(columns, [], read).unwrap()
    };
    let before = row();
    let older = rusqlite::Connection::open(folder.path().join("cordboard.db")).unwrap();
    let back = "ALTER TABLE message DROP COLUMN hidden; DROP TABLE call_up; DROP TABLE alive; ALTER TABLE call_record DROP COLUMN last_alive; \
                PRAGMA user_version = 9;";
    older.execute_batch(back).unwrap();
    drop(older);
    drop(open(folder.path()));
    assert_eq!(row(), before);
    assert_eq!(before.1, 1_800_000_060_500_000_000);
}

#[test]
fn a_chat_room_comes_back_with_its_people_and_messages_and_goes_whole() {
    use cordboard_engine::chat::io::{ChatWrite, StoredMessage, StoredParticipant, StoredRoom};
    use cordboard_engine::chat::{Scope, Uuid};
    use cordboard_model::ConferenceId;

    let folder = tempfile::tempdir().unwrap();
    let room = ConferenceId(0xc0);
    let state = StoredRoom {
        id: room,
        enabled: false,
        waiting_room: true,
        raise_hands: true,
        banned: vec!["bob".into(), "\"carol\"".into()],
    };
    let message = |n: u64, scope: Scope| StoredMessage {
        id: Uuid(u128::from(n)),
        source: Uuid(7),
        at: Time(1_800_000_000_123_456_789 + n),
        scope,
        content: format!("n\u{e4}chste {n}\0"),
    };
    let participant = StoredParticipant {
        id: Uuid(7),
        kind: "user".into(),
        user: Some("alice".into()),
        name: "Alice".into(),
        role: "moderator".into(),
        joined: Time(5),
        left: None,
        resumption: Some([9; 32]),
        last_seen: "{}".into(),
    };
    let scopes = [
        Scope::Global,
        Scope::Group("/Lab".into()),
        Scope::Private(Uuid(8)),
        Scope::Global,
    ];
    let messages: Vec<_> = (0..).zip(scopes).map(|(n, scope)| message(n, scope)).collect();
    let write = |store: &Sqlite, reports: &Receiver<(Ticket, bool)>, write: ChatWrite| {
        store.write(Ticket(1), StoreWrite::Chat(write));
        assert_eq!(reports.recv().unwrap(), (Ticket(1), true));
    };
    {
        let (store, reports) = open(folder.path());
        write(&store, &reports, ChatWrite::Room(state.clone()));
        write(
            &store,
            &reports,
            ChatWrite::Participant {
                room,
                participant: Box::new(participant.clone()),
            },
        );
        for message in messages.iter().rev() {
            let message = Arc::new(message.clone());
            write(&store, &reports, ChatWrite::Message { room, message });
        }
    }
    let (store, reports) = open(folder.path());
    let kept = store.load_chat().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0].room, &kept[0].participants),
        (&state, &vec![participant])
    );
    assert_eq!(kept[0].messages, messages, "oldest first");
    let left = |store: &Sqlite| -> Vec<u128> {
        let kept = store.load_chat().unwrap();
        kept[0].messages.iter().map(|message| message.id.0).collect()
    };
    let edited = Arc::new(StoredMessage {
        content: "new".into(),
        ..messages[0].clone()
    });
    write(
        &store,
        &reports,
        ChatWrite::EditMessage {
            room,
            message: Arc::clone(&edited),
        },
    );
    assert_eq!(left(&store), [0, 1, 2, 3]);
    assert_eq!(store.load_chat().unwrap()[0].messages[0].content, "new");
    let until = messages[2].at;
    write(&store, &reports, ChatWrite::ClearGlobal { room, until });
    assert_eq!(left(&store), [1, 2, 3]);
    let late = ChatWrite::EditMessage {
        room,
        message: edited,
    };
    write(&store, &reports, late);
    assert_eq!(left(&store), [1, 2, 3], "what is gone stays gone");
    let group = "/Lab".to_owned();
    let forget = |until| ChatWrite::ForgetGroup {
        room,
        group: group.clone(),
        until,
    };
    write(&store, &reports, forget(messages[0].at));
    assert_eq!(left(&store), [1, 2, 3], "what came later stays");
    write(&store, &reports, forget(until));
    assert_eq!(left(&store), [2, 3]);
    write(&store, &reports, ChatWrite::ForgetMessages { room, until });
    assert_eq!(left(&store), [3]);
    write(&store, &reports, ChatWrite::DeleteMessage { room, id: Uuid(3) });
    assert_eq!(left(&store), [0; 0]);
    let id = Uuid(7);
    write(&store, &reports, ChatWrite::ForgetParticipant { room, id });
    assert!(store.load_chat().unwrap()[0].participants.is_empty());
    write(&store, &reports, ChatWrite::ForgetRoom { room });
    assert!(store.load_chat().unwrap().is_empty());
    // The room's own row was lost to a failed commit, say.
    let message = Arc::new(messages[0].clone());
    write(&store, &reports, ChatWrite::Message { room, message });
    assert_eq!(left(&store), [0]);
}

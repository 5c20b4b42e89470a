//! Tests of the call records: what is on disk after each way in which a switch can end.

use std::fs;

use cordboard_engine::io::Transport;
use cordboard_engine::record::CallDirection;
use cordboard_model::AccountId;
use cordboard_model::media::{LegTotals, PeerReport};
use rusqlite::Connection;

use super::*;
use crate::config::resolved::StoreConfig;
use crate::store::Sqlite;

pub(crate) fn record(id: u128) -> CallRecord {
    CallRecord {
        id,
        session: 7,
        call_id: "a\"b".into(),
        account: AccountId(1),
        direction: CallDirection::In,
        from: "sip:alice@lab.test".into(),
        to: "sip:3000@lab.test".into(),
        number: "3000".into(),
        contact: "sip:alice@198.51.100.1:5060".into(),
        user: Some("alice".into()),
        transport: Transport::Udp,
        started: Time::from_unix_seconds(1_800_000_000),
        answered: None,
        ended: Some(Time(1_800_000_060_500_000_000)),
        last_alive: None,
        codec: Some("PCMU"),
        reason: "hung_up",
        status: 200,
        conference: None,
        media: Some(LegTotals {
            peer: Some(PeerReport {
                lost: 3,
                jitter_ms: 1.0,
                round_trip: Some(Duration::from_micros(12_500)),
            }),
            ..LegTotals::default()
        }),
    }
}

/// What a call is kept as while it is up.
pub(crate) fn call(id: u128) -> CallRecord {
    let started = Time::from_unix_seconds(1_800_000_000);
    CallRecord {
        answered: Some(started + Duration::from_secs(3)),
        ended: None,
        reason: "cut_off",
        media: None,
        ..record(id)
    }
}

/// A switch's life: its records, until it is dropped, which is after all was written, or killed.
struct Life {
    cdr: Cdr,
    store: Arc<Sqlite>,
    clock: Clock,
    cut_off: Vec<CallRecord>,
}

impl Life {
    fn begin(folder: &Path, file: bool, database: bool) -> Self {
        Self::begin_at(folder, file, database, Pace::default())
    }

    fn begin_at(folder: &Path, file: bool, database: bool, pace: Pace) -> Self {
        let store_config = StoreConfig {
            path: folder.join("cordboard.db"),
            full_sync: true,
        };
        let config = CdrConfig {
            file,
            max_size: 1 << 20,
            keep_files: 2,
            database,
            keep: Duration::from_secs(3600),
        };
        let store = Arc::new(Sqlite::open(folder, &store_config, Arc::new(|_, _| ())).unwrap());
        let shared: Arc<dyn Store> = store.clone();
        let clock = Clock::start();
        let cdr = Cdr::start(&config, folder, shared, clock, pace).unwrap();
        let cut_off = cdr.cut_off().unwrap();
        Self {
            cdr,
            store,
            clock,
            cut_off,
        }
    }

    fn end(self) {
        self.cdr.close();
        self.store.close();
    }
}

/// Reasons in the file, reasons in the table, and calls that are up, by their ids.
fn on_disk(folder: &Path) -> [Vec<(u128, String)>; 3] {
    let lines = fs::read_to_string(folder.join(NAME)).unwrap_or_default();
    let mut lines: Vec<_> = lines
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (
                line::id(line.as_bytes()).unwrap(),
                value["reason"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    lines.sort();
    let database = Connection::open(folder.join("cordboard.db")).unwrap();
    let rows = |table: &str| {
        let mut statement = database
            .prepare(&format!("SELECT id, reason FROM {table} ORDER BY id"))
            .unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            let id: String = row.get(0)?;
            Ok((u128::from_str_radix(&id, 16).unwrap(), row.get(1)?))
        };
        statement
            .query_map([], row)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    [lines, rows("call_record"), rows("call_up")]
}

#[test]
fn a_call_that_is_up_is_kept_until_its_record_is_written() {
    for (file, database) in [(true, true), (true, false), (false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::begin(folder.path(), file, database);
        for id in 1..=3 {
            life.cdr.answered(Box::new(call(id)));
        }
        life.cdr.keep(Box::new(record(2)));
        life.cdr.keep(Box::new(record(8)));
        life.end();
        let ended: Vec<_> = [2, 8].map(|id| (id, "hung_up".to_owned())).into();
        let cut: Vec<_> = [1, 3].map(|id| (id, "cut_off".to_owned())).into();
        let wanted = |wanted: bool, rows: &Vec<_>| if wanted { rows.clone() } else { Vec::new() };
        let [lines, rows, up] = on_disk(folder.path());
        assert_eq!(
            (lines, rows, up),
            (wanted(file, &ended), wanted(database, &ended), cut.clone())
        );

        let life = Life::begin(folder.path(), file, database);
        assert_eq!(
            life.cut_off.iter().map(|call| call.id).collect::<Vec<_>>(),
            [1, 3]
        );
        for call in life.cut_off.clone() {
            assert_eq!((call.ended, call.last_alive), (None, call.answered));
            life.cdr.keep(Box::new(call));
        }
        life.end();
        let all = [&cut[..1], &ended[..1], &cut[1..], &ended[1..]].concat();
        let [lines, rows, up] = on_disk(folder.path());
        assert_eq!(
            (lines, rows, up),
            (wanted(file, &all), wanted(database, &all), Vec::new())
        );
        assert!(
            Life::begin(folder.path(), file, database).cut_off.is_empty(),
            "once"
        );
    }
}

/// Until the store has it.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not come");
}

#[test]
fn a_call_whose_line_cannot_be_written_has_its_record_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let life = Life::begin(folder.path(), true, false);
    for id in 1..=2 {
        life.cdr.answered(Box::new(call(id)));
    }
    life.cdr.keep(Box::new(record(1)));
    wait_for(|| (life.cdr.counts() == (1, 0)).then_some(()));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    life.cdr.keep(Box::new(record(2)));
    wait_for(|| (life.cdr.counts() == (1, 1)).then_some(()));
    life.end();
    fs::remove_dir(&path).unwrap();

    let life = Life::begin(folder.path(), true, false);
    let calls = life.cut_off.clone();
    assert_eq!(calls.iter().map(|call| call.id).collect::<Vec<_>>(), [2]);
    calls.into_iter().for_each(|call| life.cdr.keep(Box::new(call)));
    life.end();
    let cut = vec![(2, "cut_off".to_owned())];
    assert_eq!(on_disk(folder.path()), [cut, Vec::new(), Vec::new()]);
}

#[test]
fn a_call_is_kept_until_its_line_is_synced_and_a_kill_before_makes_no_second_one() {
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace {
        sync: Duration::from_secs(3600),
        ..Pace::default()
    };
    let life = Life::begin_at(folder.path(), true, false, pace);
    for id in 1..=2 {
        life.cdr.answered(Box::new(call(id)));
        life.cdr.keep(Box::new(record(id)));
    }
    life.cdr.keep(Box::new(record(3))); // one that was never up
    wait_for(|| (life.cdr.counts() == (3, 0)).then_some(()));
    life.store.close(); // from now on nothing is stored, as after a kill
    life.end();
    let ended: Vec<_> = [1, 2, 3].map(|id| (id, "hung_up".to_owned())).into();
    let [lines, _, up] = on_disk(folder.path());
    let cut: Vec<_> = [1, 2].map(|id| (id, "cut_off".to_owned())).into();
    assert_eq!((lines, up), (ended.clone(), cut));
    let life = Life::begin(folder.path(), true, false);
    assert!(life.cut_off.is_empty());
    life.end();
    assert_eq!(on_disk(folder.path()), [ended, Vec::new(), Vec::new()]);
}

#[test]
fn a_line_that_cannot_be_synced_takes_no_row_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    // It takes what is written, and cannot be synced.
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    let life = Life::begin(folder.path(), true, false);
    life.cdr.answered(Box::new(call(1)));
    life.cdr.keep(Box::new(record(1)));
    life.cdr.keep(Box::new(record(2))); // one that was never up
    life.cdr.close();
    assert_eq!(life.cdr.counts(), (2, 2));
    life.end();
    fs::remove_file(path).unwrap();
    let cut = vec![(1, "cut_off".to_owned())];
    assert_eq!(on_disk(folder.path()), [Vec::new(), Vec::new(), cut]);
}

#[test]
fn more_calls_may_be_cut_off_than_records_may_wait() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path(), true, false);
    (1..=300).for_each(|id| life.cdr.answered(Box::new(call(id))));
    life.end();
    let pace = Pace {
        waiting: 1,
        ..Pace::default()
    };
    let life = Life::begin_at(folder.path(), true, false, pace);
    let calls: Vec<_> = life.cut_off.iter().cloned().map(Box::new).collect();
    calls.into_iter().for_each(|call| life.cdr.keep(call));
    life.end();
    let [lines, _, up] = on_disk(folder.path());
    assert_eq!((lines.len(), up), (300, Vec::new()));
}

#[test]
fn what_is_said_of_a_call_that_was_up_is_not_of_after_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace {
        alive: Duration::from_millis(5),
        ..Pace::default()
    };
    let life = Life::begin_at(folder.path(), true, false, pace);
    let begun = life.clock.now();
    let now_up = |id| CallRecord {
        started: begun,
        answered: Some(begun),
        ..call(id)
    };
    (1..=2).for_each(|id| life.cdr.answered(Box::new(now_up(id))));
    let known = |id| {
        let calls = life.store.load_calls().unwrap();
        calls.iter().find(|call| call.id == id).unwrap().last_alive
    };
    wait_for(|| (life.store.load_calls().unwrap().len() == 2).then_some(()));
    wait_for(|| (known(1) > Some(begun)).then_some(()));

    fs::remove_file(folder.path().join(NAME)).unwrap();
    fs::create_dir(folder.path().join(NAME)).unwrap();
    let ended = life.clock.now();
    life.cdr.keep(Box::new(CallRecord {
        ended: Some(ended),
        ..record(1)
    }));
    wait_for(|| (life.cdr.counts().1 == 1).then_some(()));
    let at_its_end = life.clock.now();
    wait_for(|| (known(2) > Some(at_its_end)).then_some(()));
    let of_the_first = known(1);
    assert!(
        of_the_first <= Some(at_its_end),
        "{of_the_first:?} {at_its_end:?}"
    );
    wait_for(|| (known(2) > Some(at_its_end + pace.alive)).then_some(()));
    assert_eq!(known(1), of_the_first);
    life.end();
}

#[test]
fn a_kill_between_the_line_and_the_row_makes_no_second_record() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path(), true, true);
    life.cdr.answered(Box::new(call(1)));
    life.end();
    let ended = CallRecord {
        answered: call(1).answered,
        ..record(1)
    };
    fs::write(folder.path().join(NAME), line::line(&ended)).unwrap();
    let life = Life::begin(folder.path(), true, true);
    assert!(life.cut_off.is_empty(), "{:?}", life.cut_off);
    life.end();
    let ended = vec![(1, "hung_up".to_owned())];
    assert_eq!(on_disk(folder.path()), [ended.clone(), ended, Vec::new()]);
}

#[test]
fn who_wants_no_records_keeps_no_calls() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::begin(folder.path(), false, true);
    life.cdr.answered(Box::new(call(1)));
    life.end();
    let life = Life::begin(folder.path(), false, false);
    assert!(life.cut_off.is_empty());
    life.end();
    assert_eq!(on_disk(folder.path()), [Vec::new(), Vec::new(), Vec::new()]);
}

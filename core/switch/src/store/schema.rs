//! The tables, and how an older database becomes one of today.

use rusqlite::Connection;

/// Each entry takes the database one version further; entries are added, never changed.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE binding (
        aor        TEXT    NOT NULL,
        contact    TEXT    NOT NULL,
        expires    INTEGER NOT NULL, -- nanoseconds since the Unix epoch
        q          INTEGER NOT NULL, -- times 1000
        call_id    TEXT    NOT NULL,
        cseq       INTEGER NOT NULL,
        transport  TEXT    NOT NULL,
        local      TEXT    NOT NULL,
        peer       TEXT    NOT NULL,
        user_agent TEXT    NOT NULL,
        path       TEXT    NOT NULL,
        PRIMARY KEY (aor, contact)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE plugin_kv (
        plugin TEXT NOT NULL,
        key    TEXT NOT NULL,
        value  BLOB NOT NULL,
        PRIMARY KEY (plugin, key)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE call_record (
        id          TEXT    NOT NULL,
        session     TEXT    NOT NULL,
        call_id     TEXT    NOT NULL,
        account     TEXT    NOT NULL,
        direction   TEXT    NOT NULL, -- in or out
        caller      TEXT    NOT NULL,
        callee      TEXT    NOT NULL,
        number      TEXT    NOT NULL,
        user        TEXT,
        transport   TEXT    NOT NULL,
        started     INTEGER NOT NULL, -- nanoseconds since the Unix epoch, as answered and ended
        answered    INTEGER,
        ended       INTEGER NOT NULL,
        codec       TEXT,
        reason      TEXT    NOT NULL,
        status      INTEGER NOT NULL, -- 0: none
        conference  TEXT,
        packets_in  INTEGER,
        packets_out INTEGER,
        lost        INTEGER,
        late        INTEGER,
        jitter_ms   REAL
    ) STRICT;
    CREATE INDEX call_record_ended ON call_record (ended);
    CREATE INDEX call_record_session ON call_record (session);
",
    "
    ALTER TABLE binding ADD COLUMN instance TEXT NOT NULL DEFAULT '';
",
    "
    CREATE TABLE message (
        id       TEXT    NOT NULL PRIMARY KEY,
        number   INTEGER NOT NULL, -- their order
        recipient TEXT   NOT NULL, -- user@realm
        sender   TEXT    NOT NULL, -- its URI
        name     TEXT    NOT NULL,
        headers  TEXT    NOT NULL,
        body     BLOB    NOT NULL,
        accepted INTEGER NOT NULL, -- nanoseconds since the Unix epoch, as expires
        expires  INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE chat_room (
        id           TEXT    NOT NULL PRIMARY KEY, -- the conference
        enabled      INTEGER NOT NULL,
        waiting_room INTEGER NOT NULL,
        raise_hands  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE chat_participant (
        room       TEXT    NOT NULL,
        id         TEXT    NOT NULL,
        kind       TEXT    NOT NULL, -- user, guest or sip
        user       TEXT,
        name       TEXT    NOT NULL,
        role       TEXT    NOT NULL, -- guest, user or moderator
        joined     INTEGER NOT NULL, -- nanoseconds since the Unix epoch, as left
        \"left\"     INTEGER,
        resumption BLOB,             -- SHA-256 of the token
        last_seen  TEXT    NOT NULL, -- JSON
        PRIMARY KEY (room, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE chat_message (
        room    TEXT    NOT NULL,
        at      INTEGER NOT NULL, -- nanoseconds since the Unix epoch; rises within a room
        id      TEXT    NOT NULL,
        source  TEXT    NOT NULL,
        scope   TEXT    NOT NULL, -- global, group or private
        target  TEXT,
        content TEXT    NOT NULL,
        PRIMARY KEY (room, at)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE chat_room ADD COLUMN banned TEXT NOT NULL DEFAULT '[]'; -- user names, JSON
",
    "
    ALTER TABLE binding RENAME TO binding_by_contact;
    CREATE TABLE binding (
        aor        TEXT    NOT NULL,
        contact    TEXT    NOT NULL,
        instance   TEXT    NOT NULL,
        expires    INTEGER NOT NULL, -- nanoseconds since the Unix epoch
        q          INTEGER NOT NULL, -- times 1000
        call_id    TEXT    NOT NULL,
        cseq       INTEGER NOT NULL,
        transport  TEXT    NOT NULL,
        local      TEXT    NOT NULL,
        peer       TEXT    NOT NULL,
        user_agent TEXT    NOT NULL,
        path       TEXT    NOT NULL,
        PRIMARY KEY (aor, contact, instance)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO binding
        SELECT aor, contact, instance, expires, q, call_id, cseq, transport, local, peer, user_agent, path
        FROM binding_by_contact;
    DROP TABLE binding_by_contact;
",
    "
    ALTER TABLE message ADD COLUMN hops INTEGER NOT NULL DEFAULT 70; -- Max-Forwards
",
    "
    ALTER TABLE call_record ADD COLUMN contact TEXT NOT NULL DEFAULT '';
    ALTER TABLE call_record ADD COLUMN peer_lost INTEGER;      -- what the peer has reported last
    ALTER TABLE call_record ADD COLUMN peer_jitter_ms REAL;
    ALTER TABLE call_record ADD COLUMN peer_round_trip_ms REAL;
",
    "
    CREATE TABLE call_up ( -- what their records will be if the switch is killed
        id         TEXT    NOT NULL PRIMARY KEY,
        session    TEXT    NOT NULL,
        call_id    TEXT    NOT NULL,
        account    TEXT    NOT NULL,
        direction  TEXT    NOT NULL,
        caller     TEXT    NOT NULL,
        callee     TEXT    NOT NULL,
        number     TEXT    NOT NULL,
        contact    TEXT    NOT NULL,
        user       TEXT,
        transport  TEXT    NOT NULL,
        started    INTEGER NOT NULL,
        answered   INTEGER,
        codec      TEXT,
        reason     TEXT    NOT NULL,
        status     INTEGER NOT NULL,
        conference TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE alive ( -- when the switch was last known to run, while calls were up
        at INTEGER NOT NULL
    ) STRICT;
    INSERT INTO alive VALUES (0);
    CREATE TABLE call_record_new (
        id          TEXT    NOT NULL,
        session     TEXT    NOT NULL,
        call_id     TEXT    NOT NULL,
        account     TEXT    NOT NULL,
        direction   TEXT    NOT NULL, -- in or out
        caller      TEXT    NOT NULL,
        callee      TEXT    NOT NULL,
        number      TEXT    NOT NULL,
        user        TEXT,
        transport   TEXT    NOT NULL,
        started     INTEGER NOT NULL, -- nanoseconds since the Unix epoch, as answered, ended and last_alive
        answered    INTEGER,
        ended       INTEGER,          -- NULL: nobody knows; then
        last_alive  INTEGER,          -- the switch is known to have run until then
        codec       TEXT,
        reason      TEXT    NOT NULL,
        status      INTEGER NOT NULL, -- 0: none
        conference  TEXT,
        packets_in  INTEGER,
        packets_out INTEGER,
        lost        INTEGER,
        late        INTEGER,
        jitter_ms   REAL,
        contact     TEXT    NOT NULL,
        peer_lost   INTEGER,          -- what the peer has reported last
        peer_jitter_ms     REAL,
        peer_round_trip_ms REAL
    ) STRICT;
    INSERT INTO call_record_new
        SELECT id, session, call_id, account, direction, caller, callee, number, user, transport, started, answered,
               ended, NULL, codec, reason, status, conference, packets_in, packets_out, lost, late, jitter_ms, contact,
               peer_lost, peer_jitter_ms, peer_round_trip_ms
        FROM call_record ORDER BY rowid;
    DROP TABLE call_record;
    ALTER TABLE call_record_new RENAME TO call_record;
    CREATE INDEX call_record_ended ON call_record (ended);
    CREATE INDEX call_record_session ON call_record (session);
",
    "
    ALTER TABLE message ADD COLUMN hidden TEXT NOT NULL DEFAULT ''; -- the sender, where it is told of the delivery and nobody of it
",
    "
    ALTER TABLE call_up ADD COLUMN last_alive INTEGER; -- of a call that is over, or of an earlier life: it is not up
",
];

/// The version of a database of today.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the database to today's version, each step whole or not at all. Returns the version that it
/// had; one above [`VERSION`] is left as it is.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or(0);
    for (index, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(found)
}

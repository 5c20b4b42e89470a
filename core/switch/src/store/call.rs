//! Call records as rows, and the calls that are up.

use std::collections::HashSet;

use cordboard_engine::io::Transport;
use cordboard_engine::record::{CallDirection, CallRecord, ENDS};
use cordboard_model::Time;
use cordboard_model::media::Codec;
use rusqlite::{Connection, Row, params};

use super::sqlite::strange;

fn nanos(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn time(nanos: i64) -> Time {
    Time(u64::try_from(nanos).unwrap_or(0))
}

/// Rows between two looks at what is too old.
const FORGET_EVERY: i64 = 256;

/// Writes a record and takes the call out of those that are up.
pub(super) fn put_record(
    connection: &Connection,
    record: &CallRecord,
    forget_before: Time,
) -> rusqlite::Result<usize> {
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    delete(connection, record.id)?;
    let media = record.media.as_ref();
    let peer = media.and_then(|totals| totals.peer.as_ref());
    let rows = connection
        .prepare_cached(
            "INSERT INTO call_record (id, session, call_id, account, direction, caller, callee, number, user, \
             transport, started, answered, ended, codec, reason, status, conference, packets_in, packets_out, \
             lost, late, jitter_ms, contact, peer_lost, peer_jitter_ms, peer_round_trip_ms, last_alive) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
             ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)",
        )?
        .execute(params![
            format!("{:032x}", record.id),
            format!("{:032x}", record.session),
            record.call_id,
            record.account.to_string(),
            record.direction.name(),
            record.from,
            record.to,
            record.number,
            record.user,
            record.transport.name(),
            nanos(record.started),
            record.answered.map(nanos),
            record.ended.map(nanos),
            record.codec,
            record.reason,
            record.status,
            record.conference.map(|id| id.to_string()),
            media.map(|totals| count(totals.packets_in)),
            media.map(|totals| count(totals.packets_out)),
            media.map(|totals| count(totals.lost)),
            media.map(|totals| count(totals.late)),
            media.map(|totals| f64::from(totals.jitter_ms)),
            record.contact,
            peer.map(|peer| peer.lost),
            peer.map(|peer| f64::from(peer.jitter_ms)),
            peer.and_then(|peer| peer.round_trip)
                .map(|time| time.as_secs_f64() * 1000.0),
            record.last_alive.map(nanos),
        ])?;
    if connection.last_insert_rowid() % FORGET_EVERY == 0 {
        connection
            .prepare_cached("DELETE FROM call_record WHERE ended < ?1 OR (ended IS NULL AND coalesce(last_alive, started) < ?1)")?
            .execute([nanos(forget_before)])?;
    }
    Ok(rows)
}

/// Writes what the record of a call will be if the switch is killed.
pub(super) fn put(connection: &Connection, record: &CallRecord) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO call_up (id, session, call_id, account, direction, caller, callee, number, contact, \
             user, transport, started, answered, codec, reason, status, conference) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            format!("{:032x}", record.id),
            format!("{:032x}", record.session),
            record.call_id,
            record.account.to_string(),
            record.direction.name(),
            record.from,
            record.to,
            record.number,
            record.contact,
            record.user,
            record.transport.name(),
            nanos(record.started),
            record.answered.map(nanos),
            record.codec,
            record.reason,
            record.status,
            record.conference.map(|id| id.to_string()),
        ])
}

/// A call is up no longer.
pub(super) fn delete(connection: &Connection, id: u128) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM call_up WHERE id = ?1")?
        .execute([format!("{id:032x}")])
}

/// The switch runs, and these calls are up. Others that are still kept are of before: what was known of them until now
/// stays.
pub(super) fn alive(connection: &Connection, at: Time, up: &HashSet<u128>) -> rusqlite::Result<usize> {
    let left: Vec<String> = connection
        .prepare_cached("SELECT id FROM call_up WHERE last_alive IS NULL")?
        .query_map([], |row| row.get::<_, String>(0))?
        .filter(|id| {
            let id = id.as_ref().map(|id| u128::from_str_radix(id, 16));
            !matches!(id, Ok(Ok(id)) if up.contains(&id))
        })
        .collect::<rusqlite::Result<_>>()?;
    for id in left {
        connection
            .prepare_cached(
                "UPDATE call_up SET last_alive = max(coalesce(answered, started), (SELECT at FROM alive)) WHERE id = ?1",
            )?
            .execute([id])?;
    }
    connection
        .prepare_cached("UPDATE alive SET at = ?1")?
        .execute([nanos(at)])
}

/// The calls that were up, in the order in which they were answered, and until when the switch is known to have run
/// with them.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Vec<CallRecord>> {
    let mut statement = connection.prepare(
        "SELECT id, session, call_id, account, direction, caller, callee, number, contact, user, transport, started, \
         answered, codec, reason, status, conference, \
         coalesce(last_alive, max(coalesce(answered, started), (SELECT at FROM alive))) \
         FROM call_up ORDER BY answered, id",
    )?;
    statement.query_map([], call)?.collect()
}

fn call(row: &Row<'_>) -> rusqlite::Result<CallRecord> {
    let id = |column, name| {
        u128::from_str_radix(&row.get::<_, String>(column)?, 16).map_err(|_| strange(column, name))
    };
    let word = |column| row.get::<_, String>(column);
    let (direction, transport, reason) = (word(4)?, word(10)?, word(14)?);
    let direction = [CallDirection::In, CallDirection::Out]
        .into_iter()
        .find(|known| known.name() == direction);
    let transport = Transport::ALL.into_iter().find(|known| known.name() == transport);
    let reason = ENDS.iter().find(|(known, _)| *known == reason);
    let (codec, conference) = (
        row.get::<_, Option<String>>(13)?,
        row.get::<_, Option<String>>(16)?,
    );
    Ok(CallRecord {
        id: id(0, "id")?,
        session: id(1, "session")?,
        call_id: row.get(2)?,
        account: word(3)?.parse().map_err(|_| strange(3, "account"))?,
        direction: direction.ok_or_else(|| strange(4, "direction"))?,
        from: row.get(5)?,
        to: row.get(6)?,
        number: row.get(7)?,
        contact: row.get(8)?,
        user: row.get(9)?,
        transport: transport.ok_or_else(|| strange(10, "transport"))?,
        started: time(row.get(11)?),
        answered: row.get::<_, Option<i64>>(12)?.map(time),
        ended: None,
        last_alive: row.get::<_, Option<i64>>(17)?.map(time),
        codec: codec.and_then(|name| {
            Codec::ALL
                .map(Codec::name)
                .into_iter()
                .find(|known| *known == name)
        }),
        reason: reason.ok_or_else(|| strange(14, "reason"))?.0,
        status: row.get(15)?,
        conference: conference
            .map(|id| id.parse().map_err(|_| strange(16, "conference")))
            .transpose()?,
        media: None,
    })
}

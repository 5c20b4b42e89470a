//! The chat's tables: rooms, their people, what was said.

use cordboard_engine::chat::io::{ChatWrite, KeptRoom, StoredMessage, StoredParticipant, StoredRoom};
use cordboard_engine::chat::{Scope, Uuid};
use cordboard_model::{ConferenceId, Time};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

/// Writes one change inside the transaction that is open.
pub(super) fn apply(connection: &Connection, write: &ChatWrite) -> rusqlite::Result<usize> {
    match write {
        ChatWrite::Room(room) => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO chat_room (id, enabled, waiting_room, raise_hands, banned) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                room.id.to_string(),
                room.enabled,
                room.waiting_room,
                room.raise_hands,
                serde_json::to_string(&room.banned).expect("texts are JSON"),
            ]),
        ChatWrite::Message { room, message } => {
            // Whatever became of the room's own row: a message without one would not be found again.
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO chat_room (id, enabled, waiting_room, raise_hands) VALUES (?1, 1, 0, 1)",
                )?
                .execute([room.to_string()])?;
            put_message(connection, *room, message)
        }
        ChatWrite::EditMessage { room, message } => connection
            .prepare_cached("UPDATE chat_message SET content = ?4 WHERE room = ?1 AND at = ?2 AND id = ?3")?
            .execute(params![
                room.to_string(),
                nanos(message.at),
                message.id.to_string(),
                message.content
            ]),
        ChatWrite::DeleteMessage { room, id } => connection
            .prepare_cached("DELETE FROM chat_message WHERE room = ?1 AND id = ?2")?
            .execute(params![room.to_string(), id.to_string()]),
        ChatWrite::ClearGlobal { room, until } => connection
            .prepare_cached("DELETE FROM chat_message WHERE room = ?1 AND at <= ?2 AND scope = 'global'")?
            .execute(params![room.to_string(), nanos(*until)]),
        ChatWrite::ForgetMessages { room, until } => connection
            .prepare_cached("DELETE FROM chat_message WHERE room = ?1 AND at <= ?2")?
            .execute(params![room.to_string(), nanos(*until)]),
        ChatWrite::ForgetGroup { room, group, until } => connection
            .prepare_cached(
                "DELETE FROM chat_message WHERE room = ?1 AND at <= ?3 AND scope = 'group' AND target = ?2",
            )?
            .execute(params![room.to_string(), group, nanos(*until)]),
        ChatWrite::Participant { room, participant } => put_participant(connection, *room, participant),
        ChatWrite::ForgetParticipant { room, id } => connection
            .prepare_cached("DELETE FROM chat_participant WHERE room = ?1 AND id = ?2")?
            .execute(params![room.to_string(), id.to_string()]),
        ChatWrite::ForgetRoom { room } => {
            let room = room.to_string();
            for statement in [
                "DELETE FROM chat_message WHERE room = ?1",
                "DELETE FROM chat_participant WHERE room = ?1",
                "DELETE FROM chat_room WHERE id = ?1",
            ] {
                connection.prepare_cached(statement)?.execute([&room])?;
            }
            Ok(1)
        }
    }
}

fn put_message(
    connection: &Connection,
    room: ConferenceId,
    message: &StoredMessage,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO chat_message (room, at, id, source, scope, target, content) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            room.to_string(),
            nanos(message.at),
            message.id.to_string(),
            message.source.to_string(),
            message.scope.name(),
            message.scope.target(),
            message.content,
        ])
}

fn put_participant(
    connection: &Connection,
    room: ConferenceId,
    participant: &StoredParticipant,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO chat_participant \
             (room, id, kind, user, name, role, joined, \"left\", resumption, last_seen) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            room.to_string(),
            participant.id.to_string(),
            participant.kind,
            participant.user,
            participant.name,
            participant.role,
            nanos(participant.joined),
            participant.left.map(nanos),
            participant.resumption,
            participant.last_seen,
        ])
}

/// Everything that is kept.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Vec<KeptRoom>> {
    let mut statement = connection
        .prepare("SELECT id, enabled, waiting_room, raise_hands, banned FROM chat_room ORDER BY id")?;
    let rooms: Vec<StoredRoom> = statement.query_map([], room)?.collect::<Result<_, _>>()?;
    let mut messages = connection.prepare(
        "SELECT id, source, at, scope, target, content FROM chat_message WHERE room = ?1 ORDER BY at",
    )?;
    let mut people = connection.prepare(
        "SELECT id, kind, user, name, role, joined, \"left\", resumption, last_seen FROM chat_participant \
         WHERE room = ?1 ORDER BY joined, id",
    )?;
    let kept = |room: StoredRoom| {
        let id = room.id.to_string();
        Ok(KeptRoom {
            room,
            participants: people.query_map([&id], participant)?.collect::<Result<_, _>>()?,
            messages: messages.query_map([&id], message)?.collect::<Result<_, _>>()?,
        })
    };
    rooms.into_iter().map(kept).collect()
}

fn room(row: &Row<'_>) -> rusqlite::Result<StoredRoom> {
    let id: String = row.get(0)?;
    Ok(StoredRoom {
        id: id.parse().map_err(|_| strange(0, "id"))?,
        enabled: row.get(1)?,
        waiting_room: row.get(2)?,
        raise_hands: row.get(3)?,
        banned: serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| strange(4, "banned"))?,
    })
}

fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let (scope, target): (String, Option<String>) = (row.get(3)?, row.get(4)?);
    Ok(StoredMessage {
        id: uuid(row, 0, "id")?,
        source: uuid(row, 1, "source")?,
        at: time(row.get(2)?),
        scope: Scope::read(&scope, target.as_deref()).ok_or_else(|| strange(3, "scope"))?,
        content: row.get(5)?,
    })
}

fn participant(row: &Row<'_>) -> rusqlite::Result<StoredParticipant> {
    Ok(StoredParticipant {
        id: uuid(row, 0, "id")?,
        kind: row.get(1)?,
        user: row.get(2)?,
        name: row.get(3)?,
        role: row.get(4)?,
        joined: time(row.get(5)?),
        left: row.get::<_, Option<i64>>(6)?.map(time),
        resumption: row.get(7)?,
        last_seen: row.get(8)?,
    })
}

fn uuid(row: &Row<'_>, column: usize, name: &str) -> rusqlite::Result<Uuid> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| strange(column, name))
}

fn nanos(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn time(nanos: i64) -> Time {
    Time(u64::try_from(nanos).unwrap_or(0))
}

fn strange(column: usize, name: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, name.into(), Type::Text)
}

//! The store on SQLite.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cordboard_engine::chat::io::KeptRoom;
use cordboard_engine::io::{StoreWrite, StoredBinding, StoredMessage, Transport};
use cordboard_engine::record::CallRecord;
use cordboard_host::{KvEntry, KvWrite};
use cordboard_model::{Ticket, Time};
use rusqlite::{Connection, ErrorCode, Row, params};

use super::writer::{self, Queue};
use super::{OnStored, Store, StoreCounts, StoreError, call, chat, folder, schema};
use crate::config::resolved::StoreConfig;

/// Pages of the write-ahead log (of 4 KiB) after which it is copied into the database: four times SQLite's own
/// choice, because the same pages are written again and again under load, and are copied once.
const CHECKPOINT: u32 = 4000;

/// A SQLite file with its writing thread.
pub(crate) struct Sqlite {
    path: PathBuf,
    reader: Mutex<Connection>,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    on_stored: OnStored,
    /// Held as long as the store is open.
    _folder: File,
}

impl Sqlite {
    /// Makes or opens the database and starts the thread.
    ///
    /// # Errors
    /// What is wrong with the folder or the file, and what to do. A damaged file is left as it is.
    pub(crate) fn open(
        data_dir: &Path,
        config: &StoreConfig,
        on_stored: OnStored,
    ) -> Result<Self, StoreError> {
        let lock = folder::take(data_dir)?;
        // SQLite gives its side files the mode of the database.
        folder::open_private(&config.path).map_err(|source| StoreError::Folder {
            path: config.path.clone(),
            source,
        })?;
        let mut writer = connect(config)?;
        let found = schema::migrate(&mut writer).map_err(|source| explain(&config.path, source))?;
        if found > schema::VERSION {
            return Err(StoreError::Newer {
                path: config.path.clone(),
                found,
                known: schema::VERSION,
            });
        }
        let reader = connect(config)?;
        let queue = Arc::new(Queue::new());
        let thread = {
            let (queue, on_stored) = (Arc::clone(&queue), Arc::clone(&on_stored));
            let thread = std::thread::Builder::new().name("store".into());
            thread
                .spawn(move || writer::run(writer, &queue, &on_stored))
                .map_err(StoreError::Thread)?
        };
        Ok(Self {
            path: config.path.clone(),
            reader: Mutex::new(reader),
            queue,
            thread: Mutex::new(Some(thread)),
            on_stored,
            _folder: lock,
        })
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Sqlite {
    fn load_bindings(&self, now: Time) -> Result<Vec<StoredBinding>, StoreError> {
        let load = || -> rusqlite::Result<Vec<_>> {
            let reader = self.reader();
            let now = i64::try_from(now.0).unwrap_or(i64::MAX);
            reader.execute("DELETE FROM binding WHERE expires <= ?1", [now])?;
            let mut statement = reader.prepare(
                "SELECT aor, contact, expires, q, call_id, cseq, transport, local, peer, user_agent, path, instance \
                 FROM binding",
            )?;
            statement.query_map([], binding)?.collect()
        };
        load().map_err(|source| explain(&self.path, source))
    }

    fn load_chat(&self) -> Result<Vec<KeptRoom>, StoreError> {
        chat::load(&self.reader()).map_err(|source| explain(&self.path, source))
    }

    fn load_messages(&self) -> Result<Vec<StoredMessage>, StoreError> {
        let load = || -> rusqlite::Result<Vec<_>> {
            let reader = self.reader();
            let mut statement = reader.prepare(
                "SELECT id, number, recipient, sender, name, headers, body, accepted, expires, hops, hidden \
                 FROM message ORDER BY number",
            )?;
            statement.query_map([], message)?.collect()
        };
        load().map_err(|source| explain(&self.path, source))
    }

    fn load_calls(&self) -> Result<Vec<CallRecord>, StoreError> {
        call::load(&self.reader()).map_err(|source| explain(&self.path, source))
    }

    fn load_kv(&self) -> Result<Vec<KvEntry>, StoreError> {
        let load = || -> rusqlite::Result<Vec<_>> {
            let reader = self.reader();
            let mut statement = reader.prepare("SELECT plugin, key, value FROM plugin_kv")?;
            let entry = |row: &Row<'_>| {
                Ok(KvEntry {
                    plugin: row.get(0)?,
                    key: row.get(1)?,
                    value: row.get(2)?,
                })
            };
            statement.query_map([], entry)?.collect()
        };
        load().map_err(|source| explain(&self.path, source))
    }

    fn write(&self, ticket: Ticket, write: StoreWrite) {
        if !self.queue.push(ticket, write) {
            (self.on_stored)(&[ticket], false);
        }
    }

    fn keep(&self, write: KvWrite<'_>) {
        self.queue.keep(write);
    }

    fn counts(&self) -> StoreCounts {
        self.queue.counts()
    }

    fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked; writes of its last moments may be lost");
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.close();
    }
}

fn connect(config: &StoreConfig) -> Result<Connection, StoreError> {
    let open = || {
        let connection = Connection::open(&config.path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(
            None,
            "synchronous",
            if config.full_sync { "FULL" } else { "NORMAL" },
        )?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
        Ok(connection)
    };
    open().map_err(|source| explain(&config.path, source))
}

fn explain(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, source },
        _ => StoreError::Database { path, source },
    }
}

fn binding(row: &Row<'_>) -> rusqlite::Result<StoredBinding> {
    let transport: String = row.get(6)?;
    let transport = Transport::ALL.into_iter().find(|known| known.name() == transport);
    Ok(StoredBinding {
        aor: row.get(0)?,
        contact: row.get(1)?,
        expires: Time(u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0)),
        q: row.get(3)?,
        call_id: row.get(4)?,
        cseq: row.get(5)?,
        transport: transport.ok_or_else(|| strange(6, "transport"))?,
        local: row
            .get::<_, String>(7)?
            .parse()
            .map_err(|_| strange(7, "local"))?,
        peer: row.get::<_, String>(8)?.parse().map_err(|_| strange(8, "peer"))?,
        connection: 0,
        user_agent: row.get(9)?,
        path: row.get(10)?,
        instance: row.get(11)?,
    })
}

fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let count =
        |column| -> rusqlite::Result<u64> { Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0)) };
    let id: String = row.get(0)?;
    Ok(StoredMessage {
        id: u128::from_str_radix(&id, 16).map_err(|_| strange(0, "id"))?,
        number: count(1)?,
        to: row.get(2)?,
        from: row.get(3)?,
        name: row.get(4)?,
        headers: row.get(5)?,
        body: row.get::<_, Vec<u8>>(6)?.into(),
        accepted: Time(count(7)?),
        expires: Time(count(8)?),
        hops: row.get(9)?,
        hidden: row.get(10)?,
    })
}

pub(super) fn strange(column: usize, name: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, name.into(), rusqlite::types::Type::Text)
}

/// Writes one change inside the transaction that is open.
pub(super) fn apply(connection: &Connection, write: &StoreWrite) -> rusqlite::Result<()> {
    match write {
        StoreWrite::PutBinding(binding) => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO binding \
                 (aor, contact, expires, q, call_id, cseq, transport, local, peer, user_agent, path, instance) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                binding.aor,
                binding.contact,
                i64::try_from(binding.expires.0).unwrap_or(i64::MAX),
                binding.q,
                binding.call_id,
                binding.cseq,
                binding.transport.name(),
                binding.local.to_string(),
                binding.peer.to_string(),
                binding.user_agent,
                binding.path,
                binding.instance,
            ]),
        StoreWrite::DeleteBinding {
            aor,
            contact,
            instance,
        } => connection
            .prepare_cached("DELETE FROM binding WHERE aor = ?1 AND contact = ?2 AND instance = ?3")?
            .execute(params![aor, contact, instance]),
        // Whatever is in one transaction is written whole.
        StoreWrite::All(writes) => return writes.iter().try_for_each(|write| apply(connection, write)),
        StoreWrite::Chat(write) => chat::apply(connection, write),
        StoreWrite::PutMessage(message) => put_message(connection, message),
        StoreWrite::DeleteMessage { id } => connection
            .prepare_cached("DELETE FROM message WHERE id = ?1")?
            .execute([format!("{id:032x}")]),
        StoreWrite::PutRecord {
            record,
            forget_before,
        } => call::put_record(connection, record, *forget_before),
        StoreWrite::PutCall(record) => call::put(connection, record),
        StoreWrite::DeleteCall { id } => call::delete(connection, *id),
        StoreWrite::Alive { at, up } => call::alive(connection, *at, up),
    }
    .map(drop)
}

fn put_message(connection: &Connection, message: &StoredMessage) -> rusqlite::Result<usize> {
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO message (id, number, recipient, sender, name, headers, body, accepted, expires, hops, hidden) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            format!("{:032x}", message.id),
            count(message.number),
            message.to,
            message.from,
            message.name,
            message.headers,
            message.body.as_ref(),
            count(message.accepted.0),
            count(message.expires.0),
            message.hops,
            message.hidden,
        ])
}

/// Writes one plugin's key inside the transaction that is open.
pub(super) fn apply_kv(
    connection: &Connection,
    plugin: &str,
    key: &str,
    value: Option<&[u8]>,
) -> rusqlite::Result<()> {
    match value {
        Some(value) => connection
            .prepare_cached("INSERT OR REPLACE INTO plugin_kv (plugin, key, value) VALUES (?1, ?2, ?3)")?
            .execute(params![plugin, key, value]),
        None => connection
            .prepare_cached("DELETE FROM plugin_kv WHERE plugin = ?1 AND key = ?2")?
            .execute([plugin, key]),
    }
    .map(drop)
}

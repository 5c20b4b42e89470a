//! What outlasts the process: registrations, messages for users who are not there, call records, chat, and what
//! plugins keep.
//!
//! One thread writes. It takes everything that waits into one transaction, and reports each write only
//! after that transaction's commit: what was reported as stored survives a kill, and with full sync also
//! a power cut.

mod call;
mod chat;
mod folder;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use cordboard_engine::chat::io::KeptRoom;
use cordboard_engine::io::{StoreWrite, StoredBinding, StoredMessage};
use cordboard_engine::record::CallRecord;
use cordboard_host::{KvEntry, KvWrite};
use cordboard_model::measure::Histogram;
use cordboard_model::{Ticket, Time};

pub(crate) use sqlite::Sqlite;

/// Upper bounds in seconds for one commit.
const COMMIT_BOUNDS: &[f64] = &[
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 5.0,
];

/// Told for the tickets of each group of [`Store::write`]s, in their order, whether they are safe, on the store's
/// thread, or on the caller's where a write was refused at once. It should only pass it on.
pub(crate) type OnStored = Arc<dyn Fn(&[Ticket], bool) + Send + Sync>;

/// The store, whatever database is behind it.
pub(crate) trait Store: Send + Sync {
    /// The registrations that have not ended by `now`; those that have are removed.
    ///
    /// # Errors
    /// The database cannot be read.
    fn load_bindings(&self, now: Time) -> Result<Vec<StoredBinding>, StoreError>;

    /// The chat rooms that are kept, with their people and messages.
    ///
    /// # Errors
    /// The database cannot be read.
    fn load_chat(&self) -> Result<Vec<KeptRoom>, StoreError>;

    /// The messages that are kept for users, in their order.
    ///
    /// # Errors
    /// The database cannot be read.
    fn load_messages(&self) -> Result<Vec<StoredMessage>, StoreError>;

    /// The calls that were up when the switch was stopped, with the time until which it is known to have run.
    ///
    /// # Errors
    /// The database cannot be read.
    fn load_calls(&self) -> Result<Vec<CallRecord>, StoreError>;

    /// What plugins kept.
    ///
    /// # Errors
    /// The database cannot be read.
    fn load_kv(&self) -> Result<Vec<KvEntry>, StoreError>;

    /// Writes; never blocks. The ticket is reported once, after the commit. While too many writes wait,
    /// further ones are refused at once and reported as not safe.
    fn write(&self, ticket: Ticket, write: StoreWrite);

    /// Keeps a change that a plugin made; never blocks. Of several changes of one key between two
    /// commits the last one counts, so what waits is bounded by what plugins may keep.
    fn keep(&self, write: KvWrite<'_>);

    /// What was counted.
    fn counts(&self) -> StoreCounts;

    /// Writes what waits and ends; later writes are refused.
    fn close(&self);
}

/// What the store counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoreCounts {
    /// Rows that are safe.
    pub(crate) written: u64,
    /// Rows that were lost to a failed commit.
    pub(crate) failed: u64,
    /// Writes that were refused because too many waited.
    pub(crate) refused: u64,
    /// Writes that wait.
    pub(crate) waiting: usize,
    /// Time of each commit, its rows included, in seconds.
    pub(crate) commit_seconds: Histogram,
}

impl Default for StoreCounts {
    fn default() -> Self {
        Self {
            written: 0,
            failed: 0,
            refused: 0,
            waiting: 0,
            commit_seconds: Histogram::new(COMMIT_BOUNDS),
        }
    }
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The data folder cannot be made or written to.
    #[error("the data folder {} cannot be used: {source}; correct `[node] data_dir` or the folder's owner and mode", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the data folder {} is in use by another running switch; stop that one, or give this one another `[node] data_dir`", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file is not, or no longer, a database.
    #[error(
        "the database {} is damaged: {source}; nothing was changed. Restore a backup, or move the file away to start empty",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A newer switch made it.
    #[error("the database {} has version {found}, this switch knows up to {known}; run the newer switch, or move the file away", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Anything else.
    #[error("the database {} cannot be used: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the store's thread: {0}")]
    Thread(std::io::Error),
}

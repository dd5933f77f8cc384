//! What can go wrong in the store. The first four texts are C's, since scripts match on them
//! (spec: ondisk 7.0); `detail()` says what C never told: the place and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::catalog_error::CatalogError;
use crate::types::{BackupKey, Guid};

/// An error of the store; `Display` is the short text that C's tools print.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such data file, or no entry in backups.db.
    #[error("Mailbox does not exist")]
    Missing {
        /// The data file, or the key that was looked up.
        what: PathBuf,
    },
    /// There is such a data file already.
    #[error("Mailbox already exists")]
    Exists {
        /// The data file.
        path: PathBuf,
    },
    /// Another process or connection holds the lock on the data file.
    #[error("Mailbox is locked")]
    Locked {
        /// The data file.
        path: PathBuf,
    },
    /// The data file has content but its index is missing, empty or not an index.
    #[error("Mailbox has an invalid format")]
    InvalidFormat {
        /// The data file or index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("System I/O error")]
    Io {
        /// The file that was worked on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("System I/O error")]
    Index {
        /// The index file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The index has no such chunk, message or mailbox.
    #[error("Item does not exist")]
    NoSuchItem {
        /// What was asked for.
        item: String,
    },
    /// The backup as of a time of which nothing is known (any more).
    #[error("nothing is known of that time")]
    NoHistory {
        /// The data file.
        path: PathBuf,
        /// Unix seconds.
        time: i64,
    },
    /// Bytes on disk are not what was written.
    #[error("damaged data in chunk {chunk} at offset {offset}: {reason}")]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// Chunk id in the index.
        chunk: i64,
        /// Offset in the inflated chunk.
        offset: u64,
        /// The message that can't be had, if it is about one.
        guid: Option<Guid>,
        /// What was found.
        reason: String,
    },
    /// Somebody wants all of this backup to stay.
    #[error("on hold: {reason}")]
    Held {
        /// The data file.
        path: PathBuf,
        /// What was said when it was put on hold.
        reason: String,
    },
    /// No partition for a new backup.
    #[error("unable to make backup path for {key}: {reason}")]
    NoPlace {
        /// Whose backup.
        key: BackupKey,
        /// Why.
        reason: String,
    },
    /// A command that can't be written as a line; nothing was appended.
    #[error("bad command: {reason}")]
    BadCommand {
        /// What is wrong with it.
        reason: String,
    },
    /// backups.db does not do what it should.
    #[error("System I/O error")]
    Catalog(#[from] CatalogError),
    /// An earlier write failed; memory is no longer trusted (the next open recovers from disk).
    #[error("System I/O error")]
    Poisoned {
        /// The data file.
        path: PathBuf,
    },
}

impl StoreError {
    /// What went wrong while reading at a place: damage, or the disk's trouble.
    pub(super) fn damaged(
        path: &std::path::Path,
        chunk: i64,
        offset: u64,
        guid: Option<Guid>,
        e: std::io::Error,
    ) -> StoreError {
        let path = path.to_owned();
        match e.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                StoreError::Damaged {
                    path,
                    chunk,
                    offset,
                    guid,
                    reason: e.to_string(),
                }
            }
            _ => StoreError::Io { path, source: e },
        }
    }

    /// C's short text, and behind it in brackets what C never says: which file, and why.
    pub fn explained(&self) -> String {
        match self {
            StoreError::Io { .. }
            | StoreError::Index { .. }
            | StoreError::Damaged { .. }
            | StoreError::Catalog(_)
            | StoreError::InvalidFormat { .. }
            | StoreError::Poisoned { .. } => format!("{self} ({})", self.detail()),
            _ => self.to_string(),
        }
    }

    /// The whole story for a log line: the thing, the place, the cause and what to do.
    pub fn detail(&self) -> String {
        match self {
            StoreError::Missing { what } => format!("{} does not exist", what.display()),
            StoreError::Exists { path } => format!("{} exists already", path.display()),
            StoreError::Locked { path } => {
                format!("{} is locked by another process", path.display())
            }
            StoreError::InvalidFormat { path, reason } => {
                format!("{}: {reason}; run `ctl_backups reindex`", path.display())
            }
            StoreError::Io { path, source } => format!("{}: {source}", path.display()),
            StoreError::Index { path, source } => format!("{}: {source}", path.display()),
            StoreError::NoSuchItem { item } => format!("no {item} in the index"),
            StoreError::NoHistory { path, time } => {
                format!("{}: nothing is known of the time {time}", path.display())
            }
            StoreError::Damaged {
                path,
                chunk,
                offset,
                guid,
                reason,
            } => {
                let guid = guid.map(|guid| format!(" guid {guid}")).unwrap_or_default();
                format!(
                    "{}: chunk {chunk} offset {offset}{guid}: {reason}",
                    path.display()
                )
            }
            StoreError::Held { path, reason } => {
                let path = path.display();
                format!("{path} is on hold: {reason}; release it with `ctl_backups unhold`")
            }
            StoreError::NoPlace { .. } => self.to_string(),
            StoreError::BadCommand { reason } => format!("bad command: {reason}"),
            StoreError::Catalog(error) => error.to_string(),
            StoreError::Poisoned { path } => {
                format!(
                    "{}: an earlier write failed, the backup is reopened next time",
                    path.display()
                )
            }
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { what: path },
            _ => StoreError::Io { path, source },
        }
    }

    pub(crate) fn index(path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Index { path, source }
    }
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

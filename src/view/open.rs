//! From the store to the tree: opens backups, and makes a [`Source`] of each. The only file of this
//! room that knows the store.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::ViewError;
use super::ops::lock;
use super::options::LockMode;
use super::source::{Chunk, Mailbox, Record, Source};
use crate::store::catalog::Catalog;
use crate::store::{self, Backup, StoreError};
use crate::types::{BackupKey, Guid};

/// How often a lock that somebody else holds is tried again. Waiting inside fcntl(2) would be
/// quicker to notice, but could not be given up.
const RETRY: Duration = Duration::from_millis(100);

/// Opens the backup with this data file; a lock that somebody holds is tried for `wait`.
///
/// # Errors
/// The backup is missing, locked, or not one.
pub fn open(path: &Path, mode: LockMode, wait: Duration) -> Result<Arc<dyn Source>, ViewError> {
    let lock = match mode {
        LockMode::Hold => store::Lock::Shared { wait: false },
        LockMode::None => store::Lock::None,
    };
    let deadline = Instant::now() + wait;
    let backup = loop {
        match Backup::open(path, lock) {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => thread::sleep(RETRY),
            opened => break opened.map_err(|e| translate(path, &e))?,
        }
    };
    Ok(Arc::new(Opened {
        path: path.to_owned(),
        len: backup.file_len(),
        backup: Mutex::new(Reader {
            backup,
            in_hand: LruCache::new(IN_HAND),
        }),
        messages: OnceLock::new(),
    }))
}

/// The data file of this backup, according to backups.db.
///
/// # Errors
/// backups.db cannot be read.
pub fn find(backups_db: &Path, key: &BackupKey) -> Result<Option<PathBuf>, ViewError> {
    let catalog = Catalog::new(backups_db);
    catalog.get(key).map_err(|e| translate(backups_db, &e))
}

/// Key and data file of all backups in backups.db.
///
/// # Errors
/// backups.db cannot be read, or is not there: that is no reason to show an empty directory.
pub fn all(backups_db: &Path) -> Result<Vec<(String, PathBuf)>, ViewError> {
    if !backups_db.exists() {
        return Err(ViewError::Unreadable {
            path: backups_db.to_owned(),
            what: "does not exist; is this the imapd.conf of the backup server?".to_owned(),
        });
    }
    let catalog = Catalog::new(backups_db);
    catalog.iter().map_err(|e| translate(backups_db, &e))
}

/// Messages in hand, of any size: the kernel asks for a large one in hundreds of pieces, and the
/// store's cache takes no very large ones.
const IN_HAND: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// An opened backup. SQLite serves one thread at a time, hence the lock.
struct Opened {
    path: PathBuf,
    len: u64,
    backup: Mutex<Reader>,
    messages: OnceLock<u64>,
}

struct Reader {
    backup: Backup,
    in_hand: LruCache<Guid, Arc<[u8]>>,
}

impl Reader {
    fn message(&mut self, guid: &Guid) -> store::Result<Arc<[u8]>> {
        if let Some(octets) = self.in_hand.get(guid) {
            return Ok(octets.clone());
        }
        let octets = self.backup.read_message(guid)?;
        self.in_hand.put(*guid, octets.clone());
        Ok(octets)
    }
}

impl Opened {
    fn ask<T>(&self, what: impl FnOnce(&Backup) -> store::Result<T>) -> Result<T, ViewError> {
        what(&lock(&self.backup).backup).map_err(|e| translate(&self.path, &e))
    }
}

impl Source for Opened {
    fn path(&self) -> &Path {
        &self.path
    }

    fn data_len(&self) -> u64 {
        self.len
    }

    fn chunks(&self) -> Result<Vec<Chunk>, ViewError> {
        let rows = self.ask(|backup| backup.index().chunks())?.into_iter();
        let chunks = rows.map(|row| Chunk {
            id: row.id,
            offset: row.offset,
            time: row.ts_end.unwrap_or(row.ts_start),
        });
        Ok(chunks.collect())
    }

    fn mailboxes(&self) -> Result<Vec<Mailbox>, ViewError> {
        let rows = self.ask(|backup| backup.index().mailboxes())?.into_iter();
        let mailboxes = rows.map(|row| Mailbox {
            id: row.id,
            name: row.mboxname,
            uniqueid: row.uniqueid,
            last_chunk: row.last_chunk_id,
            deleted: row.deleted,
        });
        Ok(mailboxes.collect())
    }

    fn records(&self, mailbox: i64) -> Result<Vec<Record>, ViewError> {
        let rows = self
            .ask(|backup| backup.index().records(mailbox))?
            .into_iter();
        let records = rows.map(|row| Record {
            message: row.message_id,
            uid: row.uid,
            guid: row.guid,
            size: row.size,
            internaldate: row.internaldate,
            modseq: row.modseq,
            flags: row.flags,
            last_chunk: row.chunk_id,
            expunged: row.expunged,
        });
        Ok(records.collect())
    }

    fn message_count(&self) -> Result<u64, ViewError> {
        if let Some(known) = self.messages.get() {
            return Ok(*known);
        }
        let counted = self.ask(|backup| backup.index().messages())?.len() as u64;
        Ok(*self.messages.get_or_init(|| counted))
    }

    fn message(&self, guid: &Guid) -> Result<Arc<[u8]>, ViewError> {
        let read = lock(&self.backup).message(guid);
        read.map_err(|e| translate(&self.path, &e))
    }

    fn rest(&self) {
        let mut reader = lock(&self.backup);
        reader.in_hand.clear();
        reader.backup.rest();
    }

    fn raw(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ViewError> {
        self.ask(|backup| backup.read_raw(offset, buf))
    }
}

/// The store's error as one of this room's. A row of the index that leads nowhere is damage too: the
/// tree showed the file.
fn translate(path: &Path, error: &StoreError) -> ViewError {
    match error {
        StoreError::Locked { .. } => ViewError::Locked {
            path: path.to_owned(),
        },
        StoreError::Damaged {
            chunk,
            offset,
            guid,
            reason,
            ..
        } => {
            let guid = guid.map(|guid| format!(" guid {guid}")).unwrap_or_default();
            ViewError::Damaged {
                path: path.to_owned(),
                what: format!("damaged at chunk {chunk} offset {offset}{guid}: {reason}"),
            }
        }
        StoreError::NoSuchItem { item } => ViewError::Damaged {
            path: path.to_owned(),
            what: format!("the index has no {item} any more; reindex the backup"),
        },
        other => ViewError::Unreadable {
            path: path.to_owned(),
            what: format!("{other}: {}", other.detail()),
        },
    }
}

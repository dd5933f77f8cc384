//! From the store to the tree: opens backups, and makes a [`Source`] of each. The only file of this
//! room that knows the store.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::links::Copy;
use super::lock::lock;
use super::notes::{self, Details};
use super::source::{Chunk, Mailbox, Record, Script, Source};
use super::{ViewError, names};
use crate::csync::dlist::{KvList, Literal};
use crate::store::catalog::Catalog;
use crate::store::index::Index;
use crate::store::member::MemberReader;
use crate::store::{self, Backup, Bodies, StoreError};
use crate::types::{BackupKey, Guid};

/// How often a lock that somebody else holds is tried again. Waiting inside fcntl(2) would be
/// quicker to notice, but could not be given up.
const RETRY: Duration = Duration::from_millis(100);

/// Whether the backup's lock is held while it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LockMode {
    /// From first use to the end: backupd and C's tools wait or say "locked".
    #[default]
    Hold,
    /// Not at all: a snapshot is shown while the backup may grow.
    None,
}

/// How backups are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct How {
    /// Locked or not.
    pub lock: LockMode,
    /// How long to try for a lock that somebody else holds.
    pub wait: Duration,
    /// Bytes of inflated messages to keep, if not as many as usual.
    pub cache: Option<usize>,
}

/// Opens the backup with this data file, as it is or as it was at a moment (unix seconds).
///
/// # Errors
/// The backup is missing, locked, or not one, or knows nothing of that moment.
pub fn open(path: &Path, how: How, at: Option<i64>) -> Result<Arc<dyn Source>, ViewError> {
    let lock = match how.lock {
        LockMode::Hold => store::Lock::Shared { wait: false },
        LockMode::None => store::Lock::None,
    };
    let deadline = Instant::now() + how.wait;
    let backup = loop {
        match open_once(path, lock, at) {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => thread::sleep(RETRY),
            Err(StoreError::NoHistory { time, .. }) => {
                let opened = open_once(path, lock, None);
                let oldest = opened.and_then(|backup| backup.oldest_time());
                return Err(too_old(path, time, oldest.ok().flatten()));
            }
            opened => break opened.map_err(|e| translate(path, &e))?,
        }
    };
    Ok(shown(path, backup, how))
}

fn shown(path: &Path, backup: Backup, how: How) -> Arc<dyn Source> {
    let bodies = backup.bodies();
    if let Some(bytes) = how.cache {
        bodies.keep(bytes);
    }
    if how.lock == LockMode::Hold {
        bodies.remember();
    }
    Arc::new(Opened {
        path: path.to_owned(),
        how,
        len: backup.file_len(),
        bodies,
        backup: Mutex::new(Reader {
            backup,
            inflating: None,
        }),
        messages: OnceLock::new(),
    })
}

/// An index that is missing, or does not reach to the end of the data file, is made in memory:
/// nobody has to repair a backup before he can look into it.
fn open_once(path: &Path, lock: store::Lock, at: Option<i64>) -> store::Result<Backup> {
    if let Some(time) = at {
        return Backup::open_as_of(path, lock, time);
    }
    match Backup::open(path, lock) {
        Ok(backup) if backup.covers_file()? || is_being_written(path, lock) => Ok(backup),
        Ok(_) => rebuilt(
            path,
            lock,
            "the index does not reach to the end of the data file",
        ),
        Err(StoreError::InvalidFormat { reason, .. }) => rebuilt(path, lock, &reason),
        Err(StoreError::Index { source, .. }) => rebuilt(path, lock, &source.to_string()),
        Err(error) => Err(error),
    }
}

/// Without a lock, what stands behind the last chunk may be a writer's who is not done: the index says
/// what was complete. What a crash left is nobody's.
fn is_being_written(path: &Path, lock: store::Lock) -> bool {
    let shared = store::Lock::Shared { wait: false };
    let locked = || matches!(Backup::open(path, shared), Err(StoreError::Locked { .. }));
    lock == store::Lock::None && locked()
}

fn rebuilt(path: &Path, lock: store::Lock, why: &str) -> store::Result<Backup> {
    tracing::warn!("{}: {why}; reading the data file instead", path.display());
    Ok(Backup::open_rebuilt(path, lock)?.0)
}

fn too_old(path: &Path, asked: i64, oldest: Option<i64>) -> ViewError {
    ViewError::TooOld {
        path: path.to_owned(),
        asked: names::compact(asked),
        oldest: oldest.map_or_else(|| "never".to_owned(), names::compact),
    }
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

/// An opened backup. SQLite serves one thread at a time, hence the lock.
struct Opened {
    path: PathBuf,
    how: How,
    len: u64,
    backup: Mutex<Reader>,
    /// Needs no lock: several threads inflate at once.
    bodies: Arc<Bodies>,
    messages: OnceLock<u64>,
}

struct Reader {
    backup: Backup,
    /// A chunk that is being read in its inflated form.
    inflating: Option<(i64, MemberReader)>,
}

impl Reader {
    /// Bytes of a chunk from `offset`. Reading on is cheap; going back begins the chunk again.
    fn inflated(&mut self, chunk: i64, offset: u64, buf: &mut [u8]) -> store::Result<usize> {
        let mut reader = match self.inflating.take() {
            Some((open, reader)) if open == chunk && reader.produced() <= offset => reader,
            _ => self.backup.chunk(chunk)?,
        };
        let damaged = |e: io::Error| StoreError::Damaged {
            path: self.backup.path().to_owned(),
            chunk,
            offset,
            guid: None,
            reason: e.to_string(),
        };
        let skip = offset - reader.produced();
        io::copy(&mut (&mut reader).take(skip), &mut io::sink()).map_err(damaged)?;
        let n = reader.read(buf).map_err(damaged)?;
        self.inflating = Some((chunk, reader));
        Ok(n)
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
            length: row.length,
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
            kind: row.mboxtype,
            last_chunk: row.last_chunk_id,
            deleted: row.deleted,
        });
        Ok(mailboxes.collect())
    }

    fn with_expunged(&self) -> Result<Vec<i64>, ViewError> {
        self.ask(|backup| backup.index().mailboxes_with_expunged())
    }

    fn copies(&self) -> Result<Vec<Copy>, ViewError> {
        let rows = self.ask(|backup| backup.index().copies())?.into_iter();
        let copies = rows.map(|row| Copy {
            message: row.message_id,
            mailbox: row.mailbox_id,
            uid: row.uid,
            internaldate: row.internaldate,
            flags: row.flags,
            last_chunk: row.chunk_id,
        });
        Ok(copies.collect())
    }

    fn scripts(&self) -> Result<Vec<Script>, ViewError> {
        let (rows, active) = self.ask(|backup| {
            let index = backup.index();
            Ok((index.sieve()?, index.active_sieve()?))
        })?;
        let rows = rows.into_iter().filter(|row| row.deleted.is_none());
        let scripts = rows.map(|row| Script {
            id: row.id,
            active: active.as_ref() == Some(&row.filename),
            filename: row.filename,
            modified: row.last_update,
            chunk: row.chunk_id,
        });
        Ok(scripts.collect())
    }

    fn script(&self, id: i64) -> Result<Arc<[u8]>, ViewError> {
        let text = self.ask(|backup| {
            let rows = backup.index().sieve()?.into_iter();
            match rows.into_iter().find(|row| row.id == id) {
                Some(row) => backup.read_sieve(&row),
                None => Err(StoreError::NoSuchItem {
                    item: format!("sieve script {id}"),
                }),
            }
        });
        text.map(Arc::from)
    }

    fn details(&self) -> Result<Details, ViewError> {
        self.ask(|backup| details(backup.index()))
    }

    fn oldest(&self) -> Result<Option<i64>, ViewError> {
        self.ask(Backup::oldest_time)
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
            annotations: row.annotations,
            last_chunk: row.chunk_id,
            expunged: row.expunged,
        });
        Ok(records.collect())
    }

    fn message_count(&self) -> Result<u64, ViewError> {
        if let Some(known) = self.messages.get() {
            return Ok(*known);
        }
        let counted = self.ask(|backup| backup.index().message_count())?;
        Ok(*self.messages.get_or_init(|| counted))
    }

    fn message(&self, id: u32, guid: &Guid) -> Result<Arc<[u8]>, ViewError> {
        if let Some(octets) = self.bodies.known(guid) {
            return Ok(octets);
        }
        let place = self.ask(|backup| backup.place_of(id.into(), guid))?;
        let read = self.bodies.read(&place);
        read.map_err(|e| translate(&self.path, &e))
    }

    fn past(&self, time: i64) -> Result<Arc<dyn Source>, ViewError> {
        // Reading the log takes a while, and others may ask meanwhile.
        let past = self.ask(|backup| Ok(backup.past(time)))?;
        match past.open() {
            Ok(backup) => Ok(shown(&self.path, backup, self.how)),
            Err(StoreError::NoHistory { .. }) => Err(too_old(&self.path, time, self.oldest()?)),
            Err(error) => Err(translate(&self.path, &error)),
        }
    }

    fn rest(&self) {
        let mut reader = lock(&self.backup);
        reader.inflating = None;
        reader.backup.rest();
    }

    fn raw(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ViewError> {
        self.ask(|backup| backup.read_raw(offset, buf))
    }

    fn inflated(&self, chunk: i64, offset: u64, buf: &mut [u8]) -> Result<usize, ViewError> {
        let read = lock(&self.backup).inflated(chunk, offset, buf);
        read.map_err(|e| translate(&self.path, &e))
    }
}

fn details(index: &Index) -> store::Result<Details> {
    let mut mailboxes = Vec::new();
    for row in index.mailboxes()? {
        let header = index.header(row.id)?.map(|header| printed(&header.keys));
        let id = row.id;
        let row = notes::Header {
            mboxname: row.mboxname,
            uniqueid: row.uniqueid,
            mboxtype: row.mboxtype,
            uidvalidity: row.uidvalidity,
            last_uid: row.last_uid,
            highestmodseq: row.highestmodseq,
            recentuid: row.recentuid,
            recenttime: row.recenttime,
            last_appenddate: row.last_appenddate,
            pop3_last_login: row.pop3_last_login,
            pop3_show_after: row.pop3_show_after,
            partition: row.partition,
            acl: row.acl,
            options: row.options,
            annotations: row.annotations,
            deleted: row.deleted,
            header,
        };
        mailboxes.push((id, row));
    }
    let folders = index.intermediates()?.into_iter();
    let folders = folders.map(|folder| notes::BareFolder {
        mboxname: folder.mboxname,
        uniqueid: folder.uniqueid,
    });
    let quotas = index.quotas()?.into_iter();
    let quotas = quotas.map(|(root, keys)| notes::Quota {
        root,
        header: printed(&keys),
    });
    let annotations = index.annotations()?.into_iter();
    let annotations = annotations.map(|row| notes::Annotation {
        mboxname: row.mboxname,
        entry: row.entry,
        userid: row.userid,
        value: String::from_utf8_lossy(&row.value).into_owned(),
    });
    let subscribed = index.subscriptions()?.into_iter();
    let subscribed = subscribed.filter(|row| row.unsubscribed.is_none());
    let seen = index.seen()?.into_iter().map(|row| notes::Seen {
        uniqueid: row.uniqueid,
        lastread: row.lastread,
        lastuid: row.lastuid,
        lastchange: row.lastchange,
        seenuids: row.seenuids,
    });
    Ok(Details {
        mailboxes,
        folders: folders.collect(),
        quotas: quotas.collect(),
        annotations: annotations.collect(),
        subscriptions: subscribed.map(|row| row.mboxname).collect(),
        seen: seen.collect(),
        active_sieve: index.active_sieve()?,
    })
}

/// Keys as the wire writes them.
fn printed(keys: &KvList) -> String {
    let mut text = Vec::new();
    keys.print(&mut text, Literal::Sync);
    String::from_utf8_lossy(&text).into_owned()
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

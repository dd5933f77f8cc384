//! The backups that one connection has at hand: those it appends to, held locked until RESTART,
//! idleness or the end, and those it only looks into, let go at once. Left out: what is asked and
//! answered (`get`, `apply`).
//!
//! Two connections never wait for each other: who has to wait for a lock lets go of all others
//! first, except for the one pair, which is locked in the order of the keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::backupd::work::Work;
use crate::csync::response::{Code, Reply};
use crate::store::{Appender, Backup, Index, Lock, Placement, Result, StoreError};
use crate::types::BackupKey;

/// Backups open for appending in one connection; `sync_client -A` walks over all users without
/// ever saying RESTART (spec: csync 8.6).
const MOST_OPEN: usize = 8;
/// How long to wait for another connection before saying LOCKED: longer than an idle one keeps its locks.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(50);

/// The backups of one connection.
pub struct Backups {
    placement: Arc<Placement>,
    /// Oldest first.
    open: Vec<(BackupKey, Appender)>,
    work: Work,
}

impl Backups {
    /// None open yet.
    pub fn new(placement: Arc<Placement>) -> Backups {
        Backups {
            placement,
            open: Vec::new(),
            work: Work::default(),
        }
    }

    /// What was done since the last time this was asked.
    pub fn take_work(&mut self) -> Work {
        Work {
            open: self.open.len(),
            ..std::mem::take(&mut self.work)
        }
    }

    /// For [`Backups::take_work`].
    pub fn note_repair(&mut self) {
        self.work.repairs += 1;
    }

    /// Works on the backup of `key`, made if need be. After an error it is closed, so that the
    /// next use recovers from disk.
    pub fn append<T>(
        &mut self,
        key: &BackupKey,
        work: impl FnOnce(&mut Appender) -> Result<T>,
    ) -> Result<T> {
        if self.position(key).is_none() {
            let path = self.placement.find_or_create(key)?;
            self.open_appender(key, path)?;
        }
        self.work_on(key, work)
    }

    /// Works on the backup of `key` if there is one.
    pub fn append_existing<T>(
        &mut self,
        key: &BackupKey,
        work: impl FnOnce(&mut Appender) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.position(key).is_none() {
            let Some(path) = self.placement.find(key)? else {
                return Ok(None);
            };
            self.open_appender(key, path)?;
        }
        self.work_on(key, work).map(Some)
    }

    /// Works on two backups at once, the second made if need be; None when there is no first one.
    pub fn append_pair<T>(
        &mut self,
        one: &BackupKey,
        other: &BackupKey,
        work: impl FnOnce(&mut Appender, &mut Appender) -> Result<T>,
    ) -> Result<Option<T>> {
        self.finish();
        let Some(path) = self.placement.find(one)? else {
            return Ok(None);
        };
        let other_path = self.placement.find_or_create(other)?;
        let open = |path: &Path| patiently(|| Appender::open(path, false));
        let (mut first, mut second);
        if one < other {
            first = open(&path)?;
            second = open(&other_path)?;
        } else {
            second = open(&other_path)?;
            first = open(&path)?;
        }
        let result = work(&mut first, &mut second)?;
        self.work.add(second.finish()?);
        self.work.add(first.finish()?);
        self.work.touched.extend([one.clone(), other.clone()]);
        Ok(Some(result))
    }

    /// Asks the index of a backup; None when there is no such backup. Leaves no trace.
    pub fn ask<T>(
        &mut self,
        key: &BackupKey,
        question: impl FnOnce(&Index) -> Result<T>,
    ) -> Result<Option<T>> {
        if let Some(at) = self.position(key) {
            return question(self.open[at].1.index()).map(Some);
        }
        let Some(path) = self.placement.find(key)? else {
            return Ok(None);
        };
        let open = || Backup::open(&path, Lock::Shared { wait: false });
        match self.alone_patiently(open) {
            Ok(backup) if backup.is_current()? => {
                let answer = question(backup.index())?;
                self.touch(key);
                return Ok(Some(answer));
            }
            // Dropped here, with its lock: the appender wants it alone.
            Ok(_) | Err(StoreError::InvalidFormat { .. }) => {}
            Err(e) => return Err(e),
        }
        // A crash, or C, was here: what we answer must be true.
        self.open_appender(key, path)?;
        self.work_on(key, |appender| question(appender.index()))
            .map(Some)
    }

    /// Opens a backup for reading messages; what this connection has open for it is closed first.
    pub fn read(&mut self, key: &BackupKey) -> Result<Option<Backup>> {
        if let Some(at) = self.position(key) {
            let (_, appender) = self.open.remove(at);
            self.work.add(appender.finish()?);
        }
        let Some(path) = self.placement.find(key)? else {
            return Ok(None);
        };
        self.alone_patiently(|| Backup::open(&path, Lock::Shared { wait: false }))
            .map(Some)
    }

    /// Ends all chunks and lets go of all locks. What fails here is recovered at the next open:
    /// everything acknowledged is on disk.
    pub fn finish(&mut self) {
        for (key, appender) in std::mem::take(&mut self.open) {
            self.close(&key, appender);
        }
    }

    fn close(&mut self, key: &BackupKey, appender: Appender) {
        match appender.finish() {
            Ok(done) => self.work.add(done),
            Err(e) => error!(%key, error = e.detail(), "closing a backup failed"),
        }
    }

    fn touch(&mut self, key: &BackupKey) {
        if !self.work.touched.contains(key) {
            self.work.touched.insert(key.clone());
        }
    }

    fn position(&self, key: &BackupKey) -> Option<usize> {
        self.open.iter().position(|(open, _)| open == key)
    }

    fn open_appender(&mut self, key: &BackupKey, path: PathBuf) -> Result<()> {
        while self.open.len() >= MOST_OPEN {
            let (key, oldest) = self.open.remove(0);
            self.close(&key, oldest);
        }
        let appender = self.alone_patiently(|| Appender::open(&path, false))?;
        self.open.push((key.clone(), appender));
        Ok(())
    }

    /// Opens; when somebody else has the lock, lets go of what is open here before waiting.
    fn alone_patiently<T>(&mut self, open: impl Fn() -> Result<T>) -> Result<T> {
        match open() {
            Err(StoreError::Locked { .. }) => {
                self.finish();
                patiently(open)
            }
            result => result,
        }
    }

    fn work_on<T>(
        &mut self,
        key: &BackupKey,
        work: impl FnOnce(&mut Appender) -> Result<T>,
    ) -> Result<T> {
        let Some(at) = self.position(key) else {
            return Err(StoreError::Missing {
                what: PathBuf::from(key.as_str()),
            });
        };
        let result = work(&mut self.open[at].1);
        let done = self.open[at].1.take_done();
        self.work.add(done);
        if result.is_ok() {
            self.touch(key);
        }
        if let Err(e) = &result
            && !matches!(e, StoreError::BadCommand { .. })
        {
            warn!(%key, error = e.detail(), "closing the backup after an error");
            self.open.remove(at);
        }
        result
    }
}

/// Tries again for a while as long as somebody else has the lock.
fn patiently<T>(mut open: impl FnMut() -> Result<T>) -> Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        match open() {
            Err(StoreError::Locked { .. }) if waited < PATIENCE => {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            result => return result,
        }
    }
}

/// What a client is told about trouble of ours. LOCKED is the only refusal it takes as "later":
/// it defers this user and goes on with the others (spec: csync 3.2).
pub fn refusal(key: &BackupKey, error: &StoreError) -> Reply {
    match error {
        StoreError::BadCommand { reason } => Reply::No(Code::BadParameters, reason.clone()),
        StoreError::Locked { .. } => {
            info!(%key, "put off: somebody else has the lock");
            Reply::No(Code::MailboxLocked, "Mailbox is locked".to_owned())
        }
        _ => {
            error!(%key, error = error.detail(), "a command was put off");
            let text = "The backup can't be written now, see the backup server's log";
            Reply::No(Code::MailboxLocked, text.to_owned())
        }
    }
}

//! What an administrator does with whole backups: moving one to another partition, giving it to
//! another user, deleting it. Each keeps the exclusive lock of the data file and changes
//! backups.db in one step, when the new place is complete and before the old one goes:
//!
//! | killed before | backups.db names | left over |
//! |---|---|---|
//! | the step in backups.db | the old place | an unfinished new one; of no value |
//! | the old place is removed | the new place | the old one; `reconstruct` reports it |
//!
//! Doing it again finishes it. Whoever waited for the lock finds the old file gone and looks into
//! backups.db again.

use std::path::{Path, PathBuf};

use super::backup::{Backup, Lock};
use super::catalog::{Catalog, Change};
use super::data_file::DataFile;
use super::error::{Result, StoreError};
use super::family::{self, By};
use super::index::Index;
use super::layout;
use super::marks::{Kind, Mark, refuse_held};
use super::reconstruct::{AWAY, away};
use super::rewrite::swap;
use crate::types::BackupKey;

/// Where backups are.
#[derive(Debug, Clone)]
pub struct Administer {
    /// backups.db.
    pub catalog: Catalog,
    /// The directories of the backup partitions.
    pub partitions: Vec<PathBuf>,
    /// The option `fulldirhash`.
    pub full_hash: bool,
    /// Wait for locks.
    pub wait: bool,
}

/// How deleting went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// All files and the entry are gone.
    Gone,
    /// It is marked; it goes when the retention is over.
    Marked,
    /// Its mark was taken away: it was written to since.
    Revived,
}

impl Administer {
    /// The data file of a user's backup.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none.
    pub fn path(&self, key: &BackupKey) -> Result<PathBuf> {
        let path = self.catalog.get(key)?;
        path.ok_or_else(|| StoreError::Missing {
            what: key.as_str().into(),
        })
    }

    /// The partition in which a data file lies: the nearest one that is configured, else what
    /// `<partition>/<hash>/<name>` says.
    pub fn partition_of<'a>(&'a self, path: &'a Path) -> Option<&'a Path> {
        let above = self
            .partitions
            .iter()
            .filter(|partition| path.starts_with(partition));
        let nearest = above.max_by_key(|partition| partition.components().count());
        nearest
            .map(PathBuf::as_path)
            .or_else(|| path.parent()?.parent())
    }

    /// Moves a backup to another partition; None: it is there already.
    pub fn relocate(&self, key: &BackupKey, partition: &Path) -> Result<Option<PathBuf>> {
        let old = self.path(key)?;
        if self.partition_of(&old) == Some(partition) {
            return Ok(None);
        }
        let _lock = self.settle(&old)?;
        let (_, new) = layout::create_data_file(partition, key, self.full_hash)
            .map_err(StoreError::io(partition))?;
        family::bring(&old, &new, By::Copy)?;
        verify_copy(&new)?;
        self.swap(&old, &new, [change(key, Some(&old), Some(&new))])?;
        Ok(Some(new))
    }

    /// Gives the files of `from`, whose content says `to` already, the name and the entry of `to`.
    pub(super) fn hand_over(&self, from: &BackupKey, to: &BackupKey) -> Result<PathBuf> {
        let old = self.path(from)?;
        let _lock = self.settle(&old)?;
        let partition = self.partition_of(&old).unwrap_or(Path::new("/"));
        let (_, new) = layout::create_data_file(partition, to, self.full_hash)
            .map_err(StoreError::io(partition))?;
        family::bring(&old, &new, By::Link)?;
        let changes = [change(from, Some(&old), None), change(to, None, Some(&new))];
        self.swap(&old, &new, changes)?;
        Ok(new)
    }

    /// Puts a backup on hold: when this returns nobody takes anything out of it any more.
    pub fn hold(&self, key: &BackupKey, mark: &Mark) -> Result<PathBuf> {
        let path = self.path(key)?;
        // Under the lock: a compact that has begun may finish, the next one refuses. Readers, as a
        // mount is one for days, take nothing out.
        let _lock = DataFile::open_shared(&path, self.wait)?;
        Kind::Hold.set(&path, mark)?;
        Ok(path)
    }

    /// Ends a hold; false: there was none.
    pub fn release(&self, key: &BackupKey) -> Result<(PathBuf, bool)> {
        let path = self.path(key)?;
        let was = Kind::Hold.clear(&path)?;
        Ok((path, was))
    }

    /// Marks a backup for deletion.
    pub fn mark_deleted(&self, key: &BackupKey, mark: &Mark) -> Result<Deleted> {
        let path = self.path(key)?;
        let _lock = DataFile::open_exclusive(&path, self.wait)?;
        refuse_held(&path)?;
        Kind::Deleted.set(&path, mark)?;
        Ok(Deleted::Marked)
    }

    /// Takes the mark away; false: there was none.
    pub fn undelete(&self, key: &BackupKey) -> Result<bool> {
        Kind::Deleted.clear(&self.path(key)?)
    }

    /// Deletes a backup with all its files. The entry in backups.db goes last, so that doing it
    /// again finds what is left.
    pub fn delete_now(&self, key: &BackupKey) -> Result<Deleted> {
        self.delete(key, None)
    }

    /// The same, but not when it was written to after `since`.
    fn delete(&self, key: &BackupKey, since: Option<i64>) -> Result<Deleted> {
        let path = self.path(key)?;
        let lock = match DataFile::open_exclusive(&path, self.wait) {
            Ok(lock) => Some(lock),
            Err(StoreError::Missing { .. }) => {
                // It may be there another day, and a hold beside it.
                self.refuse_away(&path)?;
                None
            }
            Err(error) => return Err(error),
        };
        refuse_held(&path)?;
        // Asked under the lock, so that nothing comes in between.
        if let (Some(lock), Some(since)) = (&lock, since)
            && lock.len()? > 0
            && last_time(&path, Lock::None)? > since
        {
            Kind::Deleted.clear(&path)?;
            return Ok(Deleted::Revived);
        }
        family::remove(&path)?;
        self.catalog.swap(&[change(key, Some(&path), None)])?;
        drop(lock);
        Ok(Deleted::Gone)
    }

    fn refuse_away(&self, path: &Path) -> Result<()> {
        match away(path, self.partitions.iter().map(PathBuf::as_path)) {
            false => Ok(()),
            true => Err(StoreError::Io {
                path: path.to_owned(),
                source: std::io::Error::new(std::io::ErrorKind::NotFound, AWAY),
            }),
        }
    }

    /// Deletes a marked backup whose mark is older than `before`; None: it has no mark, or a
    /// younger one. A backup that was written to since is a living user's again.
    pub fn delete_expired(&self, key: &BackupKey, before: i64) -> Result<Option<Deleted>> {
        let path = self.path(key)?;
        match Kind::Deleted.get(&path)? {
            Some(mark) if mark.time <= before => self.delete(key, Some(mark.time)).map(Some),
            Some(mark) if last_time(&path, Lock::Shared { wait: self.wait })? > mark.time => {
                Kind::Deleted.clear(&path)?;
                Ok(Some(Deleted::Revived))
            }
            _ => Ok(None),
        }
    }

    /// Locks a backup and brings its index to rest: no journal stands beside it afterwards.
    fn settle(&self, path: &Path) -> Result<DataFile> {
        let lock = DataFile::open_exclusive(path, self.wait)?;
        swap::settle(&lock)?;
        // One that cannot be opened goes along as it is, with its journal.
        let _ = Index::open(&layout::index(path)).and_then(|index| index.last_chunk());
        Ok(lock)
    }

    fn swap<const N: usize>(&self, old: &Path, new: &Path, changes: [Change; N]) -> Result<()> {
        match self.catalog.swap(&changes) {
            Ok(true) => family::remove(old),
            refused => {
                family::remove(new)?;
                refused?;
                // Somebody was faster, between our question and our lock.
                Err(StoreError::Locked {
                    path: self.catalog.path().to_owned(),
                })
            }
        }
    }
}

fn change(key: &BackupKey, before: Option<&Path>, after: Option<&Path>) -> Change {
    Change {
        key: key.clone(),
        before: before.map(Path::to_owned),
        after: after.map(Path::to_owned),
    }
}

/// The copy opens, and its index knows of no byte that is not there.
fn verify_copy(path: &Path) -> Result<()> {
    let opened = Backup::open(path, Lock::Shared { wait: true });
    match opened {
        Ok(backup) => {
            let last = backup.index().last_chunk()?;
            match last.filter(|chunk| chunk.offset >= backup.file_len()) {
                None => Ok(()),
                Some(chunk) => Err(StoreError::InvalidFormat {
                    path: path.to_owned(),
                    reason: format!(
                        "the index knows of chunk {}, the data file does not",
                        chunk.id
                    ),
                }),
            }
        }
        // It has no good index, and had none before.
        Err(StoreError::InvalidFormat { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// When the backup was last written to.
fn last_time(path: &Path, lock: Lock) -> Result<i64> {
    let backup = Backup::open(path, lock)?;
    let last = backup.index().last_chunk()?;
    Ok(last.map_or(0, |chunk| chunk.ts_end.unwrap_or(chunk.ts_start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_partition_counts() {
        let administer = Administer {
            catalog: Catalog::new("/c/backups.db"),
            partitions: ["/b", "/b/ssd", "/x/"].map(PathBuf::from).to_vec(),
            full_hash: false,
            wait: false,
        };
        for (path, partition) in [
            ("/b/a/anne_AAAAAA", "/b"),
            ("/b/ssd/a/anne_AAAAAA", "/b/ssd"),
            ("/x/c/c.d@x.org/Sub f_AAAAAA", "/x"),
            ("/old/a/anne_AAAAAA", "/old"),
        ] {
            let found = administer.partition_of(Path::new(path));
            assert_eq!(found, Some(Path::new(partition)), "{path}");
        }
    }
}

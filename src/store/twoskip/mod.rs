//! Twoskip: the key-value file that Cyrus keeps backups.db in (spec: ondisk 3).
//!
//! [`Twoskip`] is a path. Each call opens the file, takes a lock for its own duration, repairs what
//! a crash left, does its work and lets go, so several of our processes and C's programs may use
//! one file at once.
//!
//! | call | lock | meets an unclean file |
//! |---|---|---|
//! | [`get`](Twoskip::get), [`entries`](Twoskip::entries), [`check`](Twoskip::check) | shared | exclusive, repairs, goes on |
//! | [`update`](Twoskip::update), [`replace`](Twoskip::replace) | exclusive | repairs, goes on |
//!
//! All waiting is blocking. A call made from inside the closure of `update` on the same path waits
//! for itself forever: use the transaction that the closure was given.
//!
//! The rooms: `header` and `record` know the bytes, `search` finds keys, `transaction` writes,
//! `recover` undoes what did not commit, `salvage` collects what a damaged file still holds,
//! `rebuild` writes a fresh file in the place of an old one. They see the file through `media`.
//!
//! Left out: other engines (a skiplist file is recognised and refused), iteration that lets go of
//! the lock between keys, and files written by versions above 1.

mod chain;
#[cfg(test)]
mod crash_tests;
mod error;
mod header;
mod level;
mod media;
#[cfg(test)]
mod model_tests;
mod rebuild;
mod record;
mod recover;
mod salvage;
mod search;
mod transaction;
#[cfg(test)]
mod vector_tests;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::lock::{self, Locked, Mode};
pub use error::{Error, Fault};
use header::Header;
use search::View;
pub use transaction::Transaction;

/// Key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A twoskip file, named by its path; holds nothing open.
#[derive(Debug, Clone)]
pub struct Twoskip {
    path: PathBuf,
}

impl Twoskip {
    /// The database at this path, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Twoskip {
        Twoskip { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a key. A file that is missing or empty has no keys; it is not created.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.read(|view| Ok(view.find(key)?.value))
            .map(Option::flatten)
    }

    /// All entries whose key begins with `prefix`, in byte order, as of one moment.
    pub fn entries(&self, prefix: &[u8]) -> Result<Vec<Entry>, Error> {
        self.read(|view| view.entries(prefix))
            .map(Option::unwrap_or_default)
    }

    /// Reads everything and checks what C's `cyr_dbtool … consistent` checks, and checksums too.
    pub fn check(&self) -> Result<(), Error> {
        let at_path = |fault| Error::new(&self.path, fault);
        let Some((file, header)) = self.open_for_reading()? else {
            return Ok(());
        };
        chain::check(&header.view(&file), header.num_records).map_err(at_path)
    }

    /// Changes several keys at once: all of them are on stable storage when this returns `Ok`, none
    /// of them was changed when `change` returns an error. Creates the file when it is missing.
    ///
    /// # Errors
    /// Those of `change` as they are, and our own. When syncing the last write failed, whether the
    /// change was committed shows only when the file is next read.
    pub fn update<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let at_path = |fault| Error::new(&self.path, fault);
        let (file, header) = self.open_for_writing()?;
        let mut draw = level::random;
        let mut transaction = Transaction::begin(&self.path, &file, header, &mut draw);
        match change(&mut transaction) {
            Ok(value) => {
                let header = transaction.commit().map_err(at_path)?;
                self.repack_if_worth_it(&file, &header);
                Ok(value)
            }
            Err(refused) => {
                if let Err(fault) = transaction.abort() {
                    let path = self.path.display();
                    tracing::warn!("{path}: an aborted change waits for recovery: {fault}");
                }
                Err(refused)
            }
        }
    }

    /// Puts a fresh file with exactly these entries in the place of whatever is there, damaged or
    /// not, in one step. Of entries with the same key the last counts.
    pub fn replace(&self, entries: impl IntoIterator<Item = Entry>) -> Result<(), Error> {
        let at_path = |fault| Error::new(&self.path, fault);
        let old = self.lock_exclusively().map_err(at_path)?;
        let generation = Header::read(&old).map_or(1, |header| header.generation + 1);
        let image = rebuild::image(entries, generation, &mut level::random).map_err(at_path)?;
        rebuild::put_in_place(&self.path, &old, &image)
            .map_err(|e| Error::new(&self.path, e.into()))?;
        Ok(())
    }

    fn read<T>(
        &self,
        question: impl FnOnce(&View<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Error> {
        let Some((file, header)) = self.open_for_reading()? else {
            return Ok(None);
        };
        match question(&header.view(&file)) {
            Ok(answer) => Ok(Some(answer)),
            Err(fault) => Err(Error::new(&self.path, fault)),
        }
    }

    /// A clean file under a lock; `None` when there is nothing in it.
    fn open_for_reading(&self) -> Result<Option<(File, Header)>, Error> {
        let at_path = |fault| Error::new(&self.path, fault);
        let file = match self.lock_shared() {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(at_path(e.into())),
        };
        if header::is_unborn(&file).map_err(at_path)? {
            return Ok(None);
        }
        let header = Header::read(&file).map_err(at_path)?;
        if header.is_clean(&file).map_err(at_path)? {
            return Ok(Some((file, header)));
        }
        // Two readers that both went from shared to exclusive would wait for each other.
        drop(file);
        self.open_for_writing().map(Some)
    }

    /// A clean file under the exclusive lock; created or repaired first when it has to be.
    fn open_for_writing(&self) -> Result<(File, Header), Error> {
        let at_path = |fault| Error::new(&self.path, fault);
        let file = self.lock_exclusively().map_err(at_path)?;
        self.prepare(file).map_err(at_path)
    }

    fn prepare(&self, file: File) -> Result<(File, Header), Fault> {
        if header::is_unborn(&file)? {
            let header = header::create(&file)?;
            rebuild::sync_directory_of(&self.path)?;
            return Ok((file, header));
        }
        let mut header = Header::read(&file)?;
        if header.is_clean(&file)? {
            return Ok((file, header));
        }
        let path = self.path.display();
        match recover::roll_back(&file, &mut header) {
            Ok(()) => {
                tracing::info!("{path}: undid a change that had not been committed");
                Ok((file, header))
            }
            Err(Fault::Damaged { offset, what }) => {
                tracing::warn!("{path}: damaged at offset {offset} ({what}): salvaging");
                let image = salvage::image(&file, &header)?;
                let file = rebuild::put_in_place(&self.path, &file, &image)?;
                let header = Header::read(&file)?;
                Ok((file, header))
            }
            Err(other) => Err(other),
        }
    }

    /// Failing here is no failure of the change that was just committed: the next one tries again.
    fn repack_if_worth_it(&self, file: &File, header: &Header) {
        if !header.wants_repack() {
            return;
        }
        let packed = rebuild::repacked(file, header, &mut level::random)
            .and_then(|image| Ok(rebuild::put_in_place(&self.path, file, &image)?));
        if let Err(fault) = packed {
            tracing::warn!("{}: cannot be repacked: {fault}", self.path.display());
        }
    }

    /// Open for writing where that is allowed, since an unclean file has to be repaired.
    fn lock_shared(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        match lock_waiting(&self.path, options.read(true).write(true), Mode::Shared) {
            Err(e) if is_read_only(&e) => {
                lock_waiting(&self.path, options.write(false), Mode::Shared)
            }
            result => result,
        }
    }

    fn lock_exclusively(&self) -> Result<File, Fault> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o644);
        Ok(lock_waiting(&self.path, &options, Mode::Exclusive)?)
    }
}

fn lock_waiting(path: &Path, options: &OpenOptions, mode: Mode) -> io::Result<File> {
    match lock::open_locked(path, options, mode, true)? {
        Locked::Got(file) => Ok(file),
        Locked::Busy => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use super::*;

    fn fresh() -> (tempfile::TempDir, Twoskip) {
        let dir = tempfile::tempdir().unwrap();
        let db = Twoskip::new(dir.path().join("test.db"));
        (dir, db)
    }

    fn store(db: &Twoskip, key: &str, value: &str) {
        db.update(|transaction| transaction.store(key.as_bytes(), value.as_bytes()))
            .unwrap();
    }

    fn keys(db: &Twoskip) -> Vec<String> {
        let entries = db.entries(b"").unwrap().into_iter();
        entries
            .map(|(key, _)| String::from_utf8(key).unwrap())
            .collect()
    }

    #[test]
    fn an_error_of_the_caller_undoes_all_and_comes_back() {
        let (_dir, db) = fresh();
        store(&db, "anne", "/a");
        let before = fs::read(db.path()).unwrap();
        let refused = db.update(|transaction| {
            transaction.store(b"bob", b"/b")?;
            assert!(transaction.delete(b"anne")?);
            assert_eq!(transaction.entries(b"")?.len(), 1);
            Err::<(), Error>(Error::new(Path::new("/the/callers"), Fault::EmptyKey))
        });
        assert_eq!(refused.unwrap_err().path, Path::new("/the/callers"));
        assert_eq!(fs::read(db.path()).unwrap(), before);
    }

    #[test]
    fn an_error_that_the_caller_ignores_undoes_all_too() {
        let (_dir, db) = fresh();
        store(&db, "anne", "/a");
        let error = db.update(|transaction| {
            transaction.store(b"bob", b"/b")?;
            let _ = transaction.store(b"", b"/c");
            Ok::<_, Error>(())
        });
        assert!(matches!(error.unwrap_err().fault, Fault::Undone));
        assert_eq!(keys(&db), ["anne"]);
    }

    #[test]
    fn a_file_that_was_only_begun_is_begun_again() {
        let (_dir, db) = fresh();
        fs::write(db.path(), [0; 0x150]).unwrap();
        assert_eq!(db.get(b"anne").unwrap(), None);
        store(&db, "anne", "/a");
        assert_eq!(keys(&db), ["anne"]);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leftovers_do_not_matter() {
        let (dir, db) = fresh();
        store(&db, "anne", "/a");
        fs::set_permissions(db.path(), fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(dir.path().join("test.db.NEW"), "left by a crash").unwrap();
        db.replace([(b"bob".to_vec(), b"/b".to_vec())]).unwrap();
        assert_eq!(keys(&db), ["bob"]);
        let mode = fs::metadata(db.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn opening_salvages_what_cannot_be_rolled_back() {
        let (_dir, db) = fresh();
        for key in ["anne", "bob", "carol"] {
            store(&db, key, "/path");
        }
        let bytes = fs::read(db.path()).unwrap();
        let bob = bytes.windows(4).position(|text| text == b"bob/").unwrap() as u64;
        let file = OpenOptions::new().write(true).open(db.path()).unwrap();
        // Another level, so that nothing behind the record can be reached; and bytes behind the
        // committed end, as a killed writer leaves them.
        let is_record = |at: &u64| at.is_multiple_of(8) && bytes[*at as usize] == b'+';
        let record = (0x150..bob).rev().find(is_record).unwrap();
        file.write_all_at(&[32], record + 1).unwrap();
        file.write_all_at(b"torn", bytes.len() as u64).unwrap();
        assert_eq!(keys(&db), ["anne", "carol"]);
        db.check().unwrap();
    }

    #[test]
    fn a_salvage_without_any_find_leaves_the_file_alone() {
        let (_dir, db) = fresh();
        store(&db, "anne", "/a");
        let mut bytes = fs::read(db.path()).unwrap();
        bytes[0x150..].fill(0xff);
        bytes.extend([0xff; 8]);
        fs::write(db.path(), &bytes).unwrap();
        let error = db.get(b"anne").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("test.db: is damaged at offset 336"),
            "{error}"
        );
        assert_eq!(fs::read(db.path()).unwrap(), bytes);
    }
}

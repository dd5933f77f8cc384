//! backups.db: which data file holds whose backup (spec: ondisk 3.1, 11.5).
//!
//! Each call takes the lock of the file for its own duration only. C's programs may read and change
//! the file between any two calls.
//!
//! Left out: whether a data file exists (a stale entry is what opening it reports), and engines
//! other than twoskip.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Result;
pub use super::catalog_error::CatalogError;
use super::twoskip::{self, Transaction, Twoskip};
use crate::types::BackupKey;

/// What an entry is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose backup.
    pub key: BackupKey,
    /// What the entry is now; None: there is none.
    pub before: Option<PathBuf>,
    /// What it is to be; None: it is to go.
    pub after: Option<PathBuf>,
}

/// backups.db, named by its path; holds nothing open.
#[derive(Debug, Clone)]
pub struct Catalog {
    database: Twoskip,
}

impl Catalog {
    /// The catalog at this path. The first call that writes creates the file with mode 0644 less
    /// the umask; calls that read find nothing in a missing file and leave it missing.
    pub fn new(path: impl Into<PathBuf>) -> Catalog {
        Catalog {
            database: Twoskip::new(path),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.database.path()
    }

    /// The data file of a backup.
    pub fn get(&self, key: &BackupKey) -> Result<Option<PathBuf>> {
        let value = self.database.get(key_bytes(key)).map_err(failed)?;
        value.map(|value| self.to_path(key, value)).transpose()
    }

    /// All keys and data files in byte order of the keys, as of one moment. What is stored is told
    /// as it is: a key that is not UTF-8 with replacement characters, a bad path too.
    pub fn iter(&self) -> Result<Vec<(String, PathBuf)>> {
        let entries = self.database.entries(&[]).map_err(failed)?;
        let readable = |(key, value): twoskip::Entry| {
            let key = String::from_utf8_lossy(&key).into_owned();
            (key, OsString::from_vec(value).into())
        };
        Ok(entries.into_iter().map(readable).collect())
    }

    /// Names the data file of a backup, a new one or in the place of another.
    pub fn insert(&self, key: &BackupKey, path: &Path) -> Result<()> {
        self.change(|transaction| self.store(transaction, key, path))
    }

    /// Forgets a backup; false when it was not known. Its data file stays.
    pub fn remove(&self, key: &BackupKey) -> Result<bool> {
        self.change(|transaction| Ok(transaction.delete(key_bytes(key))?))
    }

    /// Gives a backup another name in one step; false when it was not known.
    pub fn rename(&self, from: &BackupKey, to: &BackupKey) -> Result<bool> {
        self.change(|transaction| {
            let Some(value) = transaction.get(key_bytes(from))? else {
                return Ok(false);
            };
            if transaction.get(key_bytes(to))?.is_some() {
                let (database, key) = (self.path().to_owned(), to.clone());
                return Err(CatalogError::Exists { database, key }.into());
            }
            transaction.store(key_bytes(to), &value)?;
            Ok(transaction.delete(key_bytes(from))?)
        })
    }

    /// Changes several entries in one step, those that still are what `before` says; the others are
    /// left alone, somebody has changed them meanwhile, and their keys are given back.
    pub fn reconcile(&self, changes: &[Change]) -> Result<Vec<BackupKey>> {
        self.change(|transaction| {
            let mut passed = Vec::new();
            for change in changes {
                let done = self.found(&change.key, transaction)? == change.after;
                if !done && !self.carry_out(change, transaction)? {
                    passed.push(change.key.clone());
                }
            }
            Ok(passed)
        })
    }

    /// Changes several entries in one step, all or nothing; false: one of them is not what `before`
    /// says, nothing was changed.
    pub fn swap(&self, changes: &[Change]) -> Result<bool> {
        self.change(|transaction| {
            for Change { key, before, .. } in changes {
                if self.found(key, transaction)? != *before {
                    return Ok(false);
                }
            }
            for change in changes {
                self.carry_out(change, transaction)?;
            }
            Ok(true)
        })
    }

    fn carry_out(&self, change: &Change, transaction: &mut Transaction<'_>) -> Result<bool> {
        let Change { key, before, after } = change;
        if self.found(key, transaction)? != *before {
            return Ok(false);
        }
        match after {
            Some(path) => self.store(transaction, key, path)?,
            None => drop(transaction.delete(key_bytes(key))?),
        }
        Ok(true)
    }

    /// As it stands, an impossible path too.
    fn found(&self, key: &BackupKey, transaction: &Transaction<'_>) -> Result<Option<PathBuf>> {
        let value = transaction.get(key_bytes(key))?;
        Ok(value.map(|value| PathBuf::from(OsString::from_vec(value))))
    }

    /// The data file of a backup. When there is none, `create` makes one and says where; others,
    /// C's programs among them, wait meanwhile, so one backup never gets two files. `create` must
    /// not use this catalog, it would wait for itself.
    pub fn get_or_create(
        &self,
        key: &BackupKey,
        create: impl FnOnce() -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        if let Some(path) = self.get(key)? {
            return Ok(path);
        }
        self.change(|transaction| {
            if let Some(value) = transaction.get(key_bytes(key))? {
                return self.to_path(key, value);
            }
            let path = create()?;
            self.store(transaction, key, &path)?;
            Ok(path)
        })
    }

    /// Replaces the whole catalog in one step, also one that is damaged or of another engine.
    pub fn rebuild<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a BackupKey, &'a Path)>,
    ) -> Result<()> {
        let mut checked = Vec::new();
        for (key, path) in entries {
            self.check_path(key, path)?;
            checked.push((
                key_bytes(key).to_vec(),
                path.as_os_str().as_bytes().to_vec(),
            ));
        }
        self.database.replace(checked).map_err(failed)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        self.database.update(change)
    }

    fn store(&self, transaction: &mut Transaction<'_>, key: &BackupKey, path: &Path) -> Result<()> {
        self.check_path(key, path)?;
        Ok(transaction.store(key_bytes(key), path.as_os_str().as_bytes())?)
    }

    fn to_path(&self, key: &BackupKey, value: Vec<u8>) -> Result<PathBuf> {
        let path = PathBuf::from(OsString::from_vec(value));
        self.check_path(key, &path)?;
        Ok(path)
    }

    fn check_path(&self, key: &BackupKey, path: &Path) -> Result<()> {
        if path.is_absolute() {
            return Ok(());
        }
        Err(CatalogError::NotAbsolute {
            database: self.path().to_owned(),
            key: key.clone(),
            path: path.to_owned(),
        }
        .into())
    }
}

fn key_bytes(key: &BackupKey) -> &[u8] {
    key.as_str().as_bytes()
}

fn failed(error: twoskip::Error) -> super::StoreError {
    error.into()
}

impl From<twoskip::Error> for super::StoreError {
    fn from(error: twoskip::Error) -> Self {
        CatalogError::Database(error).into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::StoreError;
    use super::*;

    fn key(userid: &str) -> BackupKey {
        BackupKey::from_userid(userid).unwrap()
    }

    fn empty() -> (tempfile::TempDir, Catalog) {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(dir.path().join("backups.db"));
        (dir, catalog)
    }

    #[test]
    fn remembers_and_forgets() {
        let (_dir, catalog) = empty();
        assert_eq!(catalog.get(&key("anne")).unwrap(), None);
        assert!(!catalog.path().exists());
        catalog.insert(&key("anne"), Path::new("/b/a")).unwrap();
        catalog
            .insert(&BackupKey::shared(), Path::new("/b/s"))
            .unwrap();
        catalog.insert(&key("anne"), Path::new("/b/a2")).unwrap();
        let mode = catalog.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & !0o644 & 0o7777, 0);
        assert_eq!(catalog.get(&key("anne")).unwrap(), Some("/b/a2".into()));
        let all = [("%SHARED", "/b/s"), ("anne", "/b/a2")];
        let all = all.map(|(key, path)| (key.to_owned(), PathBuf::from(path)));
        assert_eq!(catalog.iter().unwrap(), all);
        assert!(catalog.remove(&key("anne")).unwrap());
        assert!(!catalog.remove(&key("anne")).unwrap());
        assert_eq!(catalog.iter().unwrap().len(), 1);
    }

    #[test]
    fn a_rename_keeps_both_backups() {
        let (_dir, catalog) = empty();
        catalog.insert(&key("anne"), Path::new("/b/a")).unwrap();
        catalog.insert(&key("bob"), Path::new("/b/b")).unwrap();
        let refused = catalog.rename(&key("anne"), &key("bob")).unwrap_err();
        assert!(refused.detail().contains("bob has a backup already"));
        assert!(!catalog.rename(&key("zoe"), &key("yve")).unwrap());
        assert!(catalog.rename(&key("anne"), &key("carol")).unwrap());
        let keys: Vec<_> = catalog
            .iter()
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, ["bob", "carol"]);
    }

    #[test]
    fn changes_meet_what_they_expect_or_are_passed_over() {
        let (_dir, catalog) = empty();
        catalog.insert(&key("anne"), Path::new("/b/a")).unwrap();
        catalog.insert(&key("bob"), Path::new("/b/b")).unwrap();
        let change = |name: &str, before: Option<&str>, after: Option<&str>| Change {
            key: key(name),
            before: before.map(PathBuf::from),
            after: after.map(PathBuf::from),
        };
        let changes = [
            change("anne", Some("/b/a"), Some("/c/a")),
            change("bob", Some("/b/x"), None),
            change("carol", None, Some("/c/c")),
        ];
        assert!(!catalog.swap(&changes).unwrap());
        assert_eq!(catalog.get(&key("anne")).unwrap(), Some("/b/a".into()));
        assert_eq!(catalog.reconcile(&changes).unwrap(), [key("bob")]);
        assert_eq!(catalog.get(&key("anne")).unwrap(), Some("/c/a".into()));
        assert_eq!(catalog.get(&key("carol")).unwrap(), Some("/c/c".into()));
        let moves = [
            change("anne", Some("/c/a"), None),
            change("dora", None, Some("/c/d")),
        ];
        assert!(catalog.swap(&moves).unwrap());
        assert_eq!(catalog.get(&key("anne")).unwrap(), None);
        assert_eq!(catalog.get(&key("dora")).unwrap(), Some("/c/d".into()));
    }

    #[test]
    fn many_who_come_at_once_get_one_file() {
        let (_dir, catalog) = empty();
        let made = std::sync::Mutex::new(Vec::new());
        let found: Vec<PathBuf> = std::thread::scope(|scope| {
            let come = |number: usize| {
                let (catalog, made) = (&catalog, &made);
                scope.spawn(move || {
                    let create = || {
                        made.lock().unwrap().push(number);
                        Ok(PathBuf::from(format!("/b/{number}")))
                    };
                    catalog.get_or_create(&key("anne"), create).unwrap()
                })
            };
            let threads: Vec<_> = (0..8).map(come).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let made = made.into_inner().unwrap();
        assert_eq!(made.len(), 1);
        assert!(
            found
                .iter()
                .all(|path| *path == Path::new(&format!("/b/{}", made[0])))
        );
    }

    #[test]
    fn a_creation_that_fails_leaves_no_entry() {
        let (_dir, catalog) = empty();
        let create = || {
            Err(StoreError::Missing {
                what: "/no/partition".into(),
            })
        };
        let error = catalog.get_or_create(&key("anne"), create).unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }));
        assert_eq!(catalog.iter().unwrap(), []);
    }

    #[test]
    fn bad_paths_are_neither_written_nor_believed() {
        let (_dir, catalog) = empty();
        for bad in ["", "relative/path"] {
            assert!(catalog.insert(&key("anne"), Path::new(bad)).is_err());
            catalog
                .database
                .update(|transaction| transaction.store(b"anne", bad.as_bytes()))
                .unwrap();
            let error = catalog.get(&key("anne")).unwrap_err();
            assert!(
                error.detail().contains("anne is no absolute path"),
                "{}",
                error.detail()
            );
            assert_eq!(catalog.iter().unwrap()[0].1, Path::new(bad));
        }
    }

    #[test]
    fn a_damaged_catalog_says_what_to_do_and_can_be_rebuilt() {
        let (_dir, catalog) = empty();
        std::fs::write(catalog.path(), [7; 500]).unwrap();
        let error = catalog.iter().unwrap_err();
        assert_eq!(error.to_string(), "System I/O error");
        assert!(error.detail().contains("backups.db"), "{}", error.detail());
        assert!(error.detail().contains("ctl_backups reconstruct"));
        let anne = key("anne");
        catalog.rebuild([(&anne, Path::new("/b/a"))]).unwrap();
        assert_eq!(catalog.get(&anne).unwrap(), Some("/b/a".into()));
    }
}

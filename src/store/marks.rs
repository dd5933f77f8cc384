//! Marks beside a data file: `X.hold` says that nothing of the backup may go, `X.deleted` that all
//! of it may go when the retention is over. They are files of their own, so that they survive a
//! reindex and a compact, move along, need no backups.db, and C's tools never look at them.
//!
//! Content: one line `<unix seconds> <text>`, the text for people.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{Result, StoreError};
use super::layout;

/// Which mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `X.hold`: compact, delete and purge refuse.
    Hold,
    /// `X.deleted`: its user was deleted at that time.
    Deleted,
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When it was set, unix seconds.
    pub time: i64,
    /// Why, for people; one line.
    pub text: String,
}

impl Kind {
    /// Where the mark of a data file is.
    pub fn path(self, data: &Path) -> PathBuf {
        match self {
            Kind::Hold => layout::hold(data),
            Kind::Deleted => layout::deleted(data),
        }
    }

    /// The mark of a data file; None when it is not set. A mark that cannot be understood is set.
    pub fn get(self, data: &Path) -> Result<Option<Mark>> {
        let path = self.path(data);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let line = text.lines().next().unwrap_or_default();
        let (time, words) = line.split_once(' ').unwrap_or((line, ""));
        Ok(Some(match time.parse() {
            Ok(time) => Mark {
                time,
                text: words.to_owned(),
            },
            // Never older than any retention.
            Err(_) => Mark {
                time: i64::MAX,
                text: line.to_owned(),
            },
        }))
    }

    /// Sets the mark in one step, on stable storage when this returns.
    pub fn set(self, data: &Path, mark: &Mark) -> Result<()> {
        let path = self.path(data);
        let text = mark.text.replace(char::is_control, " ");
        let write = || -> io::Result<()> {
            let directory = data.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            writeln!(file, "{} {}", mark.time, text.trim())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(StoreError::io(&path))
    }

    /// Takes the mark away; false when it was not set.
    pub fn clear(self, data: &Path) -> Result<bool> {
        let path = self.path(data);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(StoreError::Io { path, source }),
        }
        let directory = data.parent().unwrap_or(Path::new("."));
        layout::sync_directory(directory).map_err(StoreError::io(directory))?;
        Ok(true)
    }
}

/// For whoever is about to take something out of a backup; to be asked under its lock.
///
/// # Errors
/// [`StoreError::Held`].
pub fn refuse_held(data: &Path) -> Result<()> {
    match Kind::Hold.get(data)? {
        None => Ok(()),
        Some(mark) => Err(StoreError::Held {
            path: data.to_owned(),
            reason: mark.text,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_set_read_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("anne_abcdef");
        fs::write(&data, "").unwrap();
        for kind in [Kind::Hold, Kind::Deleted] {
            assert_eq!(kind.get(&data).unwrap(), None);
            assert!(!kind.clear(&data).unwrap());
            let mark = Mark {
                time: 7,
                text: "case 17".to_owned(),
            };
            let shouted = Mark {
                text: "case\n17 ".to_owned(),
                ..mark.clone()
            };
            kind.set(&data, &shouted).unwrap();
            assert_eq!(kind.get(&data).unwrap(), Some(mark));
        }
        let refused = refuse_held(&data).unwrap_err();
        assert!(
            refused.to_string().contains("on hold: case 17"),
            "{refused}"
        );
        assert!(Kind::Hold.clear(&data).unwrap());
        refuse_held(&data).unwrap();
        // One that a hand has written badly still holds, and expires never.
        for text in ["", "who knows\n", "\0"] {
            fs::write(Kind::Hold.path(&data), text).unwrap();
            assert!(refuse_held(&data).is_err(), "{text:?}");
            assert_eq!(Kind::Hold.get(&data).unwrap().unwrap().time, i64::MAX);
        }
    }
}

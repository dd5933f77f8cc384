//! The data file of a backup, held by its lock: append, sync, cut (spec: ondisk 4.1, 4.5).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Result, StoreError};
use super::lock::{self, Locked, Mode};

/// An open data file with the lock that its opening took.
pub struct DataFile {
    file: Arc<File>,
    path: PathBuf,
}

impl DataFile {
    /// Opens an existing data file under the exclusive lock.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Locked`] when someone has it and `wait` is false.
    pub fn open_exclusive(path: &Path, wait: bool) -> Result<DataFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_CLOEXEC);
        DataFile::open(path, &options, Mode::Exclusive, wait)
    }

    /// Opens an existing data file under a shared lock, for reading only.
    ///
    /// # Errors
    /// As [`DataFile::open_exclusive`].
    pub fn open_shared(path: &Path, wait: bool) -> Result<DataFile> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_CLOEXEC);
        DataFile::open(path, &options, Mode::Shared, wait)
    }

    /// Opens an existing data file without any lock: what is read stays true as long as nobody
    /// looks behind the length at this moment, since files only grow or are replaced.
    pub fn open_unlocked(path: &Path) -> Result<DataFile> {
        refuse_other_than_file(path)?;
        let file = File::open(path).map_err(StoreError::io(path))?;
        Ok(DataFile {
            file: Arc::new(file),
            path: path.to_owned(),
        })
    }

    fn open(path: &Path, options: &OpenOptions, mode: Mode, wait: bool) -> Result<DataFile> {
        refuse_other_than_file(path)?;
        match lock::open_locked(path, options, mode, wait).map_err(StoreError::io(path))? {
            Locked::Got(file) => Ok(DataFile {
                file: Arc::new(file),
                path: path.to_owned(),
            }),
            Locked::Busy => Err(StoreError::Locked {
                path: path.to_owned(),
            }),
        }
    }

    /// The same open file after its rename.
    pub fn renamed_to(self, path: &Path) -> DataFile {
        DataFile {
            path: path.to_owned(),
            ..self
        }
    }

    /// The same open file once more; the lock stays until the last of them is dropped.
    pub fn again(&self) -> DataFile {
        DataFile {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor, for positioned reads.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Bytes in the file now.
    pub fn len(&self) -> Result<u64> {
        self.io(self.file.metadata()).map(|meta| meta.len())
    }

    /// Writes all bytes at `offset`, which is the end.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.io(self.file.write_all_at(bytes, offset))
    }

    /// Everything written is on stable storage when this returns.
    pub fn sync(&self) -> Result<()> {
        self.io(self.file.sync_data())
    }

    /// Drops what stands behind `length`.
    pub fn truncate(&self, length: u64) -> Result<()> {
        self.io(self.file.set_len(length))
    }

    /// Names this file in an error.
    pub fn io<T>(&self, result: io::Result<T>) -> Result<T> {
        result.map_err(StoreError::io(&self.path))
    }
}

/// Opening a pipe waits for somebody at its other end, and some devices do things when they are opened.
fn refuse_other_than_file(path: &Path) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(StoreError::io(path))?;
    match meta.is_file() {
        true => Ok(()),
        false => Err(StoreError::Io {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "is no file"),
        }),
    }
}

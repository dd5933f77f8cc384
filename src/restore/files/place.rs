//! Files that appear whole or not at all, with the time of arrival as theirs.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::error::FileError;

/// Writes a file under another name and gives it its own at the end.
pub(super) fn write_whole(
    temporary: &Path,
    path: &Path,
    octets: &[u8],
    arrived: i64,
) -> Result<(), FileError> {
    let write = || {
        let mut file = File::create(temporary)?;
        file.write_all(octets)?;
        // A time that the file system cannot hold is no reason to lose the message.
        let seconds = Duration::from_secs(arrived.max(0).unsigned_abs());
        let _ = UNIX_EPOCH
            .checked_add(seconds)
            .map(|time| file.set_modified(time));
        fs::rename(temporary, path)
    };
    write().map_err(FileError::at(path))
}

/// The directory that a file is in.
pub(super) fn above(file: &Path) -> &Path {
    file.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The file system that files are written to, from before the first one on: what it could not bring to the medium
/// comes to light at the end.
pub(super) struct Disk {
    dir: File,
    path: PathBuf,
}

impl Disk {
    /// That of a directory.
    pub(super) fn of(path: &Path) -> Result<Disk, FileError> {
        let dir = File::open(path).map_err(FileError::at(path))?;
        let path = path.to_owned();
        Ok(Disk { dir, path })
    }

    /// Waits until all is on the medium: one syncfs(2), since thousands of files each synced take minutes.
    pub(super) fn sync(self) -> Result<(), FileError> {
        nix::unistd::syncfs(&self.dir).map_err(|error| FileError::at(&self.path)(error.into()))
    }
}

/// Makes a directory and those above it.
pub(super) fn directory(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::at(path))
}

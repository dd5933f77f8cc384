//! Files that appear whole or not at all, with the time of arrival as theirs.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::FileError;

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

/// Makes a directory and those above it.
pub(super) fn directory(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::at(path))
}

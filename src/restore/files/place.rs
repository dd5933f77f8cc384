//! Files that appear whole or not at all, with the time of arrival as theirs; names that are safe.

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

/// A folder's name as one component of a path: what would leave it or hide in it is written as in URLs.
pub(super) fn component(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars() {
        match c {
            '/' | '%' => safe.push_str(&format!("%{:02X}", u32::from(c))),
            c if c.is_control() => safe.push_str(&format!("%{:02X}", u32::from(c))),
            c => safe.push(c),
        }
    }
    match safe.as_str() {
        "" | "." | ".." => safe.replace('.', "%2E") + "%",
        _ => safe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_directory() {
        for (name, safe) in [
            ("Sent", "Sent"),
            ("a/b%", "a%2Fb%25"),
            ("..", "%2E%2E%"),
            ("", "%"),
            ("a\0b", "a%00b"),
        ] {
            assert_eq!(component(name), safe);
        }
    }
}

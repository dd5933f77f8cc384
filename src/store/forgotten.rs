//! A backups.db without an entry beside partitions with files: lost, or another one than was meant.
//! Who takes that for a server without backups verifies nothing and says that all is well, or begins
//! every backup anew.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Result;
use super::placement::Placement;

/// `<partition>/<hash>/<name>`, and one more for names with a `/`.
const DEPTH: usize = 3;

/// The first partition with a file in it, when backups.db has no entry at all.
///
/// # Errors
/// backups.db cannot be read.
pub fn forgotten(placement: &Placement) -> Result<Option<&Path>> {
    if !placement.catalog().iter()?.is_empty() {
        return Ok(None);
    }
    let mut partitions = placement.partitions().map(PathBuf::as_path);
    Ok(partitions.find(|path| has_files(path, DEPTH)))
}

/// What cannot be read, as a file system's lost+found, has none.
fn has_files(directory: &Path, depth: usize) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .any(|(path, meta)| {
            // An empty one is what a crash leaves of a backup that was to be made.
            meta.is_file() && meta.len() > 0
                || meta.is_dir() && depth > 1 && has_files(&path, depth - 1)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_where_backups_lie() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_files(&dir.path().join("none"), DEPTH));
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        assert!(!has_files(dir.path(), DEPTH));
        fs::write(dir.path().join("a/b/c_AAAAAA"), "").unwrap();
        assert!(!has_files(dir.path(), DEPTH));
        fs::write(dir.path().join("a/b/c_AAAAAA"), "mail").unwrap();
        assert!(has_files(dir.path(), DEPTH));
    }
}

//! The files that stand beside a data file X (spec: ondisk 4.6), and the care that replacing files
//! needs.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `X.index`
pub fn index(data: &Path) -> PathBuf {
    with_suffix(data, ".index")
}

/// `X.new`: a data file being written anew.
pub fn new(data: &Path) -> PathBuf {
    with_suffix(data, ".new")
}

/// `X.<epoch>`: what was there before, when it is kept.
pub fn previous(data: &Path, epoch: i64) -> PathBuf {
    with_suffix(data, &format!(".{epoch}"))
}

/// Makes an empty file that only its owner can read, which must not be there yet.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Renames and new files in the directory of `path` are on stable storage when this returns.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn with_suffix(data: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(data);
    name.push(suffix);
    PathBuf::from(name)
}

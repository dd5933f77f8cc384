//! A new data file and its index take their places. Two renames cannot be one, so a crash may come
//! between them; this is what each next open finds:
//!
//! | crash | on disk | next open |
//! |---|---|---|
//! | before the first rename | old X and X.index; X.new, X.index.new | removes the `.new` files |
//! | between | new X, old X.index, X.index.new | X.index.new names the inode of X: renames it |
//! | after the second | new X, new X.index | nothing to do |
//!
//! Data goes first, and the directory is synced between the two. Who reads without being allowed to
//! rename opens `X.index.new` where it is ([`index_path`]). C in the same moment finds an index that
//! does not fit and says so; any of our programs mends it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::store::data_file::DataFile;
use crate::store::error::{Result, StoreError};
use crate::store::index::Index;
use crate::store::layout;

/// Puts `X.new` (locked, synced) and `X.index.new` (committed, synced) in place.
pub(in crate::store) fn swap(old: &DataFile, new: DataFile, previous: Option<i64>) -> Result<()> {
    let path = old.path();
    let index = layout::index(path);
    if let Some(epoch) = previous {
        link(path, &layout::previous_data(path, epoch))?;
        link(&index, &layout::previous_index(path, epoch))?;
    }
    forget_seek(path)?;
    rename(new.path(), path)?;
    rename(&layout::new_index(path), &index)
}

/// Removes `X.seek`: it is of the old file, and has octets of messages in it.
pub(in crate::store) fn forget_seek(path: &Path) -> Result<()> {
    let seek = layout::seek(path);
    match fs::remove_file(&seek) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io(&seek)(e)),
        _ => Ok(()),
    }
}

/// Ends what an interrupted swap began, or clears up what came to nothing. The caller holds the
/// exclusive lock.
pub(in crate::store) fn settle(data: &DataFile) -> Result<()> {
    let path = data.path();
    forget_cold_journal(path);
    let new_index = layout::new_index(path);
    if !new_index.exists() && !layout::new_data(path).exists() {
        return Ok(());
    }
    if belongs(&new_index, data)? {
        warn!(path = %path.display(), "finishing an interrupted rewrite");
        rename(&new_index, &layout::index(path))?;
    }
    clear(path)
}

/// SQLite writes the first octets of a journal last, when the rest of it is on the disk. A journal without them counts
/// for nothing, but SQLite leaves it where it is until the next write. Who holds the data file's lock is the only one
/// who may be writing.
fn forget_cold_journal(path: &Path) {
    let journal = layout::index_journal(path);
    let mut first = [0];
    let read = fs::File::open(&journal).and_then(|mut file| file.read(&mut first));
    if read.is_ok() && first == [0] {
        // It does no harm where it cannot be removed.
        let _ = fs::remove_file(&journal);
    }
}

/// Where the index of an open data file is.
pub(in crate::store) fn index_path(data: &DataFile) -> Result<PathBuf> {
    let new_index = layout::new_index(data.path());
    match belongs(&new_index, data)? {
        true => Ok(new_index),
        false => Ok(layout::index(data.path())),
    }
}

/// Removes `X.new` and `X.index.new`.
pub(in crate::store) fn clear(path: &Path) -> Result<()> {
    let new_index = layout::new_index(path);
    let mut journal = new_index.clone().into_os_string();
    journal.push("-journal");
    for left_over in [layout::new_data(path), PathBuf::from(journal), new_index] {
        match fs::remove_file(&left_over) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(&left_over)(e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The index was made for just this data file.
fn belongs(index: &Path, data: &DataFile) -> Result<bool> {
    if !fs::metadata(index).is_ok_and(|meta| meta.len() > 0) {
        return Ok(false);
    }
    let inode = data.io(data.file().metadata())?.ino();
    // One that cannot be read was never finished.
    Ok(Index::open(index)
        .and_then(|index| index.inode())
        .unwrap_or(None)
        == Some(inode))
}

pub(in crate::store) fn link(from: &Path, to: &Path) -> Result<()> {
    let mut linked = fs::hard_link(from, to);
    if matches!(&linked, Err(e) if e.kind() == io::ErrorKind::AlreadyExists) {
        // A second run in one second: the later one stays, as with C.
        fs::remove_file(to).map_err(StoreError::io(to))?;
        linked = fs::hard_link(from, to);
    }
    match linked {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(StoreError::io(to)),
    }
}

pub(in crate::store) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(StoreError::io(to))?;
    match to.parent() {
        Some(directory) if directory != Path::new("") => {
            layout::sync_directory(directory).map_err(StoreError::io(directory))
        }
        _ => layout::sync_directory(Path::new(".")).map_err(StoreError::io(to)),
    }
}

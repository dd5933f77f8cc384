//! Opening a backup for writing. Three things may have happened since we last closed it, and each
//! is put right here, under the exclusive lock, before anything new is written (DESIGN 3):
//!
//! * nothing: the watermark matches, opening is O(1);
//! * C has appended chunks, or rebuilt the index: their lines are replayed for our tables;
//! * somebody crashed: bytes stand behind the last indexed chunk. Their complete lines are kept,
//!   the torn rest is cut off, the member is closed in place, and the lines are indexed.
//!
//! Each step leaves a state from which the same steps work again, so recovery may be killed too.
//! Bytes between two chunks that are in no index (C appended behind what a crash left) belong before
//! what follows them, so then the whole index is made anew, in file order.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sha1::{Digest, Sha1};
use tracing::{error, info, warn};

use super::data_file::DataFile;
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{ChunkRow, Index, State};
use super::member::{MemberReader, closing_bytes, hex};
use super::replay::replay;
use super::rewrite::swap;
use super::scan::{Flushed, ScanEnd};
use super::survey::{Piece, Plan, copy_range, survey};
use super::{fresh_index, layout, stamp};

/// A backup ready to be appended to: everything in the file is indexed and hashed.
pub struct Opened {
    /// The data file with its lock.
    pub data: DataFile,
    /// Its index.
    pub index: Index,
    /// SHA-1 over all bytes of the data file.
    pub hash: FileHash,
    /// All of these bytes are known to be what the index says; see [`stamp`].
    pub attested: bool,
    /// A crash had left something.
    pub recovered: bool,
}

/// Opens, and repairs what is needed.
///
/// # Errors
/// [`StoreError::Locked`]; [`StoreError::InvalidFormat`] when data and index do not belong
/// together in a way that only a reindex can mend.
pub fn open(path: &Path, wait: bool) -> Result<Opened> {
    let data = DataFile::open_exclusive(path, wait)?;
    swap::settle(&data)?;
    go_on(data)
}

/// Repairs what is needed under a lock that the caller took.
pub(super) fn go_on(data: DataFile) -> Result<Opened> {
    let path = data.path();
    let index_path = layout::index(path);
    let length = data.len()?;
    let has_index = std::fs::metadata(&index_path).is_ok_and(|meta| meta.len() > 0);
    if length > 0 && !has_index {
        let reason = "the data file has content but no index".to_owned();
        return Err(StoreError::InvalidFormat {
            path: index_path,
            reason,
        });
    }
    let mut index = Index::open_for_write(&index_path)?;
    let mut recovered = false;
    let hash = match take_in_foreign(&data, &index)? {
        Some(hash) => hash,
        None => {
            recovered = true;
            info!(path = %path.display(), "indexing anew: there are chunks that no index names");
            drop(index);
            fresh_index::put(&data, None, &mut |_| {})?;
            index = Index::open_for_write(&index_path)?;
            // A torn end may be left, and nothing else.
            take_in_foreign(&data, &index)?.unwrap_or_default()
        }
    };
    let attested = length == 0 || stamp::is_attested(&data, &index)?;
    let mut opened = Opened {
        data,
        index,
        hash,
        attested,
        recovered,
    };
    recover_tail(&mut opened)?;
    Ok(opened)
}

/// Brings our tables up to the last chunk of the index; returns the hash up to its end, or None
/// when there are bytes that the index passes over.
fn take_in_foreign(data: &DataFile, index: &Index) -> Result<Option<FileHash>> {
    let state = index.state()?;
    let saved = state
        .as_ref()
        .and_then(|state| FileHash::restore(&state.sha1));
    let chunks = match (&state, index.last_chunk()?) {
        (None, None) => return Ok(Some(FileHash::default())),
        (Some(_), None) => return resume_hash(data, saved, 0).map(Some),
        (Some(state), Some(last)) if last.id == state.chunk_id => {
            let hash = saved.filter(|hash| hash.length() == state.data_end);
            return resume_hash(data, hash, state.data_end).map(Some);
        }
        (Some(state), _) => index
            .chunks()?
            .into_iter()
            .filter(|chunk| chunk.id > state.chunk_id)
            .collect(),
        (None, _) => index.chunks()?,
    };
    let length = data.len()?;
    info!(path = %data.path().display(), chunks = chunks.len(), "taking in chunks that C wrote");
    index.begin()?;
    let mut data_end = saved.as_ref().map_or(0, FileHash::length);
    for chunk in &chunks {
        if chunk.offset != data_end {
            index.rollback();
            return Ok(None);
        }
        let pass = replay(data, index, chunk.id, chunk.offset, length)?;
        data_end = match pass.end {
            ScanEnd::Complete(next) => next,
            ref end => {
                // What it holds is lost or not, as verify will tell; new mail must not wait.
                error!(path = %data.path().display(), chunk = chunk.id, ?end, "damaged chunk");
                next_offset(&chunks, chunk.offset).unwrap_or(length)
            }
        };
    }
    let hash = resume_hash(data, saved, data_end)?;
    let chunk_id = chunks.last().map_or(0, |chunk| chunk.id);
    index.set_state(&State {
        chunk_id,
        data_end,
        sha1: hash.save(),
    })?;
    index.commit()?;
    Ok(Some(hash))
}

fn next_offset(chunks: &[ChunkRow], offset: u64) -> Option<u64> {
    chunks
        .iter()
        .map(|chunk| chunk.offset)
        .find(|&next| next > offset)
}

/// A hash that reaches exactly to `end`.
fn resume_hash(data: &DataFile, saved: Option<FileHash>, end: u64) -> Result<FileHash> {
    let length = data.len()?;
    if length < end {
        let reason = format!("the index describes {end} bytes of data, the file has {length}");
        return Err(StoreError::InvalidFormat {
            path: data.path().to_owned(),
            reason,
        });
    }
    let mut hash = saved
        .filter(|hash| hash.length() <= end)
        .unwrap_or_default();
    data.io(hash.read_to(data.file(), end))?;
    Ok(hash)
}

/// Indexes what stands behind the last indexed chunk.
fn recover_tail(opened: &mut Opened) -> Result<()> {
    let length = opened.data.len()?;
    let start = opened.hash.length();
    if start == length {
        return Ok(());
    }
    opened.recovered = true;
    let path = opened.data.path().to_owned();
    warn!(path = %path.display(), from = start, to = length, "recovering unindexed data");
    let plan = survey(&opened.data, start, length)?;
    if start == 0 && is_foreign(&opened.data, &plan)? {
        return Err(fresh_index::unreadable(&path));
    }
    if plan.needs_rewrite() {
        rewrite(opened, &plan)?;
    } else if let Some(Piece { start, kept, .. }) = plan.pieces.last().filter(|p| p.torn()) {
        close_in_place(&opened.data, *start, *kept)?;
    }
    index_members(opened)
}

/// Nothing of the whole file can be kept, and it is not the beginning of a first chunk, nor the zeros that a
/// crash may leave in its place: no reason to cut it off.
fn is_foreign(data: &DataFile, plan: &Plan) -> Result<bool> {
    if plan
        .pieces
        .iter()
        .any(|piece| piece.kept.is_some() || piece.end.is_some())
    {
        return Ok(false);
    }
    let mut first = [0; 2];
    let read = data.io(data.file().read_at(&mut first, 0))?;
    Ok(read > 0 && !b"\x1f\x8b".starts_with(&first[..read]) && first != [0, 0])
}

/// Cuts the torn rest off the last member and closes it; one that holds no complete line goes.
fn close_in_place(data: &DataFile, start: u64, kept: Option<Flushed>) -> Result<()> {
    match kept {
        Some(kept) => {
            data.truncate(kept.file_offset)?;
            data.write_at(&closing_bytes(kept.crc, kept.offset), kept.file_offset)?;
        }
        None => data.truncate(start)?,
    }
    data.sync()
}

/// Torn members lie before others: writes the file anew with each of them closed, and puts it in
/// place of the old one, which is kept as `X.<time>`. The index describes the unchanged beginning
/// all the while.
fn rewrite(opened: &mut Opened, plan: &Plan) -> Result<()> {
    let path = opened.data.path().to_owned();
    let new_path = layout::new_data(&path);
    warn!(path = %path.display(), "rewriting: torn chunks lie before whole ones");
    match std::fs::remove_file(&new_path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(StoreError::io(&new_path)(e)),
        _ => {}
    }
    create_private(&new_path).map_err(StoreError::io(&new_path))?;
    let new = DataFile::open_exclusive(&new_path, false)?;
    let old = opened.data.file().clone();
    new.io(copy_range(&old, new.file(), 0, opened.hash.length()))?;
    for piece in &plan.pieces {
        match (piece.end, piece.kept) {
            (Some(end), _) => new.io(copy_range(&old, new.file(), piece.start, end))?,
            (None, Some(kept)) => {
                new.io(copy_range(&old, new.file(), piece.start, kept.file_offset))?;
                let end = new.len()?;
                new.write_at(&closing_bytes(kept.crc, kept.offset), end)?;
            }
            (None, None) => {}
        }
    }
    new.sync()?;
    let previous = layout::previous_data(&path, jiff::Timestamp::now().as_second());
    std::fs::hard_link(&path, &previous).map_err(StoreError::io(&previous))?;
    std::fs::rename(&new_path, &path).map_err(StoreError::io(&path))?;
    if let Some(directory) = path.parent() {
        layout::sync_directory(directory).map_err(StoreError::io(directory))?;
    }
    opened.data = new.renamed_to(&path);
    Ok(())
}

/// Makes an empty file that only its owner can read, which must not be there yet.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Gives each whole member behind the hashed part its chunk row and replays its lines.
fn index_members(opened: &mut Opened) -> Result<()> {
    let Opened {
        data, index, hash, ..
    } = opened;
    let length = data.len()?;
    while hash.length() < length {
        let start = hash.length();
        index.begin()?;
        let id = index.start_chunk(0, start, &hash.hex())?;
        let pass = replay(data, index, id, start, length)?;
        let ScanEnd::Complete(end) = pass.end else {
            index.rollback();
            let reason = format!("a chunk at offset {start} can't be read: {:?}", pass.end);
            return Err(StoreError::InvalidFormat {
                path: data.path().to_owned(),
                reason,
            });
        };
        data.io(hash.read_to(data.file(), end))?;
        let sha1 = hex(&chunk_sha1(data, start, length)?);
        index.set_chunk_start(id, pass.first_time)?;
        index.end_chunk(id, pass.last_time, pass.length, &sha1)?;
        index.set_state(&State {
            chunk_id: id,
            data_end: end,
            sha1: hash.save(),
        })?;
        index.commit()?;
        info!(path = %data.path().display(), chunk = id, lines = pass.lines, "recovered a chunk");
    }
    Ok(())
}

fn chunk_sha1(data: &DataFile, start: u64, length: u64) -> Result<Vec<u8>> {
    let mut reader = data.io(MemberReader::open(data.file().clone(), start, length))?;
    let mut sha1 = Sha1::new();
    let mut buf = vec![0; 64 * 1024];
    loop {
        match data.io(io::Read::read(&mut reader, &mut buf))? {
            0 => return Ok(sha1.finalize().to_vec()),
            n => sha1.update(&buf[..n]),
        }
    }
}

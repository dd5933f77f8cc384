//! Opening a backup for writing. Three things may have happened since we last closed it, and each
//! is put right here, under the exclusive lock, before anything new is written (DESIGN 3):
//!
//! * nothing: the watermark matches, opening is O(1);
//! * C has appended chunks, or rebuilt the index: their lines are replayed for our tables;
//! * somebody crashed: bytes stand behind the last indexed chunk. Their complete lines are kept,
//!   the torn rest is cut off, the member is closed in place, and the lines are indexed.
//!
//! Each step leaves a state from which the same steps work again, so recovery may be killed too.
//! Orphans between two indexed chunks (C appended after a crash) are left as they are; a reindex
//! finds them.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha1::{Digest, Sha1};
use tracing::{error, info, warn};

use super::data_file::DataFile;
use super::entry::{self, Entry};
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{Index, Place, SeekPoint, State};
use super::member::{MemberEnd, MemberReader, closing_bytes, hex};
use super::scan::{CHUNK_START, Flushed, ScanEnd, Visitor, scan};
use super::layout;

/// Seek points closer than this are not worth a row.
const POINT_BYTES: u64 = 32 * 1024;

/// A backup ready to be appended to: everything in the file is indexed and hashed.
pub struct Opened {
    /// The data file with its lock.
    pub data: DataFile,
    /// Its index.
    pub index: Index,
    /// SHA-1 over all bytes of the data file.
    pub hash: FileHash,
}

/// Opens, and repairs what is needed.
///
/// # Errors
/// [`StoreError::Locked`]; [`StoreError::InvalidFormat`] when data and index do not belong
/// together in a way that only a reindex can mend.
pub fn open(path: &Path, wait: bool) -> Result<Opened> {
    let data = DataFile::open_exclusive(path, wait)?;
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
    let index = Index::open_for_write(&index_path)?;
    let hash = take_in_foreign(&data, &index)?;
    let mut opened = Opened { data, index, hash };
    recover_tail(&mut opened)?;
    Ok(opened)
}

/// Brings our tables up to the last chunk of the index; returns the hash up to its end.
fn take_in_foreign(data: &DataFile, index: &Index) -> Result<FileHash> {
    let state = index.state()?;
    let saved = state
        .as_ref()
        .and_then(|state| FileHash::restore(&state.sha1));
    let chunks = match (&state, index.last_chunk()?) {
        (_, None) => return Ok(FileHash::default()),
        (Some(state), Some(last)) if last.id == state.chunk_id => {
            let hash = saved.filter(|hash| hash.length() == state.data_end);
            return resume_hash(data, hash, state.data_end);
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
    Ok(hash)
}

fn next_offset(chunks: &[super::index::ChunkRow], offset: u64) -> Option<u64> {
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
    let path = opened.data.path().to_owned();
    warn!(path = %path.display(), from = start, to = length, "recovering unindexed data");
    let plan = survey(&opened.data, start, length)?;
    if plan.needs_rewrite() {
        rewrite(opened, &plan)?;
    } else if let Some(Piece { start, kept, .. }) = plan.pieces.last().filter(|p| p.torn()) {
        close_in_place(&opened.data, *start, *kept)?;
    }
    index_members(opened)
}

/// One member of the tail, whole or not.
struct Piece {
    start: u64,
    /// Where it was cut and how far its complete lines reach; None: not one.
    kept: Option<Flushed>,
    /// Where the member ends if it is whole.
    end: Option<u64>,
}

impl Piece {
    fn torn(&self) -> bool {
        self.end.is_none()
    }
}

/// What a crash (or several of them, of several programs) left.
struct Plan {
    pieces: Vec<Piece>,
}

impl Plan {
    /// A torn member with others behind it can't be closed where it stands.
    fn needs_rewrite(&self) -> bool {
        self.pieces.iter().rev().skip(1).any(Piece::torn)
    }
}

/// Finds the members of the tail and how much of each can be kept. Touches nothing.
fn survey(data: &DataFile, start: u64, length: u64) -> Result<Plan> {
    let mut pieces = Vec::new();
    let mut at = start;
    while at < length {
        let piece = survey_member(data, at, length)?;
        let from = piece.kept.map_or(at + 1, |kept| kept.file_offset);
        let next = match piece.end {
            Some(end) => Some(end),
            None => data.io(find_member(data.file(), from.max(at + 1), length))?,
        };
        pieces.push(piece);
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(Plan { pieces })
}

fn survey_member(data: &DataFile, start: u64, length: u64) -> Result<Piece> {
    let mut cuts = Cuts::default();
    let end = match MemberReader::open(data.file().clone(), start, length) {
        Ok(mut reader) => data.io(scan(&mut reader, &mut cuts))?,
        Err(e) if e.kind() == io::ErrorKind::InvalidData => ScanEnd::Truncated,
        Err(e) => return data.io(Err(e)),
    };
    if let ScanEnd::Complete(end) = end {
        return Ok(Piece {
            start,
            kept: cuts.0.last().copied(),
            end: Some(end),
        });
    }
    // A mark inside the data can look like a flush: what is kept must really close.
    while let Some(&kept) = cuts.0.last() {
        if data.io(closes(data.file(), start, kept))? {
            return Ok(Piece {
                start,
                kept: Some(kept),
                end: None,
            });
        }
        cuts.0.pop();
    }
    Ok(Piece {
        start,
        kept: None,
        end: None,
    })
}

/// The member from `start`, cut at `kept`, inflates to its end once it is closed.
fn closes(file: &File, start: u64, kept: Flushed) -> io::Result<bool> {
    let copy = tempfile::tempfile()?;
    copy_range(file, &copy, start, kept.file_offset)?;
    use std::os::unix::fs::FileExt;
    let end = kept.file_offset - start;
    copy.write_all_at(&closing_bytes(kept.crc, kept.offset), end)?;
    let length = copy.metadata()?.len();
    let mut reader = MemberReader::open(Arc::new(copy), 0, length)?;
    let read = io::copy(&mut reader, &mut io::sink());
    Ok(matches!(read, Ok(n) if n == kept.offset)
        && reader.end() == Some(MemberEnd::Complete(length)))
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut buf = vec![0; 256 * 1024];
    let mut at = start;
    let base = to.metadata()?.len();
    while at < end {
        let want = (end - at).min(buf.len() as u64) as usize;
        let n = from.read_at(&mut buf[..want], at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(&buf[..n], base + at - start)?;
        at += n as u64;
    }
    Ok(())
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
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Gives each whole member behind the hashed part its chunk row and replays its lines.
fn index_members(opened: &mut Opened) -> Result<()> {
    let Opened { data, index, hash } = opened;
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

/// What a replay went through.
pub(super) struct Pass {
    pub(super) end: ScanEnd,
    pub(super) lines: u64,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    /// Uncompressed bytes of the chunk.
    pub(super) length: u64,
}

/// Applies all lines of the member at file offset `start` to the index as chunk `chunk_id`.
pub(super) fn replay(
    data: &DataFile,
    index: &Index,
    chunk_id: i64,
    start: u64,
    limit: u64,
) -> Result<Pass> {
    let mut reader = match MemberReader::open(data.file().clone(), start, limit) {
        Ok(reader) => reader,
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            let end = ScanEnd::Damaged {
                offset: 0,
                reason: e.to_string(),
            };
            return Ok(Pass {
                end,
                lines: 0,
                first_time: 0,
                last_time: 0,
                length: 0,
            });
        }
        Err(e) => return data.io(Err(e)),
    };
    let mut replayer = Replayer {
        index,
        chunk_id,
        lines: 0,
        times: None,
        point: 0,
        path: data.path(),
        error: None,
    };
    let end = data.io(scan(&mut reader, &mut replayer))?;
    if let Some(error) = replayer.error {
        return Err(error);
    }
    let (first_time, last_time) = replayer.times.unwrap_or((0, 0));
    let (lines, length) = (replayer.lines, reader.produced());
    Ok(Pass {
        end,
        lines,
        first_time,
        last_time,
        length,
    })
}

struct Replayer<'a> {
    index: &'a Index,
    chunk_id: i64,
    lines: u64,
    times: Option<(i64, i64)>,
    /// Uncompressed offset of the last seek point.
    point: u64,
    path: &'a Path,
    error: Option<StoreError>,
}

impl Visitor for Replayer<'_> {
    fn line(&mut self, offset: u64, text: &[u8]) -> bool {
        self.lines += 1;
        match entry::parse(text) {
            Entry::Apply(time, apply) => {
                let first = self.times.map_or(time, |(first, _)| first);
                let last = self.times.map_or(time, |(_, last)| last.max(time));
                self.times = Some((first, last));
                let place = Place {
                    chunk_id: self.chunk_id,
                    offset,
                    time,
                };
                self.error = self.index.apply(&apply, place).err();
            }
            Entry::Other(reason) => {
                let path = PathBuf::from(self.path);
                warn!(path = %path.display(), chunk = self.chunk_id, offset, reason, "odd line");
            }
        }
        self.error.is_none()
    }

    fn flushed(&mut self, at: Flushed) {
        if at.offset - self.point >= POINT_BYTES {
            self.point = at.offset;
            let point = SeekPoint {
                offset: at.offset,
                file_offset: at.file_offset,
            };
            let added = self.index.add_seek_point(self.chunk_id, point);
            self.error = self.error.take().or(added.err());
        }
    }
}

/// Remembers where a chunk could be cut.
#[derive(Default)]
struct Cuts(Vec<Flushed>);

impl Visitor for Cuts {
    fn line(&mut self, _offset: u64, _text: &[u8]) -> bool {
        true
    }

    fn flushed(&mut self, at: Flushed) {
        // Behind the start line alone there is nothing to keep.
        if at.offset > CHUNK_START.len() as u64 {
            self.0.push(at);
        }
    }
}

/// The next place that looks like the start of a member.
fn find_member(file: &File, from: u64, limit: u64) -> io::Result<Option<u64>> {
    use std::os::unix::fs::FileExt;
    const START: [u8; 4] = [0x1f, 0x8b, 8, 0];
    let mut buf = vec![0; 1 << 20];
    let mut at = from;
    while at < limit {
        let want = (limit - at).min(buf.len() as u64) as usize;
        let n = file.read_at(&mut buf[..want], at)?;
        if n < START.len() {
            break;
        }
        for found in memchr::memmem::find_iter(&buf[..n], &START) {
            let candidate = at + found as u64;
            if starts_chunk(file, candidate, limit) {
                return Ok(Some(candidate));
            }
        }
        at += (n - (START.len() - 1)) as u64;
    }
    Ok(None)
}

/// The first bytes of a member inflate to the start line of a chunk.
fn starts_chunk(file: &File, start: u64, limit: u64) -> bool {
    let read = || -> io::Result<bool> {
        let mut reader = MemberReader::open(Arc::new(file.try_clone()?), start, limit)?;
        let mut first = vec![0; CHUNK_START.len()];
        io::Read::read_exact(&mut reader, &mut first)?;
        Ok(first == CHUNK_START.as_bytes())
    };
    read().unwrap_or(false)
}

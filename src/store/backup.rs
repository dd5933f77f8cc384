//! One backup, open for reading: the rows of its index, its bytes as they are, its chunks inflated,
//! and its messages, each checked against its GUID before a byte is given out (DESIGN 1.3).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::appender::Appender;
use super::data_file::DataFile;
use super::entry::{self, Entry};
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{Index, MessageRow, SieveRow, State};
use super::lock::is_at;
use super::member::MemberReader;
use super::rebuild::{Report, Source, Terms, rebuild};
use super::rewrite::swap;
use super::scan::{Visitor, scan};
use super::{layout, recover};
use crate::csync::command::Apply;
use crate::csync::dlist::FileRef;
use crate::types::{Guid, GuidHasher};

/// Inflated messages kept for the next question.
const CACHE_BYTES: usize = 32 << 20;
/// Reading goes on this far behind the wanted message when its line goes on: the next question is
/// mostly for the next message, and inflating starts at line starts only.
const READ_AHEAD: usize = 4 << 20;

/// How the data file is held while a backup is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// With other readers, against all writers.
    Shared {
        /// Until the writer is done.
        wait: bool,
    },
    /// Against everyone, as C's tools do.
    Exclusive {
        /// Until the others are done.
        wait: bool,
    },
    /// Not at all: a private copy of the index and the open file are a consistent view.
    None,
}

/// A backup open for reading.
pub struct Backup {
    data: DataFile,
    index: Index,
    length: u64,
    cache: Mutex<Cache>,
}

impl Backup {
    /// Opens the data file at `path` and its index.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Locked`], [`StoreError::InvalidFormat`] for content
    /// without index.
    pub fn open(path: &Path, lock: Lock) -> Result<Backup> {
        loop {
            let data = open_data(path, lock)?;
            let length = data.len()?;
            let index_path = swap::index_path(&data)?;
            let index = match lock {
                Lock::None => Index::snapshot(&index_path),
                _ if length == 0 && !index_path.exists() => Index::empty(&index_path),
                _ => Index::open(&index_path),
            };
            // Without a lock a rewrite may have come between data and index: once more.
            if lock != Lock::None || data.io(is_at(data.file(), path))? {
                return Ok(Backup::over(data, index?, length));
            }
        }
    }

    /// Makes an empty data file with its index, which must not be there yet.
    ///
    /// # Errors
    /// [`StoreError::Exists`].
    pub fn create(path: &Path) -> Result<()> {
        recover::create_private(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists {
                path: path.to_owned(),
            },
            _ => StoreError::io(path)(source),
        })?;
        Index::open_for_write(&layout::index(path)).map(drop)
    }

    /// Opens the backup as it was at `time` (unix seconds): what the lines said until then, from
    /// one pass over the data file. The index beside it is only asked where to stop.
    ///
    /// # Errors
    /// As [`Backup::open`], but no index is needed; [`StoreError::NoHistory`] when nothing is known
    /// of that time.
    pub fn open_as_of(path: &Path, lock: Lock, time: i64) -> Result<Backup> {
        let data = open_data(path, lock)?;
        let length = data.len()?;
        let end = history_end(path, time).map_or(length, |end| end.min(length));
        let (index, report) = rebuilt(&data, end, Some(time))?;
        let oldest = report.oldest;
        let horizon = index.horizon()?;
        if oldest.max(horizon).is_none_or(|oldest| time < oldest) {
            return Err(StoreError::NoHistory {
                path: path.to_owned(),
                time,
            });
        }
        Ok(Backup::over(data, index, length))
    }

    /// Opens a backup whose index is missing or not to be trusted: the index is made in memory by
    /// one pass over the data file, and nothing is written.
    ///
    /// # Errors
    /// As [`Backup::open`], but no index is needed. Damage is in the report.
    pub fn open_rebuilt(path: &Path, lock: Lock) -> Result<(Backup, Report)> {
        let data = open_data(path, lock)?;
        let length = data.len()?;
        let (index, report) = rebuilt(&data, length, None)?;
        Ok((Backup::over(data, index, length), report))
    }

    fn over(data: DataFile, index: Index, length: u64) -> Backup {
        Backup {
            data,
            index,
            length,
            cache: Mutex::new(Cache::new()),
        }
    }

    /// How far back [`Backup::open_as_of`] can go; None when nothing was ever written.
    pub fn oldest_time(&self) -> Result<Option<i64>> {
        let first = self.index.first_chunk()?.map(|chunk| chunk.ts_start);
        Ok(first.max(self.index.horizon()?))
    }

    /// What the closed chunks hold of a backup that is open for appending, under the same lock.
    pub fn beside(appender: &Appender) -> Result<Backup> {
        let data = appender.data().again();
        Ok(Backup {
            length: data.len()?,
            index: Index::open(&layout::index(data.path()))?,
            data,
            cache: Mutex::new(Cache::new()),
        })
    }

    /// The data file.
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// The open data file, for readers that go through all of it.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(self.data.file())
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Bytes of the data file when it was opened; what is appended later is not looked at.
    pub fn file_len(&self) -> u64 {
        self.length
    }

    /// Everything in the data file is indexed by us: nothing to recover, nothing C has added.
    pub fn is_current(&self) -> Result<bool> {
        let last = self.index.last_chunk()?.map_or(0, |chunk| chunk.id);
        Ok(match self.index.state()? {
            Some(State {
                chunk_id, data_end, ..
            }) => chunk_id == last && data_end == self.length,
            None => self.length == 0 && last == 0,
        })
    }

    /// File bytes as they are, as many as are there.
    pub fn read_raw(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let want = self.length.saturating_sub(offset).min(buf.len() as u64) as usize;
        self.data
            .io(self.data.file().read_at(&mut buf[..want], offset))
    }

    /// The inflated bytes of one chunk.
    ///
    /// # Errors
    /// [`StoreError::NoSuchItem`] for an unknown id; while reading, `InvalidData` for damage.
    pub fn chunk(&self, id: i64) -> Result<MemberReader> {
        let chunk = self.index.chunk(id)?;
        let chunk = chunk.ok_or_else(|| StoreError::NoSuchItem {
            item: format!("chunk {id}"),
        })?;
        let file = self.data.file().clone();
        MemberReader::open(file, chunk.offset, self.length)
            .map_err(|e| self.damaged(id, 0, None, e))
    }

    /// A message by its GUID, whole and checked.
    ///
    /// # Errors
    /// [`StoreError::NoSuchItem`]; [`StoreError::Damaged`] when the bytes are not there any more.
    pub fn read_message(&self, guid: &Guid) -> Result<Arc<[u8]>> {
        if let Some(octets) = self.cache().get(guid) {
            return Ok(octets);
        }
        let row = self.index.message(guid)?;
        let row = row.ok_or_else(|| StoreError::NoSuchItem {
            item: format!("message {guid}"),
        })?;
        self.read_row(&row)
    }

    /// The message of a row, whole and checked.
    ///
    /// # Errors
    /// As [`Backup::read_message`].
    pub fn read_row(&self, row: &MessageRow) -> Result<Arc<[u8]>> {
        if let Some(octets) = self.cache().get(&row.guid) {
            return Ok(octets);
        }
        let point = self.index.seek_point(row.chunk_id, row.offset)?;
        if let Some(point) = point
            && let Ok(octets) = self.read_from(row, Some((point.file_offset, point.offset)))
        {
            return Ok(octets);
        }
        // No point, or one that is wrong (a mark inside data): from the chunk's start.
        self.read_from(row, None)
    }

    /// The text of a sieve script, checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not where the index says.
    pub fn read_sieve(&self, row: &SieveRow) -> Result<Vec<u8>> {
        let fail = |e| self.damaged(row.chunk_id, row.offset, Some(row.guid), e);
        let mut reader = match self.index.seek_point(row.chunk_id, row.offset)? {
            Some(point) => MemberReader::resume(
                self.data.file().clone(),
                point.file_offset,
                self.length,
                point.offset,
            ),
            None => self.chunk(row.chunk_id)?,
        };
        skip_to(&mut reader, row.offset).map_err(fail)?;
        let mut line = OneLine(Vec::new());
        scan(&mut reader, &mut line).map_err(fail)?;
        match entry::parse(&line.0) {
            Entry::Apply(_, Apply::Sieve { content, .. }) if Guid::of(&content) == row.guid => {
                Ok(content)
            }
            _ => {
                let reason = "the script is not in its line";
                Err(fail(io::Error::new(io::ErrorKind::InvalidData, reason)))
            }
        }
    }

    fn read_from(&self, row: &MessageRow, start: Option<(u64, u64)>) -> Result<Arc<[u8]>> {
        let fail = |e| self.damaged(row.chunk_id, row.offset, Some(row.guid), e);
        let file = self.data.file().clone();
        let mut reader = match start {
            Some((file_offset, offset)) => {
                MemberReader::resume(file, file_offset, self.length, offset)
            }
            None => self.chunk(row.chunk_id)?,
        };
        skip_to(&mut reader, row.offset).map_err(fail)?;
        let mut finder = Finder {
            wanted: row.guid,
            found: None,
            current: None,
            ahead: 0,
            backup: self,
        };
        let end = scan(&mut reader, &mut finder).map_err(fail)?;
        finder.found.ok_or_else(|| {
            let reason = format!("the message is not in its line ({end:?})");
            fail(io::Error::new(io::ErrorKind::InvalidData, reason))
        })
    }

    fn damaged(&self, chunk: i64, offset: u64, guid: Option<Guid>, e: io::Error) -> StoreError {
        let path = self.path().to_owned();
        match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreError::Damaged {
                path,
                chunk,
                offset,
                guid,
                reason: e.to_string(),
            },
            _ => StoreError::Io { path, source: e },
        }
    }

    /// Gives back memory that is only kept for the next question.
    pub fn rest(&self) {
        *self.cache() = Cache::new();
        self.index.rest();
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_data(path: &Path, lock: Lock) -> Result<DataFile> {
    match lock {
        Lock::Shared { wait } => DataFile::open_shared(path, wait),
        Lock::Exclusive { wait } => DataFile::open_exclusive(path, wait),
        Lock::None => DataFile::open_unlocked(path),
    }
}

/// Where the lines said after `time` begin, if the index beside the data file knows.
fn history_end(path: &Path, time: i64) -> Option<u64> {
    let chunks = Index::open(&layout::index(path)).ok()?.chunks().ok()?;
    let later = chunks
        .iter()
        .rev()
        .take_while(|chunk| chunk.ts_start > time);
    later.last().map(|chunk| chunk.offset)
}

fn rebuilt(data: &DataFile, length: u64, until: Option<i64>) -> Result<(Index, Report)> {
    let index = Index::empty(&layout::index(data.path()))?;
    let source = Source {
        file: data.file(),
        path: data.path(),
        length,
    };
    let terms = Terms {
        until,
        sums: false,
        leave_torn_end: false,
        progress: &mut |_| {},
    };
    index.begin()?;
    let report = rebuild(&source, &index, &mut FileHash::default(), terms)?;
    index.commit()?;
    Ok((index, report))
}

/// Keeps the text of the first line.
struct OneLine(Vec<u8>);

impl Visitor for OneLine {
    fn line(&mut self, _offset: u64, text: &[u8]) -> bool {
        self.0.extend_from_slice(text);
        false
    }
}

/// Inflates and forgets up to an uncompressed offset.
fn skip_to(reader: &mut MemberReader, offset: u64) -> io::Result<()> {
    let left = offset.saturating_sub(reader.produced());
    let skipped = io::copy(&mut reader.take(left), &mut io::sink())?;
    if skipped < left {
        let reason = "the chunk ends before the offset that the index gives";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(())
}

/// Picks a message out of the line that holds it; its neighbours go to the cache.
struct Finder<'a> {
    wanted: Guid,
    found: Option<Arc<[u8]>>,
    current: Option<(Guid, u64, Vec<u8>)>,
    /// Bytes read since the wanted one.
    ahead: usize,
    backup: &'a Backup,
}

impl Visitor for Finder<'_> {
    fn file(&mut self, file: &FileRef, _offset: u64) {
        // Memory is taken as octets come, never for what a header claims.
        self.current = Some((file.guid, file.size, Vec::new()));
        self.file_data(&[]);
    }

    fn file_data(&mut self, octets: &[u8]) {
        let Some((guid, size, have)) = &mut self.current else {
            return;
        };
        have.extend_from_slice(octets);
        if (have.len() as u64) < *size {
            return;
        }
        let mut hasher = GuidHasher::default();
        hasher.update(have);
        let guid = *guid;
        let true_guid = hasher.finish() == guid;
        let octets: Arc<[u8]> = std::mem::take(have).into();
        self.current = None;
        if self.found.is_some() {
            self.ahead += octets.len();
        }
        if true_guid {
            if guid == self.wanted && self.found.is_none() {
                self.found = Some(octets.clone());
            }
            self.backup.cache().put(guid, octets);
        }
    }

    fn line(&mut self, _offset: u64, _text: &[u8]) -> bool {
        false
    }

    fn enough(&mut self) -> bool {
        self.found.is_some() && self.ahead >= READ_AHEAD
    }
}

/// Messages by GUID, bounded by their bytes.
struct Cache {
    messages: LruCache<Guid, Arc<[u8]>>,
    bytes: usize,
}

impl Cache {
    fn new() -> Cache {
        Cache {
            messages: LruCache::unbounded(),
            bytes: 0,
        }
    }

    fn get(&mut self, guid: &Guid) -> Option<Arc<[u8]>> {
        self.messages.get(guid).cloned()
    }

    fn put(&mut self, guid: Guid, octets: Arc<[u8]>) {
        if octets.len() > CACHE_BYTES {
            return;
        }
        self.bytes += octets.len();
        if let Some(old) = self.messages.put(guid, octets) {
            self.bytes -= old.len();
        }
        while self.bytes > CACHE_BYTES {
            match self.messages.pop_lru() {
                Some((_, old)) => self.bytes -= old.len(),
                None => break,
            }
        }
    }
}

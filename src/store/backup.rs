//! One backup, open for reading: the rows of its index, its bytes as they are, its chunks inflated,
//! and its messages, each checked against its GUID before a byte is given out (DESIGN 1.3).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::appender::Appender;
use super::bodies::{Bodies, skip_to};
use super::data_file::DataFile;
use super::entry::{self, Entry};
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{BodyPlace, Index, MessageRow, SieveRow, State};
use super::lock::is_at;
use super::member::MemberReader;
use super::rebuild::{Report, Source, Terms, rebuild};
use super::rewrite::swap;
use super::scan::{Visitor, scan};
use super::{layout, recover, stamp};
use crate::csync::command::Apply;
use crate::types::Guid;

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
    bodies: Arc<Bodies>,
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
                _ if length == 0 && layout::is_nothing(&index_path) => Index::empty(&index_path),
                _ => Index::open(&index_path),
            };
            if lock != Lock::None {
                return Ok(Backup::over(data, index?, length));
            }
            // A rewrite may have come between data and index: once more. A writer may have gone on:
            // the index must not know more than the length.
            if data.io(is_at(data.file(), path))? {
                let length = data.len()?;
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
        let index = Index::open(&layout::index(path)).ok();
        let end = index.and_then(|index| history_end(&index, time));
        let past = Past {
            data,
            length,
            end,
            time,
        };
        past.open()
    }

    /// The backup as it was at `time`, of the bytes that are open here, whatever has become of the file of that
    /// name since, and under the same lock.
    /// Nothing is read yet.
    pub fn past(&self, time: i64) -> Past {
        Past {
            data: self.data.again(),
            length: self.length,
            end: history_end(&self.index, time),
            time,
        }
    }

    /// Opens a backup whose index is missing or not to be trusted: the index is made in memory by
    /// one pass over the data file, and nothing is written.
    ///
    /// # Errors
    /// As [`Backup::open`], but no index is needed. Damage is in the report.
    pub fn open_rebuilt(path: &Path, lock: Lock) -> Result<(Backup, Report)> {
        Backup::open_rebuilt_telling(path, lock, &mut |_| {})
    }

    /// As [`Backup::open_rebuilt`]; `progress` is told offsets in the data file.
    ///
    /// # Errors
    /// The same.
    pub fn open_rebuilt_telling(
        path: &Path,
        lock: Lock,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Backup, Report)> {
        let data = open_data(path, lock)?;
        let length = data.len()?;
        let (index, report) = rebuilt(&data, length, None, progress)?;
        Ok((Backup::over(data, index, length), report))
    }

    fn over(data: DataFile, index: Index, length: u64) -> Backup {
        let bodies = Bodies::new(data.file().clone(), data.path(), length);
        Backup {
            data,
            index,
            length,
            bodies: Arc::new(bodies),
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
        let (length, index) = (data.len()?, Index::open(&layout::index(data.path()))?);
        Ok(Backup::over(data, index, length))
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

    /// Nobody has touched the data file since its bytes were known to have the SHA-1 that the index says.
    pub(super) fn is_attested(&self) -> Result<bool> {
        stamp::is_attested(&self.data, &self.index)
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
        // Not what is known: a message that passed by may be one that the index does not count.
        self.bodies.read(&self.place(guid)?)
    }

    /// The message of a row, whole and checked.
    ///
    /// # Errors
    /// As [`Backup::read_message`].
    pub fn read_row(&self, row: &MessageRow) -> Result<Arc<[u8]>> {
        match self.bodies.known(&row.guid) {
            Some(octets) => Ok(octets),
            None => self.bodies.read(&self.place_of(row.id, &row.guid)?),
        }
    }

    /// Where a message is: the question to the index, so that [`Backup::bodies`] needs none.
    ///
    /// # Errors
    /// [`StoreError::NoSuchItem`].
    pub fn place(&self, guid: &Guid) -> Result<BodyPlace> {
        let row = self.index.message(guid)?;
        let row = row.ok_or_else(|| StoreError::NoSuchItem {
            item: format!("message {guid}"),
        })?;
        self.place_of(row.id, guid)
    }

    /// The same for who knows the row id, which is quicker to find than the GUID.
    ///
    /// # Errors
    /// [`StoreError::NoSuchItem`], also when the message of this id is another one.
    pub fn place_of(&self, id: i64, guid: &Guid) -> Result<BodyPlace> {
        let place = self.index.place(id)?;
        let place = place.filter(|place| place.row.guid == *guid);
        place.ok_or_else(|| StoreError::NoSuchItem {
            item: format!("message {guid} in a chunk"),
        })
    }

    /// Reads messages for several threads at once.
    pub fn bodies(&self) -> Arc<Bodies> {
        self.bodies.clone()
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

    fn damaged(&self, chunk: i64, offset: u64, guid: Option<Guid>, e: io::Error) -> StoreError {
        StoreError::damaged(self.path(), chunk, offset, guid, e)
    }

    /// Gives back memory that is only kept for the next question.
    pub fn rest(&mut self) {
        self.bodies.rest();
        self.index.rest();
    }
}

/// A backup as it was, about to be opened.
pub struct Past {
    data: DataFile,
    length: u64,
    /// Where the lines said later begin, if anybody knows.
    end: Option<u64>,
    time: i64,
}

impl Past {
    /// Reads the data file up to that time.
    ///
    /// # Errors
    /// [`StoreError::NoHistory`] when nothing is known of it.
    pub fn open(self) -> Result<Backup> {
        let Past {
            data, length, time, ..
        } = self;
        let end = self.end.map_or(length, |end| end.min(length));
        let (index, report) = rebuilt(&data, end, Some(time), &mut |_| {})?;
        let oldest = report.oldest;
        let horizon = index.horizon()?;
        if oldest.max(horizon).is_none_or(|oldest| time < oldest) {
            return Err(StoreError::NoHistory {
                path: data.path().to_owned(),
                time,
            });
        }
        Ok(Backup::over(data, index, length))
    }
}

fn open_data(path: &Path, lock: Lock) -> Result<DataFile> {
    match lock {
        Lock::Shared { wait } => DataFile::open_shared(path, wait),
        Lock::Exclusive { wait } => DataFile::open_exclusive(path, wait),
        Lock::None => DataFile::open_unlocked(path),
    }
}

/// Where the lines said after `time` begin, if the index knows.
fn history_end(index: &Index, time: i64) -> Option<u64> {
    let chunks = index.chunks().ok()?;
    let later = chunks
        .iter()
        .rev()
        .take_while(|chunk| chunk.ts_start > time);
    later.last().map(|chunk| chunk.offset)
}

fn rebuilt(
    data: &DataFile,
    length: u64,
    until: Option<i64>,
    progress: &mut dyn FnMut(u64),
) -> Result<(Index, Report)> {
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
        progress,
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

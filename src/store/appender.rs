//! Writes to one backup: lines into the data file, sync, then the index (DESIGN 3). The chunk
//! begins with the first line, so a session that only asks leaves no trace; the index commits
//! when the chunk ends. After a failed write nothing in memory is trusted: the appender refuses
//! all further work, and the next open recovers from what the disk holds.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::data_file::DataFile;
use super::entry;
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{Index, Place, SeekPoint, State};
use super::member::MemberWriter;
use super::recover;
use super::scan::CHUNK_START;
use super::stamp;
use crate::csync::command::Apply;
use crate::csync::dlist::{FileRef, Literal, Value};

/// A MESSAGE line is ended when it holds this many bytes, so that each line's flush is a place to
/// start reading: a flush every 64 KB costs 4 % of size, one per message 19 % (spec: crates 2).
const LINE_BYTES: u64 = 64 * 1024;
/// Compressed bytes are handed to the file in pieces of about this size.
const PENDING: usize = 256 * 1024;
/// A chunk is ended at this many uncompressed bytes: it bounds what a crash leaves to recover and
/// what one bad byte can touch.
const CHUNK_BYTES: u64 = 64 << 20;

/// A message body on its way into the backup.
pub trait Body {
    /// Partition, GUID and size.
    fn file(&self) -> FileRef;
    /// Writes all octets, exactly `size` of them.
    fn copy_to(&self, to: &mut dyn io::Write) -> io::Result<()>;
}

/// What an appender has done since somebody asked.
#[derive(Debug, Default)]
pub struct Done {
    /// Bodies written.
    pub messages: u64,
    /// Their octets.
    pub message_octets: u64,
    /// Octets that the data file has grown by.
    pub stored: u64,
    /// How long each sync of [`Appender::commit`] took.
    pub commits: Vec<Duration>,
    /// Opening had to put something right.
    pub recovered: bool,
}

/// A backup open for writing, with the exclusive lock.
pub struct Appender {
    data: DataFile,
    index: Index,
    /// SHA-1 over all bytes of the file; its length is where the next byte goes.
    hash: FileHash,
    chunk: Option<Chunk>,
    /// All bytes of the file are known to be those that the index says.
    attested: bool,
    /// Lines and chunks never go back in time (spec: ondisk 11.4).
    time: i64,
    done: Done,
    failed: bool,
}

/// The chunk being written.
struct Chunk {
    id: i64,
    member: MemberWriter,
    /// Uncompressed offset of the last seek point.
    point: u64,
    dirty: bool,
}

impl Appender {
    /// Opens an existing backup, recovering what a crash left and taking in what C has appended
    /// since; see [`recover`].
    ///
    /// # Errors
    /// [`StoreError::Locked`] when someone else has it; [`StoreError::InvalidFormat`] when the
    /// index is missing beside a data file with content.
    pub fn open(path: &Path, wait: bool) -> Result<Appender> {
        let opened = recover::open(path, wait)?;
        let time = opened
            .index
            .last_chunk()?
            .and_then(|chunk| chunk.ts_end)
            .unwrap_or(0);
        let recover::Opened {
            data,
            index,
            hash,
            attested,
            recovered,
        } = opened;
        let done = Done {
            recovered,
            ..Done::default()
        };
        Ok(Appender {
            data,
            index,
            hash,
            chunk: None,
            attested,
            time,
            done,
            failed: false,
        })
    }

    /// The index as it stands with everything appended so far.
    pub fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn data(&self) -> &DataFile {
        &self.data
    }

    /// The data file.
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// What was done since the last time this was asked.
    pub fn take_done(&mut self) -> Done {
        std::mem::take(&mut self.done)
    }

    /// Appends one command, at `now` (unix seconds). MESSAGE goes by [`Appender::append_bodies`].
    pub fn append(&mut self, apply: &Apply<'_>, now: i64) -> Result<()> {
        if matches!(apply, Apply::Message(_) | Apply::Unknown(_)) {
            let reason = format!("{} can't be appended as a line", apply.name());
            return Err(StoreError::BadCommand { reason });
        }
        let mut text = Vec::new();
        let printed = entry::print(apply, &mut text);
        printed.map_err(|e| StoreError::BadCommand {
            reason: e.to_string(),
        })?;
        self.guarded(|this| {
            let place = this.start_line(now)?;
            this.write(&text)?;
            this.end_line(apply, place)
        })
    }

    /// Appends bodies as MESSAGE lines.
    pub fn append_bodies(&mut self, bodies: &[&dyn Body], now: i64) -> Result<()> {
        let mut rest = bodies;
        while !rest.is_empty() {
            rest = self.guarded(|this| this.message_line(rest, now))?;
        }
        Ok(())
    }

    /// Everything appended so far is on stable storage when this returns; now it may be
    /// acknowledged.
    pub fn commit(&mut self) -> Result<()> {
        self.guarded(|this| {
            this.drain()?;
            if let Some(chunk) = this.chunk.as_mut().filter(|chunk| chunk.dirty) {
                let begun = Instant::now();
                this.data.sync()?;
                this.done.commits.push(begun.elapsed());
                chunk.dirty = false;
            }
            match &this.chunk {
                Some(chunk) if chunk.member.length() >= CHUNK_BYTES => this.end_chunk(),
                _ => Ok(()),
            }
        })
    }

    /// Ends the chunk and commits the index. The lock goes with the appender.
    pub fn finish(mut self) -> Result<Done> {
        self.guarded(|this| this.end_chunk())?;
        Ok(self.take_done())
    }

    /// Notes in the index alone, outside any line: what is only a cache. Committed at once, or
    /// with the chunk being written.
    pub fn note(&mut self, note: impl FnOnce(&Index) -> Result<()>) -> Result<()> {
        self.guarded(|this| note(&this.index))
    }

    /// Runs one step; any failure makes the appender useless.
    fn guarded<T>(&mut self, step: impl FnOnce(&mut Appender) -> Result<T>) -> Result<T> {
        if self.failed {
            return Err(StoreError::Poisoned {
                path: self.data.path().to_owned(),
            });
        }
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    /// Writes bodies up to the size of a line; returns those left over.
    fn message_line<'b>(
        &mut self,
        bodies: &'b [&'b dyn Body],
        now: i64,
    ) -> Result<&'b [&'b dyn Body]> {
        let place = self.start_line(now)?;
        self.write(b"MESSAGE (")?;
        let mut items = Vec::new();
        for body in bodies {
            if !items.is_empty() {
                if self.length() - place.offset >= LINE_BYTES {
                    break;
                }
                self.write(b" ")?;
            }
            let item = Value::File(body.file());
            let mut header = Vec::new();
            item.print(&mut header, Literal::Sync);
            self.write(&header)?;
            self.write_body(*body)?;
            self.done.messages += 1;
            self.done.message_octets += body.file().size;
            items.push(item);
        }
        self.write(b")")?;
        let left = &bodies[items.len()..];
        self.end_line(&Apply::Message(items), place)?;
        Ok(left)
    }

    fn write_body(&mut self, body: &dyn Body) -> Result<()> {
        let size = body.file().size;
        let mut sink = BodySink {
            appender: self,
            written: 0,
            error: None,
        };
        let copied = body.copy_to(&mut sink);
        let (written, error) = (sink.written, sink.error);
        if let Some(error) = error {
            return Err(error);
        }
        self.data.io(copied)?;
        if written != size {
            let reason = format!("a staged body has {written} octets instead of {size}");
            return self.data.io(Err(io::Error::other(reason)));
        }
        Ok(())
    }

    fn start_line(&mut self, now: i64) -> Result<Place> {
        self.time = self.time.max(now);
        if self.chunk.is_none() {
            self.start_chunk()?;
        }
        let file_end = self.hash.length();
        let path = self.data.path();
        let chunk = self.chunk.as_mut().ok_or(StoreError::Poisoned {
            path: path.to_owned(),
        })?;
        let offset = chunk.member.length();
        if offset - chunk.point >= LINE_BYTES / 2 {
            let file_offset = file_end + chunk.member.pending() as u64;
            self.index.add_seek_point(
                chunk.id,
                SeekPoint {
                    offset,
                    file_offset,
                },
            )?;
            chunk.point = offset;
        }
        let place = Place {
            chunk_id: chunk.id,
            offset,
            time: self.time,
        };
        self.write(entry::prefix(self.time).as_bytes())?;
        Ok(place)
    }

    /// Ends a line on a flush and tells the index what it means.
    fn end_line(&mut self, apply: &Apply<'_>, place: Place) -> Result<()> {
        self.write(b"\r\n")?;
        if let Some(chunk) = &mut self.chunk {
            let flushed = chunk.member.flush();
            chunk.dirty = true;
            self.data.io(flushed)?;
        }
        self.index.apply(apply, place)
    }

    fn start_chunk(&mut self) -> Result<()> {
        self.index.begin()?;
        let id = self
            .index
            .start_chunk(self.time, self.hash.length(), &self.hash.hex())?;
        self.chunk = Some(Chunk {
            id,
            member: MemberWriter::new(),
            point: 0,
            dirty: true,
        });
        self.write(CHUNK_START.as_bytes())
    }

    fn end_chunk(&mut self) -> Result<()> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(());
        };
        let sums = self.data.io(chunk.member.finish())?;
        let id = chunk.id;
        self.drain()?;
        self.data.sync()?;
        self.index
            .end_chunk(id, self.time, sums.length, &sums.sha1)?;
        let data_end = self.hash.length();
        self.index.set_state(&State {
            chunk_id: id,
            data_end,
            sha1: self.hash.save(),
        })?;
        if self.attested {
            stamp::attest(&self.data, &self.index)?;
        }
        self.index.commit()?;
        self.chunk = None;
        Ok(())
    }

    fn length(&self) -> u64 {
        self.chunk.as_ref().map_or(0, |chunk| chunk.member.length())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(());
        };
        let written = chunk.member.write(bytes);
        let full = chunk.member.pending() >= PENDING;
        self.data.io(written)?;
        if full { self.drain() } else { Ok(()) }
    }

    /// Hands the compressed bytes to the file.
    fn drain(&mut self) -> Result<()> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(());
        };
        let bytes = chunk.member.take();
        self.data.write_at(&bytes, self.hash.length())?;
        self.hash.update(&bytes);
        self.done.stored += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Appender {
    /// Dropped without `finish`: the data stays for recovery, the index forgets.
    fn drop(&mut self) {
        self.index.rollback();
    }
}

/// Lets a body write itself into the member.
struct BodySink<'a> {
    appender: &'a mut Appender,
    written: u64,
    error: Option<StoreError>,
}

impl io::Write for BodySink<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.appender.write(octets).map_err(|e| {
            let told = io::Error::other(e.detail());
            self.error = Some(e);
            told
        })?;
        self.written += octets.len() as u64;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Applies the lines of a chunk to the index: the same meaning that appending gives them, from the
//! bytes on disk.

use std::io;
use std::path::Path;

use tracing::warn;

use super::data_file::DataFile;
use super::entry::{self, Entry};
use super::error::{Result, StoreError};
use super::index::{Index, Place, SeekPoint};
use super::member::MemberReader;
use super::scan::{Flushed, ScanEnd, Visitor, scan};

/// Seek points closer than this are not worth a row.
const POINT_BYTES: u64 = 32 * 1024;

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
                warn!(path = %self.path.display(), chunk = self.chunk_id, offset, reason, "odd line");
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

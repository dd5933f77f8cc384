//! Where bodies are, and where inflating can start, in a chunk whose index does not say it: the result
//! of one scan. C writes no flush inside a line, and its lines can hold a whole mailbox, so there are also
//! starts inside the deflate stream, each with the 32 KB that the stream may refer back to.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::cache::{Cache, lock};
use super::inflate::WINDOW;
use super::member::MemberReader;
use super::scan::{Border, Flushed, ScanEnd, Visitor, scan};
use crate::csync::dlist::FileRef;
use crate::types::Guid;

/// Seek points closer than this are not worth remembering.
const POINT_BYTES: u64 = 32 << 10;
/// Starts with a window are at least so far apart: inflating as much takes two milliseconds.
const SPAN: u64 = 512 << 10;
/// No more of them in one chunk: of a larger one every other is dropped, and so on.
const MOST_WINDOWS: usize = 2048;
/// How windows are deflated: a tenth smaller than the quickest way, which is as much as they get.
const LEVEL: u32 = 3;

/// What one scan of a chunk found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Sorted: body, where it starts in the inflated chunk, its size.
    pub bodies: Vec<(Guid, u64, u64)>,
    /// By offset.
    pub starts: Vec<Start>,
    /// Uncompressed bytes of the chunk.
    pub length: u64,
    /// Where the next member starts in the data file; none if this one is damaged or cut off.
    pub end: Option<u64>,
}

/// A place where inflating can start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Uncompressed offset in the chunk.
    pub offset: u64,
    /// Offset in the data file.
    pub file_offset: u64,
    /// None behind a full flush.
    pub inside: Option<Inside>,
}

/// What it takes to start inside a deflate stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inside {
    /// So many bits of the byte before `file_offset` belong to what follows.
    pub bits: u8,
    /// The uncompressed bytes before, deflated.
    pub window: Box<[u8]>,
}

impl Table {
    /// Scans a chunk. The bodies on the way are kept as long as there is room: who takes all of them
    /// begins with the first ones.
    pub fn scan(
        file: Arc<File>,
        offset: u64,
        limit: u64,
        cache: &Mutex<Cache>,
    ) -> io::Result<Table> {
        let mut reader = MemberReader::open_by_blocks(file, offset, limit)?;
        let mut surveyor = Surveyor {
            table: Table::default(),
            span: SPAN,
            recent: Vec::new(),
            current: None,
            room: lock(cache).most(),
            cache,
        };
        // Damage ends it; what lies before is worth knowing.
        let end = scan(&mut reader, &mut surveyor)?;
        let mut table = surveyor.table;
        table.bodies.sort_unstable();
        table.bodies.dedup_by_key(|body| body.0);
        table.length = reader.produced();
        table.end = match end {
            ScanEnd::Complete(end) => Some(end),
            _ => None,
        };
        Ok(table)
    }

    /// Where a body is, and its size.
    pub fn find(&self, guid: &Guid) -> Option<(u64, u64)> {
        let found = self.bodies.binary_search_by_key(guid, |body| body.0);
        found.ok().map(|at| (self.bodies[at].1, self.bodies[at].2))
    }

    /// The last start that is not behind `offset`.
    pub fn start(&self, offset: u64) -> Option<&Start> {
        let behind = self.starts.partition_point(|start| start.offset <= offset);
        behind.checked_sub(1).map(|at| &self.starts[at])
    }

    /// Where in the data file the first start is that is not before `offset`.
    pub fn file_offset_of(&self, offset: u64) -> Option<u64> {
        let before = self.starts.partition_point(|start| start.offset < offset);
        self.starts.get(before).map(|start| start.file_offset)
    }

    /// How many starts take a window.
    pub fn windows(&self) -> usize {
        let inside = self.starts.iter().filter(|start| start.inside.is_some());
        inside.count()
    }
}

impl Inside {
    fn new(bits: u8, window: &[u8]) -> io::Result<Inside> {
        let mut deflate = Compress::new(Compression::new(LEVEL), false);
        let mut out = Vec::with_capacity(WINDOW + 1024);
        let status = deflate
            .compress_vec(window, &mut out, FlushCompress::Finish)
            .map_err(io::Error::other)?;
        match status {
            Status::StreamEnd => Ok(Inside {
                bits,
                window: out.into(),
            }),
            _ => Err(io::Error::other("a window does not get smaller")),
        }
    }

    /// The uncompressed bytes before.
    pub fn window(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(WINDOW);
        let status = Decompress::new(false)
            .decompress_vec(&self.window, &mut out, FlushDecompress::Finish)
            .map_err(io::Error::other)?;
        match status {
            Status::StreamEnd => Ok(out),
            _ => Err(io::Error::other("a window is too large")),
        }
    }
}

/// Notes where bodies, flushes and block borders are, and keeps the first bodies.
struct Surveyor<'a> {
    table: Table,
    span: u64,
    /// What was inflated last, at least a window if there is so much.
    recent: Vec<u8>,
    current: Option<(Guid, u64, Vec<u8>)>,
    /// Bytes that may still be kept.
    room: usize,
    cache: &'a Mutex<Cache>,
}

impl Surveyor<'_> {
    fn last(&self) -> u64 {
        self.table.starts.last().map_or(0, |start| start.offset)
    }

    /// Leaves out every other start with a window; those from now on are twice as far apart.
    fn thin_out(&mut self) {
        self.span *= 2;
        let mut keep = false;
        self.table.starts.retain(|start| {
            keep ^= start.inside.is_some();
            start.inside.is_none() || keep
        });
    }
}

impl Visitor for Surveyor<'_> {
    fn inflated(&mut self, bytes: &[u8]) {
        self.recent.extend_from_slice(bytes);
        if self.recent.len() > 8 * WINDOW {
            let old = self.recent.len() - WINDOW;
            self.recent.drain(..old);
        }
    }

    fn file(&mut self, file: &FileRef, offset: u64) {
        self.table.bodies.push((file.guid, offset, file.size));
        let fits = usize::try_from(file.size).is_ok_and(|size| size <= self.room);
        self.current = fits.then(|| (file.guid, file.size, Vec::new()));
        self.room = if fits { self.room } else { 0 };
    }

    fn file_data(&mut self, octets: &[u8]) {
        let Some((guid, size, have)) = &mut self.current else {
            return;
        };
        have.extend_from_slice(octets);
        if have.len() as u64 == *size && Guid::of(have) == *guid {
            self.room -= have.len();
            lock(self.cache).put(*guid, std::mem::take(have).into());
            self.current = None;
        }
    }

    fn line(&mut self, _offset: u64, _text: &[u8]) -> bool {
        true
    }

    fn flushed(&mut self, at: Flushed) {
        if at.offset - self.last() >= POINT_BYTES {
            self.table.starts.push(Start {
                offset: at.offset,
                file_offset: at.file_offset,
                inside: None,
            });
        }
    }

    fn border(&mut self, at: Border) {
        if at.offset - self.last() < self.span {
            return;
        }
        let window = &self.recent[self.recent.len().saturating_sub(WINDOW)..];
        // Without it the way is only longer.
        if let Ok(inside) = Inside::new(at.bits, window) {
            self.table.starts.push(Start {
                offset: at.offset,
                file_offset: at.file_offset,
                inside: Some(inside),
            });
        }
        if self.table.windows() > MOST_WINDOWS {
            self.thin_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_windows_every_other_one_stays() {
        let cache = Mutex::new(Cache::new(0));
        let mut surveyor = Surveyor {
            table: Table::default(),
            span: 10,
            recent: vec![7; 100],
            current: None,
            room: 0,
            cache: &cache,
        };
        for n in 1..=5000u64 {
            surveyor.border(Border {
                offset: n * 10,
                file_offset: n,
                bits: 3,
            });
            assert!(surveyor.table.windows() <= MOST_WINDOWS);
        }
        let starts = &surveyor.table.starts;
        assert!(starts.len() > MOST_WINDOWS / 2);
        let far = starts.windows(2).map(|two| two[1].offset - two[0].offset);
        assert_eq!(far.max(), Some(surveyor.span), "evenly");
        let inside = starts[5].inside.as_ref().unwrap();
        assert_eq!((inside.bits, inside.window().unwrap()), (3, vec![7; 100]));
    }
}

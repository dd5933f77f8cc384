//! Applies the lines of a chunk to the index: the same meaning that appending gives them, from the
//! bytes on disk. Bodies are checked against their GUIDs on the way; one that is not what its GUID
//! says does not count as come.

use std::io;
use std::path::Path;

use sha1::{Digest, Sha1};
use tracing::warn;

use super::data_file::DataFile;
use super::entry::{self, Entry};
use super::error::{Result, StoreError};
use super::index::{Index, Place, SeekPoint};
use super::member::{MemberReader, hex};
use super::scan::{Flushed, ScanEnd, Visitor, scan};
use crate::csync::command::Apply;
use crate::csync::dlist::{FileRef, Value};
use crate::types::{Guid, GuidHasher};

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
    let mut replayer = Replayer::new(index, chunk_id, None);
    let mut length = 0;
    let end = match MemberReader::open(data.file().clone(), start, limit) {
        Ok(mut reader) => {
            let end = data.io(scan(&mut reader, &mut replayer))?;
            length = reader.produced();
            end
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidData => ScanEnd::Damaged {
            offset: 0,
            reason: e.to_string(),
        },
        Err(e) => return data.io(Err(e)),
    };
    replayer.check()?;
    replayer.warn(data.path());
    let (first_time, last_time) = replayer.times.unwrap_or((0, 0));
    Ok(Pass {
        end,
        lines: replayer.lines,
        first_time,
        last_time,
        length,
    })
}

/// Something in a chunk that the index does not get to know.
pub(super) struct Odd {
    /// Start of the line in the inflated chunk.
    pub(super) line: u64,
    pub(super) guid: Option<Guid>,
    pub(super) reason: String,
    /// Bytes were lost; otherwise it is a line that nobody knows.
    pub(super) damage: bool,
}

/// Takes the lines of one chunk into the index.
pub(super) struct Replayer<'a> {
    index: &'a Index,
    pub(super) chunk_id: i64,
    /// Lines said later than this do not count.
    until: Option<i64>,
    /// Lines that counted.
    pub(super) lines: u64,
    /// Bodies that are what their GUIDs say.
    pub(super) messages: u64,
    /// Of the lines that counted, the first and the highest.
    pub(super) times: Option<(i64, i64)>,
    /// SHA-1 of the inflated bytes.
    pub(super) sha1: Option<Sha1>,
    pub(super) odd: Vec<Odd>,
    /// Uncompressed offset of the last seek point.
    point: u64,
    bodies: Bodies,
    error: Option<StoreError>,
}

impl<'a> Replayer<'a> {
    pub(super) fn new(index: &'a Index, chunk_id: i64, until: Option<i64>) -> Replayer<'a> {
        Replayer {
            index,
            chunk_id,
            until,
            lines: 0,
            messages: 0,
            times: None,
            sha1: None,
            odd: Vec::new(),
            point: 0,
            bodies: Bodies::default(),
            error: None,
        }
    }

    /// Did the index take everything?
    pub(super) fn check(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Tells the log what the index did not get to know.
    pub(super) fn warn(&self, path: &Path) {
        for Odd {
            line, guid, reason, ..
        } in &self.odd
        {
            let guid = guid.map(|guid| guid.to_string());
            warn!(path = %path.display(), chunk = self.chunk_id, offset = line, guid, reason,
                "passed over");
        }
    }

    fn add_point(&mut self, point: SeekPoint) {
        let added = self.index.add_seek_point(self.chunk_id, point);
        self.error = self.error.take().or(added.err());
    }

    fn apply(&mut self, apply: &Apply<'_>, offset: u64, time: i64) {
        if self.until.is_some_and(|until| time > until) {
            return;
        }
        self.count(time);
        let place = Place {
            chunk_id: self.chunk_id,
            offset,
            time,
        };
        if let Apply::Message(items) = apply {
            self.messages += items.len() as u64;
        }
        self.error = self.index.apply(apply, place).err();
    }

    fn count(&mut self, time: i64) {
        self.lines += 1;
        let first = self.times.map_or(time, |(first, _)| first);
        let last = self.times.map_or(time, |(_, last)| last.max(time));
        self.times = Some((first, last));
    }

    /// The items whose octets are what they should be; the others are noted.
    fn true_items(&mut self, line: u64, items: Vec<Value>) -> Vec<Value> {
        let mut found = self.bodies.take().into_iter();
        let is_true = |item: &Value| {
            let Value::File(file) = item else {
                return false;
            };
            let Some(disk) = found.next() else {
                return false;
            };
            if disk.guid != file.guid {
                self.odd.push(Odd {
                    line,
                    guid: Some(file.guid),
                    reason: format!("the octets have the SHA-1 {}", disk.guid),
                    damage: true,
                });
            }
            disk.guid == file.guid
        };
        items.into_iter().filter(is_true).collect()
    }
}

impl Visitor for Replayer<'_> {
    fn inflated(&mut self, bytes: &[u8]) {
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
    }

    fn file(&mut self, file: &FileRef, _offset: u64) {
        self.bodies.start(file);
    }

    fn file_data(&mut self, octets: &[u8]) {
        self.bodies.data(octets);
    }

    fn line(&mut self, offset: u64, text: &[u8]) -> bool {
        match entry::parse(text) {
            Entry::Apply(time, Apply::Message(items)) => {
                let items = self.true_items(offset, items);
                self.apply(&Apply::Message(items), offset, time);
            }
            Entry::Apply(time, apply) => self.apply(&apply, offset, time),
            Entry::Horizon(time, horizon) => {
                self.count(time);
                self.error = self.index.set_horizon(horizon).err();
            }
            Entry::Other(reason) => {
                let damage = entry::message_time(text).is_some();
                self.odd.push(Odd {
                    line: offset,
                    guid: None,
                    reason,
                    damage,
                });
                self.cut(offset, text);
            }
        }
        self.bodies = Bodies::default();
        self.error.is_none()
    }

    fn cut(&mut self, offset: u64, text: &[u8]) {
        // Bodies that stand whole before the place of the damage are as good as any.
        let bodies = self.bodies.take();
        if let Some(time) = entry::message_time(text) {
            let whole = bodies.into_iter().filter(Body::is_true);
            let items: Vec<Value> = whole.map(|body| Value::File(body.file)).collect();
            if !items.is_empty() {
                self.apply(&Apply::Message(items), offset, time);
            }
        }
    }

    fn resumed(&mut self, at: SeekPoint) {
        self.point = at.offset;
        self.add_point(at);
    }

    fn broken(&mut self, offset: u64, reason: &str) {
        self.odd.push(Odd {
            line: offset,
            guid: None,
            reason: reason.to_owned(),
            damage: true,
        });
    }

    fn flushed(&mut self, at: Flushed) {
        if at.offset - self.point >= POINT_BYTES {
            self.point = at.offset;
            self.add_point(SeekPoint {
                offset: at.offset,
                file_offset: at.file_offset,
            });
        }
    }
}

/// The bodies of the current line, hashed as they pass by.
#[derive(Default)]
struct Bodies {
    whole: Vec<Body>,
    current: Option<(FileRef, u64, GuidHasher)>,
}

struct Body {
    file: FileRef,
    /// SHA-1 of the octets that stand there.
    guid: Guid,
}

impl Body {
    fn is_true(&self) -> bool {
        self.guid == self.file.guid
    }
}

impl Bodies {
    fn start(&mut self, file: &FileRef) {
        self.current = Some((file.clone(), file.size, GuidHasher::default()));
        self.data(&[]);
    }

    fn data(&mut self, octets: &[u8]) {
        if let Some((_, left, hasher)) = &mut self.current {
            hasher.update(octets);
            *left = left.saturating_sub(octets.len() as u64);
            if *left == 0
                && let Some((file, _, hasher)) = self.current.take()
            {
                let guid = hasher.finish();
                self.whole.push(Body { file, guid });
            }
        }
    }

    fn take(&mut self) -> Vec<Body> {
        self.current = None;
        std::mem::take(&mut self.whole)
    }
}

/// Lower-case hex of a SHA-1.
pub(super) fn sha1_hex(sha1: Sha1) -> String {
    hex(&sha1.finalize())
}

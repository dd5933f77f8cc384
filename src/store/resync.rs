//! Where reading can go on behind damage: the next gzip member, or the next full flush inside the
//! damaged one, whichever comes first. Both are only believed when what stands there inflates to
//! the beginning of a chunk or of a line, since a mail may hold any bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::entry::split_time;
use super::member::{FLUSH_MARK, MemberReader};
use super::scan::CHUNK_START;

const MEMBER_START: [u8; 4] = [0x1f, 0x8b, 8, 0];
/// Bytes of a member before its deflate stream, as we and C write it.
const HEADER: u64 = 10;
const WINDOW: usize = 256 * 1024;

/// A place to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A member starts at this file offset.
    Member(u64),
    /// A line starts here, behind a full flush.
    Line(u64),
}

/// Looks through a file, always forward.
pub(super) struct Resync<'a> {
    pub(super) file: &'a Arc<File>,
    /// The file counts as ending here.
    pub(super) limit: u64,
    window: Vec<u8>,
    /// File offset of the window.
    base: u64,
}

impl<'a> Resync<'a> {
    pub(super) fn new(file: &'a Arc<File>, limit: u64) -> Resync<'a> {
        Resync {
            file,
            limit,
            window: Vec::new(),
            base: 0,
        }
    }

    /// The first place at or behind `from`.
    pub(super) fn next(&mut self, from: u64) -> io::Result<Option<Place>> {
        self.find(from, true)
    }

    /// The first member at or behind `from`.
    pub(super) fn next_member(&mut self, from: u64) -> io::Result<Option<u64>> {
        let place = self.find(from, false)?;
        Ok(place.map(|(Place::Member(at) | Place::Line(at))| at))
    }

    /// The lines of the member at `start` whose header is damaged, if its deflate stream is not.
    pub(super) fn headless(&self, start: u64) -> Option<Place> {
        let at = start + HEADER;
        let begins = |text: &[u8]| text.starts_with(b"# cyrus backup");
        (at < self.limit && self.inflates_to(at, begins)).then_some(Place::Line(at))
    }

    fn find(&mut self, mut from: u64, lines: bool) -> io::Result<Option<Place>> {
        while from + MEMBER_START.len() as u64 <= self.limit {
            self.load(from)?;
            let ahead = &self.window[(from - self.base) as usize..];
            if ahead.len() < MEMBER_START.len() {
                return Ok(None);
            }
            let Some(found) = first_hint(ahead, lines) else {
                from += (ahead.len() - (MEMBER_START.len() - 1)) as u64;
                continue;
            };
            let at = from + found as u64;
            let place = match ahead[found] {
                0 => Place::Line(at + FLUSH_MARK.len() as u64),
                _ => Place::Member(at),
            };
            if self.is_true(place) {
                return Ok(Some(place));
            }
            from = at + 1;
        }
        Ok(None)
    }

    /// Makes sure that the window holds the bytes at `from` and some behind.
    fn load(&mut self, from: u64) -> io::Result<()> {
        let end = self.base + self.window.len() as u64;
        let enough = (from + MEMBER_START.len() as u64).min(self.limit);
        if from >= self.base && enough <= end {
            return Ok(());
        }
        let want = (self.limit - from).min(WINDOW as u64) as usize;
        self.window.resize(want, 0);
        let mut have = 0;
        while have < want {
            match self
                .file
                .read_at(&mut self.window[have..], from + have as u64)
            {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.window.truncate(have);
        self.base = from;
        Ok(())
    }

    fn is_true(&self, place: Place) -> bool {
        match place {
            Place::Line(at) => self.inflates_to(at, starts_line),
            Place::Member(at) => {
                let reader = MemberReader::open(Arc::clone(self.file), at, self.limit);
                reader.is_ok_and(|mut reader| {
                    beginning(&mut reader).starts_with(CHUNK_START.as_bytes())
                })
            }
        }
    }

    fn inflates_to(&self, at: u64, wanted: impl Fn(&[u8]) -> bool) -> bool {
        let mut reader = MemberReader::resume(Arc::clone(self.file), at, self.limit, 0);
        wanted(&beginning(&mut reader))
    }
}

/// As many of the first bytes as can be had.
fn beginning(reader: &mut MemberReader) -> Vec<u8> {
    let mut first = vec![0; 64];
    let mut have = 0;
    while have < first.len() {
        match io::Read::read(reader, &mut first[have..]) {
            Ok(0) | Err(_) => break,
            Ok(n) => have += n,
        }
    }
    first.truncate(have);
    first
}

fn starts_line(text: &[u8]) -> bool {
    split_time(text).is_some_and(|(_, rest)| rest.starts_with(b"APPLY "))
}

fn first_hint(bytes: &[u8], lines: bool) -> Option<usize> {
    let member = memchr::memmem::find(bytes, &MEMBER_START);
    if !lines {
        return member;
    }
    let until = member.map_or(bytes.len(), |at| at + FLUSH_MARK.len() - 1);
    memchr::memmem::find(&bytes[..until.min(bytes.len())], &FLUSH_MARK).or(member)
}

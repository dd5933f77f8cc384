//! Messages in the order of the data file: each chunk is inflated once for all that is wanted of
//! it, from the first wanted line to the last. For readers of many messages; one message alone is
//! `Backup::read_message`.

use std::collections::HashMap;
use std::io;

use super::backup::Backup;
use super::error::{Result, StoreError};
use super::index::MessageRow;
use super::member::MemberReader;
use super::scan::{ScanEnd, Visitor, scan};
use crate::csync::dlist::FileRef;
use crate::types::{Guid, GuidHasher};

/// A header longer than this is cut.
const HEADER_LIMIT: usize = 1 << 20;

/// How much of a message is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Up to the empty line that ends the header, that line included.
    Header,
    /// All octets.
    Whole,
}

impl Part {
    fn of(self, octets: &[u8]) -> &[u8] {
        match self {
            Part::Whole => octets,
            Part::Header => &octets[..header_end(octets, 0).unwrap_or(octets.len())],
        }
    }
}

/// Takes one message or why it cannot be had; `false` ends the walk.
pub type Give<'a> = dyn FnMut(&MessageRow, Result<&[u8]>) -> bool + 'a;

impl Backup {
    /// Gives these messages in log order, each checked against its GUID as a whole, whatever part
    /// of it is wanted. Damage is given for the messages it touches and the walk goes on.
    ///
    /// # Errors
    /// What is not about one message.
    pub fn each_message(
        &self,
        mut rows: Vec<MessageRow>,
        part: Part,
        give: &mut Give<'_>,
    ) -> Result<()> {
        rows.sort_by_key(|row| (row.chunk_id, row.offset, row.id));
        rows.dedup_by_key(|row| row.id);
        for of_chunk in rows.chunk_by(|a, b| a.chunk_id == b.chunk_id) {
            if !self.walk_chunk(of_chunk, part, give)? {
                break;
            }
        }
        Ok(())
    }

    /// False: the taker has enough.
    fn walk_chunk(&self, rows: &[MessageRow], part: Part, give: &mut Give<'_>) -> Result<bool> {
        let Some(first) = rows.first() else {
            return Ok(true);
        };
        let chunk = first.chunk_id;
        let point = self.index().seek_point(chunk, first.offset)?;
        let mut picker = Picker {
            wanted: rows.iter().map(|row| (row.guid, row)).collect(),
            part,
            current: None,
            give,
            stopped: false,
        };
        let end = self.pick(chunk, point.map(|p| (p.file_offset, p.offset)), &mut picker);
        let (left, stopped) = (picker.wanted, picker.stopped);
        let why = match end {
            Ok(ScanEnd::Damaged { reason, .. }) => reason,
            Ok(ScanEnd::Truncated) => "the file ends inside the chunk".to_owned(),
            Ok(_) => "the message is not in its chunk".to_owned(),
            Err(e) => e.to_string(),
        };
        let mut left: Vec<_> = left.into_values().collect();
        left.sort_by_key(|row| (row.offset, row.id));
        for row in left {
            if stopped {
                break;
            }
            // Behind damage a seek point may still help; without one the same bytes would be read
            // to the same end again.
            let again = self.index().seek_point(chunk, row.offset)?.is_some();
            let octets = match again {
                true => self.read_row(row),
                false => Err(self.unreadable(row, &why)),
            };
            let keep_on = match octets {
                Ok(octets) => give(row, Ok(part.of(&octets))),
                Err(error) => give(row, Err(error)),
            };
            if !keep_on {
                return Ok(false);
            }
        }
        Ok(!stopped)
    }

    fn pick(
        &self,
        chunk: i64,
        point: Option<(u64, u64)>,
        picker: &mut Picker<'_, '_, '_>,
    ) -> io::Result<ScanEnd> {
        let mut reader = match point {
            Some((at, offset)) => MemberReader::resume(self.file(), at, self.file_len(), offset),
            None => match self.chunk(chunk) {
                Ok(reader) => reader,
                Err(e) => return Err(io::Error::other(e.detail())),
            },
        };
        scan(&mut reader, picker)
    }

    fn unreadable(&self, row: &MessageRow, reason: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path().to_owned(),
            chunk: row.chunk_id,
            offset: row.offset,
            guid: Some(row.guid),
            reason: reason.to_owned(),
        }
    }
}

/// Where the header ends, empty line included, looking from `from` on.
fn header_end(octets: &[u8], from: usize) -> Option<usize> {
    if from < 2 {
        for empty in [&b"\r\n"[..], b"\n"] {
            if octets.starts_with(empty) {
                return Some(empty.len());
            }
        }
    }
    let start = from.saturating_sub(3);
    memchr::memchr_iter(b'\n', &octets[start..])
        .map(|at| start + at)
        .find_map(|at| match &octets[at + 1..] {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        })
}

/// Picks the wanted messages out of the lines that pass.
struct Picker<'r, 'p, 'g> {
    wanted: HashMap<Guid, &'r MessageRow>,
    part: Part,
    current: Option<Current>,
    give: &'p mut Give<'g>,
    stopped: bool,
}

/// The message that is passing by.
struct Current {
    guid: Guid,
    left: u64,
    hasher: GuidHasher,
    kept: Vec<u8>,
    /// Nothing more is to be kept.
    full: bool,
}

impl Visitor for Picker<'_, '_, '_> {
    fn file(&mut self, file: &FileRef, _offset: u64) {
        // Several messages may lie in one piece of inflated bytes.
        let wanted = !self.stopped && self.wanted.contains_key(&file.guid);
        self.current = wanted.then(|| Current {
            guid: file.guid,
            left: file.size,
            hasher: GuidHasher::default(),
            kept: Vec::new(),
            full: false,
        });
        self.file_data(&[]);
    }

    fn file_data(&mut self, octets: &[u8]) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.take(octets, self.part);
        if current.left > 0 {
            return;
        }
        let Some(done) = self.current.take() else {
            return;
        };
        // Wrong octets stay wanted: another copy may follow, else the row is told as damaged.
        if done.hasher.finish() == done.guid
            && let Some(row) = self.wanted.remove(&done.guid)
        {
            self.stopped = !(self.give)(row, Ok(&done.kept));
        }
    }

    fn line(&mut self, _offset: u64, _text: &[u8]) -> bool {
        !self.enough()
    }

    fn enough(&mut self) -> bool {
        self.stopped || self.wanted.is_empty()
    }
}

impl Current {
    fn take(&mut self, octets: &[u8], part: Part) {
        self.left = self.left.saturating_sub(octets.len() as u64);
        self.hasher.update(octets);
        if self.full {
            return;
        }
        let before = self.kept.len();
        self.kept.extend_from_slice(octets);
        if part == Part::Header {
            let end = header_end(&self.kept, before);
            self.full = end.is_some() || self.kept.len() >= HEADER_LIMIT;
            self.kept
                .truncate(end.unwrap_or(self.kept.len()).min(HEADER_LIMIT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_at_the_empty_line() {
        for (octets, end) in [
            (&b"A: 1\r\n\r\nbody\r\n\r\n"[..], Some(8)),
            (b"A: 1\n\nbody", Some(6)),
            (b"\r\nbody", Some(2)),
            (b"\nbody", Some(1)),
            (b"A: 1\r\n", None),
            (b"", None),
        ] {
            assert_eq!(header_end(octets, 0), end);
            // The same, however the octets come in pieces.
            for piece in 1..=3 {
                let mut current = Current {
                    guid: Guid::of(octets),
                    left: octets.len() as u64,
                    hasher: GuidHasher::default(),
                    kept: Vec::new(),
                    full: false,
                };
                for octets in octets.chunks(piece) {
                    current.take(octets, Part::Header);
                }
                assert_eq!(current.kept, octets[..end.unwrap_or(octets.len())]);
            }
        }
    }
}

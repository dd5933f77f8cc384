//! One chunk by itself: inflated, weighed, hashed, and its content compared with its rows. Needs
//! nothing of its neighbours, so chunks can be inspected side by side.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha1::{Digest, Sha1};

use super::content::Content;
use super::expected::Rows;
use super::finding::Damage;
use super::names::Event;
use super::points::Points;
use crate::store::index::ChunkRow;
use crate::store::member::{MemberEnd, MemberReader, hex};

/// What there is to inspect.
pub(super) struct Source<'a> {
    pub(super) file: &'a Arc<File>,
    /// The file counts as ending here.
    pub(super) length: u64,
    /// Told how many octets of the file have been inspected since it was told last.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    /// Nobody wants to know any more.
    pub(super) stop: &'a AtomicBool,
}

/// What one chunk is like.
pub(super) struct Inspected {
    pub(super) damage: Vec<Damage>,
    /// What it says about names of mailboxes.
    pub(super) events: Vec<Event>,
    /// Where its member ends, if it does.
    pub(super) end: Option<u64>,
}

impl Source<'_> {
    /// Inspects a chunk; without rows, only its checksums.
    pub(super) fn inspect(&self, chunk: &ChunkRow, rows: Option<&Rows>) -> io::Result<Inspected> {
        let mut content = rows.map(Content::new);
        let mut points = Points::new(rows.map_or(&[], |rows| &rows.points));
        let mut sums = Sums::default();
        let inflated = self.inflate(chunk.offset, &mut |bytes| {
            sums.take(bytes);
            points.take(bytes);
            if let Some(content) = &mut content {
                content.take(bytes);
            }
        });
        let (mut damage, end) = match inflated {
            Ok(end) => (sums.compare(chunk, end), end),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                let (byte, reason) = (sums.length, e.to_string());
                let damage = vec![Damage::Unreadable { byte, reason }];
                (damage, MemberEnd::Truncated)
            }
            Err(e) => return Err(e),
        };
        let end = match end {
            MemberEnd::Complete(end) => Some(end),
            MemberEnd::Truncated => None,
        };
        let (unlike, events) = content
            .map(|content| content.finish(end.is_some()))
            .unwrap_or_default();
        damage.extend(unlike);
        damage.extend(points.finish(self.file, self.length, end.is_some())?);
        damage.extend(rows.into_iter().flat_map(Rows::bodiless));
        Ok(Inspected {
            damage,
            events,
            end,
        })
    }

    fn inflate(&self, offset: u64, take: &mut dyn FnMut(&[u8])) -> io::Result<MemberEnd> {
        let mut member = MemberReader::open(Arc::clone(self.file), offset, self.length)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut told = offset;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped"));
            }
            let read = member.read(&mut buffer)?;
            (self.progress)(member.consumed() - told);
            told = member.consumed();
            match read {
                0 => return Ok(member.end().unwrap_or(MemberEnd::Truncated)),
                n => take(&buffer[..n]),
            }
        }
    }
}

/// What a chunk of which nothing may be read lacks: all that should be in it.
pub(super) fn unread(rows: Option<&Rows>) -> Vec<Damage> {
    rows.map(|rows| Content::new(rows).finish(false).0)
        .unwrap_or_default()
}

/// Length and SHA-1 of the inflated bytes.
#[derive(Default)]
struct Sums {
    sha1: Sha1,
    length: u64,
}

impl Sums {
    fn take(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        self.length += bytes.len() as u64;
    }

    fn compare(&self, chunk: &ChunkRow, end: MemberEnd) -> Vec<Damage> {
        let mut damage = Vec::new();
        let length = chunk.length.unwrap_or(0);
        if self.length != length {
            damage.push(Damage::DataLength {
                disk: self.length,
                index: length,
            });
        } else if let MemberEnd::Truncated = end {
            damage.push(Damage::Unreadable {
                byte: self.length,
                reason: "the file ends before the gzip trailer".to_owned(),
            });
        }
        let disk = hex(&self.sha1.clone().finalize());
        let index = chunk.data_sha1.clone().unwrap_or_default();
        if disk != index {
            damage.push(Damage::DataChecksum { disk, index });
        }
        damage
    }
}

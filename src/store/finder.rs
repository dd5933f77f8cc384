//! Finds messages in their lines. A finder stops behind the one that was asked for and can go on from there,
//! so one message costs no more than the way to it, and all messages in the order of the log cost one way.

use std::io;
use std::sync::{Arc, Mutex};

use super::cache::{Cache, lock};
use super::member::MemberReader;
use super::scan::{Scan, ScanEnd, Visitor};
use crate::csync::dlist::FileRef;
use crate::types::Guid;

/// Bytes inflated between two looks at what was found, at first: half of it is more than was asked for.
const STEP: usize = 16 << 10;
/// The same for one that goes on: the next question will mostly be for the next message.
const STRIDE: usize = 128 << 10;
/// Memory is taken as octets come, and at first never more for what a header claims.
pub(super) const CLAIMED: u64 = 1 << 20;

/// Stands somewhere in a chunk.
pub(super) struct Finder {
    scan: Scan,
    /// The body it stands in: its name, its size, and what came of it.
    body: Option<(Guid, u64, Vec<u8>)>,
    step: usize,
}

/// What to look for.
pub(super) struct Wanted {
    /// The message.
    pub guid: Guid,
    /// Where its line starts in the inflated chunk.
    pub line: u64,
    /// There is no use in looking at bodies that start behind this.
    pub last: u64,
}

/// What came of it.
pub(super) struct Found {
    /// The message, checked.
    pub octets: Option<Arc<[u8]>>,
    /// Where it starts, or the last body that was looked at.
    pub at: u64,
    /// How it ended.
    pub end: ScanEnd,
}

impl Finder {
    /// With a reader that stands at the start of a line.
    pub fn new(reader: MemberReader) -> Finder {
        Finder {
            scan: Scan::new(reader),
            body: None,
            step: STEP,
        }
    }

    /// Uncompressed offset in the chunk.
    pub fn at(&self) -> u64 {
        self.scan.produced()
    }

    /// Where the line starts that it stands in.
    pub fn line(&self) -> u64 {
        self.scan.line()
    }

    /// Goes on to the message. The bodies on the way are kept, unchecked.
    pub fn find(&mut self, wanted: &Wanted, cache: &Mutex<Cache>) -> io::Result<Found> {
        let mut search = Search {
            wanted,
            body: &mut self.body,
            octets: None,
            at: 0,
            over: false,
            cache,
        };
        let step = std::mem::replace(&mut self.step, STRIDE);
        let end = self.scan.go_on(step, &mut search)?;
        Ok(Found {
            octets: search.octets,
            at: search.at,
            end,
        })
    }
}

struct Search<'a> {
    wanted: &'a Wanted,
    body: &'a mut Option<(Guid, u64, Vec<u8>)>,
    octets: Option<Arc<[u8]>>,
    at: u64,
    /// The line has ended.
    over: bool,
    cache: &'a Mutex<Cache>,
}

impl Visitor for Search<'_> {
    fn file(&mut self, file: &FileRef, offset: u64) {
        if self.octets.is_none() {
            self.at = offset;
        }
        let room = Vec::with_capacity(file.size.min(CLAIMED) as usize);
        *self.body = Some((file.guid, file.size, room));
        self.file_data(&[]);
    }

    fn file_data(&mut self, octets: &[u8]) {
        let Some((_, size, have)) = self.body else {
            return;
        };
        have.extend_from_slice(octets);
        if (have.len() as u64) < *size {
            return;
        }
        let Some((guid, _, have)) = self.body.take() else {
            return;
        };
        if guid != self.wanted.guid {
            lock(self.cache).put_unchecked(guid, have.into());
        } else if self.octets.is_none() && Guid::of(&have) == guid {
            self.octets = Some(have.into());
        }
    }

    fn line(&mut self, offset: u64, _text: &[u8]) -> bool {
        self.over |= offset >= self.wanted.line;
        // What follows was inflated already.
        true
    }

    fn enough(&mut self) -> bool {
        self.octets.is_some() || self.over || self.at > self.wanted.last
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::bodies::tests::compacted;
    use super::super::cache::known;
    use super::super::scan::CHUNK_START;
    use super::*;

    /// At the one line of a chunk, behind its start.
    fn at_line(path: &std::path::Path) -> Finder {
        let file = File::open(path).unwrap();
        let length = file.metadata().unwrap().len();
        let mut reader = MemberReader::open(Arc::new(file), 0, length).unwrap();
        super::super::bodies::skip_to(&mut reader, CHUNK_START.len() as u64).unwrap();
        Finder::new(reader)
    }

    fn wanted(body: &[u8]) -> Wanted {
        Wanted {
            guid: Guid::of(body),
            line: CHUNK_START.len() as u64,
            last: u64::MAX,
        }
    }

    #[test]
    fn it_stops_behind_the_message_and_goes_on_from_there() {
        let (_dir, path, expected) = compacted(2000);
        let cache = Mutex::new(Cache::new(1 << 20));
        let mut finder = at_line(&path);
        let mut end = CHUNK_START.len();
        let mut before = 0;
        for (number, body) in expected.iter().enumerate() {
            end += body.len();
            // Farther apart than it looks ahead.
            if number % 197 != 5 {
                continue;
            }
            let found = finder.find(&wanted(body), &cache).unwrap();
            assert!(found.octets.unwrap()[..] == body[..], "{number}");
            let at = finder.at();
            assert!(at > before, "{number}: goes on");
            let headers = number as u64 * 80 + 1000;
            let most = end as u64 + headers + STRIDE as u64;
            assert!((end as u64..most).contains(&at), "{number}: {at} {end}");
            before = at;
        }
        let passed = Guid::of(&expected[1974]);
        assert!(known(&cache, &passed).unwrap()[..] == expected[1974][..]);
        let mut fresh = at_line(&path);
        let found = fresh.find(&wanted(&expected[3]), &cache).unwrap();
        assert!(found.octets.is_some() && fresh.at() < 2 * STEP as u64);
        assert_eq!((found.end, fresh.line()), (ScanEnd::Stopped, 29));
    }

    #[test]
    fn what_it_has_passed_is_not_found() {
        let (_dir, path, expected) = compacted(300);
        let cache = Mutex::new(Cache::new(0));
        let mut finder = at_line(&path);
        assert!(
            finder
                .find(&wanted(&expected[200]), &cache)
                .unwrap()
                .octets
                .is_some()
        );
        let found = finder.find(&wanted(&expected[2]), &cache).unwrap();
        assert!(found.octets.is_none());
        // Nor what is behind the place where looking has no use.
        let mut finder = at_line(&path);
        let near = Wanted {
            last: 100_000,
            ..wanted(&expected[299])
        };
        let found = finder.find(&near, &cache).unwrap();
        assert!(found.octets.is_none() && found.at > 100_000);
        assert!(finder.at() < 100_000 + 2 * STEP as u64);
    }
}

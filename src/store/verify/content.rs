//! The inflated bytes of one chunk as they pass by: messages are hashed where the index expects
//! them, MAILBOX and RENAME lines are handed to `links`, everything else is only cut into lines.

use std::collections::HashMap;

use super::expected::{Message, Rows};
use super::finding::{self, Damage};
use super::links::Links;
use super::names::Event;
use crate::csync::command::Apply;
use crate::csync::dlist::FileRef;
use crate::csync::fragment::{Fragment, Fragmenter, Limits};
use crate::store::entry::{self, Entry};
use crate::types::{Guid, GuidHasher};

/// No line of interest is longer: a MAILBOX line takes some 230 bytes per record.
const LINE_LIMIT: usize = 1 << 29;
/// A file that exists is read, whatever the limits were when it was written.
const TOKEN_LIMIT: usize = LINE_LIMIT;
/// As much of a line as tells whether it is of interest.
const HEAD: usize = 64;

/// The reader of one chunk.
pub(super) struct Content<'a> {
    fragmenter: Fragmenter,
    /// Where the current line starts.
    line: u64,
    text: Vec<u8>,
    /// The current line's text is of no interest, or too long.
    dropped: bool,
    messages: Messages<'a>,
    links: Links<'a>,
    broken: Option<Damage>,
}

impl<'a> Content<'a> {
    pub(super) fn new(rows: &'a Rows) -> Content<'a> {
        let limits = Limits {
            token: TOKEN_LIMIT,
            ..Limits::default()
        };
        Content {
            fragmenter: Fragmenter::new(limits),
            line: 0,
            text: Vec::new(),
            dropped: false,
            messages: Messages::new(&rows.messages),
            links: Links::new(rows),
            broken: None,
        }
    }

    /// Takes the next inflated bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        loop {
            match self.fragmenter.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(fragment)) => self.fragment(fragment),
                Err(error) => {
                    self.broken_line(error.offset, error.rule.to_string());
                    self.messages.abandon();
                    self.drop_text();
                    self.fragmenter.resync();
                }
            }
        }
    }

    fn fragment(&mut self, fragment: Fragment<'_>) {
        match fragment {
            Fragment::Text(text) => self.add_text(text),
            Fragment::FileStart(file) => self.messages.start(self.line, &file),
            Fragment::FileData(octets) => self.messages.data(octets),
            Fragment::FileEnd => self.messages.end(),
            Fragment::EndOfLine => self.end_of_line(),
        }
    }

    fn add_text(&mut self, text: &[u8]) {
        if self.dropped {
            return;
        }
        let fresh = self.text.len() < HEAD;
        self.text.extend_from_slice(text);
        if fresh && self.text.len() >= HEAD && !is_of_interest(&self.text) {
            self.drop_text();
        } else if self.text.len() > LINE_LIMIT {
            self.drop_text();
            self.broken_line(
                self.fragmenter.offset(),
                "the line is longer than 512 MiB".to_owned(),
            );
        }
    }

    fn drop_text(&mut self) {
        self.dropped = true;
        self.text.clear();
    }

    fn end_of_line(&mut self) {
        if !self.dropped && is_of_interest(&self.text) {
            match entry::parse(&self.text) {
                Entry::Apply(_, Apply::Mailbox(update)) => self.links.mailbox(&update),
                Entry::Apply(_, Apply::Rename(rename)) => self.links.rename(rename),
                // C stores a line before it finds out that the line says nothing it understands.
                Entry::Apply(..) | Entry::Horizon(..) | Entry::Other(_) => {}
            }
        }
        self.dropped = false;
        self.text.clear();
        self.text.shrink_to(1 << 20);
        self.line = self.fragmenter.offset();
    }

    /// Only the first broken line of a chunk is told: the others mostly follow from it.
    fn broken_line(&mut self, byte: u64, reason: String) {
        self.broken.get_or_insert(Damage::Line { byte, reason });
    }

    /// The chunk has ended; `readable`: where it should.
    pub(super) fn finish(mut self, readable: bool) -> (Vec<Damage>, Vec<Event>) {
        if readable && !self.fragmenter.at_line_start() {
            self.broken_line(self.line, "the chunk ends inside a line".to_owned());
        }
        let mut damage: Vec<Damage> = self.broken.into_iter().collect();
        damage.extend(self.messages.finish());
        let (unlinked, events) = self.links.finish();
        damage.extend(unlinked);
        (damage, events)
    }
}

/// `<seconds> APPLY [LOCAL_]MAILBOX …` or `RENAME`.
fn is_of_interest(text: &[u8]) -> bool {
    let Some((_, rest)) = entry::split_time(text) else {
        return false;
    };
    let Some(name) = rest.strip_prefix(b"APPLY ") else {
        return false;
    };
    let name = name.trim_ascii_start();
    let starts = |word: &[u8]| {
        name.get(..word.len())
            .is_some_and(|n| n.eq_ignore_ascii_case(word))
    };
    [
        &b"MAILBOX"[..],
        b"LOCAL_MAILBOX",
        b"RENAME",
        b"LOCAL_RENAME",
    ]
    .into_iter()
    .any(starts)
}

/// The messages that the index expects in the chunk.
struct Messages<'a> {
    expected: &'a [Message],
    /// Position in `expected` by the line and the GUID.
    places: HashMap<(u64, Guid), usize>,
    /// What was found, in step with `expected`.
    found: Vec<Option<Found>>,
    /// The expected message that passes by.
    current: Option<(usize, u64, GuidHasher)>,
}

#[derive(Clone, Copy)]
struct Found {
    guid: Guid,
    size: u64,
}

impl<'a> Messages<'a> {
    fn new(expected: &'a [Message]) -> Messages<'a> {
        let places = expected
            .iter()
            .enumerate()
            .map(|(i, row)| ((row.byte, row.guid), i))
            .collect();
        let found = vec![None; expected.len()];
        Messages {
            expected,
            places,
            found,
            current: None,
        }
    }

    fn start(&mut self, line: u64, file: &FileRef) {
        // The first of two copies in one line is the one that readers find.
        let place = self
            .places
            .get(&(line, file.guid))
            .filter(|&&i| self.found[i].is_none());
        self.current = place.map(|&i| (i, file.size, GuidHasher::default()));
    }

    fn data(&mut self, octets: &[u8]) {
        if let Some((_, _, hasher)) = &mut self.current {
            hasher.update(octets);
        }
    }

    fn end(&mut self) {
        if let Some((i, size, hasher)) = self.current.take() {
            self.found[i] = Some(Found {
                guid: hasher.finish(),
                size,
            });
        }
    }

    fn abandon(&mut self) {
        self.current = None;
    }

    fn finish(self) -> impl Iterator<Item = Damage> {
        let pairs = self.expected.iter().zip(self.found);
        pairs.filter_map(|(row, found)| {
            let message = finding::Message {
                id: row.id,
                guid: row.guid,
                byte: row.byte,
                places: Vec::new(),
            };
            let Some(Found { guid: disk, size }) = found else {
                return Some(Damage::MessageMissing { message });
            };
            if disk != row.guid {
                return Some(Damage::MessageGuid { message, disk });
            }
            (size != row.size).then_some(Damage::MessageSize {
                message,
                disk: size,
                index: row.size,
            })
        })
    }
}

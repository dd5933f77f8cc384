//! The lines of one chunk on their way to a new one: what a selection leaves of them, in the text
//! that stood there wherever nothing changes. Bodies stream by; one of which not all octets are what
//! they were is found while counting and skipped while writing.

use std::mem;

use super::output::Output;
use super::selection::{BadBodies, Line, Selection, Verdict};
use crate::csync::command::{Apply, MailboxUpdate};
use crate::csync::dlist::{FileRef, Literal, Value};
use crate::store::StoreError;
use crate::store::entry::{self, Entry};
use crate::store::error::Result;
use crate::store::scan::Visitor;
use crate::types::GuidHasher;

/// A MESSAGE line that holds so much is ended, so that there is a place to start reading.
const LINE_BYTES: u64 = 64 * 1024;

/// Where lines go.
pub(super) enum Sink<'s, 'o> {
    /// Their lengths are noted.
    Count(&'s mut Vec<u64>),
    /// They are written.
    Write(&'s mut Output<'o>),
}

/// Takes the lines of a chunk and passes on what stays.
pub(super) struct Rewriter<'a, 's, 'o> {
    selection: &'a dyn Selection,
    sink: Sink<'s, 'o>,
    /// Number of the next line.
    pub(super) number: u64,
    /// What was passed on is not all, or is not as it was.
    pub(super) changed: bool,
    /// Lines, records and bodies that went.
    pub(super) dropped: u64,
    /// Bad bodies that were found.
    pub(super) bad: BadBodies,
    /// Bad bodies that are known.
    pub(super) skip: Option<&'a BadBodies>,
    pub(super) horizon: Option<(i64, i64)>,
    /// There are lines that nobody understands.
    pub(super) odd: bool,
    /// They go: in a damaged chunk they are what the damage made of others.
    pub(super) drop_odd: bool,
    pub(super) failed: Option<StoreError>,
    /// Time of the MESSAGE line that passes by.
    message: Option<i64>,
    /// The line that passes by has a file literal.
    has_file: bool,
    item: u32,
    body: Option<Body>,
    /// Bytes passed on of the current line.
    wrote: u64,
}

/// The body that passes by.
struct Body {
    file: FileRef,
    left: u64,
    keep: bool,
    hasher: GuidHasher,
}

impl<'a, 's, 'o> Rewriter<'a, 's, 'o> {
    pub(super) fn new(
        selection: &'a dyn Selection,
        sink: Sink<'s, 'o>,
        number: u64,
    ) -> Rewriter<'a, 's, 'o> {
        Rewriter {
            selection,
            sink,
            number,
            changed: false,
            dropped: 0,
            bad: BadBodies::new(),
            skip: None,
            horizon: None,
            odd: false,
            drop_odd: false,
            failed: None,
            message: None,
            has_file: false,
            item: 0,
            body: None,
            wrote: 0,
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        self.wrote += bytes.len() as u64;
        if let Sink::Write(output) = &mut self.sink {
            let written = output.text(bytes);
            self.note(written);
        }
    }

    fn note(&mut self, result: Result<()>) {
        self.failed = self.failed.take().or(result.err());
    }

    fn end_line(&mut self) {
        self.text(b"\r\n");
        let length = mem::take(&mut self.wrote);
        match &mut self.sink {
            Sink::Count(lines) => lines.push(length),
            Sink::Write(output) => {
                let ended = output.end_line();
                self.note(ended);
            }
        }
    }

    fn whole_line(&mut self, text: &[u8]) {
        self.text(text);
        self.end_line();
    }

    fn drop_one(&mut self) {
        self.dropped += 1;
        self.changed = true;
    }

    /// What stands before a body that stays.
    fn start_item(&mut self, file: &FileRef) {
        if self.wrote >= LINE_BYTES {
            self.end_message();
        }
        let mut head = match self.wrote {
            0 => format!("{}MESSAGE (", entry::prefix(self.message.unwrap_or(0))).into_bytes(),
            _ => b" ".to_vec(),
        };
        Value::File(file.clone()).print(&mut head, Literal::Sync);
        self.text(&head);
    }

    fn end_message(&mut self) {
        if self.wrote > 0 {
            self.text(b")");
            self.end_line();
        }
    }

    /// While counting, bodies count when they have turned out to be good.
    fn count_item(&mut self, file: &FileRef) {
        self.start_item(file);
        self.wrote += file.size;
    }

    fn end_body(&mut self, body: Body) {
        let at = (self.number, self.item);
        self.item += 1;
        if !matches!(self.sink, Sink::Count(_)) || !body.keep {
            return;
        }
        if body.hasher.finish() == body.file.guid {
            self.count_item(&body.file);
        } else {
            self.bad.insert(at);
        }
    }

    fn apply(&mut self, text: &[u8], time: i64, apply: &Apply<'_>) {
        let line = Line {
            number: self.number,
            time,
            apply,
        };
        match (self.selection.line(line), apply) {
            (Verdict::Drop, _) => self.drop_one(),
            (Verdict::Instead(commands), _) => {
                self.drop_one();
                for command in commands {
                    self.whole_line(&[entry::prefix(time).as_bytes(), &command].concat());
                }
            }
            (verdict, Apply::Mailbox(update)) => self.mailbox(text, line, &verdict, update),
            _ => self.as_it_is(text, time, apply),
        }
    }

    fn mailbox(
        &mut self,
        text: &[u8],
        line: Line<'_>,
        verdict: &Verdict,
        update: &MailboxUpdate<'_>,
    ) {
        let (mut kept, mut gone) = (Vec::new(), 0);
        for record in update.records.iter().map_while(std::result::Result::ok) {
            if !self.selection.record(line, &update.uniqueid, &record) {
                gone += 1;
                continue;
            }
            if !kept.is_empty() {
                kept.push(b' ');
            }
            record.print(&mut kept, Literal::Sync);
        }
        if *verdict == Verdict::ForRecords && kept.is_empty() {
            return self.drop_one();
        }
        if gone == 0 {
            return self.as_it_is(text, line.time, line.apply);
        }
        self.dropped += gone;
        self.changed = true;
        self.text(format!("{}MAILBOX %(", entry::prefix(line.time)).as_bytes());
        let mut header = Vec::new();
        update.header.print_items(&mut header, Literal::Sync);
        self.text(&header);
        self.text(b" RECORD (");
        self.text(&kept);
        self.whole_line(b"))");
    }

    /// C before the fix of CVE-2024-34055 wrote `{n+}`, which C after it cannot read back
    /// (spec: ondisk 10.1): all can read `{n}`.
    fn as_it_is(&mut self, text: &[u8], time: i64, apply: &Apply<'_>) {
        let mut plain = entry::prefix(time).into_bytes();
        let has_literal = memchr::memmem::find(text, b"+}\r\n").is_some();
        if has_literal && entry::print(apply, &mut plain).is_ok() && plain != text {
            self.changed = true;
            self.whole_line(&plain);
        } else {
            self.whole_line(text);
        }
    }
}

impl Visitor for Rewriter<'_, '_, '_> {
    fn head(&mut self, text: &[u8]) {
        if !mem::replace(&mut self.has_file, true) {
            self.message = entry::message_time(text);
        }
    }

    fn file(&mut self, file: &FileRef, _offset: u64) {
        let (number, item) = (self.number, self.item);
        let wanted = self.message.is_some() && self.selection.body(number, item, &file.guid);
        if self.message.is_some() && !wanted {
            self.drop_one();
        }
        let bad = self.skip.is_some_and(|bad| bad.contains(&(number, item)));
        let keep = wanted && !bad;
        if keep && matches!(self.sink, Sink::Write(_)) {
            self.start_item(file);
        }
        self.body = Some(Body {
            file: file.clone(),
            left: file.size,
            keep,
            hasher: GuidHasher::default(),
        });
        self.file_data(&[]);
    }

    fn file_data(&mut self, octets: &[u8]) {
        let Some(mut body) = self.body.take() else {
            return;
        };
        if body.keep {
            match self.sink {
                Sink::Count(_) => body.hasher.update(octets),
                Sink::Write(_) => self.text(octets),
            }
        }
        body.left = body.left.saturating_sub(octets.len() as u64);
        if body.left == 0 {
            self.end_body(body);
        } else {
            self.body = Some(body);
        }
    }

    fn line(&mut self, _offset: u64, text: &[u8]) -> bool {
        let has_file = mem::take(&mut self.has_file);
        if self.message.take().is_some() {
            self.end_message();
        } else if has_file {
            // A command with a file that is no MESSAGE: nobody ever wrote one.
            self.drop_one();
        } else {
            match entry::parse(text) {
                Entry::Apply(_, Apply::Message(_)) => self.drop_one(),
                Entry::Apply(time, apply) => self.apply(text, time, &apply),
                Entry::Horizon(time, horizon) => self.horizon = Some((time, horizon)),
                Entry::Other(_) if self.drop_odd => self.drop_one(),
                Entry::Other(_) => {
                    self.odd = true;
                    self.whole_line(text);
                }
            }
        }
        self.number += 1;
        self.item = 0;
        self.body = None;
        self.failed.is_none()
    }

    fn cut(&mut self, _offset: u64, _text: &[u8]) {
        if let Some(body) = self.body.take()
            && body.keep
        {
            self.bad.insert((self.number, self.item));
        }
        self.has_file = false;
        if self.message.take().is_some() {
            self.end_message();
        }
        self.number += 1;
        self.item = 0;
    }
}

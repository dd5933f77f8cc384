//! `show chunks`: what a chunk weighs, and its lines in short.

use std::ffi::OsString;
use std::io;

use super::{Failure, Look};
use crate::csync::command::Apply;
use crate::csync::dlist::Value;
use crate::store::ChunkRow;
use crate::store::entry::{self, Entry};
use crate::store::scan::{ScanEnd, Visitor, scan};
use crate::tools::getopt::atoi;
use crate::tools::terminal::Terminal;

/// Longest text of a line that has no better summary.
const SUMMARY: usize = 160;

impl Look<'_> {
    pub(super) fn show_chunks(
        &self,
        ids: &[OsString],
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let ids = ids.iter().map(|word| match atoi(word) {
            id if id > 0 => Ok(id),
            _ => Err(Failure::NoChunkId(word.clone())),
        });
        let ids = ids.collect::<Result<Vec<i64>, Failure>>()?;
        let chunks = self.chunks()?;
        for id in ids {
            let known = chunks.iter().find(|(chunk, _)| chunk.id == id);
            let (chunk, ratio) = known.ok_or(Failure::NoSuchItem)?;
            self.show_chunk(chunk, *ratio, terminal)?;
        }
        Ok(())
    }

    fn show_chunk(
        &self,
        chunk: &ChunkRow,
        ratio: f64,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let out = &mut *terminal.out;
        let time = |seconds| terminal.time.show(seconds);
        writeln!(out, "chunk:      {}", chunk.id)?;
        writeln!(out, "offset:     {}", chunk.offset)?;
        writeln!(out, "length:     {}", chunk.length.unwrap_or(0))?;
        writeln!(out, "ratio:      {ratio:.1}")?;
        writeln!(out, "start time: {}", time(chunk.ts_start))?;
        writeln!(out, "end time:   {}", time(chunk.ts_end.unwrap_or(0)))?;
        writeln!(out, "file sha1:  {}", chunk.file_sha1)?;
        let data_sha1 = chunk.data_sha1.as_deref().unwrap_or_default();
        writeln!(out, "data sha1:  {data_sha1}")?;
        writeln!(out, "lines:")?;
        writeln!(out, "    offset  time                 command")?;
        let mut reader = self.backup.chunk(chunk.id)?;
        let mut lines = Lines {
            terminal,
            printed: Ok(()),
        };
        let end = scan(&mut reader, &mut lines);
        lines.printed?;
        writeln!(terminal.out)?;
        let damaged = |byte, reason| Failure::Chunk {
            chunk: chunk.id,
            byte,
            reason,
        };
        match end {
            Ok(ScanEnd::Complete(_) | ScanEnd::Stopped) => Ok(()),
            Ok(ScanEnd::Damaged { offset, reason }) => Err(damaged(offset, reason)),
            Ok(ScanEnd::Truncated) => {
                let reason = "the file ends inside the chunk".to_owned();
                Err(damaged(reader.produced(), reason))
            }
            Err(error) => Err(damaged(reader.produced(), error.to_string())),
        }
    }
}

/// Prints each line in short as it passes.
struct Lines<'a, 't> {
    terminal: &'a mut Terminal<'t>,
    printed: io::Result<()>,
}

impl Visitor for Lines<'_, '_> {
    fn line(&mut self, offset: u64, text: &[u8]) -> bool {
        let (time, summary) = match entry::parse(text) {
            Entry::Apply(time, apply) => (self.terminal.time.show(time), summary(&apply, text)),
            Entry::Horizon(time, horizon) => {
                let time = self.terminal.time.show(time);
                let horizon = self.terminal.time.show(horizon);
                (time, format!("history is whole since {horizon}"))
            }
            Entry::Other(reason) => (String::new(), format!("({reason}) {}", short(text))),
        };
        let out = &mut *self.terminal.out;
        self.printed = writeln!(out, "{offset:10}  {time:19}  {summary}");
        self.printed.is_ok()
    }
}

/// A command in a few words.
fn summary(apply: &Apply<'_>, text: &[u8]) -> String {
    match apply {
        Apply::Message(items) => {
            let sizes = items.iter().filter_map(|item| match item {
                Value::File(file) => Some(file.size),
                _ => None,
            });
            let (count, octets) = sizes.fold((0, 0), |(n, sum), size| (n + 1, sum + size));
            format!("MESSAGE {count} messages, {octets} octets")
        }
        Apply::Mailbox(update) => {
            let records = update.records.iter().filter(Result::is_ok).count();
            let uniqueid = &update.uniqueid;
            format!("MAILBOX {} ({uniqueid}) {records} records", update.mboxname)
        }
        Apply::Sieve {
            filename, content, ..
        } => {
            format!("SIEVE {filename} {} octets", content.len())
        }
        _ => {
            let command = entry::split_time(text).map_or(text, |(_, rest)| rest);
            short(command.strip_prefix(b"APPLY ").unwrap_or(command))
        }
    }
}

/// The beginning of a text, harmless on a terminal.
fn short(text: &[u8]) -> String {
    let cut = &text[..text.len().min(SUMMARY)];
    let mut short = String::from_utf8_lossy(cut).replace(char::is_control, " ");
    if cut.len() < text.len() {
        short.push('…');
    }
    short
}

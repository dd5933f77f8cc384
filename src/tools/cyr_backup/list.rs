//! `list all|chunks|mailboxes|messages`: tables of everything.

use std::io;

use super::{Failure, Look};
use crate::store::ChunkRow;
use crate::tools::render::percent;
use crate::tools::terminal::Terminal;

impl Look<'_> {
    /// The three tables; their titles go to standard error.
    pub(super) fn list_all(&self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        title(terminal, "listing chunks:")?;
        self.list_chunks(terminal)?;
        title(terminal, "\nlisting mailboxes:")?;
        self.list_mailboxes(terminal)?;
        title(terminal, "\nlisting messages:")?;
        self.list_messages(terminal)
    }

    pub(super) fn list_chunks(&self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let chunks = self.chunks()?;
        writeln!(
            terminal.out,
            "     id offset\tlength\tratio%\tstart time           end time"
        )?;
        for (chunk, ratio) in &chunks {
            writeln!(
                terminal.out,
                "{:7} {}\t{}\t{}\t{}  {}",
                chunk.id,
                chunk.offset,
                chunk.length.unwrap_or(0),
                percent(*ratio),
                terminal.time.show(chunk.ts_start),
                terminal.time.show(chunk.ts_end.unwrap_or(0)),
            )?;
        }
        Ok(())
    }

    pub(super) fn list_mailboxes(&self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let mailboxes = self.backup.index().mailboxes()?;
        writeln!(
            terminal.out,
            "{:36}  {:19}  mboxname",
            "uniqueid", "last append date"
        )?;
        for mailbox in mailboxes {
            let time = terminal.time.show(mailbox.last_appenddate);
            writeln!(
                terminal.out,
                "{}  {time}  {}",
                mailbox.uniqueid, mailbox.mboxname
            )?;
        }
        Ok(())
    }

    pub(super) fn list_messages(&self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        for message in self.backup.index().messages()? {
            writeln!(terminal.out, "{}", message.guid)?;
        }
        Ok(())
    }

    /// All chunks, each with its compressed size in percent of its length. What lies between a
    /// chunk and the next counts as part of it.
    pub(super) fn chunks(&self) -> Result<Vec<(ChunkRow, f64)>, Failure> {
        let chunks = self.backup.index().chunks()?;
        let ends = chunks.iter().skip(1).map(|next| next.offset);
        let ends: Vec<u64> = ends.chain([self.backup.file_len()]).collect();
        Ok(chunks
            .into_iter()
            .zip(ends)
            .map(|(chunk, end)| {
                let ratio = ratio(&chunk, end);
                (chunk, ratio)
            })
            .collect())
    }
}

fn ratio(chunk: &ChunkRow, end: u64) -> f64 {
    let compressed = end as f64 - chunk.offset as f64;
    100.0 * compressed / chunk.length.unwrap_or(0) as f64
}

fn title(terminal: &mut Terminal<'_>, text: &str) -> io::Result<()> {
    terminal.out.flush()?;
    writeln!(terminal.err, "{text}")
}

//! Makes an index from the bytes of a data file as they are (spec: ondisk 11.14): one linear pass
//! that saves what can be read, whoever wrote it and whatever happened to it since. It goes over
//! chunks that nobody indexed, torn and damaged ones, garbage between them, lines out of time and
//! lines that nobody knows, and reports what could not be saved.
//!
//! Every line goes through the one definition of what it means ([`Index::apply`]), all of them or
//! those said until some time: that is the backup as it was then.
//!
//! A chunk with damage inside is indexed as one chunk. Reading goes on at the next full flush; what
//! stands there gets offsets that continue the ones before the damage, and a seek point, since
//! nobody can inflate the chunk up to there any more.
//!
//! Left out: writing anything. `reindex` puts the index beside the data file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use sha1::Sha1;

use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::Index;
use super::replay::{Replayer, sha1_hex};
use super::resync::Resync;
use super::salvage;
use crate::types::Guid;

/// Losses that are told one by one; a hopeless file must not fill the memory with them.
const MOST_LOSSES: usize = 10_000;

/// What a pass found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Where members start in the data file, or what is in the place of one; and where the last one ends,
    /// unless the end of the file cuts it off.
    pub starts: Vec<u64>,
    /// Chunks that say something.
    pub chunks: u64,
    /// Lines that count.
    pub lines: u64,
    /// Bodies that are what their GUIDs say, repeated ones too.
    pub messages: u64,
    /// The time of the first line: nothing is known of what was before.
    pub oldest: Option<i64>,
    /// What could not be saved.
    pub losses: Vec<Loss>,
    /// Losses beyond those that are listed.
    pub more_losses: u64,
}

/// Something that could not be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The chunk's id in the new index; None between chunks.
    pub chunk: Option<i64>,
    /// Where the chunk, or what is none, starts in the data file.
    pub offset: u64,
    /// Where in the inflated chunk.
    pub byte: u64,
    /// The message, if it is one.
    pub guid: Option<Guid>,
    /// What is wrong.
    pub reason: String,
    /// Bytes are damaged; otherwise it is a line that nobody knows.
    pub damage: bool,
}

/// What to make an index of.
pub(super) struct Source<'a> {
    pub(super) file: &'a Arc<File>,
    pub(super) path: &'a Path,
    /// The file counts as ending here.
    pub(super) length: u64,
}

/// How to make it.
pub(super) struct Terms<'a> {
    /// Only lines said until then, unix seconds.
    pub(super) until: Option<i64>,
    /// The SHA-1 of file and chunks are wanted: the index is to be kept.
    pub(super) sums: bool,
    /// A member that the end of the file cuts off is left out: it is going to be closed.
    pub(super) leave_torn_end: bool,
    /// Told the offset in the data file now and then.
    pub(super) progress: &'a mut dyn FnMut(u64),
}

/// Goes over the file from where `hash` ends. Inside the caller's transaction, if any.
pub(super) fn rebuild<'a>(
    source: &'a Source<'a>,
    index: &'a Index,
    hash: &'a mut FileHash,
    terms: Terms<'a>,
) -> Result<Report> {
    let mut pass = Pass {
        resync: Resync::new(source.file, source.length),
        source,
        index,
        hash,
        terms,
        report: Report::default(),
        time: 0,
    };
    pass.run()?;
    Ok(pass.report)
}

struct Pass<'a> {
    source: &'a Source<'a>,
    index: &'a Index,
    hash: &'a mut FileHash,
    terms: Terms<'a>,
    resync: Resync<'a>,
    report: Report,
    /// The latest time that a line told.
    time: i64,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<()> {
        let mut at = self.hash.length();
        while at < self.source.length {
            self.report.starts.push(at);
            self.hash_to(at)?;
            let Some(next) = self.member(at)? else {
                return Ok(());
            };
            at = next;
        }
        self.report.starts.push(self.source.length);
        self.hash_to(self.source.length)
    }

    /// One member, or what is in the place of one. Returns where the next one is; None when the
    /// rest is left for later.
    fn member(&mut self, start: u64) -> Result<Option<u64>> {
        self.index.savepoint()?;
        let sha1 = self.hash.hex();
        let id = self.index.start_chunk(self.time, start, &sha1)?;
        let mut replayer = Replayer::new(self.index, id, self.terms.until);
        replayer.sha1 = self.terms.sums.then(Sha1::default);
        let read = salvage::read(&mut self.resync, start, &mut replayer, self.terms.progress);
        let member = read.map_err(StoreError::io(self.source.path))?;
        replayer.check()?;
        if member.torn && self.terms.leave_torn_end {
            self.index.rollback_savepoint()?;
            return Ok(None);
        }
        self.close(start, &mut replayer, member.length)?;
        self.index.release_savepoint()?;
        Ok(Some(member.next))
    }

    /// Completes the chunk's row, or takes it back when no line came out of it.
    fn close(&mut self, start: u64, replayer: &mut Replayer<'_>, length: u64) -> Result<()> {
        let id = replayer.chunk_id;
        let chunk = replayer.times.map(|_| id);
        for odd in replayer.odd.drain(..) {
            self.lose(Loss {
                chunk,
                offset: start,
                byte: odd.line,
                guid: odd.guid,
                reason: odd.reason,
                damage: odd.damage,
            });
        }
        let Some((first, last)) = replayer.times else {
            return self.index.drop_chunk(id);
        };
        self.time = self.time.max(last);
        self.report.chunks += 1;
        self.report.lines += replayer.lines;
        self.report.messages += replayer.messages;
        self.report.oldest = Some(self.report.oldest.map_or(first, |oldest| oldest.min(first)));
        let sha1 = replayer.sha1.take().map(sha1_hex).unwrap_or_default();
        self.index.set_chunk_start(id, first)?;
        self.index.end_chunk(id, last, length, &sha1)
    }

    fn lose(&mut self, loss: Loss) {
        if self.report.losses.len() == MOST_LOSSES {
            self.report.more_losses += 1;
        } else {
            self.report.losses.push(loss);
        }
    }

    fn hash_to(&mut self, end: u64) -> Result<()> {
        if !self.terms.sums {
            return Ok(());
        }
        let read = self.hash.read_to(self.source.file, end);
        read.map_err(StoreError::io(self.source.path))
    }
}

#[cfg(test)]
mod tests;

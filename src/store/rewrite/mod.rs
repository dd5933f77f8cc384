//! Writes a backup anew with less in it: the machine behind compact and purge.
//!
//! What stays is said by a [`Selection`]; how the chunks are laid out by [`arrange`], a pure function
//! whose result can be printed. The way is always the same:
//!
//! 1. [`Rewrite::open`] takes the exclusive lock, clears up what an interrupted run left, recovers
//!    what a crash left, and refuses a backup that is on hold.
//! 2. [`Rewrite::measure`] reads every chunk once and says what the selection would leave of it.
//!    Nothing is written yet: this is where a dry run ends.
//! 3. [`Rewrite::write`] writes `X.new`: chunks of which all stays are copied as bytes, the others are
//!    deflated again with a flush every 64 KB. Then `X.index.new` is made from the new bytes by the
//!    one definition of what they mean ([`super::rebuild`]), and the two take their places.
//!
//! ```ignore
//! let rewrite = Rewrite::open(path, wait)?;
//! let members = rewrite.measure(&selection, &mut |_| {})?;
//! if members.iter().any(Measured::is_changed) {
//!     let chunks = arrange(&members, Sizes::default());
//!     rewrite.write(&selection, &members, &chunks, &WriteTerms::default(), &mut |_| {})?;
//! }
//! ```
//!
//! Lines that cannot be read and bodies that are not what their GUIDs say are lost, as they were
//! before; everything else of a damaged chunk is treated like any other.

mod arrange;
mod lines;
mod measure;
mod output;
mod selection;
pub(super) mod swap;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub use arrange::{Chunk, Measured, Part, Sizes, arrange};
use lines::{Rewriter, Sink};
pub(super) use measure::{measure, read};
use output::Output;
pub use selection::{Line, Selection, Verdict};

use super::data_file::DataFile;
use super::entry;
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{Index, State};
use super::rebuild::{Report, Source, Terms, rebuild};
use super::resync::Resync;
use super::scan::Visitor;
use super::{layout, marks, recover, salvage, stamp};

/// How to write.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteTerms {
    /// The old files stay as `X.<epoch>` and `X.index.<epoch>`.
    pub keep_previous: Option<i64>,
    /// What was said before this time is no longer whole; None: that does not change.
    pub horizon: Option<i64>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the data file before.
    pub before: u64,
    /// And after.
    pub after: u64,
    /// Chunks that were copied as they were.
    pub copied: u64,
    /// Chunks that were deflated again.
    pub written: u64,
}

/// A backup that is about to be written anew, with the exclusive lock.
pub struct Rewrite {
    data: DataFile,
    index: Index,
    length: u64,
}

impl Rewrite {
    /// Opens, with everything in the file indexed.
    ///
    /// # Errors
    /// As [`super::Appender::open`], and [`StoreError::Held`].
    pub fn open(path: &Path, wait: bool) -> Result<Rewrite> {
        let opened = recover::open(path, wait)?;
        marks::refuse_held(path)?;
        let length = opened.data.len()?;
        Ok(Rewrite {
            data: opened.data,
            index: opened.index,
            length,
        })
    }

    /// The index as it is.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Bytes of the data file.
    pub fn file_len(&self) -> u64 {
        self.length
    }

    /// Shows every line to a visitor, whatever state the chunks are in.
    pub(super) fn read(
        &self,
        visitor: &mut dyn Visitor,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        read(&self.source(), visitor, progress)
    }

    /// What the selection leaves of each chunk. `progress` is told offsets in the data file.
    pub fn measure(
        &self,
        selection: &dyn Selection,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Measured>> {
        measure(&self.source(), selection, progress)
    }

    /// The data file as it is.
    pub(super) fn source(&self) -> Source<'_> {
        Source {
            file: self.data.file(),
            path: self.data.path(),
            length: self.length,
        }
    }

    /// Writes the chunks anew and puts the result in place. `progress` is told octets of twice the file: it is
    /// written, then what was written is read.
    ///
    /// # Errors
    /// The system's, or [`StoreError::InvalidFormat`] when what was written does not read back; the
    /// backup is then as it was.
    pub fn write(
        self,
        selection: &dyn Selection,
        members: &[Measured],
        chunks: &[Chunk],
        terms: &WriteTerms,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Stats> {
        let path = self.data.path().to_owned();
        swap::clear(&path)?;
        let result = self.write_new(selection, members, chunks, terms, progress);
        if result.is_err() {
            // The old files are untouched; what is left over is of no value.
            let _ = swap::clear(&path);
        }
        result
    }

    fn write_new(
        self,
        selection: &dyn Selection,
        members: &[Measured],
        chunks: &[Chunk],
        terms: &WriteTerms,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Stats> {
        let new_path = layout::new_data(self.data.path());
        recover::create_private(&new_path).map_err(StoreError::io(&new_path))?;
        let new = DataFile::open_exclusive(&new_path, false)?;
        let (copied, written) = {
            let mut output = Output::new(&self.data, &new, chunks);
            self.fill(&mut output, selection, members, terms, progress)?;
            output.finish()?
        };
        new.sync()?;
        let stats = Stats {
            before: self.length,
            after: new.len()?,
            copied,
            written,
        };
        let index = index_of(&new, self.data.path(), &mut |at| {
            progress(self.length + at);
        })?;
        drop(index);
        drop(self.index);
        let placed = new.again().renamed_to(self.data.path());
        swap::swap(&self.data, new, terms.keep_previous)?;
        // Moving it has changed its stamp. It is all in place, and without this the next look reads it once.
        let index = Index::open(&layout::index(placed.path()));
        let _ = index.and_then(|index| stamp::attest(&placed, &index));
        Ok(stats)
    }

    fn fill(
        &self,
        output: &mut Output<'_>,
        selection: &dyn Selection,
        members: &[Measured],
        terms: &WriteTerms,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let known = members.iter().filter_map(|member| member.horizon).max();
        if let Some((time, horizon)) = horizon_line(known, terms.horizon, self.first_time()?) {
            output.own_chunk(entry::horizon(time, horizon).as_bytes())?;
        }
        let mut resync = Resync::new(self.data.file(), self.length);
        for (i, member) in members.iter().enumerate() {
            if output.copies(i) {
                output.copy(member)?;
            } else if !member.lines.is_empty() {
                output.begin();
                let mut rewriter = Rewriter::new(selection, Sink::Write(output), member.first_line);
                rewriter.skip = Some(&member.bad);
                rewriter.drop_odd = member.drop_odd;
                let read = salvage::read(&mut resync, member.start, &mut rewriter, progress);
                let failed = rewriter.failed.take();
                self.data.io(read)?;
                failed.map_or(Ok(()), Err)?;
            }
            progress(member.end);
        }
        Ok(())
    }

    fn first_time(&self) -> Result<i64> {
        Ok(self.index.first_chunk()?.map_or(0, |chunk| chunk.ts_start))
    }
}

/// The line that says how far back history is whole. Its own time is not after any other line.
fn horizon_line(known: Option<(i64, i64)>, new: Option<i64>, first: i64) -> Option<(i64, i64)> {
    let horizon = match (known, new) {
        (Some((_, known)), Some(new)) => known.max(new),
        (Some((_, horizon)), None) | (None, Some(horizon)) => horizon,
        (None, None) => return None,
    };
    let time = known.map_or(first, |(time, _)| time);
    Some((time, horizon))
}

/// Makes `X.index.new` for `X.new`; everything in it must read back.
fn index_of(new: &DataFile, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Index> {
    let index_path = layout::new_index(path);
    let index = Index::create(&index_path)?;
    let report = fill_index(new, &index, progress)?;
    let lost = report.losses.iter().find(|loss| loss.damage);
    if let Some(loss) = lost {
        let reason = format!("what was written does not read back: {}", loss.reason);
        return Err(StoreError::InvalidFormat {
            path: new.path().to_owned(),
            reason,
        });
    }
    Ok(index)
}

fn fill_index(new: &DataFile, index: &Index, progress: &mut dyn FnMut(u64)) -> Result<Report> {
    let source = Source {
        file: new.file(),
        path: new.path(),
        length: new.len()?,
    };
    let terms = Terms {
        until: None,
        sums: true,
        leave_torn_end: false,
        progress,
    };
    let mut hash = FileHash::default();
    index.begin()?;
    let report = rebuild(&source, index, &mut hash, terms)?;
    index.set_state(&State {
        chunk_id: index.last_chunk()?.map_or(0, |chunk| chunk.id),
        data_end: source.length,
        sha1: hash.save(),
    })?;
    let inode = new.io(new.file().metadata())?.ino();
    index.set_inode(inode)?;
    index.commit()?;
    index.sync()?;
    Ok(report)
}

#[cfg(test)]
mod tests;

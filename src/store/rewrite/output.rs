//! The new data file as it grows: members copied as bytes, members deflated from lines, each line
//! ended on a flush when enough stands behind the last one.

use super::{Chunk, Measured};
use crate::store::data_file::DataFile;
use crate::store::error::Result;
use crate::store::member::MemberWriter;
use crate::store::scan::CHUNK_START;
use crate::store::survey::copy_range;

/// Between two flushes; also the bytes that are handed to the file at once.
const FLUSH_BYTES: u64 = 64 * 1024;

/// Writes the chunks of a plan.
pub(super) struct Output<'a> {
    old: &'a DataFile,
    new: &'a DataFile,
    chunks: &'a [Chunk],
    /// The chunk being written.
    at: usize,
    /// Lines of the current part that have been written.
    lines: usize,
    /// Position of the current part in its chunk.
    part: usize,
    member: Option<MemberWriter>,
    flushed: u64,
    end: u64,
    copied: u64,
    written: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(old: &'a DataFile, new: &'a DataFile, chunks: &'a [Chunk]) -> Output<'a> {
        Output {
            old,
            new,
            chunks,
            at: 0,
            lines: 0,
            part: 0,
            member: None,
            flushed: 0,
            end: 0,
            copied: 0,
            written: 0,
        }
    }

    /// A chunk of one line that is in no plan.
    pub(super) fn own_chunk(&mut self, line: &[u8]) -> Result<()> {
        self.text(line)?;
        self.text(b"\r\n")?;
        self.end_chunk()?;
        self.written -= 1;
        Ok(())
    }

    /// Is this old chunk copied?
    pub(super) fn copies(&self, member: usize) -> bool {
        let chunk = self.chunks.get(self.at);
        chunk.is_some_and(|chunk| chunk.copy && chunk.parts[0].member == member)
    }

    /// Copies an old chunk.
    pub(super) fn copy(&mut self, from: &Measured) -> Result<()> {
        let copied = copy_range(self.old.file(), self.new.file(), from.start, from.end);
        self.new.io(copied)?;
        self.end += from.end - from.start;
        self.at += 1;
        self.copied += 1;
        Ok(())
    }

    /// The lines of an old chunk come.
    pub(super) fn begin(&mut self) {
        self.lines = 0;
    }

    /// Bytes of a line.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Result<()> {
        if self.member.is_none() {
            let mut member = MemberWriter::new();
            self.new.io(member.write(CHUNK_START.as_bytes()))?;
            (self.member, self.flushed) = (Some(member), 0);
        }
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        self.new.io(member.write(bytes))?;
        if member.pending() as u64 >= FLUSH_BYTES {
            self.drain()
        } else {
            Ok(())
        }
    }

    /// A line is whole.
    pub(super) fn end_line(&mut self) -> Result<()> {
        if let Some(member) = &mut self.member
            && member.length() - self.flushed >= FLUSH_BYTES
        {
            self.flushed = member.length();
            self.new.io(member.flush())?;
        }
        self.lines += 1;
        let Some(chunk) = self.chunks.get(self.at) else {
            return Ok(());
        };
        if self.lines < chunk.parts[self.part].lines.end {
            return Ok(());
        }
        self.part += 1;
        if self.part < chunk.parts.len() {
            return Ok(());
        }
        (self.part, self.at) = (0, self.at + 1);
        self.end_chunk()
    }

    /// Everything has come; how many chunks were copied and written.
    pub(super) fn finish(mut self) -> Result<(u64, u64)> {
        self.end_chunk()?;
        Ok((self.copied, self.written))
    }

    fn end_chunk(&mut self) -> Result<()> {
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        self.new.io(member.finish())?;
        self.drain()?;
        self.member = None;
        self.written += 1;
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        let bytes = member.take();
        self.new.write_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

//! The text of one command line while it arrives: in memory at first, in a nameless file when long.
//!
//! A MAILBOX line of a million messages has some 400 MB (spec: csync 2.6). From `MEMORY_LIMIT` on the
//! text goes to an unlinked file in the staging directory and is read through a memory map, so that
//! it costs page cache instead of heap.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use memmap2::Mmap;

/// Octets of a line that stay in memory.
const MEMORY_LIMIT: usize = 1 << 20;
/// A buffer up to this size is kept for the next line.
const KEPT_CAPACITY: usize = 64 << 10;

/// Text of the current line; octets of file literals are not part of it.
pub(crate) struct Line {
    directory: PathBuf,
    memory: Vec<u8>,
    spool: Option<Spool>,
}

struct Spool {
    file: File,
    len: u64,
}

/// The complete text, wherever it lies.
pub(crate) enum Text<'a> {
    Memory(&'a [u8]),
    Mapped(Mmap),
}

impl Line {
    /// An empty line that spools into `directory` (created if missing).
    pub(crate) fn new(directory: PathBuf) -> Line {
        Line {
            directory,
            memory: Vec::new(),
            spool: None,
        }
    }

    /// Octets so far.
    pub(crate) fn len(&self) -> u64 {
        self.spool
            .as_ref()
            .map_or(self.memory.len() as u64, |spool| spool.len)
    }

    /// The first octets, as many as are there up to some 1 MiB; enough to know the command.
    pub(crate) fn head(&self) -> &[u8] {
        &self.memory
    }

    /// Appends. An error (disk full) leaves the line incomplete: clear it and say so.
    pub(crate) fn push(&mut self, text: &[u8]) -> io::Result<()> {
        if let Some(spool) = &mut self.spool {
            return spool.push(text);
        }
        if self.memory.len() + text.len() <= MEMORY_LIMIT {
            self.memory.extend_from_slice(text);
            return Ok(());
        }
        std::fs::create_dir_all(&self.directory)?;
        let mut spool = Spool {
            file: tempfile::tempfile_in(&self.directory)?,
            len: 0,
        };
        spool.push(&self.memory)?;
        spool.push(text)?;
        self.spool = Some(spool);
        Ok(())
    }

    /// The complete text.
    pub(crate) fn text(&self) -> io::Result<Text<'_>> {
        match &self.spool {
            None => Ok(Text::Memory(&self.memory)),
            // SAFETY: the file has no name and this is its only descriptor, so nobody can change or
            // truncate it while the map lives; `Line` itself is borrowed for that time.
            Some(spool) => unsafe { Mmap::map(&spool.file) }.map(Text::Mapped),
        }
    }

    /// Empty again, for the next line.
    pub(crate) fn clear(&mut self) {
        self.spool = None;
        self.memory.clear();
        self.memory.shrink_to(KEPT_CAPACITY);
    }

    /// Gives the buffer back too, while the peer is idle.
    pub(crate) fn shrink(&mut self) {
        self.memory.shrink_to_fit();
    }
}

impl Spool {
    fn push(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.len += text.len() as u64;
        Ok(())
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Memory(text) => text,
            Text::Mapped(map) => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_moves_to_disk_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut line = Line::new(dir.path().join("staging"));
        let part: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
        let mut expected = Vec::new();
        for round in 1..=8 {
            line.push(&part).unwrap();
            expected.extend_from_slice(&part);
            assert_eq!(line.len(), 300_000 * round);
            assert_eq!(*line.text().unwrap(), expected[..]);
        }
        assert!(line.spool.is_some());
        assert!(line.memory.len() <= MEMORY_LIMIT);
        assert_eq!(
            std::fs::read_dir(dir.path().join("staging"))
                .unwrap()
                .count(),
            0
        );
        line.clear();
        assert_eq!((line.len(), line.head()), (0, &b""[..]));
        assert!(line.memory.capacity() <= KEPT_CAPACITY);
        line.push(b"NOOP").unwrap();
        assert_eq!(*line.text().unwrap(), b"NOOP"[..]);
    }
}

//! Verification: does the data file hold what the index says? (spec: ondisk 6.2)
//!
//! One pass over the file, chunk by chunk: the running SHA-1 of the file, the inflated bytes'
//! length and SHA-1, every message at the place where the index has it and with the octets its
//! GUID names, every mailbox and record as the index has them. Nothing is read back and nothing
//! larger than one MAILBOX line is held, so the cost is one reading of the file (C hashes the
//! prefix again for each chunk, and loops for ever on a damaged member: spec ondisk 10.7, 10.8).
//!
//! Left out: sieve scripts, and bytes that no chunk covers (they count for the file's SHA-1 only).
//! What is found comes out as values; the texts stand in `tools`.

mod content;
mod expected;
mod finding;
mod links;

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::error::Result;
use super::hash::FileHash;
use super::index::{ChunkRow, Index};
use super::member::{MemberEnd, MemberReader, hex};
use super::{Backup, StoreError};
use content::Content;
use expected::Expected;
pub use finding::{Finding, Stage};
use links::Names;

/// How much to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The checksums of the last chunk, which cover the whole file.
    Quick,
    /// Everything.
    Full,
}

/// What was found in one chunk; no findings is good news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkReport {
    /// Its id in the index.
    pub chunk: i64,
    /// In the order of [`Stage`], and within one in the order of the index.
    pub findings: Vec<Finding>,
}

/// Verifies a backup and reports each chunk as it is done; a `Break` ends the run early.
///
/// Damage is never an error here, it is a [`Finding`]. Returned are the findings that can only be
/// known at the end: a mailbox whose name no later RENAME explains, rows of chunks that are not
/// there.
///
/// # Errors
/// The index cannot be read, or the operating system refuses to read the file.
pub fn verify(
    backup: &Backup,
    level: Level,
    mut report: impl FnMut(ChunkReport) -> ControlFlow<()>,
) -> Result<Vec<Finding>> {
    let index = backup.index();
    let pass = Pass::new(backup);
    match level {
        Level::Quick => pass.quick(index, report),
        Level::Full => pass.full(index, &mut report),
    }
    .map_err(|error| match error {
        Failure::Store(error) => error,
        Failure::Io(source) => StoreError::Io {
            path: backup.path().to_owned(),
            source,
        },
    })
}

/// Why a pass cannot go on.
enum Failure {
    Store(StoreError),
    Io(io::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// The way through the file.
struct Pass {
    file: Arc<File>,
    length: u64,
    hash: FileHash,
    /// The last comparison of the file's SHA-1 failed; that the following fail too is no news.
    hash_differs: bool,
    /// Where the chunk before ends.
    end: u64,
    buffer: Vec<u8>,
}

impl Pass {
    fn new(backup: &Backup) -> Pass {
        Pass {
            file: backup.file(),
            length: backup.file_len(),
            hash: FileHash::default(),
            hash_differs: false,
            end: 0,
            buffer: vec![0; 64 * 1024],
        }
    }

    fn quick(
        mut self,
        index: &Index,
        mut report: impl FnMut(ChunkReport) -> ControlFlow<()>,
    ) -> std::result::Result<Vec<Finding>, Failure> {
        if let Some(chunk) = index.last_chunk()? {
            let mut findings = Vec::new();
            self.checksums(&chunk, &mut findings, &mut |_| {})?;
            let _ = report(ChunkReport {
                chunk: chunk.id,
                findings,
            });
        }
        Ok(Vec::new())
    }

    fn full(
        mut self,
        index: &Index,
        report: &mut impl FnMut(ChunkReport) -> ControlFlow<()>,
    ) -> std::result::Result<Vec<Finding>, Failure> {
        let mut expected = Expected::load(index)?;
        let mut names = Names::default();
        for chunk in index.chunks()? {
            let mut findings = Vec::new();
            let mut content = Content::new(&chunk, expected.take(chunk.id), &mut names);
            let readable =
                self.checksums(&chunk, &mut findings, &mut |bytes| content.take(bytes))?;
            content.finish(readable, &mut findings);
            findings.sort_by_key(Finding::stage);
            if report(ChunkReport {
                chunk: chunk.id,
                findings,
            })
            .is_break()
            {
                return Ok(Vec::new());
            }
        }
        let mut findings = names.finish();
        findings.extend(expected.left_over());
        Ok(findings)
    }

    /// Compares what the chunk's row says with the file, and shows the inflated bytes to `take`.
    /// Returns whether the member could be inflated to its end.
    fn checksums(
        &mut self,
        chunk: &ChunkRow,
        findings: &mut Vec<Finding>,
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<bool> {
        if chunk.offset < self.end {
            findings.push(Finding::Overlap {
                chunk: chunk.id,
                offset: chunk.offset,
            });
            return Ok(false);
        }
        // A file that ends too early has no such prefix: hash what there is, and differ.
        self.hash
            .read_to(&self.file, chunk.offset.min(self.length))?;
        let disk = self.hash.hex();
        let differs = disk != chunk.file_sha1;
        if differs && !self.hash_differs {
            let index = chunk.file_sha1.clone();
            findings.push(Finding::FileChecksum {
                chunk: chunk.id,
                disk,
                index,
            });
        }
        self.hash_differs = differs;
        self.data(chunk, findings, take)
    }

    fn data(
        &mut self,
        chunk: &ChunkRow,
        findings: &mut Vec<Finding>,
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<bool> {
        let mut sha1 = Sha1::new();
        let mut produced = 0;
        let end = match self.inflate(chunk.offset, &mut |bytes| {
            sha1.update(bytes);
            produced += bytes.len() as u64;
            take(bytes);
        }) {
            Ok(end) => end,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                findings.push(Finding::Unreadable {
                    chunk: chunk.id,
                    offset: chunk.offset,
                    byte: produced,
                    reason: e.to_string(),
                });
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        let length = chunk.length.unwrap_or(0);
        if produced != length {
            findings.push(Finding::DataLength {
                chunk: chunk.id,
                disk: produced,
                index: length,
            });
        } else if let MemberEnd::Truncated = end {
            findings.push(Finding::Unreadable {
                chunk: chunk.id,
                offset: chunk.offset,
                byte: produced,
                reason: "the file ends before the gzip trailer".to_owned(),
            });
        }
        let disk = hex(&sha1.finalize());
        let index = chunk.data_sha1.clone().unwrap_or_default();
        if disk != index {
            findings.push(Finding::DataChecksum {
                chunk: chunk.id,
                disk,
                index,
            });
        }
        if let MemberEnd::Complete(end) = end {
            self.end = end;
        }
        Ok(matches!(end, MemberEnd::Complete(_)))
    }

    fn inflate(&mut self, offset: u64, take: &mut dyn FnMut(&[u8])) -> io::Result<MemberEnd> {
        let mut member = MemberReader::open(Arc::clone(&self.file), offset, self.length)?;
        loop {
            match member.read(&mut self.buffer)? {
                0 => return Ok(member.end().unwrap_or(MemberEnd::Truncated)),
                n => take(&self.buffer[..n]),
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Verification: does the data file hold what the index says? (spec: ondisk 6.2)
//!
//! One pass over the file: the running SHA-1 of the file, the inflated bytes' length and SHA-1, every
//! message at the place where the index has it and with the octets its GUID names, every mailbox and
//! record as the index has them. Nothing is read back and nothing larger than one MAILBOX line is
//! held, so the cost is one reading of the file (C hashes the prefix again for each chunk, and loops
//! for ever on a damaged member: spec ondisk 10.7, 10.8).
//!
//! Chunks are inspected side by side ([`team`]) while the file's SHA-1 runs through it; what needs the
//! chunk before it is done in their order, so what is found does not depend on the number of threads.
//!
//! Beyond C: messages without octets, what stands behind the last chunk, our own tables (seek points,
//! the saved SHA-1).
//!
//! Left out: sieve scripts, and bytes between chunks (they count for the file's SHA-1 only).
//! What is found comes out as values; the texts stand in `tools`.

mod content;
mod expected;
mod finding;
mod inspect;
mod links;
mod names;
mod points;
mod team;

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::error::Result;
use super::hash::FileHash;
use super::index::ChunkRow;
use super::{Backup, StoreError};
use expected::{Expected, Places};
pub use finding::{Damage, Finding, MailboxName, Message, Place, Stage};
use inspect::{Inspected, Source};
use names::Names;
use team::{Job, Stop, Team};

/// How much to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The checksums of the last chunk, which cover the whole file; only if it was touched since they were known to
    /// be right.
    Quick,
    /// Everything.
    Full,
}

/// What was found in one chunk; no findings is good news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkReport {
    /// Its id in the index.
    pub chunk: i64,
    /// Where it starts in the data file.
    pub offset: u64,
    /// In the order of [`Stage`], and within one in the order of the index.
    pub findings: Vec<Finding>,
}

/// Verifies a backup and reports each chunk as it is done; a `Break` ends the run early. `progress` is told
/// by several threads, many times within a chunk, how many more octets of the file they have inspected.
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
    progress: &(dyn Fn(u64) + Sync),
    report: impl FnMut(ChunkReport) -> ControlFlow<()>,
) -> Result<Vec<Finding>> {
    verify_with(None, backup, level, progress, report)
}

/// As [`verify`], by so many threads beside this one.
fn verify_with(
    threads: Option<usize>,
    backup: &Backup,
    level: Level,
    progress: &(dyn Fn(u64) + Sync),
    mut report: impl FnMut(ChunkReport) -> ControlFlow<()>,
) -> Result<Vec<Finding>> {
    let index = backup.index();
    let last = index.last_chunk()?;
    if let (Level::Quick, Some(chunk), true) = (level, &last, backup.is_attested()?) {
        let _ = report(ChunkReport {
            chunk: chunk.id,
            offset: chunk.offset,
            findings: Vec::new(),
        });
        return Ok(Vec::new());
    }
    let expected = match level {
        Level::Quick => Expected::default(),
        Level::Full => Expected::load(index)?,
    };
    let full = expected
        .chunks
        .iter()
        .map(|(chunk, rows)| (chunk, Some(rows)));
    let jobs: Vec<Job<'_>> = match level {
        Level::Quick => last.iter().map(|chunk| (chunk, None)).collect(),
        Level::Full => full.collect(),
    };
    let (file, length) = (backup.file(), backup.file_len());
    let stop = AtomicBool::new(false);
    let source = Source {
        file: &file,
        length,
        progress,
        stop: &stop,
    };
    let threads = threads.unwrap_or_else(|| team::size(length, jobs.len()));
    let done = thread::scope(|scope| {
        // However this ends, the threads end too.
        let _stop = Stop(&stop);
        let team = Team::start(threads, scope, source, &jobs)?;
        Pass::new(&file, length, &expected).run(&team, &jobs, &mut report)
    });
    done.map_err(StoreError::io(backup.path()))
}

/// The way through the file, in its order.
struct Pass<'a> {
    file: &'a Arc<File>,
    length: u64,
    hash: FileHash,
    /// The last comparison of the file's SHA-1 failed; that the following fail too is no news.
    hash_differs: bool,
    /// Where the chunk before ends.
    end: u64,
    names: Names,
    expected: &'a Expected,
    /// Made when the first message turns out damaged.
    places: OnceCell<Places>,
}

impl<'a> Pass<'a> {
    fn new(file: &'a Arc<File>, length: u64, expected: &'a Expected) -> Pass<'a> {
        Pass {
            file,
            length,
            hash: FileHash::default(),
            hash_differs: false,
            end: 0,
            names: Names::default(),
            expected,
            places: OnceCell::new(),
        }
    }

    fn run(
        mut self,
        team: &Team<'_>,
        jobs: &[Job<'_>],
        report: &mut dyn FnMut(ChunkReport) -> ControlFlow<()>,
    ) -> io::Result<Vec<Finding>> {
        for (number, job) in jobs.iter().enumerate() {
            let chunk = job.0;
            let damage = match chunk.offset < self.end {
                // Whatever stands there, it is not this chunk.
                true => {
                    let _ = team.result(number, job);
                    let mut damage = vec![Damage::Overlap];
                    damage.extend(inspect::unread(job.1));
                    damage
                }
                false => {
                    let mut damage = self.file_checksum(chunk)?;
                    damage.extend(self.take(chunk, team.result(number, job)?));
                    damage
                }
            };
            let report_now = ChunkReport {
                chunk: chunk.id,
                offset: chunk.offset,
                findings: self.findings(chunk, damage),
            };
            if report(report_now).is_break() {
                return Ok(Vec::new());
            }
        }
        let behind = self.end_of_file(jobs)?;
        let mut findings = self.names.finish();
        findings.extend(self.expected.strays());
        findings.extend(behind);
        Ok(findings)
    }

    /// What stands behind the last chunk, and whether the index knows the file's SHA-1 up to there.
    fn end_of_file(&mut self, jobs: &[Job<'_>]) -> io::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        // A look at the last chunk alone does not ask.
        let Some((last, Some(_))) = jobs.last().copied() else {
            return Ok(findings);
        };
        let mut found = |offset, damage| {
            findings.push(Finding {
                chunk: last.id,
                offset: Some(offset),
                damage,
            });
        };
        // Where a chunk that cannot be read ends, nobody knows.
        if self.end > last.offset && self.end < self.length {
            let octets = self.length - self.end;
            found(self.end, Damage::Behind { octets });
        }
        let state = self.expected.state.as_ref();
        if let Some(state) = state.filter(|state| state.chunk_id == last.id)
            && let Some(saved) = FileHash::restore(&state.sha1)
        {
            self.hash
                .read_to(self.file, saved.length().min(self.length))?;
            let same = saved.length() == state.data_end && saved.hex() == self.hash.hex();
            if !same {
                found(last.offset, Damage::SavedHash);
            }
        }
        Ok(findings)
    }

    fn file_checksum(&mut self, chunk: &ChunkRow) -> io::Result<Vec<Damage>> {
        // A file that ends too early has no such prefix: hash what there is, and differ.
        self.hash
            .read_to(self.file, chunk.offset.min(self.length))?;
        let disk = self.hash.hex();
        let differs = disk != chunk.file_sha1;
        let known = std::mem::replace(&mut self.hash_differs, differs);
        let index = chunk.file_sha1.clone();
        let news = differs && !known;
        Ok(news
            .then_some(Damage::FileChecksum { disk, index })
            .into_iter()
            .collect())
    }

    fn take(&mut self, chunk: &ChunkRow, inspected: Inspected) -> Vec<Damage> {
        self.names.follow(chunk, inspected.events);
        self.end = inspected.end.unwrap_or(self.end);
        inspected.damage
    }

    fn findings(&self, chunk: &ChunkRow, damage: Vec<Damage>) -> Vec<Finding> {
        let finding = |mut damage: Damage| {
            if let Some(message) = damage.message_mut() {
                let places = self.places.get_or_init(|| self.expected.places());
                message.places = places.get(&message.guid).cloned().unwrap_or_default();
            }
            Finding {
                chunk: chunk.id,
                offset: Some(chunk.offset),
                damage,
            }
        };
        let mut findings: Vec<Finding> = damage.into_iter().map(finding).collect();
        findings.sort_by_key(Finding::stage);
        findings
    }
}

#[cfg(test)]
mod tests;

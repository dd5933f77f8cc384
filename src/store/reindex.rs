//! Reindexing: a new index by one pass over the data file ([`fresh_index`]), and nothing left over behind it.

use std::path::Path;

use super::data_file::DataFile;
use super::error::Result;
use super::rebuild::Report;
use super::rewrite::swap;
use super::{Backup, Lock, fresh_index, recover};

/// How to reindex.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reindex {
    /// Wait for the lock.
    pub wait: bool,
    /// Only look what could be saved; needs no more than a shared lock.
    pub dry_run: bool,
    /// The old index stays as `X.index.<epoch>`.
    pub keep_previous: Option<i64>,
}

/// Reindexes the data file at `path`; `progress` is told offsets in it. A chunk that a crash left open at its end is closed.
///
/// # Errors
/// As [`super::Appender::open`], but any index will do, or none. Damage is in the report.
pub fn reindex(path: &Path, how: Reindex, progress: &mut dyn FnMut(u64)) -> Result<Report> {
    let wait = how.wait;
    if how.dry_run {
        let lock = Lock::Shared { wait };
        return Ok(Backup::open_rebuilt_telling(path, lock, progress)?.1);
    }
    let data = DataFile::open_exclusive(path, wait)?;
    swap::settle(&data)?;
    let report = fresh_index::put(&data, how.keep_previous, progress)?;
    // What is left behind the last whole chunk is closed and indexed as after any crash.
    recover::go_on(data)?;
    Ok(report)
}

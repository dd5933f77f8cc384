//! Makes the index of a backup anew and puts it in place: from the bytes of the data file, into
//! `X.index.new`, renamed when it is whole. Whatever happens before that, the old index stays.

use std::path::Path;

use super::data_file::DataFile;
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{Index, State};
use super::rebuild::{Report, Source, Terms, rebuild};
use super::rewrite::swap;
use super::{Backup, Lock, layout, recover, stamp};

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
    let report = in_place(&data, how.keep_previous, progress)?;
    // What is left behind the last whole chunk is closed and indexed as after any crash.
    recover::go_on(data)?;
    Ok(report)
}

/// Replaces the index of a data file that the caller holds.
pub(super) fn in_place(
    data: &DataFile,
    keep_previous: Option<i64>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report> {
    let path = data.path();
    swap::clear(path)?;
    let new_path = layout::new_index(path);
    let made = make(data, &new_path, progress);
    let report = match made {
        Ok(report) => report,
        Err(e) => {
            let _ = swap::clear(path);
            return Err(e);
        }
    };
    let index_path = layout::index(path);
    if let Some(epoch) = keep_previous {
        swap::link(&index_path, &layout::previous_index(path, epoch))?;
    }
    // A journal of the old index would be rolled back into the new one.
    let journal = layout::index_journal(path);
    match std::fs::remove_file(&journal) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io(&journal)(e));
        }
        _ => {}
    }
    swap::rename(&new_path, &index_path)?;
    Ok(report)
}

fn make(data: &DataFile, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Report> {
    let index = Index::create(path)?;
    let source = Source {
        file: data.file(),
        path: data.path(),
        length: data.len()?,
    };
    let terms = Terms {
        until: None,
        sums: true,
        leave_torn_end: true,
        progress,
    };
    let mut hash = FileHash::default();
    index.begin()?;
    let report = rebuild(&source, &index, &mut hash, terms)?;
    index.set_state(&State {
        chunk_id: index.last_chunk()?.map_or(0, |chunk| chunk.id),
        data_end: hash.length(),
        sha1: hash.save(),
    })?;
    stamp::attest(data, &index)?;
    index.commit()?;
    index.sync()?;
    Ok(report)
}

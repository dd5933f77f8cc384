//! The index of a data file made anew, from its bytes as they are, into `X.index.new`, which is renamed when it
//! is whole. Whatever happens before that, the old index stays.

use std::path::Path;

use super::data_file::DataFile;
use super::error::{Result, StoreError};
use super::hash::FileHash;
use super::index::{Index, State};
use super::rebuild::{Report, Source, Terms, rebuild};
use super::rewrite::swap;
use super::{layout, stamp};

/// Replaces the index of a data file that the caller holds.
pub(super) fn put(
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
    if report.losses.is_empty() {
        stamp::attest(data, &index)?;
    }
    index.commit()?;
    index.sync()?;
    Ok(report)
}

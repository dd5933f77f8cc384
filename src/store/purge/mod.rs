//! Taking messages out of a backup for good: their octets, their records in every mailbox, what
//! mentions their GUIDs, earlier versions of the files, and the cache of the mount. The index is made
//! anew from what is left, so nothing of them is in its free pages either.
//!
//! What cannot be read may be theirs too, and it is all that is left to somebody who knows how to read
//! it. So a damaged backup is refused, and when that is forced, what cannot be read goes as well and
//! stands on the receipt.
//!
//! Left out: overwriting the blocks that the file system gives back, and other media.

mod receipt;
mod unreadable;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

pub use receipt::{DamagedChunk, Purged, Receipt, Unreadable};

use super::error::{Result, StoreError};
use super::rebuild::Source;
use super::rewrite::{
    Line, Measured, Rewrite, Selection, Sizes, Verdict, WriteTerms, arrange, measure, swap,
};
use super::{Backup, family, fresh_index, layout};
use crate::csync::command::{Apply, Record};
use crate::types::Guid;
use receipt::described;
use unreadable::unreadable;

/// Everything about some messages goes.
struct Without<'a>(&'a HashSet<Guid>);

impl Selection for Without<'_> {
    fn line(&self, line: Line<'_>) -> Verdict {
        match line.apply {
            // A question of long ago, which C has written down; it means nothing.
            Apply::Reserve(reserve) if reserve.guids.iter().any(|g| self.0.contains(g)) => {
                Verdict::Drop
            }
            _ => Verdict::Keep,
        }
    }

    fn record(&self, _line: Line<'_>, _uniqueid: &str, record: &Record) -> bool {
        !self.0.contains(&record.guid)
    }

    fn body(&self, _line: u64, _item: u32, guid: &Guid) -> bool {
        !self.0.contains(guid)
    }
}

/// On which terms to purge.
#[derive(Debug, Clone, Copy, Default)]
pub struct Purge {
    /// Wait for the lock.
    pub wait: bool,
    /// What cannot be read goes too, and earlier versions of the files even when nothing is found.
    pub force: bool,
}

impl Purge {
    /// `X.<epoch>` and `X.index.<epoch>`, which go and which stay: what was in them is in X, or was taken out of
    /// it before.
    fn earlier(self, path: &Path, guids: &HashSet<Guid>) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let suffixes = family::suffixes(path).map_err(StoreError::io(path))?;
        let earlier = suffixes.into_iter().filter(|s| family::is_epoch(s));
        let earlier = earlier.map(|s| family::with(path, &s)).collect();
        Ok(match self.force || !guids.is_empty() {
            true => (earlier, Vec::new()),
            false => (Vec::new(), earlier),
        })
    }
}

/// What [`purge`] would take out of a backup that is open, damaged or not. The file is read.
pub fn look(backup: &Backup, guids: &HashSet<Guid>, how: Purge) -> Result<Receipt> {
    let (path, file) = (backup.path(), backup.file());
    let source = Source {
        file: &file,
        path,
        length: backup.file_len(),
    };
    let members = measure(&source, &Without(guids), &mut |_| {})?;
    let state = (family::sum(path)?, backup.file_len());
    let (previous, kept) = how.earlier(path, guids)?;
    Ok(Receipt {
        path: path.to_owned(),
        before: state,
        after: state,
        messages: described(backup.index(), guids)?,
        unreadable: unreadable(&source, backup.index(), &members, guids)?,
        previous,
        kept,
    })
}

/// Takes these messages out of the backup at `path`. Killed at any moment, the backup is the old
/// one or the new one; doing it again finishes it.
///
/// # Errors
/// [`StoreError::Held`], [`StoreError::Locked`]; [`StoreError::Damaged`] unless forced. Nothing is
/// changed then. An error as well when something that could not be understood still mentions one of
/// them.
pub fn purge(
    path: &Path,
    guids: &HashSet<Guid>,
    how: Purge,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Receipt> {
    let rewrite = Rewrite::open(path, how.wait)?;
    let without = Without(guids);
    // Looking, writing, looking at what was written.
    let (length, all) = (rewrite.file_len(), 3 * rewrite.file_len());
    let members = rewrite.measure(&without, &mut |at| progress(at, all))?;
    let unreadable = unreadable(&rewrite.source(), rewrite.index(), &members, guids)?;
    if !how.force {
        refuse_damaged(path, &unreadable)?;
    }
    if !members.is_empty() && members.iter().all(is_unknown) {
        return Err(fresh_index::unreadable(path));
    }
    let before = (family::sum(path)?, length);
    let messages = described(rewrite.index(), guids)?;
    if members.iter().any(Measured::is_changed) {
        let chunks = arrange(&members, Sizes::default());
        let terms = WriteTerms::default();
        let mut written = |at| progress(length + at, all);
        rewrite.write(&without, &members, &chunks, &terms, &mut written)?;
    } else {
        drop(rewrite);
    }
    let rewritten = Rewrite::open(path, how.wait)?;
    swap::forget_seek(path)?;
    let (previous, kept) = how.earlier(path, guids)?;
    remove(path, &previous)?;
    refuse_traces(&rewritten, path, guids)?;
    Ok(Receipt {
        path: path.to_owned(),
        before,
        after: (family::sum(path)?, rewritten.file_len()),
        messages,
        unreadable,
        previous,
        kept,
    })
}

/// As [`purge`] refuses it.
///
/// # Errors
/// [`StoreError::Damaged`] when something cannot be read.
pub fn refuse_damaged(path: &Path, unreadable: &Unreadable) -> Result<()> {
    let Some(first) = unreadable.chunks.first() else {
        return Ok(());
    };
    Err(StoreError::Damaged {
        path: path.to_owned(),
        chunk: first.id.unwrap_or(0),
        offset: first.offset,
        guid: None,
        reason: "what cannot be read would go too. `verify --keep-going` names it, `-F compact` keeps it \
                 in X.<epoch>, which purge removes; `purge -F` lets it go and says so on the receipt"
            .to_owned(),
    })
}

/// Not a line of it can be read.
fn is_unknown(member: &Measured) -> bool {
    member.damaged && member.is_dead() && member.dropped == 0
}

fn remove(path: &Path, files: &[PathBuf]) -> Result<()> {
    for file in files {
        fs::remove_file(file).map_err(StoreError::io(file))?;
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    layout::sync_directory(directory).map_err(StoreError::io(directory))
}

/// No line mentions one of the GUIDs any more. (Other messages may: octets are nobody's business.)
fn refuse_traces(rewrite: &Rewrite, path: &Path, guids: &HashSet<Guid>) -> Result<()> {
    if guids.is_empty() {
        return Ok(());
    }
    let mut traces = Traces {
        needles: guids.iter().map(Guid::to_string).collect(),
        found: None,
    };
    rewrite.read(&mut traces, &mut |_| {})?;
    match traces.found {
        None => Ok(()),
        Some(guid) => Err(StoreError::InvalidFormat {
            path: path.to_owned(),
            reason: format!("a line that nobody understands still mentions {guid}"),
        }),
    }
}

struct Traces {
    needles: Vec<String>,
    found: Option<String>,
}

impl super::scan::Visitor for Traces {
    fn line(&mut self, _offset: u64, text: &[u8]) -> bool {
        let mut needles = self.needles.iter();
        let found = needles.find(|guid| memchr::memmem::find(text, guid.as_bytes()).is_some());
        self.found = self.found.take().or(found.cloned());
        self.found.is_none()
    }
}

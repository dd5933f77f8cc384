//! Taking messages out of a backup for good: their octets, their records in every mailbox, what
//! mentions their GUIDs, and earlier versions of the files. The index is made anew from what is
//! left, so nothing of them is in its free pages either.
//!
//! Left out: overwriting the blocks that the file system gives back, and other media.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Result, StoreError};
use super::family;
use super::index::Index;
use super::layout;
use super::rewrite::{Line, Measured, Rewrite, Selection, Sizes, Verdict, WriteTerms, arrange};
use crate::csync::command::{Apply, Record};
use crate::types::Guid;

/// What was done, for whoever asks later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The data file.
    pub path: PathBuf,
    /// Its SHA-1 and length before.
    pub before: ([u8; 20], u64),
    /// And after.
    pub after: ([u8; 20], u64),
    /// What was in it.
    pub messages: Vec<Purged>,
    /// Earlier versions of the files that were removed.
    pub previous: Vec<PathBuf>,
}

/// A message that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// SHA-1 of its octets.
    pub guid: Guid,
    /// Octets, when the backup had them.
    pub size: Option<u64>,
    /// Where it was: mailbox, its identity, UID.
    pub places: Vec<(String, String, u32)>,
}

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

/// What [`purge`] would take out of the backup with this index.
pub fn plan(index: &Index, guids: &HashSet<Guid>) -> Result<Vec<Purged>> {
    let sorted: BTreeSet<Guid> = guids.iter().copied().collect();
    let mut purged = Vec::new();
    for guid in sorted {
        purged.push(Purged {
            guid,
            size: index.message(&guid)?.map(|row| row.size),
            places: Vec::new(),
        });
    }
    for mailbox in index.mailboxes()? {
        for record in index.records(mailbox.id)? {
            if let Ok(at) = purged.binary_search_by_key(&record.guid, |p| p.guid) {
                let place = (
                    mailbox.mboxname.clone(),
                    mailbox.uniqueid.clone(),
                    record.uid,
                );
                purged[at].places.push(place);
            }
        }
    }
    Ok(purged)
}

/// Takes these messages out of the backup at `path`. Killed at any moment, the backup is the old
/// one or the new one; doing it again finishes it.
///
/// # Errors
/// [`StoreError::Held`], [`StoreError::Locked`]; an error as well when something that could not be
/// understood still mentions one of them.
pub fn purge(
    path: &Path,
    guids: &HashSet<Guid>,
    wait: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Receipt> {
    let rewrite = Rewrite::open(path, wait)?;
    let messages = plan(rewrite.index(), guids)?;
    let before = (family::sum(path)?, rewrite.file_len());
    let without = Without(guids);
    // Looking, writing, looking at what was written.
    let (length, all) = (rewrite.file_len(), 3 * rewrite.file_len());
    let members = rewrite.measure(&without, &mut |at| progress(at, all))?;
    let mut previous = Vec::new();
    if members.iter().any(Measured::is_changed) {
        let chunks = arrange(&members, Sizes::default());
        let terms = WriteTerms::default();
        let mut written = |at| progress(length + at, all);
        rewrite.write(&without, &members, &chunks, &terms, &mut written)?;
    } else {
        drop(rewrite);
    }
    let rewritten = Rewrite::open(path, wait)?;
    remove_previous(path, &mut previous)?;
    refuse_traces(&rewritten, path, guids)?;
    Ok(Receipt {
        path: path.to_owned(),
        before,
        after: (family::sum(path)?, rewritten.file_len()),
        messages,
        previous,
    })
}

/// `X.<epoch>` and `X.index.<epoch>`: what was in them is in X, or was taken out of it before.
fn remove_previous(path: &Path, removed: &mut Vec<PathBuf>) -> Result<()> {
    for suffix in family::suffixes(path).map_err(StoreError::io(path))? {
        if family::is_epoch(&suffix) {
            let old = family::with(path, OsStr::new(&suffix));
            fs::remove_file(&old).map_err(StoreError::io(&old))?;
            removed.push(old);
        }
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    layout::sync_directory(directory).map_err(StoreError::io(directory))
}

/// No line mentions one of the GUIDs any more. (Other messages may: octets are nobody's business.)
fn refuse_traces(rewrite: &Rewrite, path: &Path, guids: &HashSet<Guid>) -> Result<()> {
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

/// SHA-1 of a file, for a receipt of nothing.
pub fn sum(path: &Path) -> Result<[u8; 20]> {
    family::sum(path)
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

//! What a purge took out, or would take out, for whoever asks later.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use crate::store::error::Result;
use crate::store::index::Index;
use crate::types::Guid;

/// What was done.
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
    /// What could not be read, and went with it.
    pub unreadable: Unreadable,
    /// Earlier versions of the files that were removed.
    pub previous: Vec<PathBuf>,
    /// Earlier versions that stay, since nothing was found that is to go. Nobody has looked into them.
    pub kept: Vec<PathBuf>,
}

impl Receipt {
    /// Of this purge and the next one.
    pub fn and(mut self, next: Receipt) -> Receipt {
        self.after = next.after;
        self.messages.extend(next.messages);
        self.previous.extend(next.previous);
        self.kept = next.kept;
        self
    }
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

/// What cannot be read of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Chunks that are damaged.
    pub chunks: Vec<DamagedChunk>,
    /// Messages of which the index knows and of which no copy can be read, without those that are to go.
    pub messages: Vec<Purged>,
}

/// A chunk of which not all can be read, or bytes that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedChunk {
    /// Its id in the index, if that knows it.
    pub id: Option<i64>,
    /// Where it starts in the data file.
    pub offset: u64,
}

impl Unreadable {
    /// All can be read.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// These messages, with every place where this index has them.
pub(super) fn described(index: &Index, guids: &HashSet<Guid>) -> Result<Vec<Purged>> {
    let sorted: BTreeSet<Guid> = guids.iter().copied().collect();
    let mut described = Vec::new();
    for guid in sorted {
        described.push(Purged {
            guid,
            size: index.message(&guid)?.map(|row| row.size),
            places: Vec::new(),
        });
    }
    for mailbox in index.mailboxes()? {
        for record in index.records(mailbox.id)? {
            if let Ok(at) = described.binary_search_by_key(&record.guid, |p| p.guid) {
                let place = (
                    mailbox.mboxname.clone(),
                    mailbox.uniqueid.clone(),
                    record.uid,
                );
                described[at].places.push(place);
            }
        }
    }
    Ok(described)
}

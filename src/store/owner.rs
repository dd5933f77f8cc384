//! Whose a data file is, by what is in it and never by its name. The index is asked when it tells of
//! the same owner as the first lines of the data file, else all lines are read.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::backup::{Backup, Lock};
use super::data_file::DataFile;
use super::entry::{self, Entry};
use super::error::Result;
use super::index::Index;
use super::member::MemberReader;
use super::scan::{Visitor, scan};
use crate::csync::command::Apply;
use crate::types::{BackupKey, MboxName, Namespace};

/// What a data file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Whose it is; None when no line says it.
    pub owner: Option<BackupKey>,
    /// Who else has mailboxes in it.
    pub others: Vec<BackupKey>,
    /// The latest time that is known of it, unix seconds.
    pub last: i64,
    /// Bytes.
    pub length: u64,
}

/// Looks into the data file at `path`. Takes no lock that anybody would wait for.
///
/// # Errors
/// [`super::StoreError::Missing`], and what the system says.
pub fn examine(path: &Path, namespace: &Namespace) -> Result<Content> {
    let data = DataFile::open_unlocked(path)?;
    let length = data.len()?;
    if length == 0 {
        return Ok(Content {
            owner: None,
            others: Vec::new(),
            last: 0,
            length,
        });
    }
    let first = data.io(first_owner(&data, length, namespace))?;
    if first.is_some()
        && let Ok(backup) = open(path)
        && let Ok(content) = by_index(backup.index(), length, namespace)
        && content.owner == first
    {
        return Ok(content);
    }
    // The two disagree, after a rename or because the index is another file's: all lines decide.
    let (backup, _) = Backup::open_rebuilt(path, Lock::None)?;
    let content = by_index(backup.index(), length, namespace)?;
    Ok(Content {
        owner: content.owner.or(first),
        ..content
    })
}

/// With readers, else without any lock.
fn open(path: &Path) -> Result<Backup> {
    Backup::open(path, Lock::Shared { wait: false }).or_else(|_| Backup::open(path, Lock::None))
}

/// The owner of most living mailboxes; when none lives, of most dead ones.
fn by_index(index: &Index, length: u64, namespace: &Namespace) -> Result<Content> {
    let mailboxes = index.mailboxes()?;
    let mut votes: BTreeMap<BackupKey, (usize, usize, i64)> = BTreeMap::new();
    for mailbox in &mailboxes {
        let Ok(name) = MboxName::new(mailbox.mboxname.as_str()) else {
            continue;
        };
        let (alive, all, chunk) = votes.entry(name.owner(namespace)).or_default();
        *alive += usize::from(mailbox.deleted.is_none());
        *all += 1;
        *chunk = (*chunk).max(mailbox.last_chunk_id);
    }
    let best = votes.iter().max_by_key(|(_, votes)| **votes);
    let owner = best.map(|(key, _)| key.clone());
    let last = index.last_chunk()?;
    Ok(Content {
        others: votes
            .into_keys()
            .filter(|key| Some(key) != owner.as_ref())
            .collect(),
        owner,
        last: last.map_or(0, |chunk| chunk.ts_end.unwrap_or(chunk.ts_start)),
        length,
    })
}

/// Whose the first line of the first chunk is that belongs to somebody.
fn first_owner(
    data: &DataFile,
    length: u64,
    namespace: &Namespace,
) -> io::Result<Option<BackupKey>> {
    let mut reader = match MemberReader::open(Arc::clone(data.file()), 0, length) {
        Ok(reader) => reader,
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut first = First {
        namespace,
        owner: None,
    };
    scan(&mut reader, &mut first)?;
    Ok(first.owner)
}

struct First<'a> {
    namespace: &'a Namespace,
    owner: Option<BackupKey>,
}

impl Visitor for First<'_> {
    fn line(&mut self, _offset: u64, text: &[u8]) -> bool {
        if let Entry::Apply(_, apply) = entry::parse(text) {
            self.owner = of_line(&apply, self.namespace);
        }
        self.owner.is_none()
    }

    fn enough(&mut self) -> bool {
        self.owner.is_some()
    }
}

/// Whose a command is. RESERVE tells of everybody's mailboxes, MESSAGE of none.
fn of_line(apply: &Apply<'_>, namespace: &Namespace) -> Option<BackupKey> {
    match apply {
        Apply::Mailbox(update) => Some(update.mboxname.owner(namespace)),
        Apply::Unmailbox(name) => Some(name.owner(namespace)),
        Apply::Expunge { mboxname, .. } => Some(mboxname.owner(namespace)),
        Apply::Rename(rename) => Some(rename.new.owner(namespace)),
        Apply::Sub { userid, .. }
        | Apply::Unsub { userid, .. }
        | Apply::Sieve { userid, .. }
        | Apply::Unsieve { userid, .. }
        | Apply::ActivateSieve { userid, .. }
        | Apply::UnactivateSieve { userid } => BackupKey::from_userid(userid).ok(),
        Apply::Seen(seen) => BackupKey::from_userid(&seen.userid).ok(),
        _ => None,
    }
}

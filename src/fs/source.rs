//! What the tree asks of a backup, and nothing more: the narrow trait between `fs` and the store, so
//! that trees are tested without files.

use std::path::Path;
use std::sync::Arc;

use super::FsError;
use crate::types::Guid;

/// One opened backup, unchanging while it is open.
pub trait Source: Send + Sync {
    /// The data file, for messages.
    fn path(&self) -> &Path;
    /// Bytes of the data file that belong to this view.
    fn data_len(&self) -> u64;
    /// The indexed chunks, in any order.
    fn chunks(&self) -> Result<Vec<Chunk>, FsError>;
    /// All mailboxes, in the order of their ids.
    fn mailboxes(&self) -> Result<Vec<Mailbox>, FsError>;
    /// All records of a mailbox, in any order.
    fn records(&self, mailbox: i64) -> Result<Vec<Record>, FsError>;
    /// Number of messages in the backup (for statfs).
    fn message_count(&self) -> Result<u64, FsError>;
    /// The octets of a message, checked against its GUID.
    fn message(&self, guid: &Guid) -> Result<Arc<[u8]>, FsError>;
    /// Nobody has asked for a while: lets go of memory that can be had again.
    fn rest(&self);
    /// Bytes of the data file as they are; fewer than asked only at its end.
    fn raw(&self, offset: u64, buf: &mut [u8]) -> Result<usize, FsError>;
}

/// An index that says something no writer says.
pub fn odd(source: &dyn Source, what: &str) -> FsError {
    FsError::Unreadable {
        path: source.path().to_owned(),
        what: format!("{what}: neither C nor we write that; reindex the backup"),
    }
}

/// A chunk of the data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Row id.
    pub id: i64,
    /// Where its gzip member starts in the data file, in bytes.
    pub offset: u64,
    /// When it ended (when it began, if its end is not known), in unix seconds.
    pub time: i64,
}

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Row id.
    pub id: i64,
    /// Internal name.
    pub name: String,
    /// Its unique id.
    pub uniqueid: String,
    /// The chunk that changed it last.
    pub last_chunk: i64,
    /// When it was deleted, in unix seconds.
    pub deleted: Option<i64>,
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Row id of the message, `None` if the backup does not hold its body.
    pub message: Option<i64>,
    /// UID in the mailbox.
    pub uid: u32,
    /// Name of the body.
    pub guid: Guid,
    /// Octets of the body, `None` if the backup does not hold it.
    pub size: Option<u64>,
    /// INTERNALDATE, in unix seconds.
    pub internaldate: i64,
    /// Modification sequence.
    pub modseq: u64,
    /// Flags as the index holds them: `(\Seen $x)`.
    pub flags: String,
    /// The chunk that changed the record last.
    pub last_chunk: i64,
    /// When it was expunged, in unix seconds.
    pub expunged: Option<i64>,
}

//! What the tree asks of a backup, and nothing more: the narrow trait between this room and the store,
//! so that trees are tested without files.

use std::path::Path;
use std::sync::Arc;

use super::ViewError;
use super::links::Copy;
use super::notes::Details;
use crate::types::Guid;

/// One opened backup, unchanging while it is open.
pub trait Source: Send + Sync {
    /// The data file, for messages.
    fn path(&self) -> &Path;
    /// Bytes of the data file that belong to this view.
    fn data_len(&self) -> u64;
    /// The indexed chunks, in any order.
    fn chunks(&self) -> Result<Vec<Chunk>, ViewError>;
    /// All mailboxes, in the order of their ids.
    fn mailboxes(&self) -> Result<Vec<Mailbox>, ViewError>;
    /// Row ids of the mailboxes with expunged messages.
    fn with_expunged(&self) -> Result<Vec<i64>, ViewError>;
    /// All records of a mailbox, in any order.
    fn records(&self, mailbox: i64) -> Result<Vec<Record>, ViewError>;
    /// The records of all messages that have more than one.
    fn copies(&self) -> Result<Vec<Copy>, ViewError>;
    /// Number of messages in the backup (for statfs).
    fn message_count(&self) -> Result<u64, ViewError>;
    /// The octets of a message by its row id, checked against its GUID.
    fn message(&self, id: u32, guid: &Guid) -> Result<Arc<[u8]>, ViewError>;
    /// The sieve scripts that are not deleted, by row id.
    fn scripts(&self) -> Result<Vec<Script>, ViewError>;
    /// The text of one of them, checked.
    fn script(&self, id: i64) -> Result<Arc<[u8]>, ViewError>;
    /// What else the backup knows: headers of mailboxes, subscriptions, seen state, quota.
    fn details(&self) -> Result<Details, ViewError>;
    /// The oldest moment that this backup can be shown at, in unix seconds.
    fn oldest(&self) -> Result<Option<i64>, ViewError>;
    /// This backup as it was at a moment (unix seconds), of the same bytes.
    fn past(&self, time: i64) -> Result<Arc<dyn Source>, ViewError>;
    /// Nobody has asked for a while: lets go of memory that can be had again.
    fn rest(&self);
    /// Bytes of the data file as they are; fewer than asked only at its end.
    fn raw(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ViewError>;
    /// Inflated bytes of a chunk; fewer than asked only at its end.
    fn inflated(&self, chunk: i64, offset: u64, buf: &mut [u8]) -> Result<usize, ViewError>;
}

/// An index that says something no writer says.
pub fn odd(source: &dyn Source, what: &str) -> ViewError {
    ViewError::Unreadable {
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
    /// Inflated bytes, if the index knows.
    pub length: Option<u64>,
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
    /// MBOXTYPE as on the wire; none for mail.
    pub kind: Option<String>,
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
    /// Annotations as a dlist, or nothing.
    pub annotations: String,
    /// The chunk that changed the record last.
    pub last_chunk: i64,
    /// When it was expunged, in unix seconds.
    pub expunged: Option<i64>,
}

/// A sieve script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Row id.
    pub id: i64,
    /// Name as in the log: `vacation.script`.
    pub filename: String,
    /// Modification time on the server, in unix seconds.
    pub modified: i64,
    /// The chunk that holds it.
    pub chunk: i64,
    /// Whether it is the one that runs.
    pub active: bool,
}

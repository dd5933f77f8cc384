//! What verification can find, and whose it is.

use std::sync::Arc;

use crate::types::Guid;

/// The steps of verification, in C's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// SHA-1 of the file before the chunk.
    FileChecksum,
    /// Number of inflated bytes.
    DataLength,
    /// SHA-1 of the inflated bytes.
    DataChecksum,
    /// Messages.
    Messages,
    /// Mailboxes and their records.
    Links,
    /// Ours beyond C: records without bodies, our own tables.
    Own,
}

/// One disagreement between data file and index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Row id of the chunk.
    pub chunk: i64,
    /// Where the chunk starts in the data file; None when the index does not have it.
    pub offset: Option<u64>,
    /// What is wrong with it.
    pub damage: Damage,
}

/// What is wrong. `disk` is what the file says, `index` what the index says; `byte` counts in the
/// inflated chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the line above")]
pub enum Damage {
    /// The chunk starts before the one before it ends.
    Overlap,
    /// The file before the chunk has another SHA-1.
    FileChecksum { disk: String, index: String },
    /// The member cannot be inflated beyond this byte.
    Unreadable { byte: u64, reason: String },
    /// The chunk inflates to another length.
    DataLength { disk: u64, index: u64 },
    /// The inflated bytes have another SHA-1.
    DataChecksum { disk: String, index: String },
    /// The line that holds this byte cannot be told from its neighbours.
    Line { byte: u64, reason: String },
    /// There is no such message in its line.
    MessageMissing { message: Message },
    /// The message's octets are others.
    MessageGuid { message: Message, disk: Guid },
    /// The message has another size.
    MessageSize {
        message: Message,
        disk: u64,
        index: u64,
    },
    /// No MAILBOX line of the chunk (with the RENAME lines after it) says what the index says.
    Mailbox { mailbox: Arc<MailboxName> },
    /// No RECORD of the chunk says what the index says.
    Record { place: Place, guid: Guid },
    /// The index has rows of a chunk that it does not have.
    NoChunk { rows: usize },
    /// A message that lives in a mailbox, and whose octets never came.
    NoBody { place: Place, guid: Guid },
    /// Inflating cannot start at this file offset to get at this byte.
    SeekPoint { byte: u64, file_offset: u64 },
    /// So many octets stand behind the last chunk.
    Behind { octets: u64 },
    /// The state of the SHA-1 that the index keeps is not that of the file.
    SavedHash,
}

/// A message that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Row id.
    pub id: i64,
    /// What its octets should be.
    pub guid: Guid,
    /// Where its line starts in the inflated chunk.
    pub byte: u64,
    /// Who misses it, expunged or not; by mailbox and UID.
    pub places: Vec<Place>,
}

/// A UID of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which mailbox.
    pub mailbox: Arc<MailboxName>,
    /// The UID.
    pub uid: u32,
}

/// Identity and name of a mailbox.
#[derive(Debug, PartialEq, Eq)]
pub struct MailboxName {
    /// Identity.
    pub uniqueid: String,
    /// Internal name.
    pub mboxname: String,
}

impl Finding {
    /// The step that found it.
    pub fn stage(&self) -> Stage {
        match &self.damage {
            Damage::Overlap | Damage::FileChecksum { .. } => Stage::FileChecksum,
            Damage::Unreadable { .. } | Damage::DataLength { .. } => Stage::DataLength,
            Damage::DataChecksum { .. } => Stage::DataChecksum,
            Damage::Line { .. }
            | Damage::MessageMissing { .. }
            | Damage::MessageGuid { .. }
            | Damage::MessageSize { .. } => Stage::Messages,
            Damage::Mailbox { .. } | Damage::Record { .. } | Damage::NoChunk { .. } => Stage::Links,
            Damage::NoBody { .. }
            | Damage::SeekPoint { .. }
            | Damage::Behind { .. }
            | Damage::SavedHash => Stage::Own,
        }
    }
}

impl Damage {
    /// The message that it hit, if it is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Damage::MessageMissing { message }
            | Damage::MessageGuid { message, .. }
            | Damage::MessageSize { message, .. } => Some(message),
            _ => None,
        }
    }

    pub(super) fn message_mut(&mut self) -> Option<&mut Message> {
        match self {
            Damage::MessageMissing { message }
            | Damage::MessageGuid { message, .. }
            | Damage::MessageSize { message, .. } => Some(message),
            _ => None,
        }
    }
}

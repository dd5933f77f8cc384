//! What verification can find.

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
}

/// One disagreement between data file and index. `chunk` and `message` are row ids; `byte` counts
/// in the inflated chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`disk` is what the file says, `index` what the index says"
)]
pub enum Finding {
    /// The chunk starts before the one before it ends.
    Overlap { chunk: i64, offset: u64 },
    /// The file before the chunk has another SHA-1.
    FileChecksum {
        chunk: i64,
        disk: String,
        index: String,
    },
    /// The member at this file offset cannot be inflated beyond this byte.
    Unreadable {
        chunk: i64,
        offset: u64,
        byte: u64,
        reason: String,
    },
    /// The chunk inflates to another length.
    DataLength { chunk: i64, disk: u64, index: u64 },
    /// The inflated bytes have another SHA-1.
    DataChecksum {
        chunk: i64,
        disk: String,
        index: String,
    },
    /// The line that holds this byte cannot be told from its neighbours.
    Line {
        chunk: i64,
        offset: u64,
        byte: u64,
        reason: String,
    },
    /// There is no such message in the line at this byte.
    MessageMissing {
        chunk: i64,
        message: i64,
        guid: Guid,
        byte: u64,
    },
    /// The message's octets are others.
    MessageGuid {
        chunk: i64,
        message: i64,
        guid: Guid,
        disk: Guid,
    },
    /// The message has another size.
    MessageSize {
        chunk: i64,
        message: i64,
        guid: Guid,
        disk: u64,
        index: u64,
    },
    /// No MAILBOX line of the chunk (with the RENAME lines after it) says what the index says.
    Mailbox {
        chunk: i64,
        uniqueid: String,
        mboxname: String,
    },
    /// No RECORD of the chunk says what the index says.
    Record {
        chunk: i64,
        uniqueid: String,
        uid: u32,
    },
    /// The index has rows of a chunk that it does not have.
    NoChunk { chunk: i64, rows: usize },
}

impl Finding {
    /// The step that found it.
    pub fn stage(&self) -> Stage {
        match self {
            Finding::Overlap { .. } | Finding::FileChecksum { .. } => Stage::FileChecksum,
            Finding::Unreadable { .. } | Finding::DataLength { .. } => Stage::DataLength,
            Finding::DataChecksum { .. } => Stage::DataChecksum,
            Finding::Line { .. }
            | Finding::MessageMissing { .. }
            | Finding::MessageGuid { .. }
            | Finding::MessageSize { .. } => Stage::Messages,
            Finding::Mailbox { .. } | Finding::Record { .. } | Finding::NoChunk { .. } => {
                Stage::Links
            }
        }
    }
}

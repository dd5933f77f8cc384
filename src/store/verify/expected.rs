//! What the index says about each chunk, as small as verification needs it. C asks the index once
//! per chunk, without an index on the column; one sweep and a map cost the same for any number of
//! chunks.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::Finding;
use crate::store::error::Result;
use crate::store::index::{Index, MailboxRow, RecordRow};
use crate::types::Guid;

/// Rows of the index by the chunk that should hold them.
pub(super) struct Expected(BTreeMap<i64, Rows>);

/// What one chunk should hold.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) messages: Vec<Message>,
    /// By uniqueid.
    pub(super) mailboxes: HashMap<Rc<str>, MailboxRow>,
    /// By uniqueid and UID. A UID can stand for several messages over time.
    pub(super) records: HashMap<(Rc<str>, u32), Vec<Record>>,
}

/// A row of `message`.
pub(super) struct Message {
    pub(super) id: i64,
    pub(super) guid: Guid,
    /// Where its line starts in the inflated chunk.
    pub(super) byte: u64,
    pub(super) size: u64,
}

/// A row of `mailbox_message`: the columns that C compares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) modseq: u64,
    pub(super) last_updated: i64,
    pub(super) internaldate: i64,
    pub(super) size: Option<u64>,
    pub(super) guid: Guid,
}

impl Expected {
    pub(super) fn load(index: &Index) -> Result<Expected> {
        let mut chunks: BTreeMap<i64, Rows> = BTreeMap::new();
        for row in index.messages()? {
            let message = Message {
                id: row.id,
                guid: row.guid,
                byte: row.offset,
                size: row.size,
            };
            chunks
                .entry(row.chunk_id)
                .or_default()
                .messages
                .push(message);
        }
        for mailbox in index.mailboxes()? {
            let uniqueid: Rc<str> = Rc::from(mailbox.uniqueid.as_str());
            for row in index.records(mailbox.id)? {
                let records = &mut chunks.entry(row.chunk_id).or_default().records;
                records
                    .entry((Rc::clone(&uniqueid), row.uid))
                    .or_default()
                    .push((&row).into());
            }
            let rows = chunks.entry(mailbox.last_chunk_id).or_default();
            rows.mailboxes.insert(uniqueid, mailbox);
        }
        Ok(Expected(chunks))
    }

    /// The rows of one chunk.
    pub(super) fn take(&mut self, chunk: i64) -> Rows {
        self.0.remove(&chunk).unwrap_or_default()
    }

    /// What nobody took: rows of chunks that are not in the index.
    pub(super) fn left_over(self) -> impl Iterator<Item = Finding> {
        self.0.into_iter().map(|(chunk, rows)| {
            let records: usize = rows.records.values().map(Vec::len).sum();
            let rows = rows.messages.len() + rows.mailboxes.len() + records;
            Finding::NoChunk { chunk, rows }
        })
    }
}

impl From<&RecordRow> for Record {
    fn from(row: &RecordRow) -> Record {
        Record {
            modseq: row.modseq,
            last_updated: row.last_updated,
            internaldate: row.internaldate,
            size: row.size,
            guid: row.guid,
        }
    }
}

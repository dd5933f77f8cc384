//! What the index says about each chunk, as small as verification needs it. C asks the index once
//! per chunk, without an index on the column; one sweep and a map cost the same for any number of
//! chunks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::finding::{Damage, Finding, MailboxName, Place};
use crate::store::error::Result;
use crate::store::index::{ChunkRow, Index, MailboxRow, SeekPoint, State};
use crate::types::Guid;

/// The chunks of the index in their order, each with its rows; and rows of chunks that are not
/// there.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) chunks: Vec<(ChunkRow, Rows)>,
    strays: BTreeMap<i64, Rows>,
    /// How far our own tables say that they go.
    pub(super) state: Option<State>,
}

/// What one chunk should hold.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) messages: Vec<Message>,
    pub(super) mailboxes: Vec<MailboxRow>,
    pub(super) records: Vec<Record>,
    /// By their offset.
    pub(super) points: Vec<SeekPoint>,
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
pub(super) struct Record {
    pub(super) mailbox: Arc<MailboxName>,
    pub(super) uid: u32,
    pub(super) modseq: u64,
    pub(super) last_updated: i64,
    pub(super) internaldate: i64,
    pub(super) size: Option<u64>,
    pub(super) guid: Guid,
    /// It lives, and its octets never came.
    pub(super) bodiless: bool,
}

/// Where each message is, by its GUID.
pub(super) type Places = HashMap<Guid, Vec<Place>>;

impl Expected {
    pub(super) fn load(index: &Index) -> Result<Expected> {
        let mut rows = by_chunk(index)?;
        let mut points: BTreeMap<i64, Vec<SeekPoint>> = BTreeMap::new();
        for (chunk, point) in index.seek_points()? {
            points.entry(chunk).or_default().push(point);
        }
        let chunks = index.chunks()?.into_iter().map(|chunk| {
            let mut rows = rows.remove(&chunk.id).unwrap_or_default();
            rows.points = points.remove(&chunk.id).unwrap_or_default();
            (chunk, rows)
        });
        Ok(Expected {
            chunks: chunks.collect(),
            strays: rows,
            state: index.state()?,
        })
    }

    /// Where each message is. Only asked for when something is damaged.
    pub(super) fn places(&self) -> Places {
        let mut places = Places::new();
        let chunks = self.chunks.iter().map(|(_, rows)| rows);
        let records = chunks.chain(self.strays.values()).flat_map(|r| &r.records);
        for record in records {
            places.entry(record.guid).or_default().push(Place {
                mailbox: Arc::clone(&record.mailbox),
                uid: record.uid,
            });
        }
        for places in places.values_mut() {
            places.sort_by(|a, b| {
                let key = |place: &Place| (place.mailbox.mboxname.clone(), place.uid);
                key(a).cmp(&key(b))
            });
        }
        places
    }

    /// Rows of chunks that are not in the index.
    pub(super) fn strays(&self) -> impl Iterator<Item = Finding> {
        self.strays.iter().map(|(&chunk, rows)| Finding {
            chunk,
            offset: None,
            damage: Damage::NoChunk {
                rows: rows.messages.len() + rows.mailboxes.len() + rows.records.len(),
            },
        })
    }
}

impl Rows {
    /// Living records without a body.
    pub(super) fn bodiless(&self) -> impl Iterator<Item = Damage> {
        let records = self.records.iter().filter(|record| record.bodiless);
        records.map(|record| Damage::NoBody {
            place: Place {
                mailbox: Arc::clone(&record.mailbox),
                uid: record.uid,
            },
            guid: record.guid,
        })
    }
}

fn by_chunk(index: &Index) -> Result<BTreeMap<i64, Rows>> {
    let mut chunks: BTreeMap<i64, Rows> = BTreeMap::new();
    for row in index.messages()? {
        let rows = chunks.entry(row.chunk_id).or_default();
        rows.messages.push(Message {
            id: row.id,
            guid: row.guid,
            byte: row.offset,
            size: row.size,
        });
    }
    for row in index.mailboxes()? {
        let mailbox = Arc::new(MailboxName {
            uniqueid: row.uniqueid.clone(),
            mboxname: row.mboxname.clone(),
        });
        for record in index.records(row.id)? {
            let rows = chunks.entry(record.chunk_id).or_default();
            rows.records.push(Record {
                mailbox: Arc::clone(&mailbox),
                uid: record.uid,
                modseq: record.modseq,
                last_updated: record.last_updated,
                internaldate: record.internaldate,
                size: record.size,
                guid: record.guid,
                bodiless: record.message_id.is_none() && record.expunged.is_none(),
            });
        }
        let rows = chunks.entry(row.last_chunk_id).or_default();
        rows.mailboxes.push(row);
    }
    Ok(chunks)
}

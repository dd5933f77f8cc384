//! Mailboxes and records of the index against MAILBOX lines (spec: ondisk 6.2, step 4).
//!
//! A RENAME changes name, partition and uidvalidity of a row whose MAILBOX line stands earlier, in
//! another chunk even. C then finds the row "missing" (spec: ondisk 10.5); here what the lines say
//! about names is noted as [`Event`]s, and [`super::names`] follows them from chunk to chunk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::expected::{Record, Rows};
use super::finding::{Damage, MailboxName, Place};
use super::names::{Event, Name};
use crate::csync::command::{MailboxUpdate, Rename};
use crate::csync::dlist::KvList;
use crate::store::index::MailboxRow;

/// The check of one chunk.
pub(super) struct Links<'a> {
    mailboxes: HashMap<&'a str, &'a MailboxRow>,
    /// By uniqueid and UID. A UID can stand for several messages over time.
    records: HashMap<&'a str, HashMap<u32, Vec<&'a Record>>>,
    /// Mailboxes that were struck out.
    said: HashSet<&'a str>,
    events: Vec<Event>,
}

impl<'a> Links<'a> {
    pub(super) fn new(rows: &'a Rows) -> Links<'a> {
        let mut records: HashMap<_, HashMap<_, Vec<_>>> = HashMap::new();
        for record in &rows.records {
            let uids = records.entry(record.mailbox.uniqueid.as_str()).or_default();
            uids.entry(record.uid).or_default().push(record);
        }
        let mailboxes = rows.mailboxes.iter();
        Links {
            mailboxes: mailboxes.map(|row| (row.uniqueid.as_str(), row)).collect(),
            records,
            said: HashSet::new(),
            events: Vec::new(),
        }
    }

    /// A MAILBOX line: strikes out the rows that say the same.
    pub(super) fn mailbox(&mut self, update: &MailboxUpdate<'_>) {
        let uniqueid = update.uniqueid.as_str();
        match self.mailboxes.get(uniqueid) {
            Some(row) if same_mailbox(row, &update.header) => {
                self.events.push(Event::said(row, update));
                self.said.insert(&row.uniqueid);
                self.mailboxes.remove(uniqueid);
            }
            Some(_) => {}
            None if self.said.contains(uniqueid) => self.events.push(Event::SaidAgain {
                uniqueid: uniqueid.to_owned(),
                name: Name::of(update),
            }),
            None => {}
        }
        let Some(uids) = self.records.get_mut(uniqueid) else {
            return;
        };
        for record in update.records.iter().map_while(Result::ok) {
            let Some(rows) = uids.get_mut(&record.uid) else {
                continue;
            };
            rows.retain(|row| {
                row.modseq != record.modseq
                    || row.last_updated != record.last_updated
                    || row.internaldate != record.internaldate
                    || row.guid != record.guid
                    || record.size.is_some() && row.size != record.size
            });
            if rows.is_empty() {
                uids.remove(&record.uid);
            }
        }
    }

    /// A RENAME line.
    pub(super) fn rename(&mut self, rename: Rename) {
        self.events.push(Event::Renamed(rename));
    }

    /// What was not struck out, mailboxes before records; and what was said about names.
    pub(super) fn finish(self) -> (Vec<Damage>, Vec<Event>) {
        let mut mailboxes: Vec<&MailboxRow> = self.mailboxes.into_values().collect();
        mailboxes.sort_by_key(|row| row.id);
        let records = self.records.into_values().flat_map(HashMap::into_values);
        let mut records: Vec<&Record> = records.filter_map(|rows| rows.first().copied()).collect();
        records.sort_by_key(|row| (row.mailbox.uniqueid.as_str(), row.uid));
        let mailboxes = mailboxes.into_iter().map(|row| Damage::Mailbox {
            mailbox: Arc::new(MailboxName {
                uniqueid: row.uniqueid.clone(),
                mboxname: row.mboxname.clone(),
            }),
        });
        let records = records.into_iter().map(|row| {
            let place = Place {
                mailbox: Arc::clone(&row.mailbox),
                uid: row.uid,
            };
            let guid = row.guid;
            Damage::Record { place, guid }
        });
        (mailboxes.chain(records).collect(), self.events)
    }
}

/// All that a MAILBOX line says for good; the rest can be changed by a RENAME.
fn same_mailbox(row: &MailboxRow, header: &KvList) -> bool {
    let number = |key| header.get_u64(key).unwrap_or(0);
    let date = |key| number(key).cast_signed();
    let text = |key| header.get_str(key).unwrap_or_default();
    number("LAST_UID") == u64::from(row.last_uid)
        && number("HIGHESTMODSEQ") == row.highestmodseq
        && number("RECENTUID") == u64::from(row.recentuid)
        && date("RECENTTIME") == row.recenttime
        && date("LAST_APPENDDATE") == row.last_appenddate
        && text("ACL") == row.acl.as_deref().unwrap_or_default()
        && text("OPTIONS") == row.options.as_deref().unwrap_or_default()
        && number("XCONVMODSEQ") == row.xconvmodseq
        && number("SYNC_CRC") == u64::from(row.sync_crc)
        && number("SYNC_CRC_ANNOT") == u64::from(row.sync_crc_annot)
}

//! Mailboxes and records of the index against MAILBOX lines (spec: ondisk 6.2, step 4).
//!
//! A RENAME changes name, partition and uidvalidity of a row whose MAILBOX line stands earlier, in
//! another chunk even. C then finds the row "missing" (spec: ondisk 10.5); here the renames that
//! pass by are applied to what the MAILBOX lines said, and the three are compared at the end.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::Finding;
use super::expected::Record;
use crate::csync::command::{MailboxUpdate, Rename};
use crate::csync::dlist::KvList;
use crate::store::index::MailboxRow;

/// The check of one chunk.
pub(super) struct Links<'a> {
    chunk: i64,
    mailboxes: HashMap<Rc<str>, MailboxRow>,
    records: HashMap<(Rc<str>, u32), Vec<Record>>,
    names: &'a mut Names,
}

impl<'a> Links<'a> {
    pub(super) fn new(
        chunk: i64,
        mailboxes: HashMap<Rc<str>, MailboxRow>,
        records: HashMap<(Rc<str>, u32), Vec<Record>>,
        names: &'a mut Names,
    ) -> Links<'a> {
        Links {
            chunk,
            mailboxes,
            records,
            names,
        }
    }

    /// A MAILBOX line: strikes out the rows that say the same.
    pub(super) fn mailbox(&mut self, update: &MailboxUpdate<'_>) {
        let uniqueid: Rc<str> = Rc::from(update.uniqueid.as_str());
        self.names.said_again(self.chunk, &uniqueid, update);
        if let Some(row) = self.mailboxes.get(&uniqueid)
            && same_mailbox(row, &update.header)
        {
            self.names.said(self.chunk, &uniqueid, row, update);
            self.mailboxes.remove(&uniqueid);
        }
        for record in update.records.iter().map_while(Result::ok) {
            let key = (Rc::clone(&uniqueid), record.uid);
            let Some(rows) = self.records.get_mut(&key) else {
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
                self.records.remove(&key);
            }
        }
    }

    /// A RENAME line.
    pub(super) fn rename(&mut self, rename: &Rename) {
        self.names.rename(rename);
    }

    /// What was not struck out, mailboxes before records.
    pub(super) fn finish(self) -> Vec<Finding> {
        let chunk = self.chunk;
        let mut mailboxes: Vec<MailboxRow> = self.mailboxes.into_values().collect();
        mailboxes.sort_by_key(|row| row.id);
        let mut records: Vec<(Rc<str>, u32)> = self.records.into_keys().collect();
        records.sort();
        let mailboxes = mailboxes.into_iter().map(|row| Finding::Mailbox {
            chunk,
            uniqueid: row.uniqueid,
            mboxname: row.mboxname,
        });
        let records = records.into_iter().map(|(uniqueid, uid)| Finding::Record {
            chunk,
            uniqueid: uniqueid.to_string(),
            uid,
        });
        mailboxes.chain(records).collect()
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

/// Names of mailboxes while the lines after their MAILBOX line pass by.
#[derive(Default)]
pub(super) struct Names(HashMap<Rc<str>, Named>);

struct Named {
    chunk: i64,
    id: i64,
    /// What the lines make of it; several for a deleted mailbox, whose rows C renames together
    /// with a living one of the same name, and we do not.
    now: Vec<Name>,
    index: Name,
    deleted: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Name {
    mboxname: String,
    partition: String,
    uidvalidity: u32,
}

impl Names {
    /// The MAILBOX line that the row was made of has passed.
    fn said(
        &mut self,
        chunk: i64,
        uniqueid: &Rc<str>,
        row: &MailboxRow,
        update: &MailboxUpdate<'_>,
    ) {
        let index = Name {
            mboxname: row.mboxname.clone(),
            partition: row.partition.clone().unwrap_or_default(),
            uidvalidity: row.uidvalidity,
        };
        let deleted = row.deleted.is_some();
        let named = Named {
            chunk,
            id: row.id,
            now: vec![Name::of(update)],
            index,
            deleted,
        };
        self.0.insert(Rc::clone(uniqueid), named);
    }

    /// Another MAILBOX line of the same chunk.
    fn said_again(&mut self, chunk: i64, uniqueid: &str, update: &MailboxUpdate<'_>) {
        if let Some(named) = self
            .0
            .get_mut(uniqueid)
            .filter(|named| named.chunk == chunk)
        {
            named.now = vec![Name::of(update)];
        }
    }

    fn rename(&mut self, rename: &Rename) {
        for named in self.0.values_mut() {
            let old = named
                .now
                .iter()
                .position(|name| name.mboxname == rename.old.as_str());
            let Some(at) = old else { continue };
            let partition = rename
                .partition
                .as_ref()
                .unwrap_or(&named.now[at].partition);
            let renamed = Name {
                mboxname: rename.new.as_str().to_owned(),
                partition: partition.clone(),
                uidvalidity: rename.uidvalidity,
            };
            if !named.deleted {
                named.now.clear();
            }
            if !named.now.contains(&renamed) {
                named.now.push(renamed);
            }
        }
    }

    /// The mailboxes whose name in the index nothing explains.
    pub(super) fn finish(self) -> Vec<Finding> {
        let wrong = self
            .0
            .into_iter()
            .filter(|(_, named)| !named.now.contains(&named.index));
        let by_row: BTreeMap<(i64, i64), Finding> = wrong
            .map(|(uniqueid, named)| {
                let finding = Finding::Mailbox {
                    chunk: named.chunk,
                    uniqueid: uniqueid.to_string(),
                    mboxname: named.index.mboxname,
                };
                ((named.chunk, named.id), finding)
            })
            .collect();
        by_row.into_values().collect()
    }
}

impl Name {
    fn of(update: &MailboxUpdate<'_>) -> Name {
        Name {
            mboxname: update.mboxname.as_str().to_owned(),
            partition: update
                .header
                .get_str("PARTITION")
                .unwrap_or_default()
                .to_owned(),
            uidvalidity: update.header.get_u32("UIDVALIDITY").unwrap_or(0),
        }
    }
}

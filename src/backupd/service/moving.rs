//! RENAME to another owner: the mailbox leaves one backup and arrives in another, with its records
//! and bodies, so that each backup stands alone (spec: csync 9.2; DESIGN 3).
//!
//! The order makes a crash harmless: note in the old backup's index that the mailbox is leaving,
//! write it whole into the new one, sync, say in the old one that it is deleted. Who finds such a
//! note at the next GET goes on from there ([`StoreService::settle_moves`]); all of it can be
//! repeated. Left out: seen state, which is filed under its reader and keyed by UNIQUEID.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use super::StoreService;
use super::apply::{lives, reply_if_known, send_away};
use super::header;
use super::heir::Heir;
use super::mailbox::displace;
use crate::csync::command::{Apply, Record, Rename, parse_apply};
use crate::csync::dlist::{FileRef, KvList, Literal, Parser, Value};
use crate::csync::response::Reply;
use crate::store::{Appender, Backup, Body, MailboxRow, RecordRow, Result, StoreError};
use crate::types::{BackupKey, Guid, MboxName};

/// Records written by one line: it is built in memory.
const BATCH: usize = 20_000;
/// Bodies carried over at a time, in octets.
const LOAD: usize = 8 << 20;

impl StoreService {
    /// Carries a mailbox over into the backup of its new owner.
    pub(super) fn move_to_other_owner(&mut self, rename: &Rename) -> Reply {
        let from = rename.old.owner(&self.namespace);
        let done = self.carry_out_move(rename);
        if matches!(done, Ok(Some(true))) {
            info!(from = %rename.old.as_str(), to = %rename.new.as_str(), "moved to another backup");
        }
        reply_if_known(&from, done, rename.old.as_str())
    }

    /// Finishes what a crash left half done in the backup of `key`.
    pub(super) fn settle_moves(&mut self, key: &BackupKey) -> Result<()> {
        let leaving = self.backups.ask(key, |index| index.leaving())?;
        for text in leaving.into_iter().flatten() {
            if let Ok(Apply::Rename(rename)) = parse_apply(text.as_bytes()) {
                info!(from = %rename.old.as_str(), "finishing a move that was cut short");
                self.carry_out_move(&rename)?;
            }
        }
        Ok(())
    }

    fn carry_out_move(&mut self, rename: &Rename) -> Result<Option<bool>> {
        let (from, to) = (
            rename.old.owner(&self.namespace),
            rename.new.owner(&self.namespace),
        );
        let heir = Heir::of(&from, &to);
        self.backups
            .append_pair(&from, &to, |from, to| carry_over(from, to, rename, &heir))
    }
}

/// False when there is nothing of that name.
fn carry_over(
    from: &mut Appender,
    to: &mut Appender,
    rename: &Rename,
    heir: &Heir,
) -> Result<bool> {
    let old = rename.old.as_str();
    if !lives(from.index(), old)? {
        from.note(|index| index.forget_leaving(old))?;
        return Ok(false);
    }
    let mut text = Vec::new();
    Apply::Rename(rename.clone())
        .print(&mut text, Literal::Sync)
        .map_err(bad)?;
    from.note(|index| index.note_leaving(old, &String::from_utf8_lossy(&text)))?;
    arrive(from, to, rename, heir)?;
    send_away(from, &rename.old)?;
    from.note(|index| index.forget_leaving(old))?;
    from.commit()?;
    Ok(true)
}

/// Everything of the old name stands under the new one in `to`, on stable storage.
fn arrive(from: &Appender, to: &mut Appender, rename: &Rename, heir: &Heir) -> Result<()> {
    let old = rename.old.as_str();
    for mailbox in from.index().mailboxes_by_name(old)? {
        copy_mailbox(from, to, &mailbox, rename, heir)?;
    }
    let folders = from.index().intermediates()?;
    for folder in folders.into_iter().filter(|f| f.mboxname == old) {
        let mut keys = folder.keys;
        keys.set("MBOXNAME", Value::string(rename.new.as_str()));
        let mut line = b"MAILBOX ".to_vec();
        Value::KvList(keys).print(&mut line, Literal::Sync);
        arrive_by_line(to, &line)?;
    }
    let annotations = from.index().annotations()?;
    for row in annotations.into_iter().filter(|row| row.mboxname == old) {
        let annotation = Apply::Annotation {
            mboxname: rename.new.as_str().to_owned(),
            entry: row.entry,
            userid: heir.userid(row.userid),
            value: row.value,
        };
        to.append(&annotation, super::now())?;
    }
    to.commit()
}

fn copy_mailbox(
    from: &Appender,
    to: &mut Appender,
    mailbox: &MailboxRow,
    rename: &Rename,
    heir: &Heir,
) -> Result<()> {
    let there = to.index().mailbox_by_uniqueid(&mailbox.uniqueid)?;
    if there.is_some_and(|m| m.deleted.is_none() && m.highestmodseq >= mailbox.highestmodseq) {
        return Ok(()); // It arrived, and the crash came before it left.
    }
    let mut keys = header_under_new_name(from, mailbox, rename)?;
    if let Some((_, annotations)) = keys.0.iter_mut().find(|(key, _)| key == "ANNOTATIONS") {
        heir.inherit(annotations);
    }
    let records = from.index().records(mailbox.id)?;
    let source = Backup::beside(from)?;
    let mut batches = records.chunks(BATCH).peekable();
    loop {
        let batch = batches.next().unwrap_or_default();
        let is_last = batches.peek().is_none();
        copy_bodies(&source, to, batch)?;
        let mut keys = keys.clone();
        if !is_last {
            // Cut short here, it counts as not arrived.
            keys.set("HIGHESTMODSEQ", Value::number(0));
        }
        arrive_by_line(to, &line(&keys, batch, heir))?;
        if is_last {
            break;
        }
    }
    expunge_others(to, mailbox, &rename.new, &records)
}

fn header_under_new_name(from: &Appender, mailbox: &MailboxRow, rename: &Rename) -> Result<KvList> {
    let mut keys = match from.index().header(mailbox.id)? {
        Some(header) if !header.keys.0.is_empty() => header.keys,
        _ => header::from_row(mailbox),
    };
    keys.set("MBOXNAME", Value::string(rename.new.as_str()));
    keys.set("UIDVALIDITY", Value::number(rename.uidvalidity.into()));
    if let Some(partition) = &rename.partition {
        keys.set("PARTITION", Value::string(partition.as_str()));
    }
    Ok(keys)
}

/// Bodies that the new backup lacks. One that is damaged stays behind: the record arrives without
/// it, and the client is asked for it (spec: csync 8.5).
fn copy_bodies(source: &Backup, to: &mut Appender, records: &[RecordRow]) -> Result<()> {
    let mut taken = HashSet::new();
    let mut load = Vec::new();
    let mut octets = 0;
    for record in records.iter().filter(|record| record.message_id.is_some()) {
        if to.index().has_message(&record.guid)? || !taken.insert(record.guid) {
            continue;
        }
        match Carried::read(source, &record.guid) {
            Ok(body) => {
                octets += body.octets.len();
                load.push(body);
            }
            Err(e @ (StoreError::Damaged { .. } | StoreError::NoSuchItem { .. })) => {
                warn!(guid = %record.guid, error = e.detail(), "a body stays behind");
            }
            Err(e) => return Err(e),
        }
        if octets >= LOAD {
            append_load(to, &mut load)?;
            octets = 0;
        }
    }
    append_load(to, &mut load)
}

fn append_load(to: &mut Appender, load: &mut Vec<Carried>) -> Result<()> {
    let bodies: Vec<&dyn Body> = load.iter().map(|body| body as &dyn Body).collect();
    to.append_bodies(&bodies, super::now())?;
    load.clear();
    Ok(())
}

/// A body on its way from one backup to another.
struct Carried {
    guid: Guid,
    partition: String,
    octets: Arc<[u8]>,
}

impl Carried {
    fn read(source: &Backup, guid: &Guid) -> Result<Carried> {
        let row = source.index().message(guid)?;
        Ok(Carried {
            guid: *guid,
            octets: source.read_message(guid)?,
            partition: row.map(|row| row.partition).unwrap_or_default(),
        })
    }
}

impl Body for Carried {
    fn file(&self) -> FileRef {
        FileRef {
            partition: self.partition.clone().into_bytes(),
            guid: self.guid,
            size: self.octets.len() as u64,
        }
    }

    fn copy_to(&self, to: &mut dyn io::Write) -> io::Result<()> {
        to.write_all(&self.octets)
    }
}

fn line(keys: &KvList, records: &[RecordRow], heir: &Heir) -> Vec<u8> {
    let mut text = header::mailbox_line(keys);
    // Of `… RECORD ())` the list is still empty: the records go in there.
    text.truncate(text.len() - b"))".len());
    for (i, row) in records.iter().enumerate() {
        if i > 0 {
            text.push(b' ');
        }
        record(row, heir).print(&mut text, Literal::Sync);
    }
    text.extend_from_slice(b"))");
    text
}

fn record(row: &RecordRow, heir: &Heir) -> Record {
    let mut annotations = Parser::new(row.annotations.as_bytes()).value().ok();
    annotations.iter_mut().for_each(|list| heir.inherit(list));
    let flags = row.flags.trim_matches(['(', ')']).split(' ');
    Record {
        uid: row.uid,
        modseq: row.modseq,
        last_updated: row.last_updated,
        flags: flags.filter(|f| !f.is_empty()).map(str::to_owned).collect(),
        expunged: row.expunged.is_some(),
        internaldate: row.internaldate,
        size: row.size,
        guid: row.guid,
        annotations,
        other: KvList::default(),
    }
}

fn arrive_by_line(to: &mut Appender, text: &[u8]) -> Result<()> {
    let apply = parse_apply(text).map_err(bad)?;
    if let Apply::Mailbox(update) = &apply {
        displace(to, update)?;
    }
    to.append(&apply, super::now())
}

/// The mailbox was here before and has lost messages since, elsewhere.
fn expunge_others(
    to: &mut Appender,
    mailbox: &MailboxRow,
    name: &MboxName,
    records: &[RecordRow],
) -> Result<()> {
    let Some(there) = to.index().mailbox_by_uniqueid(&mailbox.uniqueid)? else {
        return Ok(());
    };
    let listed: HashSet<u32> = records.iter().map(|row| row.uid).collect();
    let rows = to.index().records(there.id)?;
    let gone: Vec<u32> = rows
        .iter()
        .filter(|row| row.expunged.is_none() && !listed.contains(&row.uid))
        .map(|row| row.uid)
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let expunge = Apply::Expunge {
        mboxname: name.clone(),
        uniqueid: mailbox.uniqueid.clone(),
        uids: gone,
    };
    to.append(&expunge, super::now())
}

fn bad(e: crate::csync::command::CommandError) -> StoreError {
    StoreError::BadCommand {
        reason: e.to_string(),
    }
}

#[cfg(test)]
#[path = "moving_tests.rs"]
mod tests;

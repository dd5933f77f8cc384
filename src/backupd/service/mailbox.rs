//! APPLY MAILBOX: header and changed records of one mailbox (spec: csync 5.3 to 5.5, 7.3, 8.3,
//! 8.5, 9.3, 9.12). The bodies that its records name come out of the staging and are written
//! before it, once, into the backup of the mailbox's owner.

use std::collections::HashSet;
use std::io;

use super::StoreService;
use super::apply::{lives, send_away};
use super::backups::refusal;
use super::get::success;
use crate::backupd::staging::{StagedBody, Staging};
use crate::csync::command::{Apply, MailboxUpdate, Since};
use crate::csync::crc::SyncCrc;
use crate::csync::dlist::{FileRef, Value};
use crate::csync::response::{Code, Reply};
use crate::store::index::{Header, Repair, is_intermediate};
use crate::store::{Appender, Body, Index, Result};
use crate::types::Guid;

/// Keys without which a mailbox that is not an intermediate can't be stored (spec: ondisk 5.4).
const REQUIRED: [&str; 11] = [
    "UNIQUEID",
    "MBOXNAME",
    "LAST_UID",
    "HIGHESTMODSEQ",
    "RECENTUID",
    "RECENTTIME",
    "LAST_APPENDDATE",
    "POP3_LAST_LOGIN",
    "UIDVALIDITY",
    "ACL",
    "OPTIONS",
];

/// How an update ended when the store did not fail.
enum Outcome {
    Done,
    /// What the client assumes in SINCE_* is not what we hold.
    Changed,
}

impl StoreService {
    pub(super) fn mailbox(&mut self, update: &MailboxUpdate<'_>, staging: &mut Staging) -> Reply {
        if let Err(refused) = check(update) {
            return refused;
        }
        let key = update.mboxname.owner(&self.namespace);
        let in_full = update.since.is_none() && self.asked_in_full.remove(&update.uniqueid);
        let missing = &mut self.missing;
        let outcome = self.backups.append(&key, |appender| {
            apply_update(appender, update, staging, in_full, missing)
        });
        match outcome {
            Ok(Outcome::Done) => {
                staging.note_stored(update.records.iter().flatten().map(|record| record.guid));
                success()
            }
            Ok(Outcome::Changed) => Reply::No(
                Code::SyncChanged,
                "Mailbox is not what SINCE_MODSEQ says".to_owned(),
            ),
            Err(e) => refusal(&key, &e),
        }
    }
}

fn check(update: &MailboxUpdate<'_>) -> std::result::Result<(), Reply> {
    if !is_intermediate(update) {
        if let Some(key) = REQUIRED.iter().find(|key| update.header.get(key).is_none()) {
            return Err(Reply::No(
                Code::BadParameters,
                format!("MAILBOX lacks {key}"),
            ));
        }
        if !update.records.is_present() {
            return Err(Reply::No(
                Code::BadParameters,
                "MAILBOX lacks RECORD".to_owned(),
            ));
        }
    }
    // Nothing is begun that can't be finished.
    update
        .records
        .check()
        .map_err(|e| Reply::No(Code::BadParameters, e.to_string()))
}

fn apply_update(
    appender: &mut Appender,
    update: &MailboxUpdate<'_>,
    staging: &Staging,
    in_full: bool,
    missing: &mut HashSet<Guid>,
) -> Result<Outcome> {
    let known = appender.index().mailbox_by_uniqueid(&update.uniqueid)?;
    let header = match &known {
        Some(mailbox) => appender.index().header(mailbox.id)?,
        None => None,
    };
    if let Some(since) = &update.since
        && !assumes(since, header.as_ref())
    {
        return Ok(Outcome::Changed);
    }
    let deleted = known
        .as_ref()
        .is_some_and(|mailbox| mailbox.deleted.is_some());
    let same_header = header
        .as_ref()
        .is_some_and(|header| header.keys == update.header);
    let no_records = update.records.iter().next().is_none();
    if same_header && no_records && !deleted && !in_full {
        return Ok(Outcome::Done);
    }
    displace(appender, update)?;
    let unmet = store_bodies(appender, update, staging)?;
    appender.append(&Apply::Mailbox(update.clone()), super::now())?;
    let mailbox = appender.index().mailbox_by_uniqueid(&update.uniqueid)?;
    if let Some(mailbox) = mailbox {
        if in_full {
            complete(appender, update, mailbox.id)?;
        }
        // Asked for in RESERVE and not come (the client could not read it: spec csync 8.5 d).
        if unmet.iter().any(|guid| missing.remove(guid)) {
            appender.note(|index| index.note_asked(mailbox.id, super::now()))?;
        }
    }
    appender.commit()?;
    Ok(Outcome::Done)
}

/// What the client believes we hold is what we hold (spec: csync 5.3, 8.3).
fn assumes(since: &Since, header: Option<&Header>) -> bool {
    let Some(header) = header else { return false };
    let agrees = |told: Option<u32>, key: &str| {
        let held = header.keys.get(key).and_then(Value::as_u32).unwrap_or(0);
        told.is_none_or(|told| told == 0 || held == 0 || told == held)
    };
    header.keys.get("HIGHESTMODSEQ").and_then(Value::as_u64) == Some(since.modseq)
        && agrees(since.crc, "SYNC_CRC")
        && agrees(since.crc_annot, "SYNC_CRC_ANNOT")
}

/// Another mailbox holds the name: it was deleted and made again, and nobody told us
/// (spec: csync 9.12). The old one is sent away, with its content.
pub(super) fn displace(appender: &mut Appender, update: &MailboxUpdate<'_>) -> Result<()> {
    let index = appender.index();
    let name = update.mboxname.as_str();
    let others = index.mailboxes_by_name(name)?;
    let by_mailbox = others
        .iter()
        .any(|mailbox| mailbox.uniqueid != update.uniqueid);
    let by_folder = index
        .intermediates()?
        .iter()
        .any(|folder| folder.mboxname == name && folder.uniqueid != update.uniqueid);
    if (by_mailbox || by_folder) && lives(index, name)? {
        send_away(appender, &update.mboxname)?;
    }
    Ok(())
}

/// Writes the staged bodies that the records name and the backup lacks; returns the GUIDs that
/// are nowhere.
fn store_bodies(
    appender: &mut Appender,
    update: &MailboxUpdate<'_>,
    staging: &Staging,
) -> Result<Vec<Guid>> {
    let mut taken = HashSet::new();
    let mut bodies = Vec::new();
    let mut unmet = Vec::new();
    for record in update.records.iter().flatten() {
        if taken.contains(&record.guid) || appender.index().has_message(&record.guid)? {
            continue;
        }
        match staging.get(&record.guid) {
            Some(body) => {
                taken.insert(record.guid);
                bodies.push(Staged {
                    guid: record.guid,
                    body,
                });
            }
            None => unmet.push(record.guid),
        }
    }
    let bodies: Vec<&dyn Body> = bodies.iter().map(|body| body as &dyn Body).collect();
    appender.append_bodies(&bodies, super::now())?;
    Ok(unmet)
}

struct Staged<'a> {
    guid: Guid,
    body: &'a StagedBody,
}

impl Body for Staged<'_> {
    fn file(&self) -> FileRef {
        let StagedBody {
            partition, size, ..
        } = self.body;
        FileRef {
            partition: partition.clone(),
            guid: self.guid,
            size: *size,
        }
    }

    fn copy_to(&self, to: &mut dyn io::Write) -> io::Result<()> {
        self.body.copy_to(to)
    }
}

/// The list was complete: what we hold as living and it does not name was purged on the server.
/// That is believed only when it makes our sum the client's, since a batch may look like a
/// complete list (spec: csync 6.3, 11.3). Either way the question is settled until it changes.
fn complete(appender: &mut Appender, update: &MailboxUpdate<'_>, mailbox_id: i64) -> Result<()> {
    let listed: HashSet<u32> = update
        .records
        .iter()
        .flatten()
        .map(|record| record.uid)
        .collect();
    let rows = appender.index().records(mailbox_id)?;
    let purged: Vec<u32> = rows
        .iter()
        .filter(|row| row.expunged.is_none() && !listed.contains(&row.uid))
        .map(|row| row.uid)
        .collect();
    let told = update
        .header
        .get("SYNC_CRC")
        .and_then(Value::as_u32)
        .unwrap_or(0);
    let mut sum = SyncCrc::new();
    for record in update
        .records
        .iter()
        .flatten()
        .filter(|record| !record.expunged)
    {
        sum.toggle(&record);
    }
    if !purged.is_empty() && sum.value() == told && update.header.get("SYNC_CRC_ANNOT").is_some() {
        let expunge = Apply::Expunge {
            mboxname: update.mboxname.clone(),
            uniqueid: update.uniqueid.clone(),
            uids: purged,
        };
        appender.append(&expunge, super::now())?;
    }
    settle(appender, mailbox_id, told)
}

fn settle(appender: &mut Appender, mailbox_id: i64, told: u32) -> Result<()> {
    let header = |index: &Index| index.header(mailbox_id);
    let Some(header) = header(appender.index())? else {
        return Ok(());
    };
    let repair = match header.crc == told {
        true => Repair::None,
        false => Repair::Tried,
    };
    if repair == Repair::Tried {
        tracing::warn!(
            mailbox_id,
            told,
            held = header.crc,
            "sums differ after a full list"
        );
    }
    if repair != header.repair {
        appender.note(|index| index.set_header(mailbox_id, &Header { repair, ..header }))?;
    }
    Ok(())
}

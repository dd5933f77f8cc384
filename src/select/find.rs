//! The walk: which messages of a backup are wanted. The index decides what it can; headers are read
//! only of what is left, in the order of the data file, each chunk once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Header, MailboxPattern, Selection, deleted_at};
use crate::store::walk::Part;
use crate::store::{Backup, MailboxRow, MessageRow, RecordRow, Result, StoreError};
use crate::types::{Guid, Namespace};

/// Fields that a [`Hit`] carries.
const SHOWN: [&str; 6] = ["from", "to", "cc", "bcc", "subject", "message-id"];

/// A message in a mailbox that is wanted.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Where it is.
    pub mailbox: Arc<MailboxRow>,
    /// UID, GUID, flags, INTERNALDATE, size, when it was expunged.
    pub record: RecordRow,
    /// Since when its mailbox is deleted.
    pub deleted: Option<i64>,
    /// From, To, Cc, Bcc, Subject, Message-ID and Date; None when nobody asked, and when the
    /// message cannot be read.
    pub header: Option<Header>,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Found {
    /// By mailbox, in the order in which the backup heard of them, and UID.
    pub hits: Vec<Hit>,
    /// Nobody can tell whether these are wanted: their header had to be looked at and cannot be,
    /// since it is damaged or never came.
    pub unsure: Vec<Hit>,
    /// Why headers could not be read, once for each message.
    pub damage: Vec<StoreError>,
}

/// Finds the wanted messages. `show`: hits come with their headers.
///
/// # Errors
/// What is not about one message.
pub fn find(
    backup: &Backup,
    selection: &Selection,
    namespace: &Namespace,
    show: bool,
) -> Result<Found> {
    let mut candidates = candidates(backup, selection, namespace)?;
    if !show && !selection.needs_headers() {
        let hits = candidates;
        return Ok(Found {
            hits,
            ..Found::default()
        });
    }
    let mut headers = Headers::of(&candidates);
    headers.read(backup, selection, show)?;
    let mut found = Found {
        damage: headers.damage,
        ..Found::default()
    };
    for mut hit in candidates.drain(..) {
        match headers.verdicts.get(&hit.record.guid) {
            Some(Verdict::Wanted(header)) => {
                hit.header = header.clone();
                found.hits.push(hit);
            }
            Some(Verdict::Unwanted) => {}
            Some(Verdict::Unknown) | None if selection.needs_headers() => found.unsure.push(hit),
            Some(Verdict::Unknown) | None => found.hits.push(hit),
        }
    }
    Ok(found)
}

/// The first of the mailboxes that are asked for of which the backup has never heard: who misspells one
/// must not believe that nothing is in it.
pub fn unknown_mailbox<'a>(
    backup: &Backup,
    selection: &'a Selection,
    namespace: &Namespace,
) -> Result<Option<&'a str>> {
    let mailboxes = backup.index().mailboxes()?;
    let unknown = |pattern: &&MailboxPattern| {
        let mut known = mailboxes.iter();
        !known.any(|mailbox| pattern.matches(mailbox, namespace))
    };
    let found = selection.mailboxes.iter().find(unknown);
    Ok(found.map(MailboxPattern::text))
}

/// Wanted messages that no record of any mailbox names, as far as that can be: a selection that asks
/// for anything only a record knows wants none of them. Damaged ones come with the reason.
///
/// # Errors
/// What is not about one message.
pub fn find_unowned(
    backup: &Backup,
    selection: &Selection,
) -> Result<(Vec<MessageRow>, Vec<StoreError>)> {
    let (mut found, mut damage) = (Vec::new(), Vec::new());
    if selection.asks_for_records() {
        return Ok((found, damage));
    }
    let mut owned = HashSet::new();
    for mailbox in backup.index().mailboxes()? {
        let records = backup.index().records(mailbox.id)?;
        owned.extend(records.into_iter().map(|record| record.guid));
    }
    let mut rows = backup.index().messages()?;
    rows.retain(|row| !owned.contains(&row.guid) && selection.admits_body(&row.guid, row.size));
    if !selection.needs_headers() {
        return Ok((rows, damage));
    }
    backup.each_message(rows, Part::Header, &mut |row, octets| {
        match octets {
            Ok(octets) if selection.admits_header(&Header::parse(octets)) => {
                found.push(row.clone());
            }
            Ok(_) => {}
            Err(error) => damage.push(error),
        }
        true
    })?;
    Ok((found, damage))
}

fn candidates(backup: &Backup, selection: &Selection, namespace: &Namespace) -> Result<Vec<Hit>> {
    let mut candidates = Vec::new();
    for mailbox in backup.index().mailboxes()? {
        let named = |mailbox: &MailboxRow| {
            let mut patterns = selection.mailboxes.iter();
            patterns.any(|pattern| pattern.matches(mailbox, namespace))
        };
        if !selection.mailboxes.is_empty() && !named(&mailbox) {
            continue;
        }
        let deleted = deleted_at(&mailbox, namespace);
        let mailbox = Arc::new(mailbox);
        for record in backup.index().records(mailbox.id)? {
            if selection.admits(&record, deleted) {
                candidates.push(Hit {
                    mailbox: Arc::clone(&mailbox),
                    record,
                    deleted,
                    header: None,
                });
            }
        }
    }
    Ok(candidates)
}

/// What the header of a message said.
enum Verdict {
    Wanted(Option<Header>),
    Unwanted,
    Unknown,
}

/// The headers of all candidates, each message once however many mailboxes hold it.
struct Headers {
    verdicts: HashMap<Guid, Verdict>,
    damage: Vec<StoreError>,
}

impl Headers {
    fn of(candidates: &[Hit]) -> Headers {
        let guids = candidates.iter().map(|hit| hit.record.guid);
        Headers {
            verdicts: guids.map(|guid| (guid, Verdict::Unknown)).collect(),
            damage: Vec::new(),
        }
    }

    fn read(&mut self, backup: &Backup, selection: &Selection, show: bool) -> Result<()> {
        let mut rows = Vec::new();
        for guid in self.verdicts.keys() {
            rows.extend(backup.index().message(guid)?);
        }
        let Headers { verdicts, damage } = self;
        backup.each_message(rows, Part::Header, &mut |row, octets| {
            match octets {
                Ok(octets) => {
                    let mut header = Header::parse(octets);
                    let verdict = match selection.admits_header(&header) {
                        true => {
                            header.keep(&SHOWN);
                            Verdict::Wanted(show.then_some(header))
                        }
                        false => Verdict::Unwanted,
                    };
                    verdicts.insert(row.guid, verdict);
                }
                Err(error) => damage.push(error),
            }
            true
        })
    }
}

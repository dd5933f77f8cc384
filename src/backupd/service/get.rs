//! GET: what we hold, so that the client sends what we lack (spec: csync 4, 7.3, 8.5, 11.3).
//! Unknown names are left out and nothing is created for them.

use std::collections::{BTreeMap, HashMap};

use super::StoreService;
use super::backups::refusal;
use super::header;
use crate::csync::command::Get;
use crate::csync::dlist::{FileRef, KvList, Value};
use crate::csync::response::{Code, Reply, write_untagged};
use crate::store::index::{Header, Repair};
use crate::store::{Index, MailboxRow, Result, SieveRow, StoreError};
use crate::types::{BackupKey, Guid, MboxName};

/// A body that was asked for and did not come is asked for again after this many seconds:
/// the client may have found its file by then (spec: csync 8.5 d).
const ASK_AGAIN: i64 = 24 * 3600;

impl StoreService {
    pub(super) fn answer(&mut self, get: Get, out: &mut Vec<u8>) -> Reply {
        match get {
            Get::User(userid) => self.get_user(&userid, out),
            Get::Meta(userid) => self.get_meta(&userid, out),
            Get::Mailboxes(names) => self.get_mailboxes(&names, out),
            Get::FullMailbox(name) => self.get_full_mailbox(&name, out),
            Get::Quota(root) => self.get_quota(&root, out),
            Get::Annotation(mboxname) => self.get_annotation(&mboxname, out),
            Get::Fetch { mboxname, guid, .. } => self.get_fetch(&mboxname, &guid, out),
            Get::FetchSieve { userid, filename } => self.get_fetch_sieve(&userid, &filename, out),
            // No client asks; which of all backups holds an id is not known.
            Get::UniqueIds(_) => success(),
            Get::Unknown(name) => {
                Reply::No(Code::ProtocolError, format!("Unknown command GET {name}"))
            }
        }
    }

    fn get_user(&mut self, userid: &str, out: &mut Vec<u8>) -> Reply {
        let key = match BackupKey::from_userid(userid) {
            Ok(key) => key,
            Err(e) => return invalid_user(userid, &e.to_string()),
        };
        if let Err(e) = self.settle_moves(&key) {
            return refusal(&key, &e);
        }
        let now = super::now();
        let answer = self.backups.ask(&key, |index| {
            let mut lines = mailbox_lines(index, |_| true, now)?;
            for (_, items) in index.quotas()? {
                lines.push(("QUOTA", items));
            }
            Ok((lines, meta_lines(index)?))
        });
        match answer {
            Ok(Some((lines, meta))) => {
                self.write_mailboxes(lines, out);
                meta.into_iter()
                    .for_each(|(name, value)| write_untagged(name, &value, out));
                success()
            }
            Ok(None) => success(),
            Err(e) => refusal(&key, &e),
        }
    }

    fn get_meta(&mut self, userid: &str, out: &mut Vec<u8>) -> Reply {
        let key = match BackupKey::from_userid(userid) {
            Ok(key) => key,
            Err(e) => return invalid_user(userid, &e.to_string()),
        };
        match self.backups.ask(&key, meta_lines) {
            Ok(meta) => {
                let lines = meta.into_iter().flatten();
                lines.for_each(|(name, value)| write_untagged(name, &value, out));
                success()
            }
            Err(e) => refusal(&key, &e),
        }
    }

    /// Names may belong to several users and to shared space in one request.
    fn get_mailboxes(&mut self, names: &[MboxName], out: &mut Vec<u8>) -> Reply {
        let mut by_owner: BTreeMap<BackupKey, Vec<&str>> = BTreeMap::new();
        for name in names {
            by_owner
                .entry(name.owner(&self.namespace))
                .or_default()
                .push(name.as_str());
        }
        for key in by_owner.keys() {
            if let Err(e) = self.settle_moves(key) {
                return refusal(key, &e);
            }
        }
        let now = super::now();
        let mut lines = Vec::new();
        for (key, names) in by_owner {
            let wanted = |name: &str| names.contains(&name);
            let asked = |index: &Index| mailbox_lines(index, wanted, now);
            match self.backups.ask(&key, asked) {
                Ok(more) => lines.extend(more.unwrap_or_default()),
                Err(e) => return refusal(&key, &e),
            }
        }
        self.write_mailboxes(one_of_each(lines), out);
        success()
    }

    /// The one request whose answer can hurt the master. An empty list and zeros give the client
    /// nothing to merge; the complete list it sends next puts us right (spec: csync 11.3).
    fn get_full_mailbox(&mut self, name: &MboxName, out: &mut Vec<u8>) -> Reply {
        let key = name.owner(&self.namespace);
        let marked = self.backups.append_existing(&key, |appender| {
            let mut uniqueid = None;
            for mailbox in appender.index().mailboxes_by_name(name.as_str())? {
                if let Some(header) = appender.index().header(mailbox.id)? {
                    let wanted = Header {
                        repair: Repair::Wanted,
                        ..header
                    };
                    appender.note(|index| index.set_header(mailbox.id, &wanted))?;
                }
                uniqueid = Some(mailbox.uniqueid);
            }
            Ok(uniqueid)
        });
        match marked {
            Ok(Some(Some(uniqueid))) => {
                let items = vec![
                    ("UNIQUEID".to_owned(), Value::string(uniqueid)),
                    ("MBOXNAME".to_owned(), Value::string(name.as_str())),
                    ("LAST_UID".to_owned(), Value::number(0)),
                    ("HIGHESTMODSEQ".to_owned(), Value::number(0)),
                    ("UIDVALIDITY".to_owned(), Value::number(0)),
                    ("RECORD".to_owned(), Value::List(Vec::new())),
                ];
                write_untagged("MAILBOX", &Value::KvList(KvList(items)), out);
                success()
            }
            Ok(_) => nonexistent(name.as_str()),
            Err(e) => refusal(&key, &e),
        }
    }

    fn get_quota(&mut self, root: &str, out: &mut Vec<u8>) -> Reply {
        let Ok(name) = MboxName::new(root) else {
            return nonexistent(root);
        };
        let key = name.owner(&self.namespace);
        match self.backups.ask(&key, Index::quotas) {
            Ok(quotas) => {
                for (_, items) in quotas.into_iter().flatten().filter(|(r, _)| r == root) {
                    write_untagged("QUOTA", &Value::KvList(items), out);
                }
                success()
            }
            Err(e) => refusal(&key, &e),
        }
    }

    fn get_annotation(&mut self, mboxname: &str, out: &mut Vec<u8>) -> Reply {
        let Some(key) = self.annotation_owner(mboxname) else {
            return nonexistent(mboxname);
        };
        match self.backups.ask(&key, Index::annotations) {
            Ok(rows) => {
                for row in rows
                    .into_iter()
                    .flatten()
                    .filter(|row| row.mboxname == mboxname)
                {
                    let items = vec![
                        ("MBOXNAME".to_owned(), Value::string(row.mboxname)),
                        ("ENTRY".to_owned(), Value::string(row.entry)),
                        ("USERID".to_owned(), Value::string(row.userid)),
                        ("VALUE".to_owned(), Value::string(row.value)),
                    ];
                    write_untagged("ANNOTATION", &Value::KvList(KvList(items)), out);
                }
                success()
            }
            Err(e) => refusal(&key, &e),
        }
    }

    fn get_fetch(&mut self, name: &MboxName, guid: &Guid, out: &mut Vec<u8>) -> Reply {
        let key = name.owner(&self.namespace);
        let fetched = self.backups.read(&key).and_then(|backup| {
            let Some(backup) = backup else {
                return Ok(None);
            };
            let Some(row) = backup.index().message(guid)? else {
                return Ok(None);
            };
            Ok(Some((row.partition.clone(), backup.read_row(&row)?)))
        });
        match fetched {
            Ok(Some((partition, octets))) => {
                let size = octets.len() as u64;
                let file = FileRef {
                    partition: partition.into_bytes(),
                    guid: *guid,
                    size,
                };
                write_untagged("MESSAGE", &Value::File(file), out);
                out.extend_from_slice(&octets);
                out.extend_from_slice(b"\r\n");
                success()
            }
            Ok(None) | Err(StoreError::Damaged { .. }) => nonexistent(name.as_str()),
            Err(e) => refusal(&key, &e),
        }
    }

    fn get_fetch_sieve(&mut self, userid: &str, filename: &str, out: &mut Vec<u8>) -> Reply {
        let key = match BackupKey::from_userid(userid) {
            Ok(key) => key,
            Err(e) => return invalid_user(userid, &e.to_string()),
        };
        let fetched = self.backups.read(&key).and_then(|backup| {
            let Some(backup) = backup else {
                return Ok(None);
            };
            let rows = backup.index().sieve()?;
            let live = rows
                .iter()
                .find(|row| row.filename == filename && row.deleted.is_none());
            live.map(|row| backup.read_sieve(row)).transpose()
        });
        match fetched {
            Ok(Some(content)) => {
                let items = vec![
                    ("USERID".to_owned(), Value::string(userid)),
                    ("FILENAME".to_owned(), Value::string(filename)),
                    ("CONTENT".to_owned(), Value::string(content)),
                ];
                write_untagged("SIEVE", &Value::KvList(KvList(items)), out);
                success()
            }
            Ok(None) | Err(StoreError::Damaged { .. }) => nonexistent(filename),
            Err(e) => refusal(&key, &e),
        }
    }

    /// Writes the lines and remembers which mailboxes were reported as empty of changes: what
    /// comes for those next is a complete list.
    fn write_mailboxes(&mut self, lines: Vec<(&'static str, KvList)>, out: &mut Vec<u8>) {
        for (name, items) in lines {
            if name == "MAILBOX" {
                let uniqueid = items
                    .get("UNIQUEID")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                match items.get("HIGHESTMODSEQ").and_then(Value::as_u64) {
                    Some(0) => {
                        if self.asked_in_full.insert(uniqueid.to_owned()) {
                            self.backups.note_repair();
                        }
                    }
                    _ => drop(self.asked_in_full.take(uniqueid)),
                }
            }
            write_untagged(name, &Value::KvList(items), out);
        }
    }
}

/// A mailbox that two backups hold (it was uploaded under a new owner's name, and the old one does
/// not know) is reported once, as the newer one is: the client knows each UNIQUEID once.
fn one_of_each(mut lines: Vec<(&'static str, KvList)>) -> Vec<(&'static str, KvList)> {
    let modseq = |items: &KvList| items.get("HIGHESTMODSEQ").and_then(Value::as_u64);
    let id = |items: &KvList| {
        items
            .get("UNIQUEID")
            .and_then(Value::as_bytes)
            .map(<[u8]>::to_vec)
    };
    let mut newest: HashMap<Option<Vec<u8>>, Option<u64>> = HashMap::new();
    for (_, items) in &lines {
        let best = newest.entry(id(items)).or_default();
        *best = modseq(items).max(*best);
    }
    lines.retain(|(_, items)| match newest.get(&id(items)) {
        Some(best) if *best == modseq(items) => newest.remove(&id(items)).is_some(),
        _ => false,
    });
    lines
}

/// `* MAILBOX` of the living mailboxes whose name is wanted, intermediates included, by name.
fn mailbox_lines(
    index: &Index,
    wanted: impl Fn(&str) -> bool,
    now: i64,
) -> Result<Vec<(&'static str, KvList)>> {
    let mut by_name = Vec::new();
    for row in index.mailboxes()? {
        if row.deleted.is_none() && wanted(&row.mboxname) {
            by_name.push((row.mboxname.clone(), mailbox_items(index, &row, now)?));
        }
    }
    for folder in index.intermediates()? {
        if wanted(&folder.mboxname) {
            by_name.push((folder.mboxname, header::complete_intermediate(folder.keys)));
        }
    }
    by_name.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(by_name
        .into_iter()
        .map(|(_, items)| ("MAILBOX", items))
        .collect())
}

/// The header as it was applied, unless something of ours is missing: then what makes the client
/// send it (spec: csync 8.5 c).
fn mailbox_items(index: &Index, row: &MailboxRow, now: i64) -> Result<KvList> {
    let header = index.header(row.id)?;
    let wanted = header
        .as_ref()
        .is_some_and(|header| header.repair == Repair::Wanted);
    let mut items = match header {
        Some(header) if !header.keys.0.is_empty() => header.keys,
        _ => header::from_row(row),
    };
    let missing = index.lowest_missing_body(row.id, now - ASK_AGAIN)?;
    if let Some(uid) = missing {
        items.set("LAST_UID", Value::number(u64::from(uid.saturating_sub(1))));
    }
    if wanted || missing.is_some() {
        items.set("HIGHESTMODSEQ", Value::number(0));
    }
    Ok(items)
}

/// SEEN, LSUB and SIEVE of a user.
fn meta_lines(index: &Index) -> Result<Vec<(&'static str, Value)>> {
    let mut lines = Vec::new();
    for seen in index.seen()? {
        let items = vec![
            ("UNIQUEID".to_owned(), Value::string(seen.uniqueid)),
            (
                "LASTREAD".to_owned(),
                Value::number(seen.lastread.cast_unsigned()),
            ),
            ("LASTUID".to_owned(), Value::number(seen.lastuid.into())),
            (
                "LASTCHANGE".to_owned(),
                Value::number(seen.lastchange.cast_unsigned()),
            ),
            ("SEENUIDS".to_owned(), Value::string(seen.seenuids)),
        ];
        lines.push(("SEEN", Value::KvList(KvList(items))));
    }
    let subscriptions = index.subscriptions()?;
    let names: Vec<Value> = subscriptions
        .into_iter()
        .filter(|row| row.unsubscribed.is_none())
        .map(|row| Value::string(row.mboxname))
        .collect();
    if !names.is_empty() {
        lines.push(("LSUB", Value::List(names)));
    }
    let active = index.active_sieve()?;
    for script in index
        .sieve()?
        .into_iter()
        .filter(|script| script.deleted.is_none())
    {
        let is_active = active.as_deref() == Some(script.filename.as_str());
        lines.push(sieve_line(&script.filename, &script, is_active));
        // The client looks for the compiled script, `x.bc`, among the active ones.
        if is_active && let Some(stem) = script.filename.strip_suffix(".script") {
            lines.push(sieve_line(&format!("{stem}.bc"), &script, true));
        }
    }
    Ok(lines)
}

fn sieve_line(filename: &str, script: &SieveRow, is_active: bool) -> (&'static str, Value) {
    let items = vec![
        ("FILENAME".to_owned(), Value::string(filename)),
        (
            "LAST_UPDATE".to_owned(),
            Value::number(script.last_update.cast_unsigned()),
        ),
        ("GUID".to_owned(), Value::string(script.guid.to_string())),
        ("ISACTIVE".to_owned(), Value::number(is_active.into())),
    ];
    ("SIEVE", Value::KvList(KvList(items)))
}

pub(super) fn success() -> Reply {
    Reply::Ok("Success".to_owned())
}

pub(super) fn nonexistent(name: &str) -> Reply {
    Reply::No(Code::MailboxNonexistent, format!("No such mailbox: {name}"))
}

pub(super) fn invalid_user(userid: &str, problem: &str) -> Reply {
    let userid: String = userid.chars().take(100).collect();
    Reply::No(
        Code::InvalidUser,
        format!("Invalid userid {userid:?}: {problem}"),
    )
}

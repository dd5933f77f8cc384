//! What was asked for: the words of the command line, and which mailboxes and messages of the backup they mean
//! (spec: ondisk 6.7). Reads the index, and headers where criteria want them; writes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

use super::options::Options;
use crate::select::{self, MailboxPattern, Selection, deleted_at};
use crate::store::{Backup, MailboxRow, RecordRow, StoreError};
use crate::types::{Guid, Namespace};

/// One word of the command line or line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// 24 or 36 characters of a mailbox' identity.
    Uniqueid(String),
    /// 40 hex digits.
    Guid(Guid),
    /// An external mailbox name.
    Mailbox(String),
}

impl Object {
    /// C's order, no fallback from one kind to another.
    pub fn parse(text: &str) -> Object {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_uniqueid = match text.len() {
            24 => text.bytes().all(lower),
            36 => text.bytes().all(|byte| lower(byte) || byte == b'-'),
            _ => false,
        };
        match Guid::from_hex(text.as_bytes()) {
            _ if is_uniqueid => Object::Uniqueid(text.to_owned()),
            Ok(guid) => Object::Guid(guid),
            Err(_) => Object::Mailbox(text.to_owned()),
        }
    }
}

/// The objects of a file: a line each; empty ones and those with `#` are not.
pub fn lines(text: &[u8]) -> Vec<OsString> {
    use std::os::unix::ffi::OsStrExt;
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| OsStr::from_bytes(line).to_owned())
        .collect()
}

/// A mailbox of the backup, and what of it is wanted.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The mailbox.
    pub mailbox: MailboxRow,
    /// The messages, in the order of their UIDs.
    pub records: Vec<RecordRow>,
    /// Messages that `-x` or `-X` leave out, for those who want to hear of them.
    pub excluded: Vec<RecordRow>,
    /// Asked for by GUID: its expunged messages are wanted, too.
    pub by_guid: bool,
}

/// Everything that was asked for.
#[derive(Debug, Default)]
pub struct Choice {
    /// In the order of the objects.
    pub chosen: Vec<Chosen>,
    /// Deleted mailboxes that `-a` and `-r` leave out.
    pub deleted: BTreeSet<String>,
    /// Headers that could not be read: messages that may have been meant.
    pub unsure: Vec<String>,
}

/// Why nothing can be restored.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// The backup does not have it.
    #[error("{}: {what} does not exist{hint}", .object.display())]
    Unknown {
        /// As it was typed.
        object: OsString,
        /// `Mailbox` or `Message`
        what: &'static str,
        /// What it has instead.
        hint: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks all objects up. Without objects (and with criteria, or `-a`) every mailbox counts.
///
/// # Errors
/// The first object that the backup does not have: nothing is restored then.
pub fn choose(
    backup: &Backup,
    objects: &[OsString],
    options: &Options,
    selection: &Selection,
    namespace: &Namespace,
) -> Result<Choice, ChoiceError> {
    let asker = Asker {
        backup,
        options,
        namespace,
        mailboxes: backup.index().mailboxes()?,
    };
    let mut choice = Choice::default();
    // A file that names nothing means nothing.
    let unnamed = objects.is_empty() && options.input_file.is_none();
    let everywhere = options.all_mailboxes || unnamed && options.selects();
    if everywhere {
        asker.everything(&mut choice)?;
    }
    for object in objects {
        asker.object(object, &mut choice)?;
    }
    if options.selects() {
        narrow(backup, selection, namespace, &mut choice)?;
    }
    asker.exclude(&mut choice);
    Ok(choice)
}

struct Asker<'a> {
    backup: &'a Backup,
    options: &'a Options,
    namespace: &'a Namespace,
    mailboxes: Vec<MailboxRow>,
}

impl Asker<'_> {
    fn everything(&self, choice: &mut Choice) -> Result<(), ChoiceError> {
        let wants_deleted = self.options.keep_deletedprefix || self.options.asks_for_deleted();
        for mailbox in &self.mailboxes {
            match self.is_deleted(mailbox) && !wants_deleted {
                true => drop(choice.deleted.insert(mailbox.mboxname.clone())),
                false => choice.chosen.push(self.whole(mailbox)?),
            }
        }
        Ok(())
    }

    fn object(&self, word: &OsStr, choice: &mut Choice) -> Result<(), ChoiceError> {
        let text = word.to_string_lossy();
        let unknown = |what, hint| ChoiceError::Unknown {
            object: word.to_owned(),
            what,
            hint,
        };
        match Object::parse(&text) {
            Object::Guid(guid) => {
                let found = self.holders(&guid)?;
                if found.is_empty() {
                    return Err(unknown("Message", String::new()));
                }
                choice.chosen.extend(found);
            }
            Object::Uniqueid(uniqueid) => {
                let found = self.mailboxes.iter().find(|m| m.uniqueid == uniqueid);
                let found = found.ok_or_else(|| unknown("Mailbox", String::new()))?;
                choice.chosen.push(self.whole(found)?);
            }
            Object::Mailbox(name) => {
                let tree = self.options.recursive;
                let found = match MailboxPattern::parse(&name, tree, self.namespace) {
                    Ok(pattern) => self.named(&pattern, choice),
                    Err(_) => Vec::new(),
                };
                if found.is_empty() {
                    return Err(unknown("Mailbox", self.hint(&name)));
                }
                for mailbox in found {
                    choice.chosen.push(self.whole(mailbox)?);
                }
            }
        }
        Ok(())
    }

    /// The living mailboxes of a name; if there are none, those that were deleted last under it.
    fn named(&self, pattern: &MailboxPattern, choice: &mut Choice) -> Vec<&MailboxRow> {
        let all = self.mailboxes.iter();
        let (mut living, mut deleted) = (Vec::new(), Vec::new());
        for mailbox in all.filter(|mailbox| pattern.matches(mailbox, self.namespace)) {
            match self.is_deleted(mailbox) {
                true => deleted.push(mailbox),
                false => living.push(mailbox),
            }
        }
        if self.options.asks_for_deleted() {
            return deleted;
        }
        if !living.is_empty() {
            choice
                .deleted
                .extend(deleted.iter().map(|mailbox| mailbox.mboxname.clone()));
            return living;
        }
        self.newest(deleted)
    }

    /// Of several that were deleted under one name, the last one.
    fn newest<'m>(&self, deleted: Vec<&'m MailboxRow>) -> Vec<&'m MailboxRow> {
        let mut newest: Vec<&MailboxRow> = Vec::new();
        for mailbox in deleted {
            let name = super::names::undeleted(&mailbox.mboxname, self.namespace);
            let same = |other: &&mut &MailboxRow| {
                super::names::undeleted(&other.mboxname, self.namespace) == name
            };
            match newest.iter_mut().find(same) {
                Some(other) if self.deletion(other) < self.deletion(mailbox) => *other = mailbox,
                Some(_) => {}
                None => newest.push(mailbox),
            }
        }
        newest
    }

    fn deletion(&self, mailbox: &MailboxRow) -> Option<i64> {
        deleted_at(mailbox, self.namespace)
    }

    fn is_deleted(&self, mailbox: &MailboxRow) -> bool {
        self.deletion(mailbox).is_some()
    }

    fn whole(&self, mailbox: &MailboxRow) -> Result<Chosen, ChoiceError> {
        Ok(Chosen {
            mailbox: mailbox.clone(),
            records: self.backup.index().records(mailbox.id)?,
            excluded: Vec::new(),
            by_guid: false,
        })
    }

    /// Where a message is. When it lives somewhere, places where it was expunged do not count: it was moved.
    fn holders(&self, guid: &Guid) -> Result<Vec<Chosen>, ChoiceError> {
        let mut held = Vec::new();
        for mailbox in &self.mailboxes {
            let mut records = self.backup.index().records(mailbox.id)?;
            records.retain(|record| record.guid == *guid);
            if !records.is_empty() {
                held.push(Chosen {
                    mailbox: mailbox.clone(),
                    records,
                    excluded: Vec::new(),
                    by_guid: true,
                });
            }
        }
        let lives = |chosen: &Chosen| {
            !self.is_deleted(&chosen.mailbox) && chosen.records.iter().any(|r| r.expunged.is_none())
        };
        if !self.options.asks_for_expunged() && held.iter().any(lives) {
            held.retain(lives);
            for chosen in &mut held {
                chosen.records.retain(|record| record.expunged.is_none());
            }
        }
        if self.options.dest_mailbox.is_some() {
            held = newest(held);
        }
        Ok(held)
    }

    fn exclude(&self, choice: &mut Choice) {
        let leaves_out = |record: &RecordRow| match record.expunged {
            Some(_) => self.options.skip_expunged,
            None => self.options.only_expunged,
        };
        for chosen in &mut choice.chosen {
            let all = std::mem::take(&mut chosen.records);
            (chosen.excluded, chosen.records) = all.into_iter().partition(leaves_out);
        }
    }

    /// Names that a typing error may have meant.
    fn hint(&self, typed: &str) -> String {
        let last = |name: &str| {
            let end = name.rsplit(['.', '/']).next().unwrap_or(name);
            end.to_lowercase()
        };
        let names = self.mailboxes.iter().filter_map(|mailbox| {
            let name = crate::types::MboxName::new(mailbox.mboxname.as_str()).ok()?;
            let external = name.to_external(self.namespace);
            (last(&external) == last(typed)).then_some(external)
        });
        let names: Vec<String> = names.take(5).collect();
        match names.is_empty() {
            true => String::new(),
            false => format!(" (the backup has {})", names.join(", ")),
        }
    }
}

/// One copy is enough for one mailbox: that with the latest flags.
fn newest(held: Vec<Chosen>) -> Vec<Chosen> {
    let each = held.into_iter().flat_map(|chosen| {
        let records = chosen.records.clone().into_iter();
        records.map(move |record| Chosen {
            records: vec![record],
            ..chosen.clone()
        })
    });
    let age = |chosen: &Chosen| {
        let latest = chosen.records.iter();
        latest.map(|r| (r.expunged.is_none(), r.last_updated)).max()
    };
    each.max_by_key(age).into_iter().collect()
}

/// Keeps what the criteria admit; mailboxes of which nothing is left do not count.
fn narrow(
    backup: &Backup,
    selection: &Selection,
    namespace: &Namespace,
    choice: &mut Choice,
) -> Result<(), ChoiceError> {
    let mut selection = selection.clone();
    let ids = choice.chosen.iter().map(|c| c.mailbox.uniqueid.clone());
    let chosen: Vec<MailboxPattern> = ids.map(MailboxPattern::uniqueid).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let also = std::mem::replace(&mut selection.mailboxes, chosen);
    if !also.is_empty() {
        let fits = |c: &Chosen| also.iter().any(|p| p.matches(&c.mailbox, namespace));
        choice.chosen.retain(fits);
    }
    let found = select::find(backup, &selection, namespace, false)?;
    let mut wanted: HashMap<i64, HashSet<u32>> = HashMap::new();
    for hit in &found.hits {
        let uids = wanted.entry(hit.mailbox.id).or_default();
        uids.insert(hit.record.uid);
    }
    for chosen in &mut choice.chosen {
        let uids = wanted.get(&chosen.mailbox.id);
        chosen
            .records
            .retain(|record| uids.is_some_and(|uids| uids.contains(&record.uid)));
    }
    choice.chosen.retain(|chosen| !chosen.records.is_empty());
    for hit in &found.unsure {
        let (name, record) = (&hit.mailbox.mboxname, &hit.record);
        let text = format!("{name}: {}: its header cannot be read", record.guid);
        choice.unsure.push(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_objects() {
        let guid = "42c32deeb045bff18d94bd170d8ca63d6055852E";
        assert_eq!(Object::parse(guid), Object::Guid(guid.parse().unwrap()));
        for uniqueid in [
            "40bz6yr1cfxebgj176q9r8xu",
            "11111111-aaaa-bbbb-cccc-0000000000c1",
        ] {
            assert_eq!(
                Object::parse(uniqueid),
                Object::Uniqueid(uniqueid.to_owned())
            );
        }
        for name in ["user.anne", "40BZ6yr1cfxebgj176q9r8xu", ""] {
            assert_eq!(Object::parse(name), Object::Mailbox(name.to_owned()));
        }
    }

    #[test]
    fn files_of_objects() {
        let text = b"# comment\n\n user.anne \r\n42c3\nlast";
        assert_eq!(lines(text), ["user.anne", "42c3", "last"]);
    }
}

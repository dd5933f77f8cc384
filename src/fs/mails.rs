//! The messages of one mailbox as files: `<uid>.eml`, in UID order, which is nearly the order of the
//! data file, so that reading them in a row inflates each chunk once. Pure.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::names;
use super::source::Record;
use crate::types::Guid;

/// The live messages of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mails {
    /// By UID; of several with one UID the one that counts comes first.
    mails: Vec<Mail>,
    missing: Option<Arc<[u8]>>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Row id of the message.
    pub message: u32,
    /// UID in the mailbox.
    pub uid: u32,
    /// Name of the body.
    pub guid: Guid,
    /// Octets of the body.
    pub size: u64,
    /// INTERNALDATE, in unix seconds.
    pub internaldate: i64,
    /// Modification sequence.
    pub modseq: u64,
    /// `\Seen $Label1`, shared between messages with the same flags.
    pub flags: Arc<str>,
    /// When the log last changed the record, in unix seconds.
    pub changed: i64,
    /// Whether another message has this UID and comes first.
    pub twin: bool,
}

impl Mails {
    /// Takes the records that are not expunged; `time` is when a chunk ended. `None` when a message's
    /// id is not from 0 to 2^31 - 1: no writer gives such ids.
    pub fn new(mut records: Vec<Record>, time: impl Fn(i64) -> i64) -> Option<Mails> {
        records.retain(|record| record.expunged.is_none());
        // A UID that two messages have: the later state of the mailbox counts.
        records.sort_by_key(|r| (r.uid, std::cmp::Reverse((r.modseq, r.message))));
        let mut flags = HashSet::new();
        let mut mails: Vec<Mail> = Vec::with_capacity(records.len());
        let mut missing = String::new();
        for record in records {
            if mails
                .last()
                .is_some_and(|m| (m.uid, m.guid) == (record.uid, record.guid))
            {
                continue;
            }
            let (Some(message), Some(size)) = (record.message, record.size) else {
                note_missing(&mut missing, &record);
                continue;
            };
            mails.push(Mail {
                message: u32::try_from(message).ok().filter(|id| *id < 1 << 31)?,
                uid: record.uid,
                guid: record.guid,
                size,
                internaldate: record.internaldate,
                modseq: record.modseq,
                flags: intern(&mut flags, bare_flags(&record.flags)),
                changed: time(record.last_chunk),
                twin: mails.last().is_some_and(|last| last.uid == record.uid),
            });
        }
        let missing = (!missing.is_empty()).then(|| missing.into_bytes().into());
        Some(Mails { mails, missing })
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.mails.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.mails.is_empty()
    }

    /// A message by its place.
    pub fn get(&self, place: usize) -> Option<&Mail> {
        self.mails.get(place)
    }

    /// The message with this UID.
    pub fn by_uid(&self, uid: u32) -> Option<&Mail> {
        let first = self.mails.partition_point(|mail| mail.uid < uid);
        self.mails.get(first).filter(|mail| mail.uid == uid)
    }

    /// The further message of a UID that has this message id.
    pub fn twin(&self, message: u32) -> Option<&Mail> {
        let mut twins = self.mails.iter().filter(|mail| mail.twin);
        twins.find(|mail| mail.message == message)
    }

    /// The message with this file name.
    pub fn by_name(&self, name: &str) -> Option<&Mail> {
        let (uid, guid) = names::parse_mail(name)?;
        let first = self.mails.partition_point(|mail| mail.uid < uid);
        let mut same = self.mails[first..].iter().take_while(|m| m.uid == uid);
        same.find(|mail| match guid {
            None => !mail.twin,
            Some(guid) => mail.twin && mail.guid == guid,
        })
    }

    /// What `missing.txt` says, if there is anything to say.
    pub fn missing(&self) -> Option<&Arc<[u8]>> {
        self.missing.as_ref()
    }
}

impl Mail {
    /// File name.
    pub fn name(&self) -> String {
        match self.twin {
            false => names::mail(self.uid),
            true => names::twin(self.uid, &self.guid),
        }
    }
}

/// One line for each message whose body the backup does not hold.
fn note_missing(list: &mut String, record: &Record) {
    if list.is_empty() {
        list.push_str(
            "# The backup holds no body for these messages:\n# uid\tguid\tinternaldate\n",
        );
    }
    let Record {
        uid,
        guid,
        internaldate,
        ..
    } = record;
    // Writing to a String cannot fail.
    let _ = writeln!(list, "{uid}\t{guid}\t{internaldate}");
}

/// `(\Seen $x)` without its parentheses.
fn bare_flags(flags: &str) -> &str {
    let inner = flags.strip_prefix('(').and_then(|f| f.strip_suffix(')'));
    inner.unwrap_or(flags)
}

/// Few sets of flags serve most messages of a mailbox.
fn intern(seen: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = seen.get(text) {
        return known.clone();
    }
    let new: Arc<str> = text.into();
    seen.insert(new.clone());
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: u32, message: i64) -> Record {
        Record {
            message: Some(message),
            uid,
            guid: Guid::of(&message.to_be_bytes()),
            size: Some(10),
            internaldate: 1_700_000_000,
            modseq: message as u64,
            flags: r"(\Seen $x)".to_owned(),
            last_chunk: 1,
            expunged: None,
        }
    }

    #[test]
    fn live_messages_in_uid_order() {
        let mut expunged = record(2, 2);
        expunged.expunged = Some(5);
        let mails = Mails::new(vec![record(9, 1), expunged, record(3, 3)], |c| 100 + c).unwrap();
        let names: Vec<_> = mails.mails.iter().map(Mail::name).collect();
        assert_eq!(names, ["3.eml", "9.eml"]);
        assert_eq!(mails.by_name("9.eml").unwrap().message, 1);
        assert_eq!(mails.by_name("2.eml"), None);
        assert_eq!(mails.by_uid(3).unwrap().changed, 101);
        assert_eq!(&*mails.get(0).unwrap().flags, r"\Seen $x");
        assert!(Arc::ptr_eq(&mails.mails[0].flags, &mails.mails[1].flags));
        assert_eq!(mails.missing(), None);
    }

    #[test]
    fn a_missing_body_is_listed_and_is_no_file() {
        let mut missing = record(4, 4);
        missing.message = None;
        missing.size = None;
        let guid = missing.guid;
        let mails = Mails::new(vec![record(1, 1), missing], |c| c).unwrap();
        assert_eq!(mails.len(), 1);
        let text = String::from_utf8(mails.missing().unwrap().to_vec()).unwrap();
        assert!(
            text.ends_with(&format!("4\t{guid}\t1700000000\n")),
            "{text}"
        );
    }

    #[test]
    fn two_messages_of_one_uid_are_two_files() {
        let mails = Mails::new(vec![record(7, 1), record(7, 2), record(8, 3)], |c| c).unwrap();
        let names: Vec<_> = mails.mails.iter().map(Mail::name).collect();
        let twin = names::twin(7, &Guid::of(&1i64.to_be_bytes()));
        assert_eq!(names, ["7.eml", twin.as_str(), "8.eml"]);
        for name in &names {
            assert_eq!(&mails.by_name(name).unwrap().name(), name);
        }
        assert_eq!(mails.by_uid(7).unwrap().message, 2);
        assert_eq!(mails.twin(1).unwrap().uid, 7);
        assert_eq!(mails.twin(2), None);
    }
}

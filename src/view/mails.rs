//! The messages of one mailbox as files, in UID order, which is nearly the order of the data file, so
//! that reading them in a row inflates each chunk once. Pure.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use super::links::Links;
use super::names;
use super::source::Record;
use crate::types::Guid;

/// How a mailbox becomes a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `17.eml`
    #[default]
    Eml,
    /// `cur/…:2,S` as in Maildir++.
    Maildir,
}

/// The messages of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mails {
    /// Not expunged.
    pub live: Side,
    /// Expunged.
    pub expunged: Side,
}

/// The live or the expunged messages of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    /// By UID; of several with one UID the one that counts comes first.
    mails: Vec<Mail>,
    /// Places in `mails` of those with a [`Mail::part`].
    parts: Vec<u32>,
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
    /// Annotations as a dlist, mostly empty.
    pub annotations: Arc<str>,
    /// When the log last changed the record, in unix seconds.
    pub changed: i64,
    /// Whether another message has this UID and comes first.
    pub twin: bool,
    /// Names of the file: more than 1 when other mailboxes show the same message.
    pub links: u32,
    /// Where in the octets its calendar or address book object is.
    pub part: Option<Range<u32>>,
}

impl Mails {
    /// Takes the records of a mailbox; `time` is when a chunk ended. `None` when a message's id is not
    /// from 0 to 2^31 - 1: no writer gives such ids.
    pub fn new(
        mailbox: i64,
        mut records: Vec<Record>,
        links: &Links,
        time: impl Fn(i64) -> i64,
    ) -> Option<Mails> {
        // A UID that two messages have: what lives, then the later state of the mailbox counts.
        records.sort_by_key(|r| {
            let later = std::cmp::Reverse((r.modseq, r.message));
            (r.uid, r.expunged.is_some(), later)
        });
        records.dedup_by_key(|r| (r.uid, r.guid));
        let mut texts = HashSet::new();
        let mut mails = Mails::default();
        let mut lost = [String::new(), String::new()];
        let mut last = None;
        for record in records {
            let (side, lost) = match record.expunged {
                None => (&mut mails.live, &mut lost[0]),
                Some(_) => (&mut mails.expunged, &mut lost[1]),
            };
            let (Some(message), Some(size)) = (record.message, record.size) else {
                note_missing(lost, &record);
                continue;
            };
            side.mails.push(Mail {
                message: u32::try_from(message).ok().filter(|id| *id < 1 << 31)?,
                uid: record.uid,
                guid: record.guid,
                size,
                internaldate: record.internaldate,
                modseq: record.modseq,
                flags: intern(&mut texts, bare_flags(&record.flags)),
                annotations: intern(&mut texts, &record.annotations),
                changed: time(record.last_chunk),
                twin: last == Some(record.uid),
                links: links.count(message, mailbox, record.uid),
                part: None,
            });
            last = Some(record.uid);
        }
        let [live, expunged] =
            lost.map(|list| (!list.is_empty()).then(|| list.into_bytes().into()));
        (mails.live.missing, mails.expunged.missing) = (live, expunged);
        Some(mails)
    }

    /// Live or expunged ones.
    pub fn side(&self, expunged: bool) -> &Side {
        match expunged {
            false => &self.live,
            true => &self.expunged,
        }
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.live.len() + self.expunged.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks for the object in each message; `find` reads one.
    pub fn find_parts(&mut self, find: impl Fn(&Mail) -> Option<Range<u32>>) {
        for side in [&mut self.live, &mut self.expunged] {
            for (place, mail) in (0u32..).zip(&mut side.mails) {
                mail.part = match mail.twin {
                    false => find(mail),
                    true => None,
                };
                if mail.part.is_some() {
                    side.parts.push(place);
                }
            }
        }
    }
}

impl Side {
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

    /// A message with an object in it, by its place among those.
    pub fn with_part(&self, place: usize) -> Option<&Mail> {
        self.mails.get(*self.parts.get(place)? as usize)
    }

    /// The message with this UID.
    pub fn by_uid(&self, uid: u32) -> Option<&Mail> {
        self.of_uid(uid).find(|mail| !mail.twin)
    }

    /// The further message of a UID that has this message id.
    pub fn twin(&self, message: u32) -> Option<&Mail> {
        let mut twins = self.mails.iter().filter(|mail| mail.twin);
        twins.find(|mail| mail.message == message)
    }

    /// The message with this file name.
    pub fn by_name(&self, name: &str, layout: Layout) -> Option<&Mail> {
        let uid = names::uid_of(name)?;
        self.of_uid(uid).find(|mail| mail.name(layout) == name)
    }

    /// The message with this UID and message id.
    pub fn by_message(&self, uid: u32, message: u32) -> Option<&Mail> {
        self.of_uid(uid).find(|mail| mail.message == message)
    }

    fn of_uid(&self, uid: u32) -> impl Iterator<Item = &Mail> {
        let first = self.mails.partition_point(|mail| mail.uid < uid);
        self.mails[first..].iter().take_while(move |m| m.uid == uid)
    }

    /// What `missing.txt` says, if there is anything to say.
    pub fn missing(&self) -> Option<&Arc<[u8]>> {
        self.missing.as_ref()
    }
}

impl Mail {
    /// File name.
    pub fn name(&self, layout: Layout) -> String {
        match (layout, self.twin) {
            (Layout::Maildir, _) => names::maildir_mail(
                self.uid,
                &self.guid,
                self.internaldate,
                self.size,
                &self.flags,
            ),
            (Layout::Eml, false) => names::mail(self.uid),
            (Layout::Eml, true) => names::twin(self.uid, &self.guid),
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
            annotations: String::new(),
            last_chunk: 1,
            expunged: None,
        }
    }

    fn expunged(uid: u32, message: i64) -> Record {
        Record {
            expunged: Some(5),
            ..record(uid, message)
        }
    }

    fn mails(records: Vec<Record>) -> Mails {
        Mails::new(1, records, &Links::default(), |c| 100 + c).unwrap()
    }

    fn names(side: &Side) -> Vec<String> {
        side.mails.iter().map(|m| m.name(Layout::Eml)).collect()
    }

    #[test]
    fn live_and_expunged_messages_in_uid_order() {
        let mails = mails(vec![record(9, 1), expunged(2, 2), record(3, 3)]);
        assert_eq!(names(&mails.live), ["3.eml", "9.eml"]);
        assert_eq!(names(&mails.expunged), ["2.eml"]);
        let by_name = |name| mails.live.by_name(name, Layout::Eml);
        assert_eq!(by_name("9.eml").unwrap().message, 1);
        assert_eq!(by_name("2.eml"), None);
        assert_eq!(by_name("09.eml"), None);
        assert_eq!(mails.live.by_uid(3).unwrap().changed, 101);
        let (first, second) = (mails.live.get(0).unwrap(), mails.live.get(1).unwrap());
        assert_eq!(&*first.flags, r"\Seen $x");
        assert!(Arc::ptr_eq(&first.flags, &second.flags));
        assert_eq!(mails.live.missing(), None);
        let name = first.name(Layout::Maildir);
        assert_eq!(mails.live.by_name(&name, Layout::Maildir), Some(first));
    }

    #[test]
    fn a_missing_body_is_listed_and_is_no_file() {
        let lost = |record: Record| Record {
            message: None,
            size: None,
            ..record
        };
        let guid = record(4, 4).guid;
        let mails = mails(vec![record(1, 1), lost(record(4, 4)), lost(expunged(5, 5))]);
        assert_eq!((mails.live.len(), mails.expunged.len()), (1, 0));
        let text = |side: &Side| String::from_utf8(side.missing().unwrap().to_vec()).unwrap();
        let live = text(&mails.live);
        assert!(
            live.ends_with(&format!("\n4\t{guid}\t1700000000\n")),
            "{live}"
        );
        assert!(text(&mails.expunged).contains("\n5\t"));
    }

    #[test]
    fn two_messages_of_one_uid_are_two_files() {
        let records = vec![record(7, 1), record(7, 2), record(8, 3), expunged(7, 9)];
        let mails = mails(records);
        let twin = |message: i64| names::twin(7, &Guid::of(&message.to_be_bytes()));
        assert_eq!(names(&mails.live), ["7.eml", twin(1).as_str(), "8.eml"]);
        // It shares its number range with the live ones, so it is a twin too.
        assert_eq!(names(&mails.expunged), [twin(9)]);
        for name in names(&mails.live) {
            let found = mails.live.by_name(&name, Layout::Eml).unwrap();
            assert_eq!(found.name(Layout::Eml), name);
        }
        assert_eq!(mails.live.by_uid(7).unwrap().message, 2);
        assert_eq!(mails.live.twin(1).unwrap().uid, 7);
        assert_eq!(mails.live.twin(2), None);
        assert_eq!(mails.expunged.by_uid(7), None);
    }
}

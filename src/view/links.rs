//! One message that several mailboxes hold is one file with several names, if all that the file says
//! is the same: INTERNALDATE, the last change, flags. So a tape holds its octets once, and `du` counts
//! them once. Pure.

use std::collections::{BTreeMap, HashMap};

/// A record of a message that has more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Row id of the message.
    pub message: i64,
    /// Row id of the mailbox.
    pub mailbox: i64,
    /// UID in it.
    pub uid: u32,
    /// INTERNALDATE, in unix seconds.
    pub internaldate: i64,
    /// Flags as the index holds them.
    pub flags: String,
    /// The chunk that changed the record last.
    pub last_chunk: i64,
}

/// Mailbox and UID.
type Place = (i64, u32);

/// Messages that are one file in several places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links(HashMap<i64, Vec<Place>>);

impl Links {
    /// Sorts the copies of each message; `time` is when a chunk ended. Of copies that say different
    /// things only the group with the first place becomes one file.
    pub fn new(copies: Vec<Copy>, time: impl Fn(i64) -> i64) -> Links {
        let mut groups: BTreeMap<_, Vec<Place>> = BTreeMap::new();
        for copy in copies {
            let said = (copy.internaldate, time(copy.last_chunk), copy.flags);
            let places = groups.entry((copy.message, said)).or_default();
            places.push((copy.mailbox, copy.uid));
        }
        let mut links: HashMap<i64, Vec<Place>> = HashMap::new();
        for ((message, _), mut places) in groups {
            places.sort_unstable();
            places.dedup();
            let before = links.get(&message);
            let first = before.is_none_or(|before| before > &places);
            if places.len() > 1 && first {
                links.insert(message, places);
            }
        }
        Links(links)
    }

    /// How many names the file of this record has.
    pub fn count(&self, message: i64, mailbox: i64, uid: u32) -> u32 {
        match self.0.get(&message) {
            Some(places) if places.binary_search(&(mailbox, uid)).is_ok() => {
                u32::try_from(places.len()).unwrap_or(u32::MAX)
            }
            _ => 1,
        }
    }

    /// The place that answers for the file.
    pub fn first(&self, message: i64) -> Option<(i64, u32)> {
        self.0.get(&message)?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(message: i64, mailbox: i64, uid: u32, flags: &str) -> Copy {
        Copy {
            message,
            mailbox,
            uid,
            internaldate: 7,
            flags: flags.to_owned(),
            last_chunk: mailbox % 2,
        }
    }

    #[test]
    fn only_what_says_the_same_is_one_file() {
        let copies = vec![
            copy(1, 3, 5, ""),
            copy(1, 1, 9, ""),
            copy(1, 1, 9, ""),
            copy(1, 1, 10, "(\\Seen)"),
            copy(1, 2, 1, ""),
            copy(1, 4, 1, ""),
            copy(2, 1, 1, ""),
            copy(2, 3, 1, "x"),
        ];
        let links = Links::new(copies, |chunk| chunk);
        assert_eq!(links.first(1), Some((1, 9)));
        assert_eq!(links.count(1, 1, 9), 2);
        assert_eq!(links.count(1, 3, 5), 2);
        // Other flags, another time of change: files of their own.
        assert_eq!(links.count(1, 1, 10), 1);
        assert_eq!(links.count(1, 2, 1), 1);
        assert_eq!(links.first(2), None);
    }
}

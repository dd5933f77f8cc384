//! A mailbox of the plan beside what the target has of it: which messages are left to do, and in which way.
//! Pure.

use super::plan::{MailboxPlan, Planned};
use super::target::{Existing, Messages};

/// What is left to do for one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Which mailbox of the plan.
    pub mailbox: usize,
    /// The way.
    pub way: Way,
    /// The messages, by UID.
    pub records: Vec<Planned>,
    /// Messages that are there already.
    pub present: usize,
    /// The identity was to be kept, and the mailbox is there with another one.
    pub foreign: bool,
}

impl Work {
    /// Nothing is left to do in a mailbox that is not quite what was asked for.
    pub fn is_kept(&self) -> bool {
        self.foreign && self.records.is_empty()
    }
}

/// How messages get into a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is not there: make it, keeping its identity or not, then as below.
    Create {
        /// Keeps everything.
        exact: bool,
    },
    /// As replication would fill it: UIDs, modseqs and all else as they were.
    Exact,
    /// Behind what is there, with new UIDs.
    Append,
}

impl Way {
    /// Whether UIDs are kept.
    pub fn is_exact(self) -> bool {
        matches!(self, Way::Create { exact: true } | Way::Exact)
    }
}

/// Compares. `taken`: the identity is in use under another name, so it cannot be kept. `messages`: those
/// of an existing mailbox that is not empty.
pub fn compare(
    place: usize,
    plan: &MailboxPlan,
    existing: Option<&Existing>,
    messages: &Messages,
    taken: bool,
    duplicates: bool,
) -> Work {
    let identity = plan.identity().filter(|_| !taken);
    let Some(existing) = existing else {
        return Work {
            mailbox: place,
            way: Way::Create {
                exact: identity.is_some(),
            },
            records: plan.records.clone(),
            present: 0,
            foreign: false,
        };
    };
    let (records, present) = match duplicates {
        true => (plan.records.clone(), 0),
        false => without_present(&plan.records, messages),
    };
    let is_ours = |identity| existing.is(identity);
    let older = existing.keys.get_u64("HIGHESTMODSEQ").unwrap_or(0) <= plan.row.highestmodseq;
    let same = identity.is_some_and(is_ours) && older;
    let exact = same && !duplicates && continues(plan, &records, existing, messages);
    Work {
        mailbox: place,
        way: if exact { Way::Exact } else { Way::Append },
        records,
        present,
        foreign: plan
            .identity()
            .is_some_and(|identity| !existing.is(identity)),
    }
}

/// An interrupted restore of this very mailbox: what is there is the beginning of what was planned, and all that
/// is left has higher UIDs.
fn continues(
    plan: &MailboxPlan,
    left: &[Planned],
    existing: &Existing,
    messages: &Messages,
) -> bool {
    let planned = |uid: &u32| {
        let found = plan.records.binary_search_by_key(uid, |record| record.uid);
        found.ok().map(|place| plan.records[place].guid)
    };
    let same = messages
        .uids
        .iter()
        .all(|(uid, guid)| planned(uid) == Some(*guid));
    let last = messages.uids.keys().max().copied().unwrap_or(0);
    same && left.iter().all(|record| record.uid > last)
        && (existing.last_uid <= last.max(1)
            || left.first().is_none_or(|r| r.uid > existing.last_uid))
}

/// As many copies of each message are left out as the target has.
fn without_present(records: &[Planned], messages: &Messages) -> (Vec<Planned>, usize) {
    let (mut live, mut expunged) = (messages.live.clone(), messages.expunged.clone());
    let mut left = Vec::new();
    for record in records {
        let has = |copies: &mut std::collections::HashMap<_, usize>| {
            let count = copies.get_mut(&record.guid).filter(|count| **count > 0);
            count.map(|count| *count -= 1).is_some()
        };
        // An expunged one that is there in whatever form needs no second copy that nobody sees.
        let present = has(&mut live) || record.expunged && has(&mut expunged);
        if !present {
            left.push(record.clone());
        }
    }
    let present = records.len() - left.len();
    (left, present)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csync::dlist::{KvList, Value};
    use crate::types::Guid;

    fn planned(uid: u32, text: &str) -> Planned {
        Planned {
            uid,
            modseq: 1,
            last_updated: 1,
            internaldate: 1,
            guid: Guid::of(text.as_bytes()),
            size: 1,
            flags: "()".into(),
            annotations: "".into(),
            expunged: false,
        }
    }

    fn plan(records: Vec<Planned>) -> MailboxPlan {
        MailboxPlan {
            target: "user.anne".to_owned(),
            sources: vec!["user.anne".to_owned()],
            keep: true,
            row: super::super::run::zero_row("user.anne", "id1", 7, 50),
            keys: None,
            acl: None,
            partition: None,
            records,
        }
    }

    fn existing(last_uid: u32) -> Existing {
        let mut keys = KvList::default();
        keys.push("UIDVALIDITY", Value::number(7));
        keys.push("HIGHESTMODSEQ", Value::number(50));
        Existing {
            uniqueid: "id1".to_owned(),
            partition: "default".to_owned(),
            last_uid,
            intermediate: false,
            keys,
        }
    }

    fn there(messages: &[(u32, &str)]) -> Messages {
        let mut all = Messages::default();
        for (uid, text) in messages {
            let guid = Guid::of(text.as_bytes());
            all.uids.insert(*uid, guid);
            *all.live.entry(guid).or_default() += 1;
        }
        all
    }

    fn uids(work: &Work) -> Vec<u32> {
        work.records.iter().map(|record| record.uid).collect()
    }

    #[test]
    fn a_mailbox_that_is_not_there_is_made() {
        let plan = plan(vec![planned(1, "a")]);
        let none = Messages::default();
        for taken in [false, true] {
            let work = compare(0, &plan, None, &none, taken, false);
            assert_eq!(work.way, Way::Create { exact: !taken });
            assert_eq!(uids(&work), [1]);
        }
    }

    #[test]
    fn an_interrupted_one_goes_on_where_it_stopped() {
        let plan = plan(vec![planned(1, "a"), planned(3, "b"), planned(4, "c")]);
        let all = [(1, "a"), (3, "b"), (4, "c")];
        for (done, last_uid) in [(0, 0), (1, 1), (2, 3), (3, 4)] {
            let messages = there(&all[..done]);
            let work = compare(0, &plan, Some(&existing(last_uid)), &messages, false, false);
            assert_eq!(work.way, Way::Exact, "{done}");
            assert_eq!((work.records.len(), work.present), (3 - done, done));
        }
    }

    #[test]
    fn one_that_went_on_living_gets_the_rest_behind() {
        let plan = plan(vec![planned(1, "a"), planned(3, "b")]);
        let messages = there(&[(1, "a"), (3, "new")]);
        let work = compare(0, &plan, Some(&existing(3)), &messages, false, false);
        assert_eq!(work.way, Way::Append);
        assert_eq!((uids(&work), work.present), (vec![3], 1));
        let work = compare(0, &plan, Some(&existing(3)), &messages, false, true);
        assert_eq!((uids(&work), work.present), (vec![1, 3], 0));
        // Given and expunged long ago: UID 3 is used up.
        let messages = there(&[(1, "a")]);
        let work = compare(0, &plan, Some(&existing(9)), &messages, false, false);
        assert_eq!(work.way, Way::Append);
    }

    #[test]
    fn who_has_all_with_another_identity_is_kept() {
        let (plan, none) = (plan(vec![planned(1, "a")]), Messages::default());
        let mut other = existing(1);
        other.uniqueid = "id2".to_owned();
        for (has, messages, kept) in [
            (Some(&other), &there(&[(1, "a")]), true),
            // It gets the message: that is said as well, in other words.
            (Some(&other), &none, false),
            (Some(&existing(1)), &there(&[(1, "a")]), false),
            // It went on living.
            (Some(&existing(2)), &there(&[(1, "a"), (2, "b")]), false),
            (None, &none, false),
        ] {
            let work = compare(0, &plan, has, messages, false, false);
            assert_eq!(work.is_kept(), kept, "{work:?}");
        }
    }

    #[test]
    fn copies_are_counted() {
        let plan = plan(vec![planned(1, "a"), planned(2, "a"), planned(3, "a")]);
        let messages = there(&[(1, "a"), (2, "a")]);
        let work = compare(0, &plan, Some(&existing(2)), &messages, false, false);
        assert_eq!((uids(&work), work.present), (vec![3], 2));
    }
}

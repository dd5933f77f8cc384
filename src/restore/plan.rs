//! The plan: what goes where, as a value. Made from what was chosen and the options, without looking at any server;
//! printed by `-n`, executed otherwise. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::{self, Destination};
use super::objects::{Choice, Chosen};
use super::options::Options;
use crate::csync::dlist::{KvList, Value};
use crate::store::{MailboxRow, RecordRow};
use crate::types::{Guid, Namespace};

/// Types of mailboxes that every Cyrus from 3.0 on knows (spec: csync 3.3).
const KNOWN_TYPES: &str = "enbcasp";

/// Everything that will be done.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// By the names in the target, parents first.
    pub mailboxes: Vec<MailboxPlan>,
    /// Folders that are there only because others are below them; the keys as the master sent them.
    pub intermediates: Vec<(String, KvList)>,
    /// What is not a message.
    pub extras: Vec<super::extras::Extra>,
    /// What cannot be restored, and why.
    pub left_out: Vec<LeftOut>,
    /// How many deleted mailboxes were not meant, since nobody asked for such.
    pub deleted: usize,
    /// What C says with `-v`, in its words.
    pub remarks: Vec<String>,
}

/// One mailbox of the target.
#[derive(Debug, Clone)]
pub struct MailboxPlan {
    /// Its internal name.
    pub target: String,
    /// What comes together in it: internal names in the backup.
    pub sources: Vec<String>,
    /// Keeps identity, UIDVALIDITY, UIDs and modseqs, if the target allows.
    pub keep: bool,
    /// Its header in the backup, that of the first source; zeros for `-M` and a GUID.
    pub row: MailboxRow,
    /// As the client sent it, when we stored it; C does not.
    pub keys: Option<KvList>,
    /// ACL of a new mailbox; none is the target's default.
    pub acl: Option<String>,
    /// Partition that `-P` says.
    pub partition: Option<String>,
    /// The messages, by UID.
    pub records: Vec<Planned>,
}

/// One message in its mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// UID in the backup; ascending, also where several mailboxes come together.
    pub uid: u32,
    /// In the backup.
    pub modseq: u64,
    /// In the backup.
    pub last_updated: i64,
    /// When it arrived.
    pub internaldate: i64,
    /// What it is.
    pub guid: Guid,
    /// Octets.
    pub size: u64,
    /// `(\Seen foo)`
    pub flags: Arc<str>,
    /// A dlist, or nothing.
    pub annotations: Arc<str>,
    /// Stays invisible, as it was.
    pub expunged: bool,
}

/// Something that was asked for and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Mailbox, and message if it is one.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Plan {
    /// Messages that will be visible or not, and their octets.
    pub fn size(&self) -> (usize, u64) {
        let records = self.mailboxes.iter().flat_map(|mailbox| &mailbox.records);
        records.fold((0, 0), |(count, octets), record| {
            (count + 1, octets + record.size)
        })
    }
}

/// What shapes a plan besides the options.
pub struct Shape<'a> {
    /// Where mailboxes go.
    pub destination: &'a Destination,
    /// What names mean.
    pub namespace: &'a Namespace,
    /// Headers as the client sent them, by mailbox id.
    pub headers: &'a HashMap<i64, KvList>,
}

/// Makes the plan of what was chosen.
pub fn plan(choice: Choice, options: &Options, shape: &Shape<'_>) -> Plan {
    let mut plan = Plan {
        deleted: choice.deleted.len(),
        ..Plan::default()
    };
    let left_out = choice.unsure.into_iter().map(|what| LeftOut {
        what,
        why: "it may have been meant".to_owned(),
    });
    plan.left_out.extend(left_out);
    for chosen in choice.chosen {
        plan.add(chosen, options, shape);
    }
    for mailbox in &mut plan.mailboxes {
        mailbox.settle();
    }
    plan.mailboxes.sort_by(|a, b| a.target.cmp(&b.target));
    plan
}

impl Plan {
    fn add(&mut self, chosen: Chosen, options: &Options, shape: &Shape<'_>) {
        let source = chosen.mailbox.mboxname.clone();
        let mboxtype = chosen.mailbox.mboxtype.as_deref().unwrap_or_default();
        if let Some(first) = mboxtype
            .chars()
            .next()
            .filter(|c| !KNOWN_TYPES.contains(*c))
        {
            let why = match first {
                'f' | 'j' => "it holds sieve scripts: use --sieve".to_owned(),
                first => format!("not every Cyrus knows mailboxes of type {first:?}"),
            };
            self.left_out.push(LeftOut { what: source, why });
            return;
        }
        let target = shape.destination.of(&source, shape.namespace);
        self.remark(&chosen, &target, options);
        let records = self.records(&chosen, options);
        match self.mailboxes.iter_mut().find(|m| m.target == target) {
            Some(mailbox) => mailbox.join(source, records),
            None => {
                let moves_to_another = names::owner(&source, shape.namespace)
                    != names::owner(&target, shape.namespace);
                let acl = match &options.override_acl {
                    Some(acl) => Some(acl.clone()).filter(|acl| !acl.is_empty()),
                    // The old owner's rights are of no use to the new one.
                    None if moves_to_another => None,
                    None => chosen.mailbox.acl.clone(),
                };
                self.mailboxes.push(MailboxPlan {
                    target,
                    sources: vec![source],
                    keep: options.keep_uidvalidity,
                    keys: shape.headers.get(&chosen.mailbox.id).cloned(),
                    row: chosen.mailbox,
                    acl,
                    partition: options.dest_partition.clone(),
                    records,
                });
            }
        }
    }

    fn records(&mut self, chosen: &Chosen, options: &Options) -> Vec<Planned> {
        let visible = chosen.by_guid || options.asks_for_expunged();
        let mut planned = Vec::with_capacity(chosen.records.len());
        for record in &chosen.records {
            match record.message_id {
                Some(_) => planned.push(Planned::new(record, visible)),
                // What was expunged before it could be backed up is no loss.
                None if record.expunged.is_some() && !visible => {}
                None => self.left_out.push(LeftOut {
                    what: format!(
                        "{} UID {} ({})",
                        chosen.mailbox.mboxname, record.uid, record.guid
                    ),
                    why: "its body never came to the backup".to_owned(),
                }),
            }
        }
        planned
    }

    /// C's chatter, word for word.
    fn remark(&mut self, chosen: &Chosen, target: &str, options: &Options) {
        let mut say = |text: String| self.remarks.push(text);
        let row = &chosen.mailbox;
        // A GUID with -M has no mailbox of its own in C.
        let nameless = chosen.by_guid && options.dest_mailbox.is_some();
        let null = |text: Option<&str>| match text.filter(|_| !nameless) {
            Some(text) => text.to_owned(),
            None => "(null)".to_owned(),
        };
        let mut name = null(Some(&row.mboxname));
        if options.dest_mailbox.is_some() {
            say(format!("{name}: overriding mboxname with {target}"));
            name = target.to_owned();
        }
        if let Some(partition) = &options.dest_partition {
            let was = null(row.partition.as_deref());
            say(format!(
                "{name}: overriding partition with {partition} (was {was})"
            ));
        }
        if let Some(acl) = &options.override_acl {
            let was = null(row.acl.as_deref());
            say(format!("{name}: overriding acl with '{acl}' (was '{was}')"));
        }
        match options.keep_uidvalidity {
            true => say(format!(
                "{name}: trying to keep uidvalidity({}), uniqueid({}), highestmodseq({})",
                row.uidvalidity, row.uniqueid, row.highestmodseq
            )),
            false => say(format!("{name}: not trying to keep uidvalidity")),
        }
        if options.dest_mailbox.is_none() && target != row.mboxname {
            say(match options.into {
                Some(_) => format!("{target}: from {}", row.mboxname),
                None => format!("{target}: removing deletedprefix (was {})", row.mboxname),
            });
            name = target.to_owned();
        }
        for record in &chosen.excluded {
            let kind = match record.expunged {
                Some(_) => "expunged",
                None => "unexpunged",
            };
            say(format!("{name}: excluding {kind} message: {}", record.guid));
        }
    }
}

impl MailboxPlan {
    /// More for the same mailbox.
    fn join(&mut self, source: String, records: Vec<Planned>) {
        if self.sources.contains(&source) {
            // The same mailbox by two objects: each message once.
            for record in records {
                if !self.records.iter().any(|known| known.uid == record.uid) {
                    self.records.push(record);
                }
            }
            return;
        }
        self.sources.push(source);
        let mut next = self.records.iter().map(|r| r.uid).max().unwrap_or(0);
        for mut record in records {
            next += 1;
            record.uid = next;
            self.records.push(record);
        }
        // UIDs of two mailboxes cannot both be kept.
        self.keep = false;
    }

    fn settle(&mut self) {
        self.records.sort_by_key(|record| record.uid);
    }

    /// Identity and UIDVALIDITY, when they are to be kept and are there to be kept.
    pub fn identity(&self) -> Option<(&str, u32)> {
        let row = &self.row;
        let whole = !row.uniqueid.is_empty() && row.uidvalidity > 0 && row.highestmodseq > 0;
        (self.keep && whole).then_some((row.uniqueid.as_str(), row.uidvalidity))
    }

    /// Annotations of the mailbox: (entry, userid, value).
    pub fn annotations(&self) -> Vec<(String, String, Vec<u8>)> {
        let text = self.row.annotations.as_deref().unwrap_or_default();
        let parsed = crate::csync::dlist::Parser::new(text.as_bytes()).value();
        let Ok(Value::List(items)) = parsed else {
            return Vec::new();
        };
        let item = |value: &Value| {
            let item = value.as_kvlist()?;
            Some((
                item.get_str("ENTRY")?.to_owned(),
                item.get_str("USERID").unwrap_or_default().to_owned(),
                item.get("VALUE")?.as_bytes()?.to_vec(),
            ))
        };
        items.iter().filter_map(item).collect()
    }
}

impl Planned {
    /// `visible`: an expunged message comes back as one that is not.
    fn new(record: &RecordRow, visible: bool) -> Planned {
        let returns = record.expunged.is_some() && visible;
        Planned {
            uid: record.uid,
            modseq: record.modseq,
            last_updated: record.last_updated,
            internaldate: record.internaldate,
            guid: record.guid,
            size: record.size.unwrap_or(0),
            flags: match returns {
                true => without_deleted(&record.flags).into(),
                false => record.flags.as_str().into(),
            },
            annotations: record.annotations.as_str().into(),
            expunged: record.expunged.is_some() && !returns,
        }
    }
}

/// What brought the message to its end is not to come back with it.
fn without_deleted(flags: &str) -> String {
    let words = flags.trim_matches(['(', ')']).split(' ');
    let kept: Vec<&str> = words
        .filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case("\\Deleted"))
        .collect();
    format!("({})", kept.join(" "))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::restore::options;

    fn row(id: i64, mboxname: &str) -> MailboxRow {
        MailboxRow {
            id,
            last_chunk_id: 1,
            uniqueid: format!("id{id}"),
            mboxname: mboxname.to_owned(),
            mboxtype: None,
            last_uid: 9,
            highestmodseq: 50,
            recentuid: 0,
            recenttime: 0,
            last_appenddate: 0,
            pop3_last_login: 0,
            pop3_show_after: 0,
            uidvalidity: 7,
            partition: Some("default".to_owned()),
            acl: Some("anne\tlrs\t".to_owned()),
            options: None,
            sync_crc: 0,
            sync_crc_annot: 0,
            quotaroot: None,
            xconvmodseq: 0,
            annotations: None,
            deleted: None,
        }
    }

    fn record(uid: u32, expunged: bool) -> RecordRow {
        RecordRow {
            mailbox_id: 1,
            message_id: Some(1),
            chunk_id: 1,
            uid,
            guid: Guid::of(&uid.to_be_bytes()),
            size: Some(10),
            modseq: 5,
            last_updated: 1,
            flags: "(\\Seen \\Deleted x)".to_owned(),
            internaldate: 1_700_000_000,
            annotations: String::new(),
            expunged: expunged.then_some(3),
        }
    }

    fn chosen(id: i64, mboxname: &str, records: Vec<RecordRow>) -> Chosen {
        Chosen {
            mailbox: row(id, mboxname),
            records,
            excluded: Vec::new(),
            by_guid: false,
        }
    }

    fn make(line: &str, destination: &Destination, chosen: Vec<Chosen>) -> Plan {
        let words = line.split(' ').map(OsString::from);
        let options = options::parse(words).unwrap().options;
        let choice = Choice {
            chosen,
            ..Choice::default()
        };
        let shape = Shape {
            destination,
            namespace: &Namespace::default(),
            headers: &HashMap::new(),
        };
        plan(choice, &options, &shape)
    }

    const OWN: Destination = Destination::Own {
        keep_deletedprefix: false,
    };

    #[test]
    fn expunged_messages_come_back_visible_when_asked_for() {
        let both = || {
            vec![chosen(
                1,
                "user.anne",
                vec![record(1, false), record(2, true)],
            )]
        };
        let of = |plan: Plan| plan.mailboxes[0].records.clone();
        let plain = of(make("srv anne x", &OWN, both()));
        assert!(plain[1].expunged && plain[1].flags.contains("Deleted"));
        let asked = of(make("-x srv anne x", &OWN, both()));
        assert!(!asked[1].expunged);
        assert_eq!(&*asked[1].flags, "(\\Seen x)");
        assert!(
            plain[0].flags.contains("Deleted"),
            "a living one keeps its flags"
        );
    }

    #[test]
    fn mailboxes_that_come_together_number_anew_and_keep_nothing() {
        let one = Destination::One(crate::types::MboxName::new("user.bob.x").unwrap());
        let both = vec![
            chosen(1, "user.anne", vec![record(5, false), record(7, false)]),
            chosen(2, "user.anne.b", vec![record(5, false)]),
            chosen(1, "user.anne", vec![record(7, false)]),
        ];
        let plan = make("-M user/bob/x srv anne x", &one, both);
        assert_eq!(plan.mailboxes.len(), 1);
        let mailbox = &plan.mailboxes[0];
        let uids: Vec<u32> = mailbox.records.iter().map(|r| r.uid).collect();
        assert_eq!(uids, [5, 7, 8]);
        assert_eq!(mailbox.acl, None, "anne's rights are not bob's");
        assert_eq!(mailbox.identity(), None);
        assert_eq!(plan.size(), (3, 30));
    }

    #[test]
    fn what_cannot_be_had_is_said_and_the_rest_goes_on() {
        let mut missing = record(2, false);
        missing.message_id = None;
        let mut sieve = chosen(3, "user.anne.#sieve", vec![]);
        sieve.mailbox.mboxtype = Some("f".to_owned());
        let all = vec![
            chosen(1, "user.anne", vec![record(1, false), missing]),
            sieve,
        ];
        let plan = make("-U srv anne x", &OWN, all);
        assert_eq!(plan.mailboxes.len(), 1);
        assert_eq!(plan.mailboxes[0].identity(), Some(("id1", 7)));
        let whys: Vec<_> = plan.left_out.iter().map(|l| l.why.as_str()).collect();
        assert_eq!(
            whys,
            [
                "its body never came to the backup",
                "it holds sieve scripts: use --sieve"
            ]
        );
    }
}

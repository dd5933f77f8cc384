//! The plan carried out: ask the target, compare, then mailbox by mailbox make it, bring the bodies, fill it; at the
//! end what is not a message. What is done stays done: the same command run again goes on from there.

use std::collections::HashMap;

use super::bodies::{Bodies, SendError};
use super::compare::{Way, Work, compare};
use super::extras::{self, Extra};
use super::options::Options;
use super::plan::{LeftOut, MailboxPlan, Plan, Planned};
use super::progress::Progress;
use super::show::{Compared, Summary};
use super::target::{self, Existing, Messages, Target};
use super::wire;
use crate::csync_client::{Client, ClientError};
use crate::store::Backup;
#[cfg(test)]
use crate::store::MailboxRow;
use crate::types::Namespace;

/// Messages in one RESTORE or APPLY MAILBOX, and their octets: what is filled so far survives what comes after.
const FILLED_AT_ONCE: usize = 4096;
const OCTETS_AT_ONCE: u64 = 256 << 20;

/// A restore into a server, under way.
pub struct Run<'a> {
    /// Connected and logged in.
    pub client: &'a mut Client,
    /// Where the bodies are.
    pub backup: &'a Backup,
    /// The command line.
    pub options: &'a Options,
    /// What names mean.
    pub namespace: &'a Namespace,
    /// Whose backup it is; none for the shared one.
    pub user: Option<&'a str>,
}

/// What is left to do, after the target was asked.
pub struct Todo {
    target: Target,
    works: Vec<Work>,
    extras: Vec<Extra>,
}

impl Todo {
    /// For those who only want to look.
    pub fn compared(&self) -> Vec<Compared> {
        let works = self.works.iter().map(|work| Compared {
            exists: !matches!(work.way, Way::Create { .. }),
            present: work.present,
            exact: work.way.is_exact(),
            foreign: work.foreign,
        });
        works.collect()
    }

    /// Without what the target has.
    pub fn extras(&self) -> &[Extra] {
        &self.extras
    }
}

impl Run<'_> {
    /// Asks the target what it has, and compares. Changes nothing.
    ///
    /// # Errors
    /// The target does not answer, or not to us.
    pub fn compare(&mut self, plan: &Plan) -> Result<Todo, ClientError> {
        let names: Vec<String> = plan.mailboxes.iter().map(|m| m.target.clone()).collect();
        let user = self.user.filter(|_| self.options.beyond.any());
        let target = Target::ask(self.client, &names, user, self.namespace)?;
        let taken = self.taken(plan, &target)?;
        let mut works = Vec::with_capacity(plan.mailboxes.len());
        for (place, mailbox) in plan.mailboxes.iter().enumerate() {
            let existing = target.mailbox(&mailbox.target);
            let messages = match existing {
                Some(existing) if existing.last_uid > 0 && !mailbox.records.is_empty() => {
                    target::messages(self.client, &mailbox.target)?
                }
                _ => Messages::default(),
            };
            let taken = taken.get(&mailbox.row.uniqueid);
            let taken = taken.is_some_and(|name| *name != mailbox.target);
            let duplicates = self.options.duplicates;
            works.push(compare(
                place, mailbox, existing, &messages, taken, duplicates,
            ));
        }
        let mut extras = extras::against(plan.extras.clone(), self.options.beyond, &target);
        // Who is filled exactly gets its annotations in the same step; setting them again would count as a change.
        let is_exact = |mboxname: &str| {
            let mut exact = works.iter().filter(|work| work.way.is_exact());
            exact.any(|work| plan.mailboxes[work.mailbox].target == mboxname)
        };
        extras.retain(|extra| match extra {
            Extra::Annotation { mboxname, .. } => !is_exact(mboxname),
            _ => true,
        });
        Ok(Todo {
            target,
            works,
            extras,
        })
    }

    /// Identities of the plan that the target uses, and for which mailbox.
    fn taken(
        &mut self,
        plan: &Plan,
        target: &Target,
    ) -> Result<HashMap<String, String>, ClientError> {
        let ids = plan.mailboxes.iter().filter_map(MailboxPlan::identity);
        let ids: Vec<&str> = ids.map(|(uniqueid, _)| uniqueid).collect();
        let mut taken: HashMap<String, String> =
            target::names_of(self.client, &ids)?.into_iter().collect();
        for id in ids {
            if let Some(name) = target.name_of(id) {
                taken.insert(id.to_owned(), name.to_owned());
            }
        }
        Ok(taken)
    }

    /// Does it. What fails with one mailbox hinders no other.
    ///
    /// # Errors
    /// The connection broke, or the backup cannot be read at all; what was done until then is in `summary`.
    pub fn carry_out(
        &mut self,
        plan: &Plan,
        mut todo: Todo,
        summary: &mut Summary,
    ) -> Result<(), SendError> {
        summary.present = todo.works.iter().map(|work| work.present).sum();
        let left = todo.works.iter().flat_map(|work| &work.records);
        let octets = left.map(|record| record.size).sum();
        let progress = Progress::new(octets, self.options.json);
        let holders = todo.target.filled().map(str::to_owned).collect();
        let mut bodies = Bodies::new(self.backup, holders);
        self.create(plan, &mut todo, summary)?;
        for work in &todo.works {
            let mailbox = &plan.mailboxes[work.mailbox];
            let Some(existing) = todo.target.mailbox(&mailbox.target).cloned() else {
                continue;
            };
            if mailbox.keep && work.way == Way::Append && !work.records.is_empty() {
                summary.renumbered.push(mailbox.target.clone());
            }
            if work.is_kept() {
                summary.kept.push(mailbox.target.clone());
            }
            progress.mailbox(&mailbox.target);
            let mut fill = Fill {
                run: self,
                mailbox,
                existing,
                progress: &progress,
            };
            match fill.all(work, &mut bodies, summary) {
                Err(SendError::Client(error)) if error.is_refusal() => {
                    summary.failed.push(LeftOut {
                        what: mailbox.target.clone(),
                        why: error.to_string(),
                    });
                }
                other => other?,
            }
            summary.sent = bodies.sent;
            bodies.filled(&mailbox.target);
        }
        self.set_extras(&todo, summary)
    }

    /// Makes the mailboxes that are not there, parents first, then asks where they have come to lie.
    fn create(
        &mut self,
        plan: &Plan,
        todo: &mut Todo,
        summary: &mut Summary,
    ) -> Result<(), ClientError> {
        for (name, keys) in &plan.intermediates {
            if todo.target.knows(name) {
                continue;
            }
            match self.client.command(&wire::intermediate(keys)) {
                // The target makes one of its own with the first mailbox below it.
                Err(error) if error.is_refusal() => {}
                other => drop(other?),
            }
        }
        let mut made = Vec::new();
        for work in &todo.works {
            let Way::Create { exact } = work.way else {
                continue;
            };
            let mailbox = &plan.mailboxes[work.mailbox];
            match self.create_one(mailbox, exact) {
                Ok(()) => made.push(mailbox.target.clone()),
                Err(error) if error.is_refusal() => {
                    let hint = self.missing_inbox(&mailbox.target, &made, &todo.target);
                    summary.failed.push(LeftOut {
                        what: mailbox.target.clone(),
                        why: format!("the target does not make it: {error}{hint}"),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        summary.created = made.len();
        todo.target.refresh(self.client, &made)?;
        let lost = made
            .into_iter()
            .filter(|name| todo.target.mailbox(name).is_none());
        summary.failed.extend(lost.map(|what| LeftOut {
            what,
            why: "the target made it, and does not know it under this name".to_owned(),
        }));
        Ok(())
    }

    /// The most common reason, which the target does not tell.
    fn missing_inbox(&self, mboxname: &str, made: &[String], target: &Target) -> String {
        match super::names::inbox(mboxname, self.namespace) {
            Some(inbox) if target.mailbox(&inbox).is_none() && !made.contains(&inbox) => {
                format!(" ({inbox} is not there: restore it, too)")
            }
            _ => String::new(),
        }
    }

    /// On the partition that `-P` says; else on that of the backup, and if the target does not know that one,
    /// where the target likes. Bodies for an unknown partition would crash it, so the mailbox comes first.
    fn create_one(&mut self, mailbox: &MailboxPlan, exact: bool) -> Result<(), ClientError> {
        let local = self.options.local_only;
        let wanted = mailbox.partition.as_deref();
        let partition = wanted.or(mailbox.row.partition.as_deref());
        let line = wire::create(mailbox, exact, partition, local);
        match self.client.command(&line) {
            Err(error) if error.is_refusal() && wanted.is_none() && partition.is_some() => {
                let line = wire::create(mailbox, exact, None, local);
                self.client.command(&line).map(drop)
            }
            other => other.map(drop),
        }
    }

    fn set_extras(&mut self, todo: &Todo, summary: &mut Summary) -> Result<(), SendError> {
        let mut done = Vec::new();
        for extra in &todo.extras {
            let existing = match extra {
                Extra::Acl { mboxname, .. } => self.ask_again(mboxname)?,
                _ => None,
            };
            let user = self.user.unwrap_or_default();
            let Some(line) = wire::extra(extra, user, existing.as_ref()) else {
                continue;
            };
            match self.client.command(&line) {
                Ok(_) => done.push(extra.clone()),
                Err(error) if error.is_refusal() => summary.failed.push(LeftOut {
                    what: extra.describe(),
                    why: error.to_string(),
                }),
                Err(error) => return Err(error.into()),
            }
        }
        summary.extras = super::show::count(&done);
        Ok(())
    }

    fn ask_again(&mut self, mboxname: &str) -> Result<Option<Existing>, ClientError> {
        let mut now = Target::default();
        now.refresh(self.client, &[mboxname.to_owned()])?;
        Ok(now.mailbox(mboxname).cloned())
    }
}

/// One mailbox being filled.
struct Fill<'a, 'r> {
    run: &'a mut Run<'r>,
    mailbox: &'a MailboxPlan,
    existing: Existing,
    progress: &'a Progress,
}

impl Fill<'_, '_> {
    fn all(
        &mut self,
        work: &Work,
        bodies: &mut Bodies<'_>,
        summary: &mut Summary,
    ) -> Result<(), SendError> {
        let exact = work.way.is_exact() && self.has_our_identity();
        let mut slices = slices(&work.records);
        if slices.is_empty() && exact && self.existing.last_uid < self.mailbox.row.last_uid.max(1) {
            // LAST_UID, annotations and the like of a mailbox without messages.
            slices.push(&[]);
        }
        bodies.reserve(self.run.client, &self.existing.partition, &work.records)?;
        let last = slices.len();
        let mut restored = 0;
        for (place, slice) in slices.into_iter().enumerate() {
            let (partition, client) = (&self.existing.partition, &mut *self.run.client);
            let damaged = bodies.bring(client, partition, slice, self.progress)?;
            summary.failed.extend(damaged);
            let whole: Vec<Planned> = slice
                .iter()
                .filter(|record| !bodies.is_damaged(&record.guid))
                .cloned()
                .collect();
            let local = self.run.options.local_only;
            let line = match exact {
                true => {
                    let is_last = place + 1 == last;
                    wire::fill(self.mailbox, &self.existing, &whole, is_last, local)
                }
                false if whole.is_empty() => continue,
                false => wire::append(self.mailbox, &whole, &self.existing.partition, local),
            };
            self.run.client.command(&line)?;
            restored += whole.len();
            summary.messages += whole.len();
            summary.octets += whole.iter().map(|record| record.size).sum::<u64>();
        }
        summary.filled += usize::from(restored > 0);
        Ok(())
    }

    /// The target did take our identity; an old one might not.
    fn has_our_identity(&self) -> bool {
        let identity = self.mailbox.identity();
        identity.is_some_and(|identity| self.existing.is(identity))
    }
}

/// Records in pieces that are bounded by count and octets.
fn slices(records: &[Planned]) -> Vec<&[Planned]> {
    let mut slices = Vec::new();
    let (mut start, mut octets) = (0, 0);
    for (place, record) in records.iter().enumerate() {
        octets += record.size;
        if place + 1 - start == FILLED_AT_ONCE || octets >= OCTETS_AT_ONCE {
            slices.push(&records[start..=place]);
            (start, octets) = (place + 1, 0);
        }
    }
    if start < records.len() {
        slices.push(&records[start..]);
    }
    slices
}

/// A header with these values and nothing else.
#[cfg(test)]
pub(super) fn zero_row(
    mboxname: &str,
    uniqueid: &str,
    uidvalidity: u32,
    highestmodseq: u64,
) -> MailboxRow {
    MailboxRow {
        id: 1,
        last_chunk_id: 1,
        uniqueid: uniqueid.to_owned(),
        mboxname: mboxname.to_owned(),
        mboxtype: None,
        last_uid: 9,
        highestmodseq,
        recentuid: 0,
        recenttime: 0,
        last_appenddate: 0,
        pop3_last_login: 0,
        pop3_show_after: 0,
        uidvalidity,
        partition: Some("default".to_owned()),
        acl: None,
        options: Some("P".to_owned()),
        sync_crc: 0,
        sync_crc_annot: 0,
        quotaroot: None,
        xconvmodseq: 0,
        annotations: None,
        deleted: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Guid;

    #[test]
    fn pieces_are_bounded_both_ways() {
        let record = |uid: u32, size: u64| Planned {
            uid,
            modseq: 1,
            last_updated: 1,
            internaldate: 1,
            guid: Guid::of(b""),
            size,
            flags: "".into(),
            annotations: "".into(),
            expunged: false,
        };
        let sizes = |records: &[Planned]| -> Vec<usize> {
            slices(records).iter().map(|slice| slice.len()).collect()
        };
        let many: Vec<_> = (1..=5000).map(|uid| record(uid, 10)).collect();
        assert_eq!(sizes(&many), [4096, 904]);
        let large: Vec<_> = (1..=5).map(|uid| record(uid, 200 << 20)).collect();
        assert_eq!(sizes(&large), [2, 2, 1]);
        assert_eq!(sizes(&[]), [0_usize; 0]);
    }
}

//! The plan and what came of it, for people and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::extras::Extra;
use super::plan::{LeftOut, MailboxPlan, Plan};
use crate::tools::render::Json;
use crate::types::{MboxName, Namespace};

/// What a restore did.
#[derive(Debug, Default)]
pub struct Summary {
    /// Messages restored, and their octets.
    pub messages: usize,
    /// See `messages`.
    pub octets: u64,
    /// Messages of which the target, or the directory, had a copy.
    pub present: usize,
    /// Bodies sent: what the target had already was not.
    pub sent: (usize, u64),
    /// Mailboxes made.
    pub created: usize,
    /// Mailboxes that got messages.
    pub filled: usize,
    /// Mailboxes that should have kept their UIDs and could not.
    pub renumbered: Vec<String>,
    /// The same, but nothing was missing in them.
    pub kept: Vec<String>,
    /// Deleted mailboxes that nobody asked for.
    pub deleted: usize,
    /// What else was set, counted by kind.
    pub extras: BTreeMap<&'static str, usize>,
    /// What failed, and why.
    pub failed: Vec<LeftOut>,
}

impl Summary {
    /// As on a terminal.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Summary {
            messages,
            octets,
            present,
            created,
            filled,
            ..
        } = self;
        writeln!(
            out,
            "restored: {messages} messages ({}) in {filled} mailboxes, {created} of them new",
            size(*octets)
        )?;
        if *present > 0 {
            writeln!(out, "left out: {present} messages that are there already")?;
        }
        for name in &self.renumbered {
            writeln!(
                out,
                "new UIDs: {name}, since it was there with another identity or went on living"
            )?;
        }
        for name in &self.kept {
            writeln!(
                out,
                "kept: {name} as it is, since it has all messages, with another identity and UIDs of its own"
            )?;
        }
        print_deleted(self.deleted, out)?;
        for (kind, count) in &self.extras {
            writeln!(out, "set: {kind} ({count})")?;
        }
        match self.failed.len() {
            0 => Ok(()),
            count => writeln!(out, "failed: {count}"),
        }
    }

    /// As JSON; `error`: why it ended early.
    pub fn json(&self, error: Option<String>) -> Json {
        let extras = self
            .extras
            .iter()
            .fold(Json::object(), |extras, (kind, count)| {
                extras.with(kind, Json::int(*count))
            });
        Json::object()
            .with("restored", Json::int(self.messages))
            .with("bytes", Json::int(self.octets))
            .with("present", Json::int(self.present))
            .with("bodies_sent", Json::int(self.sent.0))
            .with("bytes_sent", Json::int(self.sent.1))
            .with("mailboxes_created", Json::int(self.created))
            .with("mailboxes_filled", Json::int(self.filled))
            .with(
                "renumbered",
                Json::Array(self.renumbered.iter().map(Json::text).collect()),
            )
            .with(
                "kept",
                Json::Array(self.kept.iter().map(Json::text).collect()),
            )
            .with("deleted_mailboxes_left_out", Json::int(self.deleted))
            .with("set", extras)
            .with("failed", failures(&self.failed))
            .with("error", error.map(Json::text))
    }
}

/// What the target has of a mailbox of the plan, when it was asked.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// The mailbox is there.
    pub exists: bool,
    /// Messages that are there.
    pub present: usize,
    /// UIDs and the like will be as they were.
    pub exact: bool,
    /// Its identity is another one than the one to be kept.
    pub foreign: bool,
}

/// The plan as text; `compared` has something for each mailbox or is empty.
pub fn print_plan(
    plan: &Plan,
    compared: &[Compared],
    namespace: &Namespace,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (place, mailbox) in plan.mailboxes.iter().enumerate() {
        let (count, octets) = measure(mailbox);
        let name = external(&mailbox.target, namespace);
        write!(out, "{name}: {count} messages ({})", size(octets))?;
        let expunged = mailbox.records.iter().filter(|r| r.expunged).count();
        if expunged > 0 {
            write!(out, ", {expunged} of them expunged")?;
        }
        if mailbox.sources != [mailbox.target.clone()] {
            let sources = mailbox.sources.iter().map(|s| external(s, namespace));
            write!(out, ", from {}", sources.collect::<Vec<_>>().join(" and "))?;
        }
        if let Some(partition) = &mailbox.partition {
            write!(out, ", on partition {partition}")?;
        }
        if let Some(Compared {
            exists,
            present,
            exact,
            foreign,
        }) = compared.get(place)
        {
            let is = match (exists, exact) {
                (false, true) => "new, with its UIDs",
                (false, false) => "new",
                (true, true) => "goes on with its UIDs",
                (true, false) if *foreign => "exists with another identity",
                (true, false) => "exists",
            };
            write!(out, "; {is}, {present} present")?;
        }
        writeln!(out)?;
    }
    for extra in &plan.extras {
        writeln!(out, "{}", extra.describe())?;
    }
    for LeftOut { what, why } in &plan.left_out {
        writeln!(out, "not restorable: {what}: {why}")?;
    }
    print_deleted(plan.deleted, out)?;
    let (count, octets) = plan.size();
    let mailboxes = plan.mailboxes.len();
    writeln!(
        out,
        "in all: {count} messages ({}) in {mailboxes} mailboxes",
        size(octets)
    )
}

/// The plan as JSON.
pub fn plan_json(plan: &Plan, compared: &[Compared], namespace: &Namespace) -> Json {
    let mailboxes = plan.mailboxes.iter().enumerate().map(|(place, mailbox)| {
        let (count, octets) = measure(mailbox);
        let sources = mailbox
            .sources
            .iter()
            .map(|s| Json::text(external(s, namespace)));
        let json = Json::object()
            .with("mailbox", Json::text(external(&mailbox.target, namespace)))
            .with("from", Json::Array(sources.collect()))
            .with("messages", Json::int(count))
            .with("bytes", Json::int(octets))
            .with("partition", mailbox.partition.as_deref().map(Json::text))
            .with("acl", mailbox.acl.as_deref().map(Json::text))
            .with(
                "keep_uids",
                Json::int(i64::from(mailbox.identity().is_some())),
            );
        match compared.get(place) {
            Some(compared) => json
                .with("exists", Json::int(i64::from(compared.exists)))
                .with("present", Json::int(compared.present))
                .with("other_identity", Json::int(i64::from(compared.foreign))),
            None => json,
        }
    });
    let extras = plan.extras.iter().map(|e| Json::text(e.describe()));
    let (count, octets) = plan.size();
    Json::object()
        .with("mailboxes", Json::Array(mailboxes.collect()))
        .with("extras", Json::Array(extras.collect()))
        .with("not_restorable", failures(&plan.left_out))
        .with("deleted_mailboxes_left_out", Json::int(plan.deleted))
        .with("messages", Json::int(count))
        .with("bytes", Json::int(octets))
}

/// They may be just what somebody is looking for.
fn print_deleted(count: usize, out: &mut dyn Write) -> io::Result<()> {
    match count {
        0 => Ok(()),
        count => writeln!(
            out,
            "left out: {count} deleted mailboxes (--deleted brings such, -vv names them)"
        ),
    }
}

/// Instead of a plan or a summary.
pub fn error_json(error: String) -> Json {
    Json::object().with("error", Json::text(error))
}

/// Extras counted by kind.
pub fn count(extras: &[Extra]) -> BTreeMap<&'static str, usize> {
    let mut counted = BTreeMap::new();
    for extra in extras {
        *counted.entry(extra.kind()).or_default() += 1;
    }
    counted
}

fn failures(left_out: &[LeftOut]) -> Json {
    let each = left_out.iter().map(|LeftOut { what, why }| {
        Json::object()
            .with("what", Json::text(what.as_str()))
            .with("why", Json::text(why.as_str()))
    });
    Json::Array(each.collect())
}

fn measure(mailbox: &MailboxPlan) -> (usize, u64) {
    let octets = mailbox.records.iter().map(|record| record.size).sum();
    (mailbox.records.len(), octets)
}

/// As an administrator types it.
pub fn external(mboxname: &str, namespace: &Namespace) -> String {
    match MboxName::new(mboxname) {
        Ok(name) => name.to_external(namespace),
        Err(_) => mboxname.to_owned(),
    }
}

/// `1.5 MB`
fn size(octets: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "kB", "MB", "GB"];
    let mut value = octets as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{octets} bytes"),
        unit => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (octets, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1500, "1.5 kB"),
            (2_000_000_000_000, "2000.0 GB"),
        ] {
            assert_eq!(size(octets), text);
        }
    }

    #[test]
    fn a_summary_says_what_happened() {
        let mut summary = Summary {
            messages: 3,
            octets: 2048,
            present: 2,
            filled: 1,
            ..Summary::default()
        };
        summary.extras.insert("quota", 1);
        summary.failed.push(LeftOut {
            what: "user.anne".to_owned(),
            why: "refused".to_owned(),
        });
        let mut out = Vec::new();
        summary.print(&mut out).unwrap();
        let wanted = "restored: 3 messages (2.0 kB) in 1 mailboxes, 0 of them new\n\
                      left out: 2 messages that are there already\nset: quota (1)\nfailed: 1\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert!(
            summary
                .json(None)
                .to_string()
                .contains("\"why\": \"refused\"")
        );
    }
}

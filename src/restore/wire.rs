//! The lines that a restore sends, as octets (spec: csync 12.3, 5.3, 5.6). Pure.

use super::extras::Extra;
use super::plan::{MailboxPlan, Planned};
use super::target::Existing;
use crate::csync::dlist::{KvList, Literal, Parser, Value, copy_with_literals};
use crate::store::MailboxRow;

/// Annotations that are what the server knows of a message; a message that gets a new modseq gets a new one.
const CREATEDMODSEQ: &str = "/vendor/cmu/cyrus-imapd/createdmodseq";
/// More letters overrun a buffer in C (spec: csync 10).
const MOST_OPTIONS: usize = 3;

/// `RESTORE MAILBOX` without messages: makes a mailbox. `partition`: none is the target's choice.
pub fn create(plan: &MailboxPlan, exact: bool, partition: Option<&str>, local: bool) -> Vec<u8> {
    let mut keys = restore_keys(plan, exact, partition);
    keys.push("RECORD", Value::List(Vec::new()));
    finish(restore_verb(local), &keys)
}

/// `RESTORE MAILBOX` with messages behind those that are there.
pub fn append(plan: &MailboxPlan, records: &[Planned], partition: &str, local: bool) -> Vec<u8> {
    let keys = restore_keys(plan, false, Some(partition));
    with_records(restore_verb(local), &keys, records, false)
}

/// `APPLY MAILBOX`: messages as they were, in a mailbox that has our identity. `last`: no more will follow.
pub fn fill(
    plan: &MailboxPlan,
    existing: &Existing,
    records: &[Planned],
    last: bool,
    local: bool,
) -> Vec<u8> {
    let verb = match local {
        true => "APPLY LOCAL_MAILBOX",
        false => "APPLY MAILBOX",
    };
    let row = &plan.row;
    // A counter that is lower than the target's is refused.
    let there = |key: &str| existing.keys.get_u64(key).unwrap_or(0);
    let number = |key: &str, ours: u64| Value::number(ours.max(there(key)));
    let end = match last {
        true => row.last_uid,
        false => records.last().map_or(0, |record| record.uid),
    };
    let mut keys = KvList::default();
    let mut push = |key: &str, value: Value| keys.push(key, value);
    push("UNIQUEID", Value::string(row.uniqueid.as_str()));
    push("MBOXNAME", Value::string(plan.target.as_str()));
    if let Some(mboxtype) = mboxtype(row) {
        push("MBOXTYPE", Value::string(mboxtype));
    }
    push("SYNC_CRC", Value::number(0));
    push("SYNC_CRC_ANNOT", Value::number(0));
    push("LAST_UID", number("LAST_UID", end.into()));
    push("HIGHESTMODSEQ", number("HIGHESTMODSEQ", row.highestmodseq));
    push("RECENTUID", number("RECENTUID", row.recentuid.into()));
    push("RECENTTIME", number("RECENTTIME", date(row.recenttime)));
    push("LAST_APPENDDATE", Value::number(date(row.last_appenddate)));
    push("POP3_LAST_LOGIN", Value::number(date(row.pop3_last_login)));
    push("POP3_SHOW_AFTER", Value::number(date(row.pop3_show_after)));
    push("XCONVMODSEQ", number("XCONVMODSEQ", row.xconvmodseq));
    push("UIDVALIDITY", Value::number(row.uidvalidity.into()));
    push("PARTITION", Value::string(existing.partition.as_str()));
    let acl = plan.acl.as_deref().or(existing.keys.get_str("ACL"));
    push("ACL", Value::string(acl.unwrap_or_default()));
    push("OPTIONS", Value::string(options(row)));
    if let Some(root) = existing.keys.get_str("QUOTAROOT") {
        push("QUOTAROOT", Value::string(root));
    }
    for key in ["CREATEDMODSEQ", "FOLDERMODSEQ"] {
        let ours = plan.keys.as_ref().and_then(|keys| keys.get_u64(key));
        push(key, number(key, ours.unwrap_or(0)));
    }
    let annotations = row.annotations.as_deref().unwrap_or_default();
    if let Ok(value @ Value::List(_)) = Parser::new(annotations.as_bytes()).value() {
        push("ANNOTATIONS", value);
    }
    with_records(verb, &keys, records, true)
}

/// `APPLY MAILBOX` of a folder that is there only because others are below it (spec: csync 5.5).
pub fn intermediate(keys: &KvList) -> Vec<u8> {
    finish("APPLY MAILBOX", keys)
}

/// An `APPLY` for something that is no message; `user` is whose it is. None: there is nothing to say.
pub fn extra(extra: &Extra, user: &str, existing: Option<&Existing>) -> Option<Vec<u8>> {
    let text = |text: &str| Value::string(text);
    let mut keys = KvList::default();
    let verb = match extra {
        Extra::Quota { keys: limits, .. } => {
            keys = limits.clone();
            "APPLY QUOTA"
        }
        Extra::Subscription(mboxname) => {
            keys.push("USERID", text(user));
            keys.push("MBOXNAME", text(mboxname));
            "APPLY SUB"
        }
        Extra::Seen(row) => {
            keys.push("USERID", text(user));
            keys.push("UNIQUEID", text(&row.uniqueid));
            keys.push("LASTREAD", Value::number(date(row.lastread)));
            keys.push("LASTUID", Value::number(row.lastuid.into()));
            keys.push("LASTCHANGE", Value::number(date(row.lastchange)));
            keys.push("SEENUIDS", text(&row.seenuids));
            "APPLY SEEN"
        }
        Extra::Script {
            filename,
            last_update,
            content,
            ..
        } => {
            keys.push("USERID", text(user));
            keys.push("FILENAME", text(filename));
            keys.push("LAST_UPDATE", Value::number(date(*last_update)));
            keys.push("CONTENT", Value::string(content.as_slice()));
            "APPLY SIEVE"
        }
        Extra::Activate(filename) => {
            let stem = filename.strip_suffix(".script").unwrap_or(filename);
            keys.push("USERID", text(user));
            keys.push("FILENAME", text(&format!("{stem}.bc")));
            "APPLY ACTIVATE_SIEVE"
        }
        Extra::Annotation {
            mboxname,
            entry,
            userid,
            value,
        } => {
            keys.push("MBOXNAME", text(mboxname));
            keys.push("ENTRY", text(entry));
            keys.push("USERID", text(userid));
            keys.push("VALUE", Value::string(value.as_slice()));
            "APPLY ANNOTATION"
        }
        Extra::Acl { acl, .. } => {
            // All that the target told of the mailbox, with another ACL: nothing else changes by it.
            keys = existing?.keys.clone();
            keys.set("ACL", text(acl));
            keys.push("RECORD", Value::List(Vec::new()));
            "APPLY MAILBOX"
        }
    };
    Some(finish(verb, &keys))
}

/// `APPLY RESERVE` of these messages.
pub fn reserve(partition: &str, names: &[&str], guids: &[crate::types::Guid]) -> Vec<u8> {
    let names = names.iter().map(|name| Value::string(*name)).collect();
    let guids = guids.iter().map(|g| Value::atom(g.to_string())).collect();
    let mut keys = KvList::default();
    keys.push("PARTITION", Value::string(partition));
    keys.push("MBOXNAME", Value::List(names));
    keys.push("GUID", Value::List(guids));
    finish("APPLY RESERVE", &keys)
}

fn restore_verb(local: bool) -> &'static str {
    match local {
        true => "RESTORE LOCAL_MAILBOX",
        false => "RESTORE MAILBOX",
    }
}

/// The header of a RESTORE. What the target does not look at is left out.
fn restore_keys(plan: &MailboxPlan, exact: bool, partition: Option<&str>) -> KvList {
    let row = &plan.row;
    let or_nil = |text: Option<&str>| text.map_or(Value::Nil, Value::string);
    let kept = |number: u64| Value::number(if exact { number } else { 0 });
    let mut keys = KvList::default();
    let uniqueid = exact.then_some(row.uniqueid.as_str());
    keys.push("UNIQUEID", or_nil(uniqueid));
    keys.push("MBOXNAME", Value::string(plan.target.as_str()));
    keys.push("MBOXTYPE", or_nil(mboxtype(row)));
    keys.push("LAST_UID", Value::number(row.last_uid.into()));
    keys.push("HIGHESTMODSEQ", kept(row.highestmodseq));
    keys.push("RECENTUID", Value::number(row.recentuid.into()));
    keys.push("RECENTTIME", Value::number(date(row.recenttime)));
    keys.push("LAST_APPENDDATE", Value::number(date(row.last_appenddate)));
    keys.push("POP3_LAST_LOGIN", Value::number(date(row.pop3_last_login)));
    keys.push("POP3_SHOW_AFTER", Value::number(date(row.pop3_show_after)));
    keys.push("UIDVALIDITY", kept(row.uidvalidity.into()));
    keys.push("PARTITION", or_nil(partition));
    keys.push("ACL", or_nil(plan.acl.as_deref()));
    keys.push("OPTIONS", or_nil(Some(options(row))));
    if exact {
        for key in ["CREATEDMODSEQ", "FOLDERMODSEQ"] {
            if let Some(number) = plan.keys.as_ref().and_then(|keys| keys.get_u64(key)) {
                keys.push(key, Value::number(number));
            }
        }
    }
    keys
}

/// NIL for ordinary mail.
fn mboxtype(row: &MailboxRow) -> Option<&str> {
    let mboxtype = row.mboxtype.as_deref()?;
    mboxtype.get(..1).filter(|letter| *letter != "e")
}

fn options(row: &MailboxRow) -> &str {
    let options = row.options.as_deref().unwrap_or_default();
    options.get(..MOST_OPTIONS).unwrap_or(options)
}

/// A date as the wire has it (see `Value::as_i64`).
fn date(seconds: i64) -> u64 {
    seconds.cast_unsigned()
}

fn finish(verb: &str, keys: &KvList) -> Vec<u8> {
    let mut line = verb.as_bytes().to_vec();
    line.push(b' ');
    keys.print(&mut line, Literal::NonSync);
    line
}

fn with_records(verb: &str, keys: &KvList, records: &[Planned], exact: bool) -> Vec<u8> {
    let mut line = format!("{verb} %(").into_bytes();
    keys.print_items(&mut line, Literal::NonSync);
    line.extend_from_slice(b" RECORD (");
    for (place, record) in records.iter().enumerate() {
        if place > 0 {
            line.push(b' ');
        }
        print_record(record, exact, &mut line);
    }
    line.extend_from_slice(b"))");
    line
}

fn print_record(record: &Planned, exact: bool, line: &mut Vec<u8>) {
    let Planned {
        uid,
        modseq,
        last_updated,
        internaldate,
        guid,
        size,
        ..
    } = record;
    let flags = record.flags.trim_matches(['(', ')']);
    let expunged = match (record.expunged, flags.is_empty()) {
        (false, _) => "",
        (true, true) => "\\Expunged",
        (true, false) => " \\Expunged",
    };
    let (last_updated, internaldate) = (date(*last_updated), date(*internaldate));
    let text = format!(
        "%(UID {uid} MODSEQ {modseq} LAST_UPDATED {last_updated} FLAGS ({flags}{expunged}) \
         INTERNALDATE {internaldate} SIZE {size} GUID {guid}"
    );
    line.extend_from_slice(text.as_bytes());
    let annotations = annotations(record, exact);
    if !annotations.is_empty() {
        line.extend_from_slice(b" ANNOTATIONS ");
        copy_with_literals(&annotations, line, Literal::NonSync);
    }
    line.push(b')');
}

fn annotations(record: &Planned, exact: bool) -> Vec<u8> {
    let text = record.annotations.as_bytes();
    if exact || !record.annotations.contains(CREATEDMODSEQ) {
        return text.to_vec();
    }
    let Ok(Value::List(mut items)) = Parser::new(text).value() else {
        return Vec::new();
    };
    items.retain(|item| {
        let entry = item.as_kvlist().and_then(|item| item.get_str("ENTRY"));
        entry != Some(CREATEDMODSEQ)
    });
    if items.is_empty() {
        return Vec::new();
    }
    let mut printed = Vec::new();
    Value::List(items).print(&mut printed, Literal::NonSync);
    printed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Guid;

    fn plan() -> MailboxPlan {
        MailboxPlan {
            target: "user.anne.sp ace".to_owned(),
            sources: vec!["user.anne.sp ace".to_owned()],
            keep: true,
            row: super::super::run::zero_row("user.anne.sp ace", "id1", 7, 50),
            keys: None,
            acl: Some("anne\tlrs\t".to_owned()),
            partition: None,
            records: Vec::new(),
        }
    }

    fn record() -> Planned {
        Planned {
            uid: 3,
            modseq: 5,
            last_updated: 6,
            internaldate: -1,
            guid: Guid::of(b""),
            size: 0,
            flags: "(\\Seen)".into(),
            annotations: format!(
                "(%(ENTRY {CREATEDMODSEQ} USERID \"\" MODSEQ 0 VALUE 5) %(ENTRY /comment USERID \"\" MODSEQ 9 VALUE {{5}}\r\ncaf\u{e9}))"
            ).into(),
            expunged: true,
        }
    }

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_new_mailbox_keeps_its_identity_or_gets_another() {
        let kept = text(create(&plan(), true, Some("p"), false));
        assert!(kept.starts_with(
            "RESTORE MAILBOX %(UNIQUEID id1 MBOXNAME \"user.anne.sp ace\" MBOXTYPE NIL "
        ));
        assert!(kept.contains(" HIGHESTMODSEQ 50 ") && kept.contains(" UIDVALIDITY 7 "));
        assert!(
            kept.contains(" PARTITION p ACL \"anne\tlrs\t\" ") && kept.ends_with(" RECORD ())")
        );
        let new = text(create(&plan(), false, None, true));
        assert!(
            new.starts_with("RESTORE LOCAL_MAILBOX %(UNIQUEID NIL "),
            "{new}"
        );
        assert!(
            new.contains(" HIGHESTMODSEQ 0 ") && new.contains(" PARTITION NIL "),
            "{new}"
        );
    }

    #[test]
    fn records_in_both_ways() {
        let line = text(append(&plan(), &[record()], "p", false));
        let wanted = " RECORD (%(UID 3 MODSEQ 5 LAST_UPDATED 6 FLAGS (\\Seen \\Expunged) INTERNALDATE 18446744073709551615 SIZE 0 \
             GUID da39a3ee5e6b4b0d3255bfef95601890afd80709 ANNOTATIONS (%(ENTRY /comment USERID \"\" MODSEQ 9 VALUE {5+}\r\ncaf\u{e9})))))";
        assert!(line.ends_with(wanted), "{line}");
    }

    #[test]
    fn counters_are_never_lower_than_the_target_s() {
        let mut keys = KvList::default();
        keys.push("HIGHESTMODSEQ", Value::number(60));
        keys.push("RECENTUID", Value::number(4));
        let existing = Existing {
            uniqueid: "id1".to_owned(),
            partition: "p".to_owned(),
            last_uid: 0,
            intermediate: false,
            keys,
        };
        let line = text(fill(&plan(), &existing, &[record()], false, false));
        for part in [
            "APPLY MAILBOX %(UNIQUEID id1 ",
            " LAST_UID 3 HIGHESTMODSEQ 60 RECENTUID 4 ",
            " PARTITION p ",
            "createdmodseq",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(text(fill(&plan(), &existing, &[record()], true, false)).contains(" LAST_UID 9 "));
    }
}

//! The header of a mailbox as a line of a data file, made from what an index knows.

use super::index::MailboxRow;
use crate::csync::dlist::{KvList, Literal, Parser, Value};

/// The header of a mailbox that only C has seen, from what C's index keeps of it.
pub fn from_row(row: &MailboxRow) -> KvList {
    let mut keys = KvList::default();
    keys.push("UNIQUEID", Value::string(row.uniqueid.as_str()));
    keys.push("MBOXNAME", Value::string(row.mboxname.as_str()));
    if let Some(kind) = &row.mboxtype {
        keys.push("MBOXTYPE", Value::string(kind.as_str()));
    }
    keys.push("SYNC_CRC", Value::number(row.sync_crc.into()));
    keys.push("SYNC_CRC_ANNOT", Value::number(row.sync_crc_annot.into()));
    keys.push("LAST_UID", Value::number(row.last_uid.into()));
    keys.push("HIGHESTMODSEQ", Value::number(row.highestmodseq));
    keys.push("RECENTUID", Value::number(row.recentuid.into()));
    for (key, time) in [
        ("RECENTTIME", row.recenttime),
        ("LAST_APPENDDATE", row.last_appenddate),
        ("POP3_LAST_LOGIN", row.pop3_last_login),
        ("POP3_SHOW_AFTER", row.pop3_show_after),
    ] {
        keys.push(key, Value::number(time.cast_unsigned()));
    }
    keys.push("XCONVMODSEQ", Value::number(row.xconvmodseq));
    keys.push("UIDVALIDITY", Value::number(row.uidvalidity.into()));
    for (key, text) in [
        ("PARTITION", &row.partition),
        ("ACL", &row.acl),
        ("OPTIONS", &row.options),
    ] {
        keys.push(key, Value::string(text.as_deref().unwrap_or_default()));
    }
    let annotations = row.annotations.as_deref().unwrap_or_default();
    if let Ok(annotations @ Value::List(_)) = Parser::new(annotations.as_bytes()).value() {
        keys.push("ANNOTATIONS", annotations);
    }
    keys
}

/// `MAILBOX %(… RECORD ())`: says a header again without any record. C's verify and reindex need
/// one behind a RENAME and before an UNMAILBOX (spec: ondisk 11.7).
pub fn mailbox_line(keys: &KvList) -> Vec<u8> {
    let mut keys = keys.clone();
    keys.push("RECORD", Value::List(Vec::new()));
    let mut text = b"MAILBOX ".to_vec();
    Value::KvList(keys).print(&mut text, Literal::Sync);
    text
}

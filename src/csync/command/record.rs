//! One record of APPLY MAILBOX (spec: csync 5.3).

use std::borrow::Cow;

use super::CommandError;
use crate::csync::dlist::{KvList, Literal, Parser, Value, print_guid, print_number, print_word};
use crate::types::Guid;

/// The pseudo flag of messages that the client has expunged.
const EXPUNGED: &str = "\\Expunged";

/// State of one message in one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its identity in the mailbox.
    pub uid: u32,
    /// Its last change.
    pub modseq: u64,
    /// Unix seconds.
    pub last_updated: i64,
    /// Flags in order, without `\Expunged`.
    pub flags: Vec<String>,
    /// Had `\Expunged`.
    pub expunged: bool,
    /// Unix seconds.
    pub internaldate: i64,
    /// Bytes of the message; old data files may lack it.
    pub size: Option<u64>,
    /// The message.
    pub guid: Guid,
    /// The list of annotations.
    pub annotations: Option<Value>,
    /// Items unknown to us.
    pub other: KvList,
}

/// The items of a record while they come.
#[derive(Default)]
struct Items {
    uid: Option<u64>,
    modseq: Option<u64>,
    last_updated: Option<u64>,
    flags: Option<(Vec<String>, bool)>,
    internaldate: Option<u64>,
    size: Option<u64>,
    guid: Option<Guid>,
    annotations: Option<Value>,
    other: KvList,
}

impl Record {
    /// Reads `%(UID … )` at the cursor.
    pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Record, CommandError> {
        let syntax = CommandError::syntax("APPLY");
        let mut items = Items::default();
        let start = parser.kvlist_start();
        start.map_err(|_| CommandError::bad("RECORD", "has an element that is no record"))?;
        while parser.more().map_err(syntax)? {
            let key = parser.key().map_err(syntax)?;
            match &*key {
                "UID" => first(&mut items.uid, number(&key, parser)?),
                "MODSEQ" => first(&mut items.modseq, number(&key, parser)?),
                "LAST_UPDATED" => first(&mut items.last_updated, number(&key, parser)?),
                "FLAGS" => first(&mut items.flags, flags(parser)?),
                "INTERNALDATE" => first(&mut items.internaldate, number(&key, parser)?),
                "SIZE" => first(&mut items.size, number(&key, parser)?),
                "GUID" => first(&mut items.guid, guid(parser)?),
                "ANNOTATIONS" => {
                    first(&mut items.annotations, parser.value().map_err(syntax)?);
                }
                _ => items.other.push(key, parser.value().map_err(syntax)?),
            }
        }
        items.finish()
    }

    /// Appends `%(UID …)` with the items in C's order, `\Expunged` where C puts it: behind the
    /// flags that are kept in the message, before `\Seen` and the keywords.
    pub fn print(&self, out: &mut Vec<u8>, literal: Literal) {
        print_item(out, "%(UID ", self.uid.into());
        print_item(out, " MODSEQ ", self.modseq);
        print_item(out, " LAST_UPDATED ", self.last_updated.cast_unsigned());
        self.print_flags(out, literal);
        print_item(out, " INTERNALDATE ", self.internaldate.cast_unsigned());
        if let Some(size) = self.size {
            print_item(out, " SIZE ", size);
        }
        out.extend_from_slice(b" GUID ");
        print_guid(&self.guid, out);
        if let Some(annotations) = &self.annotations {
            out.extend_from_slice(b" ANNOTATIONS ");
            annotations.print(out, literal);
        }
        if !self.other.0.is_empty() {
            out.push(b' ');
            self.other.print_items(out, literal);
        }
        out.push(b')');
    }

    fn print_flags(&self, out: &mut Vec<u8>, literal: Literal) {
        let is_kept = |flag: &&String| {
            ["\\Deleted", "\\Answered", "\\Flagged", "\\Draft"].contains(&flag.as_str())
        };
        let place = self.flags.iter().take_while(is_kept).count();
        let (before, after) = self.flags.split_at(place);
        let expunged = self.expunged.then_some(EXPUNGED);
        let all = before.iter().map(String::as_str).chain(expunged);
        out.extend_from_slice(b" FLAGS (");
        for (i, flag) in all.chain(after.iter().map(String::as_str)).enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            print_word(flag.as_bytes(), out, literal);
        }
        out.push(b')');
    }
}

impl Items {
    fn finish(self) -> Result<Record, CommandError> {
        let uid = required("UID", self.uid)?;
        let (flags, expunged) = self.flags.unwrap_or_default();
        Ok(Record {
            uid: uid
                .try_into()
                .map_err(|_| CommandError::bad("UID", "is no 32-bit number"))?,
            modseq: required("MODSEQ", self.modseq)?,
            last_updated: required("LAST_UPDATED", self.last_updated)?.cast_signed(),
            flags,
            expunged,
            internaldate: required("INTERNALDATE", self.internaldate)?.cast_signed(),
            size: self.size,
            guid: required("GUID", self.guid)?,
            annotations: self.annotations.filter(|value| !value.is_nil()),
            other: self.other,
        })
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, CommandError> {
    value.ok_or_else(|| CommandError::bad(key, "is missing"))
}

/// The first of equal keys wins (spec: csync 2.4).
fn first<T>(place: &mut Option<T>, value: T) {
    place.get_or_insert(value);
}

fn number(key: &str, parser: &mut Parser<'_>) -> Result<u64, CommandError> {
    parser
        .number()
        .map_err(|_| CommandError::bad(key, "is no 64-bit number"))
}

fn guid(parser: &mut Parser<'_>) -> Result<Guid, CommandError> {
    let hex = parser.string().ok().flatten();
    let guid = hex.and_then(|hex| Guid::from_hex(&hex).ok());
    guid.ok_or_else(|| CommandError::bad("GUID", "is no GUID of 40 hex digits"))
}

/// flags = "(" *( flag ) ")"; flags are never quoted, so NIL would be a keyword of that name.
fn flags(parser: &mut Parser<'_>) -> Result<(Vec<String>, bool), CommandError> {
    let bad = |_| CommandError::bad("FLAGS", "is no list of flags");
    let mut flags = Vec::new();
    let mut expunged = false;
    parser.list_start().map_err(bad)?;
    while parser.more().map_err(bad)? {
        let flag = parser
            .string()
            .map_err(bad)?
            .unwrap_or(Cow::Borrowed(b"NIL"));
        let Ok(flag) = str::from_utf8(&flag) else {
            return Err(CommandError::bad(
                "FLAGS",
                "has a flag that is no UTF-8 text",
            ));
        };
        if flag.eq_ignore_ascii_case(EXPUNGED) {
            expunged = true;
        } else {
            flags.push(flag.to_owned());
        }
    }
    Ok((flags, expunged))
}

fn print_item(out: &mut Vec<u8>, key: &str, number: u64) {
    out.extend_from_slice(key.as_bytes());
    print_number(number, out);
}

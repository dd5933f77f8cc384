//! APPLY MAILBOX: a complete header and the records that changed (spec: csync 5.3 to 5.5).
//!
//! The header is a tree, the records are not: one line may carry a million of them. They are
//! checked when first passed over and parsed one by one when iterated.

use super::{CommandError, Record, fields::Fields};
use crate::csync::dlist::{KvList, Parser};
use crate::types::MboxName;

/// The argument of APPLY MAILBOX.
#[derive(Clone, Debug, PartialEq)]
pub struct MailboxUpdate<'a> {
    /// The mailbox' identity.
    pub uniqueid: String,
    /// Its present name.
    pub mboxname: MboxName,
    /// Every item but RECORD and SINCE_*, in order, to be stored and echoed (spec: csync 5.4).
    pub header: KvList,
    /// What the client believes we hold.
    pub since: Option<Since>,
    /// The changed records.
    pub records: Records<'a>,
    /// Came as LOCAL_MAILBOX.
    pub local: bool,
}

/// The state that the client assumes on our side (spec: csync 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// HIGHESTMODSEQ
    pub modseq: u64,
    /// SYNC_CRC
    pub crc: Option<u32>,
    /// SYNC_CRC_ANNOT
    pub crc_annot: Option<u32>,
}

/// The list of records, still text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Records<'a> {
    /// The line text up to the end of the list, and where the list starts in it; `None` for a
    /// header without RECORD.
    list: Option<(&'a [u8], usize)>,
}

/// Header keys that are numbers when they are there.
const NUMBERS: [&str; 16] = [
    "SYNC_CRC",
    "SYNC_CRC_ANNOT",
    "LAST_UID",
    "HIGHESTMODSEQ",
    "RECENTUID",
    "RECENTTIME",
    "LAST_APPENDDATE",
    "POP3_LAST_LOGIN",
    "POP3_SHOW_AFTER",
    "XCONVMODSEQ",
    "RACLMODSEQ",
    "UIDVALIDITY",
    "CREATEDMODSEQ",
    "FOLDERMODSEQ",
    "DELETEDMODSEQ",
    "VERSION",
];

/// Those of [`NUMBERS`] that have 32 bits.
const NUMBERS_32: [&str; 6] = [
    "SYNC_CRC",
    "SYNC_CRC_ANNOT",
    "LAST_UID",
    "RECENTUID",
    "UIDVALIDITY",
    "VERSION",
];

pub(super) fn parse(
    mut parser: Parser<'_>,
    local: bool,
) -> Result<MailboxUpdate<'_>, CommandError> {
    let syntax = CommandError::syntax("APPLY");
    let mut header = KvList::default();
    let mut since = KvList::default();
    let mut records = None;
    parser.kvlist_start().map_err(syntax)?;
    while parser.more().map_err(syntax)? {
        let key = parser.key().map_err(syntax)?;
        if key == "RECORD" {
            let list = parser.skip_value().map_err(syntax)?;
            let end = parser.offset();
            records.get_or_insert((&parser.text()[..end], end - list.len()));
            continue;
        }
        let value = parser.value().map_err(syntax)?;
        let items = if key.starts_with("SINCE_") {
            &mut since
        } else {
            &mut header
        };
        items.push(key, value);
    }
    parser.finish().map_err(syntax)?;
    let records = Records { list: records };
    records.check_list()?;
    from_parts(header, &since, records, local)
}

fn from_parts<'a>(
    header: KvList,
    since: &KvList,
    records: Records<'a>,
    local: bool,
) -> Result<MailboxUpdate<'a>, CommandError> {
    let fields = Fields(&header);
    let uniqueid = fields.string("UNIQUEID")?;
    if uniqueid.is_empty() || uniqueid.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(CommandError::bad("UNIQUEID", "is no identity"));
    }
    let mboxname = fields.mboxname("MBOXNAME")?;
    let mboxtype = fields.optional_string("MBOXTYPE")?.unwrap_or_default();
    if records.list.is_none() && !mboxtype.contains('i') {
        return Err(CommandError::bad("RECORD", "is missing"));
    }
    check_numbers(&fields)?;
    Ok(MailboxUpdate {
        uniqueid,
        mboxname,
        since: since_of(&Fields(since))?,
        records,
        local,
        header,
    })
}

fn check_numbers(fields: &Fields<'_>) -> Result<(), CommandError> {
    for key in NUMBERS {
        if fields.optional(key).is_some() {
            fields.u64(key)?;
        }
    }
    for key in NUMBERS_32 {
        fields.optional_u32(key)?;
    }
    Ok(())
}

fn since_of(fields: &Fields<'_>) -> Result<Option<Since>, CommandError> {
    if fields.optional("SINCE_MODSEQ").is_none() {
        return Ok(None);
    }
    Ok(Some(Since {
        modseq: fields.u64("SINCE_MODSEQ")?,
        crc: fields.optional_u32("SINCE_CRC")?,
        crc_annot: fields.optional_u32("SINCE_CRC_ANNOT")?,
    }))
}

impl<'a> Records<'a> {
    /// No list at all, as intermediates have it.
    pub const ABSENT: Records<'static> = Records { list: None };

    /// Was there a RECORD key?
    pub fn is_present(&self) -> bool {
        self.list.is_some()
    }

    /// Parses record after record; ends after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record, CommandError>> + use<'a> {
        let mut parser = self
            .list
            .map(|(text, start)| Parser::starting_at(text, start));
        if let Some(list) = &mut parser {
            // `check_list` has seen the parenthesis.
            let _ = list.list_start();
        }
        std::iter::from_fn(move || {
            let list = parser.as_mut()?;
            let item = match list.more() {
                Ok(true) => Record::parse(list),
                Ok(false) => {
                    parser = None;
                    return None;
                }
                Err(error) => Err(CommandError::syntax("APPLY")(error)),
            };
            if item.is_err() {
                parser = None;
            }
            Some(item)
        })
    }

    /// Parses all records once, so that nothing is begun that cannot be finished.
    ///
    /// # Errors
    /// That of the first bad record.
    pub fn check(&self) -> Result<(), CommandError> {
        self.iter().try_for_each(|record| record.map(drop))
    }

    fn check_list(&self) -> Result<(), CommandError> {
        let Some((text, start)) = self.list else {
            return Ok(());
        };
        let list = Parser::starting_at(text, start).list_start();
        list.map_err(|_| CommandError::bad("RECORD", "is no list"))
    }
}

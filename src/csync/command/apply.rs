//! APPLY: what the client tells us, also as it stands in data files (spec: csync 5, ondisk 4.2).

use super::fields::{self, Fields};
use super::{CommandError, MailboxUpdate, mailbox};
use crate::csync::dlist::{KvList, Parser, Value};
use crate::types::{Guid, MboxName};

type Result<T> = std::result::Result<T, CommandError>;

/// The argument of APPLY. `LOCAL_` names mean the same to a backup as the plain ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Apply<'a> {
    /// Which of these messages do you lack?
    Reserve(Reserve),
    /// Messages: [`Value::File`], or [`Value::Nil`] for one the client cannot read.
    Message(Vec<Value>),
    /// Header and changed records of a mailbox.
    Mailbox(MailboxUpdate<'a>),
    /// A mailbox is gone.
    Unmailbox(MboxName),
    /// A mailbox has another name or partition.
    Rename(Rename),
    /// Records are gone.
    Expunge {
        /// The mailbox.
        mboxname: MboxName,
        /// Its identity.
        uniqueid: String,
        /// Its records.
        uids: Vec<u32>,
    },
    /// A subscription.
    Sub {
        /// Whose.
        userid: String,
        /// To what.
        mboxname: MboxName,
    },
    /// The end of a subscription.
    Unsub {
        /// Whose.
        userid: String,
        /// To what.
        mboxname: MboxName,
    },
    /// Seen state of a user who is not the owner.
    Seen(Seen),
    /// Limits of a quota root.
    Quota {
        /// The root, a mailbox name.
        root: String,
        /// All items as they came, ROOT included.
        items: KvList,
    },
    /// A quota root has no limits any more.
    Unquota(String),
    /// The text of a script.
    Sieve {
        /// Whose.
        userid: String,
        /// `name.script`
        filename: String,
        /// Unix seconds.
        last_update: i64,
        /// The script, any bytes.
        content: Vec<u8>,
    },
    /// A script is gone.
    Unsieve {
        /// Whose.
        userid: String,
        /// `name.script`
        filename: String,
    },
    /// This script is the active one.
    ActivateSieve {
        /// Whose.
        userid: String,
        /// `name.bc`
        filename: String,
    },
    /// No script is active.
    UnactivateSieve {
        /// Whose.
        userid: String,
    },
    /// An annotation of a mailbox, or of the server.
    Annotation {
        /// A mailbox name; "" is the server.
        mboxname: String,
        /// `/vendor/…`
        entry: String,
        /// "" for a shared annotation.
        userid: String,
        /// Any bytes.
        value: Vec<u8>,
    },
    /// An annotation is gone.
    Unannotation {
        /// A mailbox name; "" is the server.
        mboxname: String,
        /// `/vendor/…`
        entry: String,
        /// "" for a shared annotation.
        userid: String,
    },
    /// A user is gone.
    Unuser(String),
    /// The client overrides what we hold.
    Force,
    /// Names of extensions that the client wants enabled.
    Capabilities(Vec<String>),
    /// A name unknown to us, upper-cased; its argument was not looked at.
    Unknown(String),
}

/// Asks which messages are missing (spec: csync 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The client's partition.
    pub partition: String,
    /// All mailboxes that were reported to the client, of any owners.
    pub mboxnames: Vec<MboxName>,
    /// The messages.
    pub guids: Vec<Guid>,
}

/// A mailbox has another name or partition (spec: csync 5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// OLDMBOXNAME
    pub old: MboxName,
    /// NEWMBOXNAME; equal to `old` when only the partition changes.
    pub new: MboxName,
    /// NIL for intermediates and tombstones.
    pub partition: Option<String>,
    /// UIDVALIDITY; 0 when absent.
    pub uidvalidity: u32,
}

/// Seen state of one user in one mailbox (spec: csync 5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub userid: String,
    /// The mailbox' identity.
    pub uniqueid: String,
    /// Unix seconds.
    pub lastread: i64,
    /// Highest UID seen.
    pub lastuid: u32,
    /// Unix seconds.
    pub lastchange: i64,
    /// An IMAP uid set such as `1:5,7`, or "".
    pub seenuids: String,
}

/// Parses the text after `APPLY `, of a command or of a line in a data file.
///
/// # Errors
/// `Syntax` with an offset into `text`, or `BadParameters`.
pub fn parse_apply(text: &[u8]) -> Result<Apply<'_>> {
    parse(Parser::new(text))
}

pub(super) fn parse(mut parser: Parser<'_>) -> Result<Apply<'_>> {
    let syntax = CommandError::syntax("APPLY");
    let name = parser.key().map_err(syntax)?.to_ascii_uppercase();
    let base = match name.strip_prefix("LOCAL_") {
        Some(base @ ("MAILBOX" | "RENAME" | "UNMAILBOX" | "UNUSER")) => base,
        _ => &name,
    };
    match base {
        "MAILBOX" => {
            let local = base.len() < name.len();
            mailbox::parse(parser.without_files(), local).map(Apply::Mailbox)
        }
        "MESSAGE" => message(whole_value(&mut parser)?),
        _ if NAMES.contains(&base) => from_value(base, &whole_value(&mut parser.without_files())?),
        _ => Ok(Apply::Unknown(name)),
    }
}

fn whole_value(parser: &mut Parser<'_>) -> Result<Value> {
    let syntax = CommandError::syntax("APPLY");
    let value = parser.value().map_err(syntax)?;
    parser.finish().map_err(syntax)?;
    Ok(value)
}

fn message(value: Value) -> Result<Apply<'static>> {
    let is_element = |value: &Value| matches!(value, Value::File(_) | Value::Nil);
    match value {
        Value::List(elements) if elements.iter().all(is_element) => Ok(Apply::Message(elements)),
        _ => Err(CommandError::bad("MESSAGE", "is no list of files")),
    }
}

/// The names that [`from_value`] knows.
const NAMES: [&str; 18] = [
    "RESERVE",
    "UNMAILBOX",
    "RENAME",
    "EXPUNGE",
    "SUB",
    "UNSUB",
    "SEEN",
    "QUOTA",
    "UNQUOTA",
    "SIEVE",
    "UNSIEVE",
    "ACTIVATE_SIEVE",
    "UNACTIVATE_SIEVE",
    "ANNOTATION",
    "UNANNOTATION",
    "UNUSER",
    "FORCE",
    "CAPABILITIES",
];

fn from_value(name: &str, value: &Value) -> Result<Apply<'static>> {
    match name {
        "UNMAILBOX" => return Ok(Apply::Unmailbox(fields::mboxname(name, value)?)),
        "UNQUOTA" => return Ok(Apply::Unquota(fields::string(name, value)?)),
        "UNUSER" => return Ok(Apply::Unuser(fields::string(name, value)?)),
        "FORCE" => return Ok(Apply::Force),
        "CAPABILITIES" => {
            return Ok(Apply::Capabilities(fields::list(
                name,
                value,
                fields::word,
            )?));
        }
        _ => {}
    }
    let fields = Fields::of(value, name)?;
    let userid = || fields.string("USERID");
    let filename = || fields.string("FILENAME");
    let mboxname = || fields.mboxname("MBOXNAME");
    Ok(match name {
        "RESERVE" => Apply::Reserve(reserve(&fields)?),
        "RENAME" => Apply::Rename(rename(&fields)?),
        "SUB" => Apply::Sub {
            userid: userid()?,
            mboxname: mboxname()?,
        },
        "UNSUB" => Apply::Unsub {
            userid: userid()?,
            mboxname: mboxname()?,
        },
        "SEEN" => Apply::Seen(seen(&fields)?),
        "QUOTA" => Apply::Quota {
            root: fields.string("ROOT")?,
            items: fields.0.clone(),
        },
        "SIEVE" => Apply::Sieve {
            userid: userid()?,
            filename: filename()?,
            last_update: fields.date("LAST_UPDATE")?,
            content: fields.octets("CONTENT")?,
        },
        "UNSIEVE" => Apply::Unsieve {
            userid: userid()?,
            filename: filename()?,
        },
        "ACTIVATE_SIEVE" => Apply::ActivateSieve {
            userid: userid()?,
            filename: filename()?,
        },
        "UNACTIVATE_SIEVE" => Apply::UnactivateSieve { userid: userid()? },
        "EXPUNGE" => Apply::Expunge {
            mboxname: mboxname()?,
            uniqueid: fields.string("UNIQUEID")?,
            uids: fields.list("UID", fields::u32)?,
        },
        "ANNOTATION" => Apply::Annotation {
            mboxname: fields.optional_string("MBOXNAME")?.unwrap_or_default(),
            entry: fields.string("ENTRY")?,
            userid: fields.optional_string("USERID")?.unwrap_or_default(),
            value: fields.octets("VALUE")?,
        },
        "UNANNOTATION" => Apply::Unannotation {
            mboxname: fields.optional_string("MBOXNAME")?.unwrap_or_default(),
            entry: fields.string("ENTRY")?,
            userid: fields.optional_string("USERID")?.unwrap_or_default(),
        },
        _ => Apply::Unknown(name.to_owned()),
    })
}

fn reserve(fields: &Fields<'_>) -> Result<Reserve> {
    Ok(Reserve {
        partition: fields.string("PARTITION")?,
        mboxnames: fields.list("MBOXNAME", fields::mboxname)?,
        guids: fields.list("GUID", fields::guid)?,
    })
}

fn rename(fields: &Fields<'_>) -> Result<Rename> {
    Ok(Rename {
        old: fields.mboxname("OLDMBOXNAME")?,
        new: fields.mboxname("NEWMBOXNAME")?,
        partition: fields.optional_string("PARTITION")?,
        uidvalidity: fields.optional_u32("UIDVALIDITY")?.unwrap_or(0),
    })
}

fn seen(fields: &Fields<'_>) -> Result<Seen> {
    Ok(Seen {
        userid: fields.string("USERID")?,
        uniqueid: fields.string("UNIQUEID")?,
        lastread: fields.date("LASTREAD")?,
        lastuid: fields.u32("LASTUID")?,
        lastchange: fields.date("LASTCHANGE")?,
        seenuids: fields.optional_string("SEENUIDS")?.unwrap_or_default(),
    })
}

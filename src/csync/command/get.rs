//! GET: what the client asks us about (spec: csync 4).

use super::{CommandError, fields, fields::Fields};
use crate::csync::dlist::{Parser, Value};
use crate::types::{Guid, MboxName};

/// The argument of GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Get {
    /// Everything of a user id.
    User(String),
    /// These mailboxes, of any owners mixed.
    Mailboxes(Vec<MboxName>),
    /// One mailbox with its records.
    FullMailbox(MboxName),
    /// Seen state, subscriptions and scripts of a user id.
    Meta(String),
    /// One quota root.
    Quota(String),
    /// The annotations of a mailbox name, or of the server for "".
    Annotation(String),
    /// The octets of one message.
    Fetch {
        /// Where the client saw it.
        mboxname: MboxName,
        /// Partition, when given.
        partition: Option<String>,
        /// The mailbox' identity.
        uniqueid: String,
        /// The message.
        guid: Guid,
        /// Its number there.
        uid: u32,
    },
    /// The text of one script.
    FetchSieve {
        /// Whose.
        userid: String,
        /// `name.script`
        filename: String,
    },
    /// Mailboxes by identity.
    UniqueIds(Vec<String>),
    /// A sub-command unknown to us, upper-cased.
    Unknown(String),
}

pub(super) fn parse(mut parser: Parser<'_>) -> Result<Get, CommandError> {
    parser = parser.without_files();
    let syntax = CommandError::syntax("GET");
    let name = parser.key().map_err(syntax)?.to_ascii_uppercase();
    let value = parser.value().map_err(syntax)?;
    parser.finish().map_err(syntax)?;
    from_value(name, &value)
}

fn from_value(name: String, value: &Value) -> Result<Get, CommandError> {
    Ok(match name.as_str() {
        "USER" => Get::User(fields::string(&name, value)?),
        "META" => Get::Meta(fields::string(&name, value)?),
        "QUOTA" => Get::Quota(fields::string(&name, value)?),
        "ANNOTATION" => Get::Annotation(fields::string(&name, value)?),
        "FULLMAILBOX" => Get::FullMailbox(fields::mboxname(&name, value)?),
        "MAILBOXES" => Get::Mailboxes(one_or_more(&name, value, fields::mboxname)?),
        "UNIQUEIDS" => Get::UniqueIds(one_or_more(&name, value, fields::string)?),
        "FETCH" => fetch(&Fields::of(value, &name)?)?,
        "FETCH_SIEVE" => {
            let fields = Fields::of(value, &name)?;
            Get::FetchSieve {
                userid: fields.string("USERID")?,
                filename: fields.string("FILENAME")?,
            }
        }
        _ => Get::Unknown(name),
    })
}

fn fetch(fields: &Fields<'_>) -> Result<Get, CommandError> {
    Ok(Get::Fetch {
        mboxname: fields.mboxname("MBOXNAME")?,
        partition: fields.optional_string("PARTITION")?,
        uniqueid: fields.string("UNIQUEID")?,
        guid: fields.guid("GUID")?,
        uid: fields.u32("UID")?,
    })
}

/// A list, or a bare word as a list of one.
fn one_or_more<T>(
    name: &str,
    value: &Value,
    element: impl Fn(&str, &Value) -> Result<T, CommandError>,
) -> Result<Vec<T>, CommandError> {
    match value {
        Value::Atom(_) | Value::String(_) => Ok(vec![element(name, value)?]),
        _ => fields::list(name, value, element),
    }
}

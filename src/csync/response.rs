//! Replies: untagged data and the final line of a command, written and read (spec: csync 3).
//!
//! Clients are strict here: an unexpected untagged line, `OK` without text or a code without text
//! fails their whole run. So a reply always has text, on one line.
//!
//! # What a reply does to a rolling client (spec: csync 3.2), and what we therefore say
//! | command | reply | the client |
//! |---|---|---|
//! | GET MAILBOXES, USER, META | `NONEXISTENT` | takes everything for new, as after an empty `OK`; we say `OK` |
//! | GET MAILBOXES, GET USER | `LOCKED` | puts the names back into its log and goes on: our word for a lock, a full or failing disk |
//! | GET MAILBOXES | any other `NO` | asks GET USER; for shared mailboxes the run fails and is repeated for ever |
//! | GET USER | any other `NO` | the run fails and is repeated for ever |
//! | APPLY MAILBOX | `LOCKED` | puts the name back and goes on |
//! | APPLY MAILBOX | `CHECKSUM` | asks again, the second time GET FULLMAILBOX: never said |
//! | APPLY MAILBOX | `CHANGED` | forgets its cache and sends the user: said when SINCE_* is not what we hold |
//! | APPLY MAILBOX | any other `NO` | sends the user; failing there too, the run fails |
//! | APPLY MESSAGE, RESERVE, RENAME | any `NO` | this mailbox or user fails: MESSAGE is refused for damage or a full disk only |
//! | APPLY SUB, UNSUB | any `NO` | sends META, then USER, then fails |
//! | APPLY SEEN | any `NO` | the state is lost inside a USER run: never refused for its content |
//! | APPLY QUOTA, ANNOTATION, GET ANNOTATION | any `NO` | 3.6.1 dies or its batch is stuck: never refused for its content |
//! | APPLY UNMAILBOX, UNUSER | `NONEXISTENT` | is content |
//! | any | `BAD`, `OK` without text, an odd untagged line | the run fails |
//! | any | `BYE` or the end | the run ends, the log stays, it connects again |

use super::dlist::{Literal, Value};

/// The final line of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `OK text`
    Ok(String),
    /// `NO CODE text`
    No(Code, String),
    /// `BAD text`: the client's fault, and an end to its run.
    Bad(String),
    /// `BYE text`: the connection ends; clients take it as a quiet stop (since 3.6).
    Bye(String),
}

/// What a `NO` means to a client (spec: csync 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The user id cannot be.
    InvalidUser,
    /// There is no such mailbox or user: fine when it should go, "everything is new" for a GET.
    MailboxNonexistent,
    /// The sums differ. Two of these lead the client into FULLMAILBOX: do not send it.
    SyncChecksum,
    /// The script is no good.
    SyncBadsieve,
    /// The command is unknown or makes no sense.
    ProtocolError,
    /// A parameter is missing or wrong.
    BadParameters,
    /// The only polite refusal: the client tries again later.
    MailboxLocked,
    /// The mailbox has moved (since 3.6).
    MailboxMoved,
    /// This kind of mailbox cannot be stored (since 3.6).
    MailboxNotsupported,
    /// What the client assumes in SINCE_* is not what we hold (since 3.6).
    SyncChanged,
    /// Not allowed (master).
    PermissionDenied,
    /// No code at all, as in `NO authentication failure`; a run takes it for "remote denied".
    Uncoded,
}

/// Each code with its word on the wire.
const CODES: [(Code, &str); 11] = [
    (Code::InvalidUser, "IMAP_INVALID_USER"),
    (Code::MailboxNonexistent, "IMAP_MAILBOX_NONEXISTENT"),
    (Code::SyncChecksum, "IMAP_SYNC_CHECKSUM"),
    (Code::SyncBadsieve, "IMAP_SYNC_BADSIEVE"),
    (Code::ProtocolError, "IMAP_PROTOCOL_ERROR"),
    (Code::BadParameters, "IMAP_PROTOCOL_BAD_PARAMETERS"),
    (Code::MailboxLocked, "IMAP_MAILBOX_LOCKED"),
    (Code::MailboxMoved, "IMAP_MAILBOX_MOVED"),
    (Code::MailboxNotsupported, "IMAP_MAILBOX_NOTSUPPORTED"),
    (Code::SyncChanged, "IMAP_SYNC_CHANGED"),
    (Code::PermissionDenied, "IMAP_PERMISSION_DENIED"),
];

impl Code {
    /// The word on the wire; `None` for [`Code::Uncoded`].
    pub fn word(self) -> Option<&'static str> {
        CODES
            .iter()
            .find(|(code, _)| *code == self)
            .map(|(_, word)| *word)
    }
}

impl Reply {
    /// Appends the line with its CRLF. Control characters in the text become spaces, and a text
    /// that is empty or blank becomes a dash.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (status, code, text) = match self {
            Reply::Ok(text) => ("OK", None, text),
            Reply::No(code, text) => ("NO", code.word(), text),
            Reply::Bad(text) => ("BAD", None, text),
            Reply::Bye(text) => ("BYE", None, text),
        };
        out.extend_from_slice(status.as_bytes());
        if let Some(word) = code {
            out.push(b' ');
            out.extend_from_slice(word.as_bytes());
        }
        out.push(b' ');
        let text = if text.trim().is_empty() { "-" } else { text };
        out.extend(
            text.bytes()
                .map(|byte| if byte.is_ascii_control() { b' ' } else { byte }),
        );
        out.extend_from_slice(b"\r\n");
    }

    /// Reads a final line, without its line end, as a client does; `None` when it is something
    /// else, a challenge or untagged data for example.
    ///
    /// Unlike C's client this takes a status without text and in any case, because sync_server
    /// itself sends `NO IMAP_PROTOCOL_BAD_PARAMETERS` bare (spec: csync 14, 35).
    pub fn parse(line: &[u8]) -> Option<Reply> {
        let line = String::from_utf8_lossy(line);
        let (status, text) = line.split_once(' ').unwrap_or((&line, ""));
        match status.to_ascii_uppercase().as_str() {
            "OK" => Some(Reply::Ok(text.to_owned())),
            "BAD" => Some(Reply::Bad(text.to_owned())),
            "BYE" => Some(Reply::Bye(text.to_owned())),
            "NO" => {
                let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
                Some(match CODES.iter().find(|(_, known)| *known == word) {
                    Some((code, _)) => Reply::No(*code, rest.to_owned()),
                    None => Reply::No(Code::Uncoded, text.to_owned()),
                })
            }
            _ => None,
        }
    }
}

/// Appends `* NAME value` CRLF, in the form for clients (spec: csync 2.5, 3.1). `NAME` must be one
/// that the command being answered is known to have. A [`Value::File`] as the whole value ends
/// with its header: its octets and a CRLF are the caller's.
pub fn write_untagged(name: &str, value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    value.print(out, Literal::Sync);
    if !matches!(value, Value::File(_)) {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csync::dlist::{FileRef, KvList};
    use crate::types::Guid;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_have_text_on_one_line() {
        assert_eq!(written(&Reply::Ok("Success".into())), "OK Success\r\n");
        assert_eq!(written(&Reply::Ok(String::new())), "OK -\r\n");
        let locked = Reply::No(Code::MailboxLocked, "Mailbox locked".into());
        assert_eq!(
            written(&locked),
            "NO IMAP_MAILBOX_LOCKED Mailbox locked\r\n"
        );
        let forged = Reply::Bad("x\r\nOK y".into());
        assert_eq!(written(&forged), "BAD x  OK y\r\n");
        let plain = Reply::No(Code::Uncoded, "Permission denied".into());
        assert_eq!(written(&plain), "NO Permission denied\r\n");
    }

    #[test]
    fn every_code_is_read_back() {
        for (code, word) in CODES {
            assert_eq!(code.word(), Some(word));
            let reply = Reply::No(code, "some text".into());
            let line = written(&reply);
            assert_eq!(Reply::parse(line.trim_end().as_bytes()), Some(reply));
            let bare = format!("NO {word}");
            assert_eq!(
                Reply::parse(bare.as_bytes()),
                Some(Reply::No(code, String::new()))
            );
        }
        assert_eq!(Reply::parse(b"ok x"), Some(Reply::Ok("x".into())));
        let denied = Reply::No(Code::Uncoded, "Unknown error".into());
        assert_eq!(Reply::parse(b"NO Unknown error"), Some(denied));
        for other in ["* OK x", "+ ", "", "OKAY x"] {
            assert_eq!(Reply::parse(other.as_bytes()), None);
        }
    }

    #[test]
    fn untagged_data_uses_literals_for_clients() {
        let mut out = Vec::new();
        let mut items = KvList::default();
        items.push("ENTRY", Value::string("/comment"));
        items.push("VALUE", Value::string("café"));
        write_untagged("ANNOTATION", &Value::KvList(items), &mut out);
        let wanted = "* ANNOTATION %(ENTRY /comment VALUE {5}\r\ncafé)\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);

        let mut out = Vec::new();
        let file = FileRef {
            partition: b"default".to_vec(),
            guid: Guid::of(b"x"),
            size: 1,
        };
        write_untagged("MESSAGE", &Value::File(file), &mut out);
        let wanted = format!("* MESSAGE %{{default {} 1}}\r\n", Guid::of(b"x"));
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}

//! An entry, one line of a chunk: `<seconds> APPLY <name> <value>` (spec: ondisk 4.2).
//!
//! Commands that C's indexer does not know would make its reindex and compact fail ("Bad
//! protocol"). They are written inside a RESERVE, which C reads, keeps and does not look into:
//! `APPLY RESERVE %(QUOTA %(ROOT …))`. We never write a RESERVE that means one.

use crate::csync::command::{Apply, CommandError, parse_apply};
use crate::csync::dlist::Literal;

/// Commands that C's indexer knows by name and takes in the form in which we write them.
const KNOWN_TO_C: [&str; 11] = [
    "RESERVE",
    "MESSAGE",
    "MAILBOX",
    "UNMAILBOX",
    "RENAME",
    "EXPUNGE",
    "SEEN",
    "SUB",
    "UNSUB",
    "SIEVE",
    "UNSIEVE",
];
const WRAP: &[u8] = b"RESERVE %(";
const HORIZON: &[u8] = b"HORIZON ";

/// What a line of a data file turned out to be.
pub enum Entry<'a> {
    /// A command with the time at which it was written, unix seconds.
    Apply(i64, Apply<'a>),
    /// Compaction has thinned out what was said before this time; with the time of the line.
    Horizon(i64, i64),
    /// Something else: another command word, or text that does not parse. Readers pass over it.
    Other(String),
}

/// What stands before the command of an entry written at `time`.
pub fn prefix(time: i64) -> String {
    format!("{time} APPLY ")
}

/// Prints the command of an entry.
///
/// # Errors
/// That of the first bad record of a MAILBOX.
pub fn print(apply: &Apply<'_>, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let plain = match apply {
        Apply::Mailbox(update) => update.records.is_present(),
        _ => KNOWN_TO_C.contains(&apply.name()),
    };
    if plain {
        return apply.print(out, Literal::Sync);
    }
    out.extend_from_slice(WRAP);
    apply.print(out, Literal::Sync)?;
    out.push(b')');
    Ok(())
}

/// The text of a line that says how far back the history is whole.
pub fn horizon(time: i64, horizon: i64) -> String {
    format!("{time} APPLY RESERVE %(HORIZON {horizon})")
}

/// The time of a line that carries messages.
pub fn message_time(text: &[u8]) -> Option<i64> {
    let (time, rest) = split_time(text)?;
    let name = rest.strip_prefix(b"APPLY ")?.trim_ascii_start();
    let name = name.get(..b"MESSAGE".len())?;
    name.eq_ignore_ascii_case(b"MESSAGE").then_some(time)
}

/// Reads the text of one line.
pub fn parse(text: &[u8]) -> Entry<'_> {
    let Some((time, rest)) = split_time(text) else {
        return Entry::Other("the line does not start with a time".to_owned());
    };
    let Some(command) = rest.strip_prefix(b"APPLY ") else {
        return Entry::Other("the command is not APPLY".to_owned());
    };
    let inner = unwrapped(command);
    if let Some(horizon) = inner.and_then(|inner| inner.strip_prefix(HORIZON)) {
        return match std::str::from_utf8(horizon).unwrap_or_default().parse() {
            Ok(horizon) => Entry::Horizon(time, horizon),
            Err(_) => Entry::Other("the horizon is no time".to_owned()),
        };
    }
    match parse_apply(inner.unwrap_or(command)) {
        Ok(apply) => Entry::Apply(time, apply),
        Err(e) => Entry::Other(e.to_string()),
    }
}

/// The command inside a RESERVE that we wrote; C's own begin with PARTITION.
fn unwrapped(command: &[u8]) -> Option<&[u8]> {
    let inner = command.strip_prefix(WRAP)?.strip_suffix(b")")?;
    let name = &inner[..memchr::memchr(b' ', inner)?];
    let is_key = ["PARTITION", "MBOXNAME", "GUID"]
        .iter()
        .any(|key| key.as_bytes() == name);
    (!is_key).then_some(inner)
}

/// The time of a line and what follows.
pub fn split_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let space = memchr::memchr(b' ', text)?;
    let time = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    Some((time, &text[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_c_does_not_know_travels_inside_a_reserve() {
        let plain = "RESERVE %(PARTITION p MBOXNAME (a) GUID ())";
        for (command, line) in [
            ("SUB %(USERID x MBOXNAME user.x)", None),
            (plain, None),
            (
                "QUOTA %(ROOT user.x LIMIT 5)",
                Some("RESERVE %(QUOTA %(ROOT user.x LIMIT 5))"),
            ),
            ("UNUSER x", Some("RESERVE %(UNUSER x)")),
            (
                "MAILBOX %(UNIQUEID u MBOXNAME user.x MBOXTYPE ei)",
                Some("RESERVE %(MAILBOX %(UNIQUEID u MBOXNAME user.x MBOXTYPE ei))"),
            ),
        ] {
            let apply = parse_apply(command.as_bytes()).unwrap();
            let mut printed = Vec::new();
            print(&apply, &mut printed).unwrap();
            assert_eq!(String::from_utf8_lossy(&printed), line.unwrap_or(command));
            let text = [b"17 APPLY ", &printed[..]].concat();
            assert!(
                matches!(parse(&text), Entry::Apply(17, back) if back == apply),
                "{command}"
            );
        }
        let horizon = horizon(17, -5);
        assert!(matches!(parse(horizon.as_bytes()), Entry::Horizon(17, -5)));
        assert_eq!(message_time(b"17 APPLY Message (%{p"), Some(17));
        assert_eq!(message_time(b"17 APPLY MESS"), None);
        assert!(matches!(parse(b"x APPLY SUB y"), Entry::Other(_)));
        assert!(matches!(parse(b"5 FROB SUB y"), Entry::Other(_)));
        assert!(matches!(parse(b"5 APPLY RESERVE %(QUOTA"), Entry::Other(_)));
    }
}

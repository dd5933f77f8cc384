//! An entry, one line of a chunk: `<seconds> APPLY <name> <value>` (spec: ondisk 4.2).

use crate::csync::command::{Apply, parse_apply};

/// What a line of a data file turned out to be.
pub enum Entry<'a> {
    /// A command with the time at which it was written, unix seconds.
    Apply(i64, Apply<'a>),
    /// Something else: another command word, or text that does not parse. Readers pass over it.
    Other(String),
}

/// What stands before the command of an entry written at `time`.
pub fn prefix(time: i64) -> String {
    format!("{time} APPLY ")
}

/// Reads the text of one line.
pub fn parse(text: &[u8]) -> Entry<'_> {
    let Some((time, rest)) = split_time(text) else {
        return Entry::Other("the line does not start with a time".to_owned());
    };
    let Some(command) = rest.strip_prefix(b"APPLY ") else {
        return Entry::Other("the command is not APPLY".to_owned());
    };
    match parse_apply(command) {
        Ok(apply) => Entry::Apply(time, apply),
        Err(e) => Entry::Other(e.to_string()),
    }
}

/// The time of a line and what follows.
pub fn split_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let space = memchr::memchr(b' ', text)?;
    let time = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    Some((time, &text[space + 1..]))
}

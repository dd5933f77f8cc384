//! Answers: untagged values, then one final line (spec: csync 3.1).

use super::ClientError;
use crate::csync::dlist::{KvList, Parser, Value};

/// What a command that was answered `OK` brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The `* NAME value` lines in their order.
    pub untagged: Vec<Untagged>,
}

/// One `* NAME value` line.
#[derive(Clone, Debug, PartialEq)]
pub struct Untagged {
    /// `MAILBOX`, `MISSING`, …
    pub name: String,
    /// What stands behind it.
    pub value: Value,
}

impl Answer {
    /// The key-value lists of every line of this name.
    pub fn kvlists<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a KvList> {
        self.named(name).filter_map(Value::as_kvlist)
    }

    /// The values of every line of this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.untagged
            .iter()
            .filter(move |line| line.name == name)
            .map(|line| &line.value)
    }
}

impl Untagged {
    /// Reads the text after `* `.
    pub(super) fn parse(text: &[u8]) -> Result<Untagged, ClientError> {
        let mut parser = Parser::new(text);
        let name = parser.key().map_err(ClientError::dlist(text))?.into_owned();
        let value = parser.value().map_err(ClientError::dlist(text))?;
        parser.finish().map_err(ClientError::dlist(text))?;
        Ok(Untagged { name, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_name() {
        let lines: [&[u8]; 3] = [
            b"MAILBOX %(MBOXNAME user.anne)",
            b"MISSING (aa bb)",
            b"MAILBOX %(MBOXNAME user.anne.Sent)",
        ];
        let untagged = lines.map(|line| Untagged::parse(line).unwrap()).to_vec();
        let answer = Answer { untagged };
        let names: Vec<_> = answer
            .kvlists("MAILBOX")
            .map(|mailbox| mailbox.get_str("MBOXNAME").unwrap())
            .collect();
        assert_eq!(names, ["user.anne", "user.anne.Sent"]);
        assert_eq!(
            answer
                .named("MISSING")
                .next()
                .and_then(Value::as_list)
                .map(<[Value]>::len),
            Some(2)
        );
    }

    #[test]
    fn a_line_without_a_value_is_refused() {
        assert!(Untagged::parse(b"MAILBOX").is_err());
    }
}

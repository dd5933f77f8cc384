//! The time before login: short lines, no literals, no files, and the AUTHENTICATE exchange
//! (spec: csync 1.3). A stranger costs a few kilobytes and cannot make us keep what they send.

use super::auth::{Authenticator, Authority, Identity, Progress, Shield};
use crate::csync::base64;

/// The longest line a stranger may send; a SCRAM message has some 200 octets.
const LINE_LIMIT: usize = 8 << 10;

/// Cuts bytes into short lines.
#[derive(Default)]
pub(crate) struct ShortLines {
    line: Vec<u8>,
    too_long: bool,
}

/// A line of a stranger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ShortLine {
    /// Without its line end.
    Text(Vec<u8>),
    /// Longer than allowed; this is how it began.
    TooLong(Vec<u8>),
}

impl ShortLines {
    /// Takes the next line off `input`; `None` when it has not ended yet (all of `input` is used then).
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<ShortLine> {
        let end = memchr::memchr(b'\n', input);
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        let room = (LINE_LIMIT - self.line.len()).min(part.len());
        self.line.extend_from_slice(&part[..room]);
        self.too_long |= room < part.len();
        *input = rest;
        end?;
        *input = &rest[1..];
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return Some(ShortLine::TooLong(line));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(ShortLine::Text(line))
    }
}

/// An AUTHENTICATE exchange that waits for the client's next line.
pub(crate) struct Exchange {
    mechanism: String,
    authenticator: Box<dyn Authenticator>,
}

/// What came of AUTHENTICATE, or of a line that belongs to it.
pub(crate) enum Answer {
    /// Send this challenge line and hand the next line to the exchange.
    Challenge(String, Exchange),
    /// The password was right.
    Done {
        mechanism: String,
        identity: Identity,
    },
    /// `NO reply`, after the pause for failed logins.
    Failed {
        mechanism: String,
        reply: String,
        detail: String,
    },
    /// The client sent `*`.
    Cancelled,
}

const BAD_PROTOCOL: &str = "bad protocol / cancel";

/// To see what would be offered under TLS.
const ENCRYPTED: Shield = Shield {
    strength: 256,
    certificate: None,
};

impl Exchange {
    /// Begins: `AUTHENTICATE mechanism [initial]`.
    pub(crate) fn begin(
        authority: Option<&dyn Authority>,
        shield: &Shield,
        mechanism: String,
        initial: Option<&str>,
    ) -> Answer {
        let failed = |mechanism: String, reply: &str, detail: String| {
            let reply = reply.to_owned();
            Answer::Failed {
                mechanism,
                reply,
                detail,
            }
        };
        let offers = |shield: &Shield| {
            authority.filter(|authority| authority.mechanisms(shield).contains(&mechanism))
        };
        let Some(authority) = offers(shield) else {
            let text = match offers(&ENCRYPTED) {
                Some(_) => "encryption needed to use mechanism",
                None => "no mechanism available",
            };
            return failed(mechanism, text, "mechanism not offered".to_owned());
        };
        let initial = match initial {
            None => None,
            Some("=") => Some(Vec::new()),
            Some(coded) => match base64::decode(coded.as_bytes()) {
                Some(octets) => Some(octets),
                None => return failed(mechanism, BAD_PROTOCOL, "invalid base64".to_owned()),
            },
        };
        match authority.begin(shield) {
            Ok(mut authenticator) => {
                let progress = authenticator.start(&mechanism, initial.as_deref());
                Exchange {
                    mechanism,
                    authenticator,
                }
                .answer(progress)
            }
            Err(detail) => failed(mechanism, "generic failure", detail),
        }
    }

    /// The client's next line.
    pub(crate) fn line(mut self, line: &ShortLine) -> Answer {
        let octets = match line {
            ShortLine::Text(text) if text == b"*" => return Answer::Cancelled,
            ShortLine::Text(text) => base64::decode(text),
            ShortLine::TooLong(_) => None,
        };
        let progress = match octets {
            Some(octets) => self.authenticator.step(&octets),
            None => Progress::Failed {
                reply: BAD_PROTOCOL.to_owned(),
                detail: "invalid base64".to_owned(),
            },
        };
        self.answer(progress)
    }

    fn answer(self, progress: Progress) -> Answer {
        let mechanism = self.mechanism.clone();
        match progress {
            Progress::Challenge(octets) => {
                Answer::Challenge(format!("+ {}\r\n", base64::encode(&octets)), self)
            }
            Progress::Done(identity) => Answer::Done {
                mechanism,
                identity,
            },
            Progress::Failed { reply, detail } => Answer::Failed {
                mechanism,
                reply,
                detail,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_split_and_length() {
        let long = "x".repeat(LINE_LIMIT + 1);
        let full = "y".repeat(LINE_LIMIT - 1);
        let stream = format!("NOOP\r\n\nbare\n{long}\r\n{full}\r\nEXIT\r\nrest");
        for size in [1, 2, 3, 1000, stream.len()] {
            let mut lines = ShortLines::default();
            let mut seen = Vec::new();
            for mut part in stream.as_bytes().chunks(size) {
                while let Some(line) = lines.next(&mut part) {
                    seen.push(line);
                }
                assert!(part.is_empty());
            }
            let text = |text: &str| ShortLine::Text(text.as_bytes().to_vec());
            let head = ShortLine::TooLong(long.as_bytes()[..LINE_LIMIT].to_vec());
            assert_eq!(
                seen,
                [
                    text("NOOP"),
                    text(""),
                    text("bare"),
                    head,
                    text(&full),
                    text("EXIT")
                ],
                "{size}"
            );
            assert_eq!(lines.line, b"rest");
        }
    }
}

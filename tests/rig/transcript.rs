//! What passed through the proxy, cut into commands and their answers.
//!
//! The cutting is on purpose not the library's: lines end at CRLF, except that `{n}`, `{n+}` and
//! `%{partition guid n}` at the end of a line are followed by n octets (W 2.1).

use std::collections::BTreeSet;

/// One command and the answer to it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The command line; octets of files are left out, literals are in it.
    pub command: Vec<u8>,
    /// The answer's lines; empty when the connection ended first.
    pub answer: Vec<Vec<u8>>,
}

/// A message of which an `OK` was seen.
pub type Acknowledged = (
    String, /* mailbox */
    u32,    /* uid */
    String, /* guid */
);

/// The exchanges of one connection, in order.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    pub exchanges: Vec<Exchange>,
}

impl Transcript {
    /// Pairs the client's commands with the server's final answers: csync never pipelines (W 1.1).
    pub fn parse(client: &[u8], server: &[u8]) -> Transcript {
        // The banner ends as an answer does, with `* OK`.
        let lines = lines(server);
        let banner = lines.iter().position(|line| line.starts_with(b"* OK"));
        let answers = lines.into_iter().skip(banner.map_or(0, |at| at + 1));
        Transcript::pair(client, answers)
    }

    /// The same of a piece of a connection without its banner.
    pub fn of_commands(client: &[u8], server: &[u8]) -> Transcript {
        Transcript::pair(client, lines(server).into_iter())
    }

    fn pair(client: &[u8], mut answers: impl Iterator<Item = Vec<u8>>) -> Transcript {
        let exchanges = lines(client).into_iter().map(|command| {
            let mut answer = Vec::new();
            for line in answers.by_ref() {
                let goes_on = line.starts_with(b"* ");
                answer.push(line);
                if !goes_on {
                    break;
                }
            }
            Exchange { command, answer }
        });
        Transcript {
            exchanges: exchanges.collect(),
        }
    }

    /// The commands that begin with `prefix`.
    pub fn commands(&self, prefix: &str) -> Vec<String> {
        let wanted = self
            .exchanges
            .iter()
            .filter(|exchange| exchange.command.starts_with(prefix.as_bytes()));
        wanted
            .map(|exchange| String::from_utf8_lossy(&exchange.command).into_owned())
            .collect()
    }

    /// Every record of an `APPLY MAILBOX` that was answered `OK`, expunged ones left out.
    pub fn acknowledged(&self) -> BTreeSet<Acknowledged> {
        let ok = self.exchanges.iter().filter(|exchange| exchange.is_ok());
        ok.filter(|exchange| exchange.command.starts_with(b"APPLY MAILBOX "))
            .flat_map(|exchange| records(&String::from_utf8_lossy(&exchange.command)))
            .collect()
    }
}

impl Exchange {
    pub fn is_ok(&self) -> bool {
        self.answer
            .last()
            .is_some_and(|line| line.starts_with(b"OK "))
    }

    /// A refusal, or the connection ended before the answer; a SASL challenge is neither.
    pub fn is_refused(&self) -> bool {
        !self
            .answer
            .last()
            .is_some_and(|line| line.starts_with(b"OK ") || line.starts_with(b"+ "))
    }
}

/// Mailbox, UID and GUID of each live record in an `APPLY MAILBOX` line.
fn records(line: &str) -> Vec<Acknowledged> {
    let mailbox = word_after(line, " MBOXNAME ").expect("a mailbox name");
    let Some((_, list)) = line.split_once(" RECORD (") else {
        return Vec::new();
    };
    let each = list
        .split("%(UID ")
        .skip(1)
        .filter(|record| !record.contains("\\Expunged"));
    each.map(|record| {
        let uid = record
            .split(' ')
            .next()
            .and_then(|uid| uid.parse().ok())
            .expect("a UID");
        (
            mailbox.clone(),
            uid,
            word_after(record, " GUID ").expect("a GUID"),
        )
    })
    .collect()
}

fn word_after(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(key)?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().map(str::to_owned),
        None => rest.split([' ', ')']).next().map(str::to_owned),
    }
}

/// Whole lines, with literals, without the octets of files; a torn last line is dropped.
fn lines(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    while let Some(end) = stream.windows(2).position(|two| two == b"\r\n") {
        line.extend_from_slice(&stream[..end]);
        let piece = &stream[..end];
        stream = &stream[end + 2..];
        match counted(piece) {
            None => lines.push(std::mem::take(&mut line)),
            Some((size, _)) if size > stream.len() => break,
            Some((size, is_file)) => {
                if !is_file {
                    line.extend_from_slice(&stream[..size]);
                }
                stream = &stream[size..];
            }
        }
    }
    lines
}

/// Octets announced at the end of a piece of line, and whether they are a file's.
fn counted(piece: &[u8]) -> Option<(usize, bool)> {
    let inner = piece.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|&byte| byte == b'{')?;
    let is_file = open > 0 && inner[open - 1] == b'%';
    let number = std::str::from_utf8(&inner[open + 1..])
        .ok()?
        .rsplit(' ')
        .next()?
        .trim_end_matches('+');
    Some((number.parse().ok()?, is_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_cut_into_exchanges() {
        let client = b"GET USER anne\r\nAPPLY MESSAGE (%{default aa 4}\r\n\r\n\r\n %{default bb 1}\r\nx)\r\n\
            APPLY MAILBOX %(UNIQUEID u MBOXNAME user.anne ACL {3+}\r\na\r\n RECORD (%(UID 7 FLAGS () GUID aa)))\r\nEXIT";
        let server =
            b"* SASL PLAIN\r\n* OK hi\r\n* MAILBOX %(X {2}\r\n\r\n)\r\nOK a\r\nOK b\r\nOK c\r\n";
        let transcript = Transcript::parse(client, server);
        assert_eq!(transcript.exchanges.len(), 3);
        assert_eq!(transcript.exchanges[0].answer.len(), 2);
        assert_eq!(
            transcript.exchanges[1].command,
            b"APPLY MESSAGE (%{default aa 4} %{default bb 1})"
        );
        let wanted = ("user.anne".to_owned(), 7, "aa".to_owned());
        assert_eq!(
            transcript.acknowledged().into_iter().collect::<Vec<_>>(),
            [wanted]
        );
    }
}

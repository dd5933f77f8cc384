//! A raw csync connection: sends whatever a test makes up and shows what comes back.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::source::PASSWORD;

/// One connection, its banner read.
pub struct Csync {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

/// How the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All lines, the final one last, lossily as text.
    Lines(Vec<String>),
    /// The connection ended, perhaps after a last word.
    Closed(Vec<String>),
    /// Nothing within the time limit.
    Silence,
}

impl Csync {
    pub fn connect(port: u16) -> Csync {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a csync server");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a read timeout");
        stream
            .set_write_timeout(Some(Duration::from_secs(60)))
            .expect("a write timeout");
        let writer = stream.try_clone().expect("a second handle");
        let mut csync = Csync {
            reader: BufReader::new(stream),
            writer,
        };
        loop {
            let line = csync.line().expect("a banner");
            assert!(!line.is_empty(), "hung up on before the banner");
            if line.starts_with("* OK") {
                return csync;
            }
        }
    }

    /// What the server says to one whom it does not take.
    pub fn connect_refused(port: u16) -> String {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a csync server");
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).expect("a read timeout");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("a line");
        line
    }

    /// From now on an answer may take so long.
    pub fn patience(&self, limit: Duration) {
        let stream = self.reader.get_ref();
        stream
            .set_read_timeout(Some(limit))
            .expect("a read timeout");
    }

    /// Connected, and logged in as the channel's user.
    pub fn login(port: u16) -> Csync {
        let mut csync = Csync::connect(port);
        let answer = csync.authenticate("repl", PASSWORD);
        assert!(answer.is_ok(), "login: {answer:?}");
        csync
    }

    pub fn authenticate(&mut self, user: &str, password: &str) -> Answer {
        let token = super::sieve::base64(format!("\0{user}\0{password}").as_bytes());
        self.command(format!("AUTHENTICATE PLAIN {token}"))
    }

    /// Sends a line and reads its answer.
    pub fn command(&mut self, line: impl AsRef<[u8]>) -> Answer {
        // In one piece: a second one would wait for the acknowledgement of the first. If the server closed, it
        // may have said why.
        let _ = self.send(&[line.as_ref(), b"\r\n"].concat());
        self.answer()
    }

    /// Sends octets as they are; an error means that the server closed.
    pub fn send(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(octets)
    }

    pub fn answer(&mut self) -> Answer {
        let mut lines = Vec::new();
        loop {
            match self.line() {
                Ok(line) if line.is_empty() => return Answer::Closed(lines),
                Ok(line) => {
                    let goes_on = line.starts_with("* ");
                    lines.push(line.trim_end().to_owned());
                    if !goes_on {
                        return Answer::Lines(lines);
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Answer::Silence;
                }
                Err(_) => return Answer::Closed(lines),
            }
        }
    }

    /// A line, with the literals of an untagged one.
    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        loop {
            self.reader.read_until(b'\n', &mut line)?;
            let Some(size) = literal(&line).filter(|_| line.starts_with(b"* ")) else {
                return Ok(String::from_utf8_lossy(&line).into_owned());
            };
            let start = line.len();
            line.resize(start + size, 0);
            self.reader.read_exact(&mut line[start..])?;
        }
    }
}

/// Octets announced at the end of a piece of line.
fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}\r\n")?;
    let open = inner.iter().rposition(|&octet| octet == b'{')?;
    std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.last().starts_with("OK ")
    }

    /// A `NO` or `BAD` with words after it, or a `BYE`.
    pub fn is_clear_refusal(&self) -> bool {
        let said = |word: &str| {
            self.last()
                .strip_prefix(word)
                .is_some_and(|text| !text.trim().is_empty())
        };
        said("NO ") || said("BAD ") || said("BYE ") || self.last().starts_with("* BYE")
    }

    pub fn last(&self) -> &str {
        match self {
            Answer::Lines(lines) | Answer::Closed(lines) => lines.last().map_or("", String::as_str),
            Answer::Silence => "",
        }
    }
}

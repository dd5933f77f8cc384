//! One connection to a csync server.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Answer, ClientError, Untagged};
use crate::csync::fragment::{Fragment, Fragmenter, Limits};
use crate::types::Guid;

type Result<T> = std::result::Result<T, ClientError>;

/// How long a server may take for one answer: as long as C's client waits (spec: csync 1.1).
const PATIENCE: Duration = Duration::from_secs(1800);

/// A token of an answer; annotations and ACLs have no limit of their own.
const LONGEST_TOKEN: usize = 16 << 20;

/// A connection whose banner has been read. There is no pipelining in csync: each call waits for its answer.
pub struct Client {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: BufWriter<Box<dyn Write + Send>>,
    fragmenter: Fragmenter,
    capabilities: Vec<String>,
}

/// One message to send.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The partition that it is announced for.
    pub partition: &'a str,
    /// SHA-1 of `octets`.
    pub guid: Guid,
    /// The whole message.
    pub octets: &'a [u8],
}

impl Client {
    /// Connects to `HOST:PORT`, or to a unix socket when the address has a `/`, and reads the banner.
    ///
    /// # Errors
    /// Nobody listens there, or it is no csync server.
    pub fn connect(address: &str) -> Result<Client> {
        let failed = format!("connecting to {address}");
        if address.contains('/') {
            let socket = UnixStream::connect(address).map_err(ClientError::io(&failed))?;
            socket
                .set_read_timeout(Some(PATIENCE))
                .map_err(ClientError::io(&failed))?;
            let writer = socket.try_clone().map_err(ClientError::io(&failed))?;
            return Client::start(Box::new(socket), Box::new(writer));
        }
        let socket = TcpStream::connect(address).map_err(ClientError::io(&failed))?;
        socket
            .set_read_timeout(Some(PATIENCE))
            .map_err(ClientError::io(&failed))?;
        socket.set_nodelay(true).map_err(ClientError::io(&failed))?;
        let writer = socket.try_clone().map_err(ClientError::io(&failed))?;
        Client::start(Box::new(socket), Box::new(writer))
    }

    /// Starts on any pair of streams.
    ///
    /// # Errors
    /// The banner does not come or is none.
    pub fn start(reader: Box<dyn Read + Send>, writer: Box<dyn Write + Send>) -> Result<Client> {
        let limits = Limits {
            token: LONGEST_TOKEN,
            ..Limits::default()
        };
        let mut client = Client {
            reader: BufReader::with_capacity(1 << 16, reader),
            writer: BufWriter::with_capacity(1 << 16, writer),
            fragmenter: Fragmenter::new(limits),
            capabilities: Vec::new(),
        };
        client.read_banner()?;
        Ok(client)
    }

    /// Logs in with PLAIN.
    ///
    /// # Errors
    /// PLAIN is not offered, or the server says no.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        let offered = self
            .capabilities
            .iter()
            .find_map(|line| line.strip_prefix("SASL "))
            .unwrap_or("");
        if !offered
            .split(' ')
            .any(|mechanism| mechanism.eq_ignore_ascii_case("PLAIN"))
        {
            return Err(ClientError::NoMechanism {
                offered: offered.to_owned(),
            });
        }
        let response = base64(format!("\0{user}\0{password}").as_bytes());
        self.send(format!("AUTHENTICATE PLAIN {response}\r\n").as_bytes())?;
        self.answer("AUTHENTICATE PLAIN").map(drop)
    }

    /// Whether the server wants a login: on a unix socket it offers no mechanism.
    pub fn wants_login(&self) -> bool {
        self.capabilities
            .iter()
            .any(|line| line.starts_with("SASL "))
    }

    /// Sends a command without its line end and waits for the answer.
    ///
    /// # Errors
    /// Any answer but `OK`, or a broken connection.
    pub fn command(&mut self, line: &[u8]) -> Result<Answer> {
        self.send(line)?;
        self.send(b"\r\n")?;
        self.answer(&first_words(line))
    }

    /// Sends messages in one `APPLY MESSAGE`, at most 1024 as all clients do (spec: csync 5.2).
    ///
    /// # Errors
    /// As [`Client::command`].
    pub fn send_messages(&mut self, messages: &[Message<'_>]) -> Result<()> {
        self.send(b"APPLY MESSAGE (")?;
        for (
            place,
            Message {
                partition,
                guid,
                octets,
            },
        ) in messages.iter().enumerate()
        {
            let space = if place == 0 { "" } else { " " };
            self.send(format!("{space}%{{{partition} {guid} {}}}\r\n", octets.len()).as_bytes())?;
            self.send(octets)?;
        }
        self.send(b")\r\n")?;
        self.answer("APPLY MESSAGE").map(drop)
    }

    /// Ends the session in order.
    ///
    /// # Errors
    /// As [`Client::command`].
    pub fn exit(mut self) -> Result<()> {
        self.command(b"EXIT").map(drop)
    }

    fn read_banner(&mut self) -> Result<()> {
        loop {
            let line = self.line("the banner")?;
            let text = String::from_utf8_lossy(&line);
            match text.strip_prefix("* ") {
                Some(text)
                    if text
                        .get(..2)
                        .is_some_and(|word| word.eq_ignore_ascii_case("OK")) =>
                {
                    return Ok(());
                }
                Some(capability) => self.capabilities.push(capability.to_owned()),
                None => {
                    return Err(ClientError::malformed(
                        &line,
                        "a banner has only `* ` lines",
                    ));
                }
            }
        }
    }

    fn answer(&mut self, command: &str) -> Result<Answer> {
        self.writer.flush().map_err(ClientError::io(command))?;
        let mut answer = Answer::default();
        loop {
            let line = self.line(command)?;
            if let Some(text) = line.strip_prefix(b"* ") {
                answer.untagged.push(Untagged::parse(text)?);
            } else if line.starts_with(b"OK ") {
                return Ok(answer);
            } else {
                let (command, answer) = (
                    command.to_owned(),
                    String::from_utf8_lossy(&line).into_owned(),
                );
                return Err(ClientError::Refused { command, answer });
            }
        }
    }

    fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.writer
            .write_all(octets)
            .map_err(ClientError::io("sending"))
    }

    /// One line with its literals, without its end.
    fn line(&mut self, doing: &str) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let buffer = self.reader.fill_buf().map_err(ClientError::io(doing))?;
            if buffer.is_empty() {
                return Err(ClientError::Closed {
                    doing: doing.to_owned(),
                });
            }
            let mut rest = buffer;
            let mut whole = false;
            while let Some(fragment) = self.fragmenter.next(&mut rest)? {
                match fragment {
                    Fragment::Text(text) => line.extend_from_slice(text),
                    Fragment::EndOfLine => {
                        whole = true;
                        break;
                    }
                    _ => return Err(ClientError::malformed(&line, "it carries a file")),
                }
            }
            let used = buffer.len() - rest.len();
            self.reader.consume(used);
            if whole {
                return Ok(line);
            }
        }
    }
}

fn first_words(line: &[u8]) -> String {
    let words = line
        .split(|&byte| byte == b' ')
        .take(2)
        .map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ")
}

/// RFC 4648, 4.
fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= group.len() {
                char::from(ALPHABET[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sent(Arc<Mutex<Vec<u8>>>);

    impl Write for Sent {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn talk(server: &'static [u8]) -> (Result<Client>, Sent) {
        let sent = Sent::default();
        (
            Client::start(Box::new(server), Box::new(sent.clone())),
            sent,
        )
    }

    #[test]
    fn a_session() {
        let (client, sent) = talk(
            b"* SASL PLAIN SCRAM-SHA-1\r\n* OK host\r\nOK in\r\n* MAILBOX %(ACL {4}\r\na\r\n))\r\nOK done\r\nOK got it\r\n\
              OK bye\r\n",
        );
        let mut client = client.unwrap();
        assert!(client.wants_login());
        client.login("repl", "secret").unwrap();
        let answer = client.command(b"GET USER anne").unwrap();
        assert_eq!(
            answer.kvlists("MAILBOX").next().unwrap().get_str("ACL"),
            Some("a\r\n)")
        );
        let octets = b"hello";
        client
            .send_messages(&[Message {
                partition: "default",
                guid: Guid::of(octets),
                octets,
            }])
            .unwrap();
        client.exit().unwrap();
        let sent = String::from_utf8(sent.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            sent,
            "AUTHENTICATE PLAIN AHJlcGwAc2VjcmV0\r\nGET USER anne\r\nAPPLY MESSAGE (%{default \
             aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d 5}\r\nhello)\r\nEXIT\r\n"
        );
    }

    #[test]
    fn a_refusal_names_command_and_answer() {
        let (client, _) = talk(b"* OK host\r\nNO IMAP_MAILBOX_LOCKED Mailbox is locked\r\n");
        let error = client
            .unwrap()
            .command(b"GET USER anne")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "GET USER: the server answers \"NO IMAP_MAILBOX_LOCKED Mailbox is locked\""
        );
    }

    #[test]
    fn a_closed_connection_is_told() {
        let (client, _) = talk(b"* OK host\r\n* MAILBOX %(A");
        assert!(matches!(
            client.unwrap().command(b"GET USER anne"),
            Err(ClientError::Closed { .. })
        ));
    }

    #[test]
    fn imap_is_no_csync() {
        let (client, _) = talk(b"220 smtp\r\n");
        assert!(matches!(client, Err(ClientError::Malformed { .. })));
    }
}

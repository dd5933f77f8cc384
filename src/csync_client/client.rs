//! One connection to a server that speaks csync.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::channel::{Channel, Duplex};
use super::dialect::Dialect;
use super::{Answer, ClientError, Untagged};
use crate::csync::fragment::{Fragment, Fragmenter, Limits};
use crate::types::Guid;

pub(super) type Result<T> = std::result::Result<T, ClientError>;

/// How long a server may take for one answer: as long as C's client waits (spec: csync 1.1).
const PATIENCE: Duration = Duration::from_secs(1800);

/// A token of an answer; annotations and ACLs have no limit of their own.
const LONGEST_TOKEN: usize = 16 << 20;
/// A line of an answer: the records of a mailbox of some million messages.
const LONGEST_LINE: usize = 1 << 30;
/// A line of a banner, as C reads it.
const LONGEST_BANNER: usize = 8 << 10;

/// A connection whose banner has been read. There is no pipelining in csync: each call waits for its answer.
pub struct Client {
    pub(super) channel: Channel,
    pub(super) dialect: Dialect,
    pub(super) capabilities: Vec<String>,
    fragmenter: Fragmenter,
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
        let failed = || ClientError::io(&format!("connecting to {address}"));
        if address.contains('/') {
            let socket = UnixStream::connect(address).map_err(failed())?;
            socket.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
            return Client::greeted(Channel::new(Box::new(socket)));
        }
        let socket = TcpStream::connect(address).map_err(failed())?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
        socket.set_nodelay(true).map_err(failed())?;
        Client::greeted(Channel::new(Box::new(socket)))
    }

    /// Starts on any pair of streams.
    ///
    /// # Errors
    /// The banner does not come or is none.
    pub fn start(reader: Box<dyn Read + Send>, writer: Box<dyn Write + Send>) -> Result<Client> {
        Client::greeted(Channel::new(Box::new(Duplex(reader, writer))))
    }

    /// Logs in with PLAIN.
    ///
    /// # Errors
    /// PLAIN is not offered, or the server says no.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        let offered = self.mechanisms();
        if !offered
            .iter()
            .any(|mechanism| mechanism.eq_ignore_ascii_case("PLAIN"))
        {
            return Err(ClientError::NoMechanism {
                offered: offered.join(" "),
            });
        }
        let response = crate::csync::base64::encode(format!("\0{user}\0{password}").as_bytes());
        self.send(format!("AUTHENTICATE PLAIN {response}\r\n").as_bytes())?;
        self.answer("AUTHENTICATE PLAIN").map(drop)
    }

    /// Whether the server wants a login: on a unix socket it offers no mechanism.
    pub fn wants_login(&self) -> bool {
        !self.mechanisms().is_empty()
    }

    /// Whether the server said that it can do this (`SIEVE-MAILBOX`, …).
    pub fn has_capability(&self, name: &str) -> bool {
        let imap = format!("X-{name}");
        self.capabilities
            .iter()
            .any(|line| line == name || *line == imap)
    }

    /// Sends a command without its line end and waits for the answer.
    ///
    /// # Errors
    /// Any answer but `OK`, or a broken connection.
    pub fn command(&mut self, line: &[u8]) -> Result<Answer> {
        self.send_line(line)?;
        self.answer(&first_words(line))
    }

    /// As [`Client::command`], giving the text of each `* ` line as it comes: some are too long for a tree.
    ///
    /// # Errors
    /// As [`Client::command`], and what `each` says.
    pub fn command_lines(
        &mut self,
        line: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.send_line(line)?;
        self.answer_lines(&first_words(line), &mut each)
    }

    /// Sends messages in one `APPLY MESSAGE`, at most 1024 as all clients do (spec: csync 5.2).
    ///
    /// # Errors
    /// As [`Client::command`].
    pub fn send_messages(&mut self, messages: &[Message<'_>]) -> Result<()> {
        self.begin_messages()?;
        for (place, message) in messages.iter().enumerate() {
            self.send_message(place == 0, message)?;
        }
        self.finish_messages()
    }

    /// Begins an `APPLY MESSAGE`; [`Client::send_message`] and [`Client::finish_messages`] go on.
    ///
    /// # Errors
    /// The connection broke.
    pub fn begin_messages(&mut self) -> Result<()> {
        let start = self.dialect.command(b"APPLY MESSAGE (");
        self.send(&start)
    }

    /// One message of the command that was begun.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send_message(&mut self, is_first: bool, message: &Message<'_>) -> Result<()> {
        let Message {
            partition,
            guid,
            octets,
        } = message;
        let space = if is_first { "" } else { " " };
        self.send(format!("{space}%{{{partition} {guid} {}}}\r\n", octets.len()).as_bytes())?;
        self.send(octets)
    }

    /// Ends the command that was begun, and waits for its answer.
    ///
    /// # Errors
    /// As [`Client::command`].
    pub fn finish_messages(&mut self) -> Result<()> {
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

    fn send_line(&mut self, line: &[u8]) -> Result<()> {
        let line = self.dialect.command(line);
        self.send(&line)?;
        self.send(b"\r\n")
    }

    pub(super) fn over(channel: Channel, dialect: Dialect) -> Client {
        let limits = Limits {
            token: LONGEST_TOKEN,
            ..Limits::default()
        };
        Client {
            channel,
            dialect,
            capabilities: Vec::new(),
            fragmenter: Fragmenter::new(limits),
        }
    }

    fn answer(&mut self, command: &str) -> Result<Answer> {
        let mut answer = Answer::default();
        self.answer_lines(command, &mut |text| {
            answer.untagged.push(Untagged::parse(text)?);
            Ok(())
        })?;
        Ok(answer)
    }

    fn answer_lines(
        &mut self,
        command: &str,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.flush(command)?;
        loop {
            let line = self.line(command)?;
            match self.dialect.finish(&line) {
                Some(end) if end.starts_with(b"OK ") => return Ok(()),
                Some(end) => {
                    return Err(ClientError::Refused {
                        command: command.to_owned(),
                        answer: String::from_utf8_lossy(end).into_owned(),
                    });
                }
                None => {
                    let text = line.get(2..).unwrap_or_default();
                    if text.starts_with(b"Fatal error: ")
                        || text.starts_with(b"BYE ") && !self.dialect.is_remark(text)
                    {
                        return Err(closed(command, &line));
                    }
                    if !self.dialect.is_remark(text) {
                        each(text)?;
                    }
                }
            }
        }
    }

    /// Sends. When the server has hung up, what it said before that is the reason.
    pub(super) fn send(&mut self, octets: &[u8]) -> Result<()> {
        match self.channel.write(octets) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.hung_up("sending", error)),
        }
    }

    pub(super) fn flush(&mut self, doing: &str) -> Result<()> {
        match self.channel.flush() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.hung_up(doing, error)),
        }
    }

    fn hung_up(&mut self, doing: &str, error: std::io::Error) -> ClientError {
        match self.plain_line(doing) {
            Ok(line) if !line.is_empty() => closed(doing, &line),
            _ => ClientError::io(doing)(error),
        }
    }

    /// One line with its literals, without its end.
    fn line(&mut self, doing: &str) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let buffer = self.channel.fill().map_err(ClientError::io(doing))?;
            if buffer.is_empty() {
                return Err(closed(doing, &line));
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
            self.channel.consume(used);
            if whole {
                return Ok(line);
            }
            if line.len() > LONGEST_LINE {
                return Err(ClientError::malformed(&line, "it does not end"));
            }
        }
    }

    /// One line of a banner or login, which is no dlist: braces and quotes mean nothing in it.
    pub(super) fn plain_line(&mut self, doing: &str) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let buffer = self.channel.fill().map_err(ClientError::io(doing))?;
            if buffer.is_empty() {
                return Err(closed(doing, &line));
            }
            let end = memchr::memchr(b'\n', buffer);
            let taken = end.map_or(buffer.len(), |end| end + 1);
            line.extend_from_slice(&buffer[..taken]);
            self.channel.consume(taken);
            if line.len() > LONGEST_BANNER {
                return Err(ClientError::malformed(&line, "it is too long"));
            }
            if end.is_some() {
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return Ok(line);
            }
        }
    }
}

fn closed(doing: &str, said: &[u8]) -> ClientError {
    let said = String::from_utf8_lossy(&said[..said.len().min(300)]).into_owned();
    ClientError::Closed {
        doing: doing.to_owned(),
        last_words: match said.trim_start_matches("* ").trim() {
            "" => String::new(),
            said => format!(": {said}"),
        },
    }
}

fn first_words(line: &[u8]) -> String {
    let words = line
        .split(|&byte| byte == b' ')
        .take(2)
        .map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ")
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
    fn an_imapd_is_known_by_its_greeting() {
        let (client, sent) = talk(
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN X-SIEVE-MAILBOX] host \"Cyrus {9}\r\n\
              * OK [ALERT] hi\r\nS1 OK success\r\n* BYE LOGOUT received\r\nS2 OK bye\r\n",
        );
        let mut client = client.unwrap();
        assert!(client.wants_login() && client.has_capability("SIEVE-MAILBOX"));
        client.command(b"GET USER anne").unwrap();
        client.exit().unwrap();
        let sent = String::from_utf8(sent.0.lock().unwrap().clone()).unwrap();
        assert_eq!(sent, "S1 SYNCGET USER anne\r\nS2 LOGOUT\r\n");
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
        for (server, last_words) in [
            (&b"* OK host\r\n* MAILBOX %(A"[..], ": MAILBOX %(A"),
            (b"* OK host\r\n", ""),
            (
                b"* OK host\r\n* Fatal error: Internal error: it fell\r\n",
                ": Fatal error: Internal error: it fell",
            ),
        ] {
            let error = talk(server)
                .0
                .unwrap()
                .command(b"GET USER anne")
                .unwrap_err();
            let expected = format!("GET USER: the server closed the connection{last_words}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn smtp_is_no_csync() {
        let (client, _) = talk(b"220 smtp\r\n");
        assert!(matches!(client, Err(ClientError::Malformed { .. })));
    }
}

//! A small blocking IMAP client: as much as the tests need to change mailboxes and to read them back.
//!
//! Mailbox names go out as given (quoted; modified UTF-7 is the caller's). Everything that fails panics with
//! the server's words.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cyrusbackup::types::Guid;

/// One connection, logged in.
pub struct Imap {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    tag: u32,
}

/// One message to append.
pub struct Append<'a> {
    pub flags: &'a str,
    /// `"02-Mar-2026 10:00:00 +0000"`, or `None` for now.
    pub date: Option<&'a str>,
    pub body: &'a [u8],
}

/// What FETCH told of one message.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub uid: u32,
    pub flags: Vec<String>,
    pub internaldate: String,
    /// SHA-1 of the body: told by the server (DIGEST.SHA1) or computed from the body.
    pub guid: String,
    pub body: Option<Vec<u8>>,
}

impl Imap {
    /// What the server says first.
    pub fn greeting(port: u16) -> String {
        String::from_utf8_lossy(&Imap::connect(port).1).into_owned()
    }

    pub fn login(port: u16, user: &str, password: &str) -> Imap {
        let (mut imap, greeting) = Imap::connect(port);
        assert!(
            greeting.starts_with(b"* OK"),
            "greeting: {}",
            show(&greeting)
        );
        imap.command(&format!("LOGIN {} {}", quote(user), quote(password)));
        imap
    }

    fn connect(port: u16) -> (Imap, Vec<u8>) {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("an IMAP server");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        let writer = stream.try_clone().expect("a second handle");
        let mut imap = Imap {
            reader: BufReader::with_capacity(1 << 16, stream),
            writer,
            tag: 0,
        };
        let greeting = imap.line();
        (imap, greeting)
    }

    /// Sends a command, returns its untagged lines (literals inside); panics unless it is OK.
    #[track_caller]
    pub fn command(&mut self, command: &str) -> Vec<Vec<u8>> {
        let tag = self.send(command);
        match self.finish(&tag) {
            Ok(lines) => lines,
            Err(text) => panic!("IMAP: {command}: {text}"),
        }
    }

    /// The same, where the server may say NO.
    pub fn attempt(&mut self, command: &str) -> Result<Vec<Vec<u8>>, String> {
        let tag = self.send(command);
        self.finish(&tag)
    }

    pub fn create(&mut self, mailbox: &str) {
        self.command(&format!("CREATE {}", quote(mailbox)));
    }

    pub fn delete(&mut self, mailbox: &str) {
        self.command(&format!("DELETE {}", quote(mailbox)));
    }

    pub fn rename(&mut self, old: &str, new: &str) {
        self.command(&format!("RENAME {} {}", quote(old), quote(new)));
    }

    pub fn subscribe(&mut self, mailbox: &str) {
        self.command(&format!("SUBSCRIBE {}", quote(mailbox)));
    }

    pub fn unsubscribe(&mut self, mailbox: &str) {
        self.command(&format!("UNSUBSCRIBE {}", quote(mailbox)));
    }

    pub fn set_acl(&mut self, mailbox: &str, who: &str, rights: &str) {
        self.command(&format!(
            "SETACL {} {} {}",
            quote(mailbox),
            quote(who),
            rights
        ));
    }

    /// `resources` as in `STORAGE 100000 MESSAGE 5000`.
    pub fn set_quota(&mut self, root: &str, resources: &str) {
        self.command(&format!("SETQUOTA {} ({resources})", quote(root)));
    }

    /// A mailbox annotation, e.g. `/private/comment`.
    pub fn set_metadata(&mut self, mailbox: &str, entry: &str, value: &str) {
        let value = if value.is_ascii() {
            quote(value)
        } else {
            format!("{{{}+}}\r\n{value}", value.len())
        };
        self.command(&format!("SETMETADATA {} ({entry} {value})", quote(mailbox)));
    }

    /// An annotation of messages of the selected mailbox.
    pub fn annotate(&mut self, uids: &str, entry: &str, value: &str) {
        self.command(&format!(
            "UID STORE {uids} ANNOTATION ({entry} (value.priv {}))",
            quote(value)
        ));
    }

    /// Opens a mailbox and returns its UIDVALIDITY.
    pub fn select(&mut self, mailbox: &str) -> u32 {
        let lines = self.command(&format!("SELECT {}", quote(mailbox)));
        let text = lines
            .iter()
            .map(|line| show(line))
            .find(|line| line.contains("[UIDVALIDITY "));
        let text = text.expect("UIDVALIDITY");
        let digits = text
            .split("[UIDVALIDITY ")
            .nth(1)
            .and_then(|rest| rest.split(']').next());
        digits
            .and_then(|digits| digits.parse().ok())
            .expect("a UIDVALIDITY")
    }

    pub fn store(&mut self, uids: &str, how: &str) {
        self.command(&format!("UID STORE {uids} {how}"));
    }

    pub fn copy(&mut self, uids: &str, to: &str) {
        self.command(&format!("UID COPY {uids} {}", quote(to)));
    }

    pub fn move_to(&mut self, uids: &str, to: &str) {
        self.command(&format!("UID MOVE {uids} {}", quote(to)));
    }

    /// Deletes and expunges the messages at once.
    pub fn expunge(&mut self, uids: &str) {
        self.store(uids, "+FLAGS.SILENT (\\Deleted)");
        self.command(&format!("UID EXPUNGE {uids}"));
    }

    /// Appends many messages, sending ahead of the answers.
    pub fn append(&mut self, mailbox: &str, messages: &[Append<'_>]) {
        for batch in messages.chunks(64) {
            let tags: Vec<String> = batch
                .iter()
                .map(|message| self.send_append(mailbox, message))
                .collect();
            for tag in tags {
                self.finish(&tag)
                    .unwrap_or_else(|text| panic!("APPEND to {mailbox}: {text}"));
            }
        }
    }

    /// Names of all mailboxes that the user may list, without `\Noselect` ones.
    pub fn list(&mut self) -> Vec<String> {
        let lines = self.command("LIST \"\" \"*\"");
        let lines = lines
            .iter()
            .map(|line| show(line))
            .filter(|line| line.starts_with("* LIST "));
        lines
            .filter(|line| !line.to_ascii_lowercase().contains("\\noselect"))
            .map(|line| {
                let (_, name) = line
                    .split_once("\"/\" ")
                    .expect("a name after the separator");
                name.trim().trim_matches('"').to_owned()
            })
            .collect()
    }

    /// Each message of a mailbox without its body; the server tells the GUID.
    pub fn messages(&mut self, mailbox: &str) -> Vec<Fetched> {
        self.command(&format!("EXAMINE {}", quote(mailbox)));
        let lines = self.command("UID FETCH 1:* (UID FLAGS INTERNALDATE DIGEST.SHA1)");
        lines.iter().filter_map(|line| parse_fetch(line)).collect()
    }

    /// Each message of a mailbox with its body.
    pub fn bodies(&mut self, mailbox: &str) -> Vec<Fetched> {
        self.command(&format!("EXAMINE {}", quote(mailbox)));
        let lines = self.command("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])");
        lines.iter().filter_map(|line| parse_fetch(line)).collect()
    }

    fn send(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("T{}", self.tag);
        self.writer
            .write_all(format!("{tag} {command}\r\n").as_bytes())
            .expect("a server that reads");
        tag
    }

    fn send_append(&mut self, mailbox: &str, message: &Append<'_>) -> String {
        self.tag += 1;
        let tag = format!("T{}", self.tag);
        let date = message
            .date
            .map(|date| format!("\"{date}\" "))
            .unwrap_or_default();
        let (flags, size) = (message.flags, message.body.len());
        let mut bytes = format!(
            "{tag} APPEND {} ({flags}) {date}{{{size}+}}\r\n",
            quote(mailbox)
        )
        .into_bytes();
        bytes.extend_from_slice(message.body);
        bytes.extend_from_slice(b"\r\n");
        self.writer.write_all(&bytes).expect("a server that reads");
        tag
    }

    fn finish(&mut self, tag: &str) -> Result<Vec<Vec<u8>>, String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            match line
                .strip_prefix(tag.as_bytes())
                .and_then(|rest| rest.strip_prefix(b" "))
            {
                Some(rest) if rest.starts_with(b"OK") => return Ok(lines),
                Some(rest) => return Err(show(rest)),
                None => lines.push(line),
            }
        }
    }

    /// One answer, its literals included, without the last line end.
    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            let read = self
                .reader
                .read_until(b'\n', &mut line)
                .expect("a server that answers");
            assert!(
                read > 0,
                "the IMAP server closed the connection; so far: {}",
                show(&line)
            );
            let Some(size) = literal_at_end(&line) else {
                line.truncate(line.len() - 2);
                return line;
            };
            let start = line.len();
            line.resize(start + size, 0);
            self.reader
                .read_exact(&mut line[start..])
                .expect("a whole literal");
        }
    }
}

/// The size in `…{n}CRLF`.
fn literal_at_end(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|&byte| byte == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

/// `* 3 FETCH (UID 3 FLAGS (\Seen) INTERNALDATE "…" DIGEST.SHA1 … BODY[] {n}…)`, in any order.
fn parse_fetch(line: &[u8]) -> Option<Fetched> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    if !show(&line[..open]).ends_with(" FETCH ") {
        return None;
    }
    let mut fetched = Fetched::default();
    let mut rest = &line[open + 1..];
    while let Some((name, value, after)) = attribute(rest) {
        match name.to_ascii_uppercase().as_str() {
            "UID" => fetched.uid = show(value).parse().expect("a UID"),
            "FLAGS" => fetched.flags = show(value).split_whitespace().map(str::to_owned).collect(),
            "INTERNALDATE" => fetched.internaldate = show(value),
            "DIGEST.SHA1" => fetched.guid = show(value).to_ascii_lowercase(),
            "BODY[]" => {
                fetched.guid = Guid::of(value).to_string();
                fetched.body = Some(value.to_vec());
            }
            _ => {}
        }
        rest = after;
    }
    Some(fetched)
}

/// Name and value at the start of a FETCH list, and what follows.
fn attribute(text: &[u8]) -> Option<(String, &[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let space = text.iter().position(|&byte| byte == b' ')?;
    let (name, rest) = (show(&text[..space]), &text[space + 1..]);
    let until = |start: usize, end: u8| {
        let length = rest[start..]
            .iter()
            .position(|&byte| byte == end)
            .expect("a closed value");
        (&rest[start..start + length], &rest[start + length + 1..])
    };
    let (value, after) = match rest.first()? {
        b'(' => until(1, b')'),
        b'"' => until(1, b'"'),
        b'{' => {
            let close = rest
                .iter()
                .position(|&byte| byte == b'}')
                .expect("a literal's size");
            let size: usize = show(&rest[1..close]).parse().expect("a literal's size");
            rest[close + 3..].split_at(size)
        }
        _ => {
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b' ' | b')'))
                .unwrap_or(rest.len());
            rest.split_at(end)
        }
    };
    Some((name, value, after))
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

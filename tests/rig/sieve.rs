//! A small ManageSieve client (RFC 5804): put, activate, delete scripts.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One connection, logged in with PLAIN.
pub struct Sieve {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Sieve {
    pub fn login(port: u16, user: &str, password: &str) -> Sieve {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a sieve server");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a read timeout");
        let writer = stream.try_clone().expect("a second handle");
        let mut sieve = Sieve {
            reader: BufReader::new(stream),
            writer,
        };
        sieve.finish("greeting");
        let token = base64(format!("\0{user}\0{password}").as_bytes());
        sieve.command(&format!(
            "AUTHENTICATE \"PLAIN\" {{{}+}}\r\n{token}",
            token.len()
        ));
        sieve
    }

    pub fn put(&mut self, name: &str, script: &str) {
        self.command(&format!(
            "PUTSCRIPT \"{name}\" {{{}+}}\r\n{script}",
            script.len()
        ));
    }

    /// `""` leaves no script active.
    pub fn activate(&mut self, name: &str) {
        self.command(&format!("SETACTIVE \"{name}\""));
    }

    pub fn delete(&mut self, name: &str) {
        self.command(&format!("DELETESCRIPT \"{name}\""));
    }

    /// Each script, and whether it is active.
    pub fn list(&mut self) -> Vec<(String, bool)> {
        let lines = self.command("LISTSCRIPTS");
        let named = lines.iter().filter_map(|line| {
            let name = line.strip_prefix('"')?.split('"').next()?;
            Some((name.to_owned(), line.ends_with("ACTIVE")))
        });
        named.collect()
    }

    /// Lines of an answer without the last.
    pub fn ask(&mut self, command: &str) -> Vec<String> {
        self.command(command)
    }

    fn command(&mut self, command: &str) -> Vec<String> {
        self.writer
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("a server that reads");
        self.finish(command)
    }

    fn finish(&mut self, what: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self
                .reader
                .read_line(&mut line)
                .expect("a server that answers");
            assert!(read > 0, "the sieve server closed the connection");
            if line.starts_with("OK") {
                return lines;
            }
            assert!(
                !line.starts_with("NO") && !line.starts_with("BYE"),
                "sieve: {what}: {line}"
            );
            lines.push(line.trim_end().to_owned());
        }
    }
}

pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= group.len() {
                ALPHABET[sextet as usize] as char
            } else {
                '='
            });
        }
    }
    text
}

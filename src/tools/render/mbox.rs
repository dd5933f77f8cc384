//! Messages as an mbox file, in the mboxrd form: each begins with a `From ` line, line ends are LF, lines of the
//! message that begin with any number of `>` and `From ` get one more `>`, and an empty line follows.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::select::Header;

/// One message with the time of its arrival (unix seconds).
pub(crate) fn write_message(octets: &[u8], arrived: i64, out: &mut dyn Write) -> io::Result<()> {
    let date = Timestamp::from_second(arrived).unwrap_or_default();
    let sender = sender(octets);
    writeln!(
        out,
        "From {sender} {}",
        date.strftime("%a %b %e %H:%M:%S %Y")
    )?;
    for line in octets.split_inclusive(|byte| *byte == b'\n') {
        let quotes = line.iter().take_while(|byte| **byte == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            out.write_all(b">")?;
        }
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                out.write_all(text)?;
                out.write_all(b"\n")?;
            }
            None => out.write_all(line)?,
        }
    }
    if !octets.is_empty() && !octets.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}

/// The address in Return-Path or From; no blanks, since the date follows one.
fn sender(octets: &[u8]) -> String {
    let header = Header::parse(block(octets));
    let fields = ["return-path", "from"].into_iter();
    let mut addresses = fields.filter_map(|name| header.get(name)).map(|text| {
        let address = text.rsplit_once('<').map_or(text, |(_, rest)| rest);
        address.split(['>', ' ']).next().unwrap_or_default()
    });
    let address = addresses.find(|address| address.contains('@'));
    address.unwrap_or("MAILER-DAEMON").to_owned()
}

/// Everything before the first empty line; the whole message when there is none.
pub(crate) fn block(message: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        end += line.len();
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mbox(octets: &[u8]) -> String {
        let mut out = Vec::new();
        write_message(octets, 1_790_839_800, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_are_quoted_as_mboxrd() {
        let octets = b"Return-Path: <>\r\nFrom: Anne B <anne@example.com>\r\n\r\n\
            From here\r\n>From there\r\n> From\r\nFromage\r\nbare\nend";
        let expected = "From anne@example.com Thu Oct  1 07:30:00 2026\n\
            Return-Path: <>\nFrom: Anne B <anne@example.com>\n\n\
            >From here\n>>From there\n> From\nFromage\nbare\nend\n\n";
        assert_eq!(mbox(octets), expected);
        assert_eq!(mbox(b""), "From MAILER-DAEMON Thu Oct  1 07:30:00 2026\n\n");
    }
}

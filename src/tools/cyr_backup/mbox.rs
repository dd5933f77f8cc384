//! `dump mailbox`: the living messages of a mailbox as an mbox file, in the mboxrd form: each
//! message begins with a `From ` line, line ends are LF, lines of the message that begin with any
//! number of `>` and `From ` get one more `>`, and an empty line follows. Flags are not in it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};

use jiff::Timestamp;

use super::{Failure, Look, explain};
use crate::select::Header;
use crate::store::RecordRow;
use crate::store::walk::Part;
use crate::tools::terminal::Terminal;
use crate::types::Guid;

impl Look<'_> {
    /// Messages come in the order of the data file, which is that of their arrival. What cannot be
    /// read is told and left out.
    pub(super) fn dump_mailbox(
        &self,
        name: &OsStr,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let found = name.to_str().map(|name| self.find_mailbox(name));
        let mailbox = found.transpose()?.flatten().ok_or(Failure::NoSuchItem)?;
        let mut wanted: HashMap<Guid, Vec<RecordRow>> = HashMap::new();
        for record in self.backup.index().records(mailbox.id)? {
            if record.expunged.is_none() {
                wanted.entry(record.guid).or_default().push(record);
            }
        }
        let mut rows = Vec::new();
        let mut missing = 0;
        for (guid, records) in &wanted {
            match self.backup.index().message(guid)? {
                Some(row) => rows.push(row),
                None => missing += records.len(),
            }
        }
        let mut damage = Vec::new();
        let mut printed = Ok(());
        self.backup
            .each_message(rows, Part::Whole, &mut |row, octets| {
                let records = wanted.get(&row.guid).map(Vec::as_slice).unwrap_or_default();
                match octets {
                    Ok(octets) => {
                        let mut each = records.iter();
                        printed = each.try_for_each(|r| write_message(octets, r, terminal.out));
                    }
                    Err(error) => damage.push(error),
                }
                printed.is_ok()
            })?;
        printed?;
        terminal.out.flush()?;
        for error in &damage {
            writeln!(terminal.err, "{}", explain(error))?;
        }
        match (damage.len(), missing) {
            (0, 0) => Ok(()),
            (damaged, missing) => Err(Failure::Incomplete { damaged, missing }),
        }
    }
}

fn write_message(octets: &[u8], record: &RecordRow, out: &mut dyn Write) -> io::Result<()> {
    let date = Timestamp::from_second(record.internaldate).unwrap_or_default();
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
    let header = Header::parse(super::headers::block(octets));
    let fields = ["return-path", "from"].into_iter();
    let mut addresses = fields.filter_map(|name| header.get(name)).map(|text| {
        let address = text.rsplit_once('<').map_or(text, |(_, rest)| rest);
        address.split(['>', ' ']).next().unwrap_or_default()
    });
    let address = addresses.find(|address| address.contains('@'));
    address.unwrap_or("MAILER-DAEMON").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RecordRow {
        RecordRow {
            mailbox_id: 1,
            message_id: Some(1),
            chunk_id: 1,
            uid: 1,
            guid: Guid::of(b""),
            size: None,
            modseq: 1,
            last_updated: 0,
            flags: "()".to_owned(),
            internaldate: 1_790_839_800,
            annotations: String::new(),
            expunged: None,
        }
    }

    fn mbox(octets: &[u8]) -> String {
        let mut out = Vec::new();
        write_message(octets, &record(), &mut out).unwrap();
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

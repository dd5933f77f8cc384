//! Makes a backup to measure with: `bench_backup FILE [CHUNKS [MESSAGES_PER_CHUNK [BYTES]]]`, by default
//! 2000 chunks of 8 messages of about 13 KB that deflate to about 200 MB. The same arguments make
//! the same bytes.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::csync::dlist::FileRef;
use cyrusbackup::store::{Appender, Body};
use cyrusbackup::types::Guid;

/// 2026-01-01, when the first chunk begins.
const START: i64 = 1_767_225_600;

struct Mail(Vec<u8>);

impl Body for Mail {
    fn file(&self) -> FileRef {
        FileRef {
            partition: b"default".to_vec(),
            guid: Guid::of(&self.0),
            size: self.0.len() as u64,
        }
    }

    fn copy_to(&self, to: &mut dyn io::Write) -> io::Result<()> {
        to.write_all(&self.0)
    }
}

/// A mail whose body is base64 of noise, as attachments are, with some text before it.
fn mail(n: u64, bytes: usize) -> Mail {
    let mut octets = format!(
        "From: sender{n}@example.com\r\nTo: bench@example.com\r\nSubject: message {n}\r\n\
         Message-ID: <{n}@example.com>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\n"
    )
    .into_bytes();
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let size = bytes / 2 + (n as usize * 7919) % bytes.max(1);
    while octets.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        octets.extend(x.to_le_bytes().map(|byte| DIGITS[usize::from(byte & 63)]));
        if octets.len() % 10 == 0 {
            octets.extend_from_slice(b"\r\n");
        }
    }
    Mail(octets)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let path = words
        .next()
        .ok_or("usage: bench_backup FILE [CHUNKS [MESSAGES [BYTES]]]")?;
    let mut number = |default| words.next().map_or(Ok(default), |word| word.parse());
    let (chunks, messages, bytes) = (number(2000)?, number(8)?, number(17_000)?);
    let path = Path::new(&path);
    std::fs::File::create_new(path)?;
    let mut uid = 0;
    for chunk in 0..chunks {
        let now = START + chunk as i64 * 600;
        let mut appender = Appender::open(path, false)?;
        let mut left = messages;
        while left > 0 {
            // One session carries many small batches, as sync_client sends them.
            let batch = left.min(512);
            let mails: Vec<Mail> = (0..batch).map(|n| mail(uid + n, bytes as usize)).collect();
            let bodies: Vec<&dyn Body> = mails.iter().map(|mail| mail as &dyn Body).collect();
            appender.append_bodies(&bodies, now)?;
            let records = mails.iter().zip(uid + 1..).map(|(mail, uid)| {
                let guid = Guid::of(&mail.0);
                let size = mail.0.len();
                format!(
                    "%(UID {uid} MODSEQ {uid} LAST_UPDATED {now} FLAGS () INTERNALDATE {now} \
                     SIZE {size} GUID {guid})"
                )
            });
            let records: Vec<String> = records.collect();
            uid += batch;
            left -= batch;
            let line = format!(
                "MAILBOX %(UNIQUEID bench-{mailbox} MBOXNAME user.bench.f{mailbox} SYNC_CRC 0 \
                 SYNC_CRC_ANNOT 0 LAST_UID {uid} HIGHESTMODSEQ {uid} RECENTUID {uid} RECENTTIME {now} \
                 LAST_APPENDDATE {now} POP3_LAST_LOGIN 0 POP3_SHOW_AFTER 0 UIDVALIDITY 1 \
                 PARTITION default ACL \"bench\tlrswipkxtecda\t\" OPTIONS P RECORD ({}))",
                records.join(" "),
                mailbox = chunk % 20,
            );
            appender.append(&parse_apply(line.as_bytes())?, now)?;
            appender.commit()?;
        }
        appender.finish()?;
    }
    writeln!(io::stdout(), "{} bytes", std::fs::metadata(path)?.len())?;
    Ok(())
}

//! Backups to mount: some that C wrote, and some that the store writes here.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::csync::dlist::FileRef;
use cyrusbackup::store::{Appender, Backup, Body, Lock};
use cyrusbackup::types::Guid;

use super::wait_until_free;

/// When the lines of scratch backups were written.
pub const LOG_TIME: i64 = 1_700_000_000;

/// INTERNALDATE of a message.
pub fn internaldate(uid: u32) -> i64 {
    1_600_000_000 + i64::from(uid)
}

/// A data file with its index in a directory of its own.
pub struct Scratch {
    dir: tempfile::TempDir,
    path: PathBuf,
}

/// A copy of a backup that C's backupd wrote.
pub fn fixture(name: &str) -> Scratch {
    let scratch = Scratch::empty(name);
    let original = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/backups")
        .join(name);
    std::fs::copy(&original, &scratch.path).unwrap();
    let index = original.with_file_name(format!("{name}.index"));
    std::fs::copy(index, scratch.index()).unwrap();
    scratch
}

/// A message of about this size, different for each number.
pub fn message(number: u64, size: usize) -> Vec<u8> {
    let mut octets = format!("Subject: message {number}\r\n\r\n").into_bytes();
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while octets.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        octets.extend_from_slice(format!("{x:016x}\r\n").as_bytes());
    }
    octets
}

struct Octets<'a>(&'a [u8]);

impl Body for Octets<'_> {
    fn file(&self) -> FileRef {
        FileRef {
            partition: b"default".to_vec(),
            guid: Guid::of(self.0),
            size: self.0.len() as u64,
        }
    }

    fn copy_to(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(self.0)
    }
}

impl Scratch {
    /// An empty data file of this name.
    pub fn empty(name: &str) -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::File::create(&path).unwrap();
        Scratch { dir, path }
    }

    /// Appends the bodies of a mailbox, `bodies_per_line` in a line, and then the mailbox with UIDs
    /// from 1.
    pub fn append(&self, mailbox: &str, bodies: &[Vec<u8>], bodies_per_line: usize) {
        let mut appender = Appender::open(&self.path, true).unwrap();
        for line in bodies.chunks(bodies_per_line) {
            let octets: Vec<_> = line.iter().map(|body| Octets(body)).collect();
            let line: Vec<_> = octets.iter().map(|body| body as &dyn Body).collect();
            appender.append_bodies(&line, LOG_TIME).unwrap();
        }
        let guids: Vec<_> = bodies.iter().map(|body| Guid::of(body)).collect();
        let text = mailbox_line(mailbox, &guids);
        appender
            .append(&parse_apply(&text).unwrap(), LOG_TIME)
            .unwrap();
        appender.commit().unwrap();
        appender.finish().unwrap();
        wait_until_free(&self.path);
    }

    /// Appends lines, each at its time; bodies first.
    pub fn log(&self, time: i64, bodies: &[&[u8]], lines: &[&str]) {
        let mut appender = Appender::open(&self.path, true).unwrap();
        if !bodies.is_empty() {
            let octets: Vec<_> = bodies.iter().map(|body| Octets(body)).collect();
            let line: Vec<_> = octets.iter().map(|body| body as &dyn Body).collect();
            appender.append_bodies(&line, time).unwrap();
        }
        for line in lines {
            let line = parse_apply(line.as_bytes()).unwrap();
            appender.append(&line, time).unwrap();
        }
        appender.commit().unwrap();
        appender.finish().unwrap();
        wait_until_free(&self.path);
    }

    /// Appends a mailbox with messages whose bodies never come.
    pub fn append_without_bodies(&self, mailbox: &str, guids: &[Guid]) {
        let mut appender = Appender::open(&self.path, true).unwrap();
        let text = mailbox_line(mailbox, guids);
        appender
            .append(&parse_apply(&text).unwrap(), LOG_TIME)
            .unwrap();
        appender.commit().unwrap();
        appender.finish().unwrap();
        wait_until_free(&self.path);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn index(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".index");
        name.into()
    }

    /// SPEC for this file.
    pub fn spec(&self) -> String {
        format!("file:{}", self.path.display())
    }

    /// The store's own view, beside the mount.
    pub fn open(&self) -> Backup {
        // Another test may have forked while the writer's descriptor was open.
        Backup::open(&self.path, Lock::Shared { wait: true }).unwrap()
    }
}

fn mailbox_line(name: &str, guids: &[Guid]) -> Vec<u8> {
    let record = |(uid, guid): (u32, &Guid)| {
        let date = internaldate(uid);
        format!(
            "%(UID {uid} MODSEQ {uid} LAST_UPDATED {LOG_TIME} FLAGS (\\Seen $Label1) \
             INTERNALDATE {date} SIZE 3 GUID {guid})"
        )
    };
    let records: Vec<_> = (1..).zip(guids).map(record).collect();
    let last = guids.len();
    let unique = Guid::of(name.as_bytes());
    let name = match name.is_ascii() && !name.contains([' ', '%', '"', '(']) {
        true => name.to_owned(),
        false => format!("\"{name}\""),
    };
    format!(
        "MAILBOX %(UNIQUEID {unique} MBOXNAME {name} LAST_UID {last} HIGHESTMODSEQ {last} \
         RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 \
         PARTITION default ACL \"anne\tlrs\t\" OPTIONS P RECORD ({}))",
        records.join(" ")
    )
    .into_bytes()
}

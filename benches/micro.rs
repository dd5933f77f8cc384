//! The parts that dominate a row of the table, each alone: `cargo bench --bench micro`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench fails by panicking"
)]

#[path = "../tests/cli/octets.rs"]
mod octets;

use std::path::PathBuf;

use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::csync::dlist::{Literal, Parser};
use cyrusbackup::csync::fragment::{Fragment, Fragmenter, Limits};
use cyrusbackup::select::Clock;
use cyrusbackup::store::{Appender, Backup, Body, Lock};
use cyrusbackup::types::{Guid, Namespace};
use cyrusbackup::view::inode::{Blocks, ROOT};
use cyrusbackup::view::moments::Moments;
use cyrusbackup::view::open::{self, How, LockMode};
use cyrusbackup::view::ops::{Ops, Root};
use cyrusbackup::view::tree::{Shape, Tree, TreeConfig};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use octets::Octets;

fn main() {
    divan::main();
}

/// A MAILBOX line as a first upload has it.
fn mailbox_line(records: usize) -> Vec<u8> {
    let mut text = String::from(
        "MAILBOX %(UNIQUEID 0123456789abcdef01234567 MBOXNAME user.anne SYNC_CRC 7 SYNC_CRC_ANNOT 12345678 LAST_UID \
         100000 HIGHESTMODSEQ 100000 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 1600000000 POP3_LAST_LOGIN 0 \
         POP3_SHOW_AFTER 0 UIDVALIDITY 1600000000 PARTITION default ACL \"anne\tlrswipkxtecdan\t\" OPTIONS P RECORD (",
    );
    for uid in 1..=records {
        let guid = Guid::of(&body(uid));
        text += &format!(
            "{}%(UID {uid} MODSEQ {uid} LAST_UPDATED 1600000000 FLAGS (\\Seen $Label1) INTERNALDATE 1600000000 SIZE \
             {} GUID {guid})",
            if uid == 1 { "" } else { " " },
            body(uid).len()
        );
    }
    (text + "))").into_bytes()
}

/// A message of 3 kB that deflates to a half or so.
fn body(number: usize) -> Vec<u8> {
    let mut text = format!("Subject: number {number}\r\n\r\n").into_bytes();
    let mut x = number as u32;
    while text.len() < 3000 {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(format!("{:04x} word ", x >> 16).as_bytes());
    }
    text
}

#[divan::bench]
fn dlist_parse(bencher: Bencher) {
    let line = mailbox_line(1000);
    let value = &line[b"MAILBOX ".len()..];
    bencher
        .counter(BytesCount::of_slice(value))
        .bench(|| Parser::new(value).value().unwrap());
}

#[divan::bench]
fn dlist_print(bencher: Bencher) {
    let line = mailbox_line(1000);
    let value = Parser::new(&line[b"MAILBOX ".len()..]).value().unwrap();
    bencher.counter(BytesCount::of_slice(&line)).bench(|| {
        let mut out = Vec::new();
        value.print(&mut out, Literal::Sync);
        out
    });
}

#[divan::bench]
fn command_parse(bencher: Bencher) {
    let line = mailbox_line(1000);
    bencher
        .counter(BytesCount::of_slice(&line))
        .bench(|| parse_apply(&line).unwrap());
}

/// Bodies pass by in pieces, as from a socket.
#[divan::bench]
fn fragment(bencher: Bencher) {
    let mut stream = b"APPLY MESSAGE (".to_vec();
    for number in 0..300 {
        let octets = body(number);
        let guid = Guid::of(&octets);
        stream.extend(format!(" %{{default {guid} {}}}\r\n", octets.len()).into_bytes());
        stream.extend(octets);
    }
    stream.extend(b")\r\n");
    bencher.counter(BytesCount::of_slice(&stream)).bench(|| {
        let mut fragmenter = Fragmenter::new(Limits::default());
        let mut octets = 0;
        for mut piece in stream.chunks(16 << 10) {
            while let Some(fragment) = fragmenter.next(&mut piece).unwrap() {
                if let Fragment::FileData(data) = fragment {
                    octets += data.len();
                }
            }
        }
        octets
    });
}

/// Records go into the index, bodies into the file: an upload without the wire.
#[divan::bench(sample_count = 10)]
fn append_1000(bencher: Bencher) {
    let line = mailbox_line(1000);
    let bodies: Vec<Octets> = (1..=1000).map(|uid| Octets(body(uid))).collect();
    bencher
        .counter(ItemsCount::new(1000_u32))
        .with_inputs(|| tempfile::tempdir().unwrap())
        .bench_local_values(|dir| {
            append(&dir.path().join("backup"), &line, &bodies);
            dir
        });
}

/// A message from anywhere in a chunk of 60 MB, by the seek points.
#[divan::bench]
fn inflate_random(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("backup");
    let bodies: Vec<Octets> = (1..=20_000).map(|uid| Octets(body(uid))).collect();
    append(&path, &mailbox_line(1), &bodies);
    let mut backup = Backup::open(&path, Lock::None).unwrap();
    let mut number = 0;
    bencher.bench_local(|| {
        number = (number + 7919) % bodies.len();
        backup.rest();
        backup.read_message(&Guid::of(&bodies[number].0)).unwrap()
    });
}

/// A whole listing with attributes of a folder of so many messages, as the kernel asks for it.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn readdir(bencher: Bencher, messages: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let bodies: Vec<Octets> = (1..=messages).map(|uid| Octets(body(uid))).collect();
    append(&path, &mailbox_line(messages), &bodies);
    let how = How {
        lock: LockMode::None,
        ..How::default()
    };
    let config = TreeConfig {
        key: Some("anne"),
        namespace: &Namespace::default(),
        shape: Shape::default(),
        past: false,
        parent: ROOT,
        time: None,
    };
    let source = open::open(&path, how, None).unwrap();
    let tree = Tree::open(source, &config, |_| Some(Blocks::Sole)).unwrap();
    let clock = Clock {
        now: 1_700_000_000,
        zone: jiff::tz::TimeZone::UTC,
    };
    let ops = Ops::new(Root::Sole(tree.into()), Moments::new(clock));
    let folder = ["mailboxes", "INBOX"]
        .iter()
        .fold(ROOT, |at, name| ops.lookup(at, name).unwrap().ino);
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let (mut from, mut entries) = (0, 0);
        // A buffer of the kernel's holds some thirty entries with their attributes.
        loop {
            let mut room = 30;
            ops.readdir(folder, from, |entry| {
                room -= 1;
                (from, entries) = (entry.next, entries + 1);
                room > 0
            })
            .unwrap();
            if room == 30 {
                assert_eq!(entries, messages + 2);
                return;
            }
        }
    });
}

fn append(path: &std::path::Path, line: &[u8], bodies: &[Octets]) {
    std::fs::File::create(path).unwrap();
    let mut appender = Appender::open(path, false).unwrap();
    let bodies: Vec<&dyn Body> = bodies.iter().map(|body| body as &dyn Body).collect();
    appender.append_bodies(&bodies, 1_600_000_000).unwrap();
    appender
        .append(&parse_apply(line).unwrap(), 1_600_000_000)
        .unwrap();
    appender.commit().unwrap();
    appender.finish().unwrap();
}

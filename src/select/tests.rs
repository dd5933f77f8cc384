//! The walk over a real backup: every criterion, damage, and that each chunk is inflated once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;
use jiff::tz::TimeZone;

use super::*;
use crate::csync::command::parse_apply;
use crate::csync::dlist::FileRef;
use crate::store::walk::Part;
use crate::store::{Appender, Backup, Body, Lock};
use crate::types::Namespace;

struct Octets(Vec<u8>);

impl Body for Octets {
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

/// Mail `n` was sent on day n of October 2026 and arrived on the next.
fn mail(n: u32) -> Octets {
    let noise: String = (0..200 * n)
        .map(|i| char::from(b'a' + (i * n % 26) as u8))
        .collect();
    let text = format!(
        "From: =?utf-8?Q?J=C3=B6rg?= <joerg{n}@example.com>\r\nTo: anne@example.com\r\n\
         Cc: bea{n}@example.com\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n number {n}\r\n\
         Message-ID: <{n}@host>\r\nList-Id: <list{n}>\r\n\
         Date: {n:02} Oct 2026 12:00:00 +0000\r\n\r\n{noise}\r\n"
    );
    Octets(text.into_bytes())
}

fn october(day: u32) -> i64 {
    1_790_856_000 + i64::from(day - 1) * 86_400 // 2026-10-01T12:00:00Z
}

/// A MAILBOX line; records are (uid, mail, flags).
fn mailbox(uniqueid: &str, name: &str, records: &[(u32, u32, &str)]) -> Vec<u8> {
    let record = |(uid, n, flags): &(u32, u32, &str)| {
        let (guid, size) = (Guid::of(&mail(*n).0), mail(*n).0.len());
        format!(
            "%(UID {uid} MODSEQ {uid} LAST_UPDATED 5 FLAGS ({flags}) INTERNALDATE {} SIZE {size} \
             GUID {guid})",
            october(n + 1)
        )
    };
    let records: Vec<String> = records.iter().map(record).collect();
    format!(
        "MAILBOX %(UNIQUEID {uniqueid} MBOXNAME {name} SYNC_CRC 0 LAST_UID 9 HIGHESTMODSEQ 9 \
         RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 \
         PARTITION default ACL \"anne\tlrs\t\" OPTIONS P RECORD ({}))",
        records.join(" ")
    )
    .into_bytes()
}

/// INBOX with mails 1 to 6 (2 expunged, 6 without body), a folder with 3, a deleted one with 7.
fn backup() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("anne_abcdef");
    fs::File::create(&path).unwrap();
    let append = |appender: &mut Appender, text: &[u8], now| {
        appender.append(&parse_apply(text).unwrap(), now).unwrap();
    };
    let bodies = |appender: &mut Appender, mails: &[u32], now| {
        let mails: Vec<Octets> = mails.iter().map(|n| mail(*n)).collect();
        let mails: Vec<&dyn Body> = mails.iter().map(|mail| mail as &dyn Body).collect();
        appender.append_bodies(&mails, now).unwrap();
    };
    let mut appender = Appender::open(&path, false).unwrap();
    bodies(&mut appender, &[1, 2, 3, 7], october(1));
    append(
        &mut appender,
        &mailbox(
            "u1",
            "user.anne",
            &[
                (1, 1, "\\Seen"),
                (2, 2, "\\Expunged"),
                (3, 3, "\\Seen $Work"),
            ],
        ),
        october(1),
    );
    append(
        &mut appender,
        &mailbox("u2", "user.anne.Sub.Deep", &[(1, 3, "")]),
        october(1),
    );
    append(
        &mut appender,
        &mailbox("u3", "DELETED.user.anne.Old.6AC00000", &[(1, 7, "")]),
        october(1),
    );
    appender.commit().unwrap();
    appender.finish().unwrap();
    let mut appender = Appender::open(&path, false).unwrap();
    bodies(&mut appender, &[4, 5], october(9));
    append(
        &mut appender,
        &mailbox("u1", "user.anne", &[(4, 4, ""), (5, 5, ""), (6, 6, "")]),
        october(9),
    );
    appender.commit().unwrap();
    appender.finish().unwrap();
    (dir, path)
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    select: SelectArgs,
}

fn selection(line: &[&str]) -> Selection {
    let words = std::iter::once("test").chain(line.iter().copied());
    let clock = Clock {
        now: october(20),
        zone: TimeZone::UTC,
    };
    let args = Line::try_parse_from(words).unwrap().select;
    args.selection(&Namespace::default(), &clock).unwrap()
}

/// `uniqueid:uid` of what is found, and of what nobody can tell behind a `?`.
fn found(path: &Path, line: &[&str]) -> String {
    let backup = Backup::open(path, Lock::Shared { wait: false }).unwrap();
    let found = find(&backup, &selection(line), &Namespace::default(), false).unwrap();
    let name = |hit: &Hit| format!("{}:{}", hit.mailbox.uniqueid, hit.record.uid);
    let hits = found.hits.iter().map(name);
    let unsure = found.unsure.iter().map(|hit| format!("?{}", name(hit)));
    hits.chain(unsure).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_criterion_alone_and_together() {
    let (_dir, path) = backup();
    let guid = Guid::of(&mail(3).0).to_string();
    let size = mail(4).0.len().to_string();
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        (&[], "u1:1 u1:2 u1:3 u1:4 u1:5 u1:6 u2:1 u3:1"),
        (&["--mailbox", "user/anne"], "u1:1 u1:2 u1:3 u1:4 u1:5 u1:6"),
        (&["--mailbox", "INBOX/Old", "--mailbox", "INBOX/Sub"], "u3:1"),
        (&["--tree", "user/anne/Sub"], "u2:1"),
        (&["--guid", &guid], "u1:3 u2:1"),
        (&["--uid", "2:3,6:*"], "u1:2 u1:3 u1:6"),
        (&["--from", "JÖRG <joerg4"], "u1:4 ?u1:6"),
        (&["--to", "bea7@"], "u3:1 ?u1:6"),
        (&["--subject", "grüße number 3"], "u1:3 u2:1 ?u1:6"),
        (&["--message-id", "<5@HOST>"], "u1:5 ?u1:6"),
        (&["--header", "list-id: <list1>"], "u1:1 ?u1:6"),
        (&["--since", "2026-10-06"], "u1:5 u1:6 u3:1"),
        (&["--before", "2026-10-03T12:00:00Z"], "u1:1"),
        (&["--sent-since", "2026-10-05", "--sent-before", "2026-10-06"], "u1:5 ?u1:6"),
        (&["--flag", "seen", "--no-flag", "$work"], "u1:1"),
        (&["--min-size", &size, "--max-size", &size], "u1:4"),
        (&["--expunged"], "u1:2"),
        (&["--not-expunged", "--uid", "2"], ""),
        (&["--expunged-since", "2026-10-01", "--expunged-until", "2026-10-02"], "u1:2"),
        (&["--expunged-since", "2026-10-02"], ""),
        (&["--deleted"], "u3:1"),
        (&["--not-deleted", "--uid", "1"], "u1:1 u2:1"),
        (&["--deleted-since", "@1790967807"], "u3:1"),
        (&["--deleted-since", "@1790967809"], ""),
        (&["--deleted-until", "@1790967808"], ""),
        (&["--from", "joerg", "--flag", "seen", "--uid", "3:9"], "u1:3"),
    ];
    for (line, expected) in table {
        assert_eq!(found(&path, line), *expected, "{line:?}");
    }
}

#[test]
fn it_is_known_whether_anything_is_asked_for() {
    let guid = Guid::of(b"").to_string();
    assert!(selection(&[]).is_everything());
    for line in [
        &["--guid", &guid][..],
        &["--since", "3d"],
        &["--uid", "1"],
        &["--flag", "seen"],
        &["--max-size", "1"],
        &["--to", "x"],
        &["--deleted"],
    ] {
        assert!(!selection(line).is_everything(), "{line:?}");
    }
}

/// Mail 8 is in no mailbox.
#[test]
fn what_no_mailbox_knows_can_be_found() {
    let (_dir, path) = backup();
    let guid = Guid::of(&mail(8).0);
    let mut appender = Appender::open(&path, false).unwrap();
    appender.append_bodies(&[&mail(8)], october(9)).unwrap();
    appender.commit().unwrap();
    appender.finish().unwrap();
    let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
    for (line, found) in [
        (&["--from", "joerg8"][..], 1),
        (&["--guid", &guid.to_string()], 1),
        (&["--min-size", "1"], 1),
        (&["--from", "joerg1"], 0),
        (&["--from", "joerg8", "--not-deleted"], 0),
        (&["--mailbox", "INBOX"], 0),
    ] {
        let (rows, damage) = find_unowned(&backup, &selection(line)).unwrap();
        assert_eq!((rows.len(), damage.len()), (found, 0), "{line:?}");
        assert!(rows.iter().all(|row| row.guid == guid));
    }
}

#[test]
fn hits_can_carry_their_headers() {
    let (_dir, path) = backup();
    let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
    let found = find(
        &backup,
        &selection(&["--uid", "5:6"]),
        &Namespace::default(),
        true,
    )
    .unwrap();
    let header = found.hits[0].header.as_ref().unwrap();
    assert_eq!(header.get("Subject"), Some("Grüße number 5"));
    assert_eq!(
        (header.date, header.get("list-id")),
        (Some(october(5)), None)
    );
    // Its body never came: it is found, without a header.
    assert_eq!(found.hits[1].record.uid, 6);
    assert!(found.hits[1].header.is_none());
}

#[test]
fn damage_is_told_and_hides_nothing_else() {
    let (_dir, path) = backup();
    let second = {
        let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
        backup.index().chunks().unwrap()[1].offset as usize
    };
    let mut bytes = fs::read(&path).unwrap();
    bytes[second + 200] ^= 0x55;
    fs::write(&path, bytes).unwrap();
    let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
    let found = find(
        &backup,
        &selection(&["--from", "joerg"]),
        &Namespace::default(),
        true,
    )
    .unwrap();
    let uids = |hits: &[Hit]| hits.iter().map(|hit| hit.record.uid).collect::<Vec<_>>();
    assert_eq!(uids(&found.hits), [1, 2, 3, 1, 1]);
    assert_eq!(uids(&found.unsure), [4, 5, 6]);
    assert_eq!(found.damage.len(), 2, "{:?}", found.damage);
}

#[test]
fn a_walk_gives_every_message_whole_and_in_log_order() {
    let (_dir, path) = backup();
    let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
    let mut rows = backup.index().messages().unwrap();
    rows.reverse();
    for part in [Part::Whole, Part::Header] {
        let mut seen = Vec::new();
        backup
            .each_message(rows.clone(), part, &mut |row, octets| {
                let octets = octets.unwrap();
                let whole = Guid::of(octets) == row.guid;
                assert_eq!(whole, part == Part::Whole);
                assert_eq!(octets.ends_with(b"\r\n\r\n"), part == Part::Header);
                seen.push((row.chunk_id, row.id));
                true
            })
            .unwrap();
        assert_eq!(seen.len(), rows.len());
        assert!(seen.is_sorted_by_key(|(chunk, _)| *chunk));
    }
    let mut count = 0;
    let stop = &mut |_: &_, _: crate::store::Result<&[u8]>| {
        count += 1;
        count < 2
    };
    backup.each_message(rows, Part::Header, stop).unwrap();
    assert_eq!(count, 2);
}

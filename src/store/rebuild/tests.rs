//! Files that C wrote in every state it can leave, and damage of our own making.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::tests::{Octets, append, bodies, dump, mail, mailbox, new_backup};
use crate::store::{Appender, Backup, Lock, StoreError};

const NO_LOCK: Lock = Lock::None;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/fixtures")
        .join(name)
}

fn names(backup: &Backup) -> Vec<String> {
    let subscriptions = backup.index().subscriptions().unwrap();
    subscriptions.into_iter().map(|row| row.mboxname).collect()
}

/// Spec: ondisk 10.1, 10.10, 10.12: all that C's reindex stumbles over.
#[test]
fn what_c_cannot_index_is_read_from_the_bytes_as_they_are() {
    for (name, chunks, losses) in [
        ("bethany_sGEZYM", None, 0),
        ("carol", None, 0),
        ("craft-n", None, 0),
        ("craft-plus", None, 0),
        ("craft-quoted", None, 0),
        ("craft-tsback", None, 0),
        ("craft-tsline", None, 0),
        ("craft-orph", Some(6), 1),
        ("craft-unk", None, 1),
        ("craft-badguid", None, 1),
        ("craft-trunc", None, 1),
    ] {
        let (backup, report) = Backup::open_rebuilt(&fixture(name), NO_LOCK).unwrap();
        println!("{name}: {report:#?}");
        assert_eq!(report.losses.len(), losses, "{name}");
        assert_eq!(
            report.chunks as usize,
            backup.index().chunks().unwrap().len()
        );
        if let Some(chunks) = chunks {
            assert_eq!(report.chunks, chunks, "{name}");
        }
        assert!(report.lines > 0, "{name}");
        for row in backup.index().messages().unwrap() {
            backup
                .read_row(&row)
                .unwrap_or_else(|e| panic!("{name}: {}", e.detail()));
        }
    }
}

fn subscribe(appender: &mut Appender, name: &str, now: i64) {
    let text = format!("SUB %(USERID anne MBOXNAME {name})");
    append(appender, text.as_bytes(), now);
}

#[test]
fn the_backup_as_of_a_time_is_what_was_said_until_then() {
    let (_dir, path) = new_backup();
    let mails: Vec<Octets> = (0..3).map(|n| mail(n, 100)).collect();
    let guid = |n: usize| Guid::of(&mails[n].0);
    let mut states = Vec::new();
    for (n, now) in [(0, 100), (1, 200), (2, 300)] {
        let mut appender = Appender::open(&path, false).unwrap();
        appender.append_bodies(&bodies(&mails[n..=n]), now).unwrap();
        let record = (n as u32 + 1, guid(n), "");
        append(&mut appender, &mailbox(&[record]), now);
        if n == 1 {
            append(
                &mut appender,
                &mailbox(&[(1, guid(0), "\\Expunged")]),
                now + 50,
            );
        }
        appender.commit().unwrap();
        appender.finish().unwrap();
        states.push(dump(Backup::open(&path, NO_LOCK).unwrap().index()));
    }
    let as_of = |time| Backup::open_as_of(&path, NO_LOCK, time).unwrap();
    for (time, state) in [
        (100, 0),
        (199, 0),
        (250, 1),
        (299, 1),
        (300, 2),
        (i64::MAX, 2),
    ] {
        let backup = as_of(time);
        assert_eq!(
            without_sums(&dump(backup.index())),
            without_sums(&states[state]),
            "{time}"
        );
        for row in backup.index().messages().unwrap() {
            backup.read_row(&row).unwrap();
        }
    }
    // Between the two, the message is not yet expunged.
    let records = as_of(249).index().records(1).unwrap();
    assert!(records.iter().all(|record| record.expunged.is_none()));
    assert_eq!(as_of(300).oldest_time().unwrap(), Some(100));
    let before = Backup::open_as_of(&path, NO_LOCK, 99);
    assert!(matches!(before, Err(StoreError::NoHistory { .. })));
    // No index is needed.
    fs::remove_file(crate::store::layout::index(&path)).unwrap();
    assert_eq!(
        without_sums(&dump(as_of(250).index())),
        without_sums(&states[1])
    );
}

/// An index in memory carries no SHA-1 of file and chunks.
fn without_sums(dump: &str) -> String {
    let mut text = dump.to_owned();
    while let Some(at) = text.find("_sha1: ") {
        let end = text[at..].find([',', '}']).unwrap() + at;
        text.replace_range(at..end, "");
    }
    text
}

#[test]
fn one_bad_place_costs_the_lines_it_touches_and_no_other() {
    let (_dir, path) = new_backup();
    for chunk in 0..3 {
        let mut appender = Appender::open(&path, false).unwrap();
        for line in 0..5 {
            let now = 100 * (chunk + 1) + line;
            let mails = [mail(now as u64, 3000)];
            appender.append_bodies(&bodies(&mails), now).unwrap();
            subscribe(&mut appender, &format!("c{chunk}l{line}"), now);
        }
        appender.commit().unwrap();
        appender.finish().unwrap();
    }
    let data = fs::read(&path).unwrap();
    let whole = Backup::open_rebuilt(&path, NO_LOCK).unwrap();
    assert_eq!(
        (
            names(&whole.0).len(),
            whole.1.messages,
            whole.1.losses.len()
        ),
        (15, 15, 0)
    );
    let step = data.len() / 97;
    for at in (0..data.len()).step_by(step) {
        for kind in ["flip", "zero", "insert"] {
            let mut bad = data.clone();
            match kind {
                "flip" => bad[at] ^= 0x10,
                "zero" => bad[at..(at + 16).min(data.len())].fill(0),
                _ => {
                    bad.splice(at..at, *b"\x1f\x8b\x08\x00 garbage");
                }
            }
            if bad == data {
                continue;
            }
            fs::write(&path, &bad).unwrap();
            let (backup, report) = Backup::open_rebuilt(&path, NO_LOCK).unwrap();
            let (lines, messages) = (names(&backup).len(), report.messages);
            // 16 bytes can touch two lines.
            assert!(
                lines >= 13 && messages >= 13,
                "{kind} at {at}: {lines} {messages} {report:#?}"
            );
            for row in backup.index().messages().unwrap() {
                backup
                    .read_row(&row)
                    .unwrap_or_else(|e| panic!("{kind} {at}: {}", e.detail()));
            }
        }
    }
}

#[test]
fn no_bytes_make_it_panic_or_hang() {
    let (_dir, path) = new_backup();
    let mut hostile = b"\x00\x00\xff\xff".repeat(5000);
    hostile.extend(b"\x1f\x8b\x08\x00".repeat(5000));
    for data in [&b""[..], b"\x1f", b"\x1f\x8b\x08", &[0; 100_000], &hostile] {
        fs::write(&path, data).unwrap();
        let (backup, report) = Backup::open_rebuilt(&path, NO_LOCK).unwrap();
        assert_eq!(report.chunks, 0);
        assert_eq!(report.losses.len(), usize::from(!data.is_empty()));
        assert_eq!(backup.oldest_time().unwrap(), None);
    }
}

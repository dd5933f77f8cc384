//! Damage matrix: kind × file × place × what is done next. Nothing panics, nothing hangs, what comes out
//! is right or an error; and a reindex afterwards saves every message whose bytes are intact. The same with
//! the programs themselves, and with backups.db: tests/cli/matrix.

use std::collections::HashMap;
use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use super::compact::{Compact, compact};
use super::reindex::{Reindex, reindex};
use super::scan::{Flushed, ScanEnd, Visitor, scan};
use super::tests::{Octets, append, bodies, mail, mailbox, new_backup};
use super::verify::{Level, verify};
use super::*;
use crate::csync::command::parse_apply;
use crate::csync::dlist::FileRef;
use crate::types::Guid;

/// Five chunks of six messages of 20 KB.
fn thirty(path: &Path, salt: u64) -> HashMap<Guid, Vec<u8>> {
    let mut all = HashMap::new();
    for chunk in 0..5u32 {
        let mut appender = Appender::open(path, false).unwrap();
        let now = 100 * i64::from(chunk) + 100;
        let mails: Vec<Octets> = (0..6)
            .map(|n| mail(salt + u64::from(chunk) * 6 + n, 20_000))
            .collect();
        appender.append_bodies(&bodies(&mails), now).unwrap();
        let records: Vec<_> = (chunk * 6 + 1..)
            .zip(&mails)
            .map(|(uid, mail)| (uid, Guid::of(&mail.0), ""))
            .collect();
        append(&mut appender, &mailbox(&records), now);
        appender.commit().unwrap();
        appender.finish().unwrap();
        all.extend(mails.into_iter().map(|mail| (Guid::of(&mail.0), mail.0)));
    }
    all
}

/// Messages that come back; none of them wrong.
fn read_all(backup: &Backup, mails: &HashMap<Guid, Vec<u8>>) -> usize {
    let read = |(guid, octets): &(&Guid, &Vec<u8>)| match backup.read_message(guid) {
        Ok(read) => {
            assert!(*read == octets[..]);
            true
        }
        Err(_) => false,
    };
    mails.iter().filter(read).count()
}

/// Where a message stands in the data file: from the flush before its line to the flush behind it.
struct Extents {
    flush: u64,
    waiting: Vec<Guid>,
    found: Vec<(Guid, Range<u64>)>,
}

impl Visitor for Extents {
    fn file(&mut self, file: &FileRef, _offset: u64) {
        self.waiting.push(file.guid);
    }

    fn line(&mut self, _offset: u64, _text: &[u8]) -> bool {
        true
    }

    fn flushed(&mut self, at: Flushed) {
        let extent = self.flush..at.file_offset;
        let here = self.waiting.drain(..).map(|guid| (guid, extent.clone()));
        self.found.extend(here);
        self.flush = at.file_offset;
    }
}

fn extents(path: &Path) -> Vec<(Guid, Range<u64>)> {
    let backup = Backup::open(path, Lock::None).unwrap();
    let mut extents = Extents {
        flush: 0,
        waiting: Vec::new(),
        found: Vec::new(),
    };
    for chunk in backup.index().chunks().unwrap() {
        extents.flush = chunk.offset;
        let end = scan(&mut backup.chunk(chunk.id).unwrap(), &mut extents).unwrap();
        assert!(matches!(end, ScanEnd::Complete(_)));
    }
    extents.found
}

/// Messages that no changed byte touches.
fn intact(extents: &[(Guid, Range<u64>)], good: &[u8], bad: &[u8]) -> usize {
    let whole = |(_, extent): &&(Guid, Range<u64>)| {
        let range = extent.start as usize..extent.end as usize;
        bad.get(range.clone()) == Some(&good[range])
    };
    extents.iter().filter(whole).count()
}

fn damage(kind: &str, bytes: &[u8], other: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    match kind {
        "flip" => bytes[at] ^= 0x08,
        "zero" => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
        }
        "cut" => bytes.truncate(at),
        "swap" => return Some(other.to_vec()),
        _ => return None,
    }
    Some(bytes)
}

#[test]
fn nothing_panics_or_lies_and_reindex_saves_what_is_intact() {
    let (_dir, path) = new_backup();
    let (_dir2, other) = new_backup();
    let mails = thirty(&path, 0);
    thirty(&other, 1000);
    let index = layout::index(&path);
    let good = (fs::read(&path).unwrap(), fs::read(&index).unwrap());
    let others = (
        fs::read(&other).unwrap(),
        fs::read(layout::index(&other)).unwrap(),
    );
    let extents = extents(&path);
    assert_eq!(extents.len(), 30);
    let (mut lost, mut saved_all) = (0, 0);
    let places = |bytes: &[u8], n: usize| -> Vec<usize> {
        let step = bytes.len() / n;
        (0..n)
            .map(|i| i * step + i % 7)
            .chain([0, 5, bytes.len() - 1])
            .collect()
    };
    let mut cases = 0;
    for (file, bytes, other) in [("data", &good.0, &others.0), ("index", &good.1, &others.1)] {
        for kind in ["flip", "zero", "cut", "missing", "swap"] {
            let many = matches!(kind, "flip" | "zero" | "cut");
            for at in places(bytes, if many { 9 } else { 1 }) {
                for command in ["read", "verify", "compact", "append", "reindex"] {
                    for path in [layout::new_data(&path), layout::new_index(&path)] {
                        let _ = fs::remove_file(path);
                    }
                    fs::write(&path, &good.0).unwrap();
                    fs::write(&index, &good.1).unwrap();
                    let target = if file == "data" { &path } else { &index };
                    match damage(kind, bytes, other, at) {
                        Some(bad) => fs::write(target, bad).unwrap(),
                        None => fs::remove_file(target).unwrap(),
                    }
                    let case = format!("{file} {kind} at {at}, {command}");
                    run(command, &path, &mails);
                    let gone = file == "data" && matches!(kind, "missing" | "swap");
                    if !gone {
                        let bad = damage(kind, &good.0, &others.0, at);
                        let least = match (file, bad) {
                            ("data", Some(bad)) => intact(&extents, &good.0, &bad),
                            _ => 30,
                        };
                        let done = reindex(&path, Reindex::default(), &mut |_| {});
                        done.unwrap_or_else(|e| panic!("{case}: {}", e.detail()));
                        let backup = Backup::open(&path, Lock::None).unwrap();
                        let saved = read_all(&backup, &mails);
                        assert!(saved >= least, "{case}: {saved} of {least}");
                        lost += usize::from(least < 30);
                        saved_all += saved;
                    }
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} cases, {saved_all} messages saved");
    assert!(lost > 30, "damage that hits no message proves nothing");
}

fn run(command: &str, path: &Path, mails: &HashMap<Guid, Vec<u8>>) {
    match command {
        "read" => {
            if let Ok(backup) = Backup::open(path, Lock::Shared { wait: false }) {
                read_all(&backup, mails);
            }
        }
        "verify" => {
            if let Ok(backup) = Backup::open(path, Lock::Shared { wait: false }) {
                let _ = verify(&backup, Level::Full, &|_| (), |_| ControlFlow::Continue(()));
            }
        }
        "compact" => {
            let how = Compact {
                force: true,
                horizon: Some(50),
                ..Compact::default()
            };
            let _ = compact(path, &how, &mut |_| {}, &mut |_, _| {});
        }
        "append" => {
            if let Ok(mut appender) = Appender::open(path, false) {
                let line = mailbox(&[]);
                let _ = appender.append(&parse_apply(&line).unwrap(), 10_000);
                let _ = appender.commit();
                let _ = appender.finish();
            }
        }
        _ => drop(reindex(path, Reindex::default(), &mut |_| {})),
    }
}

//! Damage × place: whatever is bent in a good backup is found, and the pass ends.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::tests::{Octets, append, bodies, mail, mailbox, new_backup};
use crate::store::{Appender, Lock, layout};
use crate::types::Guid;

/// Every so many bytes; a prime, so that all members are met at all kinds of places.
const STEP: usize = 7;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/fixtures")
        .join(name)
}

/// A copy of a fixture in a directory of its own.
struct Copy {
    dir: tempfile::TempDir,
    data: Vec<u8>,
}

impl Copy {
    fn of(name: &str) -> Copy {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(
            fixture(&format!("{name}.index")),
            dir.path().join("x.index"),
        )
        .unwrap();
        let data = fs::read(fixture(name)).unwrap();
        Copy { dir, data }
    }

    fn sql(self, sql: &str) -> Copy {
        let index = rusqlite::Connection::open(self.dir.path().join("x.index")).unwrap();
        index
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))
            .unwrap();
        self
    }

    fn findings(&self, level: Level) -> Vec<Finding> {
        self.findings_in(&self.data, level)
    }

    fn findings_in(&self, data: &[u8], level: Level) -> Vec<Finding> {
        let path = self.dir.path().join("x");
        fs::write(&path, data).unwrap();
        findings_by(0, &Backup::open(&path, Lock::None).unwrap(), level)
    }
}

/// What so many threads beside this one find.
fn findings_by(threads: usize, backup: &Backup, level: Level) -> Vec<Finding> {
    let mut all = Vec::new();
    let late = verify_with(Some(threads), backup, level, &|_| (), |report| {
        all.extend(report.findings);
        ControlFlow::Continue(())
    })
    .unwrap();
    all.extend(late);
    all
}

#[test]
fn what_c_wrote_is_good() {
    for name in [
        "bethany_sGEZYM",
        "carol",
        "craft-emptychunk",
        "craft-n",
        "craft-plus",
        "craft-quoted",
        "craft-tsline",
    ] {
        for level in [Level::Quick, Level::Full] {
            assert_eq!(Copy::of(name).findings(level), [], "{name}");
        }
    }
}

/// C's reindex of this one died of the clock, and its index says nothing of the second chunk.
#[test]
fn what_c_s_reindex_lost_is_found() {
    let copy = Copy::of("craft-tsback");
    assert_eq!(copy.findings(Level::Quick), []);
    let findings = copy.findings(Level::Full);
    let behind = [Finding {
        chunk: 1,
        offset: Some(109),
        damage: Damage::Behind { octets: 106 },
    }];
    assert_eq!(findings, behind);
}

#[test]
fn every_flipped_byte_is_found() {
    let carol = Copy::of("carol");
    let start = 2870; // of the last member
    for at in (0..carol.data.len()).step_by(STEP) {
        let mut bent = carol.data.clone();
        bent[at] ^= 0x55;
        let findings = carol.findings_in(&bent, Level::Full);
        // Time, flags of the compressor and system in the last member's header mean nothing, and
        // no later chunk has a checksum over them.
        let unused = (start + 4..start + 10).contains(&at);
        assert!(unused || !findings.is_empty(), "byte {at}");
    }
}

#[test]
fn every_truncation_is_found() {
    let carol = Copy::of("carol");
    for length in (0..carol.data.len()).step_by(STEP) {
        for level in [Level::Quick, Level::Full] {
            let findings = carol.findings_in(&carol.data[..length], level);
            assert!(!findings.is_empty(), "cut at {length}, {level:?}");
        }
    }
}

#[test]
fn damage_stays_where_it_is() {
    let carol = Copy::of("carol");
    let mut bent = carol.data.clone();
    bent[2500] ^= 1; // in chunk 3
    let findings = carol.findings_in(&bent, Level::Full);
    let of_chunk_3 = |finding: &Finding| match finding.damage {
        Damage::Unreadable { .. }
        | Damage::MessageMissing { .. }
        | Damage::MessageGuid { .. }
        | Damage::Mailbox { .. }
        | Damage::Record { .. } => finding.chunk == 3,
        // The prefix of chunk 4 is no longer what it was.
        Damage::FileChecksum { .. } => finding.chunk == 4,
        _ => false,
    };
    assert!(findings.iter().all(of_chunk_3), "{findings:?}");
    assert!(matches!(findings[0].damage, Damage::Unreadable { .. }));
    // Nearer to the beginning it costs a message of somebody; whose it is, is known.
    bent[2150] ^= 1;
    let findings = carol.findings_in(&bent, Level::Full);
    let backup = Backup::open(&carol.dir.path().join("x"), Lock::None).unwrap();
    let messages: Vec<&Message> = findings.iter().filter_map(|f| f.damage.message()).collect();
    let mut named = 0;
    for message in messages {
        let index = backup.index();
        let mut places = Vec::new();
        for mailbox in index.mailboxes().unwrap() {
            let records = index.records(mailbox.id).unwrap();
            let mine = records.into_iter().filter(|row| row.guid == message.guid);
            places.extend(mine.map(|row| (mailbox.mboxname.clone(), row.uid)));
        }
        places.sort();
        let told = message.places.iter();
        let told: Vec<_> = told.map(|p| (p.mailbox.mboxname.clone(), p.uid)).collect();
        assert_eq!(told, places);
        named += told.len();
    }
    assert!(named > 0);
}

#[test]
fn every_lie_of_the_index_is_found() {
    for (sql, stage) in [
        (
            "UPDATE chunk SET file_sha1 = '' WHERE id = 1",
            Stage::FileChecksum,
        ),
        (
            "UPDATE chunk SET offset = offset + 1 WHERE id = 3",
            Stage::FileChecksum,
        ),
        (
            "UPDATE chunk SET offset = 999999 WHERE id = 4",
            Stage::FileChecksum,
        ),
        (
            "UPDATE chunk SET length = length + 1 WHERE id = 2",
            Stage::DataLength,
        ),
        (
            "UPDATE chunk SET data_sha1 = file_sha1 WHERE id = 2",
            Stage::DataChecksum,
        ),
        (
            "UPDATE message SET offset = 29 WHERE id = 1",
            Stage::Messages,
        ),
        (
            "UPDATE message SET chunk_id = 4 WHERE id = 1",
            Stage::Messages,
        ),
        ("UPDATE message SET size = 1 WHERE id = 1", Stage::Messages),
        (
            "UPDATE message SET guid = 'da39a3ee5e6b4b0d3255bfef95601890afd80709' WHERE id = 1",
            Stage::Messages,
        ),
        (
            "UPDATE mailbox SET mboxname = 'user.x' WHERE id = 1",
            Stage::Links,
        ),
        (
            "UPDATE mailbox SET uidvalidity = 1 WHERE id = 1",
            Stage::Links,
        ),
        ("UPDATE mailbox SET last_uid = 1 WHERE id = 1", Stage::Links),
        (
            "UPDATE mailbox SET last_chunk_id = 1 WHERE id = 3",
            Stage::Links,
        ),
        (
            "UPDATE mailbox_message SET internaldate = 1 WHERE id = 1",
            Stage::Links,
        ),
        (
            "UPDATE mailbox_message SET last_chunk_id = 4 WHERE id = 1",
            Stage::Links,
        ),
        (
            "UPDATE mailbox_message SET last_chunk_id = 9 WHERE id = 1",
            Stage::Links,
        ),
    ] {
        let findings = Copy::of("carol").sql(sql).findings(Level::Full);
        assert_eq!(findings.first().map(Finding::stage), Some(stage), "{sql}");
    }
}

/// bethany's `Renamed` got its name after its MAILBOX line; the old name would be wrong now.
#[test]
fn renames_are_followed() {
    let sql = "UPDATE mailbox SET mboxname = 'user.bethany.Sub' \
               WHERE mboxname = 'user.bethany.Renamed'";
    let findings = Copy::of("bethany_sGEZYM").sql(sql).findings(Level::Full);
    let [
        Finding {
            chunk: 3, damage, ..
        },
    ] = &findings[..]
    else {
        panic!("{findings:?}")
    };
    assert!(matches!(damage, Damage::Mailbox { .. }));
}

/// Bent bytes and lies of the index: any number of threads finds the same in the same order.
#[test]
fn side_by_side_is_one_after_the_other() {
    let mut damaged = 0;
    let mut compare = |copy: &Copy, what: &str| {
        let backup = Backup::open(&copy.dir.path().join("x"), Lock::None).unwrap();
        for level in [Level::Quick, Level::Full] {
            let alone = findings_by(0, &backup, level);
            damaged += usize::from(!alone.is_empty());
            for threads in [1, 2, 3, 7] {
                let together = findings_by(threads, &backup, level);
                assert_eq!(together, alone, "{what}, {level:?} by {threads}");
            }
        }
    };
    for name in ["carol", "bethany_sGEZYM", "craft-orph", "craft-unk"] {
        let copy = Copy::of(name);
        let mut random = 88172645463325252_u64;
        for round in 0..60 {
            let mut data = copy.data.clone();
            for _ in 0..round % 4 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = random as usize % data.len();
                match random >> 60 {
                    0 => data.truncate(at.max(1)),
                    1..4 => data[at..].iter_mut().take(300).for_each(|byte| *byte = 0),
                    _ => data[at] ^= 1 << (random >> 57 & 7),
                }
            }
            fs::write(copy.dir.path().join("x"), data).unwrap();
            compare(&copy, &format!("{name}, round {round}"));
        }
    }
    for sql in [
        "UPDATE chunk SET offset = offset - 40 WHERE id = 3",
        "UPDATE chunk SET offset = offset + 1 WHERE id = 2",
        "UPDATE chunk SET offset = 999999 WHERE id = 4",
        "UPDATE chunk SET file_sha1 = '' WHERE id IN (1, 2, 4)",
        "UPDATE mailbox_message SET last_chunk_id = 9 WHERE id < 3",
        "UPDATE mailbox SET mboxname = 'user.x' WHERE id > 1",
        "DELETE FROM chunk WHERE id = 2",
        "DELETE FROM chunk",
    ] {
        let copy = Copy::of("carol").sql(sql);
        fs::write(copy.dir.path().join("x"), &copy.data).unwrap();
        compare(&copy, sql);
    }
    assert!(damaged > 200, "{damaged}");
}

/// A large backup stops as soon as a small one.
#[test]
fn a_break_stops_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    fs::File::create(&path).unwrap();
    for n in 0..300 {
        let mut appender = crate::store::Appender::open(&path, false).unwrap();
        let line = format!("SUB %(USERID anne MBOXNAME user.anne.{n})");
        let apply = crate::csync::command::parse_apply(line.as_bytes()).unwrap();
        appender.append(&apply, 100 + n).unwrap();
        appender.finish().unwrap();
    }
    let backup = Backup::open(&path, Lock::None).unwrap();
    for (threads, most) in [(1, 1), (2, 5), (5, 299)] {
        let mut seen = Vec::new();
        let late = verify_with(Some(threads), &backup, Level::Full, &|_| (), |report| {
            seen.push(report.chunk);
            match report.chunk == most {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        assert_eq!(late.unwrap(), []);
        assert_eq!(seen, (1..=most).collect::<Vec<i64>>());
    }
}

/// A backup of ours with some seek points; `bodiless`: and a record whose body never came.
fn ours(bodiless: bool) -> (tempfile::TempDir, PathBuf) {
    let (dir, path) = new_backup();
    let mails: Vec<Octets> = (0..40).map(|n| mail(n, 5_000)).collect();
    let mut appender = Appender::open(&path, false).unwrap();
    appender.append_bodies(&bodies(&mails), 100).unwrap();
    let missing = bodiless.then(|| (99, Guid::of(b"never sent"), ""));
    let records = (1..)
        .zip(&mails)
        .map(|(uid, mail)| (uid, Guid::of(&mail.0), ""));
    let records: Vec<_> = records.chain(missing).collect();
    let line = String::from_utf8(mailbox(&records)).unwrap();
    append(&mut appender, line.replace("SIZE 3 ", "").as_bytes(), 100);
    appender.commit().unwrap();
    appender.finish().unwrap();
    (dir, path)
}

#[test]
fn our_own_tables_are_looked_at() {
    for (sql, short) in [
        ("", None),
        (
            "UPDATE cb_seek SET file_offset = file_offset + 1",
            Some("SeekPoint"),
        ),
        ("UPDATE cb_seek SET offset = offset + 7", Some("SeekPoint")),
        (
            "UPDATE cb_seek SET offset = offset + 9999999",
            Some("SeekPoint"),
        ),
        (
            "UPDATE cb_state SET value = value + 1 WHERE key = 'data_end'",
            Some("SavedHash"),
        ),
        (
            "UPDATE cb_state SET value = CAST(substr(value, 1, 19) || x'5555' || substr(value, 22) AS BLOB) WHERE key = 'sha1'",
            Some("SavedHash"),
        ),
        ("DELETE FROM cb_state WHERE key = 'sha1'", None),
    ] {
        let (_dir, path) = ours(false);
        let index = rusqlite::Connection::open(layout::index(&path)).unwrap();
        index.execute_batch(sql).unwrap();
        drop(index);
        let findings = findings_by(0, &Backup::open(&path, Lock::None).unwrap(), Level::Full);
        let told: Vec<String> = findings.iter().map(|f| format!("{:?}", f.damage)).collect();
        assert_eq!(told.is_empty(), short.is_none(), "{sql}: {told:?}");
        let all = told
            .iter()
            .all(|told| told.starts_with(short.unwrap_or("-")));
        assert!(all, "{sql}: {told:?}");
    }
    // What nobody has indexed.
    let (_dir, path) = ours(false);
    let mut data = fs::read(&path).unwrap();
    let length = data.len() as u64;
    data.extend_from_slice(b"whatever");
    fs::write(&path, data).unwrap();
    let findings = findings_by(0, &Backup::open(&path, Lock::None).unwrap(), Level::Full);
    let [
        Finding {
            chunk: 1,
            offset: Some(at),
            damage: Damage::Behind { octets: 8 },
        },
    ] = &findings[..]
    else {
        panic!("{findings:?}")
    };
    assert_eq!(*at, length);
    // A record whose body never came, and whose it is.
    let (_dir, path) = ours(true);
    let findings = findings_by(0, &Backup::open(&path, Lock::None).unwrap(), Level::Full);
    let [
        Finding {
            damage: Damage::NoBody { place, guid },
            ..
        },
    ] = &findings[..]
    else {
        panic!("{findings:?}")
    };
    let told = (place.mailbox.mboxname.as_str(), place.uid, *guid);
    assert_eq!(told, ("user.anne", 99, Guid::of(b"never sent")));
}

#[test]
fn a_break_ends_the_pass() {
    let carol = Copy::of("carol");
    let path = carol.dir.path().join("x");
    fs::write(&path, &carol.data).unwrap();
    let backup = Backup::open(&path, Lock::None).unwrap();
    let mut seen = Vec::new();
    verify(&backup, Level::Full, &|_| (), |report| {
        seen.push(report.chunk);
        if report.chunk == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(seen, [1, 2]);
}

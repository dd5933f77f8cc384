//! Damage × place: whatever is bent in a good backup is found, and the pass ends.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::Lock;

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
        let backup = Backup::open(&path, Lock::None).unwrap();
        let mut all = Vec::new();
        let late = verify(&backup, level, |report| {
            all.extend(report.findings);
            ControlFlow::Continue(())
        })
        .unwrap();
        all.extend(late);
        all
    }
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
        "craft-tsback",
        "craft-tsline",
    ] {
        for level in [Level::Quick, Level::Full] {
            assert_eq!(Copy::of(name).findings(level), [], "{name}");
        }
    }
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
    let of_chunk_3 = |finding: &Finding| match finding {
        Finding::Unreadable { chunk, .. }
        | Finding::MessageMissing { chunk, .. }
        | Finding::MessageGuid { chunk, .. }
        | Finding::Mailbox { chunk, .. }
        | Finding::Record { chunk, .. } => *chunk == 3,
        // The prefix of chunk 4 is no longer what it was.
        Finding::FileChecksum { chunk, .. } => *chunk == 4,
        _ => false,
    };
    assert!(findings.iter().all(of_chunk_3), "{findings:?}");
    assert!(matches!(findings[0], Finding::Unreadable { .. }));
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
    assert!(
        matches!(findings[..], [Finding::Mailbox { chunk: 3, .. }]),
        "{findings:?}"
    );
}

#[test]
fn a_break_ends_the_pass() {
    let carol = Copy::of("carol");
    let path = carol.dir.path().join("x");
    fs::write(&path, &carol.data).unwrap();
    let backup = Backup::open(&path, Lock::None).unwrap();
    let mut seen = Vec::new();
    verify(&backup, Level::Full, |report| {
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

//! Append, crash, reopen, read: on real files with the real SQLite.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::index::Repair;
use super::*;
use crate::csync::command::{Apply, parse_apply};
use crate::csync::dlist::FileRef;
use crate::types::Guid;

pub(super) struct Octets(pub(super) Vec<u8>);

impl Body for Octets {
    fn file(&self) -> FileRef {
        let size = self.0.len() as u64;
        FileRef {
            partition: b"default".to_vec(),
            guid: Guid::of(&self.0),
            size,
        }
    }

    fn copy_to(&self, to: &mut dyn io::Write) -> io::Result<()> {
        to.write_all(&self.0)
    }
}

pub(super) fn new_backup() -> (tempfile::TempDir, PathBuf) {
    // Memory where there is some: these tests sync thousands of times.
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    }
    .unwrap();
    let path = dir.path().join("anne_abcdef");
    fs::File::create(&path).unwrap();
    (dir, path)
}

pub(super) fn mail(n: u64, size: usize) -> Octets {
    let mut octets = format!("Subject: message {n}\r\n\r\n").into_bytes();
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while octets.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        octets.extend_from_slice(&x.to_le_bytes());
    }
    Octets(octets)
}

/// A MAILBOX line with these (uid, guid, flags) records and a SYNC_CRC of 0.
pub(super) fn mailbox(records: &[(u32, Guid, &str)]) -> Vec<u8> {
    let record = |(uid, guid, flags): &(u32, Guid, &str)| {
        format!(
            "%(UID {uid} MODSEQ {uid} LAST_UPDATED 5 FLAGS ({flags}) INTERNALDATE 7 SIZE 3 \
             GUID {guid})"
        )
    };
    let records: Vec<String> = records.iter().map(record).collect();
    format!(
        "MAILBOX %(UNIQUEID u1 MBOXNAME user.anne SYNC_CRC 0 LAST_UID 9 HIGHESTMODSEQ 9 \
         RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 \
         PARTITION default ACL \"anne\tlrs\t\" OPTIONS P UNHEARD %(OF 1) RECORD ({}))",
        records.join(" ")
    )
    .into_bytes()
}

pub(super) fn append(appender: &mut Appender, text: &[u8], now: i64) {
    appender.append(&parse_apply(text).unwrap(), now).unwrap();
}

pub(super) fn bodies(mails: &[Octets]) -> Vec<&dyn Body> {
    mails.iter().map(|mail| mail as &dyn Body).collect()
}

/// Every row that says something, for comparing two indexes of one data file.
pub(super) fn dump(index: &Index) -> String {
    let mailboxes = index.mailboxes().unwrap();
    let mut text = format!("{:?}\n{mailboxes:?}\n", index.chunks().unwrap());
    for mailbox in &mailboxes {
        text += &format!("{:?}\n", index.records(mailbox.id).unwrap());
        text += &format!("{:?}\n", index.header(mailbox.id).unwrap());
    }
    text + &format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n",
        index.messages().unwrap(),
        index.subscriptions().unwrap(),
        index.seen().unwrap(),
        index.sieve().unwrap()
    )
}

pub(super) fn gunzip(path: &Path) -> Vec<u8> {
    let mut inflated = Vec::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap())
        .read_to_end(&mut inflated)
        .unwrap();
    inflated
}

#[test]
fn what_was_appended_comes_back_after_reopening() {
    let (_dir, path) = new_backup();
    let mails: Vec<Octets> = (0..300)
        .map(|n| mail(n, 50 + (n as usize * 37) % 3000))
        .collect();
    let records: Vec<_> = mails
        .iter()
        .zip(1..)
        .map(|(mail, uid)| (uid, Guid::of(&mail.0), "\\Seen"))
        .collect();
    let mut appender = Appender::open(&path, false).unwrap();
    appender.append_bodies(&bodies(&mails), 1000).unwrap();
    append(&mut appender, &mailbox(&records), 1000);
    appender.commit().unwrap();
    appender.finish().unwrap();

    let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
    assert!(backup.is_current().unwrap());
    for mail in &mails {
        assert_eq!(
            &*backup.read_message(&Guid::of(&mail.0)).unwrap(),
            &mail.0[..]
        );
    }
    let chunk = backup.index().last_chunk().unwrap().unwrap();
    let mut inflated = Vec::new();
    backup
        .chunk(chunk.id)
        .unwrap()
        .read_to_end(&mut inflated)
        .unwrap();
    assert_eq!(inflated.len() as u64, chunk.length.unwrap());
    assert!(inflated == gunzip(&path));
    let points = (0..inflated.len() as u64)
        .filter_map(|offset| backup.index().seek_point(chunk.id, offset).unwrap())
        .map(|point| point.offset)
        .collect::<std::collections::BTreeSet<_>>();
    assert!(points.len() >= 5, "too few seek points: {points:?}");
    let header = backup.index().header(1).unwrap().unwrap();
    assert_eq!(header.repair, Repair::None);
    assert!(header.keys.get("UNHEARD").is_some());
}

#[test]
fn opening_and_asking_leaves_no_trace() {
    let (_dir, path) = new_backup();
    Appender::open(&path, false).unwrap().finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    let appender = Appender::open(&path, false).unwrap();
    let second = Appender::open(&path, false);
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    drop(appender);
    Backup::open(&path, Lock::Shared { wait: false }).unwrap();
}

/// A crash after `commit` (kill -9, or power: the unsynced rest may be there in part) loses
/// nothing that was committed, wherever the torn part ends.
#[test]
fn a_tail_cut_at_any_byte_keeps_all_that_was_committed() {
    let (_dir, path) = new_backup();
    let mut appender = Appender::open(&path, false).unwrap();
    append(
        &mut appender,
        b"SUB %(USERID anne MBOXNAME user.anne.first)",
        10,
    );
    appender.commit().unwrap();
    appender.finish().unwrap();
    let whole = fs::metadata(&path).unwrap().len();

    let mails = [mail(1, 200), mail(2, 300)];
    let mut appender = Appender::open(&path, false).unwrap();
    appender.append_bodies(&bodies(&mails[..1]), 20).unwrap();
    append(
        &mut appender,
        b"SUB %(USERID anne MBOXNAME user.anne.second)",
        20,
    );
    appender.commit().unwrap();
    let committed = fs::metadata(&path).unwrap().len();
    appender.append_bodies(&bodies(&mails[1..]), 30).unwrap();
    append(
        &mut appender,
        b"SUB %(USERID anne MBOXNAME user.anne.third)",
        30,
    );
    appender.commit().unwrap();
    drop(appender); // The index forgets its chunk, as it does after a kill.
    let data = fs::read(&path).unwrap();
    let index = fs::read(layout::index(&path)).unwrap();

    for cut in whole..=data.len() as u64 {
        fs::write(&path, &data[..cut as usize]).unwrap();
        fs::write(layout::index(&path), &index).unwrap();
        let mut appender = Appender::open(&path, false).unwrap_or_else(|e| panic!("{cut}: {e:?}"));
        let subs = appender.index().subscriptions().unwrap().len();
        let expected = if cut >= committed { 2 } else { 1 };
        assert!(subs >= expected, "cut at {cut}: {subs} subscriptions");
        append(
            &mut appender,
            b"SUB %(USERID anne MBOXNAME user.anne.after)",
            40,
        );
        appender.commit().unwrap();
        appender.finish().unwrap();
        let text = gunzip(&path);
        assert!(
            text.windows(15).any(|w| w == b"user.anne.after"),
            "cut at {cut}"
        );

        let backup = Backup::open(&path, Lock::Exclusive { wait: false }).unwrap();
        assert!(backup.is_current().unwrap());
        if cut >= committed {
            assert!(
                backup.read_message(&Guid::of(&mails[0].0)).is_ok(),
                "cut at {cut}"
            );
        }
        for message in backup.index().messages().unwrap() {
            backup.read_row(&message).unwrap();
        }
    }
}

#[test]
fn torn_chunks_of_two_crashes_are_both_saved() {
    let (_dir, path) = new_backup();
    for (name, now) in [("one", 10), ("two", 20)] {
        // C appends behind what its crashed sibling left.
        let mut appender = Appender::open(&path, false).unwrap();
        append(
            &mut appender,
            format!("SUB %(USERID a MBOXNAME {name})").as_bytes(),
            now,
        );
        appender.commit().unwrap();
        drop(appender);
        let torn = fs::read(&path).unwrap();
        let mut all = fs::read(path.with_extension("all")).unwrap_or_default();
        all.write_all(&torn).unwrap();
        fs::write(path.with_extension("all"), all).unwrap();
        fs::write(&path, b"").unwrap();
    }
    fs::rename(path.with_extension("all"), &path).unwrap();
    let appender = Appender::open(&path, false).unwrap();
    let names: Vec<String> = appender
        .index()
        .subscriptions()
        .unwrap()
        .into_iter()
        .map(|row| row.mboxname)
        .collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(appender.index().chunks().unwrap().len(), 2);
    drop(appender);
    let text = gunzip(&path);
    assert!(text.windows(3).any(|w| w == b"one") && text.windows(3).any(|w| w == b"two"));
    let kept = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(kept, 3, "data file, index and the previous data file");
}

/// DESIGN 3: one definition of what a command means.
#[test]
fn an_index_grown_line_by_line_equals_one_replayed_from_the_data() {
    let (_dir, path) = new_backup();
    let mails: Vec<Octets> = (0..20).map(|n| mail(n, 100)).collect();
    let guid = |n: usize| Guid::of(&mails[n].0);
    let mut appender = Appender::open(&path, false).unwrap();
    appender.append_bodies(&bodies(&mails), 100).unwrap();
    let nowhere = Guid::of(b"never came");
    let steps: Vec<Vec<u8>> = vec![
        mailbox(&[
            (1, guid(0), ""),
            (2, guid(1), "\\Seen"),
            (3, guid(0), "$two"),
            (4, nowhere, ""),
        ]),
        mailbox(&[
            (3, guid(0), "\\Expunged"),
            (2, guid(1), "\\Expunged \\Deleted"),
        ]),
        mailbox(&[(5, guid(1), "")]),
        b"SIEVE %(USERID anne FILENAME a.script LAST_UPDATE 5 CONTENT {4}\r\nke\r\n)".to_vec(),
        b"ACTIVATE_SIEVE %(USERID anne FILENAME a.bc)".to_vec(),
        b"SIEVE %(USERID anne FILENAME a.script LAST_UPDATE 6 CONTENT stop;)".to_vec(),
        b"SEEN %(USERID anne UNIQUEID x LASTREAD 1 LASTUID 2 LASTCHANGE 3 SEENUIDS 1:2)".to_vec(),
        b"RENAME %(OLDMBOXNAME user.anne NEWMBOXNAME user.anne.b PARTITION p UIDVALIDITY 4)"
            .to_vec(),
        b"EXPUNGE %(MBOXNAME user.anne.b UNIQUEID u1 UID (1 5))".to_vec(),
        b"UNMAILBOX user.anne.b".to_vec(),
        b"UNSUB %(USERID anne MBOXNAME user.anne)".to_vec(),
        b"QUOTA %(ROOT user.anne LIMIT 5 STORAGE 5 MODSEQ 3)".to_vec(),
    ];
    for (step, now) in steps.iter().zip(101..) {
        append(&mut appender, step, now);
    }
    appender.commit().unwrap();
    drop(appender);
    // Recovery replays everything into an index that knows nothing of it.
    let replayed = Appender::open(&path, false).unwrap();
    let replayed_dump = dump(replayed.index());
    drop(replayed);

    let (_dir2, path2) = new_backup();
    let mut appender = Appender::open(&path2, false).unwrap();
    appender.append_bodies(&bodies(&mails), 100).unwrap();
    for (step, now) in steps.iter().zip(101..) {
        append(&mut appender, step, now);
    }
    appender.commit().unwrap();
    appender.finish().unwrap();
    let grown = Appender::open(&path2, false).unwrap();
    let grown_dump = dump(grown.index());
    drop(grown);
    assert_eq!(grown_dump, replayed_dump);

    // The same once more over an index that C rebuilt: our tables are gone, C's are there.
    let conn = rusqlite::Connection::open(layout::index(&path2)).unwrap();
    conn.execute_batch(
        "DROP TABLE cb_seek; DROP TABLE cb_state; DROP TABLE cb_mailbox; DROP TABLE cb_record;
         DROP TABLE cb_quota;",
    )
    .unwrap();
    drop(conn);
    let adopted = Appender::open(&path2, false).unwrap();
    assert_eq!(dump(adopted.index()), grown_dump);
    assert_eq!(adopted.index().quotas().unwrap().len(), 1);
}

/// Spec: ondisk 10.2 and 10.3, csync 14.6: two UIDs of one message, expunged and alive again.
#[test]
fn uids_are_the_truth_where_c_has_one_row_per_message() {
    let (_dir, path) = new_backup();
    let mails = [mail(1, 50)];
    let guid = Guid::of(&mails[0].0);
    let mut appender = Appender::open(&path, false).unwrap();
    appender.append_bodies(&bodies(&mails), 1).unwrap();
    let states = |appender: &Appender| -> Vec<(u32, bool)> {
        let rows = appender.index().records(1).unwrap();
        rows.iter()
            .map(|row| (row.uid, row.expunged.is_none()))
            .collect()
    };
    append(&mut appender, &mailbox(&[(1, guid, ""), (2, guid, "")]), 2);
    assert_eq!(states(&appender), [(1, true), (2, true)]);
    append(&mut appender, &mailbox(&[(2, guid, "\\Expunged")]), 3);
    assert_eq!(states(&appender), [(1, true), (2, false)]);
    append(
        &mut appender,
        &mailbox(&[(1, guid, "\\Expunged"), (3, guid, "")]),
        4,
    );
    assert_eq!(states(&appender), [(1, false), (2, false), (3, true)]);
    // C's single row shows the living one.
    let conn = rusqlite::Connection::open(layout::index(&path)).unwrap();
    drop(conn);
    appender.commit().unwrap();
    appender.finish().unwrap();
    let conn = rusqlite::Connection::open(layout::index(&path)).unwrap();
    let row: (u32, Option<i64>) = conn
        .query_row("SELECT uid, expunged FROM mailbox_message", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .unwrap();
    assert_eq!(row, (3, None));
}

/// The line's last word on a UID counts, whether its mailbox is new or not.
#[test]
fn a_uid_named_twice_in_one_line_is_one_record() {
    let mails = [mail(1, 50), mail(2, 50)];
    let [one, two] = [0, 1].map(|n| Guid::of(&mails[n].0));
    for (twice, last) in [
        ([(1, one, ""), (1, two, "\\Seen")], (two, "(\\Seen)")),
        ([(1, one, ""), (1, one, "\\Seen")], (one, "(\\Seen)")),
        ([(1, one, "\\Expunged"), (1, one, "")], (one, "()")),
    ] {
        for known in [false, true] {
            let (_dir, path) = new_backup();
            let mut appender = Appender::open(&path, false).unwrap();
            appender.append_bodies(&bodies(&mails), 1).unwrap();
            if known {
                append(&mut appender, &mailbox(&[]), 1);
            }
            let records = [(3, two, ""), twice[0], twice[1], (2, one, "")];
            append(&mut appender, &mailbox(&records), 2);
            let index = appender.index();
            let rows = index.records(1).unwrap();
            let uids: Vec<u32> = rows.iter().map(|row| row.uid).collect();
            assert_eq!(uids, [1, 2, 3], "{twice:?}");
            let first = (rows[0].guid, rows[0].flags.as_str());
            assert_eq!(first, last, "{twice:?}");
            assert_eq!(rows[0].expunged, None, "{twice:?}");
            // The CRC is that of a line which names it once.
            let crc = index.header(1).unwrap().unwrap().crc;
            let (_dir, path) = new_backup();
            let mut once = Appender::open(&path, false).unwrap();
            once.append_bodies(&bodies(&mails), 1).unwrap();
            append(
                &mut once,
                &mailbox(&[twice[1], (2, one, ""), (3, two, "")]),
                2,
            );
            assert_eq!(crc, once.index().header(1).unwrap().unwrap().crc);
        }
    }
}

#[test]
fn a_wrong_crc_asks_for_the_full_list_and_a_right_one_does_not() {
    let (_dir, path) = new_backup();
    let mut appender = Appender::open(&path, false).unwrap();
    let text = String::from_utf8(mailbox(&[])).unwrap();
    append(
        &mut appender,
        text.replace("SYNC_CRC 0", "SYNC_CRC 77").as_bytes(),
        1,
    );
    assert_eq!(
        appender.index().header(1).unwrap().unwrap().repair,
        Repair::Wanted
    );
    append(&mut appender, text.as_bytes(), 1);
    assert_eq!(
        appender.index().header(1).unwrap().unwrap().repair,
        Repair::None
    );
}

#[test]
fn damage_is_an_error_for_its_message_only() {
    let (_dir, path) = new_backup();
    let mails: Vec<Octets> = (0..40).map(|n| mail(n, 20_000)).collect();
    let mut appender = Appender::open(&path, false).unwrap();
    appender.append_bodies(&bodies(&mails), 1000).unwrap();
    appender.commit().unwrap();
    appender.finish().unwrap();
    let mut data = fs::read(&path).unwrap();
    let middle = data.len() / 2;
    data[middle] ^= 0x55;
    fs::write(&path, &data).unwrap();
    let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
    let mut lost = 0;
    for mail in &mails {
        match backup.read_message(&Guid::of(&mail.0)) {
            Ok(octets) => assert_eq!(&*octets, &mail.0[..]),
            Err(StoreError::Damaged { .. }) => lost += 1,
            Err(e) => panic!("{e:?}"),
        }
    }
    assert!(
        (1..=4).contains(&lost),
        "{lost} of 40 messages lost to one byte"
    );
}

#[test]
fn what_is_no_line_is_refused_and_harms_nothing() {
    let (_dir, path) = new_backup();
    let mut appender = Appender::open(&path, false).unwrap();
    for apply in [Apply::Unknown("FROB".into()), Apply::Message(Vec::new())] {
        let refused = appender.append(&apply, 1);
        assert!(matches!(refused, Err(StoreError::BadCommand { .. })));
    }
    append(&mut appender, b"SUB %(USERID a MBOXNAME b)", 1);
    appender.commit().unwrap();
}

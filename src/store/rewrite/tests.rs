//! The machine by itself: selections that are not compaction's, damage, interrupted swaps.

use std::fs;

use super::*;
use crate::csync::command::Record;
use crate::store::tests::{Octets, append, bodies, dump, mail, mailbox, new_backup};
use crate::store::{Appender, Backup, Lock};
use crate::types::Guid;

/// Everything stays but one message, as purge does it.
struct Without(Guid);

impl Selection for Without {
    fn line(&self, _line: Line<'_>) -> Verdict {
        Verdict::Keep
    }

    fn record(&self, _line: Line<'_>, _uniqueid: &str, record: &Record) -> bool {
        record.guid != self.0
    }

    fn body(&self, _line: u64, _item: u32, guid: &Guid) -> bool {
        *guid != self.0
    }
}

/// Three chunks of ten messages with a size of 9000.
fn thirty(path: &Path) -> Vec<Octets> {
    let mails: Vec<Octets> = (0..30).map(|n| mail(n, 9000)).collect();
    for (n, ten) in (0u32..).zip(mails.chunks(10)) {
        let mut appender = Appender::open(path, false).unwrap();
        let now = i64::from(n) * 100 + 100;
        appender.append_bodies(&bodies(ten), now).unwrap();
        let records: Vec<_> = (n * 10..)
            .zip(ten)
            .map(|(uid, mail)| (uid + 1, Guid::of(&mail.0), ""))
            .collect();
        append(&mut appender, &mailbox(&records), now);
        appender.commit().unwrap();
        appender.finish().unwrap();
    }
    mails
}

fn write_anew(path: &Path, selection: &dyn Selection, sizes: Sizes) -> Stats {
    let rewrite = Rewrite::open(path, false).unwrap();
    let members = rewrite.measure(selection, &mut |_| {}).unwrap();
    let chunks = arrange(&members, sizes);
    let terms = WriteTerms::default();
    rewrite
        .write(selection, &members, &chunks, &terms, &mut |_| {})
        .unwrap()
}

fn readable(path: &Path, mails: &[Octets]) -> usize {
    let backup = Backup::open(path, Lock::None).unwrap();
    let read = |mail: &&Octets| {
        let octets = backup.read_message(&Guid::of(&mail.0));
        octets.is_ok_and(|octets| *octets == mail.0[..])
    };
    mails.iter().filter(read).count()
}

#[test]
fn what_is_deselected_is_gone_and_the_rest_is_as_it_was() {
    let (_dir, path) = new_backup();
    let mails = thirty(&path);
    let gone = Guid::of(&mails[14].0);
    let stats = write_anew(&path, &Without(gone), Sizes::default());
    assert_eq!((stats.copied, stats.written), (2, 1));
    assert_eq!(readable(&path, &mails), 29);
    let inflated = crate::store::tests::gunzip(&path);
    let name = gone.to_string();
    assert!(memchr::memmem::find(&inflated, name.as_bytes()).is_none());
    let backup = Backup::open(&path, Lock::None).unwrap();
    assert!(backup.is_current().unwrap());
    assert_eq!(backup.index().records(1).unwrap().len(), 29);
    // Long lines were written with places to start reading.
    assert!(
        backup
            .index()
            .seek_point(2, u64::MAX >> 1)
            .unwrap()
            .is_some()
    );
    let again = write_anew(&path, &Without(gone), Sizes::default());
    assert_eq!((again.copied, again.written), (3, 0));
    let one = write_anew(
        &path,
        &Without(gone),
        Sizes {
            min: 1 << 30,
            max: 0,
        },
    );
    assert_eq!((one.copied, one.written), (0, 1));
    assert_eq!(readable(&path, &mails), 29);
}

#[test]
fn a_damaged_chunk_loses_its_damaged_lines_and_no_others() {
    let (_dir, path) = new_backup();
    let mails = thirty(&path);
    let mut data = fs::read(&path).unwrap();
    let middle = data.len() / 2;
    data[middle] ^= 0x40;
    fs::write(&path, &data).unwrap();
    let before = readable(&path, &mails);
    assert!((26..30).contains(&before), "{before}");
    let stats = write_anew(&path, &Without(Guid::of(b"")), Sizes::default());
    assert_eq!(stats.copied, 2);
    assert!(readable(&path, &mails) >= before);
    let (_, report) = Backup::open_rebuilt(&path, Lock::None).unwrap();
    assert_eq!(report.losses, []);
}

/// Every state that a crash around the two renames can leave.
#[test]
fn an_interrupted_swap_is_finished_or_forgotten() {
    let (_dir, path) = new_backup();
    let mails = thirty(&path);
    let gone = Guid::of(&mails[0].0);
    let index = layout::index(&path);
    let (new_data, new_index) = (layout::new_data(&path), layout::new_index(&path));
    let kept = path.with_extension("kept");
    let old = (fs::read(&path).unwrap(), fs::read(&index).unwrap());
    write_anew(&path, &Without(gone), Sizes::default());
    let new = (fs::read(&path).unwrap(), fs::read(&index).unwrap());
    let state = || {
        let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
        assert!(backup.is_current().unwrap());
        dump(backup.index())
    };
    let dump_new = state();

    // Between the renames: the file of the new data is there under its new name. Reading works at
    // once, and the next writer finishes.
    fs::rename(&index, &new_index).unwrap();
    fs::write(&index, &old.1).unwrap();
    assert_eq!(state(), dump_new);
    assert_eq!(readable(&path, &mails), 29);
    assert!(new_index.exists());
    drop(Appender::open(&path, false).unwrap());
    assert!(!new_index.exists());
    assert_eq!(state(), dump_new);

    // Before the first one: all there, or only begun.
    for (data, index_bytes) in [
        (&new.0[..], &new.1[..]),
        (&new.0[..500], &b"SQLite"[..]),
        (b"", b""),
    ] {
        fs::rename(&path, &kept).unwrap();
        fs::write(&new_data, data).unwrap();
        fs::write(&new_index, index_bytes).unwrap();
        fs::write(&path, &old.0).unwrap();
        fs::write(&index, &old.1).unwrap();
        assert_eq!(readable(&path, &mails), 30);
        drop(Appender::open(&path, false).unwrap());
        assert!(!new_data.exists() && !new_index.exists());
        assert_eq!(readable(&path, &mails), 30);
    }
}

/// Killed between SQLite's first write to a journal and its sync.
#[test]
fn a_journal_that_says_nothing_yet_is_cleared_away() {
    let (_dir, path) = new_backup();
    thirty(&path);
    let journal = layout::index_journal(&path);
    let index = Index::open(&layout::index(&path)).unwrap();
    index.begin().unwrap();
    index.set_inode(1).unwrap();
    let begun = fs::read(&journal).unwrap();
    drop(index);
    assert!(begun.len() > 512 && !journal.exists());
    for said in [&begun[..], b""] {
        fs::write(&journal, said).unwrap();
        drop(Rewrite::open(&path, false).unwrap());
        assert!(!journal.exists(), "{} octets", said.len());
    }
}

#[test]
fn a_held_backup_is_refused() {
    let (_dir, path) = new_backup();
    thirty(&path);
    let mark = marks::Mark {
        time: 1,
        text: "a court".to_owned(),
    };
    marks::Kind::Hold.set(&path, &mark).unwrap();
    assert!(matches!(
        Rewrite::open(&path, false),
        Err(StoreError::Held { .. })
    ));
}

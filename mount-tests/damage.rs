//! Damage costs the messages it touches and no others, and never shows as wrong or missing bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use cyrusbackup::types::Guid;

use crate::support::{LOG_TIME, Mount, Scratch, can_mount, files, fixture, message};

const COUNT: u64 = 60;

#[test]
fn one_bad_byte_costs_only_what_it_touches() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..COUNT).map(|n| message(n, 20_000)).collect();
    scratch.append("user.anne", &bodies, 5);
    let len = scratch.path().metadata().unwrap().len();
    let data = std::fs::File::options()
        .write(true)
        .open(scratch.path())
        .unwrap();
    data.write_all_at(&[0xff; 16], len / 2).unwrap();

    // What the store's own reader gives up, asked for each message by itself.
    let lost = |uid: u64| {
        let guid = Guid::of(&bodies[uid as usize - 1]);
        scratch.open().read_message(&guid).is_err()
    };
    let expected: Vec<u64> = (1..=COUNT).filter(|uid| lost(*uid)).collect();
    assert!(!expected.is_empty() && expected.len() <= 5, "{expected:?}");

    let mount = Mount::new(&scratch.spec(), "ro");
    let read = |uid: u64| (uid, mount.read(&format!("mailboxes/INBOX/{uid}.eml")));
    let read: BTreeMap<_, _> = (1..=COUNT).map(read).collect();
    for (uid, result) in read {
        match result {
            Ok(octets) => {
                assert!(octets == bodies[uid as usize - 1], "{uid}");
                assert!(!expected.contains(&uid), "{uid}");
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EIO));
                assert!(expected.contains(&uid), "{uid}");
            }
        }
    }
    // The bytes as they are can be taken to a workshop.
    assert_eq!(mount.read("chunks/00000001.gz").unwrap().len() as u64, len);
}

/// A backup of C's with a byte changed: every message is right or EIO.
#[test]
fn a_damaged_backup_of_c_gives_right_bytes_or_eio() {
    if !can_mount() {
        return;
    }
    let scratch = fixture("craft-corr");
    let backup = scratch.open();
    let mount = Mount::new(&scratch.spec(), "ro");
    let (mut right, mut damaged) = (0, 0);
    for mail in crate::support::files(&mount.join("mailboxes")) {
        let path = mount.join("mailboxes").join(mail);
        let guid = crate::metadata::xattr(&path, "user.cyrus.guid").unwrap();
        let guid: Guid = guid.parse().unwrap();
        match (std::fs::read(&path), backup.read_message(&guid)) {
            (Ok(octets), Ok(expected)) => {
                assert_eq!(Guid::of(&octets), guid);
                assert!(octets[..] == expected[..]);
                right += 1;
            }
            (Err(error), Err(_)) => {
                assert_eq!(error.raw_os_error(), Some(libc::EIO));
                damaged += 1;
            }
            (mounted, stored) => panic!("{path:?}: {:?}, {:?}", mounted.err(), stored.err()),
        }
    }
    assert!(right > 0 && damaged > 0, "{right} right, {damaged} damaged");
}

/// Nobody has to repair a backup before he can look into it.
#[test]
fn a_missing_or_stale_index_is_made_in_memory() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let with = Mount::new(&carol.spec(), "ro");
    let mut expected = Vec::new();
    for path in files(&with.join("mailboxes")) {
        expected.push((
            path.clone(),
            with.read(&format!("mailboxes/{}", path.display())).unwrap(),
        ));
    }
    with.unmount();
    let shown = |what: &str| {
        let mount = Mount::new(&carol.spec(), "ro");
        for (path, octets) in &expected {
            let found = mount
                .read(&format!("mailboxes/{}", path.display()))
                .unwrap();
            assert!(found == *octets, "{what}: {path:?}");
        }
        let pieces = mount.list("chunks").into_iter();
        let pieces = pieces.flat_map(|piece| mount.read(&format!("chunks/{piece}")).unwrap());
        let whole: Vec<u8> = pieces.collect();
        assert!(whole == std::fs::read(carol.path()).unwrap(), "{what}");
        mount.unmount();
    };
    let index = std::fs::read(carol.index()).unwrap();
    std::fs::remove_file(carol.index()).unwrap();
    shown("missing");
    assert!(!carol.index().exists(), "the mount wrote to the store");
    std::fs::write(
        carol.index(),
        b"no database at all, but long enough to be looked at",
    )
    .unwrap();
    shown("broken");

    // A crash after data, before the index.
    std::fs::write(carol.index(), index).unwrap();
    let stale = std::fs::read(carol.index()).unwrap();
    let late = b"Subject: late\r\n\r\n";
    let guid = Guid::of(late);
    let line = format!(
        "MAILBOX %(UNIQUEID late MBOXNAME user.carol.Late LAST_UID 1 HIGHESTMODSEQ 1 RECENTUID 0 \
         RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 PARTITION default ACL \"\" \
         OPTIONS P RECORD (%(UID 1 MODSEQ 1 LAST_UPDATED 1 FLAGS () INTERNALDATE 1 SIZE 3 \
         GUID {guid})))"
    );
    carol.log(LOG_TIME + 1_000_000_000, &[late], &[&line]);
    std::fs::write(carol.index(), &stale).unwrap();
    shown("stale");
    let mount = Mount::new(&carol.spec(), "ro");
    assert_eq!(mount.read("mailboxes/Late/1.eml").unwrap(), late);
    assert!(
        std::fs::read(carol.index()).unwrap() == stale,
        "the mount wrote to the store"
    );
}

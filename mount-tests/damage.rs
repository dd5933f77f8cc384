//! Damage costs the messages it touches and no others, and never shows as wrong or missing bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use cyrusbackup::types::Guid;

use crate::support::{Mount, Scratch, can_mount, fixture, message};

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

#[test]
fn a_backup_without_index_is_not_shown_as_an_empty_one() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    std::fs::remove_file(carol.index()).unwrap();
    let mount = Mount::bare();
    let refused = crate::support::run(&[&carol.spec(), mount.path().to_str().unwrap()]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(32));
    assert!(text.contains("reindex"), "{text}");
}

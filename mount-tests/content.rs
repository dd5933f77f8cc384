//! What is in the files: messages, and the data file itself.

use std::collections::BTreeMap;
use std::time::Instant;

use cyrusbackup::types::Guid;

use crate::support::{Mount, Scratch, can_mount, files, fixture, message};

/// Live messages with bodies: UID and octets, by unique id of the mailbox.
fn live(scratch: &Scratch) -> BTreeMap<(String, u32), Vec<u8>> {
    let backup = scratch.open();
    let mut all = BTreeMap::new();
    for mailbox in backup.index().mailboxes().unwrap() {
        if mailbox.deleted.is_some() {
            continue;
        }
        for record in backup.index().records(mailbox.id).unwrap() {
            if record.expunged.is_none() && record.message_id.is_some() {
                let octets = backup.read_message(&record.guid).unwrap().to_vec();
                all.insert((mailbox.mboxname.clone(), record.uid), octets);
            }
        }
    }
    all
}

fn shown(mount: &Mount) -> BTreeMap<(String, u32), Vec<u8>> {
    let mails = files(&mount.join("mailboxes")).into_iter();
    let mails = mails.map(|path| {
        let path = mount.join("mailboxes").join(path);
        let uid = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        // A message that several mailboxes show has none of its own; its directory has.
        let mailbox = crate::metadata::xattr(path.parent().unwrap(), "user.cyrus.mailbox").unwrap();
        ((mailbox, uid), std::fs::read(&path).unwrap())
    });
    mails.collect()
}

#[test]
fn every_live_message_is_there_byte_for_byte() {
    if !can_mount() {
        return;
    }
    let ours = Scratch::empty("anne_AAAAAA");
    let sizes = [1, 4095, 4096, 4097, 300_000, 3_000_000];
    let bodies: Vec<_> = (0..).zip(sizes).map(|(n, size)| message(n, size)).collect();
    ours.append("user.anne", &bodies, 3);
    let copies = [bodies[1].clone(), message(99, 77)];
    ours.append("user.anne.Archive.2024", &copies, 1);
    for scratch in [ours, fixture("carol"), fixture("bethany_sGEZYM")] {
        let expected = live(&scratch);
        assert!(expected.len() > 3);
        let mount = Mount::new(&scratch.spec(), "ro");
        assert!(shown(&mount) == expected, "{}", scratch.path().display());
    }
}

/// The kernel asks for it in hundreds of pieces.
#[test]
fn a_very_large_message_is_not_inflated_for_each_piece() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    let body = message(1, 40_000_000);
    scratch.append("user.anne", std::slice::from_ref(&body), 1);
    let start = Instant::now();
    assert!(scratch.open().read_message(&Guid::of(&body)).unwrap()[..] == body[..]);
    let once = start.elapsed();
    let mount = Mount::new(&scratch.spec(), "ro");
    let start = Instant::now();
    assert!(mount.read("mailboxes/INBOX/1.eml").unwrap() == body);
    let took = start.elapsed();
    assert!(
        took < once * 30,
        "{took:?} through the mount, {once:?} from the store"
    );
}

#[test]
fn expunged_messages_and_deleted_mailboxes_are_not_in_mailboxes() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    // C's index: UID 2 of INBOX is expunged, the mailbox Tmp is deleted.
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
    assert_eq!(mount.list("mailboxes/INBOX"), ["1.eml", "3.eml", "4.eml"]);
    assert_eq!(
        mount
            .read("mailboxes/INBOX/2.eml")
            .unwrap_err()
            .raw_os_error(),
        Some(2)
    );
}

#[test]
fn cat_of_chunks_is_the_data_file() {
    if !can_mount() {
        return;
    }
    // The second has bytes between its chunks that no chunk of the index covers.
    for name in ["carol", "craft-orph"] {
        let scratch = fixture(name);
        let mount = Mount::new(&scratch.spec(), "ro");
        let pieces = mount.list("chunks");
        assert!(pieces.len() > 1);
        let whole: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| mount.read(&format!("chunks/{piece}")).unwrap())
            .collect();
        assert!(whole == std::fs::read(scratch.path()).unwrap(), "{name}");
    }
}

#[test]
fn bytes_behind_the_last_chunk_are_shown_too() {
    if !can_mount() {
        return;
    }
    let scratch = fixture("carol");
    let mut data = std::fs::read(scratch.path()).unwrap();
    data.extend_from_slice(b"what a crash left");
    std::fs::write(scratch.path(), &data).unwrap();
    let mount = Mount::new(&scratch.spec(), "ro");
    let last = mount.list("chunks").pop().unwrap();
    assert!(
        mount
            .read(&format!("chunks/{last}"))
            .unwrap()
            .ends_with(b"what a crash left")
    );
}

#[test]
fn folder_names_are_readable_and_safe() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    for (number, name) in (0..).zip([
        "user.anne",
        "user.anne.Entw&APw-rfe",
        "user.anne.a/b",
        "user.anne.17^eml",
        "user.anne.INBOX",
        "user.anne.^^",
        "user.anne.x.y.z",
    ]) {
        scratch.append(name, &[message(number, 100)], 1);
    }
    let mount = Mount::new(&scratch.spec(), "ro");
    let expected = [
        "%2E%2E/1.eml",
        "%49NBOX/1.eml",
        "17%2Eeml/1.eml",
        "Entwürfe/1.eml",
        "INBOX/1.eml",
        "a%2Fb/1.eml",
        "x/y/z/1.eml",
    ];
    let found = files(&mount.join("mailboxes"));
    let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_message_whose_body_never_came_is_listed_and_is_no_file() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    let guid = Guid::of(b"never came");
    scratch.append("user.anne", &[message(1, 100)], 1);
    scratch.append_without_bodies("user.anne.Lost", &[guid]);
    let mount = Mount::new(&scratch.spec(), "ro");
    assert_eq!(mount.list("mailboxes/INBOX"), ["1.eml"]);
    assert_eq!(mount.list("mailboxes/Lost"), ["missing.txt"]);
    let list = String::from_utf8(mount.read("mailboxes/Lost/missing.txt").unwrap()).unwrap();
    assert!(list.contains(&format!("1\t{guid}\t")), "{list}");
}

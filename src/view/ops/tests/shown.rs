//! What the tree shows beside live messages, and how else it can show them.

use super::super::super::mails::Layout;
use super::*;

/// Everything that the tree can show.
pub(super) fn full() -> Memory {
    let mut backup = anne()
        .mailbox("DELETED.user.anne.Old.Sub.5F0A1B2C", &["five", "six"])
        .mailbox(
            "user.anne.Cal",
            &["Content-Type: text/calendar\r\n\r\nBEGIN", "no object"],
        )
        .expunge(1, 3)
        .expunge(4, 1)
        .expunge(5, 1)
        .script("vacation.script", Ok("keep;"))
        .script("vacation.sieve", Ok("discard;"))
        .script(
            "broken",
            Err(ViewError::Damaged {
                path: "/b/anne_AAAAAA".into(),
                what: "x".to_owned(),
            }),
        );
    backup.mailboxes[4].kind = Some("c".to_owned());
    backup
}

#[test]
fn nothing_is_dropped() {
    let (ops, _) = full().sole();
    let paths: Vec<_> = find(&ops).into_keys().collect();
    for path in [
        "/expunged/INBOX/3.eml",
        "/expunged/Old/Sub@2020-07-11T200356Z/1.eml",
        "/expunged/Cal/1.eml",
        "/expunged/Cal/1.ics",
        "/deleted/Old/Sub@2020-07-11T200356Z/2.eml",
        "/mailboxes/Cal/2.eml",
        "/sieve/broken",
        "/sieve/vacation.sieve",
        "/sieve/vacation.sieve%~2",
    ] {
        assert!(
            paths.iter().any(|known| known == path),
            "{path}\n{paths:#?}"
        );
    }
    let expunged = paths.iter().filter(|path| path.starts_with("/expunged/"));
    assert_eq!(expunged.count(), 8);
    let deleted = paths.iter().filter(|path| path.starts_with("/deleted/"));
    assert_eq!(deleted.count(), 3);
    check_consistency(&ops);
}

#[test]
fn the_other_files_can_be_read() {
    let (ops, _) = full().sole();
    let read = |path: &str| {
        let attr = walk(&ops, path).unwrap();
        let data = ops.read(attr.ino, 0, 100_000)?;
        assert_eq!(data.as_slice().len() as u64, attr.size, "{path}");
        Ok(String::from_utf8(data.as_slice().to_vec()).unwrap())
    };
    assert_eq!(read("expunged/Cal/1.ics"), Ok("BEGIN".to_owned()));
    let part = walk(&ops, "expunged/Cal/1.ics").unwrap().ino;
    assert_eq!(ops.read(part, 3, 100).unwrap().as_slice(), b"IN");
    assert_eq!(ops.read(part, 9, 100).unwrap().as_slice(), b"");
    assert_eq!(read("sieve/vacation.sieve"), Ok("keep;".to_owned()));
    assert!(
        read("mailboxes.json")
            .unwrap()
            .contains(r#""path": "mailboxes/INBOX""#)
    );
    assert!(
        read("mailboxes.json")
            .unwrap()
            .contains(r#""path": "deleted/Old/Sub@2020-"#)
    );
    assert!(
        read("seen.json")
            .unwrap()
            .contains(r#""mboxname": "user.anne""#)
    );
    assert!(
        read("subscriptions.txt")
            .unwrap()
            .ends_with("user.anne\tmailboxes/INBOX\n")
    );
    // Not an empty file, which nobody would ask us for.
    assert_eq!(walk(&ops, "sieve/broken").unwrap().size, 1);
    assert!(matches!(
        read("sieve/broken"),
        Err(ViewError::Damaged { .. })
    ));
    let script = walk(&ops, "sieve/vacation.sieve").unwrap().ino;
    assert_eq!(ops.getxattr(script, "user.cyrus.active"), Ok(b"1".to_vec()));
}

#[test]
fn a_maildir_has_flags_in_its_names() {
    let mut backup = full().mailbox("user.anne.a^b", &["seven"]);
    backup.shape.layout = Layout::Maildir;
    let (ops, _) = backup.sole();
    let found = find(&ops);
    let guid = &Guid::of(b"four").to_string()[..16];
    for path in [
        "/Maildir/cur",
        "/Maildir/new",
        "/Maildir/tmp",
        &format!("/Maildir/.Archive.2024/cur/1600000001.U1G{guid}.cyrus,S=4:2,S"),
        "/Maildir/.Empty/tmp",
        "/Maildir/.a%2Eb/cur",
        "/expunged/INBOX/3.eml",
    ] {
        assert!(found.contains_key(path), "{path}\n{:#?}", found.keys());
    }
    check_consistency(&ops);
}

#[test]
fn chunks_can_be_shown_as_text() {
    let mut backup = anne();
    backup.shape.plain_chunks = true;
    let (ops, _) = backup.sole();
    let piece = walk(&ops, "chunks/00000002.txt").unwrap();
    assert_eq!(piece.size, 15);
    assert_eq!(
        ops.read(piece.ino, 0, 99).unwrap().as_slice(),
        b"text of chunk 2"
    );
    assert_eq!(ops.read(piece.ino, 8, 3).unwrap().as_slice(), b"chu");
    check_consistency(&ops);
}

#[test]
fn one_message_in_several_mailboxes_is_one_file() {
    let (ops, _) = anne().mailbox("user.anne.Copy", &["one", "other"]).sole();
    let of = |path: &str| walk(&ops, path).unwrap();
    let (one, copy) = (of("mailboxes/INBOX/1.eml"), of("mailboxes/Copy/1.eml"));
    assert_eq!((one, one.nlink), (copy, 2));
    assert_eq!(of("mailboxes/Copy/2.eml").nlink, 1);
    assert_eq!(ops.read(copy.ino, 0, 9).unwrap().as_slice(), b"one");
    // A UID that is only one of two is not told.
    assert_eq!(
        ops.getxattr(one.ino, "user.cyrus.uid"),
        Err(ViewError::NoAttribute)
    );
    assert!(ops.getxattr(one.ino, "user.cyrus.flags").is_ok());
    check_consistency(&ops);
}

#[test]
fn past_moments_are_looked_up() {
    let (ops, source) = anne().sole();
    let past = walk(&ops, "@2023-11-15").unwrap();
    assert!(find(&ops).keys().all(|path| !path.contains('@')));
    let names = |ino| -> Vec<String> { list(&ops, ino).into_iter().map(|e| e.0).collect() };
    let top = names(past.ino);
    assert!(top.contains(&"mailboxes".to_owned()) && !top.contains(&"chunks".to_owned()));
    assert_eq!(ops.lookup(past.ino, "..").unwrap().ino, ROOT);
    let inbox = walk(&ops, "@2023-11-15/mailboxes/INBOX").unwrap().ino;
    assert_eq!(names(inbox), [".", "..", "1.eml", "3.eml"]);
    let mail = walk(&ops, "@2023-11-15/mailboxes/INBOX/1.eml").unwrap().ino;
    assert_ne!(mail, walk(&ops, "mailboxes/INBOX/1.eml").unwrap().ino);
    // A moment below a moment, no moment, one to come, one that nobody knows of.
    assert_eq!(
        ops.lookup(past.ino, "@2023-11-15"),
        Err(ViewError::NotFound)
    );
    assert_eq!(ops.lookup(ROOT, "@soon"), Err(ViewError::NotFound));
    assert_eq!(ops.lookup(ROOT, "@2030-01-01"), Err(ViewError::NotYet));
    let old = ops.lookup(ROOT, "@2001-01-01").unwrap_err();
    assert!(matches!(old, ViewError::TooOld { .. }) && old.errno() == libc::ENODATA);
    let oldest = ops.getxattr(ROOT, "user.cyrus.oldest").unwrap();
    assert_eq!(oldest, b"2023-11-14T221140Z");
    // Few stay in memory; one that went is made again, with the same numbers.
    let made = source.loads.load(Ordering::Relaxed);
    for hour in 0..9 {
        walk(&ops, &format!("@2023-11-15T{hour:02}:00:00Z")).unwrap();
    }
    assert_eq!(names(inbox), [".", "..", "1.eml", "3.eml"]);
    assert_eq!(
        walk(&ops, "@2023-11-15/mailboxes/INBOX/1.eml").unwrap().ino,
        mail
    );
    assert_eq!(source.loads.load(Ordering::Relaxed), made + 1000);
}

#[test]
fn moments_of_many_users() {
    let (ops, ..) = all(&["anne", "bob"]);
    let anne = walk(&ops, "anne/@2023-11-15/mailboxes/INBOX/1.eml")
        .unwrap()
        .ino;
    let bob = walk(&ops, "bob/@2023-11-15/mailboxes/INBOX/1.eml")
        .unwrap()
        .ino;
    assert_ne!(anne, bob);
    let up = walk(&ops, "bob/@2023-11-15/..").unwrap().ino;
    assert_eq!(up, walk(&ops, "bob").unwrap().ino);
    assert_eq!(ops.lookup(ROOT, "@2023-11-15"), Err(ViewError::NotFound));
}

#[test]
fn below_all_only_who_asks_by_name_learns_how_far_back_a_user_goes() {
    let (ops, ..) = all(&["anne", "bob"]);
    let anne = walk(&ops, "anne").unwrap().ino;
    assert_eq!(ops.listxattr(anne), Ok(Vec::new()));
    let other = ops.getxattr(anne, "security.capability");
    assert_eq!(other, Err(ViewError::NoAttribute));
    let oldest = ops.getxattr(anne, "user.cyrus.oldest").unwrap();
    assert_eq!(oldest, b"2023-11-14T221140Z");
    // It opens the backup, which lists it no more than before.
    assert_eq!(ops.listxattr(anne), Ok(Vec::new()));
}

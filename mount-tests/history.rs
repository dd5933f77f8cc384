//! The backup as it was.

use std::process::Command;

use cyrusbackup::store::compact::{Compact, compact};
use cyrusbackup::types::Guid;

use crate::metadata::xattr;
use crate::support::{
    LOG_TIME, Mount, Scratch, Site, can_mount, files, message, run, wait_until_free,
};
use crate::tree::mailbox;

const DAY: i64 = 86_400;

/// Day 0: messages 1 and 2. Day 1: 2 is expunged, 3 comes. Day 2: Folder comes, 1 is flagged. Day 3:
/// Folder goes.
fn anne() -> Scratch {
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..5).map(|n| message(n, 500)).collect();
    let b: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let first = mailbox("user.anne", "NIL", &[(1, b[1], ""), (2, b[2], "")]);
    scratch.log(LOG_TIME, &b[1..3], &[&first]);
    let unique = Guid::of(b"user.anne");
    let expunge = format!("EXPUNGE %(MBOXNAME user.anne UNIQUEID {unique} UID (2))");
    let third = mailbox("user.anne", "NIL", &[(3, b[3], "")]);
    scratch.log(LOG_TIME + DAY, &[b[3]], &[&expunge, &third]);
    let folder = mailbox("user.anne.Folder", "NIL", &[(1, b[4], "")]);
    let flagged = mailbox("user.anne", "NIL", &[(1, b[1], "\\Flagged")]);
    scratch.log(LOG_TIME + 2 * DAY, &[b[4]], &[&folder, &flagged]);
    scratch.log(LOG_TIME + 3 * DAY, &[], &["UNMAILBOX user.anne.Folder"]);
    scratch
}

/// The tree at a moment of day 0 to 3, without what is generated.
fn expected(day: i64) -> Vec<&'static str> {
    match day {
        0 => vec!["mailboxes/INBOX/1.eml", "mailboxes/INBOX/2.eml"],
        1 => vec![
            "expunged/INBOX/2.eml",
            "mailboxes/INBOX/1.eml",
            "mailboxes/INBOX/3.eml",
        ],
        2 => vec![
            "expunged/INBOX/2.eml",
            "mailboxes/Folder/1.eml",
            "mailboxes/INBOX/1.eml",
            "mailboxes/INBOX/3.eml",
        ],
        _ => vec![
            "deleted/Folder@2023-11-17T221320Z/1.eml",
            "expunged/INBOX/2.eml",
            "mailboxes/INBOX/1.eml",
            "mailboxes/INBOX/3.eml",
        ],
    }
}

fn mails(dir: &std::path::Path) -> Vec<String> {
    let mails = files(dir)
        .into_iter()
        .filter(|path| path.extension() == Some("eml".as_ref()));
    mails
        .map(|path| path.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn past_moments_are_looked_up() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    for (day, name) in [
        (0, "@2023-11-14T22:13:20Z"),
        (1, "@2023-11-16T000000Z"),
        (2, "@2023-11-17T22:13:19+00:00"),
        (3, "@yesterday"),
    ] {
        assert_eq!(mails(&mount.join(name)), expected(day), "{name}");
        let one = mount.join(name).join("mailboxes/INBOX/1.eml");
        assert!(std::fs::read(&one).unwrap() == message(1, 500));
        let flags = xattr(&one, "user.cyrus.flags").unwrap();
        assert_eq!(flags, if day < 2 { "" } else { "\\Flagged" }, "{name}");
    }
    // Not listed, and not in what programs take away.
    assert!(!mount.list("").iter().any(|name| name.starts_with('@')));
    let nothing = std::fs::metadata(mount.join("@next week")).unwrap_err();
    assert_eq!(nothing.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn a_moment_before_the_history_is_refused() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    let oldest = xattr(mount.path(), "user.cyrus.oldest").unwrap();
    assert_eq!(oldest, "2023-11-14T221320Z");
    let error = std::fs::metadata(mount.join("@2023-11-14T22:13:19Z")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENODATA));
    let future = std::fs::metadata(mount.join("@2500-01-01")).unwrap_err();
    assert_eq!(future.raw_os_error(), Some(libc::ENODATA));
    let place = Mount::bare();
    let refused = |at: &str| {
        let option = format!("at={at}");
        let args = [
            &scratch.spec(),
            place.path().to_str().unwrap(),
            "-o",
            &option,
        ];
        let refused = run(&args);
        assert_eq!(refused.status.code(), Some(32), "{at}");
        String::from_utf8(refused.stderr).unwrap()
    };
    let text = refused("2001-01-01");
    assert!(
        text.contains("nothing is known of 2001-01-01T") && text.contains(&oldest),
        "{text}"
    );
    let text = refused("2500-01-01");
    assert!(text.contains("has not come yet"), "{text}");
    let text = refused("soon");
    assert!(text.contains("is no time"), "{text}");
}

#[test]
fn a_whole_mount_can_be_of_the_past() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "at=2023-11-16T12:00:00Z");
    assert_eq!(mails(mount.path()), expected(1));
    assert!(!mount.join("chunks").exists());
    assert!(std::fs::metadata(mount.join("@2023-11-14T23:00:00Z")).is_err());

    let site = Site::new(vec![("anne", anne()), ("bob", anne())]);
    let mount = Mount::new("all", &format!("{},at=2023-11-16T12:00:00Z", site.option()));
    assert_eq!(mails(&mount.join("bob")), expected(1));
    let present = Mount::new("all", &site.option());
    assert_eq!(
        mails(&present.join("bob/@2023-11-16T12:00:00Z")),
        expected(1)
    );
}

#[test]
fn a_past_moment_can_be_copied() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    let out = tempfile::tempdir().unwrap();
    let copy = out.path().join("copy");
    let moment = mount.join("@2023-11-17T12:00:00Z");
    crate::support::sh(Command::new("cp").arg("-a").arg(&moment).arg(&copy));
    assert_eq!(mails(&copy), expected(2));
    crate::support::sh(Command::new("chmod").args(["-R", "u+w"]).arg(&copy));
}

/// Without a lock the view is of the open file, and so is its past: what others do with the file of that name is no
/// matter. Each moment is asked for only after that.
#[test]
fn a_past_moment_is_of_the_bytes_that_are_open() {
    if !can_mount() {
        return;
    }
    let gone_since = |do_it: &dyn Fn(&Scratch)| {
        let scratch = anne();
        let mount = Mount::new(&scratch.spec(), "lock=none");
        wait_until_free(scratch.path());
        do_it(&scratch);
        for (day, name) in [(0, "@2023-11-15"), (2, "@2023-11-17"), (1, "@2023-11-16")] {
            let moment = format!("{name}T12:00:00Z");
            assert_eq!(mails(&mount.join(&moment)), expected(day), "{name}");
            let one = mount.join(&moment).join("mailboxes/INBOX/1.eml");
            assert!(std::fs::read(&one).unwrap() == message(1, 500), "{name}");
        }
        let error = std::fs::metadata(mount.join("@2023-11-14T22:13:19Z")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODATA));
    };
    gone_since(&|scratch| {
        let elsewhere = scratch.dir().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::rename(scratch.path(), elsewhere.join("anne_AAAAAA")).unwrap();
        std::fs::rename(scratch.index(), elsewhere.join("anne_AAAAAA.index")).unwrap();
    });
    gone_since(&|scratch| {
        std::fs::remove_file(scratch.path()).unwrap();
        std::fs::remove_file(scratch.index()).unwrap();
    });
    gone_since(&|scratch| {
        let how = Compact {
            force: true,
            horizon: Some(LOG_TIME + 3 * DAY),
            ..Compact::default()
        };
        compact(scratch.path(), &how, &mut |_| {}, &mut |_, _| {}).unwrap();
        let now = Mount::new(&scratch.spec(), "lock=none");
        assert!(std::fs::metadata(now.join("@2023-11-15")).is_err());
    });
    gone_since(&|scratch| {
        let later = mailbox("user.anne", "NIL", &[(9, &message(9, 500), "")]);
        scratch.log(LOG_TIME, &[&message(9, 500)], &[&later]);
    });
}

//! What can be mounted: a user, a file, all users.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use cyrusbackup::store::{Backup, Lock};

use crate::support::{
    Mount, Scratch, Site, can_mount, files, fixture, message, run, sh, wait_until_free,
};

fn anne() -> Scratch {
    let scratch = Scratch::empty("anne_AAAAAA");
    scratch.append("user.anne", &[message(1, 100)], 1);
    scratch
}

#[test]
fn a_user_is_found_through_backups_db() {
    if !can_mount() {
        return;
    }
    let site = Site::new(vec![("anne", anne()), ("carol", fixture("carol"))]);
    let conf = site.conf();
    let conf = conf.to_str().unwrap();
    let by_option = Mount::new("carol", &format!("{},ro", site.option()));
    assert_eq!(by_option.list("mailboxes"), ["INBOX", "Sub"]);
    let by_flag = Mount::with(&["-C", conf], "anne", "ro");
    assert!(by_flag.list("").contains(&"mailboxes".to_owned()));
    assert!(by_flag.read("mailboxes/INBOX/1.eml").unwrap() == message(1, 100));

    let mount = Mount::bare();
    let nobody = run(&["nobody", mount.path().to_str().unwrap(), "-C", conf]);
    let text = String::from_utf8(nobody.stderr).unwrap();
    assert_eq!(nobody.status.code(), Some(32));
    assert!(
        text.contains("no backup of nobody in") && text.contains("backups.db"),
        "{text}"
    );
    let outside = run(&["../../etc", mount.path().to_str().unwrap(), "-C", conf]);
    assert_eq!(outside.status.code(), Some(32));
}

#[test]
fn all_users_get_a_directory_each_with_a_safe_name() {
    if !can_mount() {
        return;
    }
    let site = Site::new(vec![
        ("anne", anne()),
        ("a/b", anne()),
        ("carol", fixture("carol")),
        ("%SHARED", Scratch::empty("%SHARED_AAAAAA")),
    ]);
    let mount = Mount::new("all", &site.option());
    assert_eq!(mount.list(""), ["%SHARED", "a%2Fb", "anne", "carol"]);
    assert_eq!(mount.path().metadata().unwrap().nlink(), 6);
    assert_eq!(mount.list("carol/mailboxes"), ["INBOX", "Sub"]);
    assert!(mount.read("a%2Fb/mailboxes/INBOX/1.eml").unwrap() == message(1, 100));
    assert!(mount.list("%SHARED/mailboxes").is_empty());
    let mut names: HashMap<u64, u64> = HashMap::new();
    let metas = files(mount.path()).into_iter();
    let metas: Vec<_> = metas
        .map(|path| mount.join(path).metadata().unwrap())
        .collect();
    for meta in &metas {
        *names.entry(meta.ino()).or_default() += 1;
    }
    for meta in &metas {
        assert_eq!(names[&meta.ino()], meta.nlink());
    }
    // find follows nlink and inode numbers to see loops.
    sh(Command::new("find").arg(mount.path()));
}

#[test]
fn users_are_opened_only_when_entered() {
    if !can_mount() {
        return;
    }
    let site = Site::new(vec![("anne", anne()), ("carol", fixture("carol"))]);
    let data = site.backup("anne").to_owned();
    let writer = Backup::open(&data, Lock::Exclusive { wait: false }).unwrap();
    let mount = Mount::new("all", &site.option());
    sh(Command::new("ls").arg("-l").arg(mount.path()));
    let before = mount.join("anne").metadata().unwrap();
    // The locked one is busy, the other is not.
    let busy = std::fs::read_dir(mount.join("anne")).and_then(|mut dir| dir.next().transpose());
    assert_eq!(busy.unwrap_err().raw_os_error(), Some(libc::EBUSY));
    assert_eq!(mount.list("carol/mailboxes"), ["INBOX", "Sub"]);
    drop(writer);
    wait_until_free(&data);
    // And entered when it is free.
    assert_eq!(mount.list("anne/mailboxes"), ["INBOX"]);
    let after = mount.join("anne").metadata().unwrap();
    assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()));
    assert!(Backup::open(&data, Lock::Exclusive { wait: false }).is_err());
}

#[test]
fn a_file_needs_neither_database_nor_configuration() {
    if !can_mount() {
        return;
    }
    // As it comes from a tape: another name, another place.
    let carol = fixture("carol");
    let restored = carol.dir().join("from tape");
    std::fs::rename(carol.path(), &restored).unwrap();
    std::fs::rename(carol.index(), carol.dir().join("from tape.index")).unwrap();
    let mount = Mount::new(&format!("file:{}", restored.display()), "ro");
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
    // A relative path is meant from where the command stands.
    let other = Mount::bare();
    let binary = env!("CARGO_BIN_EXE_mount-cyrusbackup");
    let mut command = Command::new(binary);
    command
        .current_dir(carol.dir())
        .arg("file:from tape")
        .arg(other.path());
    sh(command.args(["-o", "lock=none"]));
    assert_eq!(other.list("mailboxes"), ["INBOX", "Sub"]);
}

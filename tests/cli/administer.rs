//! `move`, `rename`, `delete`, `hold` (D40): C's tools judge what is there afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::store::{Appender, Backup, Lock, StoreError};
use cyrusbackup::types::BackupKey;

use super::place::Place;
use super::rig::wait_until_free;

const CAROL_0: &str = "42c32deeb045bff18d94bd170d8ca63d6055852e";

/// Two partitions; carol and bethany in the first. `None` without C's programs.
pub fn two_partitions() -> Option<Place> {
    let place = Place::new()?;
    place.configure("backuppartition-one: @B@/one\nbackuppartition-two: @B@/two\n");
    for (key, from, hash) in [("carol", "carol", "c"), ("bethany", "bethany_sGEZYM", "b")] {
        place.mkdir(&format!("one/{hash}"));
        let to = format!("one/{hash}/{key}_AAAAAA");
        place.copy(&format!("b/{from}"), &to);
        insert(&place, key, &place.path(&to));
    }
    for key in ["%SHARED", "carolx", "dave@example.com", "gone"] {
        place.catalog().remove(&self::key(key)).unwrap();
    }
    place.mkdir("two");
    Some(place)
}

pub fn insert(place: &Place, user: &str, path: &Path) {
    place.catalog().insert(&key(user), path).unwrap();
}

pub fn key(user: &str) -> BackupKey {
    BackupKey::from_userid(user).unwrap()
}

/// Where a user's backup is; it must be below this directory.
#[track_caller]
fn path(place: &Place, user: &str, below: &str) -> PathBuf {
    let path = place.catalog().get(&key(user)).unwrap().expect(user);
    assert!(path.starts_with(place.path(below)), "{}", path.display());
    path
}

/// All files in a directory.
fn files(place: &Place, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path(directory)).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[track_caller]
fn ok(place: &Place, line: &str) -> String {
    let output = place.ours(line);
    let said = format!("{line}: {}{}", output.out, output.err);
    assert_eq!(output.code, Some(0), "{said}");
    output.out
}

/// The command ends like this and says this somewhere.
#[track_caller]
fn refused(place: &Place, line: &str, code: i32, says: &str) {
    let output = place.ours(line);
    let said = format!("{}{}", output.out, output.err);
    assert!(
        output.code == Some(code) && said.contains(says),
        "{line}: {said}"
    );
}

#[track_caller]
fn c_verifies(place: &Place, user: &str) {
    let output = place.c(&format!("ctl_backups verify {user}"));
    assert_eq!(output.out, format!("verify {user}: ok\n"), "{}", output.err);
}

#[test]
fn a_backup_moves_with_all_that_belongs_to_it() {
    let Some(place) = two_partitions() else {
        return;
    };
    let before = place.c("cyr_backup carol list all");
    ok(&place, "ctl_backups hold --reason court carol");
    place.write("one/c/carol_AAAAAA.1795459116", b"a previous version");
    place.write("one/c/carol_AAAAAA.new", b"an unfinished one");
    ok(&place, "ctl_backups move carol two");
    let moved = path(&place, "carol", "two/c");
    assert_eq!(files(&place, "one/c"), [""; 0]);
    assert_eq!(files(&place, "two/c").len(), 4);
    assert!(moved.with_extension("hold").exists());
    c_verifies(&place, "carol");
    assert_eq!(place.c("cyr_backup carol list all").out, before.out);
    // Again: it is there.
    let again = ok(&place, "ctl_backups move carol two");
    assert!(again.contains("there already"), "{again}");
    ok(&place, "ctl_backups move --all-from two one");
    path(&place, "carol", "one/c");
    ok(&place, "ctl_backups move --all-from One Two");
    path(&place, "carol", "two/c");
    path(&place, "bethany", "two/b");
    ok(&place, "ctl_backups verify bethany");

    refused(
        &place,
        "ctl_backups move carol three",
        64,
        "there are: one, two",
    );
    refused(&place, "ctl_backups move carol", 64, "move USER PARTITION");
    refused(
        &place,
        "ctl_backups move nobody one",
        75,
        "nobody: not found in backups.db",
    );
    let lock = Backup::open(&path(&place, "carol", "two"), Lock::Shared { wait: true }).unwrap();
    refused(
        &place,
        "ctl_backups move carol one",
        75,
        "move carol: locked",
    );
    drop(lock);
    wait_until_free(&path(&place, "carol", "two"));
    fs::remove_file(path(&place, "bethany", "two")).unwrap();
    refused(&place, "ctl_backups move bethany one", 75, "does not exist");
    // That is no wrong command line.
    place.write("conf/backups.db", b"no database");
    let line = "ctl_backups move --all-from one two";
    refused(&place, line, 75, "is not a twoskip database");
}

/// Whenever it dies, backups.db names a complete backup, and doing it again works.
#[test]
fn a_move_may_be_killed_at_any_time() {
    let Some(place) = two_partitions() else {
        return;
    };
    let body = place
        .c(&format!("cyr_backup carol dump message {CAROL_0}"))
        .out;
    let mut died = 0;
    for round in 0..30u64 {
        let to = ["two", "one"][(round % 2) as usize];
        let mut child = place.start(&format!("ctl_backups move carol {to}"));
        std::thread::sleep(Duration::from_micros(round * 700));
        child.kill().unwrap();
        died += usize::from(!child.wait().unwrap().success());
        c_verifies(&place, "carol");
        ok(&place, &format!("ctl_backups move carol {to}"));
        path(&place, "carol", to);
        let dumped = place.c(&format!("cyr_backup carol dump message {CAROL_0}"));
        assert_eq!(dumped.out, body);
    }
    assert!(died > 0, "no move was killed");
    // What is left over is reported, and nothing of it is chosen.
    let chosen = path(&place, "carol", "one");
    let output = place.ours("ctl_backups reconstruct");
    assert!(
        output.out.contains("2 kept, 0 added, 0 changed, 0 dropped"),
        "{}",
        output.out
    );
    assert_eq!(path(&place, "carol", "one"), chosen);
}

/// Who appends as backupd does, by looking into backups.db and waiting for the lock, never loses
/// a line to a move.
#[test]
fn a_move_loses_nothing_that_is_written_meanwhile() {
    let Some(place) = two_partitions() else {
        return;
    };
    let catalog = place.catalog();
    let (mut moves, lines) = (0, 120);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..lines {
                let line = format!("SUB %(USERID carol MBOXNAME user.carol.n{n})");
                let mut appender = loop {
                    let path = catalog.get(&key("carol")).unwrap().unwrap();
                    match Appender::open(&path, true) {
                        Ok(appender) => break appender,
                        Err(StoreError::Missing { .. }) => {}
                        Err(error) => panic!("{}", error.detail()),
                    }
                };
                let apply = parse_apply(line.as_bytes()).unwrap();
                appender.append(&apply, 1_795_459_200 + n).unwrap();
                appender.commit().unwrap();
                appender.finish().unwrap();
            }
        });
        while !writer.is_finished() {
            let to = ["two", "one"][moves % 2];
            ok(&place, &format!("ctl_backups -w move carol {to}"));
            moves += 1;
        }
        writer.join().unwrap();
    });
    let path = catalog.get(&key("carol")).unwrap().unwrap();
    let backup = Backup::open(&path, Lock::Shared { wait: true }).unwrap();
    let subscribed = backup.index().subscriptions().unwrap();
    let written = subscribed
        .iter()
        .filter(|sub| sub.mboxname.starts_with("user.carol.n"));
    assert_eq!(written.count() as i64, lines);
    assert!(moves > 1, "only {moves} moves");
    drop(backup);
    wait_until_free(&path);
    c_verifies(&place, "carol");
    assert_eq!(
        files(&place, "one/c").len() + files(&place, "two/c").len(),
        2
    );
}

#[test]
fn a_full_disk_stops_a_move_and_leaves_nothing() {
    let Some(place) = two_partitions() else {
        return;
    };
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k,mode=777", "tmpfs"])
        .arg(place.path("two"))
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("LEFT OUT: a full disk, since a tmpfs cannot be mounted here");
        return;
    }
    let output = place.ours("ctl_backups move carol two");
    let left = files(&place, "two/c");
    let unmounted = std::process::Command::new("umount")
        .arg(place.path("two"))
        .status();
    assert!(unmounted.unwrap().success());
    assert!(
        output.out.contains("No space left on device"),
        "{}",
        output.out
    );
    assert_eq!((output.code, left), (Some(75), Vec::<String>::new()));
    path(&place, "carol", "one");
    c_verifies(&place, "carol");
}

#[test]
fn what_cannot_be_written_is_told() {
    let Some(place) = two_partitions() else {
        return;
    };
    // A partition that is a file, one that may not be written, a backup without an index.
    fs::remove_dir(place.path("two")).unwrap();
    place.write("two", b"a file");
    refused(&place, "ctl_backups move carol two", 75, "two");
    fs::remove_file(place.path("two")).unwrap();
    place.mkdir("two");
    let two = place.path("two");
    let allow = |mode| fs::set_permissions(&two, PermissionsExt::from_mode(mode)).unwrap();
    allow(0o500);
    refused(
        &place,
        "ctl_backups move carol two",
        75,
        "Permission denied",
    );
    allow(0o700);
    path(&place, "carol", "one");
    c_verifies(&place, "carol");
    fs::remove_file(place.path("one/c/carol_AAAAAA.index")).unwrap();
    ok(&place, "ctl_backups move carol two");
    assert_eq!(files(&place, "two/c").len(), 1);
    refused(
        &place,
        "ctl_backups rename carol dora",
        75,
        "ctl_backups reindex",
    );
    refused(
        &place,
        "ctl_backups purge carol --subject x",
        75,
        "ctl_backups reindex",
    );
    ok(&place, "ctl_backups delete --now carol");
    // backups.db may not be written: nothing is moved.
    fs::set_permissions(place.path("conf"), PermissionsExt::from_mode(0o500)).unwrap();
    fs::set_permissions(
        place.path("conf/backups.db"),
        PermissionsExt::from_mode(0o400),
    )
    .unwrap();
    refused(&place, "ctl_backups move bethany two", 75, "backups.db");
    path(&place, "bethany", "one");
    assert_eq!(files(&place, "two/b"), [""; 0]);
    ok(&place, "ctl_backups verify bethany");
    fs::set_permissions(place.path("conf"), PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn a_renamed_user_is_the_new_one_for_c_and_for_us() {
    let Some(place) = two_partitions() else {
        return;
    };
    let mailboxes = place.c("cyr_backup carol list mailboxes").out;
    let messages = place.c("cyr_backup carol list messages").out;
    ok(&place, "ctl_backups rename carol d.ora");
    path(&place, "d.ora", "one/d");
    assert_eq!(place.catalog().get(&key("carol")).unwrap(), None);
    assert_eq!(files(&place, "one/c"), [""; 0]);
    c_verifies(&place, "d.ora");
    let living = |text: &str| text.replace("user.carol", "user.d^ora");
    let renamed = place.c("cyr_backup d.ora list mailboxes").out;
    let same = |line: &&str| {
        // What was deleted before keeps its name.
        renamed.contains(*line) || renamed.contains(&living(line))
    };
    assert!(renamed.contains("user.d^ora\n"), "{renamed}");
    assert_eq!(
        mailboxes.lines().filter(same).count(),
        mailboxes.lines().count()
    );
    assert_eq!(place.c("cyr_backup d.ora list messages").out, messages);
    let dumped = place.c(&format!("cyr_backup d.ora dump message {CAROL_0}"));
    assert_eq!(dumped.code, Some(0));
    ok(&place, "ctl_backups verify d.ora");
    // From the bytes, C's reindex makes the same of it.
    assert_eq!(place.c("ctl_backups reindex d.ora").code, Some(0));
    assert_eq!(place.c("cyr_backup d.ora list mailboxes").out, renamed);
    c_verifies(&place, "d.ora");
    let kept = ok(&place, "ctl_backups reconstruct");
    assert!(kept.contains("2 kept, 0 added"), "{kept}");

    refused(
        &place,
        "ctl_backups rename d.ora bethany",
        75,
        "bethany has a backup already",
    );
    refused(
        &place,
        "ctl_backups rename nobody x",
        75,
        "not found in backups.db",
    );
    refused(&place, "ctl_backups rename d.ora %SHARED", 64, "only users");
    refused(&place, "ctl_backups rename d.ora a/../b", 64, "only users");
    refused(&place, "ctl_backups rename d.ora", 64, "<NEW>");
}

/// Quota, annotations, sieve, folders that exist only because a child does, a deleted folder.
#[test]
fn everything_of_a_user_is_renamed() {
    let Some(place) = two_partitions() else {
        return;
    };
    place.mkdir("one/e");
    place.write("one/e/eva_AAAAAA", b"");
    let data = place.path("one/e/eva_AAAAAA");
    let mailbox = |name: &str, more: &str| {
        format!(
            "MAILBOX %(UNIQUEID {name} MBOXNAME {name} {more} SYNC_CRC 0 LAST_UID 0 HIGHESTMODSEQ 1 \
             RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 \
             PARTITION default ACL \"eva\tlrs\tbob\tr\t\" OPTIONS P RECORD ())"
        )
    };
    let mut appender = Appender::open(&data, true).unwrap();
    for line in [
        mailbox("user.eva", ""),
        "MAILBOX %(UNIQUEID i1 MBOXNAME user.eva.A MBOXTYPE i)".to_owned(),
        mailbox("user.eva.A.B", ""),
        mailbox("DELETED.user.eva.Old.6B048689", ""),
        mailbox("user.eva.Gone", ""),
        "UNMAILBOX user.eva.Gone".to_owned(),
        "SUB %(USERID eva MBOXNAME user.eva.A.B)".to_owned(),
        "SUB %(USERID eva MBOXNAME user.bob)".to_owned(),
        "QUOTA %(ROOT user.eva STORAGE 1000)".to_owned(),
        "ANNOTATION %(MBOXNAME user.eva.A.B ENTRY /x USERID eva VALUE v)".to_owned(),
        "SIEVE %(USERID eva FILENAME a.script LAST_UPDATE 1 CONTENT keep)".to_owned(),
    ] {
        let apply = parse_apply(line.as_bytes()).unwrap();
        appender.append(&apply, 1_795_459_116).unwrap();
    }
    appender.commit().unwrap();
    appender.finish().unwrap();
    wait_until_free(&data);
    for suffix in ["", ".index"] {
        let name = format!("one/e/eva_AAAAAA{suffix}");
        let bytes = fs::read(place.path(&name)).unwrap();
        place.write(&name, &bytes);
    }
    insert(&place, "eva", &data);
    c_verifies(&place, "eva");

    ok(&place, "ctl_backups rename eva e.va@x.org");
    let path = path(&place, "e.va@x.org", "one/e");
    c_verifies(&place, "e.va@x.org");
    let look = |backup: &Backup| {
        let index = backup.index();
        let mut names: Vec<String> = Vec::new();
        for row in index.mailboxes().unwrap() {
            names.push(format!("{} {:?}", row.mboxname, row.deleted.is_some()));
            if row.deleted.is_none() {
                assert_eq!(row.acl.as_deref(), Some("e.va@x.org\tlrs\tbob\tr\t"));
            }
        }
        let folders = index.intermediates().unwrap();
        names.extend(folders.into_iter().map(|folder| folder.mboxname));
        let subscribed = index.subscriptions().unwrap().into_iter();
        let subscribed = subscribed.filter(|sub| sub.unsubscribed.is_none());
        names.extend(subscribed.map(|sub| format!("sub {}", sub.mboxname)));
        names.extend(index.quotas().unwrap().into_iter().map(|(root, _)| root));
        let annotations = index.annotations().unwrap().into_iter();
        names.extend(annotations.map(|a| format!("{} {}", a.mboxname, a.userid)));
        names.sort();
        names
    };
    let expected = [
        "sub user.bob",
        "sub x.org!user.e^va.A.B",
        "user.eva.Gone true",
        "x.org!DELETED.user.e^va.Old.6B048689 false",
        "x.org!user.e^va",
        "x.org!user.e^va false",
        "x.org!user.e^va.A",
        "x.org!user.e^va.A.B e.va@x.org",
        "x.org!user.e^va.A.B false",
    ];
    assert_eq!(
        look(&Backup::open(&path, Lock::Shared { wait: true }).unwrap()),
        expected
    );
    // The same from the bytes, ours and C's.
    let (rebuilt, report) = Backup::open_rebuilt(&path, Lock::None).unwrap();
    assert_eq!(
        (look(&rebuilt), report.losses.len()),
        (expected.map(str::to_owned).to_vec(), 0)
    );
    let listed = place.c("cyr_backup e.va@x.org list mailboxes").out;
    assert_eq!(place.c("ctl_backups reindex e.va@x.org").code, Some(0));
    assert_eq!(place.c("cyr_backup e.va@x.org list mailboxes").out, listed);
    c_verifies(&place, "e.va@x.org");
    // Whose it is, also when nobody can ask backups.db.
    fs::remove_file(place.path("conf/backups.db")).unwrap();
    ok(&place, "ctl_backups reconstruct");
    self::path(&place, "e.va@x.org", "one/e");
}

#[test]
fn a_rename_may_be_killed_at_any_time() {
    let Some(place) = two_partitions() else {
        return;
    };
    for round in 0..24u64 {
        let (from, to) = [("carol", "zoe"), ("zoe", "carol")][(round % 2) as usize];
        let mut child = place.start(&format!("ctl_backups rename {from} {to}"));
        std::thread::sleep(Duration::from_micros(round * 900));
        child.kill().unwrap();
        child.wait().unwrap();
        let half = place.catalog().get(&key(from)).unwrap().is_some();
        c_verifies(&place, if half { from } else { to });
        if half {
            ok(&place, &format!("ctl_backups rename {from} {to}"));
        }
        path(&place, to, "one");
        let mailboxes = place.c(&format!("cyr_backup {to} list mailboxes")).out;
        assert!(mailboxes.contains(&format!("user.{to}\n")), "{mailboxes}");
        let dumped = place.c(&format!("cyr_backup {to} dump message {CAROL_0}"));
        assert_eq!(dumped.code, Some(0));
    }
}

#[test]
fn hold_delete_and_what_they_say_to_each_other() {
    let Some(place) = two_partitions() else {
        return;
    };
    let options = "backuppartition-one: @B@/one\nbackup_retention: 1s\n";
    place.configure(options);
    // Also while somebody reads, as a mount does for days; not while somebody writes.
    let carol = path(&place, "carol", "one/c");
    let writer = Backup::open(&carol, Lock::Exclusive { wait: true }).unwrap();
    refused(&place, "ctl_backups hold carol", 75, "hold carol: locked");
    drop(writer);
    let reader = Backup::open(&carol, Lock::Shared { wait: true }).unwrap();
    ok(&place, "ctl_backups hold --reason case\u{a0}17 carol");
    drop(reader);
    wait_until_free(&carol);
    for how in ["--now carol", "carol"] {
        let words = "on hold: case\u{a0}17; release it with `ctl_backups unhold`";
        refused(&place, &format!("ctl_backups delete {how}"), 75, words);
    }
    let held = ok(&place, "ctl_backups hold --list");
    assert!(held.ends_with("\tcarol\tcase\u{a0}17\n"), "{held}");
    let held = ok(&place, "ctl_backups -j hold --list");
    let held: serde_json::Value = serde_json::from_str(&held).unwrap();
    assert_eq!(held["userid"], "carol");
    assert_eq!(held["text"], "case\u{a0}17");
    assert_eq!(ok(&place, "ctl_backups delete --list"), "");
    // C's tools see nothing of it, and it survives them.
    c_verifies(&place, "carol");
    assert_eq!(place.c("ctl_backups reindex carol").code, Some(0));
    refused(&place, "ctl_backups delete --now carol", 75, "on hold");
    ok(&place, "ctl_backups unhold carol");
    assert!(ok(&place, "ctl_backups unhold carol").contains("was not on hold"));

    ok(&place, "ctl_backups hold carol");
    refused(&place, "ctl_backups -F compact carol", 75, "on hold");
    ok(&place, "ctl_backups unhold carol");

    // Marked, taken back, marked again; then time goes by.
    ok(&place, "ctl_backups delete carol");
    assert!(ok(&place, "ctl_backups delete --undo carol").contains("it stays"));
    assert!(ok(&place, "ctl_backups delete --undo carol").contains("not marked"));
    assert_eq!(ok(&place, "ctl_backups delete --expired"), "");
    ok(&place, "ctl_backups delete carol");
    c_verifies(&place, "carol");
    std::thread::sleep(Duration::from_secs(3));
    let gone = ok(&place, "ctl_backups delete --expired");
    assert_eq!(gone, "delete carol: ok (deleted)\n");
    assert_eq!(files(&place, "one/c"), [""; 0]);
    assert_eq!(
        place.c("ctl_backups list carol").err,
        "carol: not found in backups.db\n"
    );

    // Who was written to after the mark is a living user.
    place.write("one/b/bethany_AAAAAA.deleted", b"5 ctl_backups delete\n");
    let revived = ok(&place, "ctl_backups delete --expired");
    assert!(revived.contains("it was written to since"), "{revived}");
    ok(&place, "ctl_backups verify bethany");
    // A deletion that was killed on its way is finished by doing it again.
    fs::remove_file(place.path("one/b/bethany_AAAAAA")).unwrap();
    ok(&place, "ctl_backups delete --now bethany");
    assert_eq!(files(&place, "one/b"), [""; 0]);
    refused(
        &place,
        "ctl_backups delete --now bethany",
        75,
        "not found in backups.db",
    );
    refused(&place, "ctl_backups delete", 64, "USER");
}

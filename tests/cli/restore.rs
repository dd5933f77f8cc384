//! restore beside C's, as far as no server is needed: every sample of what C's does. What a server sees is compared
//! in tests/restore.

use std::os::unix::fs::PermissionsExt;

use cyrusbackup::store::{Backup, Lock};

use super::place::Place;
use super::rig::Output;

const GUID: &str = "42c32deeb045bff18d94bd170d8ca63d6055852e";

/// Same messages and exit code; what ours says on standard output, where C says nothing (D50).
#[track_caller]
fn like_c(place: &Place, line: &str) -> String {
    differs(place, line, |c| c)
}

#[track_caller]
fn differs(place: &Place, line: &str, difference: impl Fn(Output) -> Output) -> String {
    let c = place.c(line);
    assert_eq!(c.out, "", "{line}");
    let expected = difference(c);
    let ours = place.ours(line);
    assert_eq!(ours.err, expected.err, "{line}");
    assert_eq!(ours.code, expected.code, "{line}");
    ours.out
}

/// D50, D62
#[test]
fn dry_runs_say_what_c_says_and_then_the_plan() {
    let Some(place) = Place::new() else { return };
    place.write(
        "b/objects",
        format!("# comment\n\nuser/carol\n{GUID}\n").as_bytes(),
    );
    for line in [
        "-n 127.0.0.1 carol user/carol",
        "-n -v 127.0.0.1 carol user/carol",
        "-n -X -v 127.0.0.1 carol user/carol",
        "-n -x -v 127.0.0.1 carol user/carol",
        "-n -U -v 127.0.0.1 carol user/carol",
        "-n -v -A xlrs 127.0.0.1 carol user/carol",
        "-n -v 127.0.0.1 carol user/carol -A",
        "-n -v -P p2 127.0.0.1 carol user/carol",
        "-n -v -M user.x.New -P p2 -A xlrs 127.0.0.1 carol user/carol",
        "-n -v 127.0.0.1 carol 11111111-aaaa-bbbb-cccc-0000000000c1",
        "-n -v 127.0.0.1 carol user/carol/Sub user/carol",
        "-n -v -D 127.0.0.1 carol user/carol/Tmp",
        "-n -v -F b/objects 127.0.0.1 carol",
        "-n -v -f b/carol 127.0.0.1 user/carol",
        "-n -v -m user/carol/X 127.0.0.1 user/carol",
        "-n -v -m shared/stuff 127.0.0.1 user/tcr",
        "-n -v -u carol 127.0.0.1 user/carol",
        "-w 1 -n 127.0.0.1 carol user/carol",
    ] {
        let out = like_c(&place, &format!("restore {line}"));
        assert!(out.contains("in all: "), "{line}: {out}");
    }
    let guid = format!("restore -n -v 127.0.0.1 carol {GUID}");
    let out = like_c(&place, &guid);
    assert!(out.contains("user/carol/Sub: 1 messages"), "{out}");
    let guid = format!("restore -n -v -M user.x.New -P p2 -A xlrs 127.0.0.1 carol {GUID}");
    let out = like_c(&place, &guid);
    assert!(out.starts_with("user/x/New: 1 messages"), "{out}");
    // D62: C takes internal names here and nothing else.
    let out = place.ours(&guid.replace("user.x.New", "user/x/New")).out;
    assert!(out.starts_with("user/x/New: 1 messages"), "{out}");
    // And makes a mailbox of this name, which nobody can open.
    let nobody_s = guid.replace("user.x.New", "INBOX");
    assert_eq!(place.c(&nobody_s).code, Some(0));
    let ours = place.ours(&nobody_s);
    assert_eq!(ours.err, "carol: \"INBOX\" is no mailbox name\n");
    assert_eq!(ours.code, Some(75));
}

#[test]
fn usage_errors_are_c_s() {
    let Some(place) = Place::new() else { return };
    for line in [
        "restore",
        "restore -n 127.0.0.1 carol",
        "restore -U -A xlrs 127.0.0.1 carol user/carol",
        "restore -U -M user/x 127.0.0.1 carol user/carol",
        "restore -X -x 127.0.0.1 carol user/carol",
        "restore -a -F - 127.0.0.1 carol",
        "restore -a 127.0.0.1 carol user/carol",
    ] {
        place.same(line);
    }
}

/// D51
#[test]
fn errors_are_in_words() {
    let Some(place) = Place::new() else { return };
    differs(&place, "restore -n 127.0.0.1 nosuch user/x", |c| Output {
        err: c
            .err
            .replace("Unknown code ____ 251", "not found in backups.db"),
        ..c
    });
    // Nobody listens on port 1.
    let expected = |c: Output| {
        let was = "carol: Unknown code ____ 255";
        let is = "carol: connecting to 127.0.0.1:1: Connection refused (os error 111)";
        assert!(c.err.contains(was), "{}", c.err);
        Output {
            err: c.err.replace(was, is),
            ..c
        }
    };
    differs(&place, "restore -v 127.0.0.1:1 carol user/carol", expected);
    let refused = place.ours("restore --frob 127.0.0.1 carol user/carol");
    assert_eq!(refused.code, Some(64));
    assert!(refused.err.contains("--frob"), "{}", refused.err);
    let nonsense = place.ours("restore mail/ssl carol user/carol");
    assert!(
        nonsense.err.contains("\"mail/ssl\" is no server"),
        "{}",
        nonsense.err
    );
}

/// D51
#[test]
fn a_data_file_without_its_index_says_what_to_do() {
    let Some(place) = Place::new() else { return };
    place.write("b/alone", &std::fs::read(place.path("b/carol")).unwrap());
    differs(&place, "restore -n -f b/alone 127.0.0.1 -a", |c| {
        let hint = "invalid format (b/alone.index: the index is missing or empty; run \
                    `ctl_backups reindex`)";
        let err = c.err.replace("invalid format", hint);
        Output { err, ..c }
    });
}

/// D52
#[test]
fn a_missing_file_of_objects_is_a_failure() {
    let Some(place) = Place::new() else { return };
    differs(&place, "restore -n -F /nope 127.0.0.1 carol", |c| {
        assert_eq!(c.code, Some(0));
        Output {
            code: Some(75),
            ..c
        }
    });
}

/// D53
#[test]
fn deleted_mailboxes_come_only_when_they_are_asked_for() {
    let Some(place) = Place::new() else { return };
    let without_tmp = |c: Output| {
        let line = "user.carol.Tmp: not trying to keep uidvalidity\n";
        assert!(c.err.contains(line), "{}", c.err);
        Output {
            err: c.err.replace(line, ""),
            ..c
        }
    };
    differs(&place, "restore -n -a -v 127.0.0.1 carol", without_tmp);
    differs(
        &place,
        "restore -n -r -v 127.0.0.1 carol user/carol",
        without_tmp,
    );
    for line in ["-n -a", "-n -r"] {
        let object = if line == "-n -r" { " user/carol" } else { "" };
        let out = place
            .ours(&format!("restore {line} 127.0.0.1 carol{object}"))
            .out;
        assert!(out.contains("left out: 1 deleted mailboxes"), "{out}");
    }
    like_c(&place, "restore -n -a -D -v 127.0.0.1 carol");
    like_c(&place, "restore -n -v 127.0.0.1 carol user/carol/Tmp");
    let all = place.ours("restore -n --deleted 127.0.0.1 carol");
    assert!(all.out.contains("in all: 0 messages"), "{}", all.out);
}

/// D54
#[test]
fn what_the_backup_does_not_have_ends_everything_before_it_begins() {
    let Some(place) = Place::new() else { return };
    let ours = place.ours("restore -n -v 127.0.0.1 carol user/carol/Nope");
    assert_eq!(ours.err, "carol: user/carol/Nope: Mailbox does not exist\n");
    assert_eq!(ours.code, Some(75));
    let line = "restore -n -v 127.0.0.1 carol user/carol/Nope user/carol";
    assert_eq!(place.c(line).code, Some(0), "C forgets it");
    assert_eq!(place.ours(line).code, Some(75));
    let none = "0".repeat(40);
    let ours = place.ours(&format!("restore -n 127.0.0.1 carol {none}"));
    assert_eq!(ours.err, format!("carol: {none}: Message does not exist\n"));
    let ours = place.ours("restore -n 127.0.0.1 carol user/carole/Sub");
    let hint = "carol: user/carole/Sub: Mailbox does not exist (the backup has user/carol/Sub)\n";
    assert_eq!(ours.err, hint);
}

/// D55
#[test]
fn a_guid_with_m_and_x_is_no_crash() {
    let Some(place) = Place::new() else { return };
    for option in ["-X", "-x"] {
        let line = format!("restore -n {option} -M user/new 127.0.0.1 carol {GUID}");
        assert_eq!(place.c(&line).code, None, "C dies of a signal");
        let ours = place.ours(&line);
        assert_eq!((ours.code, ours.err.as_str()), (Some(0), ""), "{line}");
    }
}

#[test]
fn a_locked_backup_is_left_alone() {
    let Some(place) = Place::new() else { return };
    let path = place.path("b/carol");
    let held = Backup::open(&path, Lock::Exclusive { wait: false }).unwrap();
    place.same("restore -n localhost carol user/carol");
    drop(held);
    // A child that another test forked meanwhile may share the lock until it runs its program.
    while Backup::open(&path, Lock::Exclusive { wait: false }).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    like_c(&place, "restore -n localhost carol user/carol");
}

/// A backup on a tape or a read-only snapshot is as good as any.
#[test]
fn nothing_is_written_beside_the_backup() {
    let Some(place) = Place::new() else { return };
    let dir = place.path("b");
    let out = place.path("tmp/out");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let before: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    files.iter().for_each(|file| mode(file, 0o400));
    mode(&dir, 0o500);
    for line in [
        format!("--to-maildir {} -a carol", out.display()),
        "-n --at now --subject carol 127.0.0.1 carol".to_owned(),
    ] {
        let ours = place.ours(&format!("restore {line}"));
        assert_eq!((ours.code, ours.err.as_str()), (Some(0), ""), "{line}");
    }
    mode(&dir, 0o700);
    let after: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    assert!(after == before);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), files.len());
}

#[test]
fn a_locked_backup_is_waited_for() {
    let Some(place) = Place::new() else { return };
    let held = Backup::open(&place.path("b/carol"), Lock::Exclusive { wait: false }).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(500));
            drop(held);
        });
        let ours = place.ours("restore -n --wait 25 localhost carol user/carol");
        assert_eq!((ours.code, ours.err.as_str()), (Some(0), ""));
    });
}

#[test]
fn criteria_narrow_what_was_named() {
    let Some(place) = Place::new() else { return };
    place.write("b/none", b"# no object today\n");
    let all = |line: &str| {
        let out = place.ours(&format!("restore -n {line}")).out;
        let last = out.lines().last().unwrap_or_default().to_owned();
        last.split(" (").next().unwrap_or_default().to_owned()
    };
    for (line, expected) in [
        ("127.0.0.1 carol user/carol", "in all: 4 messages"),
        (
            "--subject carol --subject 2 127.0.0.1 carol user/carol",
            "in all: 1 messages",
        ),
        ("--flag flagged 127.0.0.1 carol", "in all: 1 messages"),
        (
            "--expunged 127.0.0.1 carol user/carol",
            "in all: 1 messages",
        ),
        (
            "--expunged-until 2000-01-01 127.0.0.1 carol user/carol",
            "in all: 0 messages",
        ),
        // What names nothing is not what names no objects at all.
        (
            "--flag flagged -F b/none 127.0.0.1 carol",
            "in all: 0 messages",
        ),
        (
            "--in-mailbox INBOX/Sub 127.0.0.1 carol -a",
            "in all: 2 messages",
        ),
    ] {
        assert_eq!(all(line), expected, "{line}");
    }
}

#[test]
fn the_plan_as_json() {
    let Some(place) = Place::new() else { return };
    let out = place.ours("restore -n --json -a 127.0.0.1 carol").out;
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(plan["messages"], 6);
    assert_eq!(plan["mailboxes"][1]["mailbox"], "user/carol/Sub");
}

/// D50
#[test]
fn json_also_when_it_fails() {
    let Some(place) = Place::new() else { return };
    let none = "0".repeat(40);
    for line in [
        "-n --json 127.0.0.1 nosuch -a",
        "-n --json 127.0.0.1 carol user/carol/Nope",
        "--json -F /nope 127.0.0.1 carol",
        "--json 127.0.0.1:1 carol -a",
        "--json --to-maildir /proc/nope -a carol",
        &format!("--json 127.0.0.1 carol {none}"),
    ] {
        let ours = place.ours(&format!("restore {line}"));
        assert_eq!(ours.code, Some(75), "{line}: {ours:?}");
        let told: serde_json::Value = serde_json::from_str(&ours.out).expect(line);
        let error = told["error"].as_str().expect(line);
        assert!(!error.is_empty() && ours.err.contains(error), "{ours:?}");
    }
}

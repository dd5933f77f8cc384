//! `reconstruct`: backups.db from the files, with C's `ctl_backups list` as the judge.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::administer::{insert, key, two_partitions};
use super::place::Place;

/// backups.db as C's tool lists it: user → path.
fn listed_by_c(place: &Place) -> BTreeMap<String, PathBuf> {
    let output = place.c("ctl_backups list -V -A");
    let lines = output.out.lines().map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[2].to_owned(), PathBuf::from(columns[3]))
    });
    lines.collect()
}

#[track_caller]
fn reconstruct(place: &Place, code: i32, says: &[&str]) -> String {
    let output = place.ours("ctl_backups -v reconstruct");
    for words in says {
        assert!(
            output.out.contains(words),
            "{words:?} in {}{}",
            output.out,
            output.err
        );
    }
    assert_eq!(output.code, Some(code), "{}{}", output.out, output.err);
    output.out
}

#[test]
fn everybody_is_found_by_content() {
    let Some(place) = two_partitions() else {
        return;
    };
    fs::remove_file(place.path("conf/backups.db")).unwrap();
    // A name that lies, a second backup, things that are none, in a place of their own.
    place.mkdir("two/z");
    place.copy("b/bethany_sGEZYM", "two/z/zoe_CCCCCC");
    for suffix in ["", ".index"] {
        fs::remove_file(place.path(&format!("one/b/bethany_AAAAAA{suffix}"))).unwrap();
    }
    place.copy("b/carol", "two/z/carol.copy");
    place.write("two/z/README", b"a note");
    place.write("two/z/gone_EEEEEE.index", b"alone");
    place.write("two/z/empty_FFFFFF", b"");
    let expected = BTreeMap::from([
        ("bethany".to_owned(), place.path("two/z/zoe_CCCCCC")),
        ("carol".to_owned(), place.path("one/c/carol_AAAAAA")),
    ]);

    let dry = place.ours("ctl_backups reconstruct --dry-run");
    assert!(
        dry.out.contains("2 added") && dry.out.contains("nothing was changed"),
        "{}",
        dry.out
    );
    assert!(!place.path("conf/backups.db").exists());
    let says = [
        "carol: duplicate",
        "README (it is no data file)",
        "gone_EEEEEE.index (its data file is missing)",
        "empty_FFFFFF (it is empty)",
        "0 kept, 2 added, 0 changed, 0 dropped, 1 duplicates, 3 strangers",
    ];
    reconstruct(&place, 75, &says);
    assert_eq!(listed_by_c(&place), expected);
    assert_eq!(
        place.c("ctl_backups list").out,
        place.ours("ctl_backups list").out
    );
    fs::remove_file(place.path("two/z/carol.copy")).unwrap();
    reconstruct(&place, 0, &["2 kept, 0 added"]);

    // Without an index, and with another's: the bytes decide.
    fs::remove_file(place.path("two/z/zoe_CCCCCC.index")).unwrap();
    reconstruct(&place, 0, &["2 kept, 0 added"]);
    fs::copy(
        place.path("one/c/carol_AAAAAA.index"),
        place.path("two/z/zoe_CCCCCC.index"),
    )
    .unwrap();
    reconstruct(&place, 0, &["2 kept, 0 added"]);
    assert_eq!(listed_by_c(&place), expected);

    // Entries that are wrong in every way.
    insert(&place, "carol", &place.path("two/z/zoe_CCCCCC"));
    insert(&place, "bethany", &place.path("one/c/carol_AAAAAA"));
    insert(&place, "ghost", &place.path("one/g/ghost_AAAAAA"));
    reconstruct(
        &place,
        0,
        &["ghost: dropped", "does not exist", "2 changed, 1 dropped"],
    );
    assert_eq!(listed_by_c(&place), expected);
    let json = place.ours("ctl_backups -j reconstruct").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_not_there_now_is_not_forgotten() {
    let Some(place) = two_partitions() else {
        return;
    };
    // A partition that is not mounted.
    let away = place.path("one.away");
    fs::rename(place.path("one"), &away).unwrap();
    reconstruct(&place, 0, &["carol: kept", "not mounted?", "2 kept"]);
    place.mkdir("one");
    reconstruct(&place, 0, &["not mounted?", "2 kept"]);
    fs::remove_dir(place.path("one")).unwrap();
    fs::rename(away, place.path("one")).unwrap();
    // One that imapd.conf no longer has.
    place.configure("backuppartition-two: @B@/two\n");
    reconstruct(&place, 0, &["2 kept, 0 added, 0 changed, 0 dropped"]);
    // A directory that may not be read, and a link that leads nowhere.
    place.configure("backuppartition-one: @B@/one\nbackuppartition-two: @B@/two\n");
    let directory = place.path("one/c");
    let allow = |mode| fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
    allow(0);
    reconstruct(&place, 0, &["carol: kept", "Permission denied", "2 kept"]);
    allow(0o700);
    fs::rename(&directory, place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), &directory).unwrap();
    reconstruct(&place, 0, &["2 kept, 0 added, 0 changed, 0 dropped"]);
    // An entry for a file in which nobody can tell anything.
    place.write("two/junk_AAAAAA", b"junk");
    insert(&place, "junk", &place.path("two/junk_AAAAAA"));
    reconstruct(
        &place,
        0,
        &["junk: kept", "nothing in it says whose it is", "3 kept"],
    );
    // None at all: refused, not an empty backups.db.
    place.configure("");
    let output = place.ours("ctl_backups reconstruct");
    assert_eq!(output.code, Some(78), "{}", output.out);
    assert!(place.catalog().get(&key("carol")).unwrap().is_some());
}

/// What backups.db names but nobody can look at now keeps its entry, whatever older copy lies about: else the next
/// mail goes into that.
#[test]
fn an_older_copy_does_not_take_the_place_of_what_is_out_of_reach() {
    let Some(place) = two_partitions() else {
        return;
    };
    place.mkdir("two/c");
    place.copy("one/c/carol_AAAAAA", "two/c/carol_BBBBBB");
    let carol = place.path("one/c/carol_AAAAAA");
    let names_the_first = |says: &[&str]| {
        reconstruct(&place, 75, says);
        assert_eq!(
            place.catalog().get(&key("carol")).unwrap().as_ref(),
            Some(&carol)
        );
    };
    let copy = "carol_BBBBBB (chosen: ";
    // Its rights are wrong, as after a copy by root.
    std::os::unix::fs::chown(&carol, Some(0), Some(0)).unwrap();
    fs::set_permissions(&carol, PermissionsExt::from_mode(0o600)).unwrap();
    names_the_first(&["carol: kept", "Permission denied", copy]);
    place.give_all("one/c");
    // Its directory is a link to a disk that is not there.
    fs::rename(place.path("one/c"), place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("nowhere"), place.path("one/c")).unwrap();
    names_the_first(&["carol: kept", "one/c leads nowhere", copy]);
    fs::remove_file(place.path("one/c")).unwrap();
    fs::rename(place.path("elsewhere"), place.path("one/c")).unwrap();
    // Its partition is not mounted.
    fs::rename(place.path("one"), place.path("one.away")).unwrap();
    place.mkdir("one");
    names_the_first(&["carol: kept", "not mounted?", copy]);
    let said = place.ours("ctl_backups reconstruct --dry-run").err;
    assert!(said.contains("/one has no files: not mounted?"), "{said}");
    // Nor is it deleted then: it would be there again another day, and who knows what mark is beside it.
    let deleted = place.ours("ctl_backups delete --now carol");
    assert!(deleted.out.contains("not mounted?"), "{}", deleted.out);
    assert_eq!(deleted.code, Some(75));
    fs::remove_dir(place.path("one")).unwrap();
    fs::rename(place.path("one.away"), place.path("one")).unwrap();
    // It is gone for good.
    fs::remove_file(&carol).unwrap();
    reconstruct(&place, 0, &["carol: changed"]);
}

/// A pipe in a partition, or named as a backup, holds nobody up.
#[test]
fn what_is_no_file_is_not_opened() {
    let Some(place) = two_partitions() else {
        return;
    };
    let pipe = place.path("two/p_AAAAAA");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    place.give("two/p_AAAAAA");
    reconstruct(&place, 0, &["p_AAAAAA (it is no data file)", "2 kept"]);
    insert(&place, "pipe", &pipe);
    for (line, says) in [
        (
            "ctl_backups verify pipe",
            "verify pipe: failed (System I/O error)",
        ),
        ("ctl_backups verify pipe", "p_AAAAAA: is no file"),
        ("ctl_backups list pipe", "pipe: System I/O error ("),
        ("ctl_backups stat pipe", "p_AAAAAA: is no file)"),
        ("ctl_backups lock -x true pipe", "p_AAAAAA: is no file)"),
        ("ctl_backups delete pipe", "p_AAAAAA: is no file"),
        ("cyr_backup pipe list all", "p_AAAAAA: is no file"),
        ("ctl_backups reindex pipe", "p_AAAAAA: is no file"),
        ("ctl_backups reconstruct", "pipe: kept"),
    ] {
        let output = place.ours(line);
        let said = format!("{}{}", output.out, output.err);
        assert!(said.contains(says), "{line}: {said}");
    }
}

/// D19: `all` is never none by accident.
#[test]
fn a_lost_backups_db_is_not_taken_for_no_backups() {
    let Some(place) = two_partitions() else {
        return;
    };
    let database = place.path("conf/backups.db");
    for empty in [false, true] {
        fs::remove_file(&database).unwrap();
        if empty {
            place.write("conf/backups.db", b"");
        }
        for line in [
            "ctl_backups list",
            "ctl_backups verify -A",
            "ctl_backups compact -A",
            "ctl_backups hold --list",
            "ctl_backups delete --expired",
            "ctl_backups move --all-from one two",
        ] {
            let output = place.ours(line);
            let says = format!(
                "{}: knows of no backup, but there are files in {}; make it anew with",
                database.display(),
                place.path("one").display()
            );
            assert!(output.err.starts_with(&says), "{line}: {}", output.err);
            assert_eq!((output.out.as_str(), output.code), ("", Some(75)), "{line}");
        }
        reconstruct(&place, 0, &["2 added"]);
    }
    // A new server: no backup, and all is well.
    place.configure("backuppartition-new: @B@/new\n");
    fs::remove_file(&database).unwrap();
    let output = place.ours("ctl_backups verify -A");
    assert_eq!((output.err.as_str(), output.code), ("", Some(0)));
}

/// One that is good but not ours to read is no reason for a new one.
#[test]
fn a_backups_db_without_rights_stays() {
    let Some(place) = two_partitions() else {
        return;
    };
    let database = place.path("conf/backups.db");
    let before = fs::read(&database).unwrap();
    std::os::unix::fs::chown(&database, Some(0), Some(0)).unwrap();
    fs::set_permissions(&database, PermissionsExt::from_mode(0o600)).unwrap();
    let output = place.ours("ctl_backups reconstruct");
    assert_eq!(output.code, Some(75), "{}", output.out);
    assert!(
        output.err.contains("backups.db: Permission denied"),
        "{}",
        output.err
    );
    assert_eq!(fs::read(&database).unwrap(), before);
}

#[test]
fn a_backups_db_that_cannot_be_read_is_kept_and_replaced() {
    let Some(place) = two_partitions() else {
        return;
    };
    let skiplist = place.path("conf/skiplist");
    fs::remove_file(place.path("conf/backups.db")).unwrap();
    let made = std::process::Command::new("/usr/lib/cyrus/bin/cvt_cyrusdb")
        .args(["-C".as_ref(), place.path("imapd.conf").as_os_str()])
        .arg("/dev/null")
        .arg("flat")
        .arg(&skiplist)
        .arg("skiplist")
        .status();
    let skiplist = match made.is_ok_and(|status| status.success()) {
        true => fs::read(skiplist).unwrap(),
        false => [&b"\xa1\x02\x8b\x0dskiplist file\0\0\0"[..], &[0; 100]].concat(),
    };
    for (bytes, says) in [
        (
            &skiplist[..],
            "convert it with: cvt_cyrusdb OLD skiplist NEW twoskip",
        ),
        (&[7; 600], "is not a twoskip database"),
    ] {
        place.write("conf/backups.db", bytes);
        let refused = place.ours("ctl_backups list");
        assert_eq!(refused.code, Some(75));
        assert!(refused.err.contains(says), "{}", refused.err);
        reconstruct(&place, 0, &["backups.db is written anew", "2 added"]);
        assert_eq!(listed_by_c(&place).len(), 2);
        let copies = fs::read_dir(place.path("conf")).unwrap();
        let copies = copies.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
            name.starts_with("backups.db.")
        });
        let copies: Vec<PathBuf> = copies.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(copies.len(), 1, "{copies:?}");
        assert_eq!(fs::read(&copies[0]).unwrap(), bytes);
        fs::remove_file(&copies[0]).unwrap();
    }
}

/// C's sql engine is no file at all: refused by name, not taken for an empty backups.db.
#[test]
fn other_engines_are_refused_by_name() {
    let Some(place) = two_partitions() else {
        return;
    };
    for engine in ["sql", "zeroskip"] {
        place.configure(&format!("backup_db: {engine}\n"));
        let output = place.ours("ctl_backups list");
        let says = format!("fatal error: cyrusdb backend {engine} not supported");
        assert!(output.err.starts_with(&says), "{}", output.err);
        assert_eq!(output.code, Some(78));
    }
}

/// 5,000 users without an index, while entries come and go.
#[test]
fn five_thousand_users() {
    let Some(place) = two_partitions() else {
        return;
    };
    let count = 5000;
    for n in 0..count {
        let directory = format!(
            "{}/{}",
            ["one", "two"][n % 2],
            char::from(b'a' + (n % 26) as u8)
        );
        place.mkdir(&directory);
        let line = format!(
            "1795459116 APPLY MAILBOX %(UNIQUEID u{n} MBOXNAME user.u{n} SYNC_CRC 0 LAST_UID 0 \
             HIGHESTMODSEQ 1 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 \
             UIDVALIDITY 1 PARTITION default ACL \"\" OPTIONS P RECORD ())\r\n"
        );
        let file = fs::File::create(place.path(&format!("{directory}/x_{n:06}"))).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(b"# cyrus backup: chunk start\r\n").unwrap();
        gzip.write_all(line.as_bytes()).unwrap();
        gzip.finish().unwrap();
    }
    let catalog = place.catalog();
    let newcomer = place.path("two/newcomer_AAAAAA");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| reconstruct(&place, 0, &["2 kept, 5000 added"]));
        // backupd makes a backup meanwhile, and makes one that is planned for.
        while !run.is_finished() {
            catalog.insert(&key("newcomer"), &newcomer).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        run.join().unwrap();
    });
    let entries = catalog.iter().unwrap();
    assert_eq!(entries.len(), count + 3);
    let consistent = std::process::Command::new("/usr/lib/cyrus/bin/cyr_dbtool")
        .arg("-C")
        .arg(place.path("imapd.conf"))
        .arg(place.path("conf/backups.db"))
        .args(["twoskip", "consistent"])
        .output()
        .unwrap();
    assert!(consistent.status.success(), "{consistent:?}");
}

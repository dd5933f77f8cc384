//! ctl_backups stat, lock, reindex and compact beside C's, and what C loses with them (spec: ondisk 10).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use cyrusbackup::store::lock::{Locked, Mode, open_locked};
use cyrusbackup::store::{Backup, Lock};

use super::place::Place;
use super::rig::{Limit, Output, ended};

/// Everything is older than the retention but what is alive.
const SHORT: &str = "backup_retention: 1s\n";

#[test]
fn stat_says_what_c_says() {
    let Some(place) = Place::new() else { return };
    for line in [
        "ctl_backups stat",
        "ctl_backups stat carol",
        "ctl_backups stat bethany carol",
        "ctl_backups -V stat carol",
        "ctl_backups -j stat carol",
        "ctl_backups -j stat -f b/carol b/craft-n",
        "ctl_backups stat -f b/carol b/craft-emptychunk b/nope",
        "ctl_backups stat -A",
        "ctl_backups stat nosuch",
        "ctl_backups stat gone",
        "ctl_backups -S stat gone carol",
        "ctl_backups stat -m user.carol.Sub shared",
    ] {
        place.same(line);
    }
    place.write("b/empty", b"");
    place.write("b/empty.index", b"");
    place.same("ctl_backups stat -f b/empty");
    place.same("ctl_backups -j stat -f b/empty");
    place.configure(SHORT);
    place.same("ctl_backups stat carol");
    place.configure("backup_retention: 0\n");
    place.same("ctl_backups stat carol");
}

#[test]
fn lock_says_what_c_says() {
    let Some(place) = Place::new() else { return };
    for line in [
        "ctl_backups lock",
        "ctl_backups lock carol",
        "ctl_backups lock -f b/carol",
        "ctl_backups -j lock carol",
        "ctl_backups lock gone",
        "ctl_backups lock nosuch",
        "ctl_backups lock -x true gone",
        "ctl_backups lock -x false carol",
        "ctl_backups lock -c carol",
        "ctl_backups lock -c -x true -f b/carol",
    ] {
        place.same(line);
    }
    let script = "echo $ctl_backups_lock_data_fname $ctl_backups_lock_index_fname; exit 7";
    for (tool, name) in [
        ("C", place.c_words(&["lock", "-x", script, "carol"])),
        ("ours", place.our_words(&["lock", "-x", script, "carol"])),
    ] {
        assert_eq!(name.code, Some(75), "{tool}");
        assert!(
            name.out.contains("/b/carol ") && name.out.contains("/b/carol.index\n"),
            "{tool}"
        );
    }
    let made = place.ours("ctl_backups lock -c -f b/new_AAAAAA");
    assert_eq!(made.code, Some(0));
    // C is content with what we made.
    place.same("ctl_backups list -f b/new_AAAAAA");
    place.same("ctl_backups lock -f b/new_AAAAAA");
}

/// D70: a script on the other end of a pipe sees `OK locked` when it is so.
#[test]
fn lock_speaks_at_once_and_holds_until_eof() {
    let Some(place) = Place::new() else { return };
    let mut child = place
        .command("ctl_backups lock carol")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let limit = Limit::on(child.id(), Duration::from_secs(120));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "* Trying to obtain lock on carol..."
    );
    assert_eq!(lines.next().unwrap().unwrap(), "OK locked");
    assert_eq!(
        place.c("ctl_backups verify carol").out,
        "verify carol: locked\n"
    );
    place.same("ctl_backups compact carol");
    place.same("ctl_backups reindex carol");
    place.same("ctl_backups stat carol");
    place.same("ctl_backups lock carol");
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "enough").unwrap();
    drop(stdin);
    assert_eq!(ended(&mut child), Some(0));
    drop(limit);
    assert_eq!(
        place.c("ctl_backups verify carol").out,
        "verify carol: ok\n"
    );
}

#[test]
fn reindex_says_what_c_says() {
    let Some(place) = Place::new() else { return };
    for line in [
        "ctl_backups reindex carol",
        "ctl_backups -v reindex carol",
        "ctl_backups -j reindex carol",
        "ctl_backups -v reindex -f b/craft-emptychunk b/nope",
        "ctl_backups reindex gone",
        "ctl_backups reindex nosuch",
        "ctl_backups reindex",
    ] {
        place.same(line);
    }
    let rows = |name: &str| {
        let tables = [
            "chunk",
            "message",
            "mailbox",
            "mailbox_message",
            "subscription",
            "seen",
            "sieve",
        ];
        tables.map(|table| place.rows(name, &format!("SELECT * FROM {table}")))
    };
    place.c("ctl_backups reindex carol");
    let by_c = rows("b/carol");
    place.ours("ctl_backups reindex carol");
    assert_eq!(rows("b/carol"), by_c);
    assert_eq!(
        place.c("ctl_backups verify carol").out,
        "verify carol: ok\n"
    );
}

/// D71, spec: ondisk 10.10: clocks that went backwards, unknown lines, literals, orphans. C dies of the
/// first and loses lines with the others.
#[test]
fn o_10_10_reindex_loses_nothing_that_can_be_read() {
    let Some(place) = Place::new() else { return };
    for (name, code) in [
        ("craft-tsback", 0),
        ("craft-tsline", 0),
        ("craft-unk", 0),
        ("craft-plus", 0),
        ("craft-quoted", 0),
        ("craft-n", 0),
        ("bethany_sGEZYM", 0),
        ("craft-orph", 75),
        ("craft-badguid", 75),
        ("craft-corr", 75),
    ] {
        let (_, expected) =
            Backup::open_rebuilt(&place.path(&format!("b/{name}")), Lock::None).unwrap();
        let dry = place.ours(&format!("ctl_backups reindex --dry-run -f b/{name}"));
        let output = place.ours(&format!("ctl_backups reindex -f b/{name}"));
        assert_eq!(
            (dry.code, output.code),
            (Some(code), Some(code)),
            "{name} {}",
            output.out
        );
        let backup = Backup::open(&place.path(&format!("b/{name}")), Lock::None).unwrap();
        assert!(backup.is_current().unwrap(), "{name}");
        let messages = backup.index().messages().unwrap();
        for row in &messages {
            backup
                .read_row(row)
                .unwrap_or_else(|e| panic!("{name}: {}", e.detail()));
        }
        assert_eq!(
            backup.index().chunks().unwrap().len() as u64,
            expected.chunks,
            "{name}"
        );
        println!("{name}: {} messages saved", messages.len());
    }
    // Spec: ondisk 10.12. Six chunks and a start line without lines; C found five.
    let orphan = Backup::open(&place.path("b/craft-orph"), Lock::None).unwrap();
    assert_eq!(orphan.index().chunks().unwrap().len(), 6);
    // 400 messages, and a flipped bit in one chunk without a single flush.
    let corrupt = Backup::open(&place.path("b/craft-corr"), Lock::None).unwrap();
    assert!(corrupt.index().messages().unwrap().len() >= 250);
}

#[test]
fn reindex_keeps_the_old_index_when_asked_and_when_it_fails() {
    let Some(place) = Place::new() else { return };
    place.configure("backup_keep_previous: yes\n");
    place.ours("ctl_backups reindex carol");
    let kept = fs::read_dir(place.path("b")).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("carol.index.")
    });
    assert_eq!(kept.count(), 1);
    // A directory in the way of the new index.
    fs::create_dir(place.path("b/bethany_sGEZYM.index.new")).unwrap();
    let before = fs::read(place.path("b/bethany_sGEZYM.index")).unwrap();
    let failed = place.ours("ctl_backups reindex bethany");
    assert_eq!(failed.code, Some(75));
    assert_eq!(
        fs::read(place.path("b/bethany_sGEZYM.index")).unwrap(),
        before
    );
}

#[test]
fn compact_says_what_c_says() {
    let Some(place) = Place::new() else { return };
    for (options, line) in [
        ("", "ctl_backups compact carol"),
        ("", "ctl_backups -j compact carol"),
        ("", "ctl_backups -S compact carol bethany"),
        ("", "ctl_backups compact gone carol"),
        ("", "ctl_backups compact carol nosuch"),
        ("", "ctl_backups compact"),
        ("", "ctl_backups -F -v compact carol"),
        ("", "ctl_backups -F -j compact -f b/carol"),
        (
            "backup_compact_minsize: 1000\n",
            "ctl_backups -F -v compact carol",
        ),
        (
            "backup_compact_minsize: 1000\n",
            "ctl_backups -v compact carol",
        ),
    ] {
        place.configure(options);
        place.copy("b/carol", "keep");
        let c = place.c(line);
        place.copy("keep", "b/carol");
        let ours = place.ours(line);
        let show = |o: &Output| format!("{:?}\n{}\n{}", o.code, o.out, o.err);
        assert_eq!(show(&ours), show(&c), "{line}");
        assert_eq!(
            place.c("ctl_backups verify carol").out,
            "verify carol: ok\n",
            "{line}"
        );
        place.copy("keep", "b/carol");
    }
}

/// D72, spec: ondisk 10.9.
#[test]
fn o_10_9_left_overs_are_in_nobody_s_way() {
    let Some(place) = Place::new() else { return };
    for name in [
        "b/carol.new",
        "b/carol.index.new",
        "b/carol.index.new-journal",
    ] {
        place.write(name, b"left over");
    }
    assert_eq!(
        place.ours("ctl_backups -F compact carol").out,
        "compact carol: ok\n"
    );
    for name in [
        "b/carol.new",
        "b/carol.index.new",
        "b/carol.index.new-journal",
    ] {
        assert!(!place.path(name).exists(), "{name}");
    }
    assert_eq!(
        place.c("ctl_backups verify carol").out,
        "verify carol: ok\n"
    );
}

/// D74: a directory stands where the new index would be written.
#[test]
fn what_the_disk_refuses_is_told_with_its_place() {
    let Some(place) = Place::new() else { return };
    std::fs::create_dir(place.path("b/carol.index.new")).unwrap();
    let ours = place.ours("ctl_backups reindex carol");
    assert_eq!(
        ours.out, "reindex carol: failed (System I/O error)\n",
        "{}",
        ours.err
    );
    assert!(
        ours.err.starts_with("carol: ") && ours.err.contains("carol.index.new"),
        "{}",
        ours.err
    );
    assert_eq!(ours.code, Some(75));
}

/// D73, spec: ondisk 10.1, 10.4, 10.5: literals stay, deleted mailboxes stay deleted while they stay, names stay.
#[test]
fn o_10_1_and_10_4_compact_keeps_what_c_loses() {
    let Some(place) = Place::new() else { return };
    for name in [
        "bethany_sGEZYM",
        "craft-plus",
        "craft-n",
        "craft-quoted",
        "carol",
    ] {
        for options in [
            "",
            SHORT,
            "backup_retention: 0\n",
            "backup_compact_minsize: 1000\n",
        ] {
            place.copy(&format!("b/{name}"), "b/x");
            place.configure(options);
            place.ours("ctl_backups reindex -f b/x");
            let living = |path: &str| {
                let backup = Backup::open(&place.path(path), Lock::None).unwrap();
                let index = backup.index();
                let mut lines = Vec::new();
                for mailbox in index.mailboxes().unwrap() {
                    if mailbox.deleted.is_some() {
                        continue;
                    }
                    lines.push(format!("{} {}", mailbox.uniqueid, mailbox.mboxname));
                    for r in index.records(mailbox.id).unwrap() {
                        if r.expunged.is_none() {
                            let read = backup.read_message(&r.guid).is_ok();
                            lines.push(format!("{} {} {} {read}", r.uid, r.guid, r.flags));
                        }
                    }
                }
                for row in index
                    .sieve()
                    .unwrap()
                    .iter()
                    .filter(|row| row.deleted.is_none())
                {
                    lines.push(format!(
                        "{} {:?}",
                        row.filename,
                        backup.read_sieve(row).unwrap()
                    ));
                }
                lines
            };
            let before = living("b/x");
            let output = place.ours("ctl_backups -F compact -f b/x");
            assert_eq!(output.code, Some(0), "{name} {options} {}", output.out);
            assert_eq!(living("b/x"), before, "{name} {options}");
            let reindexed = place.ours("ctl_backups reindex -f b/x");
            assert_eq!(reindexed.code, Some(0));
            assert_eq!(living("b/x"), before, "{name} {options}");
            if options == SHORT {
                // No old RENAME is left, and the literals are such as C can read.
                let verified = place.c("ctl_backups verify -f b/x");
                assert_eq!(
                    verified.code,
                    Some(0),
                    "{name} {} {}",
                    verified.out,
                    verified.err
                );
            }
        }
    }
}

/// Spec: ondisk 10.8: damage ends, whatever the command.
#[test]
fn o_10_8_no_command_loops_on_damage() {
    let Some(place) = Place::new() else { return };
    for name in ["craft-corr", "craft-trunc"] {
        for command in [
            "stat",
            "lock",
            "-V stat",
            "compact",
            "-F compact",
            "reindex",
            "verify",
        ] {
            place.copy(&format!("b/{name}"), "b/x");
            let output = place.ours(&format!("ctl_backups {command} -f b/x"));
            println!(
                "{name} {command}: {:?} {} {}",
                output.code, output.out, output.err
            );
            assert!(output.code.is_some(), "{name} {command}");
        }
        // What was written anew is whole.
        let output = place.ours("ctl_backups reindex -f b/x");
        let compacted = place.ours("ctl_backups -F compact -f b/x");
        assert_eq!(
            compacted.out.trim_end(),
            format!("compact {}: ok", place.path("b/x").display())
                .replace(place.path("").to_str().unwrap(), ""),
            "{} {}",
            output.out,
            compacted.err
        );
        assert_eq!(place.c("ctl_backups verify -f b/x").code, Some(0));
    }
}

/// D73: a nightly compact leaves a damaged backup as it is and says so; forced, it keeps the old file.
#[test]
fn compact_does_not_cover_damage_up() {
    let Some(place) = Place::new() else { return };
    place.configure("backup_retention: 1s\n");
    for name in ["craft-corr", "craft-trunc", "craft-badguid"] {
        place.mkdir("d");
        place.copy(&format!("b/{name}"), "d/x");
        let before = fs::read(place.path("d/x")).unwrap();
        let refused = place.ours("ctl_backups compact -f d/x");
        let says =
            "compact d/x: failed (damaged data in chunk 1 at offset 0: `verify --keep-going`";
        assert!(
            refused.out.starts_with(says),
            "{name}: {}{}",
            refused.out,
            refused.err
        );
        assert_eq!(refused.code, Some(75), "{name}");
        assert!(fs::read(place.path("d/x")).unwrap() == before, "{name}");
        let forced = place.ours("ctl_backups -F compact -f d/x");
        assert_eq!(forced.out, "compact d/x: ok\n", "{name}: {}", forced.err);
        let entries = fs::read_dir(place.path("d")).unwrap();
        let kept = entries.map(|entry| entry.unwrap().path());
        let mut kept = kept.filter(|path| fs::read(path).unwrap() == before);
        let previous = kept
            .next()
            .expect(name)
            .into_os_string()
            .into_string()
            .unwrap();
        assert!(previous.contains("/d/x."), "{name}: {previous}");
        fs::remove_dir_all(place.path("d")).unwrap();
    }
}

/// D71: what is no backup, or one of which nothing is left to read, is not made an empty backup of.
#[test]
fn a_file_that_nobody_can_read_is_left_as_it_is() {
    let Some(place) = Place::new() else { return };
    let raw = fs::read(place.path("b/carol")).unwrap();
    let garbled: Vec<u8> = raw.iter().map(|byte| byte ^ 0x55).collect();
    let header_only: Vec<u8> = [&raw[..10], &garbled[10..]].concat();
    for bytes in [&b"a note of somebody"[..], &garbled, &header_only, &[7; 3]] {
        place.write("b/x", bytes);
        let _ = fs::remove_file(place.path("b/x.index"));
        let output = place.ours("ctl_backups reindex -f b/x");
        let said = format!("{}{}", output.out, output.err);
        assert!(
            said.contains("b/x: nothing in it can be read as a backup"),
            "{said}"
        );
        assert_eq!(output.code, Some(75));
        assert!(fs::read(place.path("b/x")).unwrap() == bytes, "{said}");
        // Nor by who finds an empty index beside it, as C's reindex makes one.
        place.write("b/y", b"");
        place.c("ctl_backups list -f b/y");
        fs::copy(place.path("b/y.index"), place.path("b/x.index")).unwrap();
        place.give("b/x.index");
        // A torn first chunk looks like the third; what writes next cuts that as after any crash.
        let compact = "ctl_backups -F compact -f b/x";
        let lines = ["ctl_backups reindex -f b/x", compact];
        for line in lines
            .into_iter()
            .filter(|line| *line != compact || bytes != header_only)
        {
            let output = place.ours(line);
            assert_eq!(
                output.code,
                Some(75),
                "{line}: {}{}",
                output.out,
                output.err
            );
            assert!(fs::read(place.path("b/x")).unwrap() == bytes, "{line}");
        }
    }
}

/// Whoever reads is not disturbed.
#[test]
fn readers_and_compact_keep_each_other_out() {
    let Some(place) = Place::new() else { return };
    let path = place.path("b/carol");
    let options = fs::OpenOptions::new().read(true).clone();
    let Locked::Got(held) = open_locked(&path, &options, Mode::Shared, false).unwrap() else {
        panic!("somebody has it");
    };
    assert_eq!(
        place.ours("ctl_backups compact carol").out,
        "compact carol: locked\n"
    );
    assert_eq!(place.ours("ctl_backups stat carol").code, Some(0));
    drop(held);
}

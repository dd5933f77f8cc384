//! Command lines that administrators were seen to run, each beside C's tool on the same files. A
//! sample is named after what it shows; what the other files of this program compare already is
//! not repeated here.

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use cyrusbackup::store::lock::{Locked, Mode, open_locked};

use super::place::Place;
use super::rig::Output;

/// The table of everything that only looks; tests with a name of their own are above it.
const LOOKS: [(&str, &[&str]); 11] = [
    (
        "options behind names, the configuration last",
        &[
            "ctl_backups list carol -j -C @CONF@",
            "cyr_backup carol list chunks -C @CONF@",
        ],
    ),
    ("list -t takes the name", &["ctl_backups list -t carol"]),
    (
        "list -t 48 shows what is that old",
        &["ctl_backups list -t 48", "ctl_backups list -t"],
    ),
    ("list -P of several", &["ctl_backups list -P car b q"]),
    (
        "list -f of what is not there",
        &[
            "ctl_backups list -f b/x/nope b/carol",
            "ctl_backups -S list -f /nope b/carol",
        ],
    ),
    (
        "list -S stops at the missing file",
        &["ctl_backups -S list gone carol", "ctl_backups -S list -A"],
    ),
    (
        "verify of what is not there",
        &[
            "ctl_backups verify -f /nope",
            "ctl_backups -S verify %SHARED gone carol",
        ],
    ),
    (
        "an empty file",
        &[
            "cyr_backup -f b/empty list all",
            "ctl_backups list -f b/empty",
            "ctl_backups -j list -f b/empty",
            "ctl_backups verify -f b/empty",
            "cyr_backup -f b/empty json chunks",
            "cyr_backup -f b/empty json mailboxes",
            "cyr_backup -f b/empty json messages",
            "cyr_backup -f b/empty json headers xx",
        ],
    ),
    (
        "a mailbox names its user",
        &[
            "cyr_backup -m user/carol/Foo list chunks",
            "ctl_backups list -m user/carol INBOX",
        ],
    ),
    ("no such file", &["cyr_backup -f /nope list chunks"]),
    (
        "unknown words",
        &[
            "cyr_backup carol list frobs",
            "cyr_backup carol list chunks foo",
            "ctl_backups frobnicate",
        ],
    ),
];

#[test]
fn looking_is_the_same() {
    let Some(place) = Place::new() else { return };
    place.write("b/empty", b"");
    let conf = place.path("imapd.conf");
    for (name, lines) in LOOKS {
        for line in lines {
            let line = line.replace("@CONF@", conf.to_str().unwrap());
            eprintln!("{name}: {line}");
            place.same(&line);
        }
    }
}

/// D9, D74: C's words, and behind them which file it is and what to do.
#[test]
fn a_file_without_an_index_says_what_to_do() {
    let Some(place) = Place::new() else { return };
    place.write("b/noidx", &std::fs::read(place.path("b/carol")).unwrap());
    let cause = "b/noidx.index: the index is missing or empty; run `ctl_backups reindex`";
    for line in [
        "cyr_backup -f b/noidx list chunks",
        "ctl_backups list -f b/noidx",
    ] {
        place.differs(line, |c| {
            let words = "Mailbox has an invalid format";
            let err = c.err.replace(words, &format!("{words} ({cause})"));
            Output { err, ..c }
        });
    }
    place.differs("ctl_backups verify -f b/noidx", |c| Output {
        err: format!("b/noidx: {cause}\n"),
        ..c
    });
}

/// What a full disk left of a backup that was to be made is an empty backup, as for C.
#[test]
fn an_empty_file_with_an_empty_index_is_an_empty_backup() {
    let Some(place) = Place::new() else { return };
    for line in [
        "ctl_backups list -f b/empty",
        "ctl_backups verify -f b/empty",
        "ctl_backups stat -f b/empty",
        "cyr_backup -f b/empty list all",
    ] {
        // C fills the index.
        place.write("b/empty", b"");
        let c = place.c(line);
        place.write("b/empty.index", b"");
        let ours = place.ours(line);
        assert_eq!(
            (ours.out, ours.err, ours.code),
            (c.out, c.err, c.code),
            "{line}"
        );
        std::fs::remove_file(place.path("b/empty.index")).unwrap();
    }
}

/// `-w`, and cyr_backup without it, wait until the other is done.
#[test]
fn who_waits_gets_the_same_in_the_end() {
    let Some(place) = Place::new() else { return };
    let expected = place.c("ctl_backups list carol").out;
    let chunks = place.c("cyr_backup carol list chunks").out;
    for (line, expected) in [
        ("ctl_backups -w list carol", &expected),
        ("cyr_backup carol list chunks", &chunks),
    ] {
        for ours in [false, true] {
            let options = OpenOptions::new().read(true).write(true).clone();
            let lock = open_locked(&place.path("b/carol"), &options, Mode::Exclusive, true);
            let Locked::Got(lock) = lock.unwrap() else {
                panic!("somebody holds the lock");
            };
            let begun = Instant::now();
            let held = Duration::from_millis(700);
            let output = std::thread::scope(|scope| {
                scope.spawn(move || {
                    std::thread::sleep(held);
                    drop(lock);
                });
                if ours {
                    place.ours(line)
                } else {
                    place.c(line)
                }
            });
            assert!(begun.elapsed() >= held, "{line} did not wait");
            assert_eq!(
                (&output.out, output.code),
                (expected, Some(0)),
                "{line} {}",
                output.err
            );
        }
    }
}

/// Commands that change files run on two equal places, one for each side: what they say, and which
/// files are there afterwards with which rights.
#[test]
fn changing_is_the_same() {
    let (Some(c), Some(ours)) = (Place::new(), Place::new()) else {
        return;
    };
    let kill: &[&str] = &["lock", "-x", "kill -9 $$", "carol"];
    let look: &[&str] = &["lock", "-c", "-x", "ls", "nosuch"];
    let table: [(&str, &[&[&str]]); 13] = [
        (
            "compact -S ends at the first that fails",
            &[&["-S", "compact", "gone", "carol"]],
        ),
        (
            "compact of what is not there",
            &[&["compact", "gone"], &["compact", "nosuch"]],
        ),
        (
            "compact without need",
            &[&["compact", "%SHARED"], &["-j", "compact", "%SHARED"]],
        ),
        ("compact of prefixes", &[&["compact", "-P", "zz", "q"]]),
        (
            "an index that was not finished",
            &[&["-F", "compact", "-f", "b/left"]],
        ),
        (
            "files that stay",
            &[
                &["-F", "compact", "-f", "b/keep"],
                &["reindex", "-f", "b/keep"],
            ],
        ),
        (
            "reindex of what is not there",
            &[&["reindex", "gone"], &["-j", "reindex", "gone"]],
        ),
        (
            "reindex",
            &[&["reindex", "carol"], &["-v", "reindex", "carol"]],
        ),
        ("reindex by name", &[&["reindex", "-f", "b/carol"]]),
        ("a command that is killed", &[kill]),
        (
            "lock of what is not there",
            &[look, &["lock", "-x", "true", "gone"]],
        ),
        (
            "lock of two, in two ways",
            &[
                &["lock", "carol", "bethany"],
                &["lock", "-p", "-s", "carol"],
            ],
        ),
        (
            "stat",
            &[
                &["stat", "carol"],
                &["-j", "stat", "-f", "b/empty"],
                &["stat", "nosuch"],
            ],
        ),
    ];
    for place in [&c, &ours] {
        place.configure("backup_keep_previous: no\n");
        place.write("b/empty", b"");
        place.copy("b/carol", "b/keep");
        place.copy("b/carol", "b/left");
        place.write("b/left.index.new", b"");
        let own = PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(place.path("b/left.index.new"), own).unwrap();
    }
    for (name, lines) in table {
        if name == "files that stay" {
            c.configure("backup_keep_previous: yes\n");
            ours.configure("backup_keep_previous: yes\n");
        }
        for words in lines {
            let show = |place: &Place, output: super::rig::Output| {
                let here = place.path("").to_str().unwrap().to_owned();
                let said = format!("{:?}\n{}\n{}", output.code, output.out, output.err);
                said.replace(here.trim_end_matches('/'), "HERE") + &listing(place)
            };
            if name == "files that stay" {
                // Earlier versions are named after the second.
                std::thread::sleep(Duration::from_millis(1100));
            }
            let expected = show(&c, c.c_words(words));
            assert_eq!(
                show(&ours, ours.our_words(words)),
                expected,
                "{name}: {words:?}"
            );
        }
    }
}

/// Names and modes in `b`, times in names left out, and the index that C makes when it looks at an
/// empty backup (D42).
fn listing(place: &Place) -> String {
    let mut lines: Vec<String> = std::fs::read_dir(place.path("b"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let name = match name.rsplit_once('.') {
                Some((stem, digits)) if digits.parse::<u64>().is_ok() => format!("{stem}.TIME"),
                _ => name,
            };
            format!(
                "\n{:o} {name}",
                entry.metadata().unwrap().permissions().mode()
            )
        })
        .collect();
    lines.retain(|line| !line.ends_with(" empty.index"));
    lines.sort();
    lines.concat()
}

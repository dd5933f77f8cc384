//! Command lines that administrators were seen to run, each beside C's tool on the same files. A
//! sample is named after what it shows; what the other files of this program compare already is
//! not repeated here.

use std::fs::OpenOptions;
use std::time::{Duration, Instant};

use cyrusbackup::store::lock::{Locked, Mode, open_locked};

use super::place::Place;

/// The table of everything that only looks; tests with a name of their own are above it.
const LOOKS: [(&str, &[&str]); 12] = [
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
        "a file without an index",
        &[
            "cyr_backup -f b/noidx list chunks",
            "ctl_backups list -f b/noidx",
            "ctl_backups verify -f b/noidx",
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
    place.write("b/noidx", &std::fs::read(place.path("b/carol")).unwrap());
    let conf = place.path("imapd.conf");
    for (name, lines) in LOOKS {
        for line in lines {
            let line = line.replace("@CONF@", conf.to_str().unwrap());
            eprintln!("{name}: {line}");
            place.same(&line);
        }
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

//! Each program has a page in contrib/man that names every option of its `--help`, and that groff can print.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::rig::{our_binary, run};

const LIMIT: Duration = Duration::from_secs(60);

/// Page, program, and what comes before `--help`.
const PAGES: [(&str, &str, &[&[&str]]); 5] = [
    ("backupd", "backupd", &[&[]]),
    (
        "ctl_backups",
        "ctl_backups",
        &[
            &[],
            &["reconstruct"],
            &["move"],
            &["rename"],
            &["delete"],
            &["purge"],
            &["hold"],
            &["unhold"],
        ],
    ),
    (
        "cyr_backup",
        "cyr_backup",
        &[&[], &["anne", "find"], &["anne", "tar"]],
    ),
    ("restore", "restore", &[&[]]),
    ("mount.cyrusbackup", "mount-cyrusbackup", &[&[]]),
];

fn page(name: &str) -> PathBuf {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/man");
    pages.join(format!("{name}.8"))
}

/// `--long` and `-x` where a word begins.
fn options(text: &str) -> BTreeSet<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let words = text.split(|c: char| c.is_whitespace() || "[](),;|'`\"".contains(c));
    words
        .filter(|word| word.starts_with('-'))
        .map(|word| word.split(ends).next().unwrap_or_default().to_owned())
        .filter(|word| match word.strip_prefix("--") {
            Some(long) => long.len() > 1 && long.starts_with(|c: char| c.is_ascii_lowercase()),
            None => word.len() == 2 && word.ends_with(|c: char| c.is_ascii_alphabetic()),
        })
        .collect()
}

#[test]
fn every_option_is_in_the_manual() {
    for (name, program, commands) in PAGES {
        let text = std::fs::read_to_string(page(name)).unwrap();
        // As it is printed: no font changes, hyphens as they are typed.
        let mut printed = text.replace("\\-", "-");
        for font in ["\\fB", "\\fI", "\\fR"] {
            printed = printed.replace(font, "");
        }
        let known = options(&printed);
        let mut wanted = BTreeSet::new();
        for command in commands {
            let mut help = Command::new(our_binary(program));
            let help = run(help.args(*command).arg("--help"), LIMIT).ok(program);
            wanted.extend(options(&help.out));
        }
        assert!(wanted.len() > 7, "{program}: {wanted:?}");
        let missing: Vec<_> = wanted.difference(&known).collect();
        assert!(missing.is_empty(), "{name}.8 does not name {missing:?}");
        let beyond: Vec<_> = known.difference(&wanted).collect();
        let beyond: Vec<_> = beyond.iter().filter(|word| word.len() > 2).collect();
        assert!(beyond.is_empty(), "{name}.8 names {beyond:?}");
    }
}

#[test]
fn the_manual_can_be_printed() {
    for (name, ..) in PAGES {
        let mut groff = Command::new("groff");
        groff.args(["-ww", "-z", "-man", "-Tutf8"]).arg(page(name));
        let Ok(found) = Command::new("sh").args(["-c", "command -v groff"]).output() else {
            return;
        };
        if !found.status.success() {
            assert!(std::env::var_os("CI").is_none(), "groff is not installed");
            eprintln!("SKIPPED: groff is not installed");
            return;
        }
        let done = run(&mut groff, LIMIT).ok(name);
        assert_eq!(done.err, "", "{name}.8");
    }
}

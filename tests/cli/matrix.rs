//! Damage × file × place × command, with the programs themselves: none panics, none hangs, whoever fails says why;
//! and afterwards `reconstruct` and `reindex` bring back everything whose bytes are intact.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use cyrusbackup::types::BackupKey;

use super::place::Place;
use super::rig::our_binary;

/// Everything that reads or writes a backup; `ctl` and `cyr` stand for the tools with their configuration.
const COMMANDS: [&str; 18] = [
    "ctl list -A",
    "ctl stat carol",
    "ctl verify carol",
    "ctl --keep-going verify carol",
    "ctl lock carol",
    "ctl compact carol",
    "ctl -F compact carol",
    "ctl reindex --dry-run carol",
    "ctl reindex carol",
    "ctl purge carol --guid 42c32deeb045bff18d94bd170d8ca63d6055852e",
    "ctl purge -F carol --subject carol",
    "ctl hold carol",
    "cyr carol list all",
    "cyr carol json mailboxes",
    "cyr carol show messages 42c32deeb045bff18d94bd170d8ca63d6055852e",
    "cyr carol dump mailbox user.carol",
    "cyr carol find",
    "cyr carol tar",
];

/// Kinds of damage with their places, as parts of the length.
const DAMAGE: [(&str, &[f64]); 5] = [
    ("flip", &[0.0, 0.02, 0.3, 0.55, 0.8, 0.999]),
    ("zero", &[0.0, 0.3, 0.7]),
    ("cut", &[0.0, 0.1, 0.5, 0.9, 0.999]),
    ("missing", &[0.0]),
    ("swap", &[0.0]),
];

fn damaged(kind: &str, part: f64, good: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let at = (part * good.len() as f64) as usize;
    let mut bytes = good.to_vec();
    match kind {
        "flip" => bytes[at] ^= 0x08,
        "zero" => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
        }
        "cut" => bytes.truncate(at),
        "swap" => return Some(other.to_vec()),
        _ => return None,
    }
    Some(bytes)
}

struct Matrix {
    place: Place,
    good: BTreeMap<&'static str, Vec<u8>>,
    other: BTreeMap<&'static str, Vec<u8>>,
}

/// carol's files and those of somebody else, to be swapped.
const FILES: [(&str, &str); 3] = [
    ("b/carol", "b/bethany_sGEZYM"),
    ("b/carol.index", "b/bethany_sGEZYM.index"),
    ("conf/backups.db", "b/carol"),
];

impl Matrix {
    fn new() -> Option<Matrix> {
        let place = Place::new()?;
        place.configure("backuppartition-default: @B@/b\nbackup_retention: 1s\n");
        // Copies, and names that nothing explains, are for reconstruct's own tests.
        let carolx = BackupKey::from_userid("carolx").unwrap();
        place.catalog().remove(&carolx).unwrap();
        let read = |name: &str| fs::read(place.path(name)).unwrap();
        let good = FILES.map(|(name, _)| (name, read(name))).into();
        let other = FILES.map(|(name, other)| (name, read(other))).into();
        Some(Matrix { place, good, other })
    }

    fn restore(&self) {
        for name in [
            "b/carol.new",
            "b/carol.index.new",
            "b/carol.index-journal",
            "b/carol.hold",
        ] {
            let _ = fs::remove_file(self.place.path(name));
        }
        for (name, bytes) in &self.good {
            self.place.write(name, bytes);
        }
    }

    fn spoil(&self, name: &str, kind: &str, part: f64) {
        match damaged(kind, part, &self.good[name], &self.other[name]) {
            Some(bytes) => self.place.write(name, &bytes),
            None => fs::remove_file(self.place.path(name)).unwrap(),
        }
    }

    /// Runs one command; its exit code is one of the few, and a failure has a reason.
    fn run(&self, command: &str, case: &str) {
        let script = format!(
            "ctl() {{ ctl_backups -C imapd.conf \"$@\"; }}; cyr() {{ cyr_backup -C imapd.conf \"$@\"; }}; {command}"
        );
        let programs = std::path::Path::new(our_binary("ctl_backups"))
            .parent()
            .unwrap();
        let output = self
            .place
            .shell(programs, &script, Duration::from_secs(120));
        let code = output.code.unwrap_or_else(|| panic!("{case}: it hangs"));
        let said = format!("{}{}", output.out, output.err);
        assert!([0, 75].contains(&code), "{case}: exit {code}: {said}");
        assert!(!said.contains("panicked"), "{case}: {said}");
        assert!(
            code == 0 || !said.trim().is_empty(),
            "{case}: fails and says nothing"
        );
    }
}

#[test]
fn whatever_is_damaged_no_command_panics_hangs_or_fails_silently() {
    let Some(matrix) = Matrix::new() else { return };
    let mut cases = 0;
    for (file, _) in FILES {
        for (kind, parts) in DAMAGE {
            for &part in parts {
                for command in COMMANDS {
                    matrix.restore();
                    matrix.spoil(file, kind, part);
                    matrix.run(command, &format!("{file}, {kind} at {part}: {command}"));
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} cases");
}

/// backups.db is made from the files again, whatever is left of it.
#[test]
fn reconstruct_brings_back_every_name() {
    let Some(matrix) = Matrix::new() else { return };
    let (file, _) = FILES[2];
    for (kind, parts) in DAMAGE {
        for &part in parts {
            matrix.restore();
            matrix.spoil(file, kind, part);
            matrix.run("ctl reconstruct", &format!("{kind} at {part}"));
            let names = matrix.place.catalog().iter().unwrap();
            let carol = matrix.place.path("b/carol");
            assert!(
                names
                    .iter()
                    .any(|(key, path)| key == "carol" && *path == carol),
                "{kind} at {part}: {names:?}"
            );
            assert_eq!(
                matrix.place.c("ctl_backups list carol").code,
                Some(0),
                "{kind} at {part}"
            );
        }
    }
}

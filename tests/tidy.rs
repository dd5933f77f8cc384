//! Rules of the house, checked with every test run: who may use whom, where the edges are, that
//! each file says what it is for, and that none grows past one noun. ARCHITECTURE.md tells why.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/room.rs"]
mod room;
#[path = "tidy/tokens.rs"]
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may use. The same table stands in ARCHITECTURE.md.
const USES: [(&str, &[&str]); 13] = [
    ("types", &[]),
    ("sasl", &[]),
    ("log", &[]),
    ("config", &["types"]),
    ("csync", &["types"]),
    ("csync_client", &["types", "csync", "sasl"]),
    ("store", &["types", "config", "csync"]),
    ("select", &["types", "csync", "store"]),
    ("view", &["types", "csync", "store", "select"]),
    ("fs", &["types", "select", "view"]),
    ("backupd", &["types", "config", "csync", "store", "sasl"]),
    (
        "tools",
        &["types", "config", "csync", "store", "select", "view"],
    ),
    (
        "restore",
        &[
            "types",
            "csync",
            "csync_client",
            "store",
            "select",
            "tools",
            "view",
        ],
    ),
];

/// Names that only these places may say: the edges to the world.
const EDGES: [(&str, &[&str]); 6] = [
    (
        "rusqlite",
        &[
            "src/store/index/",
            "src/store/error.rs",
            "src/store/stamp.rs",
            "src/store/tests.rs",
            "src/store/verify/tests.rs",
        ],
    ),
    ("tokio", &["src/backupd/", "src/bin/backupd/"]),
    (
        "fuser",
        &[
            "src/fs/fuse.rs",
            "src/fs/mount.rs",
            "src/fs/run.rs",
            "src/fs/guard.rs",
        ],
    ),
    ("libloading", &["src/sasl/"]),
    ("libz_rs_sys", &["src/store/inflate.rs"]),
    ("libdeflater", &["src/store/stretch.rs"]),
];

const MOST_LINES: usize = 700;

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let name = file.to_string_lossy().into_owned();
        let Some(room) = name
            .strip_prefix("src/")
            .and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        let Some((_, allowed)) = USES.iter().find(|(user, _)| *user == room.0) else {
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for (used, _) in USES.iter().filter(|(used, _)| *used != room.0) {
            if text.contains(&format!("crate::{used}")) && !allowed.contains(used) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_is_in_the_table() {
    for entry in fs::read_dir("src").unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && name != "bin" {
            assert!(
                USES.iter().any(|(room, _)| *room == name),
                "src/{name} has no place in USES"
            );
        }
    }
}

#[test]
fn the_edges_are_where_they_should_be() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let name = file.to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let code: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for (edge, places) in EDGES {
            let says = code.iter().any(|line| line.contains(&format!("{edge}::")));
            if says && !places.iter().any(|place| name.starts_with(place)) {
                wrong.push(format!("{name} says {edge}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_opens_with_its_purpose_and_stays_small() {
    let mut wrong = Vec::new();
    for root in ["src", "tests", "mount-tests", "examples", "benches"] {
        for file in sources(root) {
            let text = fs::read_to_string(&file).unwrap();
            if !text.starts_with("//!") {
                wrong.push(format!("{} does not start with //!", file.display()));
            }
            let lines = text.lines().count();
            if lines > MOST_LINES {
                wrong.push(format!("{} has {lines} lines", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_architecture_names_every_room() {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for (room, _) in USES {
        assert!(
            text.contains(&format!("`src/{room}/`")),
            "ARCHITECTURE.md lacks src/{room}/"
        );
    }
}

/// All Rust files below a directory.
#[expect(clippy::unwrap_used, reason = "part of the tests")]
fn sources(root: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![Path::new(root).to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

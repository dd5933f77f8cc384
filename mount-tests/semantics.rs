//! docs/SEMANTICS.md and the tests belong together: each test it names exists, and each test here is
//! named there.

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Words between backticks that look like the path of a test.
fn named(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| word.contains("::") && !word.contains(' '))
        .map(str::to_owned)
        .collect()
}

/// Functions below a `#[test]`.
fn tests_in(module: &str) -> Vec<String> {
    let text = read(&format!("mount-tests/{module}.rs"));
    let mut lines = text.lines();
    let mut found = Vec::new();
    while lines.any(|line| line == "#[test]") {
        let name = lines.next().unwrap().strip_prefix("fn ").unwrap();
        found.push(format!("{module}::{}", name.split('(').next().unwrap()));
    }
    found
}

#[test]
fn promises_and_tests_match() {
    let named = named(&read("docs/SEMANTICS.md"));
    let modules = [
        "archive", "command", "content", "copying", "damage", "handles", "locking", "history",
        "kept", "metadata", "programs", "race", "scale", "specs", "tree",
    ];
    let here: BTreeSet<_> = modules.iter().flat_map(|module| tests_in(module)).collect();
    assert!(here.len() > 30);
    let rooms = ["fs::", "store::", "view::"];
    let (units, mounted): (BTreeSet<_>, BTreeSet<_>) = named
        .into_iter()
        .partition(|name| rooms.iter().any(|room| name.starts_with(room)));
    assert_eq!(mounted, here);
    for name in units {
        let mut parts = name.split("::");
        let (room, module) = (parts.next().unwrap(), parts.next().unwrap());
        let text = read(&format!("src/{room}/{module}.rs"));
        let further = read("src/view/ops/tests.rs") + &read("src/view/ops/tests/shown.rs");
        let test = parts
            .filter(|part| !matches!(*part, "tests" | "shown"))
            .last()
            .map(|test| format!("fn {test}("));
        let known = test.is_none_or(|test| text.contains(&test) || further.contains(&test));
        assert!(known, "{name}");
    }
}

//! docs/DIFFERENCES.md and the tests know of each other.

use std::fs;
use std::path::Path;

/// Every number in the document is named by a test, every number in a test stands in the document.
#[test]
fn documented_and_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/DIFFERENCES.md")).unwrap();
    let documented: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("### ")?.split(' ').next())
        .collect();
    let mut tested = Vec::new();
    let tools = [
        "administer.rs",
        "ctl_backups.rs",
        "cyr_backup.rs",
        "damage.rs",
        "find.rs",
        "purge_damaged.rs",
        "reconstruct.rs",
        "sample_names.rs",
        "samples.rs",
        "restore.rs",
        "whole_files.rs",
    ]
    .map(|name| format!("cli/{name}"));
    let service = ["observed.rs", "security.rs", "starts.rs"].map(|name| format!("service/{name}"));
    let restore = ["beside_c.rs", "refusals.rs"].map(|name| format!("restore/{name}"));
    for name in tools.iter().chain(&service).chain(&restore) {
        let source = fs::read_to_string(root.join("tests").join(name)).unwrap();
        let numbers = source
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| word.starts_with('D') && word.len() > 1)
            .filter(|word| word[1..].bytes().all(|b| b.is_ascii_digit()));
        tested.extend(numbers.map(str::to_owned));
    }
    for number in &documented {
        assert!(
            tested.iter().any(|t| t == number),
            "{number} has no test in tests/cli, tests/service or tests/restore"
        );
    }
    for number in &tested {
        assert!(
            documented.contains(&number.as_str()),
            "{number} is not in docs/DIFFERENCES.md"
        );
    }
}

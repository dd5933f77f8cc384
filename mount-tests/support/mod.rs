//! What all mount tests need: mounts that go away with the test, and backups to mount.

mod backup;
#[path = "../../tests/rig/free.rs"]
mod free;
mod mount;
#[path = "../../tests/rig/patience.rs"]
mod patience;
mod process;
mod site;
#[path = "../../tests/rig/terminal.rs"]
mod terminal;

pub use backup::{LOG_TIME, Scratch, fixture, internaldate, message};
pub use free::{is_free, wait_until_free};
pub use mount::{
    Mount, can_mount, is_mounted, mount_device, run, umount, wait, wait_for_mount_table,
};

use patience::patience;
pub use process::{output, sh};
pub use site::Site;
pub use terminal::on_a_terminal;

use std::path::{Path, PathBuf};
use std::process::Command;

/// All files below a directory, sorted, with their paths from there.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().is_dir() {
                true => todo.push(path),
                false => found.push(path.strip_prefix(dir).unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}

/// Whether a program is installed; says so if a test has to do without.
pub fn has(program: &str) -> bool {
    let found = output(Command::new("sh").args(["-c", &format!("command -v {program}")]));
    let found = found.status.success() || Path::new(program).exists();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Says that something was not tested.
pub fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(
        std::env::var_os("CI").is_none(),
        "nothing may be skipped in CI: {why}"
    );
}

//! Files that this process has just let go.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Whether nobody has the file locked. Asks with C's kind of lock (POSIX, exclusive, whole file), which
/// excludes locks of this process too.
pub fn is_free(path: &Path) -> bool {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // SAFETY: plain old data, and all zeros is a legal value.
    let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
    wanted.l_type = libc::F_WRLCK as i16;
    fcntl(&file, FcntlArg::F_SETLK(&wanted)).is_ok()
}

/// Waits until nobody has it locked. A child that another test is just forking shares our descriptors, and
/// so a lock that was given back here, until its exec.
pub fn wait_until_free(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_free(path) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{} stays locked", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

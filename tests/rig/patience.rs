//! The end of a test's patience with a mount.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};

/// A daemon that does not answer would hold its readers, and the test, for ever: after ten minutes the kernel
/// is told to give up, and they get ENOTCONN. Ends with the sender.
pub fn patience(dir: &Path) -> Sender<()> {
    let (test, ended) = channel();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(600)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{}: mounted for too long", dir.display());
            let _ = umount2(&dir, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
        }
    });
    test
}

//! Commands that take long show how far they are, where somebody watches: on a terminal, on standard error.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::place::Place;

/// Runs a command line with standard error on a terminal; what the terminal gets, and what standard output.
fn watched(place: &Place, line: &str) -> (String, String) {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: both pointers are to live locals, the others may be null.
    let opened = unsafe {
        let null = std::ptr::null_mut();
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            null,
            null.cast(),
            null.cast(),
        )
    };
    assert_eq!(opened, 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: openpty has just made them, nobody else has them.
    let (mut master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut command = place.command(line);
    command
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(slave);
    let mut child = command.spawn().unwrap();
    // With it goes our copy of the terminal, so that reading ends with the child.
    drop(command);
    let seen = std::thread::spawn(move || {
        let mut seen = Vec::new();
        // A terminal that nobody has any more ends with EIO.
        let _ = master.read_to_end(&mut seen);
        String::from_utf8_lossy(&seen).into_owned()
    });
    let end = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _ = (child.kill(), child.wait());
            panic!("{line} hangs on a terminal");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut out = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    (seen.join().unwrap(), out)
}

#[test]
fn whoever_waits_sees_how_far_it_is() {
    let Some(place) = Place::new() else { return };
    place.mkdir("b2");
    place.configure(
        "backuppartition-default: @B@/b\nbackuppartition-other: @B@/b2\nbackup_retention: 1s\n",
    );
    for (line, shown, said) in [
        (
            "ctl_backups verify carol",
            "verify carol",
            "verify carol: ok\n",
        ),
        (
            "ctl_backups reindex carol",
            "reindex carol",
            "reindex carol: ok\n",
        ),
        (
            "ctl_backups -F compact carol",
            "compact carol",
            "compact carol: ok\n",
        ),
        (
            "ctl_backups purge carol --guid 42c32deeb045bff18d94bd170d8ca63d6055852e",
            "purge carol",
            "\"command\": \"purge\"",
        ),
        ("ctl_backups move bethany other", "move", "move bethany: ok"),
        (
            "ctl_backups reconstruct --dry-run",
            "reconstruct",
            "reconstruct: ",
        ),
    ] {
        let (terminal, out) = watched(&place, line);
        assert!(terminal.contains(shown), "{line}: {terminal:?}");
        // It is cleared away in the end.
        assert!(terminal.ends_with("\x1b[2K"), "{line}: {terminal:?}");
        assert!(out.contains(said), "{line}: {out} {terminal:?}");
    }
}

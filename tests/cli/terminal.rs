//! Commands that take long show how far they are, where somebody watches: on a terminal, on standard error.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::store::Appender;
use cyrusbackup::types::{BackupKey, Guid};

use super::octets::Octets;
use super::place::Place;
use super::rig::Rng;

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

/// One chunk of some megabytes: C's compact makes chunks of 200 MB of them.
fn write_large(place: &Place, name: &str) -> Guid {
    place.write(name, b"");
    let mut random = Rng::new(20_261_124);
    let mut appender = Appender::open(&place.path(name), true).unwrap();
    let mut last = Guid::of(b"");
    for n in 0..40 {
        let octets: Vec<u8> = (0..100_000).map(|_| random.next() as u8).collect();
        let mail = Octets([format!("Subject: {n}\r\n\r\n").into_bytes(), octets].concat());
        appender.append_bodies(&[&mail], 1000 + n).unwrap();
        last = Guid::of(&mail.0);
    }
    let line = format!("SUB %(USERID anne MBOXNAME user.anne.{last})");
    let line = parse_apply(line.as_bytes()).unwrap();
    appender.append(&line, 1040).unwrap();
    appender.commit().unwrap();
    appender.finish().unwrap();
    place.give_all("b");
    let key = BackupKey::from_userid("anne").unwrap();
    place.catalog().insert(&key, &place.path(name)).unwrap();
    last
}

/// The percentages that were drawn.
fn percentages(drawn: &str) -> BTreeSet<u64> {
    let before = drawn.split('%').filter_map(|text| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        text[digits..].parse().ok()
    });
    before.collect()
}

#[test]
fn a_large_chunk_is_no_standstill() {
    let Some(place) = Place::new() else { return };
    place.configure("backup_retention: 1s\n");
    let last = write_large(&place, "b/large");
    assert_eq!(place.rows("b/large", "SELECT id FROM chunk").len(), 1);
    let purge = format!("ctl_backups purge anne --guid {last}");
    for line in [
        "ctl_backups verify anne",
        "ctl_backups reindex --dry-run anne",
        "ctl_backups reindex anne",
        &purge,
        "ctl_backups -F compact anne",
    ] {
        let (terminal, out) = watched(&place, line);
        let drawn = percentages(&terminal);
        // Where a pass over the only chunk ends, of one to four.
        let ends = [0, 25, 33, 50, 66, 75, 100];
        let within = drawn.iter().filter(|percent| !ends.contains(percent));
        assert!(
            within.count() > 0,
            "{line}: {drawn:?} in {terminal:?}, {out}"
        );
    }
}

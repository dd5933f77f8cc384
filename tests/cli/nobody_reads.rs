//! Nobody can read what a command says: a full disk behind standard output or standard error, or a reader that has
//! gone. The exit code is never 0 then, and nobody panics.

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter};
use std::process::{Command, Stdio};

use super::place::Place;
use super::rig::{ended, our_binary};

const GUID: &str = "42c32deeb045bff18d94bd170d8ca63d6055852e";

fn full() -> Stdio {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer): (PipeReader, PipeWriter) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs it with these outputs, and whatever they swallow; the exit code.
#[track_caller]
fn ends(command: &mut Command, line: &str, code: i32) {
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    assert_eq!(ended(&mut child), Some(code), "{line}");
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    let Some(place) = Place::new() else { return };
    let message = format!("cyr_backup carol dump message {GUID}");
    for line in [
        "ctl_backups list",
        "ctl_backups -j list",
        "ctl_backups stat -A",
        "ctl_backups verify carol",
        "ctl_backups hold carol",
        "ctl_backups hold --list",
        "ctl_backups --help",
        "ctl_backups --version",
        "ctl_backups move --help",
        "cyr_backup --help",
        "cyr_backup --version",
        "cyr_backup carol find --help",
        "cyr_backup carol list all",
        "cyr_backup carol tar",
        &message,
        "restore --help",
    ] {
        for output in [full, closed] {
            let mut command = place.command(line);
            ends(command.stdout(output()), line, 75);
            // As with >>file 2>&1: nobody hears of the trouble either.
            let mut command = place.command(line);
            ends(command.stdout(output()).stderr(output()), line, 75);
        }
    }
}

#[test]
fn who_cannot_complain_has_the_exit_code() {
    let Some(place) = Place::new() else { return };
    for (line, code) in [
        ("ctl_backups frobnicate", 64),
        ("ctl_backups hold", 64),
        ("cyr_backup frob", 64),
        ("restore --frob", 64),
        ("ctl_backups list nobody", 75),
        ("ctl_backups -C /nope list", 78),
    ] {
        for output in [full, closed] {
            let mut command = place.command(line);
            ends(command.stdout(Stdio::null()).stderr(output()), line, code);
        }
    }
    for (words, code) in [
        (&["--frob"][..], 1),
        (&["-C", "/nope", "carol", "/tmp"], 32),
    ] {
        let mut mount = Command::new(our_binary("mount-cyrusbackup"));
        ends(mount.args(words).stderr(full()), "mount.cyrusbackup", code);
    }
}

//! A chunk that C's compact has written says nowhere where inflating can start. What one mount finds out is
//! kept beside the data file for the next one, and is in nobody's way.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cyrusbackup::store::compact::{Compact, compact};

use crate::support::{Mount, Scratch, can_mount, has, message, output, sh};

const CTL: &str = "/usr/lib/cyrus/bin/ctl_backups";
/// Few and large: C's compact takes a time that grows with the square of their number.
const COUNT: u32 = 200;

fn octets(uid: u32) -> Vec<u8> {
    message(uid.into(), 25_000 + uid as usize % 1000)
}

/// Runs C's ctl_backups on the data file, which it wants to be the Cyrus user's.
fn by_c(scratch: &Scratch, args: &[&str]) {
    let dir = scratch.dir();
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o777)).unwrap();
    let (conf, place) = (dir.join("imapd.conf"), dir.display());
    let text = format!(
        "configdirectory: {place}\nbackuppartition-default: {place}\nbackup_staging_path: {place}\n\
         servername: localhost\npartition-default: {place}\ndefaultpartition: default\n"
    );
    std::fs::write(&conf, text).unwrap();
    give(scratch, "cyrus:mail");
    let mut command = Command::new(CTL);
    command.arg("-C").arg(&conf).args(args).arg("-f");
    let done = output(command.arg(scratch.path()));
    assert!(
        done.status.success(),
        "{args:?}: {}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

fn give(scratch: &Scratch, to: &str) {
    for path in [scratch.path().to_owned(), scratch.index()] {
        sh(Command::new("chown").arg(to).arg(path));
    }
}

fn seek(scratch: &Scratch) -> PathBuf {
    let mut name = scratch.path().to_owned().into_os_string();
    name.push(".seek");
    name.into()
}

/// Some messages, in no order.
fn read_some(scratch: &Scratch, options: &str) {
    let mount = Mount::new(&scratch.spec(), options);
    for n in 0..12u32 {
        let uid = 1 + n * 7919 % COUNT;
        let path = format!("mailboxes/INBOX/{uid}.eml");
        assert!(mount.read(&path).unwrap() == octets(uid), "{uid}");
    }
    mount.unmount();
}

#[test]
fn what_a_scan_has_found_is_kept_for_the_next_mount() {
    if !can_mount() || !has(CTL) || !nix::unistd::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (1..=COUNT).map(octets).collect();
    scratch.append("user.anne", &bodies, 50);
    by_c(&scratch, &["-F", "compact"]);

    // Not by root into the Cyrus user's directory, and not without the lock.
    read_some(&scratch, "lock=hold");
    assert!(!seek(&scratch).exists());
    give(&scratch, "root:root");
    read_some(&scratch, "lock=none");
    assert!(!seek(&scratch).exists());

    read_some(&scratch, "lock=hold");
    let kept = std::fs::read(seek(&scratch)).unwrap();
    assert_eq!(seek(&scratch).metadata().unwrap().mode() & 0o777, 0o600);
    assert!(kept.len() < std::fs::read(scratch.path()).unwrap().len() / 2);
    read_some(&scratch, "lock=hold");
    assert!(same(&scratch, &kept), "nothing to add");
    read_some(&scratch, "lock=none");

    // Damaged, it is made anew.
    std::fs::write(seek(&scratch), &kept[..kept.len() - 1]).unwrap();
    read_some(&scratch, "lock=hold");
    assert!(same(&scratch, &kept));

    // C does not mind it, and leaves it behind when it writes the data file anew.
    by_c(&scratch, &["reindex"]);
    scratch.append("user.anne.More", &[octets(9999)], 1);
    by_c(&scratch, &["-F", "compact"]);
    give(&scratch, "root:root");
    read_some(&scratch, "lock=hold");
    read_some(&scratch, "lock=hold");

    // Ours takes it away: it has parts of messages in it.
    assert!(seek(&scratch).exists());
    let how = Compact {
        force: true,
        wait: true,
        ..Compact::default()
    };
    compact(scratch.path(), &how, &mut |_| {}, &mut |_, _| {}).unwrap();
    assert!(!seek(&scratch).exists());
    read_some(&scratch, "lock=hold");
}

fn same(scratch: &Scratch, kept: &[u8]) -> bool {
    let now: &Path = &seek(scratch);
    std::fs::read(now).unwrap() == kept
}

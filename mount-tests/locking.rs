//! `lock=hold`: while a backup is mounted nobody writes to it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{
    Mount, Scratch, can_mount, fixture, has, is_free, message, output, run, umount, wait_until_free,
};

#[test]
fn the_lock_is_held_from_mount_to_unmount() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    wait_until_free(carol.path());
    let mount = Mount::new(&carol.spec(), "lock=hold");
    assert!(!is_free(carol.path()));
    // Readers may come along.
    carol.open();
    mount.unmount();
    wait_until_free(carol.path());
}

#[test]
fn without_lock_the_backup_grows_and_the_view_stays() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    scratch.append("user.anne", &[message(1, 5000)], 1);
    let data = std::fs::read(scratch.path()).unwrap();
    let mount = Mount::new(&scratch.spec(), "lock=none");
    wait_until_free(scratch.path());
    scratch.append("user.anne.New", &[message(2, 5000)], 1);
    assert!(std::fs::read(scratch.path()).unwrap().len() > data.len());
    assert_eq!(mount.list("mailboxes"), ["INBOX"]);
    assert!(mount.read("mailboxes/INBOX/1.eml").unwrap() == message(1, 5000));
    assert_eq!(mount.list("chunks"), ["00000001.gz"]);
    assert!(mount.read("chunks/00000001.gz").unwrap() == data);
    mount.unmount();
    let mount = Mount::new(&scratch.spec(), "lock=none");
    assert_eq!(mount.list("mailboxes"), ["INBOX", "New"]);
}

#[test]
fn a_locked_backup_is_refused_or_waited_for() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let writer = cyrusbackup::store::Backup::open(
        carol.path(),
        cyrusbackup::store::Lock::Exclusive { wait: false },
    )
    .unwrap();
    let mount = Mount::bare();
    let dir = mount.path().to_str().unwrap();
    let refused = run(&[&carol.spec(), dir]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(32));
    assert!(
        text.contains("locked") && text.contains("wait=SECONDS"),
        "{text}"
    );

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&[&carol.spec(), dir, "-o", "wait=20"]));
        // The lock goes while the command waits; should it be quicker than we are, the test still
        // holds.
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!waiting.is_finished());
        drop(writer);
        let waited = waiting.join().unwrap();
        assert_eq!(
            waited.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&waited.stderr)
        );
    });
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
}

/// C's `ctl_backups` asks for the lock and is told that it is taken.
#[test]
fn c_tools_say_locked() {
    const CTL: &str = "/usr/lib/cyrus/bin/ctl_backups";
    if !can_mount() || !has(CTL) || !nix::unistd::geteuid().is_root() {
        return;
    }
    let carol = fixture("carol");
    let site = carol.dir();
    std::fs::set_permissions(site, PermissionsExt::from_mode(0o777)).unwrap();
    let conf = site.join("imapd.conf");
    let dir = site.display();
    let text = format!(
        "configdirectory: {dir}\nbackuppartition-default: {dir}\nbackup_staging_path: {dir}\n\
         servername: localhost\npartition-default: {dir}\ndefaultpartition: default\n"
    );
    std::fs::write(&conf, text).unwrap();
    for path in [carol.path().to_owned(), carol.index()] {
        crate::support::sh(Command::new("chown").arg("cyrus:mail").arg(path));
    }
    let ask = || {
        let mut command = Command::new(CTL);
        command
            .arg("-C")
            .arg(&conf)
            .args(["lock", "-x", "true", "-f"])
            .arg(carol.path());
        output(&mut command)
    };
    assert!(
        ask().status.success(),
        "{}",
        String::from_utf8_lossy(&ask().stderr)
    );
    let mount = Mount::new(&carol.spec(), "ro");
    let refused = ask();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(text.contains("Mailbox is locked"), "{text}");
    mount.unmount();
    assert!(ask().status.success());
}

#[test]
fn a_killed_daemon_leaves_a_dead_mount_and_no_lock() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    let daemon = nix::unistd::Pid::from_raw(mount.daemon());
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until_free(carol.path());
    // Not an empty directory: rsync --delete would empty the copy.
    let dead = std::fs::read_dir(mount.path()).unwrap_err();
    assert_eq!(dead.raw_os_error(), Some(libc::ENOTCONN));

    // umount takes the corpse away, and so does the next mount.
    umount(mount.path());
    assert_eq!(std::fs::read_dir(mount.path()).unwrap().count(), 0);
    let again = run(&[&carol.spec(), mount.path().to_str().unwrap()]);
    assert!(again.status.success());
    let daemon = nix::unistd::Pid::from_raw(mount.daemon());
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until_free(carol.path());
    let again = run(&[&carol.spec(), mount.path().to_str().unwrap()]);
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
}

//! The command as mount(8) and administrators use it: arguments, exit codes, signals, and places
//! where no mount may go.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    Mount, Site, can_mount, fixture, is_mounted, mount_device, output, run, umount, wait,
    wait_for_mount_table,
};

fn said(args: &[&str]) -> (Option<i32>, String) {
    let output = run(args);
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

#[test]
fn exit_codes_and_messages() {
    let carol = fixture("carol");
    let spec = carol.spec();
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().to_str().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 1, "SPEC"),
        (&[&spec], 1, "DIR"),
        (
            &[&spec, dir, "-o", "frobnicate"],
            1,
            "unknown mount option \"frobnicate\"",
        ),
        (&[&spec, dir, "-o", "lock=perhaps"], 1, "lock"),
        (&[&spec, dir, "--frobnicate"], 1, "--frobnicate"),
        (
            &[&spec, "/nowhere/at/all"],
            32,
            "/nowhere/at/all: No such file",
        ),
        (
            &[&spec, spec.strip_prefix("file:").unwrap()],
            32,
            "ot a directory",
        ),
        (
            &["file:/nowhere/x_AAAAAA", dir],
            32,
            "/nowhere/x_AAAAAA: No such file",
        ),
        (
            &["anne", dir, "-C", "/nowhere/imapd.conf"],
            32,
            "/nowhere/imapd.conf",
        ),
        (
            &[&spec, dir, "-o", "remount"],
            32,
            "is no mount of cyrusbackup",
        ),
    ];
    for (args, code, text) in cases {
        let (found, message) = said(args);
        assert_eq!(found, Some(*code), "{args:?}: {message}");
        assert!(message.contains(text), "{args:?}: {message}");
    }
    assert!(!is_mounted(place.path()));
    for (args, text) in [
        (["--help"], "lock=hold|none"),
        (["--version"], "mount.cyrusbackup"),
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains(text));
    }
}

#[test]
fn arguments_of_mount_8_are_taken() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let args = ["-s", "-n", "-v", "-r", "-t", "cyrusbackup.x"];
    let options = "rw,_netdev,nofail,users,user=x,exec,suid,dev,x-systemd.automount,unknown=1";
    let mount = Mount::with(&args, &carol.spec(), options);
    let line = mount_device(mount.path());
    assert!(line.contains(" ro"), "{line}");
    let dir = mount.path().to_str().unwrap();
    assert_eq!(
        run(&[&carol.spec(), dir, "-o", "remount,ro,user_id=0,group_id=0"])
            .status
            .code(),
        Some(0)
    );

    let other = Mount::bare();
    let fake = run(&[
        &carol.spec(),
        other.path().to_str().unwrap(),
        "-f",
        "-o",
        "rw",
    ]);
    assert_eq!(fake.status.code(), Some(0));
    assert!(!is_mounted(other.path()));
}

#[test]
fn a_second_mount_in_the_same_place_needs_nonempty() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    let dir = mount.path().to_str().unwrap();
    let (code, text) = said(&[&carol.spec(), dir]);
    assert_eq!(code, Some(32));
    assert!(text.contains("is a mount of cyrusbackup already"), "{text}");
    let over = run(&[&carol.spec(), dir, "-o", "nonempty"]);
    assert_eq!(over.status.code(), Some(0));
}

#[test]
fn a_missing_backups_db_is_not_shown_as_no_users() {
    let site = Site::new(vec![]);
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().to_str().unwrap();
    let (code, text) = said(&["all", dir, "-o", &site.option()]);
    assert_eq!(code, Some(32));
    assert!(text.contains("backups.db: does not exist"), "{text}");
}

#[test]
fn the_store_is_never_mounted_over() {
    let site = Site::new(vec![("carol", fixture("carol"))]);
    std::fs::create_dir(site.join("part/below")).unwrap();
    let conf = site.conf();
    for place in ["conf", "part", "staging", "part/below", ""] {
        let dir = site.join(place);
        let (code, text) = said(&["carol", dir.to_str().unwrap(), "-C", conf.to_str().unwrap()]);
        assert_eq!(code, Some(32), "{place}: {text}");
        assert!(text.contains("refusing to mount on"), "{place}: {text}");
    }
    let carol = fixture("carol");
    let (code, text) = said(&[&carol.spec(), carol.dir().to_str().unwrap()]);
    assert_eq!(code, Some(32));
    assert!(text.contains("refusing to mount on"), "{text}");
}

#[test]
fn sigterm_and_sigint_unmount() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mount = Mount::new(&carol.spec(), "ro");
        let daemon = mount.daemon();
        kill(Pid::from_raw(daemon), signal).unwrap();
        wait_for_mount_table(|| !is_mounted(mount.path()));
        wait(
            || !std::path::Path::new(&format!("/proc/{daemon}")).exists(),
            "the daemon to end",
        );
    }
}

/// Whoever stands in it keeps it; the refusal changes nothing.
#[test]
fn a_busy_mount_is_not_unmounted() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    let place = mount.join("mailboxes/INBOX/1.eml");
    let reader = std::fs::File::open(&place).unwrap();
    let refused = output(Command::new("umount").arg(mount.path()));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(text.contains("busy"), "{text}");
    assert!(is_mounted(mount.path()));
    assert!(!std::fs::read(&place).unwrap().is_empty());
    drop(reader);
    mount.unmount();
}

/// A reader does not keep the daemon from ending when it is told to; it gets an error, no short read.
#[test]
fn a_signal_unmounts_also_while_files_are_open() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    let daemon = mount.daemon();
    let mut reader = std::fs::File::open(mount.join("mailboxes/INBOX/1.eml")).unwrap();
    kill(Pid::from_raw(daemon), Signal::SIGTERM).unwrap();
    wait_for_mount_table(|| !is_mounted(mount.path()));
    wait(
        || !std::path::Path::new(&format!("/proc/{daemon}")).exists(),
        "the daemon to end",
    );
    let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
}

#[test]
fn a_signal_never_takes_away_somebody_elses_mount() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "lock=none");
    let daemon = mount.daemon();
    let busy = std::fs::File::open(mount.join("mailboxes/INBOX/1.eml")).unwrap();
    crate::support::sh(Command::new("umount").arg("-l").arg(mount.path()));
    // The file keeps the first one alive; a second takes its place.
    let other = run(&[
        &carol.spec(),
        mount.path().to_str().unwrap(),
        "-o",
        "lock=none",
    ]);
    assert!(other.status.success());
    kill(Pid::from_raw(daemon), Signal::SIGTERM).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
    drop(busy);
    wait(
        || !std::path::Path::new(&format!("/proc/{daemon}")).exists(),
        "the first to end",
    );
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
}

#[test]
fn in_the_foreground_the_command_stays() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::bare();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mount-cyrusbackup"));
    let mut child = command
        .arg(carol.spec())
        .arg(mount.path())
        .args(["-o", "foreground"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_mount_table(|| is_mounted(mount.path()));
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
    // Some programs ask each file; it is nothing to be told about.
    let file = std::fs::File::open(mount.join("mailboxes/INBOX/1.eml")).unwrap();
    assert_eq!(nix::unistd::isatty(&file), Ok(false));
    drop(file);
    assert_eq!(child.try_wait().unwrap(), None);
    umount(mount.path());
    let mut ended = None;
    let has_ended = || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    };
    wait(has_ended, "the command to end");
    assert!(ended.unwrap().success());
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(!said.contains("ioctl"), "{said}");
}

/// The daemon gives up root's rights for reading, and unmounts with them all the same.
#[test]
fn root_reads_as_the_cyrus_user() {
    const USER: &str = "nobody";
    let user = nix::unistd::User::from_name(USER).unwrap();
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let Some(user) = user else {
        return crate::support::skip("no user called nobody");
    };
    let site = Site::new(vec![("carol", fixture("carol"))]);
    let conf = std::fs::read_to_string(site.conf()).unwrap();
    let conf = conf.replace("cyrus_user: root", &format!("cyrus_user: {USER}"));
    std::fs::write(site.conf(), conf).unwrap();

    // As backupd leaves it: for its owner, who is not that user.
    std::fs::set_permissions(site.backup("carol"), PermissionsExt::from_mode(0o600)).unwrap();
    let place = Mount::bare();
    let dir = place.path().to_str().unwrap();
    let (code, text) = said(&["carol", dir, "-o", &site.option()]);
    assert_eq!(code, Some(32), "{text}");

    site.give_to(&user);
    let mount = Mount::new("carol", &site.option());
    let status = std::fs::read_to_string(format!("/proc/{}/status", mount.daemon())).unwrap();
    let ids = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    let effective: u32 = ids.split('\t').nth(2).unwrap().parse().unwrap();
    assert_eq!(effective, user.uid.as_raw());
    assert_eq!(mount.list("mailboxes"), ["INBOX", "Sub"]);
    kill(Pid::from_raw(mount.daemon()), Signal::SIGTERM).unwrap();
    wait_for_mount_table(|| !is_mounted(mount.path()));
}

//! Archive and backup programs: what they take away comes back the same, and a second run finds nothing
//! new, also from another mount of the same backup.

use std::path::Path;
use std::process::Command;

use crate::support::{LOG_TIME, Mount, Scratch, can_mount, has, message, sh, umount};
use crate::tree::mailbox;

/// Mail in several folders, some of it expunged, some in two of them.
fn anne() -> Scratch {
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..200).map(|n| message(n, (n * n) as usize)).collect();
    scratch.append("user.anne", &bodies, 40);
    scratch.append("user.anne.Archive.2024", &bodies[..20], 20);
    let gone = message(999, 4000);
    let line = mailbox("user.anne.Gone", "NIL", &[(1, &gone, "\\Seen")]);
    scratch.log(LOG_TIME + 9, &[&gone], &[&line]);
    scratch.log(LOG_TIME + 10, &[], &["UNMAILBOX user.anne.Gone"]);
    scratch
}

fn same(copy: &Path, mount: &Mount) {
    sh(Command::new("diff").arg("-r").arg(mount.path()).arg(copy));
}

/// Copied directories are read-only too.
fn make_removable(copy: &Path) {
    sh(Command::new("chmod").args(["-R", "u+w"]).arg(copy));
}

/// Mounts at the same place each time: tar -g compares paths.
fn mount_at(scratch: &Scratch, dir: &Path) {
    sh(Command::new(env!("CARGO_BIN_EXE_mount-cyrusbackup"))
        .arg(scratch.spec())
        .arg(dir)
        .args(["-o", "ro"]));
}

/// The second dump of an incremental pair holds the names of directories and no file. A mount has
/// another device number each time, hence `--no-check-device`.
#[test]
fn tar_dumps_only_what_is_new() {
    if !can_mount() || !has("tar") {
        return;
    }
    let scratch = anne();
    let out = tempfile::tempdir().unwrap();
    let place = Mount::bare();
    let dump = |name: &str| {
        mount_at(&scratch, place.path());
        let archive = out.path().join(name);
        sh(Command::new("tar")
            .args(["--no-check-device", "--listed-incremental"])
            .arg(out.path().join("snapshot"))
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(place.path())
            .arg("."));
        umount(place.path());
        let listed = sh(Command::new("tar").arg("-tf").arg(&archive));
        let files = listed.lines().filter(|line| !line.ends_with('/'));
        files.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(dump("full.tar").len() > 220);
    assert_eq!(dump("second.tar"), Vec::<String>::new());
    // A message that comes is all that the next one takes, with the pieces and lists that grew.
    let new = message(5000, 300);
    let line = mailbox("user.anne.New", "NIL", &[(1, &new, "")]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    scratch.log(now, &[&new], &[&line]);
    let third = dump("third.tar");
    let mails: Vec<_> = third.iter().filter(|name| name.ends_with(".eml")).collect();
    assert_eq!(mails, ["./mailboxes/New/1.eml"]);
    assert!(third.len() < 8, "{third:?}");
    // Full and increments together are the mount.
    let copy = out.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["full.tar", "second.tar", "third.tar"] {
        sh(Command::new("tar")
            .args(["--listed-incremental=/dev/null", "-xf"])
            .arg(out.path().join(name))
            .arg("-C")
            .arg(&copy));
        make_removable(&copy);
    }
    same(&copy, &Mount::new(&scratch.spec(), "ro"));
    make_removable(&copy);
}

/// tar -g asks whether a file has changed since the last dump began. What was written down before, but after
/// the view was opened, would never be taken: hence the overlap that the recipe makes.
#[test]
fn increments_of_an_unlocked_view_need_an_overlap() {
    if !can_mount() || !has("tar") {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    let octets = message(1, 500);
    let line = |flags| mailbox("user.anne", "NIL", &[(1, &octets, flags)]);
    scratch.log(LOG_TIME, &[&octets], &[&line("")]);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let out = tempfile::tempdir().unwrap();
    let snapshot = out.path().join("snapshot");
    let place = Mount::bare();
    let mount = || {
        sh(Command::new(env!("CARGO_BIN_EXE_mount-cyrusbackup"))
            .arg(scratch.spec())
            .arg(place.path())
            .args(["-o", "lock=none"]));
    };
    let dump = |with: &Path| {
        let archive = out.path().join("dump.tar");
        sh(Command::new("tar")
            .args(["--no-check-device", "--listed-incremental"])
            .arg(with)
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(place.path())
            .arg("."));
        umount(place.path());
        sh(Command::new("tar").arg("-tf").arg(&archive)).contains("/1.eml")
    };
    mount();
    let between = now();
    scratch.log(between, &[], &[&line("\\Flagged")]);
    while now() <= between {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(dump(&snapshot));

    let recipe = include_str!("../contrib/recipes/tape-dump.sh");
    let overlap = recipe.lines().find(|line| line.starts_with("sed -z"));
    let overlapping = out.path().join("overlapping");
    sh(Command::new("sh")
        .args(["-euc", overlap.unwrap()])
        .env("began", now().to_string())
        .env("state", out.path()));
    mount();
    assert!(
        !dump(&snapshot),
        "the hazard is gone: say so in SEMANTICS.md"
    );
    mount();
    std::fs::rename(out.path().join("snapshot.next"), &overlapping).unwrap();
    assert!(dump(&overlapping));
}

#[test]
fn cpio_and_bsdtar_take_everything() {
    if !can_mount() || !has("cpio") || !has("bsdtar") {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    let out = tempfile::tempdir().unwrap();
    for (name, take, bring) in [
        ("cpio", "find . | cpio -o -H newc", "cpio -idm"),
        ("bsdtar", "bsdtar -cf - .", "bsdtar -xf -"),
    ] {
        let copy = out.path().join(name);
        std::fs::create_dir(&copy).unwrap();
        let (from, to) = (mount.path().display(), copy.display());
        let script = format!("set -e; (cd {from} && {take}) | (cd {to} && {bring})");
        sh(Command::new("bash").args(["-o", "pipefail", "-c", &script]));
        same(&copy, &mount);
        make_removable(&copy);
    }
}

#[test]
fn rsync_with_links_and_attributes_transfers_nothing_twice() {
    if !can_mount() || !has("rsync") {
        return;
    }
    let scratch = anne();
    // Attributes need a file system that takes them.
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let rsync = || {
        let mount = Mount::new(&scratch.spec(), "ro");
        let from = format!("{}/", mount.path().display());
        let said = sh(Command::new("rsync")
            .args(["-aHAX", "--stats", "-i", &from])
            .arg(out.path()));
        same(out.path(), &mount);
        mount.unmount();
        said
    };
    rsync();
    let second = rsync();
    assert!(
        second.contains("Total transferred file size: 0 bytes"),
        "{second}"
    );
    assert!(second.contains("Literal data: 0 bytes"), "{second}");
    let changed: Vec<_> = second.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(changed, Vec::<&str>::new());
    make_removable(out.path());
}

#[test]
fn restic_adds_nothing_the_second_time() {
    if !can_mount() || !has("restic") {
        return;
    }
    let scratch = anne();
    let out = tempfile::tempdir().unwrap();
    let restic = |args: &[&str]| {
        sh(Command::new("restic")
            .args(["--no-cache", "--json", "-r"])
            .arg(out.path().join("repository"))
            .args(args)
            .env("RESTIC_PASSWORD", "x")
            .env("HOME", out.path()))
    };
    restic(&["init"]);
    let place = Mount::bare();
    let backup = || {
        mount_at(&scratch, place.path());
        let said = restic(&["backup", "--ignore-ctime", place.path().to_str().unwrap()]);
        umount(place.path());
        let summary = said.lines().last().unwrap();
        serde_json::from_str::<serde_json::Value>(summary).unwrap()
    };
    let first = backup();
    assert!(first["files_new"].as_u64().unwrap() > 220, "{first}");
    let second = backup();
    assert_eq!(second["files_new"], 0, "{second}");
    assert_eq!(second["files_changed"], 0, "{second}");
    assert_eq!(second["data_blobs"], 0, "{second}");
}

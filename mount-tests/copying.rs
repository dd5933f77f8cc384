//! The programs that copy and search: what they take away is what is there, and a second run of one
//! that compares finds nothing to do.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Mount, Scratch, can_mount, files, has, message, sh};

fn anne() -> (Scratch, Mount) {
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..300).map(|n| message(n, (n * n) as usize)).collect();
    scratch.append("user.anne", &bodies, 40);
    scratch.append("user.anne.Archive.2024", &bodies[..20], 20);
    let mount = Mount::new(&scratch.spec(), "ro");
    (scratch, mount)
}

fn assert_same(copy: &Path, mount: &Mount, with_times: bool) {
    let originals = files(mount.path());
    assert_eq!(files(copy), originals);
    for path in originals {
        let (a, b) = (copy.join(&path), mount.join(&path));
        assert!(
            std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap(),
            "{path:?}"
        );
        if with_times {
            let mtime = |path: &Path| path.symlink_metadata().unwrap().mtime();
            assert_eq!(mtime(&a), mtime(&b), "{path:?}");
        }
    }
}

#[test]
fn tar_takes_everything_also_when_it_looks_for_holes() {
    if !can_mount() || !has("tar") {
        return;
    }
    let (_scratch, mount) = anne();
    for sparse in [&[][..], &["-S"]] {
        let out = tempfile::tempdir().unwrap();
        let archive = out.path().join("all.tar");
        // tar's warnings ("file changed as we read it") make it fail.
        sh(Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .args(sparse)
            .arg("-C")
            .arg(mount.path())
            .arg("."));
        let copy = out.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        sh(Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .arg("-C")
            .arg(&copy));
        assert_same(&copy, &mount, true);
        make_removable(&copy);
    }
}

#[test]
fn cp_a_takes_everything() {
    if !can_mount() {
        return;
    }
    let (_scratch, mount) = anne();
    let out = tempfile::tempdir().unwrap();
    let copy = out.path().join("copy");
    sh(Command::new("cp").arg("-a").arg(mount.path()).arg(&copy));
    assert_same(&copy, &mount, true);
    make_removable(&copy);
}

#[test]
fn the_second_rsync_transfers_nothing() {
    if !can_mount() || !has("rsync") {
        return;
    }
    let (scratch, mount) = anne();
    let out = tempfile::tempdir().unwrap();
    let rsync = |mount: &Mount| {
        let mut from = mount.path().as_os_str().to_owned();
        from.push("/");
        sh(Command::new("rsync")
            .args(["-a", "--stats", "-i"])
            .arg(from)
            .arg(out.path()))
    };
    let first = rsync(&mount);
    let count = files(mount.path()).len();
    assert!(
        first.contains(&format!("files transferred: {count}")),
        "{first}"
    );
    assert_same(out.path(), &mount, true);
    // The same from a later mount: times and sizes must not depend on the mount.
    mount.unmount();
    let mount = Mount::new(&scratch.spec(), "ro");
    let second = rsync(&mount);
    assert!(second.contains("files transferred: 0"), "{second}");
    let itemized: Vec<_> = second.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(itemized, Vec::<&str>::new());
    make_removable(out.path());
}

#[test]
fn find_du_and_grep() {
    if !can_mount() {
        return;
    }
    let (_scratch, mount) = anne();
    let found = sh(Command::new("find").arg(mount.path()).args(["-type", "f"]));
    assert_eq!(found.lines().count(), files(mount.path()).len());
    let used = sh(Command::new("du")
        .args(["-s", "--block-size=512"])
        .arg(mount.path()));
    let used: u64 = used.split('\t').next().unwrap().parse().unwrap();
    // A message in two mailboxes counts once.
    let metas = files(mount.path()).into_iter();
    let metas = metas.map(|path| mount.join(path).metadata().unwrap());
    let blocks: BTreeMap<u64, u64> = metas.map(|meta| (meta.ino(), meta.blocks())).collect();
    assert_eq!(used, blocks.values().sum::<u64>());
    let mailboxes = mount.join("mailboxes");
    let hits = sh(Command::new("grep")
        .args(["-rlx", "Subject: message 7\r"])
        .arg(&mailboxes));
    let mut hits: Vec<_> = hits.lines().map(Path::new).collect();
    hits.sort();
    let expected = [
        mailboxes.join("Archive/2024/8.eml"),
        mailboxes.join("INBOX/8.eml"),
    ];
    assert_eq!(hits, expected);
}

/// Copied directories are read-only too.
fn make_removable(copy: &Path) {
    sh(Command::new("chmod").args(["-R", "u+w"]).arg(copy));
}

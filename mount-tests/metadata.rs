//! What stat(2), statfs(2) and extended attributes say.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cyrusbackup::types::Guid;

use crate::support::{
    LOG_TIME, Mount, Scratch, can_mount, files, fixture, internaldate, message, mount_device, sh,
};

/// The value of an extended attribute, if there is one.
pub fn xattr(path: &Path, name: &str) -> Option<String> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = CString::new(name).unwrap();
    let mut value = vec![0u8; 1000];
    // SAFETY: the strings end in NUL, and the buffer is as long as we say.
    let len = unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    let len = usize::try_from(len).ok()?;
    Some(String::from_utf8(value[..len].to_vec()).unwrap())
}

fn anne() -> Scratch {
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..5)
        .map(|n| message(n, 100 + 1000 * n as usize))
        .collect();
    scratch.append("user.anne", &bodies, 5);
    scratch.append("user.anne.a.b", &[message(9, 9)], 1);
    scratch
}

#[test]
fn sizes_blocks_times_and_links() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    for uid in 1..=5 {
        let path = mount.join(format!("mailboxes/INBOX/{uid}.eml"));
        let meta = path.symlink_metadata().unwrap();
        let octets = std::fs::read(&path).unwrap();
        assert_eq!(meta.len(), octets.len() as u64);
        assert_eq!(meta.blocks(), meta.len().div_ceil(512));
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (internaldate(uid), 0));
        assert_eq!(meta.atime(), internaldate(uid));
        assert_eq!(meta.nlink(), 1);
        assert!(meta.ctime() >= LOG_TIME);
        // Reading changes nothing.
        let after = path.symlink_metadata().unwrap();
        assert_eq!((after.atime(), after.ctime()), (meta.atime(), meta.ctime()));
    }
    for piece in mount.list("chunks") {
        let meta = mount.join("chunks").join(piece).metadata().unwrap();
        assert!(meta.mtime() >= LOG_TIME && meta.len() > 0);
    }
    for (dir, subdirs) in [("", 5), ("mailboxes", 2), ("mailboxes/a", 1), ("chunks", 0)] {
        let meta = mount.join(dir).metadata().unwrap();
        assert_eq!(meta.nlink(), 2 + subdirs, "{dir}");
        assert!(
            meta.mtime() >= LOG_TIME && meta.ctime() == meta.mtime(),
            "{dir}"
        );
    }
}

/// Inode, size and times of everything.
fn snapshot(mount: &Mount) -> BTreeMap<String, (u64, u64, i64, i64)> {
    let all = files(mount.path()).into_iter().map(|path| {
        let meta = mount.join(&path).symlink_metadata().unwrap();
        let said = (meta.ino(), meta.len(), meta.mtime(), meta.ctime());
        (path.to_str().unwrap().to_owned(), said)
    });
    all.collect()
}

#[test]
fn inodes_are_the_same_after_a_remount() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    let before = snapshot(&mount);
    mount.unmount();
    scratch.append("user.anne.Newcomer", &[message(77, 10)], 1);

    let mount = Mount::new(&scratch.spec(), "ro");
    // Asked in another order.
    mount.join("mailboxes/Newcomer/1.eml").metadata().unwrap();
    mount.join("mailboxes/a/b/1.eml").metadata().unwrap();
    let after = snapshot(&mount);
    for (path, said) in &before {
        // The lists in the user's directory have grown.
        let known = after
            .get(path)
            .filter(|after| path.contains('/') || after.0 == said.0);
        let said = if path.contains('/') {
            Some(said)
        } else {
            known
        };
        assert_eq!(known, said, "{path}");
        assert!(known.is_some(), "{path}");
    }
    let inodes: std::collections::HashSet<_> = after.values().map(|said| said.0).collect();
    assert_eq!(inodes.len(), after.len());
}

#[test]
fn owner_and_modes_follow_the_options() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let modes = |options: &str| {
        let mount = Mount::new(&carol.spec(), options);
        let dir = mount.join("mailboxes").metadata().unwrap();
        let file = mount.join("mailboxes/INBOX/1.eml").metadata().unwrap();
        assert_eq!((dir.uid(), dir.gid()), (file.uid(), file.gid()));
        (
            dir.mode() & 0o7777,
            file.mode() & 0o7777,
            dir.uid(),
            dir.gid(),
        )
    };
    let (uid, gid) = (
        nix::unistd::getuid().as_raw(),
        nix::unistd::getgid().as_raw(),
    );
    assert_eq!(modes("ro"), (0o500, 0o400, uid, gid));
    assert_eq!(modes("rw,umask=027"), (0o550, 0o440, uid, gid));
    if uid == 0 {
        assert_eq!(modes("uid=7,gid=8,umask=022"), (0o555, 0o444, 7, 8));
    }
}

#[test]
fn extended_attributes_tell_what_cyrus_knows() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    let mail = mount.join("mailboxes/INBOX/3.eml");
    for (name, value) in [
        ("guid", "7173dc230eb4ac476f5b1a9cb9bc429b39c650ad"),
        ("uid", "3"),
        ("flags", r"\Seen \Flagged $Label1"),
        ("modseq", "13"),
        ("internaldate", "1700000000"),
        ("mailbox", "user.carol"),
        ("uniqueid", "11111111-aaaa-bbbb-cccc-0000000000c1"),
    ] {
        let found = xattr(&mail, &format!("user.cyrus.{name}"));
        assert_eq!(found.as_deref(), Some(value), "{name}");
    }
    let folder = mount.join("mailboxes/Sub");
    assert_eq!(
        xattr(&folder, "user.cyrus.mailbox").as_deref(),
        Some("user.carol.Sub")
    );
    assert_eq!(xattr(&folder, "user.cyrus.guid"), None);
    assert_eq!(xattr(&mount.join("chunks"), "user.cyrus.mailbox"), None);
}

#[test]
fn a_copy_has_what_it_does_not_say_itself() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    let copied = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    sh(std::process::Command::new("cp")
        .arg("-a")
        .arg(mount.join("mailboxes"))
        .arg(copied.path()));
    let there = |path: &str, name: &str| {
        xattr(
            &copied.path().join("mailboxes").join(path),
            &format!("user.cyrus.{name}"),
        )
    };
    let third = copied.path().join("mailboxes/INBOX/3.eml");
    let octets = std::fs::read(&third).unwrap();
    let guid = "7173dc230eb4ac476f5b1a9cb9bc429b39c650ad";
    assert_eq!(Guid::of(&octets).to_string(), guid);
    assert_eq!(third.metadata().unwrap().mtime(), 1_700_000_000);
    for (name, value) in [
        ("guid", None),
        ("flags", Some(r"\Seen \Flagged $Label1")),
        ("modseq", Some("13")),
        ("internaldate", None),
        ("uid", None),
        ("mailbox", None),
    ] {
        assert_eq!(there("INBOX/3.eml", name).as_deref(), value, "{name}");
    }
    assert_eq!(there("INBOX", "mailbox").as_deref(), Some("user.carol"));
    assert_eq!(
        there("INBOX", "uniqueid").as_deref(),
        Some("11111111-aaaa-bbbb-cccc-0000000000c1")
    );
    // No flags are no flags.
    assert_eq!(there("INBOX/1.eml", "flags"), None);
    let first = mount.join("mailboxes/INBOX/1.eml");
    assert_eq!(xattr(&first, "user.cyrus.flags").as_deref(), Some(""));
}

#[test]
fn noxattr_shows_none() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "noxattr");
    assert_eq!(
        xattr(&mount.join("mailboxes/INBOX/1.eml"), "user.cyrus.guid"),
        None
    );
    assert_eq!(
        xattr(&mount.join("mailboxes/INBOX/3.eml"), "user.cyrus.guid"),
        None
    );
}

#[test]
fn the_file_system_itself() {
    if !can_mount() {
        return;
    }
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    let stat = nix::sys::statvfs::statvfs(mount.path()).unwrap();
    let bytes = stat.blocks() * stat.fragment_size();
    let data = carol.path().metadata().unwrap().len();
    assert!((data..data + stat.fragment_size()).contains(&bytes));
    assert_eq!((stat.blocks_free(), stat.files_free()), (0, 0));
    assert!(stat.files() >= files(mount.path()).len() as u64);
    assert_eq!(stat.name_max(), 255);

    let line = mount_device(mount.path());
    assert!(
        line.starts_with(&format!("fuse.cyrusbackup {} ro", carol.spec())),
        "{line}"
    );
    let refused = std::fs::write(mount.join("new"), "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
}

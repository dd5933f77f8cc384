//! File handles, as an NFS server gives them to its clients: they name the same file as long as somebody
//! has them, also when the kernel has forgotten it, and also on another mount of the backup.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::{Mount, Scratch, can_mount, files, message};

/// `struct file_handle` with room for any file system's bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; 128],
}

fn handle_of(path: &Path) -> Handle {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut handle = Handle {
        bytes: 128,
        kind: 0,
        handle: [0; 128],
    };
    let mut mount = 0;
    let to = (&raw mut handle).cast::<libc::file_handle>();
    assert!(size_of::<Handle>() >= size_of::<libc::file_handle>() + 128);
    // SAFETY: the path ends in NUL, and behind the handle's head is as much room as it says.
    let done =
        unsafe { libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), to, &raw mut mount, 0) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    handle
}

fn open(mount: &Mount, mut handle: Handle) -> std::io::Result<File> {
    let root = File::open(mount.path()).unwrap();
    let from = (&raw mut handle).cast::<libc::file_handle>();
    // SAFETY: the handle is one that the kernel gave.
    let fd = unsafe { libc::open_by_handle_at(root.as_raw_fd(), from, libc::O_RDONLY) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[test]
fn a_handle_outlives_the_mount() {
    if !can_mount() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..5).map(|n| message(n, 3000)).collect();
    scratch.append("user.anne", &bodies, 5);
    scratch.append("user.anne.a.b", &bodies[..1], 1);
    let mount = Mount::new(&scratch.spec(), "ro");
    let known: Vec<_> = files(mount.path())
        .into_iter()
        .map(|path| {
            let octets = std::fs::read(mount.join(&path)).unwrap();
            (handle_of(&mount.join(&path)), octets, path)
        })
        .collect();
    assert!(known.len() > 8);
    let dirs = ["", "mailboxes", "mailboxes/a/b", "chunks"];
    let dirs = dirs.map(|dir| (handle_of(&mount.join(dir)), dir));
    let same = |mount: &Mount| {
        for (handle, octets, path) in &known {
            let mut again = Vec::new();
            let mut file = open(mount, *handle).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            file.read_to_end(&mut again).unwrap();
            assert!(again == *octets, "{path:?}");
        }
        for (handle, dir) in &dirs {
            let opened = open(mount, *handle).unwrap_or_else(|e| panic!("{dir}: {e}"));
            let place = format!("/proc/self/fd/{}", opened.as_raw_fd());
            let mut names: Vec<_> = std::fs::read_dir(place)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            assert_eq!(names, mount.list(dir), "{dir}");
        }
    };
    same(&mount);
    mount.unmount();
    // The kernel knows none of these files any more.
    let mount = Mount::new(&scratch.spec(), "ro");
    same(&mount);
    // A number that no file has is told to be stale.
    let mut wrong = known[0].0;
    wrong.handle[..8].copy_from_slice(&0x00ff_ffff_ffffu64.to_le_bytes());
    let error = open(&mount, wrong).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
}

//! Whole-file locks that C programs and we both obey (spec: ondisk 3.7, 4.5).
//!
//! C takes POSIX `fcntl` locks. Those belong to a process, and closing *any* descriptor of the file
//! drops them. We take the same locks as *open file description* locks: both kinds exclude each
//! other in the kernel, but ours belong to one [`File`] and its clones, work between threads, and
//! end when the last clone is closed. `flock(2)` would not be seen by C, so it is not used.
//!
//! The lock of a file that is replaced by `rename` says nothing about its successor:
//! [`open_locked`] looks at the path again after the lock came.
//!
//! Left out: lock files, byte ranges, and deadlock detection (the kernel has none for these locks).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// How much company a lock allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Any number of readers, no writer. The file must be open for reading.
    Shared,
    /// Nobody else. The file must be open for writing.
    Exclusive,
}

/// What [`open_locked`] found.
#[derive(Debug)]
pub enum Locked {
    /// The file that the path names, locked until it and all its clones are closed.
    Got(File),
    /// Somebody else holds a lock, and the caller did not want to wait.
    Busy,
}

/// Opens `path` and locks the file that it names.
///
/// When the file was replaced between opening and locking, the new one is opened and locked
/// instead. `options` may be used several times, so they must not truncate. With `wait` this
/// blocks until the lock is free, otherwise [`Locked::Busy`] tells that it is not.
///
/// # Errors
/// What opening or `fcntl` said; a wrong access mode for the lock gives `EBADF`.
pub fn open_locked(
    path: &Path,
    options: &OpenOptions,
    mode: Mode,
    wait: bool,
) -> io::Result<Locked> {
    loop {
        let file = options.open(path)?;
        if wait {
            lock(&file, mode)?;
        } else if !try_lock(&file, mode)? {
            return Ok(Locked::Busy);
        }
        if is_at(&file, path)? {
            return Ok(Locked::Got(file));
        }
    }
}

/// Whether `path` still names this open file; false when it is gone or another one.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes the lock, or changes the one held, and waits for others as long as it takes.
///
/// Going from shared to exclusive keeps the shared lock while waiting; two that do so wait for each
/// other forever. [`unlock`] first, and look at the file afresh.
pub fn lock(file: &File, mode: Mode) -> io::Result<()> {
    apply(file, kind(mode), true)?;
    Ok(())
}

/// Takes the lock if nobody is in the way; false otherwise.
pub fn try_lock(file: &File, mode: Mode) -> io::Result<bool> {
    apply(file, kind(mode), false)
}

/// Gives the lock back; the file stays open.
pub fn unlock(file: &File) -> io::Result<()> {
    apply(file, libc::F_UNLCK, false)?;
    Ok(())
}

fn kind(mode: Mode) -> libc::c_int {
    match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    }
}

fn apply(file: &File, kind: libc::c_int, wait: bool) -> io::Result<bool> {
    let request = whole_file(kind);
    loop {
        let argument = if wait {
            FcntlArg::F_OFD_SETLKW(&request)
        } else {
            FcntlArg::F_OFD_SETLK(&request)
        };
        match fcntl(file, argument) {
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN | Errno::EACCES) if !wait => return Ok(false),
            Err(e) => return Err(e.into()),
        }
    }
}

/// From the first byte to wherever the end may go; the pid must be 0 for this kind of lock.
fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn read_write() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        options
    }

    fn got(locked: io::Result<Locked>) -> File {
        match locked.unwrap() {
            Locked::Got(file) => file,
            Locked::Busy => panic!("busy"),
        }
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let first = got(open_locked(&path, &read_write(), Mode::Shared, true));
        let second = got(open_locked(&path, &read_write(), Mode::Shared, false));
        assert!(!try_lock(&second, Mode::Exclusive).unwrap());
        unlock(&first).unwrap();
        assert!(try_lock(&second, Mode::Exclusive).unwrap());
        assert!(matches!(
            open_locked(&path, &read_write(), Mode::Shared, false).unwrap(),
            Locked::Busy
        ));
        drop(second);
        got(open_locked(&path, &read_write(), Mode::Exclusive, false));
    }

    #[test]
    fn a_lock_lives_as_long_as_a_clone_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = got(open_locked(&path, &read_write(), Mode::Exclusive, true));
        let other = File::open(&path).unwrap();
        let clone = file.try_clone().unwrap();
        drop(file);
        drop(File::open(&path).unwrap());
        assert!(!try_lock(&other, Mode::Shared).unwrap());
        drop(clone);
        assert!(try_lock(&other, Mode::Shared).unwrap());
    }

    #[test]
    fn posix_locks_are_seen_and_see_us() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let posix = read_write().open(&path).unwrap();
        fcntl(&posix, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))).unwrap();
        let ours = File::open(&path).unwrap();
        assert!(!try_lock(&ours, Mode::Shared).unwrap());
        fcntl(&posix, FcntlArg::F_SETLK(&whole_file(libc::F_UNLCK))).unwrap();
        assert!(try_lock(&ours, Mode::Shared).unwrap());
        let refused = fcntl(&posix, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK)));
        assert_eq!(refused, Err(Errno::EAGAIN));
    }

    #[test]
    fn who_waited_gets_the_file_that_took_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let old = got(open_locked(&path, &read_write(), Mode::Exclusive, true));
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = got(open_locked(&path, &read_write(), Mode::Exclusive, true));
                tell.send(file.metadata().unwrap().ino()).unwrap();
            });
            assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
            let fresh = dir.path().join("fresh");
            std::fs::write(&fresh, "new").unwrap();
            std::fs::rename(&fresh, &path).unwrap();
            drop(old);
            let ino = told.recv().unwrap();
            assert_eq!(ino, std::fs::metadata(&path).unwrap().ino());
        });
    }

    #[test]
    fn errors_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing");
        let mut read_only = OpenOptions::new();
        read_only.read(true);
        let error = open_locked(&path, &read_only, Mode::Shared, true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "").unwrap();
        let error = open_locked(&path, &read_only, Mode::Exclusive, true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}

//! Tells the kernel: mount(2) as root, fusermount3 for everybody else, and unmounting again.
//!
//! fuser could mount by itself, but as root it would drop our subtype from the mount table, and its
//! unmounting may hit a mount that somebody else has put there since (spec crates 1.1, peers 5.1).

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::{geteuid, getgid, getuid};

use super::guard::{self, FS_TYPE, Mount};

const DEVICE: &str = "/dev/fuse";

/// A place where something of ours is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    dir: PathBuf,
    device: String,
}

/// Mounts on `dir` (canonical), with `source` as the name in the mount table. The descriptor is the
/// kernel's end of the conversation; nothing works before it is answered.
///
/// # Errors
/// Names the step that failed, and what to do where that is known.
pub fn mount(dir: &Path, source: &OsStr, allow_other: bool) -> io::Result<(OwnedFd, Mounted)> {
    let fd = match geteuid().is_root() {
        true => mount_as_root(dir, source, allow_other)?,
        false => mount_by_helper(dir, source, allow_other)?,
    };
    let found = look(dir)?.filter(Mount::is_ours);
    let found = found.ok_or_else(|| io::Error::other("not in the mount table after mounting"))?;
    let dir = dir.to_owned();
    let device = found.device;
    Ok((fd, Mounted { dir, device }))
}

impl Mounted {
    /// Detaches the mount, also while it is used: who has a file open gets errors when we end.
    /// Nothing is done if it is gone already, or something else is mounted there now.
    ///
    /// # Errors
    /// What umount2(2) or fusermount3 said.
    pub fn unmount(&self) -> io::Result<()> {
        match look(&self.dir)? {
            Some(mount) if mount.device == self.device => detach(&self.dir),
            _ => Ok(()),
        }
    }
}

/// What is mounted at `dir` (canonical).
pub fn look(dir: &Path) -> io::Result<Option<Mount>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(guard::mounted(&table, dir))
}

/// Takes away what is mounted at `dir`, used or not.
pub fn detach(dir: &Path) -> io::Result<()> {
    if geteuid().is_root() {
        return umount2(dir, MntFlags::MNT_DETACH).map_err(io::Error::from);
    }
    let options = ["-u", "-z", "--"].map(OsString::from);
    let output = helper().args(options).arg(dir).output();
    let output = output.map_err(helper_missing)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(said(&output.stderr)),
    }
}

fn mount_as_root(dir: &Path, source: &OsStr, allow_other: bool) -> io::Result<OwnedFd> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    let device = device.map_err(device_missing)?;
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        getuid(),
        getgid()
    );
    if allow_other {
        data.push_str(",allow_other");
    }
    let flags = MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_NOATIME;
    nix::mount::mount(Some(source), dir, Some(FS_TYPE), flags, Some(data.as_str()))
        .map_err(|e| io::Error::other(format!("mount(2) on {}: {e}", dir.display())))?;
    Ok(device.into())
}

/// fusermount3 has the rights we lack; it hands the descriptor back over a socket.
fn mount_by_helper(dir: &Path, source: &OsStr, allow_other: bool) -> io::Result<OwnedFd> {
    let mut options = OsString::from(
        "ro,nosuid,nodev,noexec,noatime,default_permissions,subtype=cyrusbackup,fsname=",
    );
    options.push(guard::escape_option(source));
    if allow_other {
        options.push(",allow_other");
    }
    let (ours, theirs) = UnixStream::pair()?;
    // Only this one descriptor is inherited, and this process has no other threads yet.
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let child = helper()
        .arg("-o")
        .arg(options)
        .arg("--")
        .arg(dir)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .spawn()
        .map_err(helper_missing)?;
    drop(theirs);
    let fd = receive(&ours);
    let output = child.wait_with_output()?;
    match fd? {
        Some(fd) if output.status.success() => Ok(fd),
        _ => Err(said(&output.stderr)),
    }
}

fn helper() -> Command {
    let mut command = Command::new("fusermount3");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
    command
}

/// The descriptor that comes over the socket; `None` if it is closed without one.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(std::os::fd::RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(*fd) }));
        }
    }
    Ok(None)
}

fn device_missing(e: io::Error) -> io::Error {
    let hint = match e.kind() {
        io::ErrorKind::NotFound => " (is the kernel module loaded? modprobe fuse)",
        _ => "",
    };
    io::Error::new(e.kind(), format!("{DEVICE}: {e}{hint}"))
}

fn helper_missing(e: io::Error) -> io::Error {
    let hint = "users other than root need it: install the package fuse3";
    io::Error::new(e.kind(), format!("fusermount3: {e} ({hint})"))
}

fn said(stderr: &[u8]) -> io::Error {
    io::Error::other(String::from_utf8_lossy(stderr).trim().to_owned())
}

/// Whether `dir` is the corpse of a mount whose daemon died.
pub fn is_dead(dir: &Path) -> bool {
    let error = File::open(dir).and_then(|dir| dir.metadata()).err();
    error.is_some_and(|e| e.raw_os_error() == Some(libc::ENOTCONN))
}

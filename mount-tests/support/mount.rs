//! Mounts that end with the test, and the kernel's mount table to wait on.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::patience;

const BINARY: &str = env!("CARGO_BIN_EXE_mount-cyrusbackup");

/// Longest time that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether this machine lets us mount at all; says so if not.
pub fn can_mount() -> bool {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    let root = nix::unistd::geteuid().is_root();
    let why = match device {
        Err(error) => format!("/dev/fuse: {error}"),
        Ok(_) if !root && !super::has("fusermount3") => "no fusermount3".to_owned(),
        Ok(_) => return true,
    };
    super::skip(&why);
    false
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    super::output(Command::new(BINARY).args(args))
}

/// A mount; unmounted when dropped, whatever happened.
pub struct Mount {
    dir: tempfile::TempDir,
    #[expect(dead_code, reason = "its end is what counts")]
    patience: Sender<()>,
}

impl Mount {
    /// Mounts, which must succeed.
    pub fn new(spec: &str, options: &str) -> Mount {
        Mount::with(&[], spec, options)
    }

    /// Mounts with further arguments.
    pub fn with(args: &[&str], spec: &str, options: &str) -> Mount {
        let mount = Mount::bare();
        let place = mount.path().to_str().unwrap().to_owned();
        let mut all = vec![spec, &place, "-o", options];
        all.extend(args);
        let Output { status, stderr, .. } = run(&all);
        assert!(
            status.success(),
            "{all:?}: {}",
            String::from_utf8_lossy(&stderr)
        );
        assert!(
            is_mounted(mount.path()),
            "the command came back before the mount was there"
        );
        mount
    }

    /// A mount point for a test that mounts by itself.
    pub fn bare() -> Mount {
        let dir = tempfile::tempdir().unwrap();
        let patience = patience(dir.path());
        Mount { dir, patience }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn join(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path().join(below)
    }

    pub fn read(&self, below: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.join(below))
    }

    /// Names in a directory, sorted.
    pub fn list(&self, below: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.join(below)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The process that serves this mount.
    pub fn daemon(&self) -> i32 {
        let place = self.path().as_os_str();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let serves = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut args = line.split(|byte| *byte == 0);
            args.next() == Some(BINARY.as_bytes())
                && args.any(|arg| arg == place.as_encoded_bytes())
        };
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let found: Vec<i32> = pids.filter(serves).collect();
        assert_eq!(found.len(), 1, "daemons of {place:?}: {found:?}");
        found[0]
    }

    /// The most memory that the daemon has had so far, in MB.
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kilobytes.parse::<u64>().unwrap().div_ceil(1024)
    }

    /// Unmounts like an administrator, and waits until the daemon has ended.
    pub fn unmount(self) {
        let daemon = self.daemon();
        umount(self.path());
        wait(
            || !Path::new(&format!("/proc/{daemon}")).exists(),
            "the daemon to end",
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        while is_mounted(self.path()) {
            let lazily = match nix::unistd::geteuid().is_root() {
                true => Command::new("umount").arg("-l").arg(self.path()).status(),
                false => Command::new("fusermount3")
                    .arg("-uz")
                    .arg(self.path())
                    .status(),
            };
            if !lazily.is_ok_and(|status| status.success()) {
                eprintln!("cannot unmount {}", self.path().display());
                break;
            }
        }
    }
}

/// `umount`, which must succeed. A child that another test is just forking shares our descriptors until
/// its exec, and so a file of the mount that we had open: then it is busy for a moment.
pub fn umount(place: &Path) {
    let mut said = String::new();
    let done = || {
        let run = super::output(Command::new("umount").arg(place));
        said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success() || said.contains("busy"), "{said}");
        run.status.success()
    };
    wait(done, "a mount that is not busy");
}

/// The line of the mount table for a place, the topmost if there are several.
fn mount_line(dir: &Path) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_dir = |line: &&str| line.split(' ').nth(4) == dir.to_str();
    table.lines().rev().find(of_dir).map(str::to_owned)
}

/// Whether one of our mounts is there.
pub fn is_mounted(dir: &Path) -> bool {
    mount_line(dir).is_some_and(|line| line.contains(" - fuse.cyrusbackup "))
}

/// Type, source and options in the mount table.
pub fn mount_device(dir: &Path) -> String {
    let line = mount_line(dir).unwrap();
    line.split_once(" - ").unwrap().1.to_owned()
}

/// Waits for the mount table to become what the test wants; the kernel tells when it changes.
pub fn wait_for_mount_table(is_right: impl Fn() -> bool) {
    let table = File::open("/proc/self/mountinfo").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !is_right() {
        assert!(Instant::now() < deadline, "the mount table did not change");
        let mut fds = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        // It may have changed between the look and the poll, so not too long at a time.
        poll(&mut fds, PollTimeout::from(100u8)).unwrap();
    }
}

/// Waits for what the kernel does not announce.
pub fn wait(mut is_right: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !is_right() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

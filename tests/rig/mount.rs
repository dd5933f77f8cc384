//! A mounted backup, unmounted in `Drop`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::backup_server::BackupServer;
use super::patience::patience;
use super::process::{our_binary, run};

/// The directory of a mounted backup.
pub struct Mount {
    dir: PathBuf,
    #[expect(dead_code, reason = "its end is what counts")]
    patience: Sender<()>,
}

impl Mount {
    /// Runs `mount-cyrusbackup SPEC DIR -o config=FILE,lock=hold`.
    pub fn new(backup: &BackupServer, spec: &str) -> Mount {
        Mount::with(backup, spec, "lock=hold")
    }

    /// The same with these options; waits until the mount table has it.
    pub fn with(backup: &BackupServer, spec: &str, options: &str) -> Mount {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: this kernel cannot mount"
        );
        let name = format!("mnt-{spec}-{options}").replace(['/', ':', ','], "_");
        let dir = backup.instance.dir().join(name);
        std::fs::create_dir_all(&dir).expect("a mount point");
        let config = format!("config={},{options}", backup.instance.conf().display());
        let path = our_binary("mount-cyrusbackup");
        let mut command = std::process::Command::new(path);
        let mount = Mount {
            patience: patience(&dir),
            dir,
        };
        run(
            command.arg(spec).arg(&mount.dir).args(["-o", &config]),
            Duration::from_secs(30),
        )
        .ok(&format!("mount-cyrusbackup {spec}"));
        let end = Instant::now() + Duration::from_secs(10);
        while !mount.is_mounted() {
            assert!(
                Instant::now() < end,
                "{spec} is not in the mount table after 10 s"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        mount
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Unmounts like an administrator, which must succeed.
    pub fn unmount(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut command = std::process::Command::new("umount");
            let run = run(command.arg(&self.dir), Duration::from_secs(20));
            // A child that another test is just forking has our open files until its exec.
            if Instant::now() > deadline || !run.err.contains("busy") {
                run.ok("umount");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_mounted(&self) -> bool {
        let table = std::fs::read_to_string("/proc/self/mounts").expect("a mount table");
        let dir = self.dir.to_str().expect("a UTF-8 path");
        table
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted() {
            let run = run(
                std::process::Command::new("umount").arg(&self.dir),
                Duration::from_secs(20),
            );
            if run.code != Some(0) {
                eprintln!("umount {}: {}", self.dir.display(), run.err);
                let _ = std::process::Command::new("umount")
                    .arg("-l")
                    .arg(&self.dir)
                    .status();
            }
        }
    }
}

/// An extended attribute of a file or directory, if it has it.
pub fn attribute(path: &Path, name: &str) -> Option<String> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    let name = CString::new(name).expect("a name");
    let mut value = vec![0u8; 64 << 10];
    let buffer = value.as_mut_ptr().cast();
    // SAFETY: the strings end in NUL, and the buffer is as long as we say.
    let size = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), buffer, value.len()) };
    value.truncate(usize::try_from(size).ok()?);
    Some(String::from_utf8(value).expect("text"))
}

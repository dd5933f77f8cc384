//! A mounted backup, unmounted in `Drop`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::backup_server::BackupServer;
use super::process::{our_binary, run};

/// The directory of a mounted backup.
pub struct Mount {
    dir: PathBuf,
}

impl Mount {
    /// Runs `mount-cyrusbackup SPEC DIR -o config=FILE` and waits until the mount table has it.
    pub fn new(backup: &BackupServer, spec: &str) -> Mount {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: this kernel cannot mount"
        );
        let dir = backup
            .instance
            .dir()
            .join(format!("mnt-{}", spec.replace(['/', ':'], "_")));
        std::fs::create_dir_all(&dir).expect("a mount point");
        let config = format!("config={},lock=hold", backup.instance.conf().display());
        let path = our_binary("mount-cyrusbackup");
        let mut command = std::process::Command::new(path);
        let mount = Mount { dir };
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

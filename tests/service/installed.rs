//! `make install`, and the units as systemd sees them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::rig::{Output, our_binary, run};

const PROGRAMS: [&str; 5] = [
    "backupd",
    "ctl_backups",
    "cyr_backup",
    "restore",
    "mount-cyrusbackup",
];

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `make VERB` with our programs as if they were the released ones.
fn make(verb: &str, root: &Path, prefix: &str) -> Output {
    let release = root.join("target/release");
    fs::create_dir_all(&release).unwrap();
    for name in PROGRAMS {
        let _ = std::os::unix::fs::symlink(our_binary(name), release.join(name));
    }
    let mut command = Command::new("make");
    command
        .current_dir(home())
        .arg(verb)
        .arg(format!("DESTDIR={}", root.join("dest").display()))
        .arg(format!("PREFIX={prefix}"))
        .arg(format!("TARGET={}", root.join("target").display()))
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL");
    run(&mut command, Duration::from_secs(120))
}

/// Files and links below a directory, by their names in it.
fn all_files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() && !path.is_symlink() {
                true => waiting.push(path),
                false => found.push(path.strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn make_install_puts_everything_where_it_belongs_and_uninstall_takes_it_away() {
    let root = tempfile::tempdir().unwrap();
    make("install", root.path(), "/opt/backup").ok("make install");
    let dest = root.path().join("dest");
    let mut wanted: Vec<String> = PROGRAMS
        .iter()
        .map(|name| format!("opt/backup/sbin/{name}"))
        .chain(
            [
                "opt/backup/lib/systemd/system/cyrus-backupd.service",
                "opt/backup/lib/systemd/system/cyrus-backupd.socket",
                "opt/backup/share/doc/cyrusbackup/README.md",
                "opt/backup/share/doc/cyrusbackup/cyrus.conf.example",
                "opt/backup/share/man/man8/backupd.8",
                "opt/backup/share/man/man8/ctl_backups.8",
                "opt/backup/share/man/man8/cyr_backup.8",
                "opt/backup/share/man/man8/mount.cyrusbackup.8",
                "opt/backup/share/man/man8/restore.8",
                "sbin/mount.cyrusbackup",
                "sbin/mount.fuse.cyrusbackup",
            ]
            .map(str::to_owned),
        )
        .collect();
    wanted.sort();
    assert_eq!(all_files(&dest), wanted);
    let helper = fs::read_link(dest.join("sbin/mount.cyrusbackup")).unwrap();
    assert_eq!(helper, PathBuf::from("/opt/backup/sbin/mount-cyrusbackup"));
    for name in PROGRAMS {
        let path = dest.join("opt/backup/sbin").join(name);
        let said = run(Command::new(path).arg("--version"), Duration::from_secs(20));
        let said = said.ok(name);
        assert!(
            said.out.contains(env!("CARGO_PKG_VERSION")),
            "{name}: {}",
            said.out
        );
    }
    let unit = fs::read_to_string(dest.join(wanted_unit("service"))).unwrap();
    assert!(
        unit.contains("ExecStart=/opt/backup/sbin/backupd "),
        "{unit}"
    );
    make("install", root.path(), "/opt/backup").ok("make install, again");
    make("uninstall", root.path(), "/opt/backup").ok("make uninstall");
    assert_eq!(all_files(&dest), [""; 0]);
}

fn wanted_unit(kind: &str) -> String {
    format!("opt/backup/lib/systemd/system/cyrus-backupd.{kind}")
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let program = Path::new("/usr/bin/systemd-analyze");
    if !program.exists() {
        assert!(std::env::var_os("CI").is_none(), "systemd is not installed");
        eprintln!("SKIPPED: systemd-analyze is missing (Debian package systemd)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for folder in ["contrib/systemd", "contrib/mount"] {
        for entry in fs::read_dir(home().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".example") {
                continue;
            }
            // It wants to see the programs, which are not installed here.
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .replace("/usr/local/sbin/backupd", our_binary("backupd"))
                .replace("/sbin/mount.cyrusbackup", our_binary("mount-cyrusbackup"));
            // A template is judged as one of its instances.
            let copy = dir.path().join(name.replace("@.", "@anne."));
            fs::write(&copy, text).unwrap();
            units.push(copy);
        }
    }
    assert_eq!(units.len(), 5, "{units:?}");
    let mut command = Command::new(program);
    command.args(["verify", "--man=no"]).args(&units);
    let judged = run(&mut command, Duration::from_secs(60)).ok("systemd-analyze verify");
    let of_ours = |line: &&str| {
        units
            .iter()
            .any(|unit| line.contains(&*unit.to_string_lossy()))
    };
    let complaints: Vec<&str> = judged.err.lines().filter(of_ours).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

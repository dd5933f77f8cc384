//! `cyr_backup tar`: what a mount shows, without one.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Mount, Scratch, Site, can_mount, fixture, has, message, sh};

fn anne() -> Scratch {
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..200).map(|n| message(n, (n * n) as usize)).collect();
    scratch.append("user.anne", &bodies, 40);
    let long = format!(
        "user.anne.{}.2024",
        "Archive-with-a-very-long-name".repeat(5)
    );
    scratch.append(&long, &bodies[..20], 20);
    scratch
}

/// Runs `cyr_backup -C CONF USER tar ARGS` into a file.
fn archive(site: &Site, user: &str, args: &[&str], to: &Path) -> Output {
    let out = std::fs::File::create(to).unwrap();
    let conf = site.conf();
    Command::new(env!("CARGO_BIN_EXE_cyr_backup"))
        .args(["-C", conf.to_str().unwrap(), user, "tar"])
        .args(args)
        .stdout(Stdio::from(out))
        .output()
        .unwrap()
}

/// What GNU tar says is in an archive: type, mode, size, time, name, link.
fn listed(archive: &Path) -> Vec<String> {
    let said = sh(Command::new("tar").args(["-tvf"]).arg(archive).args([
        "--numeric-owner",
        "--full-time",
        "--quoting-style=escape",
    ]));
    said.lines().map(|line| line.replace(" ./", " ")).collect()
}

#[test]
fn the_archive_is_that_of_a_mount() {
    if !can_mount() || !has("tar") {
        return;
    }
    let site = Site::new(vec![("anne", anne()), ("carol", fixture("carol"))]);
    let out = tempfile::tempdir().unwrap();
    for (user, args, options) in [
        ("anne", &[][..], ""),
        (
            "carol",
            &["--layout", "maildir", "--chunks", "plain"],
            "layout=maildir,chunks=plain",
        ),
        ("anne", &["--at", "2500-01-01"], "refused"),
    ] {
        let (ours, by_tar) = (out.path().join("ours.tar"), out.path().join("tar.tar"));
        let done = archive(&site, user, args, &ours);
        if options == "refused" {
            assert_eq!(done.status.code(), Some(75));
            continue;
        }
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{said}");
        let mount = Mount::new(user, &format!("{},uid=0,gid=0,{options}", site.option()));
        sh(Command::new("tar")
            .arg("-cf")
            .arg(&by_tar)
            .arg("-C")
            .arg(mount.path())
            .arg("."));
        let (ours_said, tar_said) = (listed(&ours), listed(&by_tar));
        assert_eq!(ours_said.len(), tar_said.len());
        for (ours, tars) in ours_said.iter().zip(&tar_said) {
            assert_eq!(ours, tars);
        }
        // And the bytes.
        let copy = out.path().join(format!("copy-{user}"));
        std::fs::create_dir(&copy).unwrap();
        sh(Command::new("tar")
            .arg("-xf")
            .arg(&ours)
            .arg("-C")
            .arg(&copy));
        sh(Command::new("diff").arg("-r").arg(mount.path()).arg(&copy));
        sh(Command::new("chmod").args(["-R", "u+w"]).arg(&copy));
    }
}

#[test]
fn what_cannot_be_read_is_left_out_and_told() {
    if !has("tar") {
        return;
    }
    let scratch = fixture("craft-corr");
    let site = Site::new(vec![("corr", scratch)]);
    let out = tempfile::tempdir().unwrap();
    let ours = out.path().join("ours.tar");
    let done = archive(&site, "corr", &["--xattrs"], &ours);
    assert_eq!(done.status.code(), Some(75));
    let said = String::from_utf8(done.stderr).unwrap();
    let told = said.lines().filter(|line| line.contains(".eml: ")).count();
    assert!(
        told > 0 && said.contains(&format!("left out of the archive: {told} files")),
        "{said}"
    );
    let attributes = sh(Command::new("tar").args(["--xattrs", "-tvvf"]).arg(&ours));
    assert!(attributes.contains("user.cyrus.modseq"), "{attributes}");
}

//! Through the mount every message is what IMAP gives, and the everyday programs work there.
//!
//! `MOUNT_MESSAGES` asks for another number of messages; of very many no copies are made.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::folders::{fill, shown_as};
use crate::rig::{Mail, Mount, Output, run};
use crate::world::World;

#[test]
fn a_mounted_backup_holds_every_message() {
    let Some(mut world) = World::new() else {
        return;
    };
    if !world.is_ours() {
        return;
    }
    let mut imap = world.source.add_user("anne.b");
    world.user("anne.b");
    let count = std::env::var("MOUNT_MESSAGES")
        .ok()
        .and_then(|text| text.parse().ok());
    let count = count.unwrap_or(700);
    fill(&mut imap, &mut Mail::new(41), count);
    world.sync("first sync");
    // More than one chunk, and something that was expunged.
    imap.select("INBOX");
    imap.expunge("1:3");
    world.sync("expunge");

    let data_file = world.backup.data_file("anne.b");
    let mount = Mount::new(&world.backup, "anne.b");
    let root = mount.path();
    let equal = same_messages(&world, root);
    eprintln!("{equal} messages are what IMAP gives");
    assert_eq!(equal, count - 3);
    chunks_are_the_data_file(root, &data_file);
    if count <= 2000 {
        everyday_programs(root, world.backup.instance.dir());
    }
}

/// Compares all of them; how many.
fn same_messages(world: &World, root: &Path) -> usize {
    let mut imap = world.source.imap("anne.b");
    let mut wanted = BTreeSet::new();
    for mailbox in imap
        .list()
        .into_iter()
        .filter(|name| name.starts_with("INBOX"))
    {
        for message in imap.bodies(&mailbox) {
            let path = root
                .join("mailboxes")
                .join(shown_as(&mailbox))
                .join(format!("{}.eml", message.uid));
            let body =
                fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let expected = message.body.expect("a body");
            assert!(
                body == expected,
                "{}: {} octets, {} by IMAP",
                path.display(),
                body.len(),
                expected.len()
            );
            assert_eq!(
                fs::metadata(&path).expect("metadata").len(),
                expected.len() as u64,
                "{}",
                path.display()
            );
            wanted.insert(path);
        }
    }
    let mut found = BTreeSet::new();
    walk(&root.join("mailboxes"), &mut |path| {
        found.insert(path.to_owned());
    });
    let beyond: Vec<_> = found.difference(&wanted).collect();
    assert!(beyond.is_empty(), "files beyond what IMAP has: {beyond:?}");
    wanted.len()
}

fn chunks_are_the_data_file(root: &Path, data_file: &Path) {
    let mut names: Vec<_> = fs::read_dir(root.join("chunks"))
        .expect("chunks")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    let bytes: Vec<u8> = names
        .iter()
        .flat_map(|path| fs::read(path).expect("a chunk"))
        .collect();
    assert!(
        bytes == fs::read(data_file).expect("the data file"),
        "cat chunks/*.gz is not the data file"
    );
    sh(root, "gzip -t chunks/*.gz").ok("gzip -t of each chunk");
}

fn everyday_programs(root: &Path, out: &Path) {
    let (mount, out) = (root.display(), out.join("tmp"));
    let copied = out.join("copied");
    let tree = "mailboxes";
    sh(root, &format!("cp -a {tree} {}", copied.display())).ok("cp -a");
    sh(root, &format!("diff -r {tree} {}", copied.display())).ok("diff -r after cp -a");

    let there = sh(
        root,
        &format!("grep -rl needle {tree} | sort | sed s,^{tree}/,,"),
    )
    .ok("grep -r")
    .out;
    let here = sh(&copied, "grep -rl needle . | sort | sed s,^./,,")
        .ok("grep -r of the copy")
        .out;
    assert!(
        there == here && !there.is_empty(),
        "grep -r: {} and {} files",
        there.lines().count(),
        here.lines().count()
    );

    let tar = out.join("all.tar");
    sh(root, &format!("tar cf {} {tree}", tar.display())).ok("tar");
    sh(root, &format!("tar df {}", tar.display())).ok("tar --compare");

    let twin = out.join("twin");
    let rsync = format!("rsync -a --stats {mount}/{tree}/ {}/", twin.display());
    sh(root, &rsync).ok("rsync -a");
    let again = sh(root, &rsync).ok("rsync -a again").out;
    assert!(
        again.contains("Number of regular files transferred: 0\n"),
        "the second rsync transfers: {again}"
    );
}

fn sh(dir: &Path, command: &str) -> Output {
    run(
        Command::new("sh").args(["-c", command]).current_dir(dir),
        Duration::from_secs(120),
    )
}

fn walk(dir: &Path, seen: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, seen)
        } else {
            seen(&path)
        }
    }
}

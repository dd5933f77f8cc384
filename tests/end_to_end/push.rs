//! The built-in client `examples/push_maildir`: a Maildir becomes a backup that C's tools accept.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cyrusbackup::types::Guid;

use crate::rig::{BackupServer, Cyrus, Engine, Mail, PASSWORD, run};

#[test]
fn a_maildir_is_pushed_and_kept_up_to_date() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut backup = BackupServer::new(cyrus);
    let engine = if std::env::var("RIG_ENGINE").as_deref() == Ok("c") {
        Engine::C
    } else {
        Engine::Ours
    };
    let port = backup.start(engine);
    let mut mail = Mail::new(51);
    let dir = tempfile::tempdir().expect("a directory");
    let maildir = dir.path().join("Maildir");
    for folder in ["", ".Sent", ".Archive.2024", ".Entw&APw-rfe"] {
        ["cur", "new", "tmp"].iter().for_each(|name| {
            fs::create_dir_all(maildir.join(folder).join(name)).expect("a Maildir")
        });
        for number in 0..12 {
            let name = format!(
                "cur/17{number:08}.M{number}.host:2,{}",
                ["", "S", "RS", "F"][number % 4]
            );
            fs::write(maildir.join(folder).join(name), unix_lines(&mail.any())).expect("a message");
        }
    }
    let push = |wanted: &str| {
        let program = std::env::current_exe().expect("this program");
        let program = program
            .parent()
            .and_then(Path::parent)
            .expect("its place")
            .join("examples/push_maildir");
        assert!(
            program.exists(),
            "{}: `cargo build --example push_maildir` makes it",
            program.display()
        );
        let mut command = Command::new(program);
        command
            .args(["--login", "repl", &format!("127.0.0.1:{port}"), "push.er"])
            .arg(&maildir);
        let said = run(
            command.env("CSYNC_PASSWORD", PASSWORD),
            Duration::from_secs(60),
        )
        .ok("push_maildir")
        .out;
        assert_eq!(said.trim(), wanted);
        backup.verify_with_c(wanted);
        let live: BTreeSet<String> = backup
            .live_messages("push.er")
            .into_values()
            .flatten()
            .map(|(_, guid)| guid)
            .collect();
        assert_eq!(live, guids(&maildir), "{wanted}");
    };
    push("push.er: 48 messages and 4 mailboxes sent");
    push("push.er: 0 messages and 0 mailboxes sent");

    let cur = maildir.join(".Sent/cur");
    fs::write(
        cur.join("1800000000.new.host:2,"),
        unix_lines(&mail.small()),
    )
    .expect("a message");
    fs::rename(
        cur.join("1700000000.M0.host:2,"),
        cur.join("1700000000.M0.host:2,S"),
    )
    .expect("a flag");
    fs::remove_file(cur.join("1700000001.M1.host:2,S")).expect("a message that goes");
    push("push.er: 1 messages and 1 mailboxes sent");
    push("push.er: 0 messages and 0 mailboxes sent");
}

fn unix_lines(message: &[u8]) -> Vec<u8> {
    message
        .iter()
        .copied()
        .filter(|&byte| byte != b'\r')
        .collect()
}

/// GUIDs of all messages, as they go over the wire.
fn guids(dir: &Path) -> BTreeSet<String> {
    let mut guids = BTreeSet::new();
    let mut dirs: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a Maildir").flatten() {
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if dir.ends_with("cur") {
                let text =
                    String::from_utf8(fs::read(entry.path()).expect("a message")).expect("UTF-8");
                guids.insert(Guid::of(text.replace('\n', "\r\n").as_bytes()).to_string());
            }
        }
    }
    guids
}

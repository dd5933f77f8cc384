//! A mount without a lock while the backup is written to and rewritten: what is taken away is one state
//! of it, the same each time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cyrusbackup::store::compact::{Compact, compact};

use crate::support::{LOG_TIME, Mount, Scratch, can_mount, has, message, sh};
use crate::tree::mailbox;

/// Rounds in the everyday run; `RACE_ROUNDS` asks for more.
const ROUNDS: u64 = 3;

fn append(scratch: &Scratch, uid: u32) {
    let body = message(uid.into(), 300 + uid as usize * 37 % 5000);
    let line = mailbox("user.anne", "NIL", &[(uid, &body, "")]);
    scratch.log(LOG_TIME + i64::from(uid), &[&body], &[&line]);
}

/// Name and octets of the messages in an archive of the mount.
fn archived(mount: &Mount, to: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::create_dir(to).unwrap();
    let script = format!(
        "tar -C {} -cf - . | tar -C {} -xf -",
        mount.path().display(),
        to.display()
    );
    sh(Command::new("bash").args(["-o", "pipefail", "-c", &script]));
    let found = crate::support::files(to).into_iter();
    let found = found.map(|path| {
        (
            path.to_str().unwrap().to_owned(),
            std::fs::read(to.join(&path)).unwrap(),
        )
    });
    let found = found.collect();
    sh(Command::new("chmod").args(["-R", "u+w"]).arg(to));
    found
}

#[test]
fn an_archive_is_one_state_while_others_write_and_rewrite() {
    if !can_mount() || !has("tar") {
        return;
    }
    let rounds = std::env::var("RACE_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let scratch = Scratch::empty("anne_AAAAAA");
        let written = AtomicU32::new(0);
        let write = |uid: u32| {
            append(&scratch, uid);
            written.store(uid, Ordering::SeqCst);
        };
        let first = 5 + (round * 7919 % 40) as u32;
        (1..=first).for_each(write);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut uid = first;
                while !over.load(Ordering::SeqCst) && uid < 3000 {
                    uid += 1;
                    write(uid);
                }
            });
            scope.spawn(|| {
                let how = Compact {
                    force: true,
                    wait: true,
                    ..Compact::default()
                };
                while !over.load(Ordering::SeqCst) {
                    compact(scratch.path(), &how, &mut |_| {}, &mut |_, _| {}).unwrap();
                }
            });
            let checks = || {
                let before = written.load(Ordering::SeqCst);
                let mount = Mount::new(&scratch.spec(), "lock=none");
                // What is being written right now may be seen.
                let after = written.load(Ordering::SeqCst) + 1;
                let out = tempfile::tempdir().unwrap();
                let one = archived(&mount, &out.path().join("one"));
                let two = archived(&mount, &out.path().join("two"));
                assert!(
                    one == two,
                    "round {round}: two archives of one mount differ"
                );
                let mails = one
                    .iter()
                    .filter(|(name, _)| name.starts_with("mailboxes/"));
                let mails: BTreeMap<_, _> = mails.collect();
                let count = mails.len() as u32;
                assert!(
                    (before..=after).contains(&count),
                    "round {round}: {before} {count} {after}"
                );
                for uid in 1..=count {
                    let octets = mails[&format!("mailboxes/INBOX/{uid}.eml")];
                    assert!(*octets == message(uid.into(), 300 + uid as usize * 37 % 5000));
                }
            };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(checks));
            over.store(true, Ordering::SeqCst);
            if let Err(panic) = done {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

//! A mounted backup is taken away by tar while a client wants to write to it: the archive is the state at the
//! mount, the client puts the user off or waits, nothing happens to the server, and once unmounted all arrives.
//!
//! `RACE_ROUNDS` asks for more rounds, `RACE_SEED` for others.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cyrusbackup::types::Guid;

use crate::folders::append;
use crate::random::same;
use crate::rig::{Mail, Mount, Output, Rng, run};
use crate::shown::shown;
use crate::state::{MailState, held, on_server};
use crate::world::World;

/// When the lock goes, seen from the client.
#[derive(Clone, Copy, Debug)]
enum Unmounted {
    /// When it has put the user off.
    Afterwards,
    /// While it waits for the answer.
    Meanwhile,
    /// While a rolling one tries again and again.
    Rolling,
}

#[test]
fn an_archive_is_the_state_at_the_mount_while_a_client_waits() {
    let Some(mut world) = World::new() else {
        return;
    };
    if !world.is_ours() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds: u64 = number("RACE_ROUNDS").unwrap_or(3);
    let seed = number("RACE_SEED").unwrap_or(20_261_124);
    let mut imap = world.source.add_user("anne");
    world.user("anne");
    imap.create("INBOX/Archive");
    drop(imap);
    let (mut rng, mut mail) = (Rng::new(seed), Mail::new(seed));
    for round in 0..rounds {
        change(&world, &mut rng, &mut mail);
        let unmounted = [
            Unmounted::Meanwhile,
            Unmounted::Rolling,
            Unmounted::Afterwards,
        ][round as usize % 3];
        let name = format!("seed {seed}, round {round}, {unmounted:?}");
        world.sync(&name);
        one_round(&world, &name, unmounted, &mut rng, &mut mail);
        world.second_run_sends_nothing(&name);
        same(
            &name,
            "IMAP and the backup",
            &on_server(&world),
            &held(&world),
        );
    }
    world.backup.verify_with_c("at the end");
}

fn one_round(world: &World, name: &str, unmounted: Unmounted, rng: &mut Rng, mail: &mut Mail) {
    let had = on_server(world);
    let data_file = world.backup.data_file("anne");
    let bytes = fs::read(&data_file).expect("the data file");
    world.source.forget_log();
    let mount = Mount::new(&world.backup, "anne");
    (0..rng.within(1, 4)).for_each(|_| change(world, rng, mail));
    let wanted = on_server(world);

    let archives = |least: usize, go_on: &dyn Fn() -> bool| {
        let first = archive(world, &mount);
        let mut taken = 1;
        while taken < least || go_on() {
            assert!(first == archive(world, &mount), "{name}: archives differ");
            taken += 1;
        }
        first
    };
    let untouched = || {
        let shown = shown(&user_above(&mount), &["anne".to_owned()], "");
        same(name, "IMAP at the mount and the mount", &had, &shown);
        let now = fs::read(&data_file).expect("the data file");
        assert!(now == bytes, "{name}: written to while it was mounted");
    };
    let first = match unmounted {
        Unmounted::Afterwards => std::thread::scope(|scope| {
            let client = scope.spawn(|| world.source.sync(&["-u", "anne"]));
            let first = archives(2, &|| !client.is_finished());
            put_off(world, name, client.join().expect("sync_client"));
            untouched();
            first
        }),
        Unmounted::Meanwhile => std::thread::scope(|scope| {
            let client = scope.spawn(|| world.source.sync(&["-u", "anne"]));
            let first = archives(3, &|| false);
            untouched();
            mount.unmount();
            let run = client.join().expect("sync_client");
            assert_eq!(run.code, Some(0), "{name}: {}{}", run.out, run.err);
            first
        }),
        Unmounted::Rolling => {
            let mut client = world.source.roll();
            let first = archives(5, &|| false);
            untouched();
            mount.unmount();
            client.settle();
            first
        }
    };
    drop(mount);
    is_what_imap_had(name, &had, &unpacked(world, &first));
    same(name, "IMAP before and after", &wanted, &on_server(world));
    world.sync(name);
}

/// The client was told that the mailbox is locked, and says whom it could not do.
fn put_off(world: &World, name: &str, run: Output) {
    let said = format!("{name}: {:?}\n{}{}", run.code, run.out, run.err);
    assert_eq!(run.code, Some(1), "{said}");
    assert!(run.err.contains("anne"), "{said}");
    let refused = world.refused();
    let locked = |line: &String| line.contains("NO IMAP_MAILBOX_LOCKED ");
    assert!(
        !refused.is_empty() && refused.iter().all(locked),
        "{name}: {refused:#?}"
    );
}

/// `shown` looks for users in a mount of all; the mount of one is a user there.
fn user_above(mount: &Mount) -> PathBuf {
    let above = mount.path().with_extension("users");
    let _ = fs::remove_dir_all(&above);
    fs::create_dir(&above).expect("a directory");
    std::os::unix::fs::symlink(mount.path(), above.join("anne")).expect("a link");
    above
}

/// A change or two of what anne has.
fn change(world: &World, rng: &mut Rng, mail: &mut Mail) {
    let mut imap = world.source.imap("anne");
    let bodies: Vec<_> = (0..rng.within(1, 8)).map(|_| mail.small()).collect();
    let folder = ["INBOX", "INBOX/Archive"][rng.within(0, 2) as usize];
    append(&mut imap, folder, &bodies);
    let uids: Vec<u32> = imap.messages(folder).iter().map(|m| m.uid).collect();
    let some = uids[rng.within(0, uids.len() as u64) as usize].to_string();
    imap.select(folder);
    match rng.within(0, 4) {
        0 => imap.store(&some, "+FLAGS.SILENT (\\Seen $Label1)"),
        1 => imap.expunge(&some),
        2 => imap.copy(&some, "INBOX/Archive"),
        _ => imap.create(&format!("INBOX/new{}", rng.within(0, 1 << 30))),
    }
}

fn archive(world: &World, mount: &Mount) -> Vec<u8> {
    let file = world.backup.instance.dir().join("tmp/anne.tar");
    let mut tar = Command::new("tar");
    tar.arg("-cf")
        .arg(&file)
        .arg("-C")
        .arg(mount.path())
        .arg(".");
    run(&mut tar, Duration::from_secs(120)).ok("tar");
    fs::read(&file).expect("the archive")
}

fn unpacked(world: &World, archive: &[u8]) -> PathBuf {
    let dir = world.backup.instance.dir().join("tmp/unpacked");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).expect("a directory");
    let file = dir.with_extension("tar");
    fs::write(&file, archive).expect("the archive");
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&file).arg("-C").arg(&dir);
    run(&mut tar, Duration::from_secs(120)).ok("tar -x");
    dir
}

/// Mailboxes, UIDs, dates and octets are those of IMAP.
fn is_what_imap_had(name: &str, had: &MailState, archive: &Path) {
    let text = fs::read(archive.join("mailboxes.json")).expect("mailboxes.json");
    let known: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let mut found = BTreeMap::new();
    for mailbox in known["mailboxes"].as_array().expect("mailboxes") {
        let (Some(path), true) = (mailbox["path"].as_str(), mailbox["deleted"].is_null()) else {
            continue;
        };
        for entry in fs::read_dir(archive.join(path)).expect(path) {
            let file = entry.expect("an entry").path();
            if file.extension() == Some("eml".as_ref()) {
                let uid = file.file_stem().and_then(|stem| stem.to_str());
                let key = format!(
                    "{} {}",
                    mailbox["mboxname"].as_str().expect("a name"),
                    uid.expect("a UID")
                );
                let guid = Guid::of(&fs::read(&file).expect("a message"));
                let date = file.metadata().expect("metadata").mtime();
                found.insert(key, format!("{date} {guid}"));
            }
        }
    }
    let is_guid = |word: &str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let wanted: BTreeMap<_, _> = had
        .0
        .iter()
        .filter_map(|(key, value)| {
            let words: Vec<&str> = value.split(' ').collect();
            let guid = words.iter().position(|word| is_guid(word))?;
            let text = format!("{} {}", words[guid - 1], words[guid]);
            Some((key.clone(), text))
        })
        .collect();
    let step = format!("{name}, archive");
    same(
        &step,
        "IMAP at the mount and the archive",
        &MailState(wanted),
        &MailState(found),
    );
}

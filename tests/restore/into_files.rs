//! Restores without a server: a Maildir as the crate maildir and Python's mailbox module read it, an mbox, and files.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cyrusbackup::types::Guid;

use crate::rig::{Append, Fetched, Imap, Mail};
use crate::world::World;

const FOLDERS: [(&str, &str); 3] = [
    ("INBOX", ""),
    ("INBOX/A/B", ".A.B"),
    ("INBOX/Entw&APw-rfe", ".Entw&APw-rfe"),
];

fn world() -> Option<(World, Imap)> {
    let world = World::new()?;
    let mut mail = Mail::new(15);
    let mut imap = world.source.add_user("anne");
    for (folder, _) in &FOLDERS[1..] {
        imap.create(folder);
    }
    for (folder, _) in FOLDERS {
        let bodies: Vec<Vec<u8>> = (0..8).map(|_| mail.small()).collect();
        let appends = bodies.iter().enumerate().map(|(n, body)| Append {
            flags: [
                "",
                "\\Seen",
                "\\Flagged $Label1",
                "\\Answered \\Seen work",
                "\\Draft",
            ][n % 5],
            date: Some("02-Mar-2026 10:00:00 +0000"),
            body,
        });
        imap.append(folder, &appends.collect::<Vec<_>>());
    }
    imap.select("INBOX");
    imap.expunge("3");
    // The same message twice in one folder.
    imap.copy("1", "INBOX");
    world.sync(&["-u", "anne"]);
    Some((world, imap))
}

fn writable(world: &World, name: &str) -> std::path::PathBuf {
    let dir = world.backup.instance.dir().join(name);
    std::fs::create_dir(&dir).unwrap();
    world.backup.instance.give_to_cyrus(&dir);
    dir
}

#[test]
fn a_maildir_for_everybody() {
    let Some((world, mut imap)) = world() else {
        return;
    };
    let dir = writable(&world, "out").join("Maildir");
    let line = format!("--to-maildir {} -a anne", dir.display());
    let said = world.restored(&line);
    assert!(said.starts_with("restored: 24 messages"), "{said}");

    for (folder, path) in FOLDERS {
        let messages = imap.bodies(folder);
        let maildir = maildir::Maildir::from(dir.join(path));
        let mut wanted: Vec<(String, String)> = messages
            .iter()
            .map(|m| (m.guid.clone(), letters(m)))
            .collect();
        let mut found: Vec<(String, String)> = maildir
            .list_cur()
            .map(|entry| {
                let entry = entry.unwrap();
                let octets = std::fs::read(entry.path()).unwrap();
                let time = entry.path().metadata().unwrap().modified().unwrap();
                let seconds = time
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap()
                    .as_secs();
                assert_eq!(seconds, 1_772_445_600, "2 March 2026, 10:00 UTC");
                let system = entry.flags().chars().filter(char::is_ascii_uppercase);
                (Guid::of(&octets).to_string(), system.collect())
            })
            .collect();
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted, "{folder}");
    }
    let keywords = std::fs::read_to_string(dir.join("dovecot-keywords")).unwrap();
    assert_eq!(keywords.lines().count(), 2, "{keywords}");
    compare_with_python(&dir, &mut imap);

    // Again: nothing new; one that is gone comes back.
    let said = world.restored(&line);
    assert!(
        said.starts_with("restored: 0 messages") && said.contains("left out: 24"),
        "{said}"
    );
    let one = std::fs::read_dir(dir.join(".A.B/cur"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::remove_file(one.path()).unwrap();
    assert!(world.restored(&line).starts_with("restored: 1 messages"));
    assert!(one.path().exists());
    let mode = one.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "mail is private (option umask)");
}

/// Flags as letters of a file name.
fn letters(message: &Fetched) -> String {
    let table = [
        ("\\Draft", 'D'),
        ("\\Flagged", 'F'),
        ("\\Answered", 'R'),
        ("\\Seen", 'S'),
    ];
    let has = |flag: &str| message.flags.iter().any(|has| has == flag);
    table
        .iter()
        .filter(|(flag, _)| has(flag))
        .map(|(_, letter)| letter)
        .collect()
}

/// Python says for each message of each folder: folder, SHA-1 of its octets, flags.
fn compare_with_python(dir: &Path, imap: &mut Imap) {
    const SCRIPT: &str = "
import hashlib, mailbox, os, sys
root = mailbox.Maildir(sys.argv[1], factory=None, create=False)
for name, box in [('', root)] + [(n, root.get_folder(n)) for n in root.list_folders()]:
    for key in box.keys():
        path = os.path.join(box._path, box._lookup(key))
        flags = ''.join(c for c in box.get_message(key).get_flags() if c.isupper())
        print(name, hashlib.sha1(open(path, 'rb').read()).hexdigest(), flags)
";
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(dir)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "python3: {error}");
            eprintln!("SKIPPED: python3 does not run ({error}); `make test` as root installs it");
            return;
        }
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<String> = text
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    let mut wanted = Vec::new();
    for (folder, path) in FOLDERS {
        let name = path.trim_start_matches('.');
        for message in imap.bodies(folder) {
            let line = format!("{name} {} {}", message.guid, letters(&message));
            wanted.push(line.trim_end().to_owned());
        }
    }
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}

#[test]
fn an_mbox_and_single_files() {
    let Some((world, mut imap)) = world() else {
        return;
    };
    let out = writable(&world, "out");
    let mbox = out.join("anne.mbox");
    world.restored(&format!("--to-mbox {} -a anne", mbox.display()));
    let text = std::fs::read(&mbox).unwrap();
    let starts = text
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"From "));
    assert_eq!(starts.count(), 24);
    // It may be somebody's mail by now.
    let again = world.restore(&format!("--to-mbox {} anne user/anne", mbox.display()));
    assert_eq!(again.code, Some(75), "{again:?}");
    assert!(again.err.contains("File exists"), "{again:?}");
    assert!(std::fs::read(&mbox).unwrap() == text);

    let eml = out.join("eml");
    world.restored(&format!(
        "--to-eml {} anne user/anne user/anne/A/B",
        eml.display()
    ));
    for (folder, path) in [("INBOX", "INBOX"), ("INBOX/A/B", "A/B")] {
        let bodies = imap.bodies(folder);
        let wanted: BTreeMap<String, String> = bodies
            .into_iter()
            .map(|m| (format!("{}.eml", m.uid), m.guid))
            .collect();
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(eml.join(path)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                let guid = Guid::of(&std::fs::read(entry.path()).unwrap()).to_string();
                found.insert(entry.file_name().into_string().unwrap(), guid);
            }
        }
        assert_eq!(found, wanted, "{folder}");
    }
}

/// Names of folders that would be other mail's place, or no name of a file at all.
#[test]
fn every_message_has_a_file_of_its_own() {
    let Some((world, mut imap)) = world() else {
        return;
    };
    let long = format!("INBOX/{}/{}", "L".repeat(200), "M".repeat(150));
    let folders = ["INBOX/INBOX", "INBOX/A/B/2.eml", &long, "INBOX/Z"];
    let mut mail = Mail::new(16);
    for folder in folders {
        imap.create(folder);
        let bodies: Vec<Vec<u8>> = (0..3).map(|_| mail.small()).collect();
        let appends = bodies.iter().map(|body| Append {
            flags: "",
            date: None,
            body,
        });
        imap.append(folder, &appends.collect::<Vec<_>>());
    }
    world.sync(&["-u", "anne"]);
    let mut wanted: Vec<String> = FOLDERS
        .iter()
        .map(|(folder, _)| *folder)
        .chain(folders)
        .flat_map(|folder| imap.bodies(folder))
        .map(|message| message.guid)
        .collect();
    wanted.sort();
    let out = writable(&world, "out");
    for form in ["maildir", "eml"] {
        let dir = out.join(form);
        let line = format!("--to-{form} {} -a anne", dir.display());
        let said = world.restored(&line);
        assert!(said.starts_with("restored: 36 messages"), "{said}");
        assert_eq!(guids_below(&dir), wanted, "{form}");
        let said = world.restored(&line);
        assert!(said.starts_with("restored: 0 messages"), "{said}");
    }

    // What somebody keeps there under such a name is not written over.
    let eml = out.join("eml");
    let own = eml.join("INBOX/1.eml");
    std::fs::write(&own, "my own words").unwrap();
    let line = format!("--to-eml {} -a anne", eml.display());
    let said = world.restored(&line);
    assert!(said.starts_with("restored: 1 messages"), "{said}");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "my own words");
    assert!(world.restored(&line).starts_with("restored: 0 messages"));
    std::fs::remove_file(&own).unwrap();
    assert_eq!(guids_below(&eml), wanted);
}

/// GUIDs of all mail below a directory.
fn guids_below(dir: &Path) -> Vec<String> {
    let mut guids = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            guids.extend(guids_below(&path));
        } else if !["maildirfolder", "dovecot-keywords"].contains(&name) {
            guids.push(Guid::of(&std::fs::read(&path).unwrap()).to_string());
        }
    }
    guids.sort();
    guids
}

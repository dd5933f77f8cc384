//! A user with everything, backed up, lost, and brought back with `-U -a --everything`: IMAP shows the same.

use crate::rig::{Append, Cyrus, Imap, Mail, Source};
use crate::world::{World, ask, see};

const FOLDERS: [&str; 7] = [
    "INBOX",
    "INBOX/Sent",
    "INBOX/Archive",
    "INBOX/Archive/2024",
    "INBOX/Archive/2024/Q1",
    "INBOX/Entw&APw-rfe",
    "INBOX/sp ace",
];

/// Messages in all; the 3,000 with `RESTORE_MESSAGES=3000`.
fn how_many() -> usize {
    std::env::var("RESTORE_MESSAGES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(600)
}

/// Where he comes back to.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// A new server with a sync_server of Debian's 3.6.1.
    SyncServer,
    /// Its imapd, by the SYNC commands.
    Imapd,
    /// A new server of another version, Debian's of this name, by its sync_server.
    Newer(&'static str),
    /// The server he was on, after an administrator deleted him and all that was his for good.
    SameServer,
}

#[test]
fn a_lost_user_comes_back_as_he_was() {
    let Some(mut world) = World::new() else {
        return;
    };
    let had = Had::new(&world);
    for target in [
        Target::SyncServer,
        Target::Imapd,
        Target::Newer("trixie"),
        Target::Newer("sid"),
        Target::SameServer,
    ] {
        let new;
        let (server, port) = match target {
            Target::SyncServer => {
                new = world.target(&["anne.b"]);
                (&new, new.sync_port())
            }
            Target::Imapd => {
                new = world.target(&["anne.b"]);
                (&new, new.imap_port())
            }
            Target::Newer(suite) => {
                let Some(cyrus) = Cyrus::find_newer(suite) else {
                    continue;
                };
                new = world.target_of(cyrus, &["anne.b"]);
                (&new, new.sync_port())
            }
            Target::SameServer => {
                destroy(&mut world);
                (&world.source, world.source.sync_port())
            }
        };
        had.comes_back(&world, server, port, &format!("{target:?}"));
    }
}

/// The admin deletes the user, and what was kept of a folder that he had deleted himself.
fn destroy(world: &mut World) {
    world.source.set_options("delete_mode: immediate\n");
    world.source.run(true);
    let mut admin = world.source.admin();
    admin.set_acl("user/anne.b", crate::rig::ADMIN, "lrswipkxtecda");
    admin.delete("user/anne.b");
    for kept in named(&mut admin, "DELETED/user/anne.b/*") {
        admin.set_acl(&kept, crate::rig::ADMIN, "lrswipkxtecda");
        admin.delete(&kept);
    }
    let all = [
        named(&mut admin, "user/anne.b*"),
        named(&mut admin, "DELETED/*"),
    ];
    assert!(all.iter().all(Vec::is_empty), "{all:?}");
}

/// Mailboxes that can be opened; a deleted child may leave its parent's name in the list.
fn named(admin: &mut Imap, pattern: &str) -> Vec<String> {
    let lines = ask(admin, &[format!("LIST \"\" \"{pattern}\"")]);
    let there = lines.iter().filter(|line| !line.contains("\\Noselect"));
    there
        .filter_map(|line| Some(line.split_once("\"/\" ")?.1.trim_matches('"').to_owned()))
        .collect()
}

/// What a user had, as IMAP and ManageSieve tell it.
struct Had {
    seen: crate::world::Seen,
    shared: crate::world::Seen,
    told: Vec<String>,
    admin: Vec<String>,
    scripts: String,
}

impl Had {
    /// Makes him, and backs him up.
    fn new(world: &World) -> Had {
        let mut imap = make_user(world);
        world.sync(&["-u", "anne.b"]);
        world.sync(&["-m", "team", "team/dev"]);
        let seen = see(&mut imap, &FOLDERS);
        let shared = see(&mut imap, &["team/dev"]);
        see(&mut imap, &["INBOX/Archive"]);
        let had = Had {
            seen,
            shared,
            told: ask(&mut imap, &commands()),
            admin: ask(&mut world.source.admin(), &ADMIN_COMMANDS),
            scripts: scripts(&world.source),
        };
        assert!(had.seen["INBOX"].len() > 100 && had.scripts.contains("ACTIVE"));
        had
    }

    /// Restores him to a server that lacks him, and looks.
    fn comes_back(&self, world: &World, target: &Source, port: u16, when: &str) {
        let server = format!("127.0.0.1:{port}");
        world.restored(&format!("-U -a {server} %SHARED"));
        let look = world.restored(&format!("-U -a -n --compare --everything {server} anne.b"));
        assert!(look.contains("user/anne.b"), "{when}: {look}");
        let said = world.restored(&format!("-U -a --everything {server} anne.b"));
        assert!(said.contains("set: scripts (2)"), "{when}: {said}");
        self.is_in(target, when);

        // Again: nothing is doubled, nothing is changed.
        let said = world.restored(&format!("-U -a --everything {server} anne.b"));
        assert!(said.starts_with("restored: 0 messages"), "{when}: {said}");
        assert!(!said.contains("set: "), "{when}: {said}");
        self.is_in(target, when);
    }

    fn is_in(&self, target: &Source, when: &str) {
        let mut back = target.imap("anne.b");
        assert_same(when, &self.seen, &see(&mut back, &FOLDERS));
        assert_same(when, &self.shared, &see(&mut back, &["team/dev"]));
        see(&mut back, &["INBOX/Archive"]);
        assert_eq!(self.told, ask(&mut back, &commands()), "{when}");
        let admin = ask(&mut target.admin(), &ADMIN_COMMANDS);
        assert_eq!(self.admin, admin, "{when}");
        assert_eq!(self.scripts, scripts(target), "{when}");
    }
}

/// The first difference, named.
#[track_caller]
fn assert_same(when: &str, was: &crate::world::Seen, is: &crate::world::Seen) {
    for (mailbox, was) in was {
        let is = &is[mailbox];
        for (was, is) in was.iter().zip(is) {
            assert_eq!(was, is, "{when}: {mailbox}");
        }
        assert_eq!(was.len(), is.len(), "{when}: {mailbox}");
    }
}

const ADMIN_COMMANDS: [&str; 4] = [
    "GETQUOTA user/anne.b",
    "GETACL user/anne.b",
    "GETACL user/anne.b/Sent",
    "GETACL team/dev",
];

/// What is asked besides; the last mailbox that [`see`] opened is open.
fn commands() -> Vec<String> {
    let own = FOLDERS.map(|folder| {
        format!("GETMETADATA (DEPTH 0) \"{folder}\" (/shared/comment /private/comment)")
    });
    let mut commands = own.to_vec();
    commands.push("LSUB \"\" \"*\"".to_owned());
    commands.push("LIST \"\" \"*\"".to_owned());
    // The mailbox that `see` left open.
    commands.push("UID FETCH 1:* (ANNOTATION (/comment value.priv))".to_owned());
    commands.push("STATUS team/dev (UNSEEN MESSAGES)".to_owned());
    commands
}

fn make_user(world: &World) -> Imap {
    let mut mail = Mail::new(77);
    let mut imap = world.source.add_user("anne.b");
    for folder in &FOLDERS[1..] {
        imap.create(folder);
    }
    for (place, folder) in FOLDERS.iter().enumerate() {
        let share = how_many() / if place == 0 { 2 } else { 12 };
        let bodies: Vec<Vec<u8>> = (0..share.max(6)).map(|_| mail.small()).collect();
        let appends: Vec<Append<'_>> = bodies
            .iter()
            .enumerate()
            .map(|(n, body)| Append {
                flags: ["", "\\Seen", "\\Flagged $Label1", "\\Answered \\Seen work"][n % 4],
                date: Some("02-Mar-2026 10:00:00 +0000"),
                body,
            })
            .collect();
        imap.append(folder, &appends);
    }
    imap.select("INBOX");
    imap.copy("1:3", "INBOX/Archive");
    imap.move_to("4:5", "INBOX/Sent");
    imap.expunge("7:9");
    imap.store("10:12", "+FLAGS.SILENT (\\Deleted $Forwarded)");
    // The last one goes: the next UID must not be given again.
    let last = imap.messages("INBOX").last().unwrap().uid;
    imap.select("INBOX");
    imap.expunge(&last.to_string());
    imap.select("INBOX/Archive");
    imap.annotate("2:3", "/comment", "look here");
    imap.set_metadata("INBOX/Sent", "/shared/comment", "what I sent");
    imap.set_metadata("INBOX", "/private/comment", "caf\u{e9}");
    imap.set_acl("INBOX/Sent", "bob", "lrs");
    for folder in ["INBOX", "INBOX/Sent", "INBOX/Entw&APw-rfe"] {
        imap.subscribe(folder);
    }
    let mut admin = world.source.admin();
    admin.set_quota("user/anne.b", "STORAGE 900000 MESSAGE 50000");
    for name in ["team", "team/dev"] {
        admin.create(name);
        admin.set_acl(name, "anyone", "lrswipkxtecdan");
    }
    let bodies: Vec<Vec<u8>> = (0..5).map(|_| mail.small()).collect();
    let appends = bodies.iter().map(|body| Append {
        flags: "",
        date: None,
        body,
    });
    imap.append("team/dev", &appends.collect::<Vec<_>>());
    imap.select("team/dev");
    imap.store("1:3", "+FLAGS.SILENT (\\Seen)");
    let mut sieve = world.source.sieve("anne.b");
    sieve.put("first", "keep;");
    sieve.put(
        "second",
        "# Gr\u{fc}\u{df}e\r\nrequire \"fileinto\";\r\nfileinto \"INBOX/Sent\";\r\n",
    );
    sieve.activate("second");
    // A folder that he deleted stays deleted.
    imap.create("INBOX/gone");
    imap.append(
        "INBOX/gone",
        &[Append {
            flags: "",
            date: None,
            body: &bodies[0],
        }],
    );
    imap.delete("INBOX/gone");
    // `only` is there for its child.
    imap.create("INBOX/only/child");
    imap.command("UNSELECT");
    imap
}

/// Names and texts of all scripts.
fn scripts(server: &Source) -> String {
    let mut sieve = server.sieve("anne.b");
    let mut list = sieve.ask("LISTSCRIPTS");
    list.sort();
    let mut all = list.join("\n");
    for name in ["first", "second"] {
        all += &sieve.ask(&format!("GETSCRIPT \"{name}\"")).join("\n");
    }
    all
}

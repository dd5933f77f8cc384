//! Peers that mean harm, or are broken: a clear refusal, bounded memory, nothing outside the partition, and the
//! server goes on serving.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "rig/mod.rs"]
mod rig;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rig::{Answer, BackupServer, Csync, Cyrus, Engine, Rng};

/// The most memory that our backupd may ever have held in these tests, in KiB.
const MEMORY: u64 = 96 * 1024;

#[test]
fn a_wrong_password_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut csync = Csync::connect(server.port());
    assert_eq!(
        csync.authenticate("repl", "wrong").last(),
        "NO authentication failure"
    );
    assert!(csync.command("GET USER anne").is_clear_refusal());
    assert_eq!(
        csync.authenticate("nosuchuser", "secret").last(),
        "NO authentication failure"
    );
    server.still_serves();
}

#[test]
fn a_user_who_is_no_admin_may_do_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut csync = Csync::connect(server.port());
    // C says OK to the login and refuses what follows; refusing at once is as good.
    let login = csync.authenticate("nobody", "secret");
    assert!(login.is_ok() || login.is_clear_refusal(), "{login:?}");
    let answer = csync.command("GET USER anne");
    assert!(
        answer.is_clear_refusal() || matches!(answer, Answer::Closed(_)),
        "{answer:?}"
    );
    let mut csync = Csync::connect(server.port());
    csync.authenticate("nobody", "secret");
    let answer = csync.command("APPLY SUB %(USERID anne MBOXNAME user.anne)");
    assert!(
        answer.is_clear_refusal() || matches!(answer, Answer::Closed(_)),
        "{answer:?}"
    );
    server.still_serves();
    assert_eq!(server.files_of_backups(), 0);
}

#[test]
fn nothing_is_answered_before_login() {
    let Some(server) = Server::start() else {
        return;
    };
    for command in [
        "GET USER anne",
        "APPLY SUB %(USERID anne MBOXNAME user.anne)",
        "APPLY MESSAGE ()",
    ] {
        let answer = Csync::connect(server.port()).command(command);
        assert!(answer.is_clear_refusal(), "{command}: {answer:?}");
    }
    server.still_serves();
    assert_eq!(server.files_of_backups(), 0);
}

#[test]
fn garbage_gets_a_refusal() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut rng = Rng::new(7);
    for round in 0..200 {
        let mut csync = if round % 2 == 0 {
            Csync::connect(server.port())
        } else {
            Csync::login(server.port())
        };
        let length = rng.within(1, 400) as usize;
        let mut octets: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        match round % 4 {
            // Line ends and literals would make several commands of it.
            0 | 1 => octets.retain(|byte| !matches!(byte, b'\r' | b'\n' | b'{')),
            _ => octets = [b"APPLY ".as_slice(), &octets].concat(),
        }
        let _ = csync.send(&octets);
        // Something unclosed would wait for more: a session that ends there is fine too.
        let answer = csync.command(")\")");
        let fine = answer.is_clear_refusal() || matches!(answer, Answer::Closed(_));
        assert!(
            fine || round % 4 > 1 && answer == Answer::Silence,
            "{octets:?}: {answer:?}"
        );
    }
    for line in GARBAGE {
        let answer = Csync::login(server.port()).command(line);
        assert!(answer.is_clear_refusal(), "{line:?}: {answer:?}");
    }
    server.still_serves();
}

const GARBAGE: &[&[u8]] = &[
    b"",
    b" NOOP",
    b"GET",
    b"GET USER",
    b"APPLY",
    b"APPLY MAILBOX",
    b"APPLY MAILBOX ()",
    b"APPLY MAILBOX %(",
    b"APPLY MAILBOX %(UNIQUEID x",
    b"APPLY NOSUCH %(A b)",
    b"APPLY RESERVE %(PARTITION default MBOXNAME (user.anne) GUID (zz))",
    b"APPLY MESSAGE (%{default 8eb579e6cc93d98e510500fcdc7032ac0f3d09a0 99999999999999999999}",
    b"APPLY MESSAGE (%{default 8eb579e6cc93d98e510500fcdc7032ac0f3d09a0 -1}",
    b"APPLY EXPUNGE %(MBOXNAME user.anne UNIQUEID x UID (a b c))",
    b"NOOP NOOP",
    b"GET USER (a (b (c",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1",
];

#[test]
fn three_gigabytes_without_a_line_end() {
    let Some(server) = Server::start() else {
        return;
    };
    // Before login, then in each place where a logged-in peer can go on for ever.
    server.pour(Csync::connect(server.port()), b"", 3 << 30);
    server.pour(Csync::login(server.port()), b"", 512 << 20);
    server.pour(
        Csync::login(server.port()),
        b"APPLY SUB %(USERID ",
        512 << 20,
    );
    server.pour(
        Csync::login(server.port()),
        b"APPLY SUB %(USERID \"",
        512 << 20,
    );
    server.pour(
        Csync::login(server.port()),
        b"APPLY SUB %(USERID {3221225472+}\r\n",
        512 << 20,
    );
    server.pour(Csync::login(server.port()), b"APPLY MESSAGE (%{", 512 << 20);
    server.still_serves();
}

#[test]
fn nesting_without_end() {
    let Some(server) = Server::start() else {
        return;
    };
    for open in ["(", "%(A "] {
        let mut csync = Csync::login(server.port());
        let _ = csync.send(b"APPLY MAILBOX ");
        let _ = csync.send(open.repeat(1 << 20).as_bytes());
        let answer = csync.command("");
        assert!(
            answer.is_clear_refusal() || matches!(answer, Answer::Closed(_)),
            "{answer:?}"
        );
    }
    server.still_serves();
}

#[test]
fn a_user_id_is_never_a_path() {
    let Some(server) = Server::start() else {
        return;
    };
    let before = server.files_outside();
    for userid in [
        "../../x",
        "a/../../../evil/y",
        "..",
        "/etc/passwd",
        "a/b",
        "x\u{1}y",
        "../conf/backups.db",
    ] {
        for line in [
            format!("GET USER \"{userid}\""),
            format!("GET META \"{userid}\""),
            format!("APPLY SUB %(USERID \"{userid}\" MBOXNAME user.anne)"),
            format!(
                "APPLY SIEVE %(USERID \"{userid}\" FILENAME s.script LAST_UPDATE 1 CONTENT keep)"
            ),
            format!("APPLY UNUSER \"{userid}\""),
        ] {
            let answer = Csync::login(server.port()).command(&line);
            assert!(
                answer.is_ok() || answer.is_clear_refusal(),
                "{line}: {answer:?}"
            );
        }
    }
    for mboxname in [
        "user.^^/^^/x",
        "user.a/^^/^^/^^/y",
        "user.^^",
        "x/../../y!user.z",
    ] {
        for line in [mailbox(mboxname), format!("GET MAILBOXES (\"{mboxname}\")")] {
            let answer = Csync::login(server.port()).command(&line);
            assert!(
                answer.is_ok() || answer.is_clear_refusal(),
                "{line}: {answer:?}"
            );
        }
    }
    server.still_serves();
    assert_eq!(
        server.files_outside(),
        before,
        "files outside the partition"
    );
    server.only_plain_names_in_the_partition();
}

#[test]
fn a_script_name_is_never_a_path() {
    let Some(server) = Server::start() else {
        return;
    };
    let before = server.files_outside();
    for name in ["../../x.script", "/tmp/x.script", "a/b.script"] {
        let line = format!("APPLY SIEVE %(USERID anne FILENAME {name} LAST_UPDATE 1 CONTENT keep)");
        let answer = Csync::login(server.port()).command(&line);
        assert!(
            answer.is_ok() || answer.is_clear_refusal(),
            "{line}: {answer:?}"
        );
    }
    server.still_serves();
    assert_eq!(
        server.files_outside(),
        before,
        "files outside the partition"
    );
}

#[test]
fn an_over_long_guid_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let long = "ab".repeat(2000);
    for line in [
        format!("APPLY MESSAGE (%{{default {long} 5}}\r\nhello)"),
        format!("APPLY RESERVE %(PARTITION default MBOXNAME (user.anne) GUID ({long}))"),
        format!(
            "APPLY RESERVE %(PARTITION default MBOXNAME (user.anne) GUID ({}))",
            &long[..38]
        ),
        mailbox("user.anne").replace("RECORD ()", &format!("RECORD ({})", record(&long))),
        format!("GET FETCH %(MBOXNAME user.anne PARTITION default UNIQUEID u GUID {long} UID 1)"),
    ] {
        let answer = Csync::login(server.port()).command(&line);
        assert!(answer.is_clear_refusal(), "{line:.80}: {answer:?}");
    }
    server.still_serves();
}

#[test]
fn a_body_that_is_not_what_its_guid_says_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut csync = Csync::login(server.port());
    let guid = "8eb579e6cc93d98e510500fcdc7032ac0f3d09a0";
    let answer = csync.command(format!("APPLY MESSAGE (%{{default {guid} 5}}\r\nhello)"));
    assert!(answer.is_clear_refusal(), "{answer:?}");
    // The connection is still in step.
    assert!(csync.command("NOOP").is_ok());
    server.still_serves();
}

fn mailbox(name: &str) -> String {
    format!(
        "APPLY MAILBOX %(UNIQUEID u1 MBOXNAME \"{name}\" SYNC_CRC 0 SYNC_CRC_ANNOT 12345678 LAST_UID 0 \
         HIGHESTMODSEQ 1 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 POP3_SHOW_AFTER 0 \
         UIDVALIDITY 1 PARTITION default ACL \"\" OPTIONS \"\" RECORD ())"
    )
}

fn record(guid: &str) -> String {
    format!("%(UID 1 MODSEQ 1 LAST_UPDATED 1 FLAGS () INTERNALDATE 1 SIZE 5 GUID {guid})")
}

/// Our backupd and what must hold of it at the end.
struct Server {
    backup: BackupServer,
}

impl Server {
    fn start() -> Option<Server> {
        let cyrus = Cyrus::find()?;
        let mut backup = BackupServer::new(cyrus);
        backup.start(Engine::Ours);
        Some(Server { backup })
    }

    fn port(&self) -> u16 {
        self.backup.port()
    }

    /// The same process answers a new connection, and never held much memory.
    fn still_serves(&self) {
        let mut csync = Csync::login(self.port());
        let answer = csync.command("GET USER someone");
        assert!(answer.is_ok(), "{answer:?}");
        let peak = peak_memory(self.backup.pid());
        assert!(peak < MEMORY, "our backupd held {peak} KiB at its peak");
    }

    /// Sends `start`, then `octets` octets of junk; the server may read it all or close.
    fn pour(&self, mut csync: Csync, start: &[u8], octets: u64) {
        let junk = vec![b'A'; 1 << 20];
        let mut open = csync.send(start).is_ok();
        let mut sent = 0;
        while open && sent < octets {
            open = csync.send(&junk).is_ok();
            sent += junk.len() as u64;
        }
        if open {
            let answer = csync.command("");
            let refused = answer.is_clear_refusal() || matches!(answer, Answer::Closed(_));
            // Of an announced literal there may be octets to come.
            assert!(
                refused || start.ends_with(b"\r\n"),
                "{:?}: {answer:?}",
                String::from_utf8_lossy(start)
            );
        }
        let peak = peak_memory(self.backup.pid());
        assert!(
            peak < MEMORY,
            "{:?}: {peak} KiB at the peak",
            String::from_utf8_lossy(start)
        );
    }

    /// Everything beside the partition, the databases and the staging area.
    fn files_outside(&self) -> BTreeSet<PathBuf> {
        let dir = self.backup.instance.dir();
        let mut found = BTreeSet::new();
        walk(dir, &mut found);
        let inside = [
            "part",
            "conf/db",
            "conf/proc",
            "conf/backups.db",
            "tmp/backup",
            "log",
        ]
        .map(|name| dir.join(name));
        found.retain(|path| !inside.iter().any(|inside| path.starts_with(inside)));
        found
    }

    fn files_of_backups(&self) -> usize {
        let mut found = BTreeSet::new();
        walk(&self.backup.instance.dir().join("part"), &mut found);
        found.len()
    }

    /// `part/<hash>/<name>`: two levels, whatever the user id was.
    fn only_plain_names_in_the_partition(&self) {
        let part = self.backup.instance.dir().join("part");
        let mut found = BTreeSet::new();
        walk(&part, &mut found);
        for path in found {
            let depth = path
                .strip_prefix(&part)
                .expect("a path below")
                .components()
                .count();
            assert_eq!(depth, 2, "{}", path.display());
        }
    }
}

fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("our backupd runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("VmHWM");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number of KiB")
}

fn walk(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.insert(path);
        }
    }
}

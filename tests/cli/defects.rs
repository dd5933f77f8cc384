//! The defects of C that lose mail (spec: ondisk 10), each on files that C's own backupd wrote: what C makes of
//! them, and that ours keeps it.

use std::path::PathBuf;
use std::time::Duration;

use cyrusbackup::store::{Backup, Lock};
use cyrusbackup::types::Guid;

use super::rig::{BackupServer, Csync, Cyrus, Engine, Output};

/// Everything is older than the retention but what is alive.
const SHORT: &str = "backup_retention: 1s\n";
const MAIL: &[u8] = b"Subject: moved about\r\n\r\nand never lost\r\n";
const OTHER: &[u8] = b"Subject: another\r\n\r\none\r\n";

/// A backup of anne that a backupd wrote, and the server that did it, stopped.
struct Written {
    server: BackupServer,
    path: PathBuf,
}

/// What lives in a mailbox, or did.
#[derive(Debug, PartialEq, Eq)]
struct State {
    /// Names of living mailboxes.
    living: Vec<String>,
    /// UID and first letters of the GUID of living messages, each read and checked.
    alive: Vec<(u32, String)>,
    /// UIDs of messages that are expunged.
    expunged: Vec<u32>,
}

impl Written {
    /// Each inner slice is a session: `GET USER`, these lines, `EXIT`.
    fn by(engine: Engine, sessions: &[&[Vec<u8>]]) -> Option<Written> {
        let mut server = BackupServer::new(Cyrus::find()?);
        let port = server.start(engine);
        for session in sessions {
            let mut peer = Csync::login(port);
            for line in std::iter::once(&b"GET USER anne".to_vec()).chain(*session) {
                let answer = peer.command(line);
                let said = String::from_utf8_lossy(line);
                assert!(answer.is_ok(), "{engine:?}: {said}: {answer:?}");
            }
            peer.command("EXIT");
        }
        let path = server.data_file("anne");
        server.stop();
        Some(Written { server, path })
    }

    /// The same files under another name, for the next one who changes them.
    fn copy(&self, suffix: &str) -> PathBuf {
        let copy = PathBuf::from(format!("{}{suffix}", self.path.display()));
        for end in ["", ".index"] {
            let to = PathBuf::from(format!("{}{end}", copy.display()));
            std::fs::copy(format!("{}{end}", self.path.display()), &to).unwrap();
            self.server.instance.give_to_cyrus(&to);
        }
        copy
    }

    fn c(&self, command: &str, path: &PathBuf) -> Output {
        let path = path.to_str().unwrap();
        self.server
            .c_tool("ctl_backups", &["-w", "-F", command, "-f", path])
    }

    #[track_caller]
    fn ours(&self, command: &str, path: &PathBuf) -> Output {
        let path = path.to_str().unwrap();
        let args = ["-w", "-F", command, "-f", path];
        self.server.our_tool("ctl_backups", &args).ok(command)
    }

    /// Until everything is older than one second.
    fn outlive_retention(&self) {
        self.server.set_options(SHORT);
        std::thread::sleep(Duration::from_millis(2100));
    }
}

fn state(path: &PathBuf) -> State {
    let backup = Backup::open(path, Lock::Shared { wait: true }).unwrap();
    let mut state = State {
        living: Vec::new(),
        alive: Vec::new(),
        expunged: Vec::new(),
    };
    for mailbox in backup.index().mailboxes().unwrap() {
        if mailbox.deleted.is_some() {
            continue;
        }
        for record in backup.index().records(mailbox.id).unwrap() {
            match record.expunged {
                Some(_) => state.expunged.push(record.uid),
                None => {
                    assert!(backup.read_message(&record.guid).is_ok(), "{}", record.guid);
                    let guid = record.guid.to_string()[..6].to_owned();
                    state.alive.push((record.uid, guid));
                }
            }
        }
        state.living.push(mailbox.mboxname);
    }
    state
}

fn short(mail: &[u8]) -> String {
    Guid::of(mail).to_string()[..6].to_owned()
}

/// RESERVE and MESSAGE for these mails.
fn bodies(mails: &[&[u8]]) -> Vec<Vec<u8>> {
    let guids: Vec<String> = mails
        .iter()
        .map(|mail| Guid::of(mail).to_string())
        .collect();
    let reserve = format!(
        "APPLY RESERVE %(PARTITION default MBOXNAME (user.anne) GUID ({}))",
        guids.join(" ")
    );
    let mut message = b"APPLY MESSAGE (".to_vec();
    for (n, (mail, guid)) in mails.iter().zip(&guids).enumerate() {
        message.extend_from_slice(if n > 0 { b" " } else { b"" });
        message.extend_from_slice(format!("%{{default {guid} {}}}\r\n", mail.len()).as_bytes());
        message.extend_from_slice(mail);
    }
    message.push(b')');
    vec![reserve.into_bytes(), message]
}

/// A MAILBOX line with records (uid, modseq, flags, message).
fn mailbox(uniqueid: &str, name: &str, acl: &str, records: &[(u32, u32, &str, &[u8])]) -> Vec<u8> {
    let record = |(uid, modseq, flags, mail): &(u32, u32, &str, &[u8])| {
        format!(
            "%(UID {uid} MODSEQ {modseq} LAST_UPDATED 1700000000 FLAGS ({flags}) INTERNALDATE \
             1700000000 SIZE {} GUID {})",
            mail.len(),
            Guid::of(mail)
        )
    };
    let records: Vec<String> = records.iter().map(record).collect();
    format!(
        "APPLY MAILBOX %(UNIQUEID {uniqueid} MBOXNAME {name} SYNC_CRC 0 SYNC_CRC_ANNOT 0 LAST_UID 9 \
         HIGHESTMODSEQ 50 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 \
         UIDVALIDITY 1700000001 PARTITION default ACL {acl} OPTIONS P RECORD ({}))",
        records.join(" ")
    )
    .into_bytes()
}

fn inbox(records: &[(u32, u32, &str, &[u8])]) -> Vec<u8> {
    mailbox("u-inbox", "user.anne", "x", records)
}

fn line(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn session(parts: &[&[Vec<u8>]]) -> Vec<Vec<u8>> {
    parts.concat()
}

/// After our compact: C calls the file good, and there is nothing left to do.
#[track_caller]
fn is_done(written: &Written, path: &PathBuf) {
    let verified = written.c("verify", path);
    assert_eq!(verified.code, Some(0), "{} {}", verified.out, verified.err);
    let name = path.to_str().unwrap();
    let again = written
        .server
        .our_tool("ctl_backups", &["-w", "compact", "-f", name]);
    assert_eq!(
        again.out,
        format!("compact {name}: skipped\n"),
        "{}",
        again.err
    );
}

/// Spec: ondisk 10.1. A literal ends C's reading of the chunk; what stands behind it is gone.
#[test]
fn o_10_1_what_stands_behind_a_literal_stays() {
    let script = "require \"fileinto\";\r\nkeep;\r\n";
    let sieve = format!(
        "APPLY SIEVE %(USERID anne FILENAME a.script LAST_UPDATE 1700000000 CONTENT {{{}+}}\r\n{script})",
        script.len()
    );
    let lines = session(&[
        &bodies(&[MAIL]),
        &[line(&sieve), inbox(&[(1, 1, "", MAIL)])],
        &[line("APPLY SUB %(USERID anne MBOXNAME user.anne)")],
    ]);
    let Some(written) = Written::by(Engine::C, &[&lines]) else {
        return;
    };
    let before = state(&written.path);
    assert_eq!(before.alive, [(1, short(MAIL))]);
    let c = written.copy("-c");
    written.c("compact", &c);
    assert!(
        state(&c).alive.is_empty(),
        "C has learned to read its literals"
    );
    for command in ["compact", "reindex"] {
        let ours = written.copy(command);
        written.ours(command, &ours);
        assert_eq!(state(&ours), before, "{command}");
        let backup = Backup::open(&ours, Lock::None).unwrap();
        let scripts = backup.index().sieve().unwrap();
        assert_eq!(backup.read_sieve(&scripts[0]).unwrap(), script.as_bytes());
        assert_eq!(
            backup.index().subscriptions().unwrap().len(),
            1,
            "{command}"
        );
        written.ours("verify", &ours);
    }
}

/// Spec: ondisk 10.2. Moved away and back: alive, whatever C's index thinks.
#[test]
fn o_10_2_what_came_back_stays() {
    let first = session(&[
        &bodies(&[MAIL, OTHER]),
        &[inbox(&[(1, 1, "", MAIL), (2, 1, "", OTHER)])],
    ]);
    let away = [inbox(&[(1, 2, "\\Expunged", MAIL)])];
    let back = [inbox(&[(3, 3, "", MAIL)])];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first, &away, &back]) else {
            return;
        };
        written.outlive_retention();
        let alive = [(2, short(OTHER)), (3, short(MAIL))];
        if engine == Engine::C {
            assert_eq!(
                state(&written.path).alive,
                alive[..1],
                "C's index says what is true"
            );
            let c = written.copy("-c");
            written.c("compact", &c);
            assert_eq!(state(&c).alive, alive[..1], "C's compact keeps it");
        }
        let ours = written.copy("-ours");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).alive, alive, "{engine:?}");
        is_done(&written, &ours);
        // C's own tools see it, too.
        let name = ours.to_str().unwrap();
        let listed = written
            .server
            .c_tool("cyr_backup", &["-f", name, "show", "mailboxes", "u-inbox"]);
        let living = listed
            .out
            .lines()
            .filter(|l| l.contains(&" ".repeat(19)))
            .count();
        assert_eq!(living, 2, "{engine:?} {}", listed.out);
    }
}

/// Spec: ondisk 10.3. Two copies in one mailbox, the later one expunged: the other lives.
#[test]
fn o_10_3_one_copy_outlives_the_other() {
    let first = session(&[
        &bodies(&[MAIL]),
        &[inbox(&[(1, 1, "", MAIL), (2, 1, "", MAIL)])],
    ]);
    let one_goes = [inbox(&[(2, 2, "\\Expunged", MAIL)])];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first]) else {
            return;
        };
        let both = [(1, short(MAIL)), (2, short(MAIL))];
        let ours = written.copy("-both");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).alive, both, "{engine:?}");
        is_done(&written, &ours);

        let Some(written) = Written::by(engine, &[&first, &one_goes]) else {
            return;
        };
        written.outlive_retention();
        if engine == Engine::C {
            let c = written.copy("-c");
            written.c("compact", &c);
            assert!(state(&c).alive.is_empty(), "C's compact keeps the copy");
        }
        let ours = written.copy("-one");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).alive, both[..1], "{engine:?}");
        is_done(&written, &ours);
    }
}

/// Spec: ondisk 10.4. Deletions and renames have no chunk that lives, says C.
#[test]
fn o_10_4_what_was_deleted_or_renamed_does_not_come_back() {
    let first = session(&[
        &bodies(&[MAIL, OTHER]),
        &[
            mailbox("u-a", "user.anne.A", "x", &[(1, 1, "", MAIL)]),
            mailbox("u-b", "user.anne.B", "x", &[(1, 1, "", OTHER)]),
            line(
                "APPLY SIEVE %(USERID anne FILENAME a.script LAST_UPDATE 1700000000 CONTENT stop;)",
            ),
        ],
    ]);
    let then = [
        line(
            "APPLY RENAME %(OLDMBOXNAME user.anne.A NEWMBOXNAME user.anne.A2 PARTITION default \
             UIDVALIDITY 1700000001)",
        ),
        line("APPLY UNMAILBOX user.anne.B"),
        line("APPLY UNSIEVE %(USERID anne FILENAME a.script)"),
    ];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first, &then]) else {
            return;
        };
        if engine == Engine::C {
            let c = written.copy("-c");
            written.c("compact", &c);
            assert_eq!(
                state(&c).living,
                ["user.anne.A", "user.anne.B"],
                "C keeps them"
            );
        }
        // While they could be asked for, and later.
        for late in [false, true] {
            if late {
                written.outlive_retention();
            }
            let ours = written.copy(if late { "-late" } else { "-early" });
            written.ours("compact", &ours);
            for again in [false, true] {
                if again {
                    written.ours("reindex", &ours);
                }
                let after = state(&ours);
                assert_eq!(after.living, ["user.anne.A2"], "{engine:?} {late} {again}");
                assert_eq!(after.alive, [(1, short(MAIL))], "{engine:?} {late} {again}");
                let backup = Backup::open(&ours, Lock::None).unwrap();
                let scripts = backup.index().sieve().unwrap();
                assert!(scripts.iter().all(|script| script.deleted.is_some()));
                // History stays as long as it is to.
                assert_eq!(
                    backup.read_message(&Guid::of(OTHER)).is_ok(),
                    !late,
                    "{engine:?}"
                );
            }
            if late {
                is_done(&written, &ours);
            }
        }
    }
}

/// Spec: ondisk 10.5. After a RENAME C's verify fails on C's file and is content with ours; our
/// verify is content with both, and compact makes C's file one that C accepts.
#[test]
fn o_10_5_a_rename_is_no_damage() {
    let first = session(&[
        &bodies(&[MAIL]),
        &[mailbox("u-a", "user.anne.A", "x", &[(1, 1, "", MAIL)])],
    ]);
    let then = [line(
        "APPLY RENAME %(OLDMBOXNAME user.anne.A NEWMBOXNAME user.anne.A2 PARTITION default \
         UIDVALIDITY 1700000001)",
    )];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first, &then]) else {
            return;
        };
        let by_c = written.c("verify", &written.path);
        match engine {
            Engine::C => assert!(
                by_c.out.contains("missing mailbox data for u-a"),
                "{}",
                by_c.out
            ),
            Engine::Ours => assert_eq!(by_c.code, Some(0), "{}", by_c.out),
        }
        written.ours("verify", &written.path);
        written.outlive_retention();
        let ours = written.copy("-ours");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).living, ["user.anne.A2"]);
        is_done(&written, &ours);
        // C may rebuild the index of what we wrote, and rewrite it.
        for command in ["reindex", "compact", "verify"] {
            let by_c = written.c(command, &ours);
            assert_eq!(
                by_c.code,
                Some(0),
                "{engine:?} {command}: {} {}",
                by_c.out,
                by_c.err
            );
        }
        assert_eq!(state(&ours).living, ["user.anne.A2"]);
    }
}

/// Spec: ondisk 10.18. A second mailbox of the same name that is deleted does not change when the
/// first one was.
#[test]
fn o_10_18_each_deleted_mailbox_keeps_its_own_time() {
    let one = session(&[
        &bodies(&[MAIL]),
        &[
            mailbox("u-1", "user.anne.A", "x", &[(1, 1, "", MAIL)]),
            line("APPLY UNMAILBOX user.anne.A"),
        ],
    ]);
    let two = [
        mailbox("u-2", "user.anne.A", "x", &[(1, 1, "", MAIL)]),
        line("APPLY UNMAILBOX user.anne.A"),
    ];
    // C's answer to its second session, a second later.
    let sleep = || std::thread::sleep(Duration::from_millis(1100));
    for engine in [Engine::C, Engine::Ours] {
        let Some(mut written) = Written::by(engine, &[&one]) else {
            return;
        };
        sleep();
        let port = written.server.start(engine);
        let mut peer = Csync::login(port);
        for line in std::iter::once(&b"GET USER anne".to_vec()).chain(&two) {
            assert!(peer.command(line).is_ok());
        }
        peer.command("EXIT");
        written.server.stop();
        let times = |path: &PathBuf| -> Vec<i64> {
            let backup = Backup::open(path, Lock::Shared { wait: true }).unwrap();
            let mailboxes = backup.index().mailboxes().unwrap();
            mailboxes
                .iter()
                .map(|mailbox| mailbox.deleted.unwrap())
                .collect()
        };
        let told = times(&written.path);
        if engine == Engine::C {
            assert_eq!(told[0], told[1], "C's index");
        }
        for command in ["reindex", "compact"] {
            written.ours(command, &written.path);
            let times = times(&written.path);
            assert!(times[0] < times[1], "{engine:?} {command} {times:?}");
        }
    }
}

/// A UID twice in one line: C keeps a row for each message, so the UID is there twice; for us the
/// last word counts, and C's rows say so.
#[test]
fn a_uid_named_twice_is_the_message_named_last() {
    for (records, last) in [
        ([(1, 1, "", MAIL), (1, 2, "", OTHER)], OTHER),
        ([(1, 1, "", MAIL), (1, 2, "", MAIL)], MAIL),
    ] {
        let lines = session(&[&bodies(&[MAIL, OTHER]), &[inbox(&records)]]);
        for engine in [Engine::C, Engine::Ours] {
            let Some(written) = Written::by(engine, &[&lines]) else {
                return;
            };
            let all = [(1, short(MAIL)), (1, short(OTHER))];
            if engine == Engine::C {
                // C's own reindex agrees with C's backupd.
                let c = written.copy("-c");
                let alive = state(&c).alive;
                let by_c = if last == OTHER { &all[..] } else { &all[..1] };
                assert_eq!(alive, by_c, "C's backupd");
                written.c("reindex", &c);
                assert_eq!(state(&c).alive, by_c, "C's reindex");
            } else {
                assert_eq!(state(&written.path).alive, [(1, short(last))]);
            }
            written.ours("reindex", &written.path);
            assert_eq!(state(&written.path).alive, [(1, short(last))], "{engine:?}");
            assert_eq!(
                written.c("verify", &written.path).code,
                Some(0),
                "{engine:?}"
            );
            written.ours("compact", &written.path);
            assert_eq!(state(&written.path).alive, [(1, short(last))], "{engine:?}");
            is_done(&written, &written.path);
        }
    }
}

//! A backup that a backupd wrote, C's or ours, from lines that a test makes up; and what lives in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cyrusbackup::store::{Backup, Lock};
use cyrusbackup::types::Guid;

use super::rig::{BackupServer, Csync, Cyrus, Engine, Output};

/// Everything is older than the retention but what is alive.
pub const SHORT: &str = "backup_retention: 1s\n";
pub const MAIL: &[u8] = b"Subject: moved about\r\n\r\nand never lost\r\n";
pub const OTHER: &[u8] = b"Subject: another\r\n\r\none\r\n";

/// A backup of anne that a backupd wrote, and the server that did it, stopped.
pub struct Written {
    pub server: BackupServer,
    pub path: PathBuf,
}

/// What lives in a mailbox, or did.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    /// Names of living mailboxes.
    pub living: Vec<String>,
    /// UID and first letters of the GUID of living messages, each read and checked.
    pub alive: Vec<(u32, String)>,
    /// UIDs of messages that are expunged.
    pub expunged: Vec<u32>,
}

impl Written {
    /// Each inner slice is a session: `GET USER`, these lines, `EXIT`.
    pub fn by(engine: Engine, sessions: &[&[Vec<u8>]]) -> Option<Written> {
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
    pub fn copy(&self, suffix: &str) -> PathBuf {
        let copy = PathBuf::from(format!("{}{suffix}", self.path.display()));
        for end in ["", ".index"] {
            let to = PathBuf::from(format!("{}{end}", copy.display()));
            std::fs::copy(format!("{}{end}", self.path.display()), &to).unwrap();
            self.server.instance.give_to_cyrus(&to);
        }
        copy
    }

    pub fn c(&self, command: &str, path: &Path) -> Output {
        let path = path.to_str().unwrap();
        self.server
            .c_tool("ctl_backups", &["-w", "-F", command, "-f", path])
    }

    #[track_caller]
    pub fn ours(&self, command: &str, path: &Path) -> Output {
        let path = path.to_str().unwrap();
        let args = ["-w", "-F", command, "-f", path];
        self.server.our_tool("ctl_backups", &args).ok(command)
    }

    /// Until everything is older than one second.
    pub fn outlive_retention(&self) {
        self.server.set_options(SHORT);
        std::thread::sleep(Duration::from_millis(2100));
    }
}

pub fn state(path: &Path) -> State {
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

pub fn short(mail: &[u8]) -> String {
    Guid::of(mail).to_string()[..6].to_owned()
}

/// RESERVE and MESSAGE for these mails.
pub fn bodies(mails: &[&[u8]]) -> Vec<Vec<u8>> {
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
pub fn mailbox(
    uniqueid: &str,
    name: &str,
    acl: &str,
    records: &[(u32, u32, &str, &[u8])],
) -> Vec<u8> {
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

pub fn inbox(records: &[(u32, u32, &str, &[u8])]) -> Vec<u8> {
    mailbox("u-inbox", "user.anne", "x", records)
}

pub fn line(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

pub fn session(parts: &[&[Vec<u8>]]) -> Vec<Vec<u8>> {
    parts.concat()
}

/// After our compact: C calls the file good, and there is nothing left to do.
#[track_caller]
pub fn is_done(written: &Written, path: &Path) {
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

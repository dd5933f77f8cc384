//! A source that is backed up, and targets to restore into; and what IMAP says of a user, to be compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cyrusbackup::store::{Backup, Lock};

use crate::rig::{BackupServer, Cyrus, Engine, Imap, Output, Source, our_binary, run};

pub(crate) const LIMIT: Duration = Duration::from_secs(600);

pub(crate) struct World {
    pub(crate) cyrus: Cyrus,
    pub(crate) source: Source,
    pub(crate) backup: BackupServer,
}

/// Everything that a user sees in one mailbox.
pub(crate) type Seen = BTreeMap<String, Vec<String>>;

impl World {
    /// `None` where the real Cyrus is missing (said by the rig).
    pub(crate) fn new() -> Option<World> {
        let cyrus = Cyrus::find()?;
        let mut backup = BackupServer::new(cyrus);
        let port = backup.start(Engine::Ours);
        let source = Source::start(cyrus, port);
        Some(World {
            cyrus,
            source,
            backup,
        })
    }

    /// An empty server with a sync_server, where these users can log in.
    pub(crate) fn target(&self, users: &[&str]) -> Source {
        self.target_of(self.cyrus, users)
    }

    /// The same of another version.
    pub(crate) fn target_of(&self, cyrus: Cyrus, users: &[&str]) -> Source {
        let target = Source::start_target(cyrus);
        for user in users {
            target.instance.add_password(user, crate::rig::PASSWORD);
        }
        target
    }

    /// `sync_client` with these arguments must succeed.
    #[track_caller]
    pub(crate) fn sync(&self, args: &[&str]) {
        let run = self.source.sync(args);
        assert_eq!(
            run.code,
            Some(0),
            "sync_client {args:?}\n{}{}",
            run.out,
            run.err
        );
    }

    /// Our `restore` with the words of this line.
    pub(crate) fn restore(&self, line: &str) -> Output {
        self.restore_with(our_binary("restore"), line)
    }

    /// Any `restore`: C's stands beside the other programs.
    pub(crate) fn restore_with(&self, program: &str, line: &str) -> Output {
        let words = line.split(' ').filter(|word| !word.is_empty());
        run(self.backup.instance.command(program).args(words), LIMIT)
    }

    /// The same, which must succeed; its standard output.
    #[track_caller]
    pub(crate) fn restored(&self, line: &str) -> String {
        self.restore(line).ok(&format!("restore {line}")).out
    }

    /// Name of the data file of a user.
    pub(crate) fn data_file(&self, user: &str) -> PathBuf {
        self.backup.data_file(user)
    }
}

/// This backup has these octets and nobody's lock.
#[track_caller]
pub(crate) fn assert_unharmed(file: &Path, octets: &[u8]) {
    assert!(
        std::fs::read(file).unwrap() == octets,
        "{file:?}: other data"
    );
    drop(Backup::open(file, Lock::Exclusive { wait: false }).unwrap());
}

/// What a user sees of these mailboxes, bodies and all.
pub(crate) fn see(imap: &mut Imap, mailboxes: &[&str]) -> Seen {
    let mut seen = Seen::new();
    for mailbox in mailboxes {
        let state = imap.command(&format!("EXAMINE \"{mailbox}\""));
        let wanted = [
            "[UIDVALIDITY ",
            "[UIDNEXT ",
            "[HIGHESTMODSEQ ",
            "[MAILBOXID ",
        ];
        let mut lines: Vec<String> = state
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .filter(|line| wanted.iter().any(|word| line.contains(word)))
            .collect();
        lines.sort();
        lines.extend(messages(imap));
        for body in imap.bodies(mailbox) {
            lines.push(format!("{} {}", body.uid, body.guid));
        }
        seen.insert((*mailbox).to_owned(), lines);
    }
    seen
}

/// UID, flags, dates and modseqs of the mailbox that is open.
fn messages(imap: &mut Imap) -> Vec<String> {
    let lines = imap.command("UID FETCH 1:* (UID FLAGS INTERNALDATE MODSEQ RFC822.SIZE)");
    let fetched = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .filter(|line| line.contains(" FETCH ("));
    // Who looks first sees \Recent.
    fetched
        .map(|line| line.replace("\\Recent ", "").replace("\\Recent", ""))
        .collect()
}

/// Bodies, flags and dates of a mailbox without what a new mailbox numbers anew.
pub(crate) fn content(imap: &mut Imap, mailbox: &str) -> Vec<String> {
    let mut content: Vec<String> = imap
        .bodies(mailbox)
        .into_iter()
        .map(|message| {
            let mut flags = message.flags;
            flags.retain(|flag| flag != "\\Recent");
            flags.sort();
            format!(
                "{} {} {}",
                message.guid,
                message.internaldate,
                flags.join(" ")
            )
        })
        .collect();
    content.sort();
    content
}

/// Answers to commands, as text.
pub(crate) fn ask(imap: &mut Imap, commands: &[impl AsRef<str>]) -> Vec<String> {
    let mut answers = Vec::new();
    for command in commands {
        let lines = imap.command(command.as_ref());
        let mut lines: Vec<String> = lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        lines.sort();
        answers.extend(lines);
    }
    answers
}

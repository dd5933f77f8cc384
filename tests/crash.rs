//! kill -9 of backupd in the middle of `sync_client`'s run: nothing acknowledged may be missing afterwards, and
//! nobody has to mend anything.
//!
//! Where to kill is drawn from a seed (`CRASH_SEED`, shown on failure): after so many octets of the client, plus
//! a pause of some microseconds so that the kill also meets syncs and answers. What a power cut would take is not
//! tested here: the page cache survives a kill.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "rig/mod.rs"]
mod rig;

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use rig::{
    Acknowledged, Append, BackupServer, Csync, Cyrus, Engine, Mail, Proxy, Rng, Source, Trigger,
};

const MESSAGES: usize = 2000;
const FOLDERS: usize = 10;
const KILLS: usize = 50;
/// With SOAK=1.
const MANY_KILLS: usize = 500;
const KILLS_A_BACKUP: usize = 5;

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let Some(cyrus) = Cyrus::find() else { return };
    let seed = std::env::var("CRASH_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_261_124);
    let mut rng = Rng::new(seed);
    let proxy = Proxy::start();
    let source = Source::start(cyrus, proxy.port);
    fill(&source, seed);
    let whole = octets_of_a_whole_sync(cyrus, &source, &proxy);

    let wanted = match std::env::var_os("SOAK") {
        Some(_) => MANY_KILLS,
        None => KILLS,
    };
    let mut kills = 0;
    while kills < wanted {
        let mut crashing = Crashing::new(
            cyrus,
            &source,
            &proxy,
            format!("seed {seed}, after {kills} kills"),
        );
        while crashing.kills < KILLS_A_BACKUP {
            let left = whole * (MESSAGES - crashing.acknowledged.len()) as u64 / MESSAGES as u64;
            let at = rng.within(1, left.max(2_000));
            let pause = Duration::from_micros(rng.within(0, 3_000));
            if !crashing.sync_until_killed(at, pause) {
                break; // All was said before the octet came: this backup is complete.
            }
            if rng.next().is_multiple_of(4) {
                crashing.kill_while_it_recovers(Duration::from_micros(rng.within(0, 20_000)));
            }
            crashing.nothing_is_missing();
        }
        kills += crashing.kills;
        crashing.completes();
    }
}

/// One backup whose server is killed again and again.
struct Crashing<'a> {
    source: &'a Source,
    proxy: &'a Proxy,
    backup: BackupServer,
    acknowledged: BTreeSet<Acknowledged>,
    kills: usize,
    name: String,
}

impl<'a> Crashing<'a> {
    fn new(cyrus: Cyrus, source: &'a Source, proxy: &'a Proxy, name: String) -> Crashing<'a> {
        let mut backup = BackupServer::new(cyrus);
        proxy.lead_to(backup.start(Engine::Ours));
        Crashing {
            source,
            proxy,
            backup,
            acknowledged: BTreeSet::new(),
            kills: 0,
            name,
        }
    }

    /// Whether the kill came before the client was done.
    fn sync_until_killed(&mut self, at: u64, pause: Duration) -> bool {
        self.name += &format!(", at {at} + {pause:?}");
        let pid = Pid::from_raw(self.backup.pid() as i32);
        let action = Box::new(move || {
            std::thread::sleep(pause);
            kill(pid, Signal::SIGKILL).expect("our backupd runs");
        });
        self.proxy.take();
        self.proxy.arm(Trigger { at, action });
        let run = self.source.sync(&["-u", "anne"]);
        let killed = self.proxy.disarm().is_none();
        for transcript in self.proxy.take() {
            self.acknowledged.extend(transcript.acknowledged());
        }
        if killed {
            self.kills += 1;
            self.backup.reap();
            self.proxy.lead_to(self.backup.start(Engine::Ours));
        } else {
            assert_eq!(run.code, Some(0), "{}: {}{}", self.name, run.out, run.err);
        }
        killed
    }

    fn kill_while_it_recovers(&mut self, pause: Duration) {
        self.name += &format!(", in recovery + {pause:?}");
        let mut csync = Csync::login(self.port());
        csync
            .send(b"GET USER anne\r\n")
            .expect("a server that reads");
        std::thread::sleep(pause);
        self.backup.reap();
        self.proxy.lead_to(self.backup.start(Engine::Ours));
    }

    /// The next connection finds a sound backup with everything that was acknowledged.
    fn nothing_is_missing(&mut self) {
        let mut csync = Csync::login(self.port());
        let answer = csync.command("GET USER anne");
        assert!(
            answer.is_ok(),
            "{}: the next connection: {}",
            self.name,
            answer.last()
        );
        assert!(csync.command("EXIT").is_ok(), "{}: EXIT", self.name);
        if self.acknowledged.is_empty() && !self.backup.backups().contains_key("anne") {
            return; // Killed before there was anything to keep.
        }
        self.backup.verify_with_c(&self.name);
        let live = self.backup.live_messages("anne");
        let missing: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|(mailbox, uid, guid)| {
                !live
                    .get(mailbox)
                    .is_some_and(|has| has.contains(&(*uid, guid.clone())))
            })
            .collect();
        assert!(
            missing.is_empty(),
            "{}: {} of {} acknowledged messages are missing, such as {:?}{}",
            self.name,
            missing.len(),
            self.acknowledged.len(),
            missing[0],
            self.backup.keep()
        );
    }

    /// The repeated sync brings everything, the one after it nothing.
    fn completes(mut self) {
        let run = self.source.sync(&["-u", "anne"]);
        assert_eq!(
            run.code,
            Some(0),
            "{}: the repeated sync: {}{}",
            self.name,
            run.out,
            run.err
        );
        for transcript in self.proxy.take() {
            self.acknowledged.extend(transcript.acknowledged());
        }
        self.nothing_is_missing();
        let all: usize = self
            .backup
            .live_messages("anne")
            .values()
            .map(BTreeSet::len)
            .sum();
        assert_eq!(
            all, MESSAGES,
            "{}: messages in the completed backup",
            self.name
        );
        let run = self.source.sync(&["-u", "anne"]);
        assert_eq!(run.code, Some(0), "{}: {}{}", self.name, run.out, run.err);
        let sent: Vec<String> = self
            .proxy
            .take()
            .iter()
            .flat_map(|transcript| transcript.commands("APPLY "))
            .collect();
        assert!(
            sent.is_empty(),
            "{}: a sync of a complete backup sends {sent:#?}",
            self.name
        );
        let data_file = self.backup.data_file("anne");
        let index = self.backup.rows(&data_file);
        let differences = index.differences(&self.backup.rows_reindexed_by_c(&data_file));
        assert!(
            differences.is_empty(),
            "{}: index and C's reindex: {differences:#?}",
            self.name
        );
    }

    fn port(&self) -> u16 {
        self.backup.port()
    }
}

fn fill(source: &Source, seed: u64) {
    let mut mail = Mail::new(seed);
    let mut imap = source.add_user("anne");
    for folder in 0..FOLDERS {
        let name = format!("INBOX/folder{folder}");
        imap.create(&name);
        let bodies: Vec<Vec<u8>> = (0..MESSAGES / FOLDERS).map(|_| mail.small()).collect();
        let messages = bodies.iter().map(|body| Append {
            flags: "\\Seen",
            date: None,
            body,
        });
        imap.append(&name, &messages.collect::<Vec<_>>());
    }
}

fn octets_of_a_whole_sync(cyrus: Cyrus, source: &Source, proxy: &Proxy) -> u64 {
    let mut backup = BackupServer::new(cyrus);
    proxy.lead_to(backup.start(Engine::Ours));
    let run = source.sync(&["-u", "anne"]);
    assert_eq!(run.code, Some(0), "a whole sync: {}{}", run.out, run.err);
    proxy.received()
}

//! A disk that is full, and one that fails: the client is sent away, nothing acknowledged is lost, and when the
//! disk is well again the next run completes the backup without anybody's help.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::folders::append;
use crate::rig::{Acknowledged, BackupServer, Cyrus, Engine, Mail, Proxy, Source};

/// Of `strace`: the k-th such call fails, and all after it.
const FAULTS: [&str; 7] = [
    "fdatasync:error=EIO:when=1+",
    "fdatasync:error=EIO:when=3+",
    "fdatasync:error=EIO:when=6",
    "pwrite64:error=EIO:when=2+",
    "pwrite64:error=EIO:when=9",
    "pwrite64:error=ENOSPC:when=25+",
    "fsync:error=EIO:when=1+",
];

struct Broken {
    source: Source,
    proxy: Proxy,
    backup: BackupServer,
    acknowledged: BTreeSet<Acknowledged>,
}

impl Broken {
    fn new(cyrus: Cyrus, messages: usize, size: usize) -> Broken {
        let proxy = Proxy::start();
        let source = Source::start(cyrus, proxy.port);
        let mut mail = Mail::new(61);
        let mut imap = source.add_user("anne");
        for folder in ["INBOX", "INBOX/a", "INBOX/b", "INBOX/c"] {
            if folder != "INBOX" {
                imap.create(folder);
            }
            let bodies: Vec<Vec<u8>> = (0..messages / 4).map(|_| mail.sized(size)).collect();
            append(&mut imap, folder, &bodies);
        }
        Broken {
            source,
            proxy,
            backup: BackupServer::new(cyrus),
            acknowledged: BTreeSet::new(),
        }
    }

    fn sync(&mut self) -> Option<i32> {
        let run = self.source.sync(&["-u", "anne"]);
        for transcript in self.proxy.take() {
            self.acknowledged.extend(transcript.acknowledged());
        }
        run.code
    }

    /// Everything that was answered OK is there, C's verify is content.
    fn sound(&self, when: &str) {
        if self.acknowledged.is_empty() {
            // There may be no backup at all.
            return;
        }
        self.backup.verify_with_c(when);
        let live = self.backup.live_messages("anne");
        for (mailbox, uid, guid) in &self.acknowledged {
            let has = live
                .get(mailbox)
                .is_some_and(|m| m.contains(&(*uid, guid.clone())));
            assert!(
                has,
                "{when}: {mailbox} {uid} was acknowledged and is missing"
            );
        }
    }

    /// The disk is well again.
    fn completes(mut self, messages: usize, when: &str) {
        assert_eq!(self.sync(), Some(0), "{when}: the next run");
        self.sound(when);
        let live = self.backup.live_messages("anne");
        assert_eq!(
            live.values().map(BTreeSet::len).sum::<usize>(),
            messages,
            "{when}"
        );
        self.proxy.take();
        assert_eq!(self.sync(), Some(0), "{when}: the run after it");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_recovers_when_space_returns() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut broken = Broken::new(cyrus, 80, 40_000);
    let part = Tmpfs::over(broken.backup.instance.dir().join("part"), "1200k");
    broken.backup.instance.give_to_cyrus(&part.0);
    broken.proxy.lead_to(broken.backup.start(Engine::Ours));
    assert_ne!(broken.sync(), Some(0), "there is not enough space");
    assert_ne!(broken.sync(), Some(0), "there is still not enough space");
    part.grow("100m");
    // Without a restart: the same process goes on.
    let when = "after a full disk";
    assert_eq!(broken.sync(), Some(0), "{when}: the next run");
    broken.completes(80, when);
}

#[test]
fn a_failing_disk_loses_nothing() {
    let Some(cyrus) = Cyrus::find() else { return };
    if !Command::new("strace")
        .arg("-V")
        .output()
        .is_ok_and(|out| out.status.success())
    {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        eprintln!("SKIPPED: strace is missing; `make test` installs it");
        return;
    }
    for fault in FAULTS {
        let mut broken = Broken::new(cyrus, 24, 9_000);
        broken.proxy.lead_to(broken.backup.start_failing(fault));
        broken.sync();
        broken.sync();
        broken.backup.reap();
        broken.proxy.lead_to(broken.backup.start(Engine::Ours));
        let mut csync = crate::rig::Csync::login(broken.backup.port());
        assert!(
            csync.command("GET USER anne").is_ok(),
            "{fault}: the next session"
        );
        assert!(csync.command("EXIT").is_ok());
        broken.sound(fault);
        broken.completes(24, fault);
    }
}

/// A small file system of its own; unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(place: PathBuf, size: &str) -> Tmpfs {
        let options = format!("size={size},mode=0755");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], &place);
        Tmpfs(place)
    }

    fn grow(&self, size: &str) {
        mount(&["-o", &format!("remount,size={size}")], &self.0);
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(args: &[&str], place: &PathBuf) {
    let status = Command::new("mount")
        .args(args)
        .arg(place)
        .status()
        .expect("mount");
    assert!(status.success(), "mount {args:?}");
}

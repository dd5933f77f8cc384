//! compact and reindex killed with SIGKILL at many system calls: the old backup or the new one, complete.
//! The tool runs under ptrace, so that the place of the kill does not depend on how busy the machine is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cyrusbackup::store::{Appender, Backup, Lock, StoreError, layout};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::place::Place;
use super::rig::Limit;

/// Runs a command and kills it at its `at`th stop at a system call; returns how many stops there were.
fn run_to(mut command: Command, at: Option<u64>) -> u64 {
    // SAFETY: traceme is async-signal-safe and touches nothing of the parent.
    unsafe {
        command.pre_exec(|| Ok(ptrace::traceme()?));
    }
    #[expect(clippy::zombie_processes, reason = "waitpid below waits for it")]
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let _limit = Limit::on(child.id(), Duration::from_secs(300));
    assert!(matches!(
        waitpid(pid, None).unwrap(),
        WaitStatus::Stopped(_, Signal::SIGTRAP)
    ));
    let mut stops = 0;
    loop {
        if at == Some(stops) {
            ptrace::kill(pid).unwrap();
        } else {
            ptrace::syscall(pid, None).unwrap();
        }
        match waitpid(pid, None).unwrap() {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return stops,
            _ => stops += 1,
        }
    }
}

/// Octets of living messages by mailbox and UID.
pub type Living = BTreeMap<(String, u32), usize>;

/// Everything that lives, read and checked.
pub fn living(path: &Path) -> Result<Living, String> {
    let told = |error: StoreError| error.detail().to_string();
    let backup = Backup::open(path, Lock::Shared { wait: true }).map_err(told)?;
    let mut living = BTreeMap::new();
    for mailbox in backup.index().mailboxes().map_err(told)? {
        if mailbox.deleted.is_some() {
            continue;
        }
        for record in backup.index().records(mailbox.id).map_err(told)? {
            if record.expunged.is_none() {
                let octets = backup.read_message(&record.guid).map_err(told)?;
                living.insert((mailbox.uniqueid.clone(), record.uid), octets.len());
            }
        }
    }
    Ok(living)
}

/// The whole text of a data file, but for the horizon, which moves with the clock.
pub fn said(path: &Path) -> String {
    let mut text = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap());
    // What comes before damage tells enough.
    let _ = reader.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .filter(|line| !line.contains("HORIZON"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn killed_everywhere(line: &str, points: u64) {
    let Some(place) = Place::new() else { return };
    place.configure("backup_retention: 1s\nbackup_compact_minsize: 1\n");
    let path = place.path("b/carol");
    place.ours("ctl_backups reindex carol");
    place.copy("b/carol", "old");
    let expected = living(&path).unwrap();
    assert!(!expected.is_empty());
    let all = run_to(place.quiet(line), None);
    let new = said(&path);
    let old = said(&place.path("old"));
    let (mut olds, mut news) = (0, 0);
    for point in 0..points {
        for left_over in [layout::new_data(&path), layout::new_index(&path)] {
            let _ = fs::remove_file(left_over);
        }
        let _ = fs::remove_file(layout::index_journal(&path));
        place.copy("old", "b/carol");
        let at = all * point / points + point % 3;
        run_to(place.quiet(line), Some(at));
        // Reading is possible at once.
        assert_eq!(
            living(&path).unwrap(),
            expected,
            "{line} killed at {at} of {all}"
        );
        let data = said(&path);
        assert!(data == old || data == new, "{line} killed at {at} of {all}");
        if data == new {
            news += 1
        } else {
            olds += 1
        }
        // So is writing, and that clears up.
        drop(Appender::open(&path, true).unwrap());
        assert!(!layout::new_data(&path).exists() && !layout::new_index(&path).exists());
        assert_eq!(
            living(&path).unwrap(),
            expected,
            "{line} killed at {at} of {all}"
        );
        if point % 10 == 0 {
            assert_eq!(
                place.c("ctl_backups verify carol").out,
                "verify carol: ok\n"
            );
        }
    }
    println!("{line}: {all} stops, {points} kills: {olds} old, {news} new");
}

#[test]
fn compact_killed_at_200_points_leaves_the_old_or_the_new_backup() {
    let points = if std::env::var_os("SOAK").is_some() {
        2000
    } else {
        200
    };
    killed_everywhere("ctl_backups -F compact carol", points);
}

#[test]
fn reindex_killed_at_50_points_leaves_a_backup_that_works() {
    killed_everywhere("ctl_backups reindex carol", 50);
}

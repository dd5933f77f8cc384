//! How long C's restore and ours take for the same mail into the same sync_server, in turns. Runs only when
//! `RESTORE_BENCH` says how many MB; `RESTORE_BIN` is the release build of ours. Figures go to standard error. C reads
//! a message by inflating its chunk from the start (its time grows with the square of the size): begin with 20.

use std::process::Stdio;
use std::time::Instant;

use crate::rig::{Append, Mail, Source};
use crate::world::World;

const C: &str = "/usr/lib/cyrus/bin/restore";

#[test]
fn ours_and_c_s_into_the_same_server() {
    let Some(megabytes) = std::env::var("RESTORE_BENCH")
        .ok()
        .and_then(|mb| mb.parse::<usize>().ok())
    else {
        return;
    };
    let ours = std::env::var("RESTORE_BIN").expect("RESTORE_BIN, the release build of restore");
    let Some(world) = World::new() else { return };
    let mut mail = Mail::new(21);
    let mut imap = world.source.add_user("anne");
    let mut octets = 0;
    while octets < megabytes * 1_000_000 {
        let bodies: Vec<Vec<u8>> = (0..64).map(|_| mail.sized(13_000)).collect();
        octets += bodies.iter().map(Vec::len).sum::<usize>();
        let appends = bodies.iter().map(|body| Append {
            flags: "\\Seen",
            date: None,
            body,
        });
        imap.append("INBOX", &appends.collect::<Vec<_>>());
    }
    world.sync(&["-u", "anne"]);
    let mut sums = [(0.0, 0.0, 0.0); 2];
    let rounds = 2;
    for round in 0..rounds {
        // The order changes, so that neither has the warmer cache each time.
        let mut order = [(0, C), (1, ours.as_str())];
        if round % 2 == 1 {
            order.reverse();
        }
        for (who, program) in order {
            let target = world.target(&["anne"]);
            let (wall, own, server) = measure(&world, &target, program);
            eprintln!(
                "{} round {round}: {wall:.2} s, CPU {own:.2} s, server's CPU {server:.2} s",
                ["C", "ours"][who]
            );
            sums[who] = (sums[who].0 + wall, sums[who].1 + own, sums[who].2 + server);
            let count = target.imap("anne").messages("INBOX").len();
            assert!(count >= octets / 20_000, "{count}");
        }
    }
    let [c, ours] = sums;
    eprintln!(
        "{octets} octets: wall ours/C {:.2}, CPU ours/C {:.2}; the server's share of ours {:.0} %",
        ours.0 / c.0,
        ours.1 / c.1,
        100.0 * ours.2 / (ours.1 + ours.2)
    );
}

/// Wall clock, CPU of the program, CPU of the server.
fn measure(world: &World, target: &Source, program: &str) -> (f64, f64, f64) {
    let server = format!("127.0.0.1:{}", target.sync_port());
    let before = children();
    let servers = group_cpu(target.master_pid());
    let start = Instant::now();
    let mut command = world.backup.instance.command(program);
    command.args([&server, "anne", "user/anne"]);
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let wall = start.elapsed().as_secs_f64();
    assert!(status.success());
    (
        wall,
        children() - before,
        group_cpu(target.master_pid()) - servers,
    )
}

/// CPU seconds of children that ended.
fn children() -> f64 {
    let usage =
        nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// CPU seconds of a process group that lives.
fn group_cpu(group: u32) -> f64 {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        if fields.get(2) == Some(&group.to_string().as_str()) {
            // utime, stime, and those of children that ended.
            ticks += fields[11..15]
                .iter()
                .map(|n| n.parse::<u64>().unwrap_or(0))
                .sum::<u64>();
        }
    }
    ticks as f64 / 100.0
}

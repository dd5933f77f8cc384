//! Connections that wait: rolling sync_clients of a fleet, at night.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::Result;

use crate::Bench;
use crate::measure::Sample;
use crate::processes;
use crate::report::Row;
use crate::rig::{BackupServer, Csync, Engine};

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.pick(100, 500);
    let ours = hold(bench, Engine::Ours, count)?;
    let theirs = hold(bench, Engine::C, count)?;
    let mut row = Row::new(
        format!("{count} idle logins, memory"),
        "C backupd",
        None,
        (vec![ours], vec![theirs]),
    );
    // Of this row the memory is what counts; it stands where others have their time.
    row.wanted = None;
    Ok(vec![row])
}

fn hold(bench: &Bench, engine: Engine, count: usize) -> Result<Sample> {
    let mut server = BackupServer::new(bench.cyrus);
    // They all come from one address here.
    let mut conf = OpenOptions::new()
        .append(true)
        .open(server.instance.conf())?;
    writeln!(conf, "backup_max_per_address: {}", count + 1)?;
    let port = server.start(engine);
    let started = std::time::Instant::now();
    let held: Vec<Csync> = (0..count).map(|_| Csync::login(port)).collect();
    let wall = started.elapsed().as_secs_f64();
    let peak = processes::memory(server.root_pid())?;
    drop(held);
    Ok(Sample {
        wall,
        peak: Some(peak),
        ..Sample::default()
    })
}

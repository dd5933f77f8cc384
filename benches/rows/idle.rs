//! Connections that wait: rolling sync_clients of a fleet, at night.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::Result;

use crate::Bench;
use crate::measure::{Sample, in_turn};
use crate::processes;
use crate::report::{Figure, Row};
use crate::rig::{BackupServer, Csync, Engine};

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.pick(100, 500);
    let samples = in_turn(
        bench.patience,
        || hold(bench, Engine::Ours, count),
        || hold(bench, Engine::C, count),
    )?;
    let row = Row::new(
        format!("{count} logins, then idle"),
        "C backupd",
        None,
        samples,
    );
    Ok(vec![row.wanting(Figure::Memory, Some(0.05))])
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

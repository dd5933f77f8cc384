//! A fleet that comes back all at once: sessions that are open together, each replicating a user of its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;

use crate::Bench;
use crate::measure::{Sample, in_turn};
use crate::processes;
use crate::report::Row;
use crate::rig::{BackupServer, Crowd, Engine};

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.pick(200, 1000);
    let mut slowest = (Vec::new(), Vec::new());
    let mut median = (Vec::new(), Vec::new());
    let whole = in_turn(
        bench.patience,
        || run(bench, Engine::Ours, count, &mut median.0, &mut slowest.0),
        || run(bench, Engine::C, count, &mut median.1, &mut slowest.1),
    )?;
    let row = |work: &str, samples| {
        Row::new(
            format!("{count} sessions at once{work}"),
            "C backupd",
            None,
            samples,
        )
    };
    Ok(vec![
        row(", all of it", whole),
        row(", half of the answers within", median),
        row(", 99 % of the answers within", slowest),
    ])
}

fn run(
    bench: &Bench,
    engine: Engine,
    count: usize,
    median: &mut Vec<Sample>,
    slowest: &mut Vec<Sample>,
) -> Result<Sample> {
    let mut server = BackupServer::new(bench.cyrus);
    // They all come from one address here.
    let mut conf = OpenOptions::new()
        .append(true)
        .open(server.instance.conf())?;
    writeln!(
        conf,
        "backup_max_connections: {0}\nbackup_max_per_address: {0}",
        count + 10
    )?;
    let port = server.start(engine);
    let crowd = Crowd::login(port, count);
    let pid = server.root_pid();
    let (cpu, begun) = (processes::cpu(pid)?, Instant::now());
    let mut peak = processes::memory(pid)?;
    // A look at a thousand processes takes time from them: only now and then.
    let mut looked = Instant::now();
    let latencies = crowd.replicate(|| {
        if looked.elapsed().as_secs() >= 2 {
            peak = processes::memory(pid).unwrap_or(0.0).max(peak);
            looked = Instant::now();
        }
    });
    let wall = begun.elapsed().as_secs_f64();
    let within = |share| Sample {
        wall: latencies.within(share).as_secs_f64(),
        ..Sample::default()
    };
    median.push(within(0.5));
    slowest.push(within(0.99));
    // A single process tells its true peak.
    if engine == Engine::Ours {
        peak = processes::peak(pid)?;
    }
    Ok(Sample {
        wall,
        cpu: Some(processes::cpu(pid)? - cpu),
        peak: Some(peak),
        disk: None,
    })
}

//! What sync_client sends the first time, to an empty server: over one connection, and over eight.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::Bench;
use crate::corpus::Corpus;
use crate::limits::Needs;
use crate::measure::{Sample, in_turn};
use crate::processes;
use crate::recording::Recording;
use crate::report::{Figure, Row, size};
use crate::rig::{BackupServer, Engine};

/// What DESIGN wants of one connection.
const WANTED: Option<f64> = Some(0.35);

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let one = record(1, bench.pick(1_500, 16_000))?;
    let eight = record(8, bench.pick(200, 2_000))?;
    Ok(vec![
        row(bench, &one, "one connection", WANTED)?,
        row(bench, &eight, "8 connections", None)?,
    ])
}

/// The largest user, in a full run.
pub fn large(bench: &Bench) -> Result<Vec<Row>> {
    if bench.pick(true, false) {
        return Ok(Vec::new());
    }
    let user = record(1, 100_000)?;
    let row = row(bench, &user, "a user of 100,000 messages", WANTED)?;
    Ok(vec![row])
}

fn row(bench: &Bench, streams: &[Recording], what: &str, wanted: Option<f64>) -> Result<Row> {
    let octets: u64 = streams.iter().map(Recording::octets).sum();
    let work = format!("ingest {}, {what}", size(octets as f64));
    let side = |engine| move || ingest(bench, engine, streams);
    let samples = in_turn(bench.patience, side(Engine::Ours), side(Engine::C))?;
    // Each message is hashed as a GUID, and as a part of the chunk.
    let needs = Needs {
        deflated: octets,
        hashed: 2 * octets,
        ..Needs::default()
    };
    let row = Row::new(work, "C backupd", wanted, samples).wanting(Figure::Disk, Some(1.0));
    Ok(row.beside_limit(&bench.limits, needs))
}

fn record(users: usize, messages: usize) -> Result<Vec<Recording>> {
    let dir = tempfile::tempdir()?;
    let mut corpus = Corpus::new(users as u64);
    (0..users)
        .map(|number| {
            let (user, maildir) = (format!("user{number}"), dir.path().join(number.to_string()));
            corpus.write_user(&maildir, messages)?;
            Recording::of(&user, &maildir)
        })
        .collect()
}

/// A new server each time, since only the first time is like the first time.
fn ingest(bench: &Bench, engine: Engine, streams: &[Recording]) -> Result<Sample> {
    let mut server = BackupServer::new(bench.cyrus);
    let port = server.start(engine);
    let pid = server.root_pid();
    let before = processes::cpu(pid)?;
    let started = Instant::now();
    let ended: Vec<Result<_>> = std::thread::scope(|scope| {
        let running: Vec<_> = streams
            .iter()
            .map(|stream| scope.spawn(|| stream.replay(port)))
            .collect();
        running
            .into_iter()
            .map(|one| {
                one.join()
                    .unwrap_or_else(|_| anyhow::bail!("a client panicked"))
            })
            .collect()
    });
    let wall = started.elapsed().as_secs_f64();
    ended.into_iter().collect::<Result<Vec<_>>>()?;
    let (cpu, peak) = (processes::cpu(pid)? - before, processes::peak(pid)?);
    server.stop();
    let disk = octets_below(&server.instance.dir().join("part"))? as f64;
    Ok(Sample {
        wall,
        cpu: Some(cpu),
        peak: Some(peak),
        disk: Some(disk),
    })
}

fn octets_below(dir: &Path) -> Result<u64> {
    let mut octets = 0;
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        octets += match entry.metadata()? {
            meta if meta.is_dir() => octets_below(&entry.path())?,
            // The index is apart: what is compared is the bytes that grow with the mail.
            _ if entry.path().extension().is_some_and(|end| end == "index") => 0,
            meta => meta.len(),
        };
    }
    Ok(octets)
}

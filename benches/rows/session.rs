//! GET USER and EXIT: what each night costs for a user to whom nothing happened, by the size of his backup.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::Bench;
use crate::backup::Made;
use crate::measure::{Sample, in_turn};
use crate::recording::Recording;
use crate::report::{Row, size};
use crate::rig::{BackupServer, Engine};
use cyrusbackup::store::layout;

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    // Chunks and messages in each: 22 MB, 200 MB and 2 GiB.
    let backups = bench.pick(
        vec![(20, 8, None), (200, 8, None)],
        vec![(100, 8, None), (2_000, 11, None), (29_500, 8, Some(0.01))],
    );
    backups
        .into_iter()
        .map(|(chunks, per_chunk, wanted)| row(bench, chunks, per_chunk, wanted))
        .collect()
}

fn row(bench: &Bench, chunks: usize, per_chunk: usize, wanted: Option<f64>) -> Result<Row> {
    let made = bench.shelf.get(chunks, per_chunk)?;
    let ours = serve(bench, Engine::Ours, &made)?;
    let theirs = serve(bench, Engine::C, &made)?;
    let look = Recording::of_a_look("anne");
    let samples = in_turn(bench.patience, || ask(&ours, &look), || ask(&theirs, &look))?;
    let work = format!(
        "session (GET USER, EXIT), backup of {}",
        size(made.length as f64)
    );
    Ok(Row::new(work, "C backupd", wanted, samples))
}

/// A server on which this is the backup of anne.
pub fn serve(bench: &Bench, engine: Engine, made: &Made) -> Result<BackupServer> {
    let mut server = BackupServer::new(bench.cyrus);
    // C's server makes its own entry in backups.db; then the data comes in under that name.
    let port = server.start(Engine::C);
    let look = Recording::of_a_look("anne");
    look.replay(port)?;
    server.stop();
    let path = server.data_file("anne");
    for (from, to) in [
        (made.path.clone(), path.clone()),
        (layout::index(&made.path), layout::index(&path)),
    ] {
        std::fs::copy(&from, &to).with_context(|| to.display().to_string())?;
    }
    server.start(engine);
    // The first brings the file into the page cache.
    ask(&server, &look)?;
    Ok(server)
}

/// How long that takes.
pub fn ask(server: &BackupServer, what: &Recording) -> Result<Sample> {
    // C lets go of its lock some time after it has said goodbye.
    std::thread::sleep(Duration::from_millis(100));
    let wall = what.replay(server.port())?.as_secs_f64();
    Ok(Sample {
        wall,
        ..Sample::default()
    })
}

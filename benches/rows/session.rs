//! GET USER and EXIT: what each night costs for a user to whom nothing happened, by the size of his backup.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::Bench;
use crate::backup;
use crate::measure::{Sample, in_turn};
use crate::recording::Recording;
use crate::report::{Row, size};
use crate::rig::{BackupServer, Engine};
use cyrusbackup::store::layout;

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let chunks = bench.pick(vec![20, 200], vec![100, 2_000, 20_000]);
    let most = chunks.iter().copied().max();
    chunks
        .into_iter()
        .map(|chunks| {
            let wanted = (Some(chunks) == most && chunks == 20_000).then_some(0.01);
            row(bench, chunks, wanted)
        })
        .collect()
}

fn row(bench: &Bench, chunks: usize, wanted: Option<f64>) -> Result<Row> {
    let mut ours = BackupServer::new(bench.cyrus);
    let mut theirs = BackupServer::new(bench.cyrus);
    let made = backup::make(&ours.instance, 3, "made", chunks, 8)?;
    // C's server makes its own entry in backups.db; then the data comes in under that name.
    for (server, engine) in [(&mut ours, Engine::C), (&mut theirs, Engine::C)] {
        let port = server.start(engine);
        Recording::of_a_look("anne").replay(port)?;
        server.stop();
        let path = server.data_file("anne");
        for (from, to) in [
            (made.path.clone(), path.clone()),
            (layout::index(&made.path), layout::index(&path)),
        ] {
            std::fs::copy(&from, &to).with_context(|| to.display().to_string())?;
        }
    }
    let ports = (ours.start(Engine::Ours), theirs.start(Engine::C));
    let look = Recording::of_a_look("anne");
    let sample = |port| {
        // C lets go of its lock some time after it has said goodbye.
        std::thread::sleep(Duration::from_millis(100));
        let wall = look.replay(port)?.as_secs_f64();
        Ok(Sample {
            wall,
            ..Sample::default()
        })
    };
    // The first brings the file into the page cache for both.
    sample(ports.0)?;
    sample(ports.1)?;
    let samples = in_turn(bench.patience, || sample(ports.0), || sample(ports.1))?;
    let work = format!(
        "session (GET USER, EXIT), backup of {}",
        size(made.length as f64)
    );
    Ok(Row::new(work, "C backupd", wanted, samples))
}

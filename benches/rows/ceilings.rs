//! What this machine can do at most: one core inflating, hashing, beside the whole program doing it. Deflating has its
//! own table, [`super::compression`].

use std::time::Instant;

use anyhow::Result;
use flate2::read::MultiGzDecoder;
use sha1::{Digest, Sha1};

use crate::Bench;
use crate::measure::{Sample, in_turn, run};
use crate::report::{Row, size};
use crate::rig::our_binary;

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let instance = bench.shelf.instance();
    let made = bench.shelf.get(bench.pick(200, 2_000), 8)?;
    let file = std::fs::read(&made.path)?;
    let what = size(made.length as f64);
    let mut verify = || {
        run(instance
            .command(our_binary("ctl_backups"))
            .args(["verify", "-f"])
            .arg(&made.path))
    };
    let mut rows = Vec::new();
    let mut beside = |rival, limit: &dyn Fn() -> Result<()>| -> Result<()> {
        let samples = in_turn(bench.patience, &mut verify, || timed(limit))?;
        rows.push(Row::new(
            format!("ctl_backups verify, {what}"),
            rival,
            None,
            samples,
        ));
        Ok(())
    };
    beside("inflate, one core", &|| {
        Ok(std::io::copy(&mut MultiGzDecoder::new(&file[..]), &mut std::io::sink()).map(drop)?)
    })?;
    beside("SHA-1 of the file, one core", &|| {
        std::hint::black_box(Sha1::digest(&file));
        Ok(())
    })?;
    Ok(rows)
}

fn timed(work: impl Fn() -> Result<()>) -> Result<Sample> {
    let started = Instant::now();
    work()?;
    Ok(Sample {
        wall: started.elapsed().as_secs_f64(),
        ..Sample::default()
    })
}

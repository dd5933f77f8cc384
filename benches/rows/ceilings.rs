//! What this machine can do at most: one core deflating, inflating, hashing, beside the whole program doing it.

use std::io::Read;
use std::time::Instant;

use anyhow::Result;
use flate2::Compression;
use flate2::read::{GzEncoder, MultiGzDecoder};
use sha1::{Digest, Sha1};

use crate::Bench;
use crate::backup;
use crate::corpus::Corpus;
use crate::measure::{Sample, in_turn, run};
use crate::report::{Row, size};
use crate::rig::{Instance, our_binary};

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let instance = Instance::new(bench.cyrus, "bench", "backuppartition-default: @B@/part\n");
    let made = backup::make(&instance, 4, "made", bench.pick(200, 2_000), 8)?;
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
    rows.push(deflate(bench)?);
    Ok(rows)
}

/// Our level beside level 9, for what a better one would cost.
fn deflate(bench: &Bench) -> Result<Row> {
    let mut corpus = Corpus::new(5);
    let mail: Vec<u8> = (0..bench.pick(800, 8_000))
        .flat_map(|_| corpus.message())
        .collect();
    let at = |level| {
        let mail = &mail;
        move || {
            let started = Instant::now();
            let mut packed = Vec::new();
            GzEncoder::new(&mail[..], Compression::new(level)).read_to_end(&mut packed)?;
            let wall = started.elapsed().as_secs_f64();
            Ok(Sample {
                wall,
                disk: Some(packed.len() as f64),
                ..Sample::default()
            })
        }
    };
    let samples = in_turn(bench.patience, at(6), at(9))?;
    Ok(Row::new(
        format!("deflate {} at level 6", size(mail.len() as f64)),
        "level 9",
        None,
        samples,
    ))
}

fn timed(work: impl Fn() -> Result<()>) -> Result<Sample> {
    let started = Instant::now();
    work()?;
    Ok(Sample {
        wall: started.elapsed().as_secs_f64(),
        ..Sample::default()
    })
}

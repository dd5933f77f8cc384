//! What the level, the library and the flush points cost, on one stream of mail: each beside what C does, zlib at
//! level 6 without a flush (Debian's zlib, by way of Python). The disk ratio is that of the deflated octets.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Bench;
use crate::corpus::Corpus;
use crate::measure::{Sample, in_turn};
use crate::report::{Row, size};

/// Of a level and nothing else; then level 6 with a full flush every so many kilobytes.
const LEVELS: [u32; 5] = [1, 3, 4, 6, 9];
const SPACINGS: [usize; 4] = [16, 64, 256, 1024];
/// What we write: one flush when so many kilobytes are together.
const OURS: usize = 64;

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut corpus = Corpus::new(5);
    let mail: Vec<u8> = (0..bench.pick(800, 5_000))
        .flat_map(|_| corpus.message())
        .collect();
    let what = size(mail.len() as f64);
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &mail)?;
    let zlib = || debian_zlib(file.path());
    let mut rows = Vec::new();
    let mut row = |work: String, ours: &dyn Fn() -> Result<Sample>| -> Result<()> {
        let samples = in_turn(bench.patience, ours, zlib)?;
        rows.push(Row::new(work, "zlib, level 6, no flush", None, samples));
        Ok(())
    };
    for level in LEVELS {
        row(format!("deflate {what}: zlib-rs, level {level}"), &|| {
            Ok(deflated(&mail, level, mail.len()))
        })?;
    }
    row(format!("deflate {what}: miniz_oxide, level 6"), &|| {
        let started = Instant::now();
        let packed = miniz_oxide::deflate::compress_to_vec(&mail, 6);
        Ok(sample(started, packed.len()))
    })?;
    for spacing in SPACINGS {
        let work = format!("deflate {what}: zlib-rs, level 6, a flush every {spacing} kB");
        row(work, &|| Ok(deflated(&mail, 6, spacing << 10)))?;
    }
    for spacing in SPACINGS.into_iter().filter(|spacing| *spacing != OURS) {
        rows.push(reaching(bench, &mail, spacing)?);
    }
    Ok(rows)
}

/// Inflating up to a random octet from the flush before it: this spacing beside ours.
fn reaching(bench: &Bench, mail: &[u8], spacing: usize) -> Result<Row> {
    let side = |spacing: usize| {
        let pieces = pieces(mail, 6, spacing << 10);
        let mut place = 0;
        move || {
            let started = Instant::now();
            for _ in 0..50 {
                place = (place + 104_729 * 8) % mail.len();
                let (piece, within) = (place / (spacing << 10), place % (spacing << 10));
                let mut out = vec![0; within + 1];
                Decompress::new(false).decompress(
                    &pieces[piece],
                    &mut out,
                    FlushDecompress::None,
                )?;
                anyhow::ensure!(out[within] == mail[place], "octet {place}");
            }
            Ok(Sample {
                wall: started.elapsed().as_secs_f64() / 50.0,
                ..Sample::default()
            })
        }
    };
    let samples = in_turn(bench.patience, side(spacing), side(OURS))?;
    let work = format!("reaching a random octet, a flush every {spacing} kB");
    Ok(Row::new(work, "every 64 kB", None, samples))
}

/// What lies between two flushes.
fn pieces(mail: &[u8], level: u32, spacing: usize) -> Vec<Vec<u8>> {
    let mut compress = Compress::new(Compression::new(level), false);
    let piece = |octets: &[u8]| {
        let mut out = Vec::with_capacity(octets.len() + 4096);
        let (before, mut done) = (compress.total_in(), 0);
        while done < octets.len() || out.len() == out.capacity() {
            out.reserve(4096);
            // Deflating from memory into memory fails for no data.
            if compress
                .compress_vec(&octets[done..], &mut out, FlushCompress::Full)
                .is_err()
            {
                break;
            }
            done = (compress.total_in() - before) as usize;
        }
        out
    };
    mail.chunks(spacing).map(piece).collect()
}

fn deflated(mail: &[u8], level: u32, spacing: usize) -> Sample {
    let started = Instant::now();
    let octets = pieces(mail, level, spacing).iter().map(Vec::len).sum();
    sample(started, octets)
}

fn sample(started: Instant, octets: usize) -> Sample {
    Sample {
        wall: started.elapsed().as_secs_f64(),
        disk: Some(octets as f64),
        ..Sample::default()
    }
}

/// The zlib that C is linked with, and its own time: starting Python does not count.
fn debian_zlib(file: &std::path::Path) -> Result<Sample> {
    let script = "import sys, time, zlib; mail = open(sys.argv[1], 'rb').read(); t = time.perf_counter()\n\
                  print(len(zlib.compress(mail, 6)), time.perf_counter() - t)";
    let said = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .output()
        .context("python3")?;
    let text = String::from_utf8(said.stdout)?;
    let (octets, seconds) = text.trim().split_once(' ').context("two figures")?;
    Ok(Sample {
        wall: seconds.parse()?,
        disk: Some(octets.parse()?),
        ..Sample::default()
    })
}

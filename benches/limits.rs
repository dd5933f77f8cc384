//! What one core of this machine needs for the octets of a row if it did nothing but inflate, deflate and hash them, with
//! the libraries that the product uses: how far each row is from what can be had at all.

use std::io::{Read, Write};
use std::time::Instant;

use anyhow::Result;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha1::{Digest, Sha1};

use crate::corpus::Corpus;

/// Octets of mail to measure with, at least.
const SAMPLE: usize = 16 << 20;
/// The fastest of so many: a limit is not an average.
const TRIES: usize = 3;

/// Seconds for each octet.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    inflate: f64,
    deflate: f64,
    sha1: f64,
}

/// What nobody who does the work of a row can leave out, in octets of what comes in or out of it uncompressed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    pub inflated: u64,
    pub deflated: u64,
    pub hashed: u64,
}

impl Limits {
    /// Of this machine, now.
    pub fn measure() -> Result<Limits> {
        let mut corpus = Corpus::new(11);
        let mut mail = Vec::new();
        while mail.len() < SAMPLE {
            mail.extend(corpus.message());
        }
        let deflate = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
            encoder.write_all(&mail)?;
            encoder.finish()
        };
        let packed = deflate()?;
        let octets = mail.len() as f64;
        Ok(Limits {
            deflate: fastest(|| deflate().map(drop))? / octets,
            inflate: fastest(|| {
                let mut out = vec![0; 64 << 10];
                let mut decoder = GzDecoder::new(&packed[..]);
                while decoder.read(&mut out)? > 0 {}
                Ok(())
            })? / octets,
            sha1: fastest(|| {
                std::hint::black_box(Sha1::digest(&mail));
                Ok(())
            })? / octets,
        })
    }

    /// Seconds of one core.
    pub fn seconds(&self, needs: Needs) -> f64 {
        self.inflate * needs.inflated as f64
            + self.deflate * needs.deflated as f64
            + self.sha1 * needs.hashed as f64
    }

    /// Megabytes a second, for people.
    pub fn line(&self) -> String {
        let speed = |seconds: f64| 1e-6 / seconds;
        format!(
            "limits of one core: inflate {:.0} MB/s, deflate (level 6) {:.0} MB/s, SHA-1 {:.0} MB/s",
            speed(self.inflate),
            speed(self.deflate),
            speed(self.sha1)
        )
    }
}

fn fastest(work: impl Fn() -> std::io::Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let started = Instant::now();
        work()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

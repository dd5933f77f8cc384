//! Figures: what one run cost, the same two things in turn, medians and their spread.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// What one run cost. What could not be measured is None.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seconds on the clock.
    pub wall: f64,
    /// Seconds of CPU, user and system.
    pub cpu: Option<f64>,
    /// Most memory held, octets.
    pub peak: Option<f64>,
    /// Octets on disk afterwards.
    pub disk: Option<f64>,
}

/// Smallest, middle and largest of several.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// None without figures.
    pub fn of(figures: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Some(Spread {
            min: *figures.first()?,
            median: figures[figures.len() / 2],
            max: *figures.last()?,
        })
    }
}

/// How often to measure.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Pairs of runs.
    pub runs: usize,
    /// No further pair begins after so long; there is always one.
    pub at_most: Duration,
}

/// Runs both in turn, A B A B.
pub fn in_turn(
    patience: Patience,
    mut ours: impl FnMut() -> Result<Sample>,
    mut rival: impl FnMut() -> Result<Sample>,
) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let started = Instant::now();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    while a.is_empty() || (a.len() < patience.runs && started.elapsed() < patience.at_most) {
        a.push(ours()?);
        b.push(rival()?);
    }
    Ok((a, b))
}

/// Runs a program to its end; any other exit code than 0 is an error.
pub fn run(command: &mut Command) -> Result<Sample> {
    let said = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?);
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let (status, usage) = wait(child.id())?;
    let wall = started.elapsed().as_secs_f64();
    let said = std::io::read_to_string({
        let mut said = said;
        std::io::Seek::rewind(&mut said)?;
        said
    })?;
    anyhow::ensure!(status.success(), "{command:?}: {status}: {said}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Sample {
        wall,
        cpu: Some(seconds(usage.ru_utime) + seconds(usage.ru_stime)),
        peak: Some(usage.ru_maxrss as f64 * 1024.0),
        disk: None,
    })
}

/// Waits for a child, and learns what it used.
fn wait(pid: u32) -> Result<(std::process::ExitStatus, libc::rusage)> {
    let mut status = 0;
    // SAFETY: all zeros is a valid rusage, and both pointers are to live locals.
    let (reaped, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let reaped = libc::wait4(pid.cast_signed(), &raw mut status, 0, &raw mut usage);
        (reaped, usage)
    };
    anyhow::ensure!(
        reaped == pid.cast_signed(),
        "wait4: {}",
        std::io::Error::last_os_error()
    );
    Ok((std::process::ExitStatus::from_raw(status), usage))
}

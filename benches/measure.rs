//! Figures: what one run cost, the same two things in turn, medians and their spread.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::ptrace;
use nix::unistd::Pid;
use serde::Serialize;

use crate::processes;

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
    run_within(command, None).map(|(sample, _)| sample)
}

/// The same, but it is killed after `limit`: true, and the sample says what it had cost until then.
pub fn run_within(command: &mut Command, limit: Option<Duration>) -> Result<(Sample, bool)> {
    let said = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?);
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let killer = limit.map(|limit| {
        std::thread::spawn(move || {
            // It is not reaped before `ended` is dropped, so the process id is still its own.
            let late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            late && nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok()
        })
    });
    let waited = wait(pid, ended);
    let stopped = killer.is_some_and(|killer| killer.join().unwrap_or(false));
    let Ended {
        status,
        usage,
        peak,
    } = waited?;
    let wall = started.elapsed().as_secs_f64();
    let said = std::io::read_to_string({
        let mut said = said;
        std::io::Seek::rewind(&mut said)?;
        said
    })?;
    anyhow::ensure!(status.success() || stopped, "{command:?}: {status}: {said}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let sample = Sample {
        wall,
        cpu: Some(seconds(usage.ru_utime) + seconds(usage.ru_stime)),
        peak,
        disk: None,
    };
    Ok((sample, stopped))
}

struct Ended {
    status: std::process::ExitStatus,
    usage: libc::rusage,
    /// Most memory held, octets.
    peak: Option<f64>,
}

/// Waits for a child, and learns what it used; `ended` is dropped when it has ended.
///
/// `ru_maxrss` starts with what this process had when it forked. VmHWM is the child's own, but gone when it
/// can be waited for; so the child stops once on its way out (PTRACE_O_TRACEEXIT) and is looked at then.
fn wait(pid: Pid, ended: Sender<()>) -> Result<Ended> {
    // One that is faster than this has no figure.
    let seized = ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACEEXIT).is_ok();
    let mut peak = None;
    loop {
        // Without reaping, so that nobody kills another process by this id.
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the pointer is to a live local of the right type.
        let waited = unsafe {
            let options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
            libc::waitid(
                libc::P_PID,
                pid.as_raw().cast_unsigned(),
                info.as_mut_ptr(),
                options,
            )
        };
        anyhow::ensure!(waited == 0, "waitid: {}", std::io::Error::last_os_error());
        // SAFETY: waitid has filled it.
        let code = unsafe { info.assume_init() }.si_code;
        if !seized || [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED].contains(&code) {
            drop(ended);
            let (status, usage) = reap(pid)?;
            return Ok(Ended {
                status,
                usage,
                peak,
            });
        }
        let (status, _) = wait4(pid)?;
        let signal = match status >> 8 {
            event if event == libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8 => {
                peak = processes::high_water(pid.as_raw().cast_unsigned());
                None
            }
            // Any other event of ptrace, else a signal that it is to get.
            event if event >> 8 != 0 => None,
            signal => nix::sys::signal::Signal::try_from(signal).ok(),
        };
        // It may have been killed meanwhile.
        let _ = ptrace::cont(pid, signal);
    }
}

fn reap(pid: Pid) -> Result<(std::process::ExitStatus, libc::rusage)> {
    let (status, usage) = wait4(pid)?;
    Ok((std::process::ExitStatus::from_raw(status), usage))
}

fn wait4(pid: Pid) -> Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: all zeros is a valid rusage, and both pointers are to live locals.
    let (reaped, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let reaped = libc::wait4(pid.as_raw(), &raw mut status, 0, &raw mut usage);
        (reaped, usage)
    };
    anyhow::ensure!(
        reaped == pid.as_raw(),
        "wait4: {}",
        std::io::Error::last_os_error()
    );
    Ok((status, usage))
}

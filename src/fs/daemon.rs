//! From the command to the daemon that serves the mount: the command returns when the mount can be
//! used, or with the reason why it cannot. Forks before there is any thread.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

/// How long a mount that was told to end may still answer those who use it.
const GRACE: Duration = Duration::from_secs(10);

/// First byte on the pipe.
const READY: u8 = b'+';

/// Which process this is after [`split`].
#[derive(Debug)]
pub enum Side {
    /// The command: what the daemon said, an error text if it failed.
    Command(Result<(), String>),
    /// The daemon.
    Daemon(Ready),
}

/// The daemon's way to say that the mount can be used, or why not.
#[derive(Debug)]
pub struct Ready {
    pipe: Option<File>,
}

/// Splits off the daemon. In the command this returns when the daemon has spoken or died.
///
/// # Errors
/// pipe(2) or fork(2) failed.
pub fn split() -> io::Result<Side> {
    let (reader, writer) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: called from main before any thread exists, so no lock can be held by one.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => {
            drop(writer);
            listen(File::from(reader)).map(Side::Command)
        }
        ForkResult::Child => {
            drop(reader);
            setsid()?;
            // A session leader could get a controlling terminal; its child cannot.
            // SAFETY: as above.
            if let ForkResult::Parent { .. } = unsafe { fork() }? {
                std::process::exit(0);
            }
            let pipe = Some(File::from(writer));
            Ok(Side::Daemon(Ready { pipe }))
        }
    }
}

fn listen(mut pipe: File) -> io::Result<Result<(), String>> {
    let mut said = Vec::new();
    pipe.read_to_end(&mut said)?;
    Ok(match said.split_first() {
        Some((&READY, _)) => Ok(()),
        Some(_) => Err(String::from_utf8_lossy(&said).into_owned()),
        None => Err("the daemon died before the mount was ready".to_owned()),
    })
}

impl Ready {
    /// For a mount that stays in the foreground: nobody waits.
    pub fn foreground() -> Ready {
        Ready { pipe: None }
    }

    /// The mount can be used: lets go of the terminal and the directory, then tells the command.
    ///
    /// # Errors
    /// `/dev/null` or `/` cannot be opened.
    pub fn done(self) -> io::Result<()> {
        let Some(mut pipe) = self.pipe else {
            return Ok(());
        };
        std::env::set_current_dir("/")?;
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        pipe.write_all(&[READY])
    }

    /// There will be no mount. Returns the text if nobody waits for it.
    pub fn failed(self, text: String) -> Result<(), String> {
        match self.pipe {
            Some(mut pipe) => {
                // The command may have been killed; then nobody is left to hear it.
                let _ = pipe.write_all(text.as_bytes());
                Ok(())
            }
            None => Err(text),
        }
    }
}

/// Keeps SIGTERM, SIGINT and SIGHUP for [`on_signal`]. Call it before the first thread.
///
/// # Errors
/// sigprocmask(2) failed.
pub fn hold_signals() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

/// Calls `unmount` when a signal says that it is over, and ends the process if the mount is still
/// used some time later.
///
/// # Errors
/// No thread could be started.
pub fn on_signal(
    signals: SigSet,
    unmount: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let wait = move || {
        if let Ok(signal) = signals.wait() {
            tracing::info!("{signal}: unmounting");
            if let Err(e) = unmount() {
                tracing::error!("unmount: {e}");
            }
            thread::sleep(GRACE);
            tracing::warn!("still in use after {GRACE:?}, ending all the same");
            std::process::exit(0);
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(())
}

/// Allows as many open files as the system lets us have: a mount of all users keeps those it opened.
pub fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("limit of open files stays at {soft}: {e}");
    }
}

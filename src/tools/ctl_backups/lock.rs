//! `ctl_backups lock`: keeps everybody else out of a backup while something else is done with it
//! (spec: ondisk 7.3). What is said comes out at once, also into a pipe, so that a script can wait
//! for `OK locked`.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use super::options::{Options, WhileLocked};
use super::outcome::Outcome;
use crate::store::{Backup, Lock, layout};
use crate::tools::Site;
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;
use crate::tools::verification::{VerifyError, quick};

pub(super) fn one(
    options: &Options,
    _site: &Site,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    announce(options, target, terminal)?;
    let backup = match lock(options, target, terminal) {
        Ok(backup) => backup,
        Err(VerifyError::Print(error)) => return Err(error),
        Err(error) => {
            refuse(options, target, &error, terminal)?;
            return Ok(Outcome::Failed);
        }
    };
    let outcome = match &options.while_locked {
        WhileLocked::Pause => pause(terminal)?,
        WhileLocked::Sqlite => sqlite(target, terminal)?,
        WhileLocked::Execute(command) => {
            let mut shell = Command::new("/bin/sh");
            shell
                .arg("-c")
                .arg(command)
                .env("ctl_backups_lock_data_fname", &target.path)
                .env("ctl_backups_lock_index_fname", layout::index(&target.path));
            run(shell, terminal)?
        }
    };
    drop(backup);
    Ok(outcome)
}

/// Names on one line with what follows; stdout belongs to the child of `-s` and `-x`.
fn announce(options: &Options, target: &Target, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let (out, words): (&mut dyn io::Write, &str) = match options.while_locked {
        WhileLocked::Pause => (&mut *terminal.out, "* Trying to obtain lock on "),
        _ => (&mut *terminal.err, "trying to obtain lock on "),
    };
    out.write_all(words.as_bytes())?;
    out.write_all(target.name().as_bytes())?;
    writeln!(out, "...")?;
    out.flush()
}

fn lock(
    options: &Options,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> Result<Backup, VerifyError> {
    if options.create {
        Backup::create(&target.path)?;
    }
    let backup = Backup::open(&target.path, Lock::Exclusive { wait: options.wait })?;
    let printed: &mut dyn io::Write = match options.while_locked {
        WhileLocked::Pause => &mut *terminal.out,
        _ => &mut *terminal.err,
    };
    quick(&backup, 0, printed)?;
    Ok(backup)
}

fn refuse(
    options: &Options,
    target: &Target,
    error: &VerifyError,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    if options.while_locked == WhileLocked::Pause {
        writeln!(terminal.out, "NO failed ({error})")?;
        return terminal.out.flush();
    }
    terminal.err.write_all(b"unable to lock ")?;
    terminal.err.write_all(target.name().as_bytes())?;
    writeln!(terminal.err, ": {error}")
}

fn pause(terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
    writeln!(terminal.out, "OK locked")?;
    terminal.out.flush()?;
    // However standard input ends, the pause is over.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    Ok(Outcome::Good)
}

fn sqlite(target: &Target, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
    let index = layout::index(&target.path);
    terminal.err.write_all(b"execlp: sqlite3 ")?;
    terminal.err.write_all(index.as_os_str().as_bytes())?;
    writeln!(terminal.err)?;
    let mut sqlite = Command::new("sqlite3");
    sqlite.arg(index);
    run(sqlite, terminal)
}

fn run(mut command: Command, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
    terminal.out.flush()?;
    match command.status() {
        Ok(status) if status.success() => Ok(Outcome::Good),
        Ok(_) => Ok(Outcome::Failed),
        Err(error) => {
            let program = command.get_program().to_string_lossy().into_owned();
            writeln!(terminal.err, "{program}: {error}")?;
            Ok(Outcome::Failed)
        }
    }
}

//! What every tool does before and after its work: read imapd.conf, become the Cyrus user, set up
//! the terminal; print what went wrong, give the exit code (spec: ondisk 1.1, 7.0).

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Site;
use super::render::LocalTime;
use super::terminal::{Terminal, exit};
use super::zone;
use crate::config::{self, Config, identity};
use crate::select::Clock;
use crate::store::catalog::Catalog;

/// Runs `work` for the tool called `program` with the configuration in `file` (`-C`); the exit code.
pub fn start(
    program: &str,
    file: Option<&Path>,
    work: impl FnOnce(&Site, &mut Terminal<'_>) -> io::Result<u8>,
) -> u8 {
    let file = file.unwrap_or(Path::new(config::DEFAULT_PATH));
    let config = match Config::load(file, program) {
        Ok(config) => config,
        Err(error) => {
            say(format_args!("fatal error: {error}\n"));
            return error.exit_code();
        }
    };
    if let Err(error) = identity::assume(&config) {
        say(format_args!("fatal error: {error}\n"));
        return error.exit_code();
    }
    let site = Site {
        catalog: Catalog::new(&config.backup_db_path),
        namespace: config.namespace.clone(),
        clock: clock(),
        config,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut err = io::stderr();
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        time: LocalTime::new(site.clock.zone.clone()),
    };
    work(&site, &mut terminal).unwrap_or_else(|error| unwritten(program, &error))
}

/// Prints a text that was asked for, as `--help` does; the exit code.
pub fn print(program: &str, text: &str) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit::OK,
        Err(error) => unwritten(program, &error),
    }
}

/// Says something on standard error. Whoever cannot be told, since that is a full disk or closed too, has
/// the exit code.
pub fn say(text: impl std::fmt::Display) {
    let _ = write!(io::stderr(), "{text}");
}

fn unwritten(program: &str, error: &io::Error) -> u8 {
    // Nobody reads on: that needs no words.
    if error.kind() != io::ErrorKind::BrokenPipe {
        say(format_args!(
            "{program}: cannot write the output: {error}\n"
        ));
    }
    exit::FAILED
}

/// Reads a command line with clap; complaints and help are printed, and the exit code is the error.
pub fn command_line<T: clap::Parser>(words: &[OsString]) -> Result<T, u8> {
    let program = std::env::args_os().next().unwrap_or_default();
    let line = std::iter::once(program).chain(words.iter().cloned());
    T::try_parse_from(line).map_err(|error| explain(&error))
}

/// Prints what clap says, help or a complaint; the exit code.
pub fn explain(error: &clap::Error) -> u8 {
    match (error.print(), error.use_stderr()) {
        (_, true) => exit::USAGE,
        (Ok(()), false) => exit::OK,
        (Err(_), false) => exit::FAILED,
    }
}

/// The time at which the program started, and the zone of `TZ` or the system's.
fn clock() -> Clock {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Clock {
        now: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        zone: zone::local(),
    }
}

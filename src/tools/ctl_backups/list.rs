//! `ctl_backups list`: when each backup was last written to, how large it is, where it lies.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::options::Options;
use super::outcome::{Outcome, complain, read_lock};
use crate::store::{Backup, StoreError};
use crate::tools::Site;
use crate::tools::render::Json;
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;
use crate::tools::verification::{VerifyError, quick};

const UNKNOWN: &str = "[unknown]";

pub(super) fn one(
    options: &Options,
    _site: &Site,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    match look(options, target) {
        Ok(Some(line)) => {
            let print = if options.json {
                Line::print_json
            } else {
                Line::print
            };
            print(&line, target, terminal)?;
            Ok(Outcome::Good)
        }
        Ok(None) => Ok(Outcome::Good),
        Err(VerifyError::Print(error)) => Err(error),
        Err(VerifyError::Store(error)) => {
            complain(target, &error.explained(), terminal)?;
            Ok(Outcome::of(&error))
        }
        Err(error) => {
            complain(target, &error, terminal)?;
            Ok(Outcome::Failed)
        }
    }
}

/// What is listed about a backup.
struct Line {
    /// End of the latest chunk, unix seconds.
    end: Option<i64>,
    /// Bytes of the data file.
    bytes: u64,
}

/// None for a backup that `-t` leaves out.
fn look(options: &Options, target: &Target) -> Result<Option<Line>, VerifyError> {
    let backup = Backup::open(&target.path, read_lock(options))?;
    if !options.no_verify {
        // Nothing but the table goes to standard output, as in C: scripts parse it.
        quick(&backup, 0, &mut io::sink())?;
    }
    let line = line(&backup)?;
    let stale = options
        .stale_hours
        .is_none_or(|hours| is_stale(line.end, hours, now()));
    Ok(stale.then_some(line))
}

fn line(backup: &Backup) -> Result<Line, StoreError> {
    let last = backup.index().last_chunk()?;
    let end = last.map(|chunk| chunk.ts_end.unwrap_or(0));
    Ok(Line {
        end,
        bytes: backup.file_len(),
    })
}

/// Has nothing been written for so many hours? What was never written to is stale
/// (spec: ondisk 6.6).
fn is_stale(end: Option<i64>, hours: i64, now: i64) -> bool {
    end.is_none_or(|end| now.saturating_sub(end) >= hours.saturating_mul(3600))
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Line {
    fn time(&self, terminal: &Terminal<'_>) -> String {
        self.end
            .map_or_else(|| UNKNOWN.to_owned(), |end| terminal.time.show(end))
    }

    fn print(&self, target: &Target, terminal: &mut Terminal<'_>) -> io::Result<()> {
        let userid = target.userid.as_deref().unwrap_or(UNKNOWN);
        write!(
            terminal.out,
            "{}\t{}\t{userid}\t",
            self.time(terminal),
            self.bytes
        )?;
        terminal.out.write_all(target.path.as_os_str().as_bytes())?;
        writeln!(terminal.out)
    }

    fn print_json(&self, target: &Target, terminal: &mut Terminal<'_>) -> io::Result<()> {
        let object = Json::object()
            .with("timestamp", Json::text(self.time(terminal)))
            .with("compressed", Json::int(self.bytes))
            .with("userid", target.userid.as_deref().map(Json::text))
            .with("fname", Json::os_text(target.path.as_os_str()));
        writeln!(terminal.out, "{object}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_means_a_full_count_of_hours() {
        let now = 1_000_000;
        assert!(is_stale(Some(now - 3600), 1, now));
        assert!(!is_stale(Some(now - 3599), 1, now));
        assert!(is_stale(None, 1, now));
        assert!(is_stale(Some(now), -1, now));
    }
}

//! `ctl_backups stat`: sizes, and how much of a backup still counts (spec: ondisk 6.5).

use std::io;
use std::os::unix::ffi::OsStrExt;

use super::options::Options;
use super::outcome::{Outcome, complain, read_lock};
use crate::store::{Backup, ChunkRow};
use crate::tools::Site;
use crate::tools::render::{Json, percent};
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;
use crate::tools::verification::{VerifyError, quick};

const UNKNOWN: &str = "[unknown]";

pub(super) fn one(
    options: &Options,
    site: &Site,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    match look(options, site, target) {
        Ok(stat) if options.json => stat.print_json(target, terminal).map(|()| Outcome::Good),
        Ok(stat) => stat.print(target, terminal).map(|()| Outcome::Good),
        Err(VerifyError::Print(error)) => Err(error),
        Err(error) => {
            complain(target, &error, terminal)?;
            Ok(match &error {
                VerifyError::Store(error) => Outcome::of(error),
                _ => Outcome::Failed,
            })
        }
    }
}

struct Stat {
    compressed: u64,
    uncompressed: u64,
    compactable: u64,
    last: Option<ChunkRow>,
}

fn look(options: &Options, site: &Site, target: &Target) -> Result<Stat, VerifyError> {
    let backup = Backup::open(&target.path, read_lock(options))?;
    if !options.no_verify {
        quick(&backup, 0, &mut io::sink())?;
    }
    let index = backup.index();
    Ok(Stat {
        compressed: backup.file_len(),
        uncompressed: index.inflated_bytes()?,
        compactable: index.living_bytes(horizon(site).unwrap_or(-1))?,
        last: index.last_chunk()?,
    })
}

/// What was gone before then need not be kept; None: everything is kept.
pub(super) fn horizon(site: &Site) -> Option<i64> {
    let retention = i64::try_from(site.config.backup_retention?).ok()?;
    Some(site.clock.now.saturating_sub(retention))
}

impl Stat {
    fn ratio(&self, part: u64) -> f64 {
        100.0 * part as f64 / self.uncompressed as f64
    }

    fn time(&self, terminal: &Terminal<'_>, which: impl Fn(&ChunkRow) -> i64) -> String {
        let last = self.last.as_ref();
        last.map_or_else(
            || UNKNOWN.to_owned(),
            |chunk| terminal.time.show(which(chunk)),
        )
    }

    fn start(&self, terminal: &Terminal<'_>) -> String {
        self.time(terminal, |chunk| chunk.ts_start)
    }

    fn end(&self, terminal: &Terminal<'_>) -> String {
        self.time(terminal, |chunk| chunk.ts_end.unwrap_or(0))
    }

    fn print(&self, target: &Target, terminal: &mut Terminal<'_>) -> io::Result<()> {
        let (start, end) = (self.start(terminal), self.end(terminal));
        terminal.out.write_all(target.name().as_bytes())?;
        writeln!(
            terminal.out,
            "\t{}\t{}\t{}\t{}%\t{}%\t{start:>21}\t{end}",
            self.compressed,
            self.uncompressed,
            self.compactable,
            percent(self.ratio(self.compressed)),
            percent(self.ratio(self.compactable)),
        )
    }

    fn print_json(&self, target: &Target, terminal: &mut Terminal<'_>) -> io::Result<()> {
        let object = Json::object()
            .with("userid", target.userid.as_deref().map(Json::text))
            .with("fname", Json::os_text(target.path.as_os_str()))
            .with("compressed", Json::int(self.compressed))
            .with("uncompressed", Json::int(self.uncompressed))
            .with("compactable", Json::int(self.compactable))
            .with("compression_ratio", Json::real(self.ratio(self.compressed)))
            .with(
                "utilisation_ratio",
                Json::real(self.ratio(self.compactable)),
            )
            .with("last_start_time", Json::text(self.start(terminal)))
            .with("last_end_time", Json::text(self.end(terminal)));
        writeln!(terminal.out, "{object}")
    }
}

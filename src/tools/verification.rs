//! Verifying one backup and printing what comes of it; shared by `verify` and by the commands that
//! look at the last chunk first.

use std::io::{self, Write};
use std::ops::ControlFlow;

use indicatif::ProgressBar;

use super::render::{FindingPrinter, short};
use crate::store::verify::{Finding, Level, verify};
use crate::store::{Backup, StoreError};

/// How to verify all of a backup, and what to say about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verification {
    /// Which steps to name.
    pub(super) verbose: u8,
    /// Do not stop at the first bad chunk.
    pub(super) keep_going: bool,
    /// Say whose is what is damaged.
    pub(super) details: bool,
}

/// Why a verified backup is not good.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    /// The data is not what the index says; the findings were printed. The first in short.
    #[error("{0}")]
    Findings(&'static str, Vec<Finding>),
    /// It could not be verified.
    #[error("{}", .0.explained())]
    Store(#[from] StoreError),
    /// Printing failed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Verifies the last chunk, whose checksum covers the whole file.
pub(super) fn quick(backup: &Backup, verbose: u8, out: &mut dyn Write) -> Result<(), VerifyError> {
    let printer = FindingPrinter {
        verbose,
        keep_going: false,
        level: Level::Quick,
        details: false,
    };
    run(backup, printer, out, &ProgressBar::hidden())
}

impl Verification {
    /// Verifies everything; findings are printed on `out`.
    pub(super) fn run(
        &self,
        backup: &Backup,
        out: &mut dyn Write,
        bar: &ProgressBar,
    ) -> Result<(), VerifyError> {
        let printer = FindingPrinter {
            verbose: self.verbose,
            keep_going: self.keep_going,
            level: Level::Full,
            details: self.details,
        };
        bar.set_length(backup.file_len());
        let done = run(backup, printer, out, bar);
        bar.finish_and_clear();
        done
    }
}

fn run(
    backup: &Backup,
    printer: FindingPrinter,
    out: &mut dyn Write,
    bar: &ProgressBar,
) -> Result<(), VerifyError> {
    let mut all = Vec::new();
    let mut printed = Ok(());
    let late = verify(backup, printer.level, &|octets| bar.inc(octets), |report| {
        printed = bar.suspend(|| printer.print(&report, out));
        all.extend(report.findings);
        match printed.is_err() || !all.is_empty() && !printer.keep_going {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    printed?;
    bar.suspend(|| {
        late.iter()
            .try_for_each(|finding| printer.print_late(finding, out))
    })?;
    all.extend(late);
    match all.first().map(short) {
        None => Ok(()),
        Some(first) => Err(VerifyError::Findings(first, all)),
    }
}

//! Verifying one backup and printing what comes of it; shared by `verify` and by the commands that
//! look at the last chunk first.

use std::io::{self, Write};
use std::ops::ControlFlow;

use super::render::{FindingPrinter, Long, short};
use crate::store::verify::{Level, verify};
use crate::store::{Backup, StoreError};

/// How to verify and what to say about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verification {
    /// How much.
    pub(super) level: Level,
    /// Which steps to name.
    pub(super) verbose: u8,
    /// Do not stop at the first bad chunk.
    pub(super) keep_going: bool,
}

/// Why a verified backup is not good.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    /// The data is not what the index says; the findings were printed, this is the first in short.
    #[error("{0}")]
    Findings(&'static str),
    /// It could not be verified.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Printing failed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

impl Verification {
    /// Verifies; findings are printed on `out`.
    pub(super) fn run(&self, backup: &Backup, out: &mut dyn Write) -> Result<(), VerifyError> {
        let Verification {
            level,
            verbose,
            keep_going,
        } = *self;
        let printer = FindingPrinter {
            verbose,
            keep_going,
            level,
        };
        let mut first = None;
        let mut printed = Ok(());
        let late = verify(backup, level, |report| {
            printed = printer.print(&report, out);
            first = first.or(report.findings.first().map(short));
            match printed.is_err() || first.is_some() && !keep_going {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        printed?;
        for finding in &late {
            writeln!(out, "{}", Long(finding))?;
            first = first.or(Some(short(finding)));
        }
        first.map_or(Ok(()), |short| Err(VerifyError::Findings(short)))
    }
}

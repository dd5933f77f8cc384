//! What became of one backup, and what is said of it on the way.

use std::io;

use super::options::Options;
use crate::store::{Lock, StoreError};
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;

/// How it went with one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Failed,
    /// Somebody else holds it; no reason for `-S` to stop.
    Locked,
}

/// What `list`, `stat` and the like say about a backup that they could not look at.
pub(super) fn complain(
    target: &Target,
    error: &dyn std::fmt::Display,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    terminal.complain(target.name(), error)
}

impl Outcome {
    pub(super) fn of(error: &StoreError) -> Outcome {
        match error {
            StoreError::Locked { .. } => Outcome::Locked,
            _ => Outcome::Failed,
        }
    }
}

/// Read-only work goes along with other readers.
pub(super) fn read_lock(options: &Options) -> Lock {
    Lock::Shared { wait: options.wait }
}

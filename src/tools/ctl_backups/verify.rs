//! `ctl_backups verify`: is all of a backup readable, and is it what the index says?

use std::io;

use super::options::Options;
use super::{Outcome, read_lock, status};
use crate::store::Backup;
use crate::store::verify::Level;
use crate::tools::Site;
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;
use crate::tools::verification::{Verification, VerifyError};

pub(super) fn one(
    options: &Options,
    _site: &Site,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    let (outcome, status) = match check(options, target, terminal) {
        Ok(()) => (Outcome::Good, "ok".to_owned()),
        Err(VerifyError::Print(error)) => return Err(error),
        Err(VerifyError::Store(error)) if Outcome::of(&error) == Outcome::Locked => {
            (Outcome::Locked, "locked".to_owned())
        }
        Err(error) => (Outcome::Failed, format!("failed ({error})")),
    };
    status::print("verify", &status, options, target, terminal)?;
    Ok(outcome)
}

fn check(
    options: &Options,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> Result<(), VerifyError> {
    let backup = Backup::open(&target.path, read_lock(options))?;
    let Options {
        verbose,
        keep_going,
        ..
    } = *options;
    Verification {
        level: Level::Full,
        verbose,
        keep_going,
    }
    .run(&backup, terminal.out)
}

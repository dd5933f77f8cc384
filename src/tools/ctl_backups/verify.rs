//! `ctl_backups verify`: is all of a backup readable, and is it what the index says?

use std::io;

use super::options::Options;
use super::outcome::{Outcome, read_lock};
use super::status;
use crate::store::Backup;
use crate::tools::Site;
use crate::tools::render::{Json, detail_json, details};
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;
use crate::tools::verification::{Verification, VerifyError};

pub(super) fn one(
    options: &Options,
    _site: &Site,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    let checked = check(options, target, terminal);
    let damage = match &checked {
        Err(VerifyError::Findings(_, found)) => found.as_slice(),
        _ => &[],
    };
    let damage: Vec<Json> = details(damage).map(detail_json).collect();
    let (outcome, status) = match checked {
        Ok(()) => (Outcome::Good, "ok".to_owned()),
        Err(VerifyError::Print(error)) => return Err(error),
        Err(VerifyError::Store(error)) => status::failure(&error, target, terminal)?,
        Err(error) => (Outcome::Failed, format!("failed ({error})")),
    };
    status::print_with("verify", &status, damage, options, target, terminal)?;
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
    let bar = status::progress("verify", target);
    let verification = Verification {
        verbose,
        keep_going,
        details: !options.json,
    };
    verification.run(&backup, terminal.out, &bar)
}

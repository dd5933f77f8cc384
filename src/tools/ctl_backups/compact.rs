//! `ctl_backups compact`: gives back the room of what nobody can ask for any more
//! (spec: ondisk 6.4).

use std::io::{self, Write};

use super::options::Options;
use super::outcome::Outcome;
use super::stat::horizon;
use super::status;
use crate::store::compact::{Compact, Compacted, Plan, compact};
use crate::store::rewrite::Sizes;
use crate::tools::Site;
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;

pub(super) fn one(
    options: &Options,
    site: &Site,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    let config = &site.config;
    let how = Compact {
        wait: options.wait,
        force: options.force,
        horizon: horizon(site),
        sizes: Sizes {
            min: config.backup_compact_minsize.saturating_mul(1024),
            max: config.backup_compact_maxsize.saturating_mul(1024),
        },
        threshold: config.backup_compact_work_threshold,
        keep_previous: config.backup_keep_previous,
        now: site.clock.now,
    };
    let bar = status::progress("compact", target);
    let mut printed = Ok(());
    let mut show = |plan: &Plan| {
        if options.verbose > 0 && plan.needed {
            printed = print(plan, terminal.out);
        }
    };
    let done = compact(&target.path, &how, &mut show, &mut |at, all| {
        bar.set_length(all);
        bar.set_position(at);
    });
    bar.finish_and_clear();
    printed?;
    let (outcome, status) = match &done {
        Ok(Compacted::Done(_)) => (Outcome::Good, "ok".to_owned()),
        Ok(Compacted::Skipped) => (Outcome::Failed, "skipped".to_owned()),
        Err(error) => status::failure(error, target, terminal)?,
    };
    status::print("compact", &status, options, target, terminal)?;
    Ok(outcome)
}

fn print(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let kept = plan.kept();
    writeln!(out, "keeping {} chunks:", kept.len())?;
    for id in &kept {
        write!(out, " {id}")?;
    }
    writeln!(out)?;
    for (one, next) in plan.combined() {
        writeln!(out, "combining chunks {one} and {next}")?;
    }
    for id in plan.split() {
        writeln!(out, "splitting chunk {id}")?;
    }
    Ok(())
}

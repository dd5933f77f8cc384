//! `ctl_backups reindex`: a new index from the bytes of the data file (spec: ondisk 6.3).

use std::io::{self, Write};

use super::options::Options;
use super::outcome::Outcome;
use super::status;
use crate::store::rebuild::{Loss, Report};
use crate::store::reindex::{Reindex, reindex};
use crate::tools::Site;
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;

pub(super) fn one(
    options: &Options,
    site: &Site,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    let how = Reindex {
        wait: options.wait,
        dry_run: options.dry_run,
        keep_previous: site.config.backup_keep_previous.then_some(site.clock.now),
    };
    let bar = status::progress("reindex", target);
    bar.set_length(std::fs::metadata(&target.path).map_or(0, |meta| meta.len()));
    let done = reindex(&target.path, how, &mut |at| bar.set_position(at));
    bar.finish_and_clear();
    let (outcome, status) = match &done {
        Ok(report) => {
            tell(report, options, terminal.out)?;
            verdict(report, options)
        }
        Err(error) => status::failure(error, target, terminal)?,
    };
    status::print("reindex", &status, options, target, terminal)?;
    Ok(outcome)
}

fn verdict(report: &Report, options: &Options) -> (Outcome, String) {
    let damage = report.losses.iter().filter(|loss| loss.damage).count() as u64;
    let all = damage + report.more_losses;
    if all == 0 {
        return (Outcome::Good, "ok".to_owned());
    }
    let did = if options.dry_run { "can be" } else { "is" };
    let rest = format!(
        "{all} damaged, the rest {did} indexed: {} lines, {} messages in {} chunks",
        report.lines, report.messages, report.chunks
    );
    (Outcome::Failed, format!("failed ({rest})"))
}

fn tell(report: &Report, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if options.verbose > 0 {
        for start in &report.starts {
            writeln!(out, "\nfound chunk at offset {start}\n")?;
        }
        writeln!(out, "reached end of file")?;
    }
    for loss in &report.losses {
        if loss.damage || options.verbose > 0 {
            print_loss(loss, out)?;
        }
    }
    if report.more_losses > 0 {
        writeln!(out, "and {} more", report.more_losses)?;
    }
    Ok(())
}

fn print_loss(loss: &Loss, out: &mut dyn Write) -> io::Result<()> {
    let Loss {
        offset,
        byte,
        reason,
        ..
    } = loss;
    match (&loss.guid, loss.damage) {
        (Some(guid), _) => write!(out, "lost message {guid} in chunk")?,
        (None, true) => write!(out, "error reading chunk")?,
        (None, false) => write!(out, "passed over a line in chunk")?,
    }
    writeln!(out, " at offset {offset}, byte {byte}: {reason}")
}

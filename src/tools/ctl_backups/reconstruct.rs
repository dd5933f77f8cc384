//! `reconstruct`: backups.db from the files.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::own_args::Reconstruct;
use super::status;
use super::work::Work;
use crate::store::reconstruct::{Plan, Verdict, plan};
use crate::tools::render::Json;
use crate::tools::terminal::{Terminal, exit};
use crate::types::BackupKey;

pub(super) fn run(
    work: &Work<'_>,
    args: &Reconstruct,
    terminal: &mut Terminal<'_>,
) -> io::Result<u8> {
    let catalog = &work.administer.catalog;
    let partitions = &work.site.config.backup_partitions;
    if partitions.is_empty() {
        writeln!(
            terminal.err,
            "ctl_backups: no backuppartition-NAME in imapd.conf"
        )?;
        return Ok(exit::CONFIG);
    }
    let spinner = status::spinner("reconstruct");
    let mut files = 0_u64;
    let planned = plan(catalog, partitions, &work.site.namespace, &mut |_| {
        files += 1;
        spinner.set_message(format!("{files} files"));
    });
    spinner.finish_and_clear();
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => {
            writeln!(terminal.err, "ctl_backups: {}", error.detail())?;
            return Ok(exit::FAILED);
        }
    };
    let passed = match args.dry_run {
        true => Vec::new(),
        false => match plan.carry_out(catalog, work.site.clock.now) {
            Ok(passed) => passed,
            Err(error) => return work.no_catalog(&error, terminal),
        },
    };
    let passed: HashSet<BackupKey> = passed.into_iter().collect();
    for partition in &plan.vacant {
        let partition = partition.display();
        writeln!(terminal.err, "{partition} has no files: not mounted?")?;
    }
    match work.line.json {
        true => print_json(&plan, &passed, terminal)?,
        false => print(
            &plan,
            &passed,
            work.line.verbose > 0,
            args.dry_run,
            terminal,
        )?,
    }
    Ok(match plan.duplicates.is_empty() && passed.is_empty() {
        true => exit::OK,
        false => exit::FAILED,
    })
}

fn print(
    plan: &Plan,
    passed: &HashSet<BackupKey>,
    verbose: bool,
    dry_run: bool,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    let out = &mut *terminal.out;
    if let Some(reason) = &plan.unreadable {
        writeln!(out, "backups.db is written anew: {reason}")?;
    }
    let mut counts = [0usize; 4];
    for verdict in &plan.verdicts {
        let what = What::of(verdict);
        counts[what as usize] += 1;
        let Verdict {
            key,
            before,
            after,
            remark,
        } = verdict;
        if what == What::Kept && !verbose && remark.is_none() {
            continue;
        }
        let show = |path: &Option<std::path::PathBuf>| {
            path.as_deref()
                .map_or(String::new(), |path| format!(" {}", path.display()))
        };
        let places = match what {
            What::Kept | What::Added => show(after),
            What::Dropped => show(before),
            What::Changed => format!("{} ->{}", show(before), show(after)),
        };
        let remark = remark
            .as_deref()
            .map_or(String::new(), |r| format!(" ({r})"));
        let passed = match passed.contains(key) {
            true => " (left alone: somebody else has changed it meanwhile)",
            false => "",
        };
        writeln!(out, "{key}: {}{places}{remark}{passed}", what.word())?;
    }
    for duplicate in &plan.duplicates {
        let path = duplicate.path.display();
        writeln!(
            out,
            "{}: duplicate {path} (chosen: {})",
            duplicate.key, duplicate.chosen
        )?;
    }
    for stranger in &plan.strangers {
        writeln!(
            out,
            "stranger {} ({})",
            stranger.path.display(),
            stranger.reason
        )?;
    }
    let [kept, added, changed, dropped] = counts;
    let (duplicates, strangers) = (plan.duplicates.len(), plan.strangers.len());
    let would = if dry_run {
        " (nothing was changed)"
    } else {
        ""
    };
    writeln!(
        out,
        "reconstruct: {kept} kept, {added} added, {changed} changed, {dropped} dropped, \
         {duplicates} duplicates, {strangers} strangers{would}"
    )
}

fn print_json(
    plan: &Plan,
    passed: &HashSet<BackupKey>,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    let text = |path: &Path| Json::os_text(path.as_os_str());
    let entries = plan.verdicts.iter().map(|verdict| {
        let passed = passed.contains(&verdict.key).then(|| Json::text("yes"));
        Json::object()
            .with("userid", Json::text(verdict.key.as_str()))
            .with("verdict", Json::text(What::of(verdict).word()))
            .with("before", verdict.before.as_deref().and_then(text))
            .with("after", verdict.after.as_deref().and_then(text))
            .with("remark", verdict.remark.as_deref().map(Json::text))
            .with("changed meanwhile", passed)
    });
    let duplicates = plan.duplicates.iter().map(|duplicate| {
        Json::object()
            .with("userid", Json::text(duplicate.key.as_str()))
            .with("fname", text(&duplicate.path))
            .with("chosen", Json::text(duplicate.chosen.as_str()))
    });
    let strangers = plan.strangers.iter().map(|stranger| {
        Json::object()
            .with("fname", text(&stranger.path))
            .with("reason", Json::text(stranger.reason.as_str()))
    });
    let object = Json::object()
        .with("unreadable", plan.unreadable.as_deref().map(Json::text))
        .with("entries", Json::Array(entries.collect()))
        .with("duplicates", Json::Array(duplicates.collect()))
        .with("strangers", Json::Array(strangers.collect()));
    writeln!(terminal.out, "{object}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Kept,
    Added,
    Changed,
    Dropped,
}

impl What {
    fn of(verdict: &Verdict) -> What {
        match (&verdict.before, &verdict.after) {
            (before, after) if before == after => What::Kept,
            (None, _) => What::Added,
            (_, None) => What::Dropped,
            _ => What::Changed,
        }
    }

    fn word(self) -> &'static str {
        match self {
            What::Kept => "kept",
            What::Added => "added",
            What::Changed => "changed",
            What::Dropped => "dropped",
        }
    }
}

//! The tools on a backup of many chunks, and on one of a single large chunk.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Bench;
use crate::backup::{self, Made};
use crate::limits::Needs;
use crate::measure::{self, Sample, in_turn};
use crate::report::{Row, size};
use crate::rig::{Instance, our_binary};

/// Program, arguments with FILE and the message to be filled in, whether it changes the file, the ratio wanted of a full run.
struct Work {
    program: &'static str,
    args: &'static str,
    changes: bool,
    wanted: Option<f64>,
    /// C is stopped after so many seconds, in a small run after ten.
    limit: Option<u64>,
    /// What is special about it.
    note: &'static str,
    /// What has to be done with all of it.
    needs: fn(&Made) -> Needs,
}

pub fn looking(bench: &Bench) -> Result<Vec<Row>> {
    many_chunks(bench, &LOOKING)
}

pub fn verify(bench: &Bench) -> Result<Vec<Row>> {
    many_chunks(bench, &VERIFY)
}

pub fn rewriting(bench: &Bench) -> Result<Vec<Row>> {
    many_chunks(bench, &REWRITING)
}

pub fn one_chunk(bench: &Bench) -> Result<Vec<Row>> {
    let (chunks, per_chunk) = extent(bench);
    of_backup(bench, 1, chunks * per_chunk, "one chunk", &ONE_CHUNK)
}

fn many_chunks(bench: &Bench, works: &[Work]) -> Result<Vec<Row>> {
    let (chunks, per_chunk) = extent(bench);
    of_backup(bench, chunks, per_chunk, &format!("{chunks} chunks"), works)
}

/// Chunks, and messages in each: a full run's are 200 MB, and what they weigh as one chunk.
fn extent(bench: &Bench) -> (usize, usize) {
    bench.pick((200, 8), (2_000, 11))
}

fn of_backup(
    bench: &Bench,
    chunks: usize,
    per_chunk: usize,
    what: &str,
    works: &[Work],
) -> Result<Vec<Row>> {
    let instance = bench.shelf.instance();
    let made = bench.shelf.get(chunks, per_chunk)?;
    settle(instance, &made)?;
    let what = format!("{what} of {}", size(made.length as f64));
    let row = |work| row(bench, instance, &made, work, &what);
    works.iter().map(row).collect()
}

/// Sessions leave a file that our tools know to be as they left it; making it in memory and copying it has undone
/// that. The index says the same afterwards.
fn settle(instance: &Instance, made: &Made) -> Result<()> {
    let mut command = instance.command(our_binary("ctl_backups"));
    measure::run(command.args(["reindex", "-f"]).arg(&made.path)).map(drop)
}

const LOOKING: [Work; 7] = [
    look("ctl_backups", "list -f FILE", None),
    look("ctl_backups", "stat -f FILE", Some(0.02)),
    touched(look("ctl_backups", "stat -f FILE", None)),
    look("cyr_backup", "-f FILE list mailboxes", None),
    look("cyr_backup", "-f FILE dump message FIRST", None),
    look("cyr_backup", "-f FILE dump message RANDOM", None),
    look("cyr_backup", "-f FILE dump message LAST", None),
];

const VERIFY: [Work; 1] = [whole(look("ctl_backups", "verify -f FILE", Some(0.01)))];

const REWRITING: [Work; 2] = [
    whole(change("ctl_backups", "reindex -f FILE", Some(0.02))),
    whole(change("ctl_backups", "compact -F -f FILE", Some(0.03))),
];

const ONE_CHUNK: [Work; 7] = [
    look("ctl_backups", "stat -f FILE", None),
    bounded(whole(look("ctl_backups", "verify -f FILE", None))),
    bounded(whole(change("ctl_backups", "reindex -f FILE", None))),
    bounded(whole(change("ctl_backups", "compact -F -f FILE", None))),
    look("cyr_backup", "-f FILE dump message FIRST", None),
    look("cyr_backup", "-f FILE dump message RANDOM", None),
    look("cyr_backup", "-f FILE dump message LAST", Some(0.01)),
];

/// C inflates one large chunk from its start again and again: it takes hours, and a minute is enough to see it.
const fn bounded(work: Work) -> Work {
    Work {
        limit: Some(60),
        ..work
    }
}

/// Every octet as it was before it was deflated, hashed as a part of its chunk and of its message; and the file.
fn all(made: &Made) -> Needs {
    Needs {
        inflated: made.mail,
        hashed: 2 * made.mail + made.length,
        ..Needs::default()
    }
}

/// A copy of the file, which our tools have not seen before.
const fn touched(work: Work) -> Work {
    Work {
        changes: true,
        note: " of a file from elsewhere",
        needs: |made| Needs {
            hashed: made.length,
            ..Needs::default()
        },
        ..work
    }
}

/// Goes through all of it.
const fn whole(work: Work) -> Work {
    Work { needs: all, ..work }
}

const fn look(program: &'static str, args: &'static str, wanted: Option<f64>) -> Work {
    Work {
        program,
        args,
        changes: false,
        wanted,
        limit: None,
        note: "",
        needs: |_| Needs::default(),
    }
}

const fn change(program: &'static str, args: &'static str, wanted: Option<f64>) -> Work {
    Work {
        program,
        args,
        changes: true,
        wanted,
        limit: None,
        note: "",
        needs: |_| Needs::default(),
    }
}

fn row(bench: &Bench, instance: &Instance, made: &Made, work: &Work, what: &str) -> Result<Row> {
    let ours = || {
        let command = || instance.command(our_binary(work.program));
        side(instance, made, work, None, command).map(|(sample, _)| sample)
    };
    let mut stopped = "";
    let theirs = || {
        let command = || instance.program(work.program);
        let limit = work
            .limit
            .map(|full| Duration::from_secs(bench.pick(10, full)));
        let (sample, late) = side(instance, made, work, limit, command)?;
        stopped = if late { " (C did not end)" } else { stopped };
        Ok(sample)
    };
    let samples = in_turn(bench.patience, ours, theirs)?;
    let name = format!(
        "{} {}{}, {what}{stopped}",
        work.program,
        work.args.replace("-f FILE ", "").replace(" -f FILE", ""),
        work.note
    );
    // What is wanted, DESIGN says of a full run.
    let wanted = work.wanted.filter(|_| bench.pick(false, true));
    let row = Row::new(name, "C", wanted, samples);
    let needs = (work.needs)(made);
    Ok(match needs.inflated + needs.hashed {
        0 => row,
        _ => row.beside_limit(&bench.limits, needs),
    })
}

fn side(
    instance: &Instance,
    made: &Made,
    work: &Work,
    limit: Option<Duration>,
    command: impl Fn() -> Command,
) -> Result<(Sample, bool)> {
    let copied = work
        .changes
        .then(|| backup::copy(instance, made, "copied"))
        .transpose()?;
    let path = copied.as_deref().unwrap_or(&made.path);
    let sample = measure::run_within(command().args(arguments(work.args, path, made)?), limit)?;
    if let Some(copied) = &copied {
        backup::remove(copied)?;
    }
    Ok(sample)
}

fn arguments(args: &str, path: &Path, made: &Made) -> Result<Vec<String>> {
    let (first, last) = (
        made.guids.first().context("a message")?,
        made.guids.last().context("a message")?,
    );
    let words = args.split(' ').map(|word| match word {
        "FILE" => path.display().to_string(),
        "FIRST" => first.to_string(),
        "LAST" => last.to_string(),
        // The same for both sides, and nowhere special.
        "RANDOM" => made.guids[made.guids.len() * 619 / 1000].to_string(),
        word => word.to_owned(),
    });
    Ok(words.collect())
}

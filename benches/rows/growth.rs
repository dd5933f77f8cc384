//! Whether cost grows with the backup as it should: each work on a backup beside the same on one of a tenth of its
//! messages. What reads everything may take as many times as long as there is more, what opens and appends no longer.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::session::{ask, serve};
use crate::Bench;
use crate::backup::{self, Made};
use crate::measure::{self, Patience, Sample, in_turn};
use crate::recording::Recording;
use crate::report::{Row, size};
use crate::rig::{Engine, our_binary};

/// How the time of a work may grow.
#[derive(Clone, Copy)]
enum Growth {
    /// With the messages, or the octets where those are more times as many: one message may be of 20 MB.
    Linear,
    /// Not at all.
    None,
}

/// A figure's own spread.
const SPREAD: f64 = 1.25;
const RIVAL: &str = "ours, a tenth of the messages";

/// Program, arguments, whether it changes the file, how it may grow.
const WORKS: [(&str, &str, bool, Growth); 7] = [
    ("ctl_backups", "stat", false, Growth::Linear),
    ("ctl_backups", "verify", false, Growth::Linear),
    ("ctl_backups", "reindex", true, Growth::Linear),
    ("ctl_backups", "compact -F", true, Growth::Linear),
    (
        "cyr_backup",
        "find --subject barometer",
        false,
        Growth::Linear,
    ),
    ("cyr_backup", "list mailboxes", false, Growth::None),
    ("cyr_backup", "dump message", false, Growth::None),
];

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let chunks = bench.pick(vec![20, 200], vec![200, 2_000, 20_000]);
    let mut rows = Vec::new();
    for pair in chunks.windows(2) {
        let (small, large) = (bench.shelf.get(pair[0], 8)?, bench.shelf.get(pair[1], 8)?);
        for (program, args, changes, growth) in WORKS {
            let side = |made: &Made| run(bench, made, program, args, changes);
            let samples = in_turn(patience(bench), || side(&large), || side(&small))?;
            let work = format!("{program} {args}, {}", sizes(&small, &large));
            let wanted = growth.limit(&small, &large);
            rows.push(Row::new(work, RIVAL, Some(wanted), samples));
        }
        rows.extend(sessions(bench, &small, &large)?);
        rows.push(mounting(bench, &small, &large)?);
    }
    Ok(rows)
}

/// Opening alone, and opening with something to append.
fn sessions(bench: &Bench, small: &Made, large: &Made) -> Result<Vec<Row>> {
    let (small_one, large_one) = (
        serve(bench, Engine::Ours, small)?,
        serve(bench, Engine::Ours, large)?,
    );
    let sessions = [
        ("GET USER", Recording::of_a_look("anne")),
        ("APPLY SUB", Recording::of_a_subscription("anne")),
    ];
    let wanted = Growth::None.limit(small, large);
    let row = |(name, recording): (&str, Recording)| {
        let samples = in_turn(
            bench.patience,
            || ask(&large_one, &recording),
            || ask(&small_one, &recording),
        )?;
        let work = format!("session ({name}), {}", sizes(small, large));
        Ok(Row::new(work, RIVAL, Some(wanted), samples))
    };
    sessions.into_iter().map(row).collect()
}

/// From the command to its end: the mount is ready then. It has read the list of the chunks, and nothing in them.
fn mounting(bench: &Bench, small: &Made, large: &Made) -> Result<Row> {
    let dir = bench.shelf.instance().dir().join("growth-mount");
    std::fs::create_dir_all(&dir)?;
    let side = |made: &Made| -> Result<Sample> {
        let mut command = Command::new(our_binary("mount-cyrusbackup"));
        command.arg(format!("file:{}", made.path.display()));
        let sample = measure::run(command.arg(&dir).args(["-o", "lock=none"]))?;
        measure::run(Command::new("umount").arg(&dir))?;
        Ok(sample)
    };
    let samples = in_turn(bench.patience, || side(large), || side(small))?;
    let wanted = Growth::Linear.limit(small, large);
    let work = format!("mount, {}", sizes(small, large));
    Ok(Row::new(work, RIVAL, Some(wanted), samples))
}

fn run(bench: &Bench, made: &Made, program: &str, args: &str, changes: bool) -> Result<Sample> {
    let instance = bench.shelf.instance();
    let copied = changes
        .then(|| backup::copy(instance, made, "grown"))
        .transpose()?;
    let path: &Path = copied.as_deref().unwrap_or(&made.path);
    let mut command = instance.command(our_binary(program));
    match program {
        "ctl_backups" => command.args(args.split(' ')).arg("-f").arg(path),
        _ => command.arg("-f").arg(path).args(args.split(' ')),
    };
    if args == "dump message" {
        command.arg(made.guids[made.guids.len() / 2].to_string());
    }
    let sample = measure::run(&mut command)?;
    if let Some(copied) = &copied {
        backup::remove(copied)?;
    }
    Ok(sample)
}

impl Growth {
    /// The ratio that is wanted.
    fn limit(self, small: &Made, large: &Made) -> f64 {
        let messages = large.guids.len() as f64 / small.guids.len() as f64;
        let octets = large.length as f64 / small.length as f64;
        match self {
            Growth::Linear => (SPREAD * messages.max(octets)).round(),
            Growth::None => SPREAD,
        }
    }
}

fn sizes(small: &Made, large: &Made) -> String {
    let [small, large] = [small, large].map(|made| size(made.length as f64));
    format!("{large} beside {small}")
}

/// The largest takes half a minute each time; three show a line.
fn patience(bench: &Bench) -> Patience {
    Patience {
        runs: bench.patience.runs.min(3),
        ..bench.patience
    }
}

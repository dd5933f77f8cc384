//! `make bench`: the product beside C's programs on the same input, in turn, in one table.
//!
//! ```text
//! cargo bench --bench system -- [--size small|full] [--only NAME] [--runs N] [--json FILE]
//! ```
//!
//! Data lies on a real disk (`BENCH_DIR`, else /var/tmp), since syncing to a tmpfs costs nothing. Both
//! sides get the same octets; figures are of whole processes. It judges nothing: a row that misses what DESIGN
//! wants says so, and the exit code stays 0.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the rig panics when its servers do not start"
)]

mod backup;
mod corpus;
mod limits;
mod measure;
mod processes;
mod push_maildir;
mod recording;
mod report;
#[path = "../tests/rig/mod.rs"]
mod rig;
mod rows;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use measure::Patience;
use report::Row;
use rig::Cyrus;

/// Measures the programs beside C's.
#[derive(Parser)]
struct Arguments {
    /// small: some minutes, for a look and for CI. full: what docs/PERFORMANCE.md shows.
    #[arg(long, value_enum, default_value_t = Size::Small)]
    size: Size,
    /// Only the groups whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Pairs of runs for each row.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// No further pair begins after so many seconds for one row: 600, or 6 of a small run.
    #[arg(long)]
    seconds: Option<u64>,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What `cargo bench` always says.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// For a look, and for CI.
    Small,
    /// What DESIGN speaks of.
    Full,
}

/// What every group of rows is given.
pub struct Bench {
    /// The rival.
    pub cyrus: Cyrus,
    /// How much data.
    pub size: Size,
    /// How often.
    pub patience: Patience,
    /// What this machine can do at most.
    pub limits: limits::Limits,
    /// Backups that several groups read.
    pub shelf: backup::Shelf,
}

impl Bench {
    /// The first for a small run, the second for a full one.
    pub fn pick<T>(&self, small: T, full: T) -> T {
        match self.size {
            Size::Small => small,
            Size::Full => full,
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Some(cyrus) = Cyrus::find() else {
        return Ok(());
    };
    let dir =
        std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RIG_DIR", &dir) };
    let patience = Patience {
        runs: arguments.runs.max(1),
        at_most: Duration::from_secs(arguments.seconds.unwrap_or(match arguments.size {
            Size::Small => 6,
            Size::Full => 600,
        })),
    };
    let bench = Bench {
        cyrus,
        size: arguments.size,
        patience,
        limits: limits::Limits::measure()?,
        shelf: backup::Shelf::new(cyrus),
    };
    let mut rows = Vec::new();
    for (name, group) in rows::GROUPS {
        if arguments
            .only
            .as_deref()
            .is_none_or(|only| name.contains(only))
        {
            eprintln!("{name} …");
            let more = group(&bench).with_context(|| name)?;
            eprint!("{}", report::table(&more));
            rows.extend(more);
        }
    }
    anyhow::ensure!(!rows.is_empty(), "no group is called {:?}", arguments.only);
    println!("{}", report::table(&rows));
    println!("{}", bench.limits.line());
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_vec_pretty::<Vec<Row>>(&rows)?)
            .with_context(|| file.display().to_string())?;
    }
    let missed: usize = rows.iter().map(Row::missed).sum();
    println!(
        "{} passed, 0 failed ({missed} wanted figures missed)",
        rows.len()
    );
    Ok(())
}

//! All of a user into the same real sync_server, by C's restore and by ours.

use anyhow::Result;

use crate::Bench;
use crate::backup::{self, Made};
use crate::limits::Needs;
use crate::measure::{self, Sample, in_turn};
use crate::report::{Row, size};
use crate::rig::{Instance, PASSWORD, Source, our_binary};

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let options = format!(
        "backuppartition-default: @B@/part\nsync_authname: admin\nsync_password: {PASSWORD}\n"
    );
    let instance = Instance::new(bench.cyrus, "bench", &options);
    let made = backup::make(&instance, 7, "anne", bench.pick(100, 2_000), 8)?;
    let ours = || restore(bench, &instance, &made, our_binary("restore"));
    let theirs = || restore(bench, &instance, &made, "/usr/lib/cyrus/bin/restore");
    let samples = in_turn(bench.patience, ours, theirs)?;
    let work = format!(
        "restore {} messages, {}",
        made.guids.len(),
        size(made.length as f64)
    );
    let needs = Needs {
        inflated: made.mail,
        hashed: made.mail,
        ..Needs::default()
    };
    let row = Row::new(work, "C restore", Some(1.0), samples);
    Ok(vec![row.beside_limit(&bench.limits, needs)])
}

/// Into a new server each time: what is there already is sent by neither.
fn restore(bench: &Bench, instance: &Instance, made: &Made, program: &str) -> Result<Sample> {
    let target = Source::start_target(bench.cyrus);
    target.instance.add_password("anne", PASSWORD);
    let server = format!("127.0.0.1:{}", target.sync_port());
    let mut command = instance.command(program);
    let sample = measure::run(
        command
            .arg(&server)
            .arg("-f")
            .arg(&made.path)
            .arg("user/anne"),
    )?;
    let there = target.imap("anne").messages("INBOX").len();
    anyhow::ensure!(
        there > 0,
        "{program} says it has restored, and nothing is there"
    );
    Ok(sample)
}

//! The mount beside the same files on the disk, both with nothing cached, and one message beside C's way to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::Bench;
use crate::backup::{self, Made};
use crate::limits::Needs;
use crate::measure::{self, Patience, Sample, in_turn};
use crate::report::{Row, size};
use crate::rig::{Instance, our_binary};

/// What is done below a directory (`sh -c`, in it), and the ratio wanted.
const WORK: [(&str, &str, Option<f64>); 4] = [
    // Not to /dev/null: GNU tar would see that and read nothing.
    ("tar", "tar cf - mailboxes | cat >/dev/null", Some(2.0)),
    ("cp -a", "cp -a mailboxes \"$OUT\"", None),
    ("find -ls", "find mailboxes -ls >/dev/null", None),
    (
        "grep -r",
        "grep -rc barometer mailboxes >/dev/null || true",
        None,
    ),
];
/// Random messages read one after the other.
const READS: usize = 100;

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let instance = Instance::new(bench.cyrus, "bench", "backuppartition-default: @B@/part\n");
    let made = backup::make(&instance, 6, "anne", bench.pick(250, 2_500), 8)?;
    let what = format!(
        "{} messages, {}",
        made.guids.len(),
        size(made.length as f64)
    );
    let plain = instance.dir().join("plain");
    fs::create_dir(&plain)?;
    {
        let mounted = Mounted::new(&instance, &made.path)?;
        measure::run(
            Command::new("cp")
                .arg("-a")
                .arg(mounted.dir.join("mailboxes"))
                .arg(&plain),
        )?;
    }
    let mut rows = Vec::new();
    for (name, script, wanted) in WORK {
        let ours = || {
            drop_caches()?;
            let mounted = Mounted::new(&instance, &made.path)?;
            in_directory(&instance, &mounted.dir, script)
        };
        let theirs = || {
            drop_caches()?;
            in_directory(&instance, &plain, script)
        };
        let samples = in_turn(bench.patience, ours, theirs)?;
        let work = format!("mount: {name}, {what}");
        let row = Row::new(work, "ext4, cold", wanted, samples);
        let needs = Needs {
            inflated: made.mail,
            hashed: made.mail,
            ..Needs::default()
        };
        rows.push(match name {
            // Reads nothing.
            "find -ls" => row,
            _ => row.beside_limit(&bench.limits, needs),
        });
    }
    rows.push(random(&instance, &made, &what)?);
    Ok(rows)
}

/// Each pair is one message: through the mount, and by C's `cyr_backup dump message`.
fn random(instance: &Instance, made: &Made, what: &str) -> Result<Row> {
    drop_caches()?;
    let mounted = Mounted::new(instance, &made.path)?;
    let mails = files(&mounted.dir.join("mailboxes"))?;
    let mut place = 0;
    let mut next = || {
        place += 7919;
        place
    };
    let ours = || {
        let started = Instant::now();
        fs::read(&mails[next() % mails.len()])?;
        Ok(Sample {
            wall: started.elapsed().as_secs_f64(),
            ..Sample::default()
        })
    };
    let mut number = 0;
    let theirs = || {
        number += 7919;
        let guid = made.guids[number % made.guids.len()].to_string();
        let mut command = instance.program("cyr_backup");
        let mut sample = measure::run(
            command
                .arg("-f")
                .arg(&made.path)
                .args(["dump", "message", &guid]),
        )?;
        (sample.cpu, sample.peak) = (None, None);
        Ok(sample)
    };
    let patience = Patience {
        runs: READS,
        at_most: std::time::Duration::from_secs(120),
    };
    let samples = in_turn(patience, ours, theirs)?;
    Ok(Row::new(
        format!("mount: one random message, {what}"),
        "C cyr_backup dump",
        None,
        samples,
    ))
}

fn in_directory(instance: &Instance, dir: &Path, script: &str) -> Result<Sample> {
    let out = instance.dir().join("out");
    fs::create_dir(&out)?;
    let sample = measure::run(
        Command::new("sh")
            .args(["-c", script])
            .current_dir(dir)
            .env("OUT", &out),
    );
    fs::remove_dir_all(&out)?;
    let mut sample = sample?;
    // The daemon's share would be missing.
    (sample.cpu, sample.peak) = (None, None);
    Ok(sample)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Forgets what the kernel has read.
fn drop_caches() -> Result<()> {
    nix::unistd::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("/proc/sys/vm/drop_caches")
}

/// A data file, mounted until this is dropped.
struct Mounted {
    dir: PathBuf,
}

impl Mounted {
    fn new(instance: &Instance, data: &Path) -> Result<Mounted> {
        let dir = instance.dir().join("mnt");
        fs::create_dir_all(&dir)?;
        let spec = format!("file:{}", data.display());
        // C's tools look into the same file meanwhile.
        let options = format!("config={},lock=none", instance.conf().display());
        measure::run(
            Command::new(our_binary("mount-cyrusbackup"))
                .args([spec.as_ref(), dir.as_os_str()])
                .args(["-o", &options]),
        )?;
        Ok(Mounted { dir })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = measure::run(Command::new("umount").arg(&self.dir)) {
            eprintln!("{error:#}");
        }
    }
}

//! What running servers use: their CPU and memory, of a process and of all that it has started.

use std::fs;

use anyhow::{Context, Result};

/// Fields of /proc/PID/stat behind the name (proc_pid_stat(5)): parent, then user, system, and those of reaped children.
const PARENT: usize = 1;
const TIMES: std::ops::Range<usize> = 11..15;

/// A process and its living descendants.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended since has no parent any more.
        if let Ok(fields) = stat(child) {
            parents.push((child, fields[PARENT] as u32));
        }
    }
    let mut family = vec![pid];
    let mut place = 0;
    while let Some(&parent) = family.get(place) {
        family.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(child, _)| *child),
        );
        place += 1;
    }
    Ok(family)
}

/// Seconds of CPU that a family has used, its dead included.
pub fn cpu(pid: u32) -> Result<f64> {
    let mut ticks = 0;
    for pid in family(pid)? {
        ticks += stat(pid).map_or(0, |fields| fields[TIMES].iter().sum());
    }
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("CLK_TCK")?;
    Ok(ticks as f64 / per_second as f64)
}

/// Octets of memory that a family has for itself: shared pages count for each a part.
pub fn memory(pid: u32) -> Result<f64> {
    let mut kilobytes = 0.0;
    for pid in family(pid)? {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            continue;
        };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line
            .and_then(|line| line.split_whitespace().next())
            .context("Pss")?;
        kilobytes += number.parse::<f64>()?;
    }
    Ok(kilobytes * 1024.0)
}

/// Most memory that any one of a family has held so far, octets.
pub fn peak(pid: u32) -> Result<f64> {
    let mut most = 0.0_f64;
    for pid in family(pid)? {
        most = most.max(high_water(pid).unwrap_or(0.0));
    }
    Ok(most)
}

/// Most memory that one process has held so far, octets.
pub fn high_water(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn stat(pid: u32) -> Result<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("stat")?;
    Ok(fields
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect())
}

//! The command line tools beside C's: the same files, the same arguments, the same output and exit code. What
//! differs on purpose is named by its number in docs/DIFFERENCES.md and nothing else may differ.
//!
//! `fixtures` run on backups that C wrote; `damage` are those on which C loops, so only ours runs.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "cli/administer.rs"]
mod administer;
#[path = "cli/ctl_backups.rs"]
mod ctl_backups;
#[path = "cli/cyr_backup.rs"]
mod cyr_backup;
#[path = "cli/damage.rs"]
mod damage;
#[path = "cli/defects.rs"]
mod defects;
#[path = "cli/differences.rs"]
mod differences;
#[path = "cli/find.rs"]
mod find;
#[path = "cli/killed.rs"]
mod killed;
#[path = "cli/manual.rs"]
mod manual;
#[path = "cli/matrix.rs"]
mod matrix;
#[path = "cli/nobody_reads.rs"]
mod nobody_reads;
#[path = "cli/octets.rs"]
mod octets;
#[path = "cli/place.rs"]
mod place;
#[path = "cli/power_cut.rs"]
mod power_cut;
#[path = "cli/purge.rs"]
mod purge;
#[path = "cli/purge_damaged.rs"]
mod purge_damaged;
#[path = "cli/reconstruct.rs"]
mod reconstruct;
#[path = "cli/restore.rs"]
mod restore;
#[path = "rig/mod.rs"]
mod rig;
#[path = "cli/sample_names.rs"]
mod sample_names;
#[path = "cli/samples.rs"]
mod samples;
#[path = "cli/start.rs"]
mod start;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/whole_files.rs"]
mod whole_files;
#[path = "cli/written.rs"]
mod written;

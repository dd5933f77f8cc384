//! The arguments of the sub-commands that C does not have, read by clap; options may stand on both sides
//! of the sub-command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::select::SelectArgs;

/// A command line with one of our sub-commands.
#[derive(Debug, Parser)]
#[command(name = "ctl_backups", about = "Administers backups.", version)]
pub struct Line {
    /// Read the configuration from FILE
    #[arg(short = 'C', value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(short, long, global = true)]
    pub(super) json: bool,
    /// Say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Wait for backups that somebody else has locked
    #[arg(short, long = "wait-for-locks", global = true)]
    pub(super) wait: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the entries of backups.db from the files in the backup partitions
    ///
    /// Finds whose each file is by what is in it. Nothing but backups.db is changed: second backups
    /// of one user and files that are nobody's are reported. Safe beside a running backupd.
    Reconstruct(Reconstruct),
    /// Move backups to another partition
    ///
    /// Copies, compares, changes backups.db, removes the old files last.
    Move(Move),
    /// Give the backup of user OLD to user NEW
    ///
    /// The renaming is appended to the backup as a mail server says it, so earlier states keep the
    /// old names. NEW must not have a backup.
    Rename(Rename),
    /// Delete backups when the retention is over, or now
    Delete(Delete),
    /// Take messages out of a backup for good
    ///
    /// What the options select is gone afterwards, wherever in the backup it was: octets, records in
    /// every mailbox, earlier versions of the files. Prints a receipt in JSON. A message that is
    /// still on the mail server comes back with the next replication: delete it there first.
    /// A damaged backup is refused unless -F is given.
    Purge(Box<Purge>),
    /// Keep everything in these backups: compact, delete and purge refuse
    Hold(Hold),
    /// End a hold
    Unhold(Users),
}

#[derive(Debug, Args)]
pub(super) struct Reconstruct {
    /// Only say what would be done
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "ctl_backups move USER PARTITION\n       \
                            ctl_backups move --all-from PARTITION PARTITION")]
pub(super) struct Move {
    /// Whose backup, and the name of the new partition
    #[arg(value_names = ["USER", "PARTITION"], num_args = 1..=2, required = true)]
    pub(super) names: Vec<String>,
    /// All backups in this partition
    #[arg(long, value_name = "PARTITION")]
    pub(super) all_from: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rename {
    /// Whose backup it is
    pub(super) old: String,
    /// Whose it is to be
    pub(super) new: String,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Whose backups
    #[arg(value_name = "USER", required_unless_present_any = ["expired", "list"])]
    pub(super) users: Vec<String>,
    /// At once and for good, not when backup_retention is over
    #[arg(long, conflicts_with_all = ["undo", "expired"])]
    pub(super) now: bool,
    /// Take the mark for deletion away
    #[arg(long)]
    pub(super) undo: bool,
    /// Delete what was marked longer ago than backup_retention; for a nightly run
    #[arg(long, conflicts_with_all = ["undo", "users"])]
    pub(super) expired: bool,
    /// Show what is marked
    #[arg(long, conflicts_with_all = ["now", "undo", "users", "expired"])]
    pub(super) list: bool,
}

#[derive(Debug, Args)]
pub(super) struct Purge {
    /// Whose backup
    pub(super) user: String,
    /// Only say what would be taken out
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// What cannot be read goes too, and earlier versions of the files even when nothing is found
    #[arg(short = 'F', long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) select: SelectArgs,
}

#[derive(Debug, Args)]
pub(super) struct Hold {
    /// Whose backups
    #[arg(value_name = "USER", required_unless_present = "list")]
    pub(super) users: Vec<String>,
    /// Show what is on hold
    #[arg(long, conflicts_with_all = ["users", "reason"])]
    pub(super) list: bool,
    /// Said to whoever is refused
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub(super) reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Users {
    /// Whose backups
    #[arg(value_name = "USER", required = true)]
    pub(super) users: Vec<String>,
}

//! The sub-commands that C does not have: what an administrator does with whole backups beyond
//! looking at them. Their command line is read by clap; options may stand on both sides of the
//! sub-command.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::{purge, reconstruct, status, whole};
use crate::select::SelectArgs;
use crate::store::StoreError;
use crate::store::administer::Administer;
use crate::tools::Site;
use crate::tools::getopt::{self, Order};
use crate::tools::render::Json;
use crate::tools::terminal::{Terminal, exit};
use crate::types::BackupKey;

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
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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

const WORDS: [&str; 7] = [
    "reconstruct",
    "move",
    "rename",
    "delete",
    "purge",
    "hold",
    "unhold",
];

/// Whether this command line (without the program's name) has one of our sub-commands.
pub fn is_meant(words: &[OsString]) -> bool {
    let parsed = getopt::parse(super::options::OPTIONS, words.to_vec(), Order::Posix);
    let command = parsed
        .ok()
        .and_then(|parsed| parsed.operands.into_iter().next());
    command.is_some_and(|command| WORDS.iter().any(|word| command == *word))
}

/// Runs the command; the exit code.
///
/// # Errors
/// Printing failed.
pub fn run(line: &Line, site: &Site, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    let work = Work {
        line,
        site,
        administer: Administer {
            catalog: site.catalog.clone(),
            partitions: site
                .config
                .backup_partitions
                .iter()
                .map(|(_, path)| path.clone())
                .collect(),
            full_hash: site.config.fulldirhash,
            wait: line.wait,
        },
    };
    let code = match &line.command {
        Command::Reconstruct(args) => reconstruct::run(&work, args, terminal),
        Command::Move(args) => whole::relocate(&work, args, terminal),
        Command::Rename(args) => whole::rename(&work, args, terminal),
        Command::Delete(args) => whole::delete(&work, args, terminal),
        Command::Purge(args) => purge::run(&work, args, terminal),
        Command::Hold(args) => whole::hold(&work, args, terminal),
        Command::Unhold(args) => whole::unhold(&work, args, terminal),
    }?;
    terminal.out.flush()?;
    Ok(code)
}

/// A command at work.
pub(super) struct Work<'a> {
    pub(super) line: &'a Line,
    pub(super) site: &'a Site,
    pub(super) administer: Administer,
}

/// How it went with one backup: words for people, and whether it is good.
pub(super) type Outcome = Result<String, StoreError>;

impl Work<'_> {
    /// Does something to the backup of each of these users, says how it went, and gives the exit
    /// code.
    pub(super) fn each(
        &self,
        command: &str,
        users: &[String],
        terminal: &mut Terminal<'_>,
        mut work: impl FnMut(&BackupKey) -> Outcome,
    ) -> io::Result<u8> {
        let mut code = exit::OK;
        for (number, user) in users.iter().enumerate() {
            let good = match BackupKey::from_userid(user) {
                Ok(key) => {
                    let spinner = status::spinner(command);
                    spinner.set_message(format!("{user} ({} of {})", number + 1, users.len()));
                    let outcome = work(&key);
                    spinner.finish_and_clear();
                    self.one(command, &key, outcome, terminal)?
                }
                Err(error) => {
                    terminal.complain(user.as_ref(), format!("no user id: {error}"))?;
                    false
                }
            };
            if !good {
                code = exit::FAILED;
            }
        }
        Ok(code)
    }

    /// `COMMAND USER: STATUS` in the words of C's commands; true when it is good.
    pub(super) fn one(
        &self,
        command: &str,
        key: &BackupKey,
        outcome: Outcome,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<bool> {
        let good = outcome.is_ok();
        let status = match &outcome {
            Ok(words) => words.clone(),
            Err(StoreError::Missing { what }) if what == Path::new(key.as_str()) => {
                terminal.complain(key.as_str().as_ref(), "not found in backups.db")?;
                return Ok(false);
            }
            Err(StoreError::Locked { .. }) => "locked".to_owned(),
            Err(error) => format!("failed ({})", error.detail()),
        };
        match self.line.json {
            true => {
                let object = Json::object()
                    .with("command", Json::text(command))
                    .with("userid", Json::text(key.as_str()))
                    .with("status", Json::text(status));
                writeln!(terminal.out, "{object}")?;
            }
            false => writeln!(terminal.out, "{command} {key}: {status}")?,
        }
        Ok(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_commands_are_recognised() {
        for (line, ours) in [
            ("reconstruct", true),
            ("-C x -w move anne p", true),
            ("-v delete --now anne", true),
            ("list move", false),
            ("verify -u hold", false),
            ("", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(is_meant(&words), ours, "{line}");
        }
    }
}

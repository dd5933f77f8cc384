//! The sub-commands that C does not have, with options of their own behind the sub-command. What
//! stands before it is C's.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{Failure, Look, find, open, tar};
use crate::select::SelectArgs;
use crate::tools::Site;
use crate::tools::getopt::{self, Order};
use crate::tools::target::Mode;
use crate::tools::terminal::{Terminal, exit};

/// A command line with one of our sub-commands.
#[derive(Debug, Parser)]
#[command(name = "cyr_backup", about = "Looks into one backup.", version)]
pub struct Line {
    /// Read the configuration from FILE
    #[arg(short = 'C', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// BACKUP is the path of a data file
    #[arg(short, long, group = "mode")]
    filename: bool,
    /// BACKUP is the name of a mailbox
    #[arg(short, long, group = "mode")]
    mailbox: bool,
    /// BACKUP is a user id (default)
    #[arg(short, long, group = "mode")]
    userid: bool,
    /// The backup as it was at TIME: 2026-10-01, 2026-10-01T09:30, yesterday, 3d (ago)
    #[arg(long, value_name = "TIME", global = true)]
    pub(super) at: Option<String>,
    /// Whose backup
    pub(super) backup: OsString,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find messages by mailbox, header, date, flag, size, deletion; prints GUID, mailbox, UID,
    /// date of arrival, state and subject, with tabs between
    Find(Box<Find>),
    /// Write the tree that a mount shows to standard output, as a tar archive
    Tar(Tar),
}

/// `tar`.
#[derive(Debug, Args)]
pub(super) struct Tar {
    /// How mailboxes look: eml or maildir
    #[arg(long, value_name = "LAYOUT", default_value = "eml")]
    pub(super) layout: String,
    /// How chunks look: gz or plain
    #[arg(long, value_name = "FORM", default_value = "gz")]
    pub(super) chunks: String,
    /// Take no lock: what is there now, while the backup may grow
    #[arg(long)]
    pub(super) no_lock: bool,
    /// Add what Cyrus knows about each file as extended attributes
    #[arg(long)]
    pub(super) xattrs: bool,
}

/// `find`.
#[derive(Debug, Args)]
pub(super) struct Find {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// Print JSON, with all that is known about each message
    #[arg(short, long)]
    pub(super) json: bool,
}

/// Whether this command line (without the program's name) names one of our sub-commands behind a
/// backup.
pub fn is_meant(words: &[OsString]) -> bool {
    let behind = |words: Vec<OsString>| {
        let parsed = getopt::parse(super::options::OPTIONS, words, Order::Posix).ok()?;
        (!parsed.operands.is_empty()).then_some(parsed.operands)
    };
    let verb = behind(words.to_vec()).and_then(|operands| behind(operands[1..].to_vec()));
    verb.is_some_and(|operands| operands[0] == "find" || operands[0] == "tar")
}

/// Runs the command; the exit code.
///
/// # Errors
/// Printing failed.
pub fn run(line: &Line, site: &Site, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    match execute(line, site, terminal) {
        Ok(()) => {
            terminal.out.flush()?;
            Ok(exit::OK)
        }
        Err(Failure::Print(error)) => Err(error),
        Err(failure) => {
            terminal.complain(&line.backup, &failure)?;
            Ok(failure.exit_code())
        }
    }
}

fn execute(line: &Line, site: &Site, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mode = match (line.filename, line.mailbox) {
        (true, _) => Mode::Files,
        (_, true) => Mode::Mailboxes,
        _ => Mode::Userids,
    };
    if let Command::Tar(args) = &line.command {
        return tar::run(args, line, mode, site, terminal);
    }
    let backup = open(mode, &line.backup, line.at.as_deref(), site)?;
    let look = Look {
        backup: &backup,
        namespace: &site.namespace,
    };
    match &line.command {
        Command::Find(args) => find::run(&look, args, line, site, terminal),
        Command::Tar(_) => Ok(()),
    }
}

impl Line {
    /// Says on standard error what went wrong with one message; the command goes on.
    pub(super) fn complain(
        &self,
        error: &crate::store::StoreError,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<()> {
        terminal.complain(&self.backup, error.explained())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_commands_stand_behind_a_backup() {
        for (line, ours) in [
            ("anne find", true),
            ("-C x -v anne find --from y", true),
            ("-f /b/anne -v find", true),
            ("find list all", false),
            ("find find", true),
            ("anne list find", false),
            ("anne tar --at yesterday", true),
            ("anne", false),
            ("--frob anne find", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(is_meant(&words), ours, "{line}");
        }
    }
}

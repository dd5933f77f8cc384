//! The arguments of the sub-commands that C does not have.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::select::SelectArgs;
use crate::store::StoreError;
use crate::tools::terminal::Terminal;

/// A command line with one of our sub-commands.
#[derive(Debug, Parser)]
#[command(name = "cyr_backup", about = "Looks into one backup.", version)]
pub struct Line {
    /// Read the configuration from FILE
    #[arg(short = 'C', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// BACKUP is the path of a data file
    #[arg(short, long, group = "mode")]
    pub(super) filename: bool,
    /// BACKUP is the name of a mailbox
    #[arg(short, long, group = "mode")]
    pub(super) mailbox: bool,
    /// BACKUP is a user id (default)
    #[arg(short, long, group = "mode")]
    userid: bool,
    /// The backup as it was at TIME: 2026-10-01, 2026-10-01T09:30, yesterday, 3d (ago)
    #[arg(long, value_name = "TIME", global = true)]
    pub(super) at: Option<String>,
    /// Whose backup
    pub(super) backup: OsString,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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

impl Line {
    /// Says on standard error what went wrong with one message; the command goes on.
    pub(super) fn complain(
        &self,
        error: &StoreError,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<()> {
        terminal.complain(&self.backup, error.explained())
    }
}

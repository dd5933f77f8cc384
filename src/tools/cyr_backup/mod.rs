//! cyr_backup: a look into one backup (spec: ondisk 7.4).
//!
//! Unlike C's, it does not verify the last chunk first, except with `-v`: what is damaged must
//! not keep anyone from what is not, and a look must not cost a reading of the whole file. What is
//! dumped or shown of a message is checked against its GUID.

mod chunk;
mod dump;
mod find;
mod headers;
mod json;
mod list;
mod mbox;
pub mod options;
pub mod own;
mod own_args;
mod show;
mod tar;

use std::ffi::OsStr;
use std::io;

use super::Site;
use super::target::{Mode, Target, resolve};
use super::terminal::{Terminal, exit};
use super::verification::{VerifyError, quick};
use crate::store::{Backup, Lock, StoreError};
use crate::types::{MboxName, Namespace};
use crate::view::ViewError;
use options::{Command, Options};

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("not found in backups.db")]
    UnknownBackup,
    #[error("the backup knows of no mailbox {0}")]
    NoMailbox(String),
    #[error("Item does not exist")]
    NoSuchItem,
    #[error("{0:?} is no chunk id")]
    NoChunkId(std::ffi::OsString),
    /// An option's value makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error("the headers of {0} messages cannot be read")]
    Unread(usize),
    #[error("of {0} messages nobody can tell whether they are wanted, since they cannot be read")]
    Unsure(usize),
    #[error("left out: {damaged} messages that are damaged, {missing} that the backup never got")]
    Incomplete { damaged: usize, missing: usize },
    #[error("left out of the archive: {0} files that cannot be read")]
    LeftOut(usize),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("{}", .0.explained())]
    Store(#[from] StoreError),
    #[error(transparent)]
    Verify(VerifyError),
    #[error("chunk {chunk} cannot be read beyond byte {byte}: {reason}")]
    Chunk {
        chunk: i64,
        byte: u64,
        reason: String,
    },
    /// Printing failed: nothing more can be said on standard output.
    #[error(transparent)]
    Print(#[from] io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Failure {
        match error {
            VerifyError::Print(error) => Failure::Print(error),
            VerifyError::Store(error) => Failure::Store(error),
            error => Failure::Verify(error),
        }
    }
}

/// Runs a command; the exit code.
///
/// # Errors
/// Printing failed.
pub fn run(options: &Options, site: &Site, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    match execute(options, site, terminal) {
        Ok(()) => {
            terminal.out.flush()?;
            Ok(exit::OK)
        }
        Err(Failure::Print(error)) => Err(error),
        Err(failure) => {
            terminal.complain(&options.backup, &failure)?;
            Ok(failure.exit_code())
        }
    }
}

fn execute(options: &Options, site: &Site, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let at = options.at.as_deref();
    let backup = open(options.mode, &options.backup, at, site)?;
    let verified = match options.verbose {
        // An index of the past has no sums to compare with.
        0 => Ok(()),
        _ if at.is_some() => Ok(()),
        verbose => match quick(&backup, verbose, terminal.out) {
            Err(VerifyError::Print(error)) => return Err(error.into()),
            verified => verified,
        },
    };
    let look = Look {
        backup: &backup,
        namespace: &site.namespace,
    };
    look.execute(options, terminal)?;
    Ok(verified?)
}

/// Opens the backup, or what it was at a time.
fn open(mode: Mode, backup: &OsStr, at: Option<&str>, site: &Site) -> Result<Backup, Failure> {
    let time = at.map(|text| site.clock.parse(text)).transpose();
    let time = time.map_err(|error| Failure::Usage(error.to_string()))?;
    let target = target(mode, backup, site)?;
    let lock = Lock::Shared { wait: true };
    Ok(match time {
        None => Backup::open(&target.path, lock)?,
        Some(time) => Backup::open_as_of(&target.path, lock, time)?,
    })
}

fn target(mode: Mode, backup: &OsStr, site: &Site) -> Result<Target, Failure> {
    let name = [backup.to_owned()];
    let targets = resolve(&site.catalog, &site.namespace, mode, &name)?;
    let target = targets
        .into_iter()
        .next()
        .map_or(Ok(None), |(_, target)| target)?;
    target.ok_or(Failure::UnknownBackup)
}

/// A backup that is being looked at.
struct Look<'a> {
    backup: &'a Backup,
    namespace: &'a Namespace,
}

impl Look<'_> {
    fn execute(&self, options: &Options, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let arguments = &options.arguments;
        match options.command {
            Command::ListAll => self.list_all(terminal),
            Command::ListChunks => self.list_chunks(terminal),
            Command::ListMailboxes => self.list_mailboxes(terminal),
            Command::ListMessages => self.list_messages(terminal),
            Command::ShowMailboxes => self.show_mailboxes(arguments, terminal),
            Command::ShowMessages => self.show_messages(arguments, terminal),
            Command::DumpChunk => self.dump_chunk(&arguments[0], terminal),
            Command::DumpMessage => self.dump_message(&arguments[0], terminal),
            Command::JsonChunks => self.json_chunks(terminal),
            Command::JsonMailboxes => self.json_mailboxes(terminal),
            Command::JsonMessages => self.json_messages(terminal),
            Command::JsonHeaders => self.json_headers(arguments, terminal),
            Command::ShowChunks => self.show_chunks(arguments, terminal),
            Command::DumpMailbox => self.dump_mailbox(&arguments[0], terminal),
        }
    }

    /// The internal name that an administrator's spelling means.
    fn internal_name(&self, external: &str) -> Option<MboxName> {
        MboxName::from_external(external, self.namespace)
    }
}

//! A command at work on one backup after the other.

use std::io;
use std::path::Path;

use super::own_args::Line;
use super::status;
use crate::store::StoreError;
use crate::store::administer::Administer;
use crate::tools::Site;
use crate::tools::render::Json;
use crate::tools::terminal::{Terminal, exit};
use crate::types::BackupKey;

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
            // That names chunk and offset, in the words of compact.
            Err(error @ StoreError::Damaged { .. }) => format!("failed ({error})"),
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

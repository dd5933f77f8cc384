//! The sub-commands that C does not have, with options of their own behind the sub-command. What
//! stands before it is C's.

use std::ffi::OsString;
use std::io;

use super::own_args::Command;
pub use super::own_args::Line;
use super::{Failure, Look, find, open, tar};
use crate::tools::Site;
use crate::tools::getopt::{self, Order};
use crate::tools::target::Mode;
use crate::tools::terminal::{Terminal, exit};

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

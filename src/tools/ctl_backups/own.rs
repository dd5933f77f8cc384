//! The sub-commands that C does not have: what an administrator does with whole backups beyond
//! looking at them.

use std::ffi::OsString;
use std::io;

use super::own_args::Command;
pub use super::own_args::Line;
use super::work::Work;
use super::{purge, reconstruct, whole};
use crate::store::administer::Administer;
use crate::tools::Site;
use crate::tools::getopt::{self, Order};
use crate::tools::terminal::Terminal;

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

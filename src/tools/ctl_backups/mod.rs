//! ctl_backups: what an administrator does with whole backups (spec: ondisk 7.1, 7.2).

mod compact;
mod list;
mod lock;
pub mod options;
mod outcome;
pub mod own;
mod own_args;
mod purge;
mod reconstruct;
mod reindex;
mod stat;
mod status;
mod verify;
mod whole;
mod work;

use std::io;

use super::Site;
use super::target::{Mode, resolve};
use super::terminal::{Terminal, exit};
use options::{Command, Options};
use outcome::Outcome;

/// Runs a command over the backups it names; the exit code.
///
/// # Errors
/// Printing failed.
pub fn run(options: &Options, site: &Site, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    let command = match options.command {
        Command::Compact => compact::one,
        Command::List => list::one,
        Command::Lock => lock::one,
        Command::Reindex => reindex::one,
        Command::Stat => stat::one,
        Command::Verify => verify::one,
    };
    // In C the failures of stat do not count, but with -S.
    let counts = options.command != Command::Stat || options.stop_on_error;
    let targets = match resolve(&site.catalog, &site.namespace, options.mode, &options.names) {
        Ok(targets) => targets,
        Err(error) => {
            writeln!(terminal.err, "ctl_backups: backups.db: {}", error.detail())?;
            return Ok(exit::FAILED);
        }
    };
    let mut code = exit::OK;
    if options.mode == Mode::All && site.has_forgotten(terminal)? {
        code = exit::FAILED;
    }
    for (name, target) in targets {
        let outcome = match target {
            Ok(Some(target)) => {
                let outcome = command(options, site, &target, terminal)?;
                if counts { outcome } else { Outcome::Good }
            }
            Ok(None) => {
                terminal.complain(&name, "not found in backups.db")?;
                Outcome::Failed
            }
            Err(error) => {
                terminal.complain(&name, error.detail())?;
                Outcome::Failed
            }
        };
        if outcome != Outcome::Good {
            code = exit::FAILED;
        }
        if outcome == Outcome::Failed && options.stop_on_error {
            break;
        }
    }
    terminal.out.flush()?;
    Ok(code)
}

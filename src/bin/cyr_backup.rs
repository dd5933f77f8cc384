//! cyr_backup: command line → library → exit code.

use std::process::ExitCode;

use cyrusbackup::tools::cyr_backup::options::{LONG_OPTIONS, Request, USAGE, UsageError, parse};
use cyrusbackup::tools::cyr_backup::run;
use cyrusbackup::tools::frame::start;
use cyrusbackup::tools::getopt::Order;
use cyrusbackup::tools::terminal::exit;

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1), Order::from_environment()) {
        Ok(Request::Help) => print!("{USAGE}{LONG_OPTIONS}"),
        Ok(Request::Version) => println!("cyr_backup (cyrusbackup) {}", env!("CARGO_PKG_VERSION")),
        Ok(Request::Run(options)) => {
            let code = start("cyr_backup", options.config.as_deref(), |site, terminal| {
                run(&options, site, terminal)
            });
            return ExitCode::from(code);
        }
        Err(UsageError(complaint)) => {
            if let Some(complaint) = complaint {
                let program = std::env::args_os().next().unwrap_or_default();
                eprintln!("{}: {complaint}", program.display());
            }
            eprint!("{USAGE}");
            return ExitCode::from(exit::USAGE);
        }
    }
    ExitCode::SUCCESS
}

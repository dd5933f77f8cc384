//! cyr_backup: command line → library → exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use cyrusbackup::tools::cyr_backup::options::{LONG_OPTIONS, Request, USAGE, UsageError, parse};
use cyrusbackup::tools::cyr_backup::{own, run};
use cyrusbackup::tools::frame::{command_line, start};
use cyrusbackup::tools::getopt::Order;
use cyrusbackup::tools::terminal::exit;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if own::is_meant(&words) {
        let code = command_line(&words).map(|line: own::Line| {
            start("cyr_backup", line.config.as_deref(), |site, terminal| {
                own::run(&line, site, terminal)
            })
        });
        return ExitCode::from(code.unwrap_or_else(|code| code));
    }
    match parse(words, Order::from_environment()) {
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

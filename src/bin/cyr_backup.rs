//! cyr_backup: command line → library → exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use cyrusbackup::tools::cyr_backup::options::{LONG_OPTIONS, Request, USAGE, UsageError, parse};
use cyrusbackup::tools::cyr_backup::{own, run};
use cyrusbackup::tools::frame::{command_line, print, say, start};
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
        Ok(Request::Help) => ExitCode::from(print("cyr_backup", &format!("{USAGE}{LONG_OPTIONS}"))),
        Ok(Request::Version) => {
            let version = concat!("cyr_backup (cyrusbackup) ", env!("CARGO_PKG_VERSION"), "\n");
            ExitCode::from(print("cyr_backup", version))
        }
        Ok(Request::Run(options)) => {
            let code = start("cyr_backup", options.config.as_deref(), |site, terminal| {
                run(&options, site, terminal)
            });
            ExitCode::from(code)
        }
        Err(UsageError(complaint)) => {
            if let Some(complaint) = complaint {
                let program = std::env::args_os().next().unwrap_or_default();
                say(format_args!("{}: {complaint}\n", program.display()));
            }
            say(USAGE);
            ExitCode::from(exit::USAGE)
        }
    }
}

//! ctl_backups: command line → library → exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use cyrusbackup::tools::ctl_backups::options::{LONG_OPTIONS, Request, USAGE, parse};
use cyrusbackup::tools::ctl_backups::{own, run};
use cyrusbackup::tools::frame::{command_line, print, say, start};
use cyrusbackup::tools::getopt::Order;
use cyrusbackup::tools::terminal::exit;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if own::is_meant(&words) {
        let code = command_line(&words).map(|line: own::Line| {
            start("ctl_backups", line.config.as_deref(), |site, terminal| {
                own::run(&line, site, terminal)
            })
        });
        return ExitCode::from(code.unwrap_or_else(|code| code));
    }
    match parse(words, Order::from_environment()) {
        Ok(Request::Help) => {
            ExitCode::from(print("ctl_backups", &format!("{USAGE}{LONG_OPTIONS}")))
        }
        Ok(Request::Version) => {
            let version = concat!(
                "ctl_backups (cyrusbackup) ",
                env!("CARGO_PKG_VERSION"),
                "\n"
            );
            ExitCode::from(print("ctl_backups", version))
        }
        Ok(Request::Run(options)) => {
            let code = start(
                "ctl_backups",
                options.config.as_deref(),
                |site, terminal| run(&options, site, terminal),
            );
            ExitCode::from(code)
        }
        Err(_) => {
            say(USAGE);
            ExitCode::from(exit::USAGE)
        }
    }
}

//! ctl_backups: command line → library → exit code.

use std::process::ExitCode;

use cyrusbackup::tools::ctl_backups::options::{LONG_OPTIONS, Request, USAGE, parse};
use cyrusbackup::tools::ctl_backups::run;
use cyrusbackup::tools::frame::start;
use cyrusbackup::tools::getopt::Order;
use cyrusbackup::tools::terminal::exit;

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1), Order::from_environment()) {
        Ok(Request::Help) => print!("{USAGE}{LONG_OPTIONS}"),
        Ok(Request::Version) => println!("ctl_backups (cyrusbackup) {}", env!("CARGO_PKG_VERSION")),
        Ok(Request::Run(options)) => {
            let code = start(
                "ctl_backups",
                options.config.as_deref(),
                |site, terminal| run(&options, site, terminal),
            );
            return ExitCode::from(code);
        }
        Err(_) => {
            eprint!("{USAGE}");
            return ExitCode::from(exit::USAGE);
        }
    }
    ExitCode::SUCCESS
}

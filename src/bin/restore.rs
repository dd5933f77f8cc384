//! restore: command line → library → exit code.

use std::process::ExitCode;

use cyrusbackup::restore::options::{BadLine, USAGE, parse};
use cyrusbackup::restore::run;
use cyrusbackup::tools::frame;
use cyrusbackup::tools::terminal::exit;

fn main() -> ExitCode {
    let request = match parse(std::env::args_os().skip(1)) {
        Ok(request) => request,
        Err(bad) => return ExitCode::from(refuse(bad)),
    };
    ExitCode::from(frame::start(
        "restore",
        request.options.config.as_deref(),
        |site, terminal| run(&request, site, terminal),
    ))
}

fn refuse(bad: BadLine) -> u8 {
    match bad {
        BadLine::Usage(remark) => {
            if let Some(remark) = remark {
                frame::say(format_args!("restore: {remark}\n"));
            }
            frame::say(USAGE);
            exit::USAGE
        }
        BadLine::Clap(error) => frame::explain(&error),
    }
}

//! ctl_backups: command line → library → exit code.

use std::io::{self, BufWriter};
use std::path::Path;
use std::process::ExitCode;

use cyrusbackup::config::{self, Config, identity};
use cyrusbackup::store::catalog::Catalog;
use cyrusbackup::tools::Site;
use cyrusbackup::tools::ctl_backups::options::{LONG_OPTIONS, Options, Request, USAGE, parse};
use cyrusbackup::tools::ctl_backups::run;
use cyrusbackup::tools::getopt::Order;
use cyrusbackup::tools::render::LocalTime;
use cyrusbackup::tools::terminal::{Terminal, exit};

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1), Order::from_environment()) {
        Ok(Request::Help) => println!("{USAGE}{LONG_OPTIONS}"),
        Ok(Request::Version) => println!("ctl_backups (cyrusbackup) {}", env!("CARGO_PKG_VERSION")),
        Ok(Request::Run(options)) => return ExitCode::from(start(&options)),
        Err(_) => {
            eprint!("{USAGE}");
            return ExitCode::from(exit::USAGE);
        }
    }
    ExitCode::SUCCESS
}

fn start(options: &Options) -> u8 {
    let file = options
        .config
        .as_deref()
        .unwrap_or(Path::new(config::DEFAULT_PATH));
    let config = match Config::load(file, "ctl_backups") {
        Ok(config) => config,
        Err(error) => {
            eprintln!("fatal error: {error}");
            return error.exit_code();
        }
    };
    if let Err(error) = identity::assume(&config) {
        eprintln!("fatal error: {error}");
        return error.exit_code();
    }
    let site = Site {
        catalog: Catalog::new(config.backup_db_path),
        namespace: config.namespace,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut err = io::stderr();
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        time: LocalTime::system(),
    };
    run(options, &site, &mut terminal).unwrap_or_else(|error| {
        // Nobody reads on: that needs no words.
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("ctl_backups: cannot write the output: {error}");
        }
        exit::FAILED
    })
}

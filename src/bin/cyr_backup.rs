//! cyr_backup: command line → library → exit code.

use std::io::{self, BufWriter};
use std::path::Path;
use std::process::ExitCode;

use cyrusbackup::config::{self, Config, identity};
use cyrusbackup::store::catalog::Catalog;
use cyrusbackup::tools::Site;
use cyrusbackup::tools::cyr_backup::options::{
    LONG_OPTIONS, Options, Request, USAGE, UsageError, parse,
};
use cyrusbackup::tools::cyr_backup::run;
use cyrusbackup::tools::getopt::Order;
use cyrusbackup::tools::render::LocalTime;
use cyrusbackup::tools::terminal::{Terminal, exit};

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1), Order::from_environment()) {
        Ok(Request::Help) => println!("{USAGE}{LONG_OPTIONS}"),
        Ok(Request::Version) => println!("cyr_backup (cyrusbackup) {}", env!("CARGO_PKG_VERSION")),
        Ok(Request::Run(options)) => return ExitCode::from(start(&options)),
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

fn start(options: &Options) -> u8 {
    let file = options
        .config
        .as_deref()
        .unwrap_or(Path::new(config::DEFAULT_PATH));
    let config = match Config::load(file, "cyr_backup") {
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
            eprintln!("cyr_backup: cannot write the output: {error}");
        }
        exit::FAILED
    })
}

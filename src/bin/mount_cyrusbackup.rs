//! `mount.cyrusbackup SPEC DIR [-o OPTIONS]`: arguments in, mount, exit code out. Follows what
//! mount(8) asks of a helper: 0 = mounted and ready, 1 = wrong usage, 32 = mount failure.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use cyrusbackup::config::{self, Config};
use cyrusbackup::fs::daemon::{self, Ready, Side};
use cyrusbackup::fs::guard::StoreDir;
use cyrusbackup::fs::options::{OptionError, Options, Spec};
use cyrusbackup::fs::run::{self, Plan, Settings};
use cyrusbackup::log::{Facility, Syslog};
use cyrusbackup::select::Clock;
use cyrusbackup::tools::zone;
use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

/// Exit codes of mount(8).
const USAGE: u8 = 1;
const FAILURE: u8 = 32;

/// Owner of the backups when nobody says otherwise.
const CYRUS: &str = "cyrus";

/// Show the backup of a user, or all backups, as read-only files.
#[derive(Debug, Parser)]
#[command(name = "mount.cyrusbackup", version, max_term_width = 100)]
struct Args {
    /// What to show: a userid, `file:PATH` of a data file, or `all` (`user:NAME` for a user whose
    /// name looks like one of these)
    spec: String,
    /// Where to show it
    dir: PathBuf,
    /// Options with commas between: config=FILE, lock=hold|none, wait=SECONDS, at=TIME,
    /// layout=eml|maildir, chunks=gz|plain, cache=MEGABYTES, noxattr, allow_other, uid=N, gid=N,
    /// umask=OCTAL, nonempty, foreground, and those of mount(8)
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// imapd.conf [default: /etc/imapd.conf]; not needed for file:PATH
    #[arg(short = 'C', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the arguments and mount nothing
    #[arg(short = 'f', long)]
    fake: bool,
    /// Stay in the foreground, and log to the terminal
    #[arg(long)]
    foreground: bool,
    /// Pass over mount options that nobody knows
    #[arg(short = 's')]
    sloppy: bool,
    /// Tell more
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    verbose: u8,
    /// There is no mtab to write: accepted, no effect
    #[arg(short = 'n')]
    no_mtab: bool,
    /// The mount is always read-only: accepted, no effect
    #[arg(short = 'r', short_alias = 'w')]
    read_only: bool,
    /// The type that mount(8) was asked for: accepted, no effect
    #[arg(short = 't', value_name = "TYPE")]
    fs_type: Option<String>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap's own code for wrong usage is 2, which mount(8) reads as "system error".
            return ExitCode::from(match (error.print(), error.use_stderr()) {
                (_, true) => USAGE,
                (Ok(()), false) => 0,
                (Err(_), false) => FAILURE,
            });
        }
    };
    let options = match options(&args) {
        Ok(options) => options,
        Err(error) => return complain(&error.into(), USAGE),
    };
    match mount(&args, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, FAILURE),
    }
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    // Who cannot be told has the exit code.
    let _ = writeln!(std::io::stderr(), "mount.cyrusbackup: {error:#}");
    ExitCode::from(code)
}

fn options(args: &Args) -> Result<Options, OptionError> {
    let mut options = Options::default();
    let lists = args.options.iter().flat_map(|list| list.split(','));
    for option in lists {
        match options.add(option) {
            Err(OptionError::Unknown(_)) if args.sloppy => {}
            added => added?,
        }
    }
    options.foreground |= args.foreground;
    if args.config.is_some() {
        options.config.clone_from(&args.config);
    }
    Ok(options)
}

fn mount(args: &Args, options: Options) -> Result<()> {
    if options.remount {
        return Ok(run::remount(&args.dir)?);
    }
    let settings = settings(&Spec::parse(&args.spec), options.config.as_deref())?;
    let foreground = options.foreground;
    let clock = Clock {
        now: Timestamp::now().as_second(),
        zone: zone::local(),
    };
    let plan = Plan::new(&args.spec, &args.dir, options, settings, clock)?;
    if args.fake {
        return Ok(());
    }
    if foreground {
        log_to_terminal(args.verbose);
        return match plan.run(Ready::foreground()) {
            Ok(()) => Ok(()),
            Err((error, _)) => Err(error.into()),
        };
    }
    match daemon::split().context("cannot start the daemon")? {
        Side::Command(said) => said.map_err(anyhow::Error::msg),
        Side::Daemon(ready) => {
            log_to_syslog(args.verbose);
            if let Err((error, ready)) = plan.run(ready) {
                // The command prints it; the daemon has nobody to talk to.
                let _ = ready.failed(format!("{:#}", anyhow::Error::from(error)));
            }
            Ok(())
        }
    }
}

/// What imapd.conf says. `file:PATH` can do without one, and uses one only if told to: a backup taken
/// from a tape opens on a machine that has never seen Cyrus.
fn settings(spec: &Spec, file: Option<&Path>) -> Result<Settings> {
    let by_path = matches!(spec, Spec::File(_));
    if by_path && file.is_none() {
        return Ok(Settings::default());
    }
    let file = file.unwrap_or(Path::new(config::DEFAULT_PATH));
    let config = Config::load(file, "mount-cyrusbackup")?;
    let from_env = |variable: &str| std::env::var(variable).ok();
    let user = from_env("CYRUS_USER").or(config.cyrus_user.clone());
    let group = from_env("CYRUS_GROUP").or(config.cyrus_group.clone());
    Ok(Settings {
        namespace: config.namespace.clone(),
        backup_db: Some(config.backup_db_path.clone()),
        store_dirs: store_dirs(&config),
        // A file named by its path belongs to whoever names it.
        run_as: (!by_path).then(|| (user.unwrap_or(CYRUS.to_owned()), group)),
    })
}

/// The directories that a mount must not touch; those that do not exist cannot be touched.
fn store_dirs(config: &Config) -> Vec<StoreDir> {
    let partitions = config.backup_partitions.iter();
    let partitions = partitions.map(|(name, path)| (format!("backup partition \"{name}\""), path));
    let others = [
        ("configdirectory".to_owned(), &config.configdirectory),
        (
            "backup_staging_path".to_owned(),
            &config.backup_staging_path,
        ),
    ];
    let dirs = partitions.chain(others);
    dirs.filter_map(|(what, path)| {
        let path = path.canonicalize().ok()?;
        let exact = false;
        Some(StoreDir { what, path, exact })
    })
    .collect()
}

fn filter(verbose: u8) -> EnvFilter {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    EnvFilter::builder()
        .with_env_var("CYRUSBACKUP_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(level))
}

fn log_to_terminal(verbose: u8) {
    tracing_subscriber::fmt()
        .with_env_filter(filter(verbose))
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
}

fn log_to_syslog(verbose: u8) {
    tracing_subscriber::fmt()
        .with_env_filter(filter(verbose))
        .with_target(false)
        .with_ansi(false)
        .with_level(false)
        .without_time()
        .with_writer(Syslog::open(c"mount.cyrusbackup", Facility::MAIL))
        .init();
}

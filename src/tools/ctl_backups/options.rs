//! The command line of ctl_backups (spec: ondisk 7.1): C's options and rules, the long options of
//! newer C versions, and our own `--keep-going`, `--help`, `--version`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::tools::getopt::{self, Opt, Order, Value, atoi};
use crate::tools::target::Mode;

/// What `-t` means without a number of hours.
const DEFAULT_STALE_HOURS: i64 = 24;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// Everything else.
    Run(Options),
}

/// A command line that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `-C`.
    pub config: Option<PathBuf>,
    /// What to do.
    pub command: Command,
    /// How `names` are meant.
    pub mode: Mode,
    /// What to do it with.
    pub names: Vec<OsString>,
    /// `-F`: even if not needed.
    pub force: bool,
    /// `-S`: the first failure ends the run.
    pub stop_on_error: bool,
    /// `-V`: no quick verification.
    pub no_verify: bool,
    /// `-j`.
    pub json: bool,
    /// How many `-v`.
    pub verbose: u8,
    /// `-w`: wait for locks.
    pub wait: bool,
    /// `-t`: only backups without a change for so many hours.
    pub stale_hours: Option<i64>,
    /// `-c`: the file to lock must not exist yet.
    pub create: bool,
    /// What to do while holding the lock.
    pub while_locked: WhileLocked,
    /// `--keep-going`: verify everything, whatever is found.
    pub keep_going: bool,
    /// `--dry-run`: reindex only looks.
    pub dry_run: bool,
}

/// The sub-commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the words of the command line; the usage text explains them"
)]
pub enum Command {
    Compact,
    List,
    Lock,
    Reindex,
    Stat,
    Verify,
}

/// What `lock` does with the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhileLocked {
    /// `-p`: hold it until standard input ends.
    Pause,
    /// `-s`: run sqlite3 on the index.
    Sqlite,
    /// `-x`: run a shell command.
    Execute(OsString),
}

/// The command line does not make sense: print [`USAGE`], exit 64.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError;

#[derive(Clone, Copy)]
pub(super) enum Key {
    Config,
    Force,
    Stop,
    NoVerify,
    Json,
    Verbose,
    Wait,
    Stale,
    Create,
    Pause,
    Sqlite,
    Execute,
    Mode(Mode),
    KeepGoing,
    DryRun,
    Help,
    Version,
}

const fn opt(key: Key, short: u8, long: &'static str) -> Opt<Key> {
    Opt {
        key,
        short: Some(short),
        long: Some(long),
        value: Value::None,
    }
}

const fn long(key: Key, word: &'static str) -> Opt<Key> {
    Opt {
        key,
        short: None,
        long: Some(word),
        value: Value::None,
    }
}

pub(super) const OPTIONS: &[Opt<Key>] = &[
    Opt {
        key: Key::Config,
        short: Some(b'C'),
        long: None,
        value: Value::Required,
    },
    opt(Key::Force, b'F', "force"),
    opt(Key::Stop, b'S', "stop-on-error"),
    opt(Key::NoVerify, b'V', "no-verify"),
    opt(Key::Json, b'j', "json"),
    opt(Key::Verbose, b'v', "verbose"),
    opt(Key::Wait, b'w', "wait-for-locks"),
    Opt {
        key: Key::Stale,
        short: Some(b't'),
        long: Some("stale"),
        value: Value::RequiredUnlessLast,
    },
    opt(Key::Create, b'c', "create"),
    opt(Key::Pause, b'p', "pause"),
    opt(Key::Sqlite, b's', "sqlite3"),
    Opt {
        key: Key::Execute,
        short: Some(b'x'),
        long: Some("execute"),
        value: Value::Required,
    },
    opt(Key::Mode(Mode::All), b'A', "all"),
    opt(Key::Mode(Mode::Domains), b'D', "domains"),
    opt(Key::Mode(Mode::Prefixes), b'P', "prefixes"),
    opt(Key::Mode(Mode::Files), b'f', "filenames"),
    opt(Key::Mode(Mode::Mailboxes), b'm', "mailboxes"),
    opt(Key::Mode(Mode::Userids), b'u', "userids"),
    long(Key::KeepGoing, "keep-going"),
    long(Key::DryRun, "dry-run"),
    long(Key::Help, "help"),
    long(Key::Version, "version"),
];

/// Reads the words behind the program name.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    order: Order,
) -> Result<Request, UsageError> {
    let parsed = getopt::parse(OPTIONS, words, order).map_err(|_| UsageError)?;
    let mut mode = None;
    let mut while_locked = None;
    let mut options = Options {
        config: None,
        command: Command::List,
        mode: Mode::Userids,
        names: Vec::new(),
        force: false,
        stop_on_error: false,
        no_verify: false,
        json: false,
        verbose: 0,
        wait: false,
        stale_hours: None,
        create: false,
        while_locked: WhileLocked::Pause,
        keep_going: false,
        dry_run: false,
    };
    for (key, value) in parsed.options {
        match key {
            Key::Config => options.config = value.map(PathBuf::from),
            Key::Force => options.force = true,
            Key::Stop => options.stop_on_error = true,
            Key::NoVerify => options.no_verify = true,
            Key::Json => options.json = true,
            Key::Verbose => options.verbose = options.verbose.saturating_add(1),
            Key::Wait => options.wait = true,
            Key::Stale => {
                let hours = value.map_or(DEFAULT_STALE_HOURS, |value| atoi(&value));
                options.stale_hours = Some(hours).filter(|hours| *hours != 0);
                options.stale_hours.ok_or(UsageError)?;
            }
            Key::Create => options.create = true,
            Key::Pause => once(&mut while_locked, WhileLocked::Pause)?,
            Key::Sqlite => once(&mut while_locked, WhileLocked::Sqlite)?,
            Key::Execute => {
                once(
                    &mut while_locked,
                    WhileLocked::Execute(value.unwrap_or_default()),
                )?;
            }
            Key::Mode(given) => once(&mut mode, given)?,
            Key::DryRun => options.dry_run = true,
            Key::KeepGoing => options.keep_going = true,
            Key::Help => return Ok(Request::Help),
            Key::Version => return Ok(Request::Version),
        }
    }
    let mut operands = parsed.operands.into_iter();
    options.command = operands.next().and_then(command).ok_or(UsageError)?;
    options.names = operands.collect();
    options.mode = mode.unwrap_or(match (options.command, options.names.is_empty()) {
        (Command::List, true) => Mode::All,
        _ => Mode::Userids,
    });
    check(&options, while_locked.is_some())?;
    options.while_locked = while_locked.unwrap_or(WhileLocked::Pause);
    Ok(Request::Run(options))
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), UsageError> {
    match slot.replace(value) {
        Some(_) => Err(UsageError),
        None => Ok(()),
    }
}

fn command(word: OsString) -> Option<Command> {
    match word.to_str()? {
        "compact" => Some(Command::Compact),
        "list" => Some(Command::List),
        "lock" => Some(Command::Lock),
        "reindex" => Some(Command::Reindex),
        "stat" => Some(Command::Stat),
        "verify" => Some(Command::Verify),
        _ => None,
    }
}

/// What does not go together.
fn check(options: &Options, says_while_locked: bool) -> Result<(), UsageError> {
    let is_lock = options.command == Command::Lock;
    let many = matches!(options.mode, Mode::All | Mode::Domains | Mode::Prefixes);
    let wrong = options.json && options.verbose > 0
        || options.mode == Mode::All && !options.names.is_empty()
        || says_while_locked && !is_lock
        || options.dry_run && options.command != Command::Reindex
        || is_lock && (many || options.names.len() > 1);
    if wrong { Err(UsageError) } else { Ok(()) }
}

/// C's usage text, with our additions at the end of the options.
pub const USAGE: &str = "\
Usage:
    ctl_backups [options] compact [mode] backup...
    ctl_backups [options] list [list_opts] [[mode] backup...]
    ctl_backups [options] lock [lock_opts] [mode] backup
    ctl_backups [options] reindex [mode] backup...
    ctl_backups [options] stat [mode] backup...
    ctl_backups [options] verify [mode] backup...

Commands:
    compact             # compact specified backups
    list [list_opts]    # list backups (all if none specified)
    lock [lock_opts]    # lock specified backup
    reindex             # reindex specified backups
    stat                # show stats of specified backups
    verify              # verify specified backups

Options:
    -C alt_config       # alternate config file
    -F                  # force (run command even if not needed)
    -S                  # stop on error
    -V                  # don't verify checksums (faster read-only ops)
    -j                  # output in JSON format
    -v                  # verbose (repeat for more verbosity)
    -w                  # wait for locks (don't skip locked backups)

List options:
    -t [hours]          # stale (no update in hours) backups only (default: 24)

Lock options:
    -c                  # exclusively create backup
    -p                  # lock backup and wait for eof on stdin (default)
    -s                  # lock backup and open index in sqlite3
    -x command          # lock backup and execute command

Modes:
    -A                  # all known backups
    -D                  # specified backups interpreted as domains
    -P                  # specified backups interpreted as userid prefixes
    -f                  # specified backups interpreted as filenames
    -m                  # specified backups interpreted as mboxnames
    -u                  # specified backups interpreted as userids (default)

    Modes -A, -D, -P not available for all commands

";

/// What `--help` adds to [`USAGE`]: everything C 3.6 does not have.
pub const LONG_OPTIONS: &str = "\
Long options:
    --all --domains --prefixes --filenames --mailboxes --userids
    --force --stop-on-error --no-verify --json --verbose --wait-for-locks
    --stale[=hours] --create --pause --sqlite3 --execute=command
    --keep-going        # verify: report all damage, not only the first
    --dry-run           # reindex: only tell what could be saved
    --help --version

More commands, each with --help:
    ctl_backups reconstruct [--dry-run]
                        # make backups.db from the files in the partitions
    ctl_backups move USER PARTITION
    ctl_backups move --all-from PARTITION PARTITION
    ctl_backups rename OLD NEW
    ctl_backups delete [--now | --undo] USER...
    ctl_backups delete --expired | --list
    ctl_backups purge USER [--dry-run] [-F] [--guid GUID] [--message-id ID] ...
                        # messages are gone for good; prints a receipt
                        # -F: from a damaged backup, too
    ctl_backups hold [--reason TEXT] USER... | --list
    ctl_backups unhold USER...

";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, UsageError> {
        match parse(line.split(' ').map(OsString::from), Order::Permute)? {
            Request::Run(options) => Ok(options),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_c_refuses_is_refused() {
        for line in [
            "",
            "frob",
            "-C x",
            "-Z list",
            "list -t 0",
            "list -t anne",
            "list -t -u anne",
            "list -p anne",
            "list -x cmd anne",
            "lock -p -s anne",
            "lock -s -x cmd anne",
            "lock -p -p anne",
            "lock anne bea",
            "lock -A",
            "lock -P a",
            "-j -v list",
            "list -vj",
            "list -A -P an",
            "list -A anne",
            "list -A -A",
            "-u -u list anne",
            "list -C",
            "list --stale=0",
        ] {
            assert_eq!(read(line), Err(UsageError), "{line}");
        }
    }

    #[test]
    fn modes_and_defaults() {
        for (line, mode, names) in [
            ("list", Mode::All, 0),
            ("list -u", Mode::Userids, 0),
            ("verify", Mode::Userids, 0),
            ("list anne", Mode::Userids, 1),
            ("-A verify", Mode::All, 0),
            ("verify -f a b", Mode::Files, 2),
            ("verify a -m b", Mode::Mailboxes, 2),
        ] {
            let options = read(line).expect(line);
            assert_eq!((options.mode, options.names.len()), (mode, names), "{line}");
        }
    }

    #[test]
    fn the_greedy_t() {
        assert_eq!(read("list anne -t").expect("-t last").stale_hours, Some(24));
        assert_eq!(
            read("list -t 48x anne").expect("hours").stale_hours,
            Some(48)
        );
        assert_eq!(
            read("list -t -1000000").expect("hours").stale_hours,
            Some(-1_000_000)
        );
        assert_eq!(
            read("list --stale anne").expect("no hours").stale_hours,
            Some(24)
        );
        assert_eq!(
            read("verify -t 5").expect("ignored").names,
            [""; 0].map(OsString::from)
        );
    }

    #[test]
    fn lock_options() {
        let options = read("lock -c -x true anne").expect("-x");
        assert_eq!(options.while_locked, WhileLocked::Execute("true".into()));
        assert!(options.create);
        assert_eq!(
            read("lock").expect("no name").while_locked,
            WhileLocked::Pause
        );
        assert!(read("-c list anne").is_ok());
    }
}

//! The command line of cyr_backup (spec: ondisk 7.4): C's options and rules, the long options of
//! newer C versions, and our own `--help` and `--version`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::tools::getopt::{self, Complaint, Opt, Order, Value};
use crate::tools::target::Mode;

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
    /// How many `-v`.
    pub verbose: u8,
    /// `--at`: the backup as it was then, as typed.
    pub at: Option<String>,
    /// How `backup` is meant.
    pub mode: Mode,
    /// Which backup.
    pub backup: OsString,
    /// What to do.
    pub command: Command,
    /// What to do it with; as many as the command needs.
    pub arguments: Vec<OsString>,
}

/// Verb and noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the words of the command line; the usage text explains them"
)]
pub enum Command {
    ListAll,
    ListChunks,
    ListMailboxes,
    ListMessages,
    ShowChunks,
    ShowMailboxes,
    ShowMessages,
    DumpChunk,
    DumpMailbox,
    DumpMessage,
    JsonChunks,
    JsonMailboxes,
    JsonMessages,
    JsonHeaders,
}

/// The command line does not make sense: print getopt's complaint if there is one, then
/// [`USAGE`], and exit 64.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(pub Option<Complaint>);

#[derive(Clone, Copy)]
pub(super) enum Key {
    Config,
    Verbose,
    Mode(Mode),
    At,
    Help,
    Version,
}

const fn opt(key: Key, short: Option<u8>, long: &'static str) -> Opt<Key> {
    Opt {
        key,
        short,
        long: Some(long),
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
    opt(Key::Verbose, Some(b'v'), "verbose"),
    opt(Key::Mode(Mode::Files), Some(b'f'), "filename"),
    opt(Key::Mode(Mode::Mailboxes), Some(b'm'), "mailbox"),
    opt(Key::Mode(Mode::Userids), Some(b'u'), "userid"),
    Opt {
        key: Key::At,
        short: None,
        long: Some("at"),
        value: Value::Required,
    },
    opt(Key::Help, None, "help"),
    opt(Key::Version, None, "version"),
];

/// Reads the words behind the program name.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    order: Order,
) -> Result<Request, UsageError> {
    let parsed = getopt::parse(OPTIONS, words, order).map_err(|c| UsageError(Some(c)))?;
    let (mut config, mut verbose, mut mode, mut at) = (None, 0u8, None, None);
    for (key, value) in parsed.options {
        match key {
            Key::Config => config = value.map(PathBuf::from),
            Key::Verbose => verbose = verbose.saturating_add(1),
            Key::Mode(_) if mode.is_some() => return Err(UsageError(None)),
            Key::Mode(given) => mode = Some(given),
            Key::At => at = value.map(|text| text.to_string_lossy().into_owned()),
            Key::Help => return Ok(Request::Help),
            Key::Version => return Ok(Request::Version),
        }
    }
    let mut operands = parsed.operands.into_iter();
    let (Some(backup), Some(verb), Some(noun)) =
        (operands.next(), operands.next(), operands.next())
    else {
        return Err(UsageError(None));
    };
    let arguments: Vec<OsString> = operands.collect();
    let (command, takes) = command(&verb, &noun).ok_or(UsageError(None))?;
    if !takes.fits(arguments.len()) {
        return Err(UsageError(None));
    }
    let mode = mode.unwrap_or(Mode::Userids);
    Ok(Request::Run(Options {
        config,
        verbose,
        at,
        mode,
        backup,
        command,
        arguments,
    }))
}

#[derive(Clone, Copy)]
enum Takes {
    None,
    One,
    Some,
}

impl Takes {
    fn fits(self, count: usize) -> bool {
        match self {
            Takes::None => count == 0,
            Takes::One => count == 1,
            Takes::Some => count > 0,
        }
    }
}

fn command(verb: &OsStr, noun: &OsStr) -> Option<(Command, Takes)> {
    Some(match (verb.to_str()?, noun.to_str()?) {
        ("list", "all") => (Command::ListAll, Takes::None),
        ("list", "chunks") => (Command::ListChunks, Takes::None),
        ("list", "mailboxes") => (Command::ListMailboxes, Takes::None),
        ("list", "messages") => (Command::ListMessages, Takes::None),
        ("show", "chunks") => (Command::ShowChunks, Takes::Some),
        ("show", "mailboxes") => (Command::ShowMailboxes, Takes::Some),
        ("show", "messages") => (Command::ShowMessages, Takes::Some),
        ("dump", "chunk") => (Command::DumpChunk, Takes::One),
        ("dump", "mailbox") => (Command::DumpMailbox, Takes::One),
        ("dump", "message") => (Command::DumpMessage, Takes::One),
        ("json", "chunks") => (Command::JsonChunks, Takes::None),
        ("json", "mailboxes") => (Command::JsonMailboxes, Takes::None),
        ("json", "messages") => (Command::JsonMessages, Takes::None),
        ("json", "headers") => (Command::JsonHeaders, Takes::Some),
        _ => return None,
    })
}

/// C's usage text.
pub const USAGE: &str = "\
Usage:
    cyr_backup [options] [mode] backup list chunks
    cyr_backup [options] [mode] backup list mailboxes
    cyr_backup [options] [mode] backup list messages
    cyr_backup [options] [mode] backup list all
    cyr_backup [options] [mode] backup show chunks id...
    cyr_backup [options] [mode] backup show mailboxes [mboxname | uniqueid]...
    cyr_backup [options] [mode] backup show messages guid...
    cyr_backup [options] [mode] backup dump chunk id
    cyr_backup [options] [mode] backup dump message guid
    cyr_backup [options] [mode] backup json chunks
    cyr_backup [options] [mode] backup json mailboxes
    cyr_backup [options] [mode] backup json messages
    cyr_backup [options] [mode] backup json headers guid...

Commands:
    list                # list specified items
    show                # show detailed information for specified items
    dump                # show entire item
    json                # show detailed information in json format

Options:
    -C alt_config       # alternate config file
    -v                  # verbose

Modes:
    -f                  # specified backup interpreted as filename
    -m                  # specified backup interpreted as mboxname
    -u                  # specified backup interpreted as userid (default)

";

/// What `--help` adds to [`USAGE`]: everything C 3.6 does not have.
pub const LONG_OPTIONS: &str = "\
Long options:
    --filename --mailbox --userid --verbose --help --version
    --at=time           # the backup as it was at that time: 2026-10-01,
                        # 2026-10-01T09:30, yesterday, 3d (three days ago)

More commands:
    cyr_backup [options] [mode] backup dump mailbox [mboxname | uniqueid]
                        # living messages as an mbox file (mboxrd)
    cyr_backup [options] [mode] backup find [find options]
                        # messages by mailbox, header, date, flag, size and
                        # deletion; find --help shows the options
    cyr_backup [options] [mode] backup tar [tar options]
                        # the tree of a mount as an archive; tar --help

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
            "carol",
            "carol list",
            "carol list frob",
            "carol frob all",
            "carol list all x",
            "-f carol",
            "-u -m carol list all",
            "-u -u carol list all",
            "carol dump message",
            "carol dump message a b",
            "carol show messages",
            "carol json headers",
            "carol DUMP chunk 1",
        ] {
            assert_eq!(read(line), Err(UsageError(None)), "{line}");
        }
        let complaint = Complaint::UnknownShort(b'Z');
        assert_eq!(read("-Z carol list all"), Err(UsageError(Some(complaint))));
    }

    #[test]
    fn options_may_stand_anywhere() {
        let options = read("carol list -v -f chunks -C x").expect("permuted");
        assert_eq!(options.command, Command::ListChunks);
        assert_eq!((options.mode, options.verbose), (Mode::Files, 1));
        assert_eq!(options.config, Some(PathBuf::from("x")));
        let options = read("carol show messages a b").expect("two");
        assert_eq!(options.arguments.len(), 2);
    }
}

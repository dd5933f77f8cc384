//! The command line of restore (spec: ondisk 7.5): C's letters and rules, the long options of newer C
//! versions, and ours.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::csync_client::TlsMode;
use crate::select::SelectArgs;
use crate::tools::target::Mode;

/// Brings mail back from a backup, into a Cyrus server or into files.
///
/// SERVER is HOST[:PORT][/tls], [ADDRESS]:PORT or the path of a socket, where a sync_server or an imapd
/// answers. BACKUP is a userid, or what -f, -m, -u say. A message that lives in the target already is left out,
/// so the same command may run again.
#[derive(Debug, Clone, Parser)]
#[command(name = "restore", version)]
pub struct Options {
    /// SERVER BACKUP OBJECT...
    #[arg(value_name = "WORDS", hide = true)]
    pub words: Vec<OsString>,
    /// ACL of new mailboxes: WHO, tab, RIGHTS, tab, WHO…; empty is the target's default
    #[arg(short = 'A', long, value_name = "ACL", num_args = 0..=1, default_missing_value = "")]
    pub override_acl: Option<String>,
    /// imapd.conf
    #[arg(short = 'C', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Deleted mailboxes keep their names below DELETED; with -a they come along
    #[arg(short = 'D', long)]
    pub keep_deletedprefix: bool,
    /// Read objects from FILE, - is standard input
    #[arg(short = 'F', long, value_name = "FILE")]
    pub input_file: Option<PathBuf>,
    /// Do not tell the target's mupdate server
    #[arg(short = 'L', long)]
    pub local_only: bool,
    /// Everything goes into this mailbox
    #[arg(short = 'M', long, value_name = "MAILBOX", conflicts_with = "into")]
    pub dest_mailbox: Option<String>,
    /// Partition of new mailboxes
    #[arg(short = 'P', long, value_name = "PARTITION")]
    pub dest_partition: Option<String>,
    /// Keep UIDs, UIDVALIDITY, modseqs and identities
    #[arg(short = 'U', long, conflicts_with = "into")]
    pub keep_uidvalidity: bool,
    /// Leave expunged messages out
    #[arg(short = 'X', long)]
    pub skip_expunged: bool,
    /// All mailboxes of the backup that are not deleted
    #[arg(short = 'a', long)]
    pub all_mailboxes: bool,
    /// BACKUP is this data file
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub by_file: Option<OsString>,
    /// BACKUP is the one of this mailbox
    #[arg(short = 'm', long = "mailbox", value_name = "MAILBOX")]
    pub by_mailbox: Option<OsString>,
    /// BACKUP is the one of this user
    #[arg(short = 'u', long = "userid", value_name = "USERID")]
    pub by_userid: Option<OsString>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// With -n: ask the target what it has already
    #[arg(long, requires = "dry_run")]
    pub compare: bool,
    /// With everything below the mailboxes named
    #[arg(short = 'r', long)]
    pub recursive: bool,
    /// Say more
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Wait before starting
    #[arg(short = 'w', long, value_name = "SECONDS")]
    pub delayed_startup: Option<u64>,
    /// Only expunged messages; they come back visible
    #[arg(short = 'x', long)]
    pub only_expunged: bool,
    /// Give up if the server does not compress
    #[arg(short = 'z', long)]
    pub require_compression: bool,

    /// Everything goes below this mailbox: user/anne/RESTORED
    #[arg(long, value_name = "MAILBOX")]
    pub into: Option<String>,
    /// The mailboxes as they were at TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// Also messages that live in the target already
    #[arg(long)]
    pub duplicates: bool,
    /// TLS when the server offers it
    #[arg(long, value_name = "MODE", default_value = "verify")]
    pub tls: Tls,
    /// How long to wait for a backup that is being written to
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub wait: u64,
    /// The plan or the summary as JSON on standard output
    #[arg(long)]
    pub json: bool,

    /// Beyond messages.
    #[command(flatten)]
    pub beyond: Beyond,
    /// Into files.
    #[command(flatten)]
    pub files: Files,
    /// Criteria.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// What is not a message.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Beyond messages")]
pub struct Beyond {
    /// Sieve scripts, with the one that is active
    #[arg(long)]
    pub sieve: bool,
    /// Subscriptions
    #[arg(long)]
    pub subscriptions: bool,
    /// What the user has seen of others' mailboxes
    #[arg(long)]
    pub seen: bool,
    /// Quota
    #[arg(long)]
    pub quota: bool,
    /// Annotations of mailboxes that exist already (new ones get them anyway), and the server's
    #[arg(long)]
    pub annotations: bool,
    /// ACLs of mailboxes that exist already (new ones get them anyway)
    #[arg(long)]
    pub acl: bool,
    /// All of these
    #[arg(long)]
    pub everything: bool,
}

/// Restoring without a server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Into files (no SERVER is named)")]
#[group(multiple = false)]
pub struct Files {
    /// Maildir++ with flags and dates
    #[arg(long, value_name = "DIR")]
    pub to_maildir: Option<PathBuf>,
    /// One new mbox file (mboxrd)
    #[arg(long, value_name = "FILE")]
    pub to_mbox: Option<PathBuf>,
    /// A directory for each mailbox, a file UID.eml for each message
    #[arg(long, value_name = "DIR")]
    pub to_eml: Option<PathBuf>,
}

/// `--tls`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// And only with a certificate that is good for the server's name
    Verify,
    /// As verify, and never without TLS
    Require,
    /// Whoever answers
    Unverified,
    /// Never, unless the server is written with /tls
    Off,
}

impl From<Tls> for TlsMode {
    fn from(tls: Tls) -> TlsMode {
        match tls {
            Tls::Verify => TlsMode::Verify,
            Tls::Require => TlsMode::Require,
            Tls::Unverified => TlsMode::Unverified,
            Tls::Off => TlsMode::Off,
        }
    }
}

impl Beyond {
    /// `--everything` spelled out.
    pub fn all(self) -> Beyond {
        let Beyond { everything, .. } = self;
        Beyond {
            sieve: self.sieve || everything,
            subscriptions: self.subscriptions || everything,
            seen: self.seen || everything,
            quota: self.quota || everything,
            annotations: self.annotations || everything,
            acl: self.acl || everything,
            everything,
        }
    }

    /// Something of it is wanted.
    pub fn any(self) -> bool {
        let all = self.all();
        all.sieve || all.subscriptions || all.seen || all.quota || all.annotations || all.acl
    }
}

/// A command line taken apart.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to; none into files.
    pub server: Option<String>,
    /// How `backup` is meant.
    pub mode: Mode,
    /// Which backup.
    pub backup: OsString,
    /// The objects on the command line.
    pub objects: Vec<OsString>,
    /// Everything else.
    pub options: Options,
}

/// Why a command line is not accepted.
#[derive(Debug)]
pub enum BadLine {
    /// C prints its usage and nothing else; so do we, behind this remark if there is one.
    Usage(Option<String>),
    /// `--help`, `--version`, and what clap complains about.
    Clap(Box<clap::Error>),
}

/// Reads the words behind the program name.
///
/// # Errors
/// The line does not make sense.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, BadLine> {
    // `--mailbox` was C's name of -m before the selection had one.
    let command = Options::command()
        .mut_arg("mailbox", |arg| arg.long("in-mailbox"))
        .mut_arg("guid", |arg| arg.hide(true))
        .override_usage(
            "restore [OPTIONS] SERVER BACKUP [MAILBOX | UNIQUEID | GUID]...\n       \
             restore [OPTIONS] --to-maildir DIR BACKUP [MAILBOX | UNIQUEID | GUID]...",
        );
    let line = std::iter::once(OsString::from("restore")).chain(words);
    let matches = command
        .try_get_matches_from(line)
        .map_err(|error| BadLine::Clap(Box::new(error)))?;
    let options =
        Options::from_arg_matches(&matches).map_err(|error| BadLine::Clap(Box::new(error)))?;
    take_apart(options)
}

fn take_apart(options: Options) -> Result<Request, BadLine> {
    let usage = || BadLine::Usage(None);
    let mut words = options.words.clone().into_iter();
    let server = match options.to_files() {
        true => None,
        false => Some(
            words
                .next()
                .ok_or_else(usage)?
                .into_string()
                .map_err(|_| usage())?,
        ),
    };
    let named = [
        (Mode::Files, options.by_file.clone()),
        (Mode::Mailboxes, options.by_mailbox.clone()),
        (Mode::Userids, options.by_userid.clone()),
    ];
    let mut named = named
        .into_iter()
        .filter_map(|(mode, name)| Some((mode, name?)));
    let (mode, backup) = match named.next() {
        Some(named) => named,
        None => (Mode::Userids, words.next().ok_or_else(usage)?),
    };
    if named.next().is_some() {
        return Err(usage());
    }
    let objects: Vec<OsString> = words.collect();
    options.check(&objects)?;
    Ok(Request {
        server,
        mode,
        backup,
        objects,
        options,
    })
}

impl Options {
    /// Nothing is sent to a server.
    pub fn to_files(&self) -> bool {
        let Files {
            to_maildir,
            to_mbox,
            to_eml,
        } = &self.files;
        to_maildir.is_some() || to_mbox.is_some() || to_eml.is_some()
    }

    /// Criteria were given.
    pub fn selects(&self) -> bool {
        let SelectArgs {
            mailbox,
            tree,
            guid,
            uid,
            from,
            to,
            subject,
            message_id,
            header,
            since,
            before,
            sent_since,
            sent_before,
            flag,
            no_flag,
            min_size,
            max_size,
            expunged,
            not_expunged,
            expunged_since,
            expunged_until,
            deleted,
            not_deleted,
            deleted_since,
            deleted_until,
        } = &self.select;
        let lists = [mailbox, tree, from, to, subject, message_id, flag, no_flag];
        let times = [
            since,
            before,
            sent_since,
            sent_before,
            expunged_since,
            expunged_until,
            deleted_since,
            deleted_until,
        ];
        lists.iter().any(|list| !list.is_empty())
            || times.iter().any(|time| time.is_some())
            || !guid.is_empty()
            || !header.is_empty()
            || uid.is_some()
            || min_size.is_some()
            || max_size.is_some()
            || *expunged
            || *not_expunged
            || *deleted
            || *not_deleted
    }

    /// Expunged messages are what is asked for.
    pub fn asks_for_expunged(&self) -> bool {
        let select = &self.select;
        self.only_expunged
            || select.expunged
            || select.expunged_since.is_some()
            || select.expunged_until.is_some()
    }

    /// Deleted mailboxes are what is asked for.
    pub fn asks_for_deleted(&self) -> bool {
        let select = &self.select;
        select.deleted || select.deleted_since.is_some() || select.deleted_until.is_some()
    }

    fn check(&self, objects: &[OsString]) -> Result<(), BadLine> {
        let overrides = self.override_acl.is_some()
            || self.dest_mailbox.is_some()
            || self.dest_partition.is_some();
        let from_file = self.input_file.is_some();
        let named = self.all_mailboxes || from_file;
        let something = named || !objects.is_empty() || self.selects() || self.beyond.any();
        let c_refuses = self.keep_uidvalidity && overrides
            || self.skip_expunged && self.only_expunged
            || self.all_mailboxes && from_file
            || named && !objects.is_empty()
            || !something;
        if c_refuses {
            return Err(BadLine::Usage(None));
        }
        let remark = |text: &str| Err(BadLine::Usage(Some(text.to_owned())));
        if self.skip_expunged && self.asks_for_expunged() {
            return remark("-X leaves out what --expunged… asks for");
        }
        let all = self.beyond.all();
        let acl_alone = all.acl
            && !(all.sieve || all.subscriptions || all.seen || all.quota || all.annotations);
        if acl_alone && !named && objects.is_empty() && !self.selects() {
            return remark("--acl is about mailboxes: name some, or say -a");
        }
        if self.into.is_some() && self.keep_deletedprefix {
            return remark("-D keeps names, --into changes them");
        }
        let moves = self.into.is_some() || self.dest_mailbox.is_some();
        let Beyond {
            sieve,
            subscriptions,
            seen,
            quota,
            ..
        } = all;
        if moves && (sieve || subscriptions || seen || quota) {
            return remark(
                "scripts, subscriptions, seen state and quota go to the user they came from: leave out -M and --into",
            );
        }
        if self.to_files() && (self.beyond.any() || moves || self.keep_uidvalidity) {
            return remark("into files go messages only, below their own names");
        }
        Ok(())
    }
}

/// C's usage text.
pub const USAGE: &str = "\
Usage:
    restore [options] server [mode] backup [mboxname | uniqueid | guid]...

Options:
    -A [acl]            # apply specified acl to restored mailboxes
    -C alt_config       # alternate config file
    -D                  # don't trim deletedprefix before restoring
    -F input-file       # read mailboxes/messages from file rather than argv
    -L                  # local mailbox operations only (no mupdate)
    -M mboxname         # restore messages to specified mailbox
    -P partition        # restore mailboxes to specified partition
    -U                  # try to preserve uniqueid, uid, modseq, etc
    -X                  # don't restore expunged messages
    -a                  # try to restore all mailboxes in backup
    -n                  # calculate work required but don't perform restoration
    -r                  # recurse into submailboxes
    -v                  # verbose (repeat for more verbosity)
    -w seconds          # wait before starting (useful for attaching a debugger)
    -x                  # only restore expunged messages
    -z                  # require compression (abort if compression unavailable)

Modes:
    -f                  # specified backup interpreted as filename
    -m                  # specified backup interpreted as mboxname
    -u                  # specified backup interpreted as userid (default)

";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, BadLine> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn what_c_refuses_is_refused_with_its_usage_alone() {
        for line in [
            "srv",
            "srv anne",
            "-a",
            "-U -A acl srv anne x",
            "-U -M user.x srv anne x",
            "-U -P p srv anne x",
            "-X -x srv anne x",
            "-a -F - srv anne",
            "-a srv anne x",
            "-F - srv anne x",
            "-f file -u anne srv x",
        ] {
            assert!(matches!(read(line), Err(BadLine::Usage(None))), "{line}");
        }
    }

    #[test]
    fn words_go_to_server_backup_and_objects() {
        let shown = |line: &str| {
            let Request {
                server,
                mode,
                backup,
                objects,
                ..
            } = read(line).unwrap_or_else(|bad| panic!("{line}: {bad:?}"));
            let objects: Vec<_> = objects.iter().map(|o| o.display().to_string()).collect();
            let server = server.unwrap_or_else(|| "-".to_owned());
            format!(
                "{server} {mode:?} {} {}",
                backup.display(),
                objects.join(",")
            )
        };
        assert_eq!(shown("srv anne a b"), "srv Userids anne a,b");
        assert_eq!(shown("-nvf b/x srv a"), "srv Files b/x a");
        assert_eq!(shown("srv -m user.x a -v"), "srv Mailboxes user.x a");
        assert_eq!(shown("--mailbox=user.x srv a"), "srv Mailboxes user.x a");
        assert_eq!(shown("--to-maildir d anne a"), "- Userids anne a");
        assert_eq!(shown("srv anne --sieve"), "srv Userids anne ");
        assert_eq!(shown("srv anne --from bob"), "srv Userids anne ");
        assert_eq!(shown("-n srv anne a -A"), "srv Userids anne a");
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        for line in [
            "-X --expunged-since 1d srv anne",
            "--into user.x -D srv anne a",
            "--acl srv anne",
            "--into user.x --sieve srv anne a",
            "--to-eml d --sieve anne",
        ] {
            assert!(matches!(read(line), Err(BadLine::Usage(Some(_)))), "{line}");
        }
        for line in [
            "--frob srv anne a",
            "--to-eml d --to-mbox m anne a",
            "--compare srv anne a",
        ] {
            assert!(matches!(read(line), Err(BadLine::Clap(_))), "{line}");
        }
    }
}

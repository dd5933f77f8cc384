//! What mount(8) hands to a helper: SPEC and `-o`, as values (spec: crates 1.5). Pure.

use std::path::PathBuf;
use std::time::Duration;

use crate::view::mails::Layout;
use crate::view::open::LockMode;
use crate::view::tree::Shape;

/// What is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// The backup of this user (or `%SHARED`), found through backups.db.
    User(String),
    /// This data file: needs neither backups.db nor imapd.conf.
    File(PathBuf),
    /// All users in backups.db, a directory for each.
    All,
}

impl Spec {
    /// Reads `all`, `file:PATH` or a userid. `user:NAME` is for names that look like the others.
    pub fn parse(spec: &str) -> Spec {
        if spec == "all" {
            Spec::All
        } else if let Some(path) = spec.strip_prefix("file:") {
            Spec::File(path.into())
        } else {
            Spec::User(spec.strip_prefix("user:").unwrap_or(spec).to_owned())
        }
    }
}

/// The options after `-o`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `config=FILE`: the imapd.conf.
    pub config: Option<PathBuf>,
    /// `lock=hold|none`
    pub lock: LockMode,
    /// `wait=SECONDS`: how long to try for a lock that somebody else holds; at first not at all.
    pub wait: Duration,
    /// `at=TIME`: the backup as it was then; the text is read by whoever knows the clock.
    pub at: Option<String>,
    /// `layout=eml|maildir` and `chunks=gz|plain`
    pub shape: Shape,
    /// `cache=MEGABYTES`: memory for inflated messages of one backup.
    pub cache: Option<usize>,
    /// `allow_other`: other users may enter; the kernel checks modes.
    pub allow_other: bool,
    /// `uid=`: owner shown, instead of the user who mounts.
    pub uid: Option<u32>,
    /// `gid=`: group shown, instead of the group of the user who mounts.
    pub gid: Option<u32>,
    /// `umask=`: permission bits that no file has (octal); 077 when not given.
    pub umask: Option<u16>,
    /// `nonempty`: mount over a mount of ours.
    pub nonempty: bool,
    /// `noxattr`: no extended attributes; asking for each costs `cp -a` a lot.
    pub noxattr: bool,
    /// `foreground`: do not become a daemon.
    pub foreground: bool,
    /// `remount`: asked by `mount -o remount`; there is nothing to change.
    pub remount: bool,
}

/// An option that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Nobody knows this option.
    #[error("unknown mount option \"{0}\"")]
    Unknown(String),
    /// The value does not fit.
    #[error("mount option \"{name}\" needs {expected}, not \"{value}\"")]
    BadValue {
        /// Name of the option.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        value: String,
    },
}

impl Options {
    /// Permission bits that files do not have.
    pub fn umask(&self) -> u16 {
        self.umask.unwrap_or(0o077)
    }

    /// Takes the value of one `-o`, a list with commas; later options win.
    pub fn add(&mut self, list: &str) -> Result<(), OptionError> {
        list.split(',')
            .filter(|option| !option.is_empty())
            .try_for_each(|option| self.add_one(option))
    }

    fn add_one(&mut self, option: &str) -> Result<(), OptionError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match (name, value) {
            ("config", Some(file)) => self.config = Some(file.into()),
            ("lock", Some("hold")) => self.lock = LockMode::Hold,
            ("lock", Some("none")) => self.lock = LockMode::None,
            ("lock", value) => return bad("lock", "hold or none", value),
            ("at", Some(time)) if !time.is_empty() => self.at = Some(time.to_owned()),
            ("at", value) => return bad("at", "a time", value),
            ("layout", Some("eml")) => self.shape.layout = Layout::Eml,
            ("layout", Some("maildir")) => self.shape.layout = Layout::Maildir,
            ("layout", value) => return bad("layout", "eml or maildir", value),
            ("chunks", Some("gz")) => self.shape.plain_chunks = false,
            ("chunks", Some("plain")) => self.shape.plain_chunks = true,
            ("chunks", value) => return bad("chunks", "gz or plain", value),
            ("cache", value) => {
                let megabytes = number("cache", "a number of megabytes", value, 10)?;
                self.cache = Some(megabytes as usize);
            }
            ("wait", value) => {
                let seconds = number("wait", "a number of seconds", value, 10)?;
                self.wait = Duration::from_secs(seconds.into());
            }
            ("uid", value) => self.uid = Some(number("uid", "a numeric user id", value, 10)?),
            ("gid", value) => self.gid = Some(number("gid", "a numeric group id", value, 10)?),
            ("umask", value) => {
                let bits = number("umask", "three octal digits", value, 8)?;
                match u16::try_from(bits) {
                    Ok(bits @ ..=0o777) => self.umask = Some(bits),
                    _ => return bad("umask", "three octal digits", value),
                }
            }
            ("allow_other", None) => self.allow_other = true,
            ("nonempty", None) => self.nonempty = true,
            ("noxattr", None) => self.noxattr = true,
            ("foreground", None) => self.foreground = true,
            ("remount", None) => self.remount = true,
            _ if is_bookkeeping(name, value) => {}
            _ => return Err(OptionError::Unknown(option.to_owned())),
        }
        Ok(())
    }
}

/// Options for mount(8), systemd and the kernel that change nothing here: the mount is read-only,
/// without devices, programs or access times, and checks permissions, whatever is asked.
fn is_bookkeeping(name: &str, value: Option<&str>) -> bool {
    const PLAIN: &[&str] = &[
        "ro",
        "rw",
        "defaults",
        "auto",
        "noauto",
        "nofail",
        "_netdev",
        "user",
        "users",
        "nouser",
        "owner",
        "group",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "sync",
        "async",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "lazytime",
        "nolazytime",
        "dirsync",
        "silent",
        "loud",
        "mand",
        "nomand",
        "iversion",
        "noiversion",
        "default_permissions",
    ];
    match value {
        None => PLAIN.contains(&name) || is_userspace(name),
        // `mount -o remount` repeats what the mount table says of the mount.
        Some(_) => ["user", "comment", "user_id", "group_id"].contains(&name) || is_userspace(name),
    }
}

/// `x-systemd.automount` and the like: mount(8) removes most of them itself.
fn is_userspace(name: &str) -> bool {
    name.starts_with("x-") || name.starts_with("X-")
}

fn number(
    name: &'static str,
    expected: &'static str,
    value: Option<&str>,
    radix: u32,
) -> Result<u32, OptionError> {
    let digits = value.filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|d| u32::from_str_radix(d, radix).ok()) {
        Some(number) => Ok(number),
        None => bad(name, expected, value),
    }
}

fn bad<T>(
    name: &'static str,
    expected: &'static str,
    value: Option<&str>,
) -> Result<T, OptionError> {
    Err(OptionError::BadValue {
        name,
        expected,
        value: value.unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Options, OptionError> {
        let mut options = Options::default();
        options.add(list).map(|()| options)
    }

    #[test]
    fn specs() {
        assert_eq!(Spec::parse("all"), Spec::All);
        assert_eq!(
            Spec::parse("file:/b/x_AAAAAA"),
            Spec::File("/b/x_AAAAAA".into())
        );
        assert_eq!(Spec::parse("anne"), Spec::User("anne".into()));
        assert_eq!(Spec::parse("user:all"), Spec::User("all".into()));
        assert_eq!(Spec::parse("%SHARED"), Spec::User("%SHARED".into()));
    }

    #[test]
    fn ours_are_understood() {
        let options = parse(
            "rw,config=/etc/b.conf,lock=none,wait=30,allow_other,uid=7,gid=8,umask=027,nonempty,\
             at=2026-10-01,layout=maildir,chunks=plain,cache=7,noxattr",
        );
        let expected = Options {
            config: Some("/etc/b.conf".into()),
            lock: LockMode::None,
            wait: Duration::from_secs(30),
            at: Some("2026-10-01".to_owned()),
            shape: Shape {
                layout: Layout::Maildir,
                plain_chunks: true,
            },
            cache: Some(7),
            noxattr: true,
            allow_other: true,
            uid: Some(7),
            gid: Some(8),
            umask: Some(0o027),
            nonempty: true,
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
        assert_eq!(Options::default().umask(), 0o077);
        assert_eq!(parse("lock=none,lock=hold,,").unwrap().lock, LockMode::Hold);
    }

    #[test]
    fn bookkeeping_changes_nothing() {
        let list = "ro,_netdev,nofail,users,user=anne,exec,suid,dev,noexec,nosuid,nodev,\
                    x-systemd.automount,x-systemd.idle-timeout=600,comment=night,defaults,relatime,\
                    user_id=0,group_id=0";
        assert_eq!(parse(list), Ok(Options::default()));
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        for (list, text) in [
            ("ro,frobnicate", "unknown mount option \"frobnicate\""),
            ("ro=1", "unknown mount option \"ro=1\""),
            (
                "allow_other=yes",
                "unknown mount option \"allow_other=yes\"",
            ),
            (
                "lock=maybe",
                "mount option \"lock\" needs hold or none, not \"maybe\"",
            ),
            (
                "wait=-1",
                "mount option \"wait\" needs a number of seconds, not \"-1\"",
            ),
            (
                "uid=anne",
                "mount option \"uid\" needs a numeric user id, not \"anne\"",
            ),
            (
                "umask=999",
                "mount option \"umask\" needs three octal digits, not \"999\"",
            ),
            (
                "umask=7777",
                "mount option \"umask\" needs three octal digits, not \"7777\"",
            ),
            ("config", "unknown mount option \"config\""),
            ("at=", "mount option \"at\" needs a time, not \"\""),
            (
                "layout=mbox",
                "mount option \"layout\" needs eml or maildir, not \"mbox\"",
            ),
            (
                "chunks",
                "mount option \"chunks\" needs gz or plain, not \"\"",
            ),
        ] {
            assert_eq!(parse(list).unwrap_err().to_string(), text);
        }
    }
}

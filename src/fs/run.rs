//! One mount from its plan to its end: checks the place, opens the backup, mounts, says that it is
//! ready, and serves until the unmount.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::daemon::{self, Ready};
use super::fuse::{Adapter, Owner};
use super::guard::{self, GuardError, Mount, StoreDir};
use super::identity::Identity;
use super::mount::{self, Mounted};
use super::options::{Options, Spec};
use crate::select::{Clock, NotATime};
use crate::types::{BackupKey, Namespace};
use crate::view::inode::{self, Blocks};
use crate::view::moments::Moments;
use crate::view::open::{self, How};
use crate::view::ops::{Ops, Root};
use crate::view::tree::{Tree, TreeConfig};
use crate::view::users::{Account, Users};
use crate::view::{ViewError, names};

/// Threads that answer the kernel, if there are so many processors.
const THREADS: usize = 4;

/// What is known about the backups before one is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// How mailbox names are read.
    pub namespace: Namespace,
    /// backups.db; not needed for `file:`.
    pub backup_db: Option<PathBuf>,
    /// Where a mount must not go.
    pub store_dirs: Vec<StoreDir>,
    /// User and group who own the backups; `None` = whoever calls.
    pub run_as: Option<(String, Option<String>)>,
}

/// Why there is no mount.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The place is wrong.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The backup cannot be opened.
    #[error(transparent)]
    Backup(#[from] ViewError),
    /// No backup of this name.
    #[error("no backup of {key} in {}", db.display())]
    NoBackup {
        /// What was asked for.
        key: String,
        /// backups.db.
        db: PathBuf,
    },
    /// The name cannot be one of a user.
    #[error("\"{0}\" is no userid: mount a userid, file:PATH, or all")]
    BadUser(String),
    /// `remount` where nothing of ours is mounted.
    #[error("{} is no mount of cyrusbackup", .0.display())]
    NotMounted(PathBuf),
    /// `at=` is no time, or one to come.
    #[error("at={0}: {1}")]
    BadTime(String, String),
    /// More users than inode numbers can tell apart.
    #[error("too many backups for one mount: mount users one by one")]
    TooMany,
    /// The system refused.
    #[error("{what}: {cause}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl RunError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
        let what = what.into();
        move |cause| RunError::Io { what, cause }
    }
}

/// A mount that may begin.
#[derive(Debug)]
pub struct Plan {
    spec: Spec,
    source: String,
    dir: PathBuf,
    options: Options,
    settings: Settings,
    /// What time it is.
    clock: Clock,
    /// The moment of `at=`, in unix seconds.
    at: Option<i64>,
}

impl Plan {
    /// Checks everything that can be checked before the backup is opened. `source` is SPEC as it was
    /// given. A dead mount of ours that is in the way is taken away.
    ///
    /// # Errors
    /// The directory is missing, taken, or part of the store.
    pub fn new(
        source: &str,
        dir: &Path,
        options: Options,
        mut settings: Settings,
        clock: Clock,
    ) -> Result<Plan, RunError> {
        let mut spec = Spec::parse(source);
        let at = moment(options.at.as_deref(), &clock)?;
        let dir = place(dir)?;
        if let Spec::File(path) = &mut spec {
            // The daemon's current directory is /.
            let shown = path.display().to_string();
            *path = path.canonicalize().map_err(RunError::io(shown))?;
            settings.store_dirs.push(StoreDir {
                what: "backup".to_owned(),
                path: path.clone(),
                exact: true,
            });
        }
        let table = look(&dir)?;
        if table.is_some_and(|mount| mount.is_ours()) && !options.nonempty {
            return Err(GuardError::Mounted { dir }.into());
        }
        guard::check_store(&dir, &settings.store_dirs)?;
        let source = source.to_owned();
        Ok(Plan {
            spec,
            source,
            dir,
            options,
            settings,
            clock,
            at,
        })
    }

    /// Mounts and serves. Returns when the mount has ended; `ready` hears when it can be used, or
    /// comes back with the error.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(self, ready: Ready) -> Result<(), (RunError, Ready)> {
        let begin = || -> Result<_, RunError> {
            let signals = daemon::hold_signals().map_err(RunError::io("signals"))?;
            daemon::raise_file_limit();
            let identity = self.identity()?;
            let moments = Moments::new(self.clock.clone());
            let ops = Arc::new(Ops::new(self.root()?, moments));
            let adapter = Adapter::new(ops, self.owner(), !self.options.noxattr);
            let (session, mounted) = self.mount(identity, adapter)?;
            let unmount = mounted.clone();
            daemon::on_signal(signals, move || {
                identity.privileged(|| unmount.unmount())?
            })
            .map_err(RunError::io("signals"))?;
            Ok(session)
        };
        let session = match begin() {
            Ok(session) => session,
            Err(error) => return Err((error, ready)),
        };
        tracing::info!("{} mounted on {}", self.source, self.dir.display());
        // Whoever waits must not be told twice: from here on errors are only logged.
        if let Err(error) = ready.done() {
            tracing::error!("cannot let go of the terminal: {error}");
        }
        if let Err(error) = session.run() {
            tracing::error!("{}: {error}", self.dir.display());
        }
        tracing::info!("{} unmounted", self.dir.display());
        Ok(())
    }

    fn identity(&self) -> Result<Identity, RunError> {
        match &self.settings.run_as {
            None => Ok(Identity::caller()),
            Some((user, group)) => Identity::become_user(user, group.as_deref())
                .map_err(RunError::io("cannot become the Cyrus user")),
        }
    }

    fn root(&self) -> Result<Root, RunError> {
        match &self.spec {
            Spec::File(path) => self.sole(path, key_of_path(path)),
            Spec::User(user) => {
                let key = BackupKey::from_userid(user);
                let key = key.map_err(|_| RunError::BadUser(user.clone()))?;
                let path = open::find(self.catalog(), &key)?;
                let path = path.ok_or_else(|| RunError::NoBackup {
                    key: key.to_string(),
                    db: self.catalog().to_owned(),
                })?;
                self.sole(&path, Some(key.as_str()))
            }
            Spec::All => {
                let accounts = open::all(self.catalog())?.into_iter();
                let accounts = accounts.map(|(key, path)| account(key, path)).collect();
                let (how, at) = (self.how(), self.at);
                let opener = Box::new(move |path: &Path| open::open(path, how, at));
                let namespace = self.settings.namespace.clone();
                let (shape, past) = (self.options.shape, at.is_some());
                let users = Users::new(accounts, namespace, shape, past, opener);
                users.map(Box::new).map(Root::Many).ok_or(RunError::TooMany)
            }
        }
    }

    fn sole(&self, path: &Path, key: Option<&str>) -> Result<Root, RunError> {
        let source = open::open(path, self.how(), self.at)?;
        let config = TreeConfig {
            key,
            namespace: &self.settings.namespace,
            shape: self.options.shape,
            past: self.at.is_some(),
            parent: inode::ROOT,
            time: None,
        };
        let view = Tree::open(source, &config, |_| Some(Blocks::Sole))?;
        Ok(Root::Sole(Arc::new(view)))
    }

    fn how(&self) -> How {
        How {
            lock: self.options.lock,
            wait: self.options.wait,
            cache: self.options.cache.map(|megabytes| megabytes << 20),
        }
    }

    fn catalog(&self) -> &Path {
        self.settings.backup_db.as_deref().unwrap_or(Path::new(""))
    }

    fn owner(&self) -> Owner {
        Owner {
            uid: self.options.uid.unwrap_or(nix::unistd::getuid().as_raw()),
            gid: self.options.gid.unwrap_or(nix::unistd::getgid().as_raw()),
            umask: self.options.umask(),
        }
    }

    fn mount(
        &self,
        identity: Identity,
        adapter: Adapter,
    ) -> Result<(fuser::Session<Adapter>, Mounted), RunError> {
        let source: &OsStr = self.source.as_ref();
        let what = || format!("cannot mount on {}", self.dir.display());
        let mounting = || mount::mount(&self.dir, source, self.options.allow_other);
        let mounted = identity.privileged(mounting).and_then(|mounted| mounted);
        let (fd, mounted) = mounted.map_err(RunError::io(what()))?;
        // The kernel decides who may enter.
        let acl = fuser::SessionACL::All;
        let mut config = fuser::Config::default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        config.n_threads = Some(cores.min(THREADS));
        match fuser::Session::from_fd(adapter, fd, acl, config) {
            Ok(session) => Ok((session, mounted)),
            Err(error) => {
                let unmounted = identity.privileged(|| mounted.unmount());
                if let Err(error) = unmounted.and_then(|unmounted| unmounted) {
                    tracing::error!("unmount: {error}");
                }
                Err(RunError::io(what())(error))
            }
        }
    }
}

/// The moment that `at=` means.
fn moment(at: Option<&str>, clock: &Clock) -> Result<Option<i64>, RunError> {
    let Some(text) = at else { return Ok(None) };
    let bad = |why: String| RunError::BadTime(text.to_owned(), why);
    let time = clock
        .parse(text)
        .map_err(|e: NotATime| bad(e.to_string()))?;
    match time > clock.now {
        true => Err(bad(format!("{} has not come yet", names::compact(time)))),
        false => Ok(Some(time)),
    }
}

/// `mount -o remount`: there is nothing to change, if there is a mount at all.
///
/// # Errors
/// Nothing of ours is mounted there.
pub fn remount(dir: &Path) -> Result<(), RunError> {
    let shown = dir.display().to_string();
    let dir = dir.canonicalize().map_err(RunError::io(shown))?;
    match look(&dir)? {
        Some(mount) if mount.is_ours() => Ok(()),
        _ => Err(RunError::NotMounted(dir)),
    }
}

/// The canonical directory to mount on. A mount whose daemon died answers nothing and hides the
/// directory, so it has to go first.
fn place(dir: &Path) -> Result<PathBuf, RunError> {
    let shown = dir.display().to_string();
    if mount::is_dead(dir) {
        let absolute = std::path::absolute(dir).map_err(RunError::io(shown.clone()))?;
        if look(&absolute)?.is_some_and(|mount| mount.is_ours()) {
            tracing::warn!("{shown}: taking away a mount whose daemon died");
            mount::detach(&absolute).map_err(RunError::io(shown.clone()))?;
        }
    }
    let dir = dir.canonicalize().map_err(RunError::io(shown.clone()))?;
    match dir.is_dir() {
        true => Ok(dir),
        false => Err(RunError::io(shown)(io::ErrorKind::NotADirectory.into())),
    }
}

fn look(dir: &Path) -> Result<Option<Mount>, RunError> {
    mount::look(dir).map_err(RunError::io("/proc/self/mountinfo"))
}

/// A data file is called `<key>_XXXXXX` (spec ondisk 2.7); another name says nothing.
fn key_of_path(path: &Path) -> Option<&str> {
    let (key, random) = path.file_name()?.to_str()?.rsplit_once('_')?;
    let plausible = random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric());
    plausible.then_some(key)
}

/// What can be said of a backup without opening it. One that cannot even be looked at is listed all
/// the same, and fails when it is entered.
fn account(key: String, path: PathBuf) -> Account {
    let (len, time) = match path.metadata() {
        Ok(meta) => (meta.len(), meta.mtime()),
        Err(error) => {
            tracing::error!("{}: {error}", path.display());
            (0, 0)
        }
    };
    Account {
        key,
        path,
        len,
        time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_files_say_whose_they_are() {
        let key = |path: &str| key_of_path(Path::new(path)).map(str::to_owned);
        assert_eq!(key("/p/a/anne_sGEZYM").as_deref(), Some("anne"));
        assert_eq!(key("/p/a/a_b@x_sGEZY1").as_deref(), Some("a_b@x"));
        assert_eq!(key("/tape/anne"), None);
        assert_eq!(key("/tape/anne_copy"), None);
    }
}

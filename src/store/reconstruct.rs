//! backups.db from the files: looks through all partitions, finds whose each file is by what is in
//! it, and says what the entries ought to be. Planning touches nothing.
//!
//! Safe beside a running backupd: no lock is held while looking, and of the plan only those entries
//! are changed that are still what they were before ([`Catalog::reconcile`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::catalog::{Catalog, CatalogError, Change};
use super::error::{Result, StoreError};
use super::family::is_suffix;
use super::layout;
use super::owner::{self, Content};
use super::twoskip::Fault;
use crate::types::{BackupKey, Namespace};

/// What the entries ought to be.
#[derive(Debug, Default)]
pub struct Plan {
    /// One for each backup and each entry, by key.
    pub verdicts: Vec<Verdict>,
    /// Files that are a backup of somebody who has a better one.
    pub duplicates: Vec<Duplicate>,
    /// Files in the partitions that are no backup, or nobody's.
    pub strangers: Vec<Stranger>,
    /// Partitions without any file, as a disk that is not mounted looks.
    pub vacant: Vec<PathBuf>,
    /// Why backups.db could not be read; then it is written anew.
    pub unreadable: Option<String>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whose backup.
    pub key: BackupKey,
    /// The entry now.
    pub before: Option<PathBuf>,
    /// The entry as it ought to be.
    pub after: Option<PathBuf>,
    /// Why, when that needs words.
    pub remark: Option<String>,
}

/// A second backup of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Whose it is.
    pub key: BackupKey,
    /// The file.
    pub path: PathBuf,
    /// The one that was chosen, and why.
    pub chosen: String,
}

/// A file that nobody can call a backup of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// A file with what is in it.
struct Candidate {
    path: PathBuf,
    content: Content,
    /// For telling two names of one file.
    inode: (u64, u64),
}

/// Looks at everything and decides.
///
/// # Errors
/// A partition that cannot be read: without it nobody can say what is missing. A backups.db that we
/// may not read: what is in it is good.
pub fn plan(
    catalog: &Catalog,
    partitions: &[(String, PathBuf)],
    namespace: &Namespace,
    progress: &mut dyn FnMut(&Path),
) -> Result<Plan> {
    let mut plan = Plan::default();
    // First the entries: a backup that is made while we look is then none of our business.
    let entries = match catalog.iter() {
        Ok(entries) => entries,
        Err(error) if !is_damage(&error) => return Err(error),
        Err(error) => {
            plan.unreadable = Some(error.detail());
            Vec::new()
        }
    };
    let mut files = Vec::new();
    let mut search = Search {
        found: &mut files,
        strangers: &mut plan.strangers,
        seen: HashSet::new(),
    };
    for (_, partition) in partitions {
        search.directory(partition)?;
    }
    let known: HashSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    let outside = entries.iter().map(|(_, path)| path);
    let outside = outside.filter(|path| !known.contains(path.as_path()));
    let outside: Vec<PathBuf> = outside.cloned().collect();
    files.extend(outside);
    let named: HashMap<&Path, &str> = entries
        .iter()
        .map(|(key, path)| (path.as_path(), key.as_str()))
        .collect();
    let mut of_user: BTreeMap<BackupKey, Vec<Candidate>> = BTreeMap::new();
    let mut reach = Reach::new(partitions);
    for path in files {
        progress(&path);
        match look(&path, namespace, &named) {
            Ok(Some((key, candidate))) => of_user.entry(key).or_default().push(candidate),
            Ok(None) => {}
            Err(reason) => {
                reach.unread.insert(path.clone(), reason.clone());
                plan.strangers.push(Stranger { path, reason });
            }
        }
    }
    plan.vacant = reach.vacant();
    plan.decide(of_user, &entries, &reach);
    Ok(plan)
}

/// The bytes of backups.db are of no use. Anything else (rights, a directory in its place) is no
/// reason to throw them away.
fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::Catalog(CatalogError::Database(error)) => match &error.fault {
            Fault::Io(error) => error.raw_os_error() == Some(libc::EIO),
            _ => true,
        },
        _ => true,
    }
}

impl Plan {
    /// The entries that change.
    pub fn changes(&self) -> Vec<Change> {
        let changed = self.verdicts.iter().filter(|v| v.before != v.after);
        changed
            .map(|verdict| Change {
                key: verdict.key.clone(),
                before: verdict.before.clone(),
                after: verdict.after.clone(),
            })
            .collect()
    }

    /// Brings backups.db to what was planned; gives back the keys that somebody else has changed
    /// meanwhile. `epoch` names the copy of a backups.db that could not be read.
    pub fn carry_out(&self, catalog: &Catalog, epoch: i64) -> Result<Vec<BackupKey>> {
        let changes = self.changes();
        if self.unreadable.is_none() {
            return match changes.is_empty() {
                true => Ok(Vec::new()),
                false => catalog.reconcile(&changes),
            };
        }
        keep(catalog.path(), epoch)?;
        let entries = changes.iter().filter_map(|change| {
            let path = change.after.as_deref()?;
            Some((&change.key, path))
        });
        catalog.rebuild(entries)?;
        Ok(Vec::new())
    }

    fn decide(
        &mut self,
        mut of_user: BTreeMap<BackupKey, Vec<Candidate>>,
        entries: &[(String, PathBuf)],
        reach: &Reach<'_>,
    ) {
        let mut before: BTreeMap<BackupKey, PathBuf> = BTreeMap::new();
        for (key, path) in entries {
            match BackupKey::from_userid(key) {
                Ok(key) => drop(before.insert(key, path.clone())),
                Err(error) => self.strangers.push(Stranger {
                    path: path.clone(),
                    reason: format!("its entry {key:?} in backups.db stays: {error}"),
                }),
            }
        }
        let keys = before.keys().chain(of_user.keys());
        let keys: std::collections::BTreeSet<BackupKey> = keys.cloned().collect();
        let owner_of: HashMap<PathBuf, BackupKey> = of_user
            .iter()
            .flat_map(|(key, files)| files.iter().map(|f| (f.path.clone(), key.clone())))
            .collect();
        for key in keys {
            let entry = before.remove(&key);
            let candidates = of_user.remove(&key).unwrap_or_default();
            let verdict = match self.choose(&key, entry.as_deref(), candidates, reach) {
                Some((path, remark)) => Verdict {
                    key,
                    before: entry,
                    after: Some(path),
                    remark,
                },
                None => lost(key, entry, &owner_of),
            };
            self.verdicts.push(verdict);
        }
    }

    /// The best of the files of a user: the one that backups.db names, also when nobody can look into
    /// it now, then one whose name fits, then the one that knows most.
    fn choose(
        &mut self,
        key: &BackupKey,
        entry: Option<&Path>,
        mut candidates: Vec<Candidate>,
        reach: &Reach<'_>,
    ) -> Option<(PathBuf, Option<String>)> {
        let beyond = entry.and_then(|path| Some((path, reach.beyond(path)?)));
        if let Some((path, why)) = beyond {
            self.duplicates
                .extend(candidates.into_iter().map(|other| Duplicate {
                    key: key.clone(),
                    path: other.path,
                    chosen: format!("{}: backups.db names it, but {why}", path.display()),
                }));
            return Some((path.to_owned(), Some(why)));
        }
        let fits = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(layout::key_of).as_ref() == Some(key)
        };
        candidates.sort_by_key(|candidate| {
            let Content { last, length, .. } = candidate.content;
            let named = entry == Some(candidate.path.as_path());
            std::cmp::Reverse((named, last, length, fits(&candidate.path)))
        });
        let mut candidates = candidates.into_iter();
        let best = candidates.next()?;
        for other in candidates {
            let chosen = best.path.display();
            let why = if other.inode == best.inode {
                "the same file under another name"
            } else if entry == Some(best.path.as_path()) {
                "backups.db names it"
            } else {
                "it was written to last"
            };
            self.duplicates.push(Duplicate {
                key: key.clone(),
                path: other.path,
                chosen: format!("{chosen}: {why}"),
            });
        }
        let others: Vec<&str> = best.content.others.iter().map(BackupKey::as_str).collect();
        let remark = (!others.is_empty())
            .then(|| format!("it also holds mailboxes of {}", others.join(", ")));
        Some((best.path, remark))
    }
}

/// Keeps a file as `X.<epoch>`; the names of earlier ones of the same second are taken.
fn keep(path: &Path, epoch: i64) -> Result<()> {
    for epoch in epoch.. {
        let mut copy = path.as_os_str().to_owned();
        copy.push(format!(".{epoch}"));
        match fs::hard_link(path, &copy) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(Path::new(&copy))(e));
            }
            _ => break,
        }
    }
    Ok(())
}

/// An entry for which no file was found where files can be found.
fn lost(key: BackupKey, entry: Option<PathBuf>, owner_of: &HashMap<PathBuf, BackupKey>) -> Verdict {
    let path = entry.clone().unwrap_or_default();
    let (after, remark) = match (owner_of.get(&path), fs::symlink_metadata(&path)) {
        (Some(owner), _) => (None, format!("what is in {} is {owner}'s", path.display())),
        (None, Ok(_)) => (entry.clone(), "nothing in it says whose it is".to_owned()),
        (None, Err(_)) => (None, format!("{} does not exist", path.display())),
    };
    Verdict {
        key,
        before: entry,
        after,
        remark: Some(remark),
    }
}

/// What can be looked at now. An entry for what cannot stays, whatever else was found.
struct Reach<'a> {
    partitions: &'a [(String, PathBuf)],
    /// Files that could not be read, and why.
    unread: HashMap<PathBuf, String>,
}

impl<'a> Reach<'a> {
    fn new(partitions: &'a [(String, PathBuf)]) -> Reach<'a> {
        Reach {
            partitions,
            unread: HashMap::new(),
        }
    }

    /// Why nobody can look into this file now, though it may be there.
    fn beyond(&self, path: &Path) -> Option<String> {
        if let Some(reason) = self.unread.get(path) {
            return Some(reason.clone());
        }
        match fs::metadata(path) {
            Ok(_) => None,
            Err(error) if error.kind() != io::ErrorKind::NotFound => Some(error.to_string()),
            Err(_) => match path.ancestors().find(|place| place.is_symlink()) {
                Some(link) if !link.exists() => Some(format!("{} leads nowhere", link.display())),
                _ => away(path, self.partitions.iter().map(|(_, path)| path.as_path()))
                    .then(|| AWAY.to_owned()),
            },
        }
    }

    fn vacant(&self) -> Vec<PathBuf> {
        let partitions = self.partitions.iter().map(|(_, path)| path);
        partitions.filter(|path| vacant(path)).cloned().collect()
    }
}

/// What is said of a file whose partition is [`away`].
pub(super) const AWAY: &str = "its partition has no files: not mounted?";

/// The partition of this path is missing or empty, as a disk that is not mounted looks.
pub(super) fn away<'a>(path: &Path, partitions: impl IntoIterator<Item = &'a Path>) -> bool {
    let of = partitions
        .into_iter()
        .find(|partition| path.starts_with(partition));
    // <partition>/<hash>/<name>
    vacant(of.unwrap_or_else(|| path.parent().and_then(Path::parent).unwrap_or(path)))
}

fn vacant(directory: &Path) -> bool {
    fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

/// Whose this file is. None: it is gone meanwhile, or empty and named. An error: a stranger.
fn look(
    path: &Path,
    namespace: &Namespace,
    named: &HashMap<&Path, &str>,
) -> std::result::Result<Option<(BackupKey, Candidate)>, String> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let content = match owner::examine(path, namespace) {
        Ok(content) => content,
        Err(StoreError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.detail()),
    };
    match content.owner.clone() {
        Some(key) => {
            let candidate = Candidate {
                path: path.to_owned(),
                content,
                inode: (meta.dev(), meta.ino()),
            };
            Ok(Some((key, candidate)))
        }
        // An entry for it stays; `lost` says so.
        None if named.contains_key(path) => Ok(None),
        None if content.length == 0 => Err("it is empty".to_owned()),
        None => Err("nothing in it says whose it is".to_owned()),
    }
}

/// Looks for data files.
struct Search<'a> {
    found: &'a mut Vec<PathBuf>,
    strangers: &'a mut Vec<Stranger>,
    /// Directories, so that a link cannot lead in circles, nor one partition inside another twice.
    seen: HashSet<(u64, u64)>,
}

impl Search<'_> {
    fn directory(&mut self, directory: &Path) -> Result<()> {
        let meta = match fs::metadata(directory) {
            Ok(meta) => meta,
            // A partition that was never used, or is not mounted; `away` looks at that.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(StoreError::io(directory)(e)),
        };
        if !self.seen.insert((meta.dev(), meta.ino())) {
            return Ok(());
        }
        let entries = fs::read_dir(directory).map_err(StoreError::io(directory))?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(StoreError::io(directory))?.path());
        }
        paths.sort();
        let names: HashSet<&[u8]> = paths
            .iter()
            .filter_map(|path| path.file_name())
            .map(|name| name.as_bytes())
            .collect();
        for path in &paths {
            if path.is_dir() {
                // A directory of root's (lost+found) is none of ours.
                if let Err(error) = self.directory(path) {
                    self.strange(path, error.detail());
                }
            } else {
                self.file(path, &names);
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, names: &HashSet<&[u8]>) {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let dots = memchr::memchr_iter(b'.', name);
        let base = dots
            .map(|dot| name.split_at(dot))
            .find(|(_, suffix)| is_suffix(std::ffi::OsStr::from_bytes(suffix)));
        match base {
            Some((base, _)) if names.contains(base) => {}
            Some(_) => self.strange(path, "its data file is missing".to_owned()),
            None if looks_like_data(path) => self.found.push(path.to_owned()),
            None => self.strange(path, "it is no data file".to_owned()),
        }
    }

    fn strange(&mut self, path: &Path, reason: String) {
        self.strangers.push(Stranger {
            path: path.to_owned(),
            reason,
        });
    }
}

/// Empty, or begins like a gzip member; or is called like a data file, whatever became of it. Neither
/// is a pipe or a device: opening one may take for ever.
fn looks_like_data(path: &Path) -> bool {
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return false;
    }
    let mut magic = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut magic));
    let is_gzip = matches!(read, Ok(0)) || magic == [0x1f, 0x8b];
    let name = path.file_name().and_then(|name| name.to_str());
    is_gzip || name.is_some_and(layout::is_data_name)
}

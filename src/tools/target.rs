//! Which backups a command line means (spec: ondisk 7.1 "Modes", 2.3, 2.4).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::store::Result;
use crate::store::catalog::Catalog;
use crate::types::{BackupKey, MboxName, Namespace};

/// How names on the command line are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything in backups.db; takes no names.
    All,
    /// Domains.
    Domains,
    /// First letters of user ids.
    Prefixes,
    /// Data files; backups.db is not asked.
    Files,
    /// External mailbox names.
    Mailboxes,
    /// User ids, exactly as in backups.db.
    Userids,
}

/// A backup that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose it is; none if the name did not tell (`-f`, and `-m` or `""` for the shared backup).
    pub userid: Option<String>,
    /// Its data file.
    pub path: PathBuf,
}

impl Target {
    /// What messages call it: the user id, or else the path.
    pub fn name(&self) -> &OsStr {
        match &self.userid {
            Some(userid) => OsStr::new(userid),
            None => self.path.as_os_str(),
        }
    }
}

/// A name, and what it stands for: None if backups.db has no such entry, an error if what it has
/// is of no use.
pub type Resolved = (OsString, Result<Option<Target>>);

/// Looks all names up, in their order. Modes that search yield any number of targets per name.
pub fn resolve(
    catalog: &Catalog,
    namespace: &Namespace,
    mode: Mode,
    names: &[OsString],
) -> Result<Vec<Resolved>> {
    let each = |one: &dyn Fn(&OsStr) -> Result<Option<Target>>| {
        Ok(names.iter().map(|name| (name.clone(), one(name))).collect())
    };
    match mode {
        Mode::Files => each(&|name| Ok(Some(file(name)))),
        Mode::Userids => each(&|name| by_key(catalog, userid_key(name))),
        Mode::Mailboxes => each(&|name| by_key(catalog, mailbox_key(name, namespace))),
        Mode::All => search(catalog, &[OsString::new()], |_, _| true),
        Mode::Prefixes => search(catalog, names, |key, prefix| key.starts_with(prefix)),
        Mode::Domains => search(catalog, names, |key, domain| {
            key.rsplit_once('@')
                .map_or(namespace.defaultdomain.as_str(), |(_, d)| d)
                == domain
        }),
    }
}

fn file(name: &OsStr) -> Target {
    Target {
        userid: None,
        path: PathBuf::from(name),
    }
}

/// The key of a user id as typed, and whether it names its owner. A text that cannot be a key
/// cannot be in backups.db either.
fn userid_key(name: &OsStr) -> Option<(BackupKey, bool)> {
    let name = name.to_str()?;
    Some((BackupKey::from_userid(name).ok()?, !name.is_empty()))
}

/// The key of the owner of a mailbox; what is nobody's is in the shared backup, which then does
/// not show as a user.
fn mailbox_key(name: &OsStr, namespace: &Namespace) -> Option<(BackupKey, bool)> {
    let mailbox = MboxName::from_external(name.to_str()?, namespace);
    let key = mailbox.map_or_else(BackupKey::shared, |mailbox| mailbox.owner(namespace));
    let owned = !key.is_shared();
    Some((key, owned))
}

fn by_key(catalog: &Catalog, key: Option<(BackupKey, bool)>) -> Result<Option<Target>> {
    let Some((key, owned)) = key else {
        return Ok(None);
    };
    let path = catalog.get(&key)?;
    Ok(path.map(|path| Target {
        userid: owned.then(|| key.to_string()),
        path,
    }))
}

/// Everything in backups.db that fits a name, by name and then in the order of the keys.
fn search(
    catalog: &Catalog,
    names: &[OsString],
    fits: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Resolved>> {
    let entries = catalog.iter()?;
    let mut found = Vec::new();
    for name in names {
        let Some(text) = name.to_str() else { continue };
        for (key, path) in entries.iter().filter(|(key, _)| fits(key, text)) {
            let target = Target {
                userid: Some(key.clone()),
                path: path.clone(),
            };
            found.push((name.clone(), Ok(Some(target))));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name>key` for each target (key `-` when unknown), `name?` for what was not found.
    fn look(mode: Mode, names: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(dir.path().join("backups.db"));
        for key in ["%SHARED", "anne", "annette", "dave@example.com"] {
            let path = PathBuf::from("/part").join(key);
            catalog
                .insert(&BackupKey::from_userid(key).unwrap(), &path)
                .unwrap();
        }
        let namespace = Namespace {
            unixhierarchysep: false,
            ..Namespace::default()
        };
        let names: Vec<OsString> = names.iter().map(OsString::from).collect();
        let resolved = resolve(&catalog, &namespace, mode, &names).unwrap();
        let words = resolved.into_iter().map(|(name, target)| {
            let name = name.to_string_lossy().into_owned();
            match target.unwrap() {
                Some(target) => format!("{name}>{}", target.userid.as_deref().unwrap_or("-")),
                None => format!("{name}?"),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_in_every_mode() {
        for (mode, names, expected) in [
            (
                Mode::All,
                &[][..],
                ">%SHARED >anne >annette >dave@example.com",
            ),
            (
                Mode::Prefixes,
                &["ann", "x", "d"],
                "ann>anne ann>annette d>dave@example.com",
            ),
            (
                Mode::Domains,
                &["example.com", "internal"],
                "example.com>dave@example.com internal>%SHARED internal>anne internal>annette",
            ),
            (
                Mode::Userids,
                &["anne", "ANNE", "", "%SHARED", "../x"],
                "anne>anne ANNE? >- %SHARED>%SHARED ../x?",
            ),
            (
                Mode::Mailboxes,
                &["user.anne.Sub", "user.bea", "news", "user/anne"],
                "user.anne.Sub>anne user.bea? news>- user/anne>-",
            ),
            (Mode::Files, &["x", "x"], "x>- x>-"),
            (Mode::Userids, &[], ""),
        ] {
            assert_eq!(look(mode, names), expected, "{mode:?}");
        }
    }
}

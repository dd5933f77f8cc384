//! From the mailboxes of a backup to trees of directories: `mailboxes`, `expunged`, `deleted`. A
//! user's INBOX is `INBOX`, his other folders stand beside it and nest; a deleted one carries the time
//! of its deletion. Pure. What is in a folder is left to [`super::mails`].

use std::collections::{BTreeMap, HashMap};

use super::names;
use super::source::Mailbox;
use crate::types::{MboxName, Namespace};

/// A directory tree; number 0 is its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    dirs: Vec<Folder>,
    by_mailbox: HashMap<i64, usize>,
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// File name.
    pub name: String,
    /// Number of its parent; 0 is its own parent.
    pub parent: usize,
    /// Directories in it, sorted by name.
    pub children: Vec<usize>,
    /// The mailbox it shows; `None` for one that is only there for what it contains.
    pub mailbox: Option<Mailbox>,
    /// The mailbox that numbers it (its own, or the one with the lowest id below it), and how many
    /// levels above that mailbox it stands.
    pub key: (i64, u32),
    /// The last chunk, by time, that changed something in or below it.
    pub changed: i64,
}

impl Folders {
    /// Builds a tree of these mailboxes at these paths; `time` is when a chunk ended.
    pub fn new<'a>(
        mailboxes: impl Iterator<Item = (Vec<String>, &'a Mailbox)>,
        time: impl Fn(i64) -> i64,
    ) -> Folders {
        let mut folders = Folders {
            dirs: vec![Folder::bare(String::new(), 0)],
            by_mailbox: HashMap::new(),
        };
        let mut entries: Vec<_> = mailboxes.collect();
        // Of several with one name the last row is the one that counts (spec ondisk 5.6).
        entries.sort_by_key(|(_, mailbox)| std::cmp::Reverse(mailbox.id));
        for (path, mailbox) in entries {
            folders.insert(path, mailbox.clone(), time(mailbox.last_chunk));
        }
        folders.finish();
        folders
    }

    /// A directory by number.
    pub fn get(&self, number: usize) -> Option<&Folder> {
        self.dirs.get(number)
    }

    /// All directories, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Folder> {
        self.dirs.iter()
    }

    /// The directory with this [`Folder::key`].
    pub fn find(&self, (mailbox, above): (i64, u32)) -> Option<usize> {
        let mut number = *self.by_mailbox.get(&mailbox)?;
        for _ in 0..above {
            number = self.dirs[number].parent;
        }
        // The root has no number of its own, except as the mailbox that it may be.
        let known = number != 0 || above == 0;
        (known && self.dirs[number].key == (mailbox, above)).then_some(number)
    }

    /// The names from the root to a directory.
    pub fn path(&self, mut number: usize) -> Vec<&str> {
        let mut path = Vec::new();
        while let (Some(dir), true) = (self.dirs.get(number), number != 0) {
            path.push(dir.name.as_str());
            number = dir.parent;
        }
        path.reverse();
        path
    }

    /// The directory of this name in directory `parent`.
    pub fn child(&self, parent: usize, name: &str) -> Option<usize> {
        let children = &self.dirs.get(parent)?.children;
        let found = children.binary_search_by(|child| self.dirs[*child].name.as_str().cmp(name));
        found.ok().map(|at| children[at])
    }

    fn insert(&mut self, path: Vec<String>, mailbox: Mailbox, changed: i64) {
        let mut at = 0;
        for name in path {
            at = self.enter(at, name);
        }
        if self.dirs[at].mailbox.is_some() {
            // A second one for the root stands below it.
            let (parent, mut name) = (self.dirs[at].parent, self.dirs[at].name.clone());
            while self.child(parent, &name).is_some() {
                name = names::nth(&name, mailbox.id);
            }
            at = self.enter(parent, name);
        }
        self.by_mailbox.insert(mailbox.id, at);
        self.dirs[at].changed = changed;
        self.dirs[at].mailbox = Some(mailbox);
    }

    fn enter(&mut self, parent: usize, name: String) -> usize {
        let dirs = &self.dirs;
        let search = dirs[parent]
            .children
            .binary_search_by(|c| dirs[*c].name.cmp(&name));
        match search {
            Ok(at) => self.dirs[parent].children[at],
            Err(at) => {
                let number = self.dirs.len();
                self.dirs[parent].children.insert(at, number);
                self.dirs.push(Folder::bare(name, parent));
                number
            }
        }
    }

    /// Keys and times flow upwards: children have higher numbers than their parents.
    fn finish(&mut self) {
        for number in (0..self.dirs.len()).rev() {
            let dir = &self.dirs[number];
            let below = dir.children.iter().map(|child| &self.dirs[*child]);
            let changed = below.clone().map(|child| child.changed).max();
            let inherited = below.map(|child| (child.key.0, child.key.1 + 1)).min();
            let key = match &dir.mailbox {
                Some(mailbox) => (mailbox.id, 0),
                None => inherited.unwrap_or((0, 0)),
            };
            let changed = dir.changed.max(changed.unwrap_or(i64::MIN));
            self.dirs[number].key = key;
            self.dirs[number].changed = changed;
        }
    }
}

impl Folder {
    fn bare(name: String, parent: usize) -> Folder {
        Folder {
            name,
            parent,
            children: Vec::new(),
            mailbox: None,
            key: (0, 0),
            changed: i64::MIN,
        }
    }
}

/// How the mailboxes of one backup are called.
#[derive(Debug, Clone)]
pub struct Naming<'a> {
    owner: Option<String>,
    namespace: &'a Namespace,
}

impl<'a> Naming<'a> {
    /// `key` is the backup's key if it is known.
    pub fn new(mailboxes: &[Mailbox], key: Option<&str>, namespace: &'a Namespace) -> Naming<'a> {
        let mut naming = Naming {
            owner: None,
            namespace,
        };
        let live = || mailboxes.iter().filter(|m| naming.deletion(m).is_none());
        let owner = main_owner(live(), key, namespace);
        naming.owner = owner.or_else(|| main_owner(mailboxes.iter(), key, namespace));
        naming
    }

    /// When a mailbox was deleted; `None` if it lives. Cyrus renames what it deletes, and removes it
    /// later.
    pub fn deletion(&self, mailbox: &Mailbox) -> Option<i64> {
        let name = MboxName::new(mailbox.name.as_str());
        // A name that Cyrus would not take says nothing about deletion.
        let parts = name.ok().map(|name| name.parts(self.namespace));
        match parts.and_then(|parts| parts.deleted).map(i64::from) {
            Some(0) | None => mailbox.deleted,
            said => said,
        }
    }

    /// The file names from a tree's root to this mailbox.
    pub fn path(&self, mailbox: &Mailbox) -> Vec<String> {
        let mut path = self.living_path(mailbox);
        if let (Some(time), Some(last)) = (self.deletion(mailbox), path.last_mut()) {
            *last = names::deleted(last, time);
        }
        path
    }

    /// The directory of a mailbox in Maildir++: one name, or none for INBOX.
    pub fn maildir(&self, mailbox: &Mailbox) -> Vec<String> {
        let name = MboxName::new(mailbox.name.as_str());
        let components = match name {
            Ok(name) if self.is_own(&name) => name.parts(self.namespace).folders,
            _ => self.living_path(mailbox),
        };
        match components.is_empty() {
            true => Vec::new(),
            false => vec![names::maildir(&components)],
        }
    }

    fn is_own(&self, name: &MboxName) -> bool {
        let owner = name.owner(self.namespace);
        !owner.is_shared() && self.owner.as_deref() == Some(owner.as_str())
    }

    fn living_path(&self, mailbox: &Mailbox) -> Vec<String> {
        let Ok(name) = MboxName::new(mailbox.name.as_str()) else {
            return vec![names::folder(&mailbox.name)];
        };
        let parts = name.parts(self.namespace);
        let mut path = Vec::new();
        match (&parts.user, &parts.domain) {
            (Some(_), _) if self.is_own(&name) => return own_path(&parts.folders),
            // Not a folder of this user: its whole name, as an administrator would say it.
            (Some(_), _) => {
                path.push("user".to_owned());
                path.push(names::user(name.owner(self.namespace).as_str()));
            }
            (None, Some(domain)) => path.push(names::user(&format!("@{domain}"))),
            (None, None) => {}
        }
        path.extend(parts.folders.iter().map(|folder| names::folder(folder)));
        if path.is_empty() {
            path.push(names::folder(&mailbox.name));
        }
        path
    }
}

/// The user whose INBOX is `INBOX`: the key's owner if he has mailboxes here, else whoever has most
/// (a file mounted by path may have been renamed).
fn main_owner<'a>(
    mailboxes: impl Iterator<Item = &'a Mailbox>,
    key: Option<&str>,
    namespace: &Namespace,
) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for mailbox in mailboxes {
        if let Ok(name) = MboxName::new(mailbox.name.as_str()) {
            let owner = name.owner(namespace);
            if !owner.is_shared() {
                *counts.entry(owner.as_str().to_owned()).or_default() += 1;
            }
        }
    }
    if let Some(key) = key.filter(|key| counts.contains_key(*key)) {
        return Some(key.to_owned());
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
    Some(most.0)
}

fn own_path(folders: &[String]) -> Vec<String> {
    match folders.split_first() {
        None => vec!["INBOX".to_owned()],
        Some((first, rest)) => std::iter::once(names::top_folder(first))
            .chain(rest.iter().map(|folder| names::folder(folder)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(id: i64, name: &str) -> Mailbox {
        Mailbox {
            id,
            name: name.to_owned(),
            uniqueid: format!("u{id}"),
            kind: None,
            last_chunk: id,
            deleted: None,
        }
    }

    fn tree(key: Option<&str>, names: &[&str]) -> Folders {
        let mailboxes: Vec<_> = (1..).zip(names).map(|(id, n)| mailbox(id, n)).collect();
        living(&mailboxes, key)
    }

    fn living(mailboxes: &[Mailbox], key: Option<&str>) -> Folders {
        let namespace = Namespace::default();
        let naming = Naming::new(mailboxes, key, &namespace);
        let live = mailboxes.iter().filter(|m| naming.deletion(m).is_none());
        let paths = live.map(|mailbox| (naming.path(mailbox), mailbox));
        Folders::new(paths, |chunk| 100 + chunk)
    }

    fn paths(folders: &Folders) -> Vec<(String, Option<i64>)> {
        let all = folders.iter().enumerate().skip(1);
        let mut all: Vec<_> = all
            .map(|(n, dir)| {
                (
                    folders.path(n).join("/"),
                    dir.mailbox.as_ref().map(|m| m.id),
                )
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn folders_nest_beside_inbox() {
        let folders = tree(
            Some("anne"),
            &[
                "user.anne",
                "user.anne.Archive.2024",
                "user.anne.Entw&APw-rfe",
                "user.anne.INBOX",
            ],
        );
        let expected = [
            ("%49NBOX", Some(4)),
            ("Archive", None),
            ("Archive/2024", Some(2)),
            ("Entwürfe", Some(3)),
            ("INBOX", Some(1)),
        ];
        let expected = expected.map(|(path, id)| (path.to_owned(), id));
        assert_eq!(paths(&folders), expected);
    }

    #[test]
    fn shared_and_foreign_mailboxes_keep_their_names() {
        let shared = tree(
            Some("%SHARED"),
            &["shared", "shared.foo", "ex.org!news.a", "user"],
        );
        let names: Vec<_> = paths(&shared).into_iter().map(|p| p.0).collect();
        assert_eq!(
            names,
            [
                "@ex.org",
                "@ex.org/news",
                "@ex.org/news/a",
                "shared",
                "shared/foo",
                "user"
            ]
        );

        let mixed = tree(Some("anne"), &["user.anne", "user.bob.X", "user.bob.Y"]);
        let names: Vec<_> = paths(&mixed).into_iter().map(|p| p.0).collect();
        assert_eq!(
            names,
            ["INBOX", "user", "user/bob", "user/bob/X", "user/bob/Y"]
        );

        // The same file mounted by a path that says nothing.
        let by_path = tree(None, &["user.anne", "user.bob.X", "user.bob.Y"]);
        let names: Vec<_> = paths(&by_path).into_iter().map(|p| p.0).collect();
        assert_eq!(names, ["X", "Y", "user", "user/anne"]);
    }

    #[test]
    fn deleted_ones_are_not_here_and_odd_ones_are() {
        let mut mailboxes = vec![
            mailbox(1, "user.anne"),
            mailbox(2, "DELETED.user.anne.Old.5F0A1B2C"),
            mailbox(3, "user.anne.Gone"),
            mailbox(4, "user.anne.x\ny"),
            mailbox(5, "user.anne.17^eml"),
        ];
        mailboxes[2].deleted = Some(7);
        let folders = living(&mailboxes, Some("anne"));
        let names: Vec<_> = paths(&folders).into_iter().map(|p| p.0).collect();
        assert_eq!(names, ["17%2Eeml", "INBOX", "user.anne.x%0Ay"]);
        let namespace = Namespace::default();
        let naming = Naming::new(&mailboxes, Some("anne"), &namespace);
        let path = |at: usize| naming.path(&mailboxes[at]).join("/");
        assert_eq!(path(1), "Old@2020-07-11T200356Z");
        assert_eq!(path(2), "Gone@1970-01-01T000007Z");
        let maildir = |at: usize| naming.maildir(&mailboxes[at]).join("/");
        assert_eq!(
            (maildir(0), maildir(4)),
            (String::new(), ".17%2Eeml".to_owned())
        );
    }

    #[test]
    fn two_rows_of_one_name_are_both_shown() {
        let folders = tree(
            Some("anne"),
            &["user.anne.A", "user.anne.A", "user.anne.A.B"],
        );
        let expected = [("A", Some(2)), ("A/B", Some(3)), ("A%~1", Some(1))];
        let expected = expected.map(|(path, id)| (path.to_owned(), id));
        let mut found = paths(&folders);
        found.sort_by_key(|(path, _)| path.replace('%', "z"));
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_find_their_folders_and_times_rise() {
        let folders = tree(
            Some("anne"),
            &[
                "user.anne",
                "user.anne.a.b.c",
                "user.anne.a.b.d",
                "user.anne.a.x",
            ],
        );
        for (number, dir) in folders.iter().enumerate().skip(1) {
            assert_eq!(folders.find(dir.key), Some(number), "{dir:?}");
        }
        assert_eq!(folders.find((9, 0)), None);
        assert_eq!(folders.find((1, 1)), None);
        assert_eq!(folders.find((2, 5)), None);
        let a = folders.child(0, "a").unwrap();
        assert_eq!(folders.get(a).unwrap().key, (2, 2));
        assert_eq!(folders.get(a).unwrap().changed, 104);
        assert_eq!(folders.get(0).unwrap().changed, 104);
    }
}

//! A directory for each mailbox, a file `UID.eml` for each message, named as in the mount. What is there under such a
//! name and is something else stays: the message then gets another name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::FileError;
use super::form::Form;
use super::place::{directory, write_whole};
use crate::restore::plan::Planned;
use crate::types::{Guid, MboxName, Namespace};
use crate::view::names;

pub(super) struct Eml {
    root: PathBuf,
    namespace: Namespace,
    folders: BTreeMap<String, PathBuf>,
}

impl Eml {
    pub(super) fn create(root: &Path, namespace: &Namespace) -> Result<Eml, FileError> {
        directory(root)?;
        Ok(Eml {
            root: root.to_owned(),
            namespace: namespace.clone(),
            folders: BTreeMap::new(),
        })
    }

    fn path(&self, mailbox: &str) -> PathBuf {
        let Ok(name) = MboxName::new(mailbox) else {
            return self.root.join(names::folder(mailbox));
        };
        let parts = name.parts(&self.namespace);
        let mut path = match parts.folders.split_first() {
            None => vec!["INBOX".to_owned()],
            Some((top, below)) => vec![names::top_folder(top)]
                .into_iter()
                .chain(below.iter().map(|folder| names::folder(folder)))
                .collect(),
        };
        // A deleted one that keeps its name (-D) is not the living one.
        if let (Some(time), Some(last)) = (parts.deleted, path.last_mut()) {
            *last = names::deleted(last, time.into());
        }
        self.root.join(path.iter().collect::<PathBuf>())
    }
}

impl Form for Eml {
    fn begin(&mut self, mailbox: &str, records: &[Planned]) -> Result<Vec<bool>, FileError> {
        let path = self.path(mailbox);
        directory(&path)?;
        let is_there = |record: &Planned| {
            file_names(record)
                .iter()
                .any(|name| holds(&path.join(name), &record.guid))
        };
        let there = records.iter().map(is_there).collect();
        self.folders.insert(mailbox.to_owned(), path);
        Ok(there)
    }

    fn put(&mut self, mailbox: &str, record: &Planned, octets: &[u8]) -> Result<(), FileError> {
        let Some(folder) = self.folders.get(mailbox) else {
            return Ok(());
        };
        let [usual, other] = file_names(record);
        let name = match folder.join(&usual).exists() {
            true => other,
            false => usual,
        };
        let temporary = folder.join(format!(".{name}.new"));
        write_whole(&temporary, &folder.join(name), octets, record.internaldate)
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }
}

/// The name of a message, and the one it gets when that is taken.
fn file_names(record: &Planned) -> [String; 2] {
    [
        names::mail(record.uid),
        names::twin(record.uid, &record.guid),
    ]
}

fn holds(path: &Path, guid: &Guid) -> bool {
    fs::read(path).is_ok_and(|octets| Guid::of(&octets) == *guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_readable_and_each_is_another() {
        let root = tempfile::tempdir().unwrap();
        let eml = Eml::create(root.path(), &Namespace::default()).unwrap();
        for (mailbox, folder) in [
            ("user.anne", "INBOX"),
            ("user.anne.INBOX", "%49NBOX"),
            ("user.anne.A.INBOX", "A/INBOX"),
            ("user.anne.A.5^eml", "A/5%2Eeml"),
            ("user.anne.A.Entw&APw-rfe", "A/Entw\u{fc}rfe"),
            ("user.anne.^^", "%2E%2E"),
            ("DELETED.user.anne.T.6B048689", "T@2026-11-23T183137Z"),
        ] {
            assert_eq!(eml.path(mailbox), root.path().join(folder), "{mailbox}");
        }
    }
}

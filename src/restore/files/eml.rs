//! A directory for each mailbox, a file `UID.eml` for each message, as the mount shows them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::place::{component, directory, write_whole};
use super::{FileError, Form};
use crate::restore::plan::Planned;
use crate::types::{MboxName, Namespace, mutf7};

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
            return self.root.join(component(mailbox));
        };
        let parts = name.parts(&self.namespace);
        if parts.folders.is_empty() {
            return self.root.join("INBOX");
        }
        let readable = |folder: &String| mutf7::decode(folder).unwrap_or_else(|| folder.clone());
        let folders = parts.folders.iter().map(readable);
        folders.fold(self.root.clone(), |path, f| path.join(component(&f)))
    }
}

impl Form for Eml {
    fn begin(&mut self, mailbox: &str, records: &[Planned]) -> Result<Vec<bool>, FileError> {
        let path = self.path(mailbox);
        directory(&path)?;
        let is_there = |record: &Planned| {
            let size = path.join(file_name(record)).metadata().map(|m| m.len());
            size.is_ok_and(|size| size == record.size)
        };
        let there = records.iter().map(is_there).collect();
        self.folders.insert(mailbox.to_owned(), path);
        Ok(there)
    }

    fn put(&mut self, mailbox: &str, record: &Planned, octets: &[u8]) -> Result<(), FileError> {
        let Some(folder) = self.folders.get(mailbox) else {
            return Ok(());
        };
        let name = file_name(record);
        let temporary = folder.join(format!(".{name}.new"));
        write_whole(&temporary, &folder.join(name), octets, record.internaldate)
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }
}

fn file_name(record: &Planned) -> String {
    format!("{}.eml", record.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_readable() {
        let root = tempfile::tempdir().unwrap();
        let eml = Eml::create(root.path(), &Namespace::default()).unwrap();
        for (mailbox, folder) in [
            ("user.anne", "INBOX"),
            ("user.anne.A.Entw&APw-rfe", "A/Entw\u{fc}rfe"),
            ("user.anne.^^", "%2E%2E%"),
        ] {
            assert_eq!(eml.path(mailbox), root.path().join(folder));
        }
    }
}

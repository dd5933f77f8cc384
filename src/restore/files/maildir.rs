//! Maildir++: the INBOX is the directory itself, other folders are `.Name.Sub` beside `cur` (modified UTF-7, as
//! Courier and Dovecot have it, and the mount). Flags are letters of the file name, keywords the letters a to z of
//! `dovecot-keywords`; the file's time is that of arrival. A file's name comes from UID and GUID, so a message
//! that is there already is known again.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::error::FileError;
use super::form::Form;
use super::place::{directory, write_whole};
use crate::restore::plan::Planned;
use crate::types::{MboxName, Namespace};
use crate::view::names;

/// System flags and their letters, in the order that the name must have.
const LETTERS: [(&str, char); 5] = [
    ("\\Draft", 'D'),
    ("\\Flagged", 'F'),
    ("\\Answered", 'R'),
    ("\\Seen", 'S'),
    ("\\Deleted", 'T'),
];
/// So many keywords have letters.
const MOST_KEYWORDS: usize = 26;

pub(super) struct Maildir {
    root: PathBuf,
    namespace: Namespace,
    /// By mailbox.
    folders: BTreeMap<String, Folder>,
}

struct Folder {
    path: PathBuf,
    keywords: Vec<String>,
    changed: bool,
}

impl Maildir {
    pub(super) fn create(root: &Path, namespace: &Namespace) -> Result<Maildir, FileError> {
        make(root)?;
        Ok(Maildir {
            root: root.to_owned(),
            namespace: namespace.clone(),
            folders: BTreeMap::new(),
        })
    }

    /// The INBOX is the root; shared mailboxes are folders of their whole name.
    fn path(&self, mailbox: &str) -> PathBuf {
        let parts = MboxName::new(mailbox).map(|name| name.parts(&self.namespace));
        let folders = match parts {
            Ok(parts) => parts.folders,
            Err(_) => vec![mailbox.to_owned()],
        };
        if folders.is_empty() {
            return self.root.clone();
        }
        self.root.join(names::maildir(&folders))
    }
}

impl Form for Maildir {
    fn begin(&mut self, mailbox: &str, records: &[Planned]) -> Result<Vec<bool>, FileError> {
        let path = self.path(mailbox);
        make(&path)?;
        if path != self.root {
            let mark = path.join("maildirfolder");
            fs::write(&mark, b"").map_err(FileError::at(&mark))?;
        }
        let mut there = HashSet::new();
        for name in ["new", "cur"] {
            let dir = path.join(name);
            for entry in fs::read_dir(&dir).map_err(FileError::at(&dir))? {
                let entry = entry.map_err(FileError::at(&dir))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                there.insert(unique_part(&name).to_owned());
            }
        }
        let keywords = read_keywords(&path)?;
        let folder = Folder {
            path,
            keywords,
            changed: false,
        };
        self.folders.insert(mailbox.to_owned(), folder);
        let is_there = |record: &Planned| there.contains(&unique_name(record));
        Ok(records.iter().map(is_there).collect())
    }

    fn put(&mut self, mailbox: &str, record: &Planned, octets: &[u8]) -> Result<(), FileError> {
        let Some(folder) = self.folders.get_mut(mailbox) else {
            return Ok(());
        };
        let unique = unique_name(record);
        let letters = folder.letters(&record.flags);
        // Before the first file that uses a new letter: the run may end at any moment.
        folder.save_keywords()?;
        let name = format!("{unique},S={}:2,{letters}", octets.len());
        let temporary = folder.path.join("tmp").join(&unique);
        let path = folder.path.join("cur").join(name);
        write_whole(&temporary, &path, octets, record.internaldate)
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }
}

impl Folder {
    fn save_keywords(&mut self) -> Result<(), FileError> {
        if !self.changed {
            return Ok(());
        }
        let lines = self.keywords.iter().enumerate();
        let lines: String = lines.map(|(n, word)| format!("{n} {word}\n")).collect();
        let path = self.path.join("dovecot-keywords");
        let temporary = self.path.join("tmp/dovecot-keywords");
        fs::write(&temporary, lines)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(FileError::at(&path))?;
        self.changed = false;
        Ok(())
    }

    /// The letters of these flags; keywords beyond the 26th of a folder have none.
    fn letters(&mut self, flags: &str) -> String {
        let words: Vec<&str> = flags
            .trim_matches(['(', ')'])
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect();
        let has = |flag: &str| words.iter().any(|word| word.eq_ignore_ascii_case(flag));
        let system = LETTERS.iter().filter(|(flag, _)| has(flag));
        let mut letters: String = system.map(|(_, letter)| *letter).collect();
        let keywords = words.iter().filter(|word| !word.starts_with('\\'));
        let mut own: Vec<char> = keywords.filter_map(|word| self.letter(word)).collect();
        own.sort_unstable();
        letters.extend(own);
        letters
    }

    fn letter(&mut self, keyword: &str) -> Option<char> {
        let known = self.keywords.iter().position(|k| k == keyword);
        let place = match known {
            Some(place) => place,
            None if self.keywords.len() == MOST_KEYWORDS => return None,
            None => {
                self.keywords.push(keyword.to_owned());
                self.changed = true;
                self.keywords.len() - 1
            }
        };
        Some(char::from(b'a' + u8::try_from(place).ok()?))
    }
}

/// Lines `0 $Forwarded`, in order.
fn read_keywords(folder: &Path) -> Result<Vec<String>, FileError> {
    let path = folder.join("dovecot-keywords");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(FileError::at(&path))?,
    };
    let words = text.lines().filter_map(|line| line.split_once(' '));
    Ok(words.map(|(_, word)| word.to_owned()).collect())
}

fn make(path: &Path) -> Result<(), FileError> {
    ["tmp", "new", "cur"]
        .iter()
        .try_for_each(|name| directory(&path.join(name)))
}

fn unique_name(record: &Planned) -> String {
    let Planned {
        internaldate,
        uid,
        guid,
        ..
    } = record;
    format!("{internaldate}.U{uid}_{guid}.cyrusbackup")
}

/// The name without size and flags.
fn unique_part(name: &str) -> &str {
    name.split([',', ':']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_letters_in_order() {
        let mut folder = Folder {
            path: PathBuf::new(),
            keywords: vec!["old".to_owned()],
            changed: false,
        };
        assert_eq!(
            folder.letters("(\\Seen \\Answered $b \\flagged old)"),
            "FRSab"
        );
        assert_eq!(folder.letters("()"), "");
        assert_eq!(folder.keywords, ["old", "$b"]);
        for n in 0..30 {
            folder.letters(&format!("(k{n})"));
        }
        assert_eq!(folder.keywords.len(), MOST_KEYWORDS);
        assert_eq!(folder.letters("(one-too-many \\Seen)"), "S");
    }

    #[test]
    fn folders_stand_beside_the_inbox() {
        let root = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(root.path(), &Namespace::default()).unwrap();
        for (mailbox, folder) in [
            ("user.anne", ""),
            ("user.anne.A.B^1", ".A.B%2E1"),
            ("team.dev", ".team.dev"),
        ] {
            assert_eq!(maildir.path(mailbox), root.path().join(folder));
        }
    }
}

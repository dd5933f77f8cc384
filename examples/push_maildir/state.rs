//! What an IMAP server would know of the mail and a Maildir does not: UIDs, modseqs, UIDVALIDITY, and what was
//! there before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use cyrusbackup::types::Guid;
use serde::{Deserialize, Serialize};

use super::folder::{Folder, Found, identity, scan};

/// Every mailbox by its name.
#[derive(Default, Deserialize, Serialize)]
pub struct State {
    pub mailboxes: BTreeMap<String, Mailbox>,
}

#[derive(Deserialize, Serialize)]
pub struct Mailbox {
    pub uniqueid: String,
    pub uidvalidity: u32,
    pub last_uid: u32,
    pub highestmodseq: u64,
    pub last_appenddate: i64,
    /// In the order of their UIDs.
    pub messages: Vec<Kept>,
}

#[derive(Deserialize, Serialize)]
pub struct Kept {
    pub id: String,
    pub uid: u32,
    pub modseq: u64,
    /// Unix seconds, as the other times.
    pub last_updated: i64,
    pub internaldate: i64,
    pub flags: Vec<String>,
    pub expunged: bool,
    pub guid: String,
    pub size: u64,
    /// Where the file was at the last scan.
    pub path: PathBuf,
}

impl State {
    /// That of the last run with what is in the Maildir now. Saved before anything is sent: a run that is cut
    /// short must not give a UID twice.
    pub fn update(file: &Path, user: &str, maildir: &Path) -> Result<State> {
        let mut state = State::load(file)?;
        for folder in scan(user, maildir)? {
            state.take(&folder)?;
        }
        state.save(file)?;
        Ok(state)
    }

    /// That of the last run; empty at the first.
    fn load(file: &Path) -> Result<State> {
        match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| file.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    /// Replaces the file as a whole.
    fn save(&self, file: &Path) -> Result<()> {
        let dir = file
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut new =
            tempfile::NamedTempFile::new_in(dir).with_context(|| dir.display().to_string())?;
        serde_json::to_writer(&mut new, self)?;
        new.as_file().sync_all()?;
        new.persist(file)
            .with_context(|| file.display().to_string())?;
        Ok(())
    }

    /// Takes in what a folder holds now: new messages, other flags, messages that have gone.
    fn take(&mut self, folder: &Folder) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let new = || Mailbox::new(&folder.mboxname, now);
        self.mailboxes
            .entry(folder.mboxname.clone())
            .or_insert_with(new)
            .take(folder, now.try_into()?)
    }
}

impl Mailbox {
    fn new(mboxname: &str, now: u64) -> Mailbox {
        let uniqueid =
            Guid::of(format!("{mboxname} {now} {}", std::process::id()).as_bytes()).to_string();
        Mailbox {
            uniqueid: uniqueid[..24].to_owned(),
            uidvalidity: now as u32,
            last_uid: 0,
            highestmodseq: 1,
            last_appenddate: 0,
            messages: Vec::new(),
        }
    }

    fn take(&mut self, folder: &Folder, now: i64) -> Result<()> {
        let mut found: BTreeMap<&str, &Found> = folder
            .messages
            .iter()
            .map(|message| (message.id.as_str(), message))
            .collect();
        for kept in self.messages.iter_mut().filter(|kept| !kept.expunged) {
            let here = found.remove(kept.id.as_str());
            let changed = here.is_none_or(|here| here.flags != kept.flags);
            match here {
                Some(here) => (kept.flags, kept.path) = (here.flags.clone(), here.path.clone()),
                None => kept.expunged = true,
            }
            if changed {
                self.highestmodseq += 1;
                (kept.modseq, kept.last_updated) = (self.highestmodseq, now);
            }
        }
        for message in folder
            .messages
            .iter()
            .filter(|message| found.contains_key(message.id.as_str()))
        {
            self.add(message, now)?;
        }
        Ok(())
    }

    fn add(&mut self, found: &Found, now: i64) -> Result<()> {
        let (guid, size) = identity(&found.path)?;
        self.last_uid += 1;
        self.highestmodseq += 1;
        self.last_appenddate = now;
        self.messages.push(Kept {
            id: found.id.clone(),
            uid: self.last_uid,
            modseq: self.highestmodseq,
            last_updated: now,
            internaldate: found.arrived,
            flags: found.flags.clone(),
            expunged: false,
            guid: guid.to_string(),
            size,
            path: found.path.clone(),
        });
        Ok(())
    }
}

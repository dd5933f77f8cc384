//! What lies in a Maildir: folders and their messages, as csync names them.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use cyrusbackup::types::Guid;
use maildir::{MailEntry, Maildir};

/// One folder with what is in it now.
pub struct Folder {
    /// Internal mailbox name, `user.anne.Archive.2024`.
    pub mboxname: String,
    /// Sorted by arrival.
    pub messages: Vec<Found>,
}

/// One message file.
pub struct Found {
    /// Its name without the flags: the same as long as the file is there.
    pub id: String,
    pub path: PathBuf,
    pub flags: Vec<String>,
    /// Unix seconds.
    pub arrived: i64,
}

/// The INBOX and every subfolder.
pub fn scan(user: &str, maildir: &Path) -> Result<Vec<Folder>> {
    let inbox = format!("user.{}", user.replace('.', "^"));
    let top = Maildir::from(maildir.to_owned());
    anyhow::ensure!(
        maildir.join("cur").is_dir(),
        "{} is no Maildir: it has no cur",
        maildir.display()
    );
    let mut folders = vec![read(inbox.clone(), &top)?];
    for subdir in top.list_subdirs() {
        let subdir = subdir.with_context(|| maildir.display().to_string())?;
        // `.Archive.2024`: already modified UTF-7 with dots between the levels, as Cyrus' own names.
        let name = subdir
            .path()
            .file_name()
            .and_then(|name| name.to_str())
            .context("a folder's name is no UTF-8")?;
        folders.push(read(format!("{inbox}{name}"), &subdir)?);
    }
    folders.sort_by(|a, b| a.mboxname.cmp(&b.mboxname));
    Ok(folders)
}

/// The message as it goes over the wire: lines end in CRLF there.
pub fn octets(path: &Path) -> Result<Vec<u8>> {
    let stored = std::fs::read(path).with_context(|| path.display().to_string())?;
    let mut octets = Vec::with_capacity(stored.len() + stored.len() / 32);
    for line in stored.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                octets.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                octets.extend_from_slice(b"\r\n");
            }
            None => octets.extend_from_slice(line),
        }
    }
    Ok(octets)
}

/// GUID and size of a message as it goes over the wire.
pub fn identity(path: &Path) -> Result<(Guid, u64)> {
    let octets = octets(path)?;
    Ok((Guid::of(&octets), octets.len() as u64))
}

fn read(mboxname: String, maildir: &Maildir) -> Result<Folder> {
    let mut messages = Vec::new();
    for entry in maildir.list_new().chain(maildir.list_cur()) {
        messages.push(found(
            &entry.with_context(|| maildir.path().display().to_string())?,
        )?);
    }
    messages.sort_by(|a, b| (a.arrived, &a.id).cmp(&(b.arrived, &b.id)));
    Ok(Folder { mboxname, messages })
}

fn found(entry: &MailEntry) -> Result<Found> {
    Ok(Found {
        id: entry.id().to_owned(),
        path: entry.path().clone(),
        flags: entry
            .flags()
            .chars()
            .filter_map(flag)
            .map(str::to_owned)
            .collect(),
        arrived: arrival(entry)?,
    })
}

/// Seconds at the start of the name, as the Maildir convention has them; else the file's time.
fn arrival(entry: &MailEntry) -> Result<i64> {
    if let Some(seconds) = entry
        .id()
        .split('.')
        .next()
        .and_then(|digits| digits.parse().ok())
    {
        return Ok(seconds);
    }
    let modified = entry.path().metadata()?.modified()?;
    Ok(modified.duration_since(UNIX_EPOCH)?.as_secs().try_into()?)
}

fn flag(letter: char) -> Option<&'static str> {
    Some(match letter {
        'D' => "\\Draft",
        'F' => "\\Flagged",
        'P' => "$Forwarded",
        'R' => "\\Answered",
        'S' => "\\Seen",
        'T' => "\\Deleted",
        _ => return None,
    })
}

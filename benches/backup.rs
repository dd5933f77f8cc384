//! A backup as years of nightly sessions leave it, written by our appender: so many chunks, some messages and
//! their records in each.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::csync::dlist::FileRef;
use cyrusbackup::store::{Appender, Body, layout};
use cyrusbackup::types::{BackupKey, Guid};

use crate::corpus::Corpus;
use crate::rig::{Cyrus, Instance};

/// 2020-09-13, and an hour between two chunks.
const START: i64 = 1_600_000_000;
const HOUR: i64 = 3600;

/// A finished backup.
pub struct Made {
    pub path: PathBuf,
    /// In the order of the log.
    pub guids: Vec<Guid>,
    /// Octets of the data file.
    pub length: u64,
    /// Octets of all messages.
    pub mail: u64,
}

/// Backups that were made before, by what they were made of: a large one takes minutes, and several groups want it.
pub struct Shelf {
    instance: Instance,
    made: std::cell::RefCell<std::collections::HashMap<(usize, usize), Rc<Made>>>,
}

impl Shelf {
    /// An empty one.
    pub fn new(cyrus: Cyrus) -> Shelf {
        let options = "backuppartition-default: @B@/part\nbackup_retention: 0\n";
        Shelf {
            instance: Instance::new(cyrus, "shelf", options),
            made: Default::default(),
        }
    }

    /// Where the backups lie: its imapd.conf is the tools'.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The backup of so many chunks; whoever changes it, takes a [`copy`].
    pub fn get(&self, chunks: usize, per_chunk: usize) -> Result<Rc<Made>> {
        if let Some(made) = self.made.borrow().get(&(chunks, per_chunk)) {
            return Ok(made.clone());
        }
        let user = format!("u{chunks}x{per_chunk}");
        let made = Rc::new(make(&self.instance, 1, &user, chunks, per_chunk)?);
        let known = &mut self.made.borrow_mut();
        known.insert((chunks, per_chunk), made.clone());
        Ok(made)
    }
}

/// Writes one into the instance's partition, not known to its backups.db. It is made in memory: thousands of commits
/// that nobody measures would each wait for the disk.
pub fn make(
    instance: &Instance,
    seed: u64,
    user: &str,
    chunks: usize,
    per_chunk: usize,
) -> Result<Made> {
    let key = BackupKey::from_userid(user)?;
    let (_, place) = layout::create_data_file(&instance.dir().join("part"), &key, false)?;
    let memory = Path::new("/dev/shm");
    let quick = match memory.is_dir() {
        true => tempfile::tempdir_in(memory)?,
        false => tempfile::tempdir()?,
    };
    let path = quick.path().join("made");
    std::fs::File::create(&path)?;
    let mut corpus = Corpus::new(seed);
    let (mut guids, mut mail) = (Vec::new(), 0);
    for chunk in 0..chunks {
        let mut appender = Appender::open(&path, false)?;
        let now = START + HOUR * chunk as i64;
        let octets: Vec<Octets> = (0..per_chunk)
            .map(|_| Octets::new(&corpus.message()))
            .collect();
        let bodies: Vec<&dyn Body> = octets.iter().map(|body| body as &dyn Body).collect();
        appender.append_bodies(&bodies, now)?;
        let text = mailbox_line(user, guids.len(), &octets, now);
        appender.append(&parse_apply(text.as_bytes())?, now)?;
        appender.commit()?;
        appender.finish()?;
        guids.extend(octets.iter().map(|body| body.file.guid));
        mail += octets.iter().map(|body| body.file.size).sum::<u64>();
    }
    let length = path.metadata()?.len();
    for (from, to) in [
        (path.clone(), place.clone()),
        (layout::index(&path), layout::index(&place)),
    ] {
        std::fs::copy(&from, &to).with_context(|| to.display().to_string())?;
        instance.give_to_cyrus(&to);
    }
    instance.give_to_cyrus(place.parent().context("a directory")?);
    Ok(Made {
        path: place,
        guids,
        length,
        mail,
    })
}

/// A copy to be spoilt, with its index.
pub fn copy(instance: &Instance, made: &Made, name: &str) -> Result<PathBuf> {
    let path = made.path.parent().context("a directory")?.join(name);
    for (from, to) in [
        (made.path.clone(), path.clone()),
        (layout::index(&made.path), layout::index(&path)),
    ] {
        std::fs::copy(&from, &to).with_context(|| from.display().to_string())?;
        instance.give_to_cyrus(&to);
    }
    Ok(path)
}

/// Removes a copy and what tools have put beside it.
pub fn remove(path: &Path) -> Result<()> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .context("a name")?;
    for entry in std::fs::read_dir(path.parent().context("a directory")?)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|other| other.starts_with(name))
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn mailbox_line(user: &str, before: usize, bodies: &[Octets], now: i64) -> String {
    let last = before + bodies.len();
    let mut text = format!(
        "MAILBOX %(UNIQUEID 0123456789abcdef01234567 MBOXNAME user.{user} SYNC_CRC {last} SYNC_CRC_ANNOT 12345678 \
         LAST_UID {last} HIGHESTMODSEQ {last} RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE {now} POP3_LAST_LOGIN 0 \
         POP3_SHOW_AFTER 0 UIDVALIDITY 1600000000 PARTITION default ACL \"{user}\tlrswipkxtecdan\t\" OPTIONS P RECORD ("
    );
    for (place, body) in bodies.iter().enumerate() {
        let uid = before + place + 1;
        text += &format!(
            "{}%(UID {uid} MODSEQ {uid} LAST_UPDATED {now} FLAGS (\\Seen) INTERNALDATE {now} SIZE {} GUID {})",
            if place == 0 { "" } else { " " },
            body.file.size,
            body.file.guid
        );
    }
    text + "))"
}

/// A message in memory, as it goes over the wire.
struct Octets {
    file: FileRef,
    octets: Vec<u8>,
}

impl Octets {
    fn new(message: &[u8]) -> Octets {
        let mut octets = Vec::with_capacity(message.len() + message.len() / 30);
        for line in message.split_inclusive(|&octet| octet == b'\n') {
            octets.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            octets.extend_from_slice(b"\r\n");
        }
        let file = FileRef {
            partition: "default".into(),
            guid: Guid::of(&octets),
            size: octets.len() as u64,
        };
        Octets { file, octets }
    }
}

impl Body for Octets {
    fn file(&self) -> FileRef {
        self.file.clone()
    }

    fn copy_to(&self, to: &mut dyn Write) -> std::io::Result<()> {
        to.write_all(&self.octets)
    }
}

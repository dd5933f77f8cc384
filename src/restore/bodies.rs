//! Bodies into the target, before a mailbox may name them: what it has already is reserved, the rest sent
//! (spec: csync 12.2). Read from the backup in the order of its data file, each checked against its GUID.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::plan::{LeftOut, Planned};
use super::progress::Progress;
use super::wire;
use crate::csync::dlist::Value;
use crate::csync_client::{Client, ClientError, Message};
use crate::store::walk::Part;
use crate::store::{Backup, StoreError};
use crate::types::Guid;

/// GUIDs in one RESERVE, as C sends them.
const RESERVED_AT_ONCE: usize = 8192;
/// Messages in one APPLY MESSAGE, as C sends them, and octets.
const SENT_AT_ONCE: usize = 1024;
const OCTETS_AT_ONCE: u64 = 64 << 20;
/// The target keeps what it was sent until RESTART.
const STAGED_AT_MOST: u64 = 1 << 30;

/// Why bodies could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The target.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The backup.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What this connection knows to be in the target, and what it brought there.
pub struct Bodies<'a> {
    backup: &'a Backup,
    /// By partition.
    known: BTreeMap<String, Known>,
    /// Mailboxes that may have bodies we do not know of.
    holders: Vec<String>,
    /// Mailboxes that we filled: their bodies are staged, until RESTART forgets it.
    filled: Vec<String>,
    octets: u64,
    /// Not to be had from the backup.
    damaged: HashMap<Guid, String>,
    /// Sent in all.
    pub sent: (usize, u64),
}

/// What the target said of bodies on one partition.
#[derive(Default)]
struct Known {
    /// There, for records to name.
    staged: HashSet<Guid>,
    /// Asked for, and not there.
    missing: HashSet<Guid>,
}

impl<'a> Bodies<'a> {
    /// Nothing is known yet; `holders` are the mailboxes of the target that may have bodies.
    pub fn new(backup: &'a Backup, holders: Vec<String>) -> Bodies<'a> {
        Bodies {
            backup,
            known: BTreeMap::new(),
            holders,
            filled: Vec::new(),
            octets: 0,
            damaged: HashMap::new(),
            sent: (0, 0),
        }
    }

    /// Asks the target which of these bodies it has; each is asked for once.
    ///
    /// # Errors
    /// The connection.
    pub fn reserve(
        &mut self,
        client: &mut Client,
        partition: &str,
        records: &[Planned],
    ) -> Result<(), ClientError> {
        let known = self.known.entry(partition.to_owned()).or_default();
        let is_new = |guid: &Guid| !known.staged.contains(guid) && !known.missing.contains(guid);
        let guids = records.iter().map(|record| record.guid);
        let asked: BTreeSet<Guid> = guids.filter(is_new).collect();
        // As sync_client: who has no mailbox has no body.
        if self.holders.is_empty() {
            known.missing.extend(asked);
            return Ok(());
        }
        let asked: Vec<Guid> = asked.into_iter().collect();
        let names: Vec<&str> = self.holders.iter().map(String::as_str).collect();
        for some in asked.chunks(RESERVED_AT_ONCE) {
            let answer = client.command(&wire::reserve(partition, &names, some))?;
            let guids = answer.named("MISSING").filter_map(Value::as_list).flatten();
            let guids = guids.filter_map(|guid| Guid::from_hex(guid.as_bytes()?).ok());
            let missing: HashSet<Guid> = guids.collect();
            let there = some.iter().filter(|guid| !missing.contains(guid));
            known.staged.extend(there);
            known.missing.extend(missing);
        }
        Ok(())
    }

    /// Brings the bodies of these messages, as far as they are not there. Messages whose bodies are damaged are
    /// returned.
    ///
    /// # Errors
    /// The connection, or what is not about one message.
    pub fn bring(
        &mut self,
        client: &mut Client,
        partition: &str,
        records: &[Planned],
        progress: &Progress,
    ) -> Result<Vec<LeftOut>, SendError> {
        self.make_room(client)?;
        self.reserve(client, partition, records)?;
        let known = self.known.entry(partition.to_owned()).or_default();
        let guids = records.iter().map(|record| record.guid);
        let missing: BTreeSet<Guid> = guids
            .filter(|guid| known.missing.contains(guid) && !self.damaged.contains_key(guid))
            .collect();
        self.send(client, partition, &missing, progress)?;
        let damaged = records.iter().filter_map(|record| {
            let why = self.damaged.get(&record.guid)?.clone();
            let what = format!("message {}", record.guid);
            Some(LeftOut { what, why })
        });
        Ok(damaged.collect())
    }

    /// The body of this message cannot be had.
    pub fn is_damaged(&self, guid: &Guid) -> bool {
        self.damaged.contains_key(guid)
    }

    /// This mailbox now has bodies from us.
    pub fn filled(&mut self, mboxname: &str) {
        self.filled.push(mboxname.to_owned());
    }

    fn make_room(&mut self, client: &mut Client) -> Result<(), ClientError> {
        if self.octets > STAGED_AT_MOST {
            client.command(b"RESTART")?;
            self.known.clear();
            self.holders.append(&mut self.filled);
            self.octets = 0;
        }
        Ok(())
    }

    fn send(
        &mut self,
        client: &mut Client,
        partition: &str,
        missing: &BTreeSet<Guid>,
        progress: &Progress,
    ) -> Result<(), SendError> {
        let mut rows = Vec::with_capacity(missing.len());
        for guid in missing {
            match self.backup.index().message(guid)? {
                Some(row) => rows.push(row),
                None => drop(
                    self.damaged
                        .insert(*guid, "its body is not in the backup".into()),
                ),
            }
        }
        let mut block = Block::new(client, partition);
        let mut failed = None;
        let (damaged, sent) = (&mut self.damaged, &mut self.sent);
        let mut arrived = Vec::new();
        let before = sent.1;
        self.backup
            .each_message(rows, Part::Whole, &mut |row, octets| {
                let result = match octets {
                    Ok(octets) => {
                        arrived.push(row.guid);
                        sent.0 += 1;
                        sent.1 += octets.len() as u64;
                        progress.add(octets.len() as u64);
                        block.send(row.guid, octets)
                    }
                    Err(error) => {
                        damaged.insert(row.guid, error.detail().to_owned());
                        Ok(())
                    }
                };
                failed = result.err();
                failed.is_none()
            })?;
        match failed {
            Some(error) => return Err(error.into()),
            None => block.finish()?,
        }
        self.octets += self.sent.1 - before;
        let known = self.known.entry(partition.to_owned()).or_default();
        for guid in arrived {
            known.missing.remove(&guid);
            known.staged.insert(guid);
        }
        Ok(())
    }
}

/// `APPLY MESSAGE` commands of a bounded size.
struct Block<'a> {
    client: &'a mut Client,
    partition: &'a str,
    count: usize,
    octets: u64,
}

impl<'a> Block<'a> {
    fn new(client: &'a mut Client, partition: &'a str) -> Block<'a> {
        Block {
            client,
            partition,
            count: 0,
            octets: 0,
        }
    }

    fn send(&mut self, guid: Guid, octets: &[u8]) -> Result<(), ClientError> {
        if self.count == 0 {
            self.client.begin_messages()?;
        }
        let message = Message {
            partition: self.partition,
            guid,
            octets,
        };
        self.client.send_message(self.count == 0, &message)?;
        self.count += 1;
        self.octets += octets.len() as u64;
        if self.count == SENT_AT_ONCE || self.octets >= OCTETS_AT_ONCE {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ClientError> {
        if self.count > 0 {
            self.client.finish_messages()?;
        }
        (self.count, self.octets) = (0, 0);
        Ok(())
    }
}

//! Names of mailboxes while the lines after their MAILBOX line pass by, from chunk to chunk.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::finding::{Damage, Finding, MailboxName};
use crate::csync::command::{MailboxUpdate, Rename};
use crate::store::index::{ChunkRow, MailboxRow};

/// What a chunk says about names, in the order of its lines.
pub(super) enum Event {
    /// The MAILBOX line that the row was made of, but for its name.
    Said(Box<Said>),
    /// Another MAILBOX line of the same mailbox in the same chunk.
    SaidAgain { uniqueid: String, name: Name },
    /// A RENAME line.
    Renamed(Rename),
}

pub(super) struct Said {
    id: i64,
    uniqueid: String,
    index: Name,
    deleted: bool,
    now: Name,
}

/// What a RENAME can change.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Name {
    mboxname: String,
    partition: String,
    uidvalidity: u32,
}

/// All names at the present line.
#[derive(Default)]
pub(super) struct Names(HashMap<String, Named>);

struct Named {
    chunk: i64,
    offset: u64,
    id: i64,
    /// What the lines make of it; several for a deleted mailbox, whose rows C renames together
    /// with a living one of the same name, and we do not.
    now: Vec<Name>,
    index: Name,
    deleted: bool,
}

impl Event {
    pub(super) fn said(row: &MailboxRow, update: &MailboxUpdate<'_>) -> Event {
        Event::Said(Box::new(Said {
            id: row.id,
            uniqueid: row.uniqueid.clone(),
            index: Name {
                mboxname: row.mboxname.clone(),
                partition: row.partition.clone().unwrap_or_default(),
                uidvalidity: row.uidvalidity,
            },
            deleted: row.deleted.is_some(),
            now: Name::of(update),
        }))
    }
}

impl Names {
    /// Takes what the next chunk says.
    pub(super) fn follow(&mut self, chunk: &ChunkRow, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Said(said) => self.said(chunk, *said),
                Event::SaidAgain { uniqueid, name } => {
                    let named = self.0.get_mut(&uniqueid);
                    if let Some(named) = named.filter(|named| named.chunk == chunk.id) {
                        named.now = vec![name];
                    }
                }
                Event::Renamed(rename) => self.rename(&rename),
            }
        }
    }

    fn said(&mut self, chunk: &ChunkRow, said: Said) {
        let named = Named {
            chunk: chunk.id,
            offset: chunk.offset,
            id: said.id,
            now: vec![said.now],
            index: said.index,
            deleted: said.deleted,
        };
        self.0.insert(said.uniqueid, named);
    }

    fn rename(&mut self, rename: &Rename) {
        for named in self.0.values_mut() {
            let old = named
                .now
                .iter()
                .position(|name| name.mboxname == rename.old.as_str());
            let Some(at) = old else { continue };
            let partition = rename
                .partition
                .as_ref()
                .unwrap_or(&named.now[at].partition);
            let renamed = Name {
                mboxname: rename.new.as_str().to_owned(),
                partition: partition.clone(),
                uidvalidity: rename.uidvalidity,
            };
            if !named.deleted {
                named.now.clear();
            }
            if !named.now.contains(&renamed) {
                named.now.push(renamed);
            }
        }
    }

    /// The mailboxes whose name in the index nothing explains.
    pub(super) fn finish(self) -> Vec<Finding> {
        let wrong = self
            .0
            .into_iter()
            .filter(|(_, named)| !named.now.contains(&named.index));
        let by_row: BTreeMap<(i64, i64), Finding> = wrong
            .map(|(uniqueid, named)| {
                let mailbox = Arc::new(MailboxName {
                    uniqueid,
                    mboxname: named.index.mboxname,
                });
                let finding = Finding {
                    chunk: named.chunk,
                    offset: Some(named.offset),
                    damage: Damage::Mailbox { mailbox },
                };
                ((named.chunk, named.id), finding)
            })
            .collect();
        by_row.into_values().collect()
    }
}

impl Name {
    pub(super) fn of(update: &MailboxUpdate<'_>) -> Name {
        Name {
            mboxname: update.mboxname.as_str().to_owned(),
            partition: update
                .header
                .get_str("PARTITION")
                .unwrap_or_default()
                .to_owned(),
            uidvalidity: update.header.get_u32("UIDVALIDITY").unwrap_or(0),
        }
    }
}

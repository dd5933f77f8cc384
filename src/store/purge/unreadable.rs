//! What of a backup cannot be read: its damaged chunks, and the messages that are lost with them.

use std::collections::HashSet;

use super::receipt::{DamagedChunk, Unreadable, described};
use crate::csync::dlist::FileRef;
use crate::store::error::Result;
use crate::store::index::Index;
use crate::store::rebuild::Source;
use crate::store::rewrite::{Measured, read};
use crate::store::scan::Visitor;
use crate::types::{Guid, GuidHasher};

/// Reads the file once more if there is damage. Messages that are to go anyway do not count as lost.
pub(super) fn unreadable(
    source: &Source<'_>,
    index: &Index,
    members: &[Measured],
    going: &HashSet<Guid>,
) -> Result<Unreadable> {
    let damaged: Vec<&Measured> = members.iter().filter(|member| member.damaged).collect();
    if damaged.is_empty() {
        return Ok(Unreadable::default());
    }
    let rows = index.chunks()?;
    let id = |offset| rows.iter().find(|row| row.offset == offset);
    let chunks = damaged.iter().map(|member| DamagedChunk {
        id: id(member.start).map(|row| row.id),
        offset: member.start,
    });
    let mut readable = Readable::default();
    read(source, &mut readable, &mut |_| {})?;
    let messages = index.messages()?.into_iter().map(|row| row.guid);
    let lost = messages.filter(|guid| !readable.bodies.contains(guid) && !going.contains(guid));
    Ok(Unreadable {
        chunks: chunks.collect(),
        messages: described(index, &lost.collect())?,
    })
}

/// Bodies that are what their GUIDs say.
#[derive(Default)]
struct Readable {
    bodies: HashSet<Guid>,
    body: Option<(FileRef, u64, GuidHasher)>,
}

impl Visitor for Readable {
    fn file(&mut self, file: &FileRef, _offset: u64) {
        self.body = Some((file.clone(), file.size, GuidHasher::default()));
        self.file_data(&[]);
    }

    fn file_data(&mut self, octets: &[u8]) {
        let Some((file, left, mut hasher)) = self.body.take() else {
            return;
        };
        hasher.update(octets);
        let left = left.saturating_sub(octets.len() as u64);
        if left > 0 {
            self.body = Some((file, left, hasher));
        } else if hasher.finish() == file.guid {
            self.bodies.insert(file.guid);
        }
    }

    fn line(&mut self, _offset: u64, _text: &[u8]) -> bool {
        self.body = None;
        true
    }

    fn cut(&mut self, _offset: u64, _text: &[u8]) {
        self.body = None;
    }
}

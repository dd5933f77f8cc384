//! What a damaged file still holds (spec: ondisk 3.8 step 3, "recovery2").
//!
//! Only the header has to be sound; links are not followed. Records are taken in the order in which
//! they were written, each with its own checksums, and what cannot be read is stepped over. C gives
//! up the whole transaction that a bad byte stands in, and a repacked file is one transaction; we
//! give up the record only. When something is missing it is unknown what a DELETE deleted, so then
//! none counts: rather an entry too many than one too few.

use std::collections::{BTreeMap, HashMap};

use super::error::{Fault, damaged};
use super::header::Header;
use super::level;
use super::media::{Image, Media};
use super::rebuild;
use super::record::{BLANK, FIRST_RECORD, Kind, Record};

/// A fresh database with all that could be read. An error when nothing could.
pub(super) fn image(media: &dyn Media, header: &Header) -> Result<Image, Fault> {
    let length = media.len()?.min(header.current_size);
    let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    media.read_at(0, &mut bytes)?;
    let mut salvage = Salvage::default();
    salvage.scan(&Image::new(bytes), length)?;
    if length < header.current_size {
        salvage.is_incomplete = true;
    }
    salvage.end_transaction();
    if salvage.entries.is_empty() {
        return damaged(FIRST_RECORD, "nothing in it can be read");
    }
    let entries = salvage.entries.into_iter();
    let entries = entries.map(|(key, (_, value))| (key, value));
    rebuild::image(entries, header.generation + 1, &mut level::random)
}

#[derive(Default)]
struct Salvage {
    /// Key to the record's offset and value.
    entries: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    /// The other way round, from the record's offset to the key.
    keys: HashMap<u64, Vec<u8>>,
    /// The transaction being scanned.
    pending: Vec<(Record, Vec<u8>)>,
    is_incomplete: bool,
}

impl Salvage {
    /// Everything below the committed end counts, so COMMITs only tell where a transaction ends.
    fn scan(&mut self, media: &dyn Media, limit: u64) -> Result<(), Fault> {
        let mut offset = FIRST_RECORD;
        while offset + 8 <= limit {
            let mut first = [0; 8];
            media.read_at(offset, &mut first)?;
            if first == BLANK {
                offset += 8;
                continue;
            }
            let Ok(record) = Record::read(media, offset, limit) else {
                self.is_incomplete = true;
                offset += 8;
                continue;
            };
            offset = record.end();
            self.take(media, record);
        }
        Ok(())
    }

    fn take(&mut self, media: &dyn Media, record: Record) {
        match (record.kind, record.value(media)) {
            (Kind::Record, Ok(value)) => self.pending.push((record, value)),
            (Kind::Delete, Ok(_)) => self.pending.push((record, Vec::new())),
            (Kind::Commit, Ok(_)) => self.end_transaction(),
            (Kind::Dummy, _) | (_, Err(_)) => self.is_incomplete = true,
        }
    }

    fn end_transaction(&mut self) {
        for (record, value) in std::mem::take(&mut self.pending) {
            match record.kind {
                Kind::Record => self.store(record, value),
                _ if self.is_incomplete => {}
                _ => self.delete_before(record.pointers[0]),
            }
        }
    }

    /// A DELETE does not name its key: it is the one before the record that it points to.
    fn delete_before(&mut self, target: u64) {
        let deleted = match self.keys.get(&target) {
            Some(next) => self.entries.range::<Vec<u8>, _>(..next).next_back(),
            None if target == 0 => self.entries.last_key_value(),
            None => None,
        };
        if let Some((key, (offset, _))) = deleted {
            let key = key.clone();
            self.keys.remove(offset);
            self.entries.remove(&key);
        }
    }

    fn store(&mut self, record: Record, value: Vec<u8>) {
        self.keys.insert(record.offset, record.key.clone());
        let replaced = self.entries.insert(record.key, (record.offset, value));
        if let Some((offset, _)) = replaced {
            self.keys.remove(&offset);
        }
    }
}

//! Finding keys (spec: ondisk 3.4, 3.5).
//!
//! A damaged file cannot make a search run in circles: each step must lead to a greater key. Nor
//! can it hide a key unnoticed: the checksums of both neighbours are verified before a key is
//! called absent. A wrong turn is a comparison with a damaged key, and the record that has it is
//! then one of the neighbours.

use super::Entry;
use super::error::{Fault, damaged};
use super::level;
use super::media::Media;
use super::record::{DUMMY_OFFSET, Kind, Record};

/// Lists 0 to 30: DUMMY takes part in all of them.
pub(super) const LISTS: usize = level::MAX as usize;

/// A database as of one moment: what stands below `limit`.
pub(super) struct View<'a> {
    pub(super) media: &'a dyn Media,
    pub(super) limit: u64,
}

/// Where a key is, or would be.
pub(super) struct Place {
    /// For each list the last record before the key.
    pub(super) back: [u64; LISTS],
    /// For each list the raw pointer that leads past the key: `back`'s, or the key's own record's
    /// where that takes part.
    pub(super) forward: [u64; LISTS],
    /// The first record whose key is not smaller.
    pub(super) ahead: Option<Record>,
    /// The value, when `ahead` is the key's record.
    pub(super) value: Option<Vec<u8>>,
}

impl View<'_> {
    /// Searches from the highest list down.
    pub(super) fn find(&self, key: &[u8]) -> Result<Place, Fault> {
        let mut place = Place {
            back: [0; LISTS],
            forward: [0; LISTS],
            ahead: None,
            value: None,
        };
        let mut at = self.dummy()?;
        for level in (0..LISTS).rev() {
            let list = level as u8;
            place.ahead = loop {
                let pointer = at.next(list, self.limit);
                match place.ahead.take() {
                    Some(ahead) if ahead.offset == pointer => break Some(ahead),
                    _ => {}
                }
                match self.follow(&at, list)? {
                    Some(next) if next.key.as_slice() < key => at = next,
                    next => break next,
                }
            };
            place.back[level] = at.offset;
            place.forward[level] = at.next(list, self.limit);
        }
        self.judge(&mut place, &at, key)?;
        Ok(place)
    }

    /// Takes the value of a match; makes sure that the neighbours of a gap are what they seem.
    fn judge(&self, place: &mut Place, before: &Record, key: &[u8]) -> Result<(), Fault> {
        match &place.ahead {
            Some(matching) if matching.key == key => {
                place.value = Some(matching.value(self.media)?);
                for level in 0..matching.level {
                    place.forward[usize::from(level)] = matching.next(level, self.limit);
                }
            }
            ahead => {
                before.value(self.media)?;
                if let Some(ahead) = ahead {
                    ahead.value(self.media)?;
                }
            }
        }
        Ok(())
    }

    /// All entries whose key begins with `prefix`, in order.
    pub(super) fn entries(&self, prefix: &[u8]) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        let mut next = self.find(prefix)?.ahead;
        while let Some(record) = next.take_if(|record| record.key.starts_with(prefix)) {
            let value = record.value(self.media)?;
            next = self.follow(&record, 0)?;
            entries.push((record.key, value));
        }
        Ok(entries)
    }

    /// The record that every list begins with.
    pub(super) fn dummy(&self) -> Result<Record, Fault> {
        self.record(DUMMY_OFFSET)
    }

    /// The next live record in a list, which has a greater key; `None` at the end.
    pub(super) fn follow(&self, from: &Record, list: u8) -> Result<Option<Record>, Fault> {
        let mut pointer = from.next(list, self.limit);
        if pointer == 0 {
            return Ok(None);
        }
        let mut record = self.record(pointer)?;
        if record.kind == Kind::Delete {
            pointer = record.pointers[0];
            if pointer == 0 {
                return Ok(None);
            }
            record = self.record(pointer)?;
        }
        if record.kind != Kind::Record || record.level <= list {
            return damaged(from.offset, "a pointer to the wrong kind of record");
        }
        if record.key <= from.key {
            return damaged(record.offset, "keys out of order");
        }
        Ok(Some(record))
    }

    pub(super) fn record(&self, offset: u64) -> Result<Record, Fault> {
        Record::read(self.media, offset, self.limit)
    }
}

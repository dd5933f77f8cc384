//! Changing several keys at once (spec: ondisk 3.6).
//!
//! Records are appended behind the committed end and linked in place; the header says DIRTY
//! meanwhile. A commit syncs them before the header calls them committed.

use std::path::Path;

use super::error::{Error, Fault};
use super::header::Header;
use super::level::{self, Draw};
use super::media::Media;
use super::record::{BLANK, Kind, Record, body, padding};
use super::recover;
use super::search::{Place, View};

/// An open transaction; the closure of [`Twoskip::update`](super::Twoskip::update) gets one.
pub struct Transaction<'a> {
    path: &'a Path,
    media: &'a dyn Media,
    header: Header,
    /// Where the next record goes.
    end: u64,
    failed: bool,
    draw: Draw<'a>,
}

impl<'a> Transaction<'a> {
    /// Begins on a clean file whose exclusive lock the caller holds. Nothing is written yet.
    pub(super) fn begin(
        path: &'a Path,
        media: &'a dyn Media,
        header: Header,
        draw: Draw<'a>,
    ) -> Transaction<'a> {
        Transaction {
            path,
            media,
            end: header.current_size,
            header,
            failed: false,
            draw,
        }
    }

    /// The value of a key as this transaction sees it.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = self.view().find(key);
        found.map(|place| place.value).map_err(|f| self.at_path(f))
    }

    /// All entries whose key begins with `prefix`, as this transaction sees them.
    pub fn entries(&self, prefix: &[u8]) -> Result<Vec<super::Entry>, Error> {
        let entries = self.view().entries(prefix);
        entries.map_err(|f| self.at_path(f))
    }

    /// Gives a key this value, whether it had one or not. Once this fails the whole transaction
    /// cannot be committed any more.
    pub fn store(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let stored = self.link_new(key, value);
        self.remember(stored)
    }

    /// Removes a key; false when there was none. Fails like [`store`](Transaction::store).
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        let deleted = self.unlink(key);
        self.remember(deleted)
    }

    /// Puts all changes on stable storage.
    pub(super) fn commit(mut self) -> Result<Header, Fault> {
        if self.failed {
            self.abort()?;
            return Err(Fault::Undone);
        }
        if !self.header.is_dirty() {
            return Ok(self.header);
        }
        if let Err(fault) = self.seal() {
            // The first error is the one to tell; what cannot be undone now, the next open undoes.
            let _ = self.abort();
            return Err(fault);
        }
        self.header.current_size = self.end;
        self.header.mark_clean(self.media)?;
        Ok(self.header)
    }

    /// Undoes all changes.
    pub(super) fn abort(mut self) -> Result<(), Fault> {
        if !self.header.is_dirty() {
            return Ok(());
        }
        recover::roll_back(self.media, &mut self.header)
    }

    /// Where the COMMIT record of a transaction that ends now would stand, padding not counted.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    fn seal(&mut self) -> Result<(), Fault> {
        let mut commit = Record::new(Kind::Commit, 0, &[], &[]);
        commit.pointers[0] = self.header.current_size;
        self.append(&mut commit, &[])?;
        Ok(self.media.sync()?)
    }

    fn link_new(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if key.is_empty() {
            return Err(Fault::EmptyKey);
        }
        let mut place = self.view().find(key)?;
        if place.value.as_deref() == Some(value) {
            return Ok(());
        }
        let level = (self.draw)().clamp(1, level::MAX);
        let mut record = Record::new(Kind::Record, level, key, value);
        let lists = usize::from(level);
        record.pointers[1..=lists].copy_from_slice(&place.forward[..lists]);
        self.append(&mut record, &body(key, value))?;
        place.forward[..lists].fill(record.offset);
        let replaced = place.replaced_level();
        self.relink(&place, level.max(replaced))?;
        self.header.num_records += u64::from(replaced == 0);
        Ok(())
    }

    fn unlink(&mut self, key: &[u8]) -> Result<bool, Fault> {
        let mut place = self.view().find(key)?;
        let Some(found) = place.ahead.take_if(|_| place.value.is_some()) else {
            return Ok(false);
        };
        let next = self.view().follow(&found, 0)?;
        let mut delete = Record::new(Kind::Delete, 0, &[], &[]);
        delete.pointers[0] = next.map_or(0, |next| next.offset);
        self.append(&mut delete, &[])?;
        place.forward[0] = delete.offset;
        self.relink(&place, found.level)?;
        self.header.num_records = self.header.num_records.saturating_sub(1);
        Ok(true)
    }

    /// Makes lists `0..lists` lead to `forward`. One record often ends several lists before the
    /// key, then it is written once.
    fn relink(&mut self, place: &Place, lists: u8) -> Result<(), Fault> {
        let mut list = 0;
        while list < lists {
            let mut record = self.view().record(place.back[usize::from(list)])?;
            let above = record.level.min(lists);
            for list in list..above {
                let to = place.forward[usize::from(list)];
                record.set_next(list, self.header.current_size, to);
            }
            self.media.write_at(record.offset, &record.head())?;
            list = above;
        }
        Ok(())
    }

    /// Writes a record at the end, and BLANKs before it where its pointers would straddle sectors.
    fn append(&mut self, record: &mut Record, body: &[u8]) -> Result<(), Fault> {
        if !self.header.is_dirty() {
            self.header.mark_dirty(self.media)?;
        }
        let gap = padding(self.end, record.head_length());
        record.offset = self.end + gap;
        let mut bytes = BLANK.repeat((gap / 8) as usize);
        bytes.extend(record.head());
        bytes.extend(body);
        self.media.write_at(self.end, &bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn view(&self) -> View<'_> {
        View {
            media: self.media,
            limit: self.end,
        }
    }

    fn remember<T>(&mut self, result: Result<T, Fault>) -> Result<T, Error> {
        self.failed |= result.is_err();
        result.map_err(|fault| self.at_path(fault))
    }

    fn at_path(&self, fault: Fault) -> Error {
        Error::new(self.path, fault)
    }
}

impl Place {
    /// The level of the key's own record, 0 when there is none.
    fn replaced_level(&self) -> u8 {
        match (&self.ahead, &self.value) {
            (Some(found), Some(_)) => found.level,
            _ => 0,
        }
    }
}

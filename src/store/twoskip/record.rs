//! One record: its bytes, its pointers, where it may stand (spec: ondisk 3.3, 3.4).
//!
//! Left out: which record follows which; `search` walks, `transaction` links.

use super::error::{Fault, damaged};
use super::level;
use super::media::Media;

/// Where the one DUMMY stands.
pub(super) const DUMMY_OFFSET: u64 = 64;
/// Where records with keys begin.
pub(super) const FIRST_RECORD: u64 = 0x150;
/// Fills the gap before a record whose pointers would straddle two sectors.
pub(super) const BLANK: [u8; 8] = *b" BLANK\x07\xa0";

const SECTOR: u64 = 512;
const SLOTS: usize = level::MAX as usize + 1;
const LONG_KEY: u16 = u16::MAX;
const LONG_VALUE: u32 = u32::MAX;
/// Type, level and lengths.
const START: u64 = 8;
const CHECKSUMS: u64 = 8;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The beginning of every list.
    Dummy,
    /// A key with its value.
    Record,
    /// Says that the key before its target is gone.
    Delete,
    /// Ends a transaction.
    Commit,
}

/// A record without its value, which stays in the file until asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) kind: Kind,
    pub(super) level: u8,
    pub(super) key: Vec<u8>,
    value_length: u64,
    /// `level + 1` of them count.
    pub(super) pointers: [u64; SLOTS],
    tail_checksum: u32,
}

impl Record {
    /// A record that stands nowhere yet.
    pub(super) fn new(kind: Kind, level: u8, key: &[u8], value: &[u8]) -> Record {
        Record {
            offset: 0,
            kind,
            level,
            key: key.to_vec(),
            value_length: value.len() as u64,
            pointers: [0; SLOTS],
            tail_checksum: crc32fast::hash(&body(key, value)),
        }
    }

    /// Reads the record at `offset`, of which no byte may stand at `limit` or behind. The head's
    /// checksum is verified, the key's is not: see [`Record::value`].
    pub(super) fn read(media: &dyn Media, offset: u64, limit: u64) -> Result<Record, Fault> {
        if offset < DUMMY_OFFSET || !offset.is_multiple_of(8) || offset >= limit {
            return damaged(offset, "a pointer to where no record can be");
        }
        // The longest head has 288 bytes, and most keys are short: one read does.
        let mut block = [0; SECTOR as usize];
        let block = &mut block[..SECTOR.min(limit - offset) as usize];
        media.read_at(offset, block)?;
        let (mut record, key_length) = parse_head(offset, block)?;
        match record.end_with(key_length) {
            Some(end) if end <= limit => {}
            _ => return damaged(offset, "a record longer than the file"),
        }
        record.key = vec![0; key_length as usize];
        let head = head_length(record.level, key_length, record.value_length);
        media.read_at(offset + head, &mut record.key)?;
        Ok(record)
    }

    /// The value, after the checksum over key and value was verified.
    pub(super) fn value(&self, media: &dyn Media) -> Result<Vec<u8>, Fault> {
        let mut body = vec![0; self.body_length() as usize];
        media.read_at(self.offset + self.head_length(), &mut body)?;
        if crc32fast::hash(&body) != self.tail_checksum || !body.starts_with(&self.key) {
            return damaged(self.offset, "checksum of key and value");
        }
        body.drain(..self.key.len());
        body.truncate(self.value_length as usize);
        Ok(body)
    }

    /// The head as it stands in the file, checksums included.
    pub(super) fn head(&self) -> Vec<u8> {
        let key_length = self.key.len() as u64;
        let short_key = u16::try_from(key_length).unwrap_or(LONG_KEY);
        let short_value = u32::try_from(self.value_length).unwrap_or(LONG_VALUE);
        let mut head = vec![self.kind.to_byte(), self.level];
        head.extend(short_key.to_be_bytes());
        head.extend(short_value.to_be_bytes());
        if short_key == LONG_KEY {
            head.extend(key_length.to_be_bytes());
        }
        if short_value == LONG_VALUE {
            head.extend(self.value_length.to_be_bytes());
        }
        for pointer in &self.pointers[..=usize::from(self.level)] {
            head.extend(pointer.to_be_bytes());
        }
        head.extend(crc32fast::hash(&head).to_be_bytes());
        head.extend(self.tail_checksum.to_be_bytes());
        head
    }

    /// The raw pointer at a level; `limit` tells which of the two at level 0 counts. 0 is the end.
    pub(super) fn next(&self, level: u8, limit: u64) -> u64 {
        if level > 0 {
            return self.pointers[usize::from(level) + 1];
        }
        match (self.pointers[0], self.pointers[1]) {
            (first, second) if first >= limit => second,
            (first, second) if second >= limit => first,
            (first, second) => first.max(second),
        }
    }

    /// Changes the pointer at a level. At level 0 the newest value below `committed` survives in
    /// the other slot, so that a crash can be undone.
    pub(super) fn set_next(&mut self, level: u8, committed: u64, to: u64) {
        let [first, second, ..] = self.pointers;
        let slot = match level {
            1.. => usize::from(level) + 1,
            0 if first >= committed => 0,
            0 if second >= committed => 1,
            0 => usize::from(second <= first),
        };
        self.pointers[slot] = to;
    }

    /// Where the next record may stand.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.head_length() + self.body_length()
    }

    pub(super) fn head_length(&self) -> u64 {
        head_length(self.level, self.key.len() as u64, self.value_length)
    }

    fn body_length(&self) -> u64 {
        (self.key.len() as u64 + self.value_length).next_multiple_of(8)
    }

    /// Lengths from a file may be absurd; after this they were added once without overflow.
    fn end_with(&self, key_length: u64) -> Option<u64> {
        let body = key_length.checked_add(self.value_length)?;
        let body = body.checked_next_multiple_of(8)?;
        let head = head_length(self.level, key_length, self.value_length);
        self.offset.checked_add(head)?.checked_add(body)
    }
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Kind::Dummy => b'=',
            Kind::Record => b'+',
            Kind::Delete => b'-',
            Kind::Commit => b'$',
        }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Dummy, Kind::Record, Kind::Delete, Kind::Commit]
            .into_iter()
            .find(|kind| kind.to_byte() == byte)
    }
}

/// Key, value and NULs up to a multiple of 8.
pub(super) fn body(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut body = [key, value].concat();
    body.resize(body.len().next_multiple_of(8), 0);
    body
}

/// How many bytes of BLANKs go before a head at `end`. Pointers and their checksum are rewritten in
/// place, so they stand in one sector, and a power cut leaves the old or the new ones. Type and
/// lengths may stand in the sector before.
pub(super) fn padding(end: u64, head_length: u64) -> u64 {
    if head_length > SECTOR - 8 {
        return 0;
    }
    let straddles = |end: u64| (end + 8) % SECTOR > (end - 8 + head_length) % SECTOR;
    let mut padded = end;
    while straddles(padded) {
        padded += 8;
    }
    padded - end
}

fn head_length(level: u8, key_length: u64, value_length: u64) -> u64 {
    let key_escape = u64::from(key_length >= u64::from(LONG_KEY)) * 8;
    let value_escape = u64::from(value_length >= u64::from(LONG_VALUE)) * 8;
    START + key_escape + value_escape + (u64::from(level) + 1) * 8 + CHECKSUMS
}

/// The head at the beginning of `block`: a record without its key, and the key's length.
fn parse_head(offset: u64, block: &[u8]) -> Result<(Record, u64), Fault> {
    let Some((start, mut rest)) = block.split_first_chunk::<{ START as usize }>() else {
        return damaged(offset, "a record cut off");
    };
    let [kind, level, k0, k1, v0, v1, v2, v3] = *start;
    let kind = match Kind::from_byte(kind) {
        Some(kind) if is_possible(kind, offset, level) => kind,
        _ => return damaged(offset, "no record"),
    };
    let mut long = || {
        let (bytes, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(u64::from_be_bytes(*bytes))
    };
    let mut read = || {
        let mut key_length = u64::from(u16::from_be_bytes([k0, k1]));
        if key_length == u64::from(LONG_KEY) {
            key_length = long()?;
        }
        let mut value_length = u64::from(u32::from_be_bytes([v0, v1, v2, v3]));
        if value_length == u64::from(LONG_VALUE) {
            value_length = long()?;
        }
        let mut pointers = [0; SLOTS];
        for pointer in &mut pointers[..=usize::from(level)] {
            *pointer = long()?;
        }
        Some((key_length, value_length, pointers, long()?))
    };
    let Some((key_length, value_length, pointers, checksums)) = read() else {
        return damaged(offset, "a record cut off");
    };
    let covered = block.len() - rest.len() - CHECKSUMS as usize;
    if crc32fast::hash(&block[..covered]) != (checksums >> 32) as u32 {
        return damaged(offset, "checksum of a record");
    }
    if covered as u64 + CHECKSUMS != head_length(level, key_length, value_length) {
        return damaged(offset, "a length that is escaped without need");
    }
    if kind != Kind::Record && (key_length, value_length) != (0, 0) {
        return damaged(offset, "a key where none belongs");
    }
    let record = Record {
        offset,
        kind,
        level,
        key: Vec::new(),
        value_length,
        pointers,
        tail_checksum: checksums as u32,
    };
    Ok((record, key_length))
}

fn is_possible(kind: Kind, offset: u64, level: u8) -> bool {
    match kind {
        Kind::Dummy => offset == DUMMY_OFFSET && level == level::MAX,
        Kind::Record => offset >= FIRST_RECORD && (1..=level::MAX).contains(&level),
        Kind::Delete | Kind::Commit => offset >= FIRST_RECORD && level == 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::media::Image;
    use super::*;

    fn image_of(record: &Record, key: &[u8], value: &[u8]) -> (Image, u64) {
        let image = Image::default();
        let bytes = [record.head(), body(key, value)].concat();
        image.write_at(record.offset, &bytes).unwrap();
        let limit = image.len().unwrap();
        (image, limit)
    }

    #[test]
    fn long_lengths_are_escaped() {
        let value = b"value";
        for (length, head) in [(0xfffe, 32), (0xffff, 40), (0x12345, 40)] {
            let key = vec![b'k'; length];
            let mut record = Record::new(Kind::Record, 1, &key, value);
            record.offset = FIRST_RECORD;
            assert_eq!(record.head_length(), head);
            let (image, limit) = image_of(&record, &key, value);
            assert_eq!(record.end(), limit);
            let back = Record::read(&image, FIRST_RECORD, limit).unwrap();
            assert_eq!(back, record);
            assert_eq!(back.value(&image).unwrap(), value);
        }
    }

    #[test]
    fn absurd_lengths_are_refused_before_memory_is_taken() {
        for (key_length, value_length) in [
            (u64::MAX, 1),
            (u64::MAX - 7, 0),
            (u64::MAX / 2, u64::MAX / 2),
            (1 << 40, 0),
            (3, 1 << 40),
        ] {
            let mut head = vec![b'+', 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
            head.extend(key_length.to_be_bytes());
            head.extend(value_length.to_be_bytes());
            head.extend([0; 16]);
            head.extend(crc32fast::hash(&head).to_be_bytes());
            head.extend([0; 64]);
            let image = Image::default();
            image.write_at(FIRST_RECORD, &head).unwrap();
            let limit = image.len().unwrap();
            let fault = Record::read(&image, FIRST_RECORD, limit).unwrap_err();
            assert!(matches!(fault, Fault::Damaged { .. }), "{fault}");
        }
    }

    #[test]
    fn what_is_rewritten_stands_in_one_sector() {
        for level in 0..=level::MAX {
            let head = head_length(level, 1, 1);
            for end in (FIRST_RECORD..FIRST_RECORD + 2 * SECTOR).step_by(8) {
                let at = end + padding(end, head);
                let (first, last) = (at + START, at + head - CHECKSUMS + 3);
                assert_eq!(first / SECTOR, last / SECTOR, "{level} at {end}");
            }
        }
    }

    #[test]
    fn the_committed_pointer_survives_a_transaction() {
        let mut record = Record::new(Kind::Record, 2, b"k", b"v");
        record.set_next(0, 0x400, 0x400);
        record.set_next(0, 0x400, 0x440);
        assert_eq!((record.next(0, 0x500), record.next(0, 0x400)), (0x440, 0));
        record.set_next(0, 0x500, 0x500);
        record.set_next(0, 0x500, 0x600);
        assert_eq!(record.next(0, 0x700), 0x600);
        assert_eq!(record.next(0, 0x500), 0x440);
        record.set_next(1, 0x500, 0x700);
        assert_eq!(record.next(1, 0x500), 0x700);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            level in 1..=level::MAX,
            key in prop::collection::vec(any::<u8>(), 1..600),
            value in prop::collection::vec(any::<u8>(), 0..600),
            flip in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut record = Record::new(Kind::Record, level, &key, &value);
            record.offset = FIRST_RECORD;
            record.pointers[usize::from(level)] = 0x1234;
            let (image, limit) = image_of(&record, &key, &value);
            let back = Record::read(&image, FIRST_RECORD, limit).unwrap();
            prop_assert_eq!(&back, &record);
            prop_assert_eq!(back.value(&image).unwrap(), value);

            let mut bytes = image.bytes().to_vec();
            let at = FIRST_RECORD as usize + flip.index(bytes.len() - FIRST_RECORD as usize);
            bytes[at] ^= 1 << bit;
            let image = Image::new(bytes);
            let read = Record::read(&image, FIRST_RECORD, limit);
            prop_assert!(read.and_then(|record| record.value(&image)).is_err());
        }
    }
}

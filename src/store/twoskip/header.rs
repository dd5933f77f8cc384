//! The 64 bytes that a file begins with (spec: ondisk 3.3), and the birth of a file.

use super::error::{Fault, damaged};
use super::level;
use super::media::Media;
use super::record::{DUMMY_OFFSET, FIRST_RECORD, Kind, Record};
use super::search::View;

const LENGTH: usize = 64;
const MAGIC: &[u8; 20] = b"\xa1\x02\x8b\rtwoskip file\0\0\0\0";
/// Only the first 16 bytes tell engines apart, as in C (ondisk 3.2).
const SKIPLIST_MAGIC: &[u8; 16] = b"\xa1\x02\x8b\rskiplist fil";
const VERSION: u32 = 1;
const DIRTY: u32 = 1;
/// Smaller files are never repacked. C's number, its transposed digits included.
const REPACK_MINIMUM: u64 = 16834;

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Grows with every rewrite of the file.
    pub(super) generation: u64,
    /// Live keys.
    pub(super) num_records: u64,
    /// End of the file's first, packed transaction, its COMMIT not counted.
    pub(super) repack_size: u64,
    /// Committed length; bytes behind it do not count.
    pub(super) current_size: u64,
    flags: u32,
}

/// Makes an empty file a database without keys, on stable storage.
pub(super) fn create(media: &dyn Media) -> Result<Header, Fault> {
    let header = lay_out(media, 1)?;
    media.sync()?;
    Ok(header)
}

/// Whether nothing was ever stored: the file is empty, or its creator was killed before the header,
/// which comes last, was written.
pub(super) fn is_unborn(media: &dyn Media) -> Result<bool, Fault> {
    let length = media.len()?;
    if length > FIRST_RECORD {
        return Ok(false);
    }
    let mut start = [0; LENGTH];
    let there = length.min(LENGTH as u64) as usize;
    media.read_at(0, &mut start[..there])?;
    Ok(start == [0; LENGTH])
}

/// DUMMY first, then the header.
pub(super) fn lay_out(media: &dyn Media, generation: u64) -> Result<Header, Fault> {
    let dummy = Record::new(Kind::Dummy, level::MAX, &[], &[]);
    media.write_at(DUMMY_OFFSET, &dummy.head())?;
    let header = Header {
        generation,
        num_records: 0,
        repack_size: FIRST_RECORD,
        current_size: FIRST_RECORD,
        flags: 0,
    };
    header.write(media)?;
    Ok(header)
}

impl Header {
    /// Reads the header of a file that is not empty. Bytes behind it may still be wrong.
    pub(super) fn read(media: &dyn Media) -> Result<Header, Fault> {
        let length = media.len()?.min(LENGTH as u64) as usize;
        let mut bytes = [0; LENGTH];
        media.read_at(0, &mut bytes[..length])?;
        if bytes.starts_with(SKIPLIST_MAGIC) {
            return Err(Fault::Skiplist);
        }
        if !bytes.starts_with(MAGIC) {
            return Err(Fault::NotTwoskip);
        }
        if length < LENGTH {
            return damaged(0, "shorter than a header");
        }
        Header::parse(&bytes)
    }

    fn parse(bytes: &[u8; LENGTH]) -> Result<Header, Fault> {
        let version = u32_at(bytes, 20);
        if version != VERSION {
            // With the right number the checksum is right: it is no later format, it is damaged.
            let mut repaired = *bytes;
            repaired[20..24].copy_from_slice(&VERSION.to_be_bytes());
            return match u32_at(bytes, 60) == crc32fast::hash(&repaired[..60]) {
                true => damaged(20, "version number in the header"),
                false => Err(Fault::Version(version)),
            };
        }
        if u32_at(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return damaged(0, "checksum of the header");
        }
        let header = Header {
            generation: u64_at(bytes, 24),
            num_records: u64_at(bytes, 32),
            repack_size: u64_at(bytes, 40),
            current_size: u64_at(bytes, 48),
            flags: u32_at(bytes, 56),
        };
        if header.current_size < FIRST_RECORD || !header.current_size.is_multiple_of(8) {
            return damaged(48, "impossible size in the header");
        }
        Ok(header)
    }

    /// Writes it in place, without syncing.
    pub(super) fn write(&self, media: &dyn Media) -> Result<(), Fault> {
        Ok(media.write_at(0, &self.to_bytes())?)
    }

    fn to_bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..20].copy_from_slice(MAGIC);
        bytes[20..24].copy_from_slice(&VERSION.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.generation.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.num_records.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.repack_size.to_be_bytes());
        bytes[48..56].copy_from_slice(&self.current_size.to_be_bytes());
        bytes[56..60].copy_from_slice(&self.flags.to_be_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// No transaction is under way, and none was left (ondisk 3.8).
    pub(super) fn is_clean(&self, media: &dyn Media) -> Result<bool, Fault> {
        Ok(!self.is_dirty() && media.len()? == self.current_size)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.flags & DIRTY != 0
    }

    /// Says on stable storage that a transaction begins; what it changes must come later.
    pub(super) fn mark_dirty(&mut self, media: &dyn Media) -> Result<(), Fault> {
        self.flags |= DIRTY;
        self.write(media)?;
        Ok(media.sync()?)
    }

    /// Says on stable storage that all is well; everything else must be there already.
    pub(super) fn mark_clean(&mut self, media: &dyn Media) -> Result<(), Fault> {
        self.flags &= !DIRTY;
        self.write(media)?;
        Ok(media.sync()?)
    }

    /// More than half of the file is history (ondisk 3.9).
    pub(super) fn wants_repack(&self) -> bool {
        self.current_size > REPACK_MINIMUM && self.current_size > self.repack_size.saturating_mul(2)
    }

    /// What is committed.
    pub(super) fn view<'a>(&self, media: &'a dyn Media) -> View<'a> {
        View {
            media,
            limit: self.current_size,
        }
    }
}

fn u32_at(bytes: &[u8; LENGTH], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(four)
}

fn u64_at(bytes: &[u8; LENGTH], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use super::super::media::Image;
    use super::*;

    fn read(bytes: &[u8]) -> Result<Header, Fault> {
        Header::read(&Image::new(bytes.to_vec()))
    }

    fn good() -> Vec<u8> {
        let image = Image::default();
        create(&image).unwrap();
        image.bytes().to_vec()
    }

    #[test]
    fn other_files_are_refused() {
        let mut skiplist = b"\xa1\x02\x8b\rskiplist file\0\0\0".to_vec();
        skiplist.resize(200, 0);
        let hint = read(&skiplist).unwrap_err().to_string();
        assert!(hint.contains("cvt_cyrusdb"), "{hint}");
        for other in [&b"x"[..], b"\xa1\x02\x8b\rtwoskin", &[0; 400]] {
            assert!(matches!(read(other), Err(Fault::NotTwoskip)));
        }
        let mut later = good();
        later[23] = 2;
        // The number alone: it is damaged. With a checksum of its own it is a later format.
        let damaged = read(&later);
        assert!(matches!(damaged, Err(Fault::Damaged { offset: 20, .. })));
        let checksum = crc32fast::hash(&later[..60]);
        later[60..64].copy_from_slice(&checksum.to_be_bytes());
        assert!(matches!(read(&later), Err(Fault::Version(2))));
        assert!(matches!(read(&good()[..63]), Err(Fault::Damaged { .. })));
    }

    #[test]
    fn a_creator_killed_half_way_leaves_no_database() {
        let whole = good();
        let mut half = whole.clone();
        half[..LENGTH].fill(0);
        for (bytes, unborn) in [(&[][..], true), (&half, true), (&whole, false)] {
            let image = Image::new(bytes.to_vec());
            assert_eq!(is_unborn(&image).unwrap(), unborn);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..LENGTH * 8 {
            let mut bytes = good();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn repacks_when_most_of_it_is_history() {
        let mut header = read(&good()).unwrap();
        for (current, packed, wanted) in [
            (16834, 1000, false),
            (16840, 1000, true),
            (20000, 10000, false),
            (20008, 10000, true),
            (20008, u64::MAX, false),
        ] {
            (header.current_size, header.repack_size) = (current, packed);
            assert_eq!(header.wants_repack(), wanted, "{current} {packed}");
        }
    }
}

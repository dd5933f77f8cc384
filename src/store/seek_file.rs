//! `X.seek`: the tables of chunks that had to be scanned, kept for the next one who reads (docs/FORMAT.md).
//! It is never needed and never trusted: what does not belong to the bytes of X, or is damaged, is as good
//! as absent, and every message is checked against its GUID all the same.
//!
//! It is written to by who holds the shared lock for long (a mount), so no rewrite of X can come between;
//! whoever rewrites, moves or deletes X removes it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::layout;
use super::table::{Inside, Start, Table};
use crate::types::Guid;

const MAGIC: &[u8; 16] = b"cyrusbackup seek";
/// Of one section and its header.
const VERSION: u32 = 1;
/// Magic, version, and what [`Section`] has.
const HEADER: usize = 16 + 4 + 8 + 8 + 8 + 8;
const SUM: usize = 20;
/// No larger file is read or written.
const MOST: u64 = 128 << 20;
/// A shorter chunk is scanned in no time.
const WORTH: u64 = 4 << 20;

/// The file beside a data file.
pub(super) struct SeekFile {
    path: PathBuf,
    data: Arc<File>,
    /// The data file counts as ending here.
    length: u64,
    /// By the offset of their chunk; None before the first look.
    sections: Option<HashMap<u64, Section>>,
    /// All of the file makes sense, and is of this data file.
    sound: bool,
}

/// The table of one chunk: what its header says, and where its body is.
#[derive(Debug, Clone, Copy)]
struct Section {
    chunk: u64,
    end: u64,
    trailer: [u8; 8],
    /// In the file of sections.
    body: u64,
    size: u64,
}

impl SeekFile {
    /// Beside the data file at `path`, of which `length` bytes count.
    pub fn beside(path: &Path, data: Arc<File>, length: u64) -> SeekFile {
        SeekFile {
            path: layout::seek(path),
            data,
            length,
            sections: None,
            sound: false,
        }
    }

    /// The table of the chunk at this offset, if it is there and belongs to it.
    pub fn get(&mut self, chunk: u64) -> Option<Table> {
        let section = *self.sections().get(&chunk)?;
        let table = self.read(&section);
        if let Err(error) = &table {
            tracing::debug!("{}: not used: {error}", self.path.display());
            self.sound = false;
        }
        table.ok()
    }

    /// Whether there seems to be one.
    pub fn knows(&mut self, chunk: u64) -> bool {
        self.sections().contains_key(&chunk)
    }

    /// Keeps a table. Nothing depends on it: trouble is only worth a word to who looks for it.
    pub fn put(&mut self, chunk: u64, table: &Table) {
        let Some(end) = table.end.filter(|_| table.length >= WORTH) else {
            return;
        };
        if let Err(error) = self.write(chunk, end, table) {
            tracing::debug!("{}: not written: {error}", self.path.display());
        }
    }

    fn sections(&mut self) -> &HashMap<u64, Section> {
        if self.sections.is_none() {
            let (sections, sound) = self.look();
            self.sound = sound;
            self.sections = Some(sections);
        }
        self.sections.get_or_insert_default()
    }

    /// Reads the headers; whether all of them are right.
    fn look(&self) -> (HashMap<u64, Section>, bool) {
        let mut found = HashMap::new();
        let Ok(file) = self.open() else {
            return (found, false);
        };
        let size = file.metadata().map_or(0, |meta| meta.len());
        let mut at = 0;
        while at < size {
            match header(&file, at, size) {
                Ok(section) if self.belongs(&section) => {
                    at = section.body + section.size;
                    found.insert(section.chunk, section);
                }
                _ => return (found, false),
            }
        }
        (found, size > 0)
    }

    /// Its chunk is still the one: it starts and ends in the same place with the same sums.
    fn belongs(&self, section: &Section) -> bool {
        let mut start = [0; 2];
        let read = self.data.read_exact_at(&mut start, section.chunk);
        let trailer = trailer(&self.data, section.end);
        let same = read.is_ok() && start == [0x1f, 0x8b];
        same && section.end <= self.length && trailer.is_ok_and(|t| t == section.trailer)
    }

    fn read(&self, section: &Section) -> io::Result<Table> {
        let file = self.open()?;
        let size = section.size as usize;
        let mut body = vec![0; size];
        file.read_exact_at(&mut body, section.body)?;
        let (body, sum) = body.split_at(size - SUM);
        let mut sha1 = Sha1::new();
        sha1.update(encode_header(section));
        sha1.update(body);
        if sha1.finalize()[..] != *sum {
            return Err(invalid("its sum is wrong"));
        }
        decode(body, section.end).ok_or_else(|| invalid("it makes no sense"))
    }

    fn open(&self) -> io::Result<File> {
        let mut options = File::options();
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK);
        let file = options.open(&self.path)?;
        let meta = file.metadata()?;
        match meta.is_file() && meta.len() <= MOST {
            true => Ok(file),
            false => Err(invalid("it is too large")),
        }
    }

    fn write(&mut self, chunk: u64, end: u64, table: &Table) -> io::Result<()> {
        // A file of root's would be in the way of the Cyrus user.
        if self.data.metadata()?.uid() != nix::unistd::geteuid().as_raw() {
            return Ok(());
        }
        let body = encode(table);
        let section = Section {
            chunk,
            end,
            trailer: trailer(&self.data, end)?,
            body: 0,
            size: (body.len() + SUM) as u64,
        };
        let mut bytes = encode_header(&section);
        bytes.extend_from_slice(&body);
        let sum = Sha1::digest(&bytes);
        bytes.extend_from_slice(&sum);

        self.sections();
        let mut options = File::options();
        options.append(true).create(true).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        if !self.sound {
            // Of another data file, or damaged: anew.
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut file = options.open(&self.path)?;
        let start = file.metadata()?.len();
        if start + bytes.len() as u64 > MOST {
            return Ok(());
        }
        // One write, so that two who append do not mix.
        file.write_all(&bytes)?;
        self.sound = true;
        let section = Section {
            body: start + HEADER as u64,
            ..section
        };
        self.sections.get_or_insert_default().insert(chunk, section);
        Ok(())
    }
}

/// CRC-32 and length, the last eight bytes of a gzip member.
fn trailer(data: &File, end: u64) -> io::Result<[u8; 8]> {
    let mut bytes = [0; 8];
    data.read_exact_at(&mut bytes, end.saturating_sub(8))?;
    Ok(bytes)
}

fn encode_header(section: &Section) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend(section.chunk.to_le_bytes());
    out.extend(section.end.to_le_bytes());
    out.extend(section.trailer);
    out.extend(section.size.to_le_bytes());
    out
}

fn header(file: &File, at: u64, size: u64) -> io::Result<Section> {
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, at)?;
    let mut from = Bytes(&bytes);
    let known = from.take(16) == Some(MAGIC) && from.u32() == Some(VERSION);
    let section = (|| {
        Some(Section {
            chunk: from.u64()?,
            end: from.u64()?,
            trailer: from.take(8)?.try_into().ok()?,
            body: at + HEADER as u64,
            size: from.u64()?,
        })
    })();
    section
        .filter(|section| known && section.size >= SUM as u64)
        .filter(|section| section.size <= size.saturating_sub(section.body))
        .ok_or_else(|| invalid("a header makes no sense"))
}

fn encode(table: &Table) -> Vec<u8> {
    let mut out = table.length.to_le_bytes().to_vec();
    out.extend((table.bodies.len() as u64).to_le_bytes());
    for (guid, offset, size) in &table.bodies {
        out.extend(guid.as_bytes());
        out.extend(offset.to_le_bytes());
        out.extend(size.to_le_bytes());
    }
    out.extend((table.starts.len() as u64).to_le_bytes());
    for start in &table.starts {
        out.extend(start.offset.to_le_bytes());
        out.extend(start.file_offset.to_le_bytes());
        let (bits, window) = match &start.inside {
            None => (u8::MAX, &[][..]),
            Some(inside) => (inside.bits, &inside.window[..]),
        };
        out.push(bits);
        out.extend((window.len() as u32).to_le_bytes());
        out.extend(window);
    }
    out
}

fn decode(body: &[u8], end: u64) -> Option<Table> {
    let mut from = Bytes(body);
    let length = from.u64()?;
    let mut bodies = Vec::new();
    for _ in 0..from.u64()? {
        let guid = Guid::from_bytes(from.take(20)?.try_into().ok()?);
        bodies.push((guid, from.u64()?, from.u64()?));
    }
    let mut starts = Vec::new();
    for _ in 0..from.u64()? {
        let (offset, file_offset) = (from.u64()?, from.u64()?);
        let bits = from.take(1)?[0];
        let size = from.u32()? as usize;
        let window = from.take(size)?;
        let inside = (bits != u8::MAX).then(|| Inside {
            bits,
            window: window.into(),
        });
        starts.push(Start {
            offset,
            file_offset,
            inside,
        });
    }
    let sorted = bodies.is_sorted() && starts.is_sorted_by_key(|start| start.offset);
    (from.0.is_empty() && sorted).then_some(Table {
        bodies,
        starts,
        length,
        end: Some(end),
    })
}

/// Bytes that get fewer.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::super::backup::Backup;
    use super::super::bodies::tests::{compacted, open};
    use super::super::cache::Cache;
    use super::super::index::BodyPlace;
    use super::*;
    use std::sync::Mutex;

    fn of(data: &Path) -> SeekFile {
        let file = File::open(data).unwrap();
        let length = file.metadata().unwrap().len();
        SeekFile::beside(data, Arc::new(file), length)
    }

    fn scanned(data: &Path) -> Table {
        let file = File::open(data).unwrap();
        let length = file.metadata().unwrap().len();
        let cache = Mutex::new(Cache::new(0));
        Table::scan(Arc::new(file), 0, length, &cache).unwrap()
    }

    /// Here and there, so that no reader can go on where the last one stopped.
    fn read_some(backup: &Backup, places: &[BodyPlace], expected: &[Vec<u8>]) {
        let bodies = backup.bodies();
        bodies.keep(0);
        for n in 0..60 {
            let at = n * 7919 % places.len();
            let octets = bodies.read(&places[at]).unwrap();
            assert!(octets[..] == expected[at][..], "{at}");
        }
    }

    #[test]
    fn the_next_reader_scans_nothing() {
        let (_dir, data, expected) = compacted(5000);
        let seek = layout::seek(&data);
        let (backup, places) = open(&data);
        read_some(&backup, &places, &expected);
        assert!(!seek.exists(), "nobody asked to remember");
        backup.bodies().rest();
        backup.bodies().remember();
        read_some(&backup, &places, &expected);
        assert!(seek.exists());

        let table = of(&data).get(0).unwrap();
        assert!(table == scanned(&data));
        assert!(table.windows() > 2 && table.bodies.len() == expected.len());
        let bits = table
            .starts
            .iter()
            .filter_map(|start| start.inside.as_ref());
        assert!(bits.clone().any(|inside| inside.bits > 0));
        let (again, places) = open(&data);
        read_some(&again, &places, &expected);
        // It stays small beside what it is of.
        let size = |path: &Path| path.metadata().unwrap().len();
        assert!(
            size(&seek) < size(&data) / 4,
            "{} {}",
            size(&seek),
            size(&data)
        );
    }

    #[test]
    fn what_is_damaged_or_of_another_file_is_as_good_as_absent() {
        let (_dir, data, expected) = compacted(5000);
        let seek = layout::seek(&data);
        let table = scanned(&data);
        of(&data).put(0, &table);
        let good = std::fs::read(&seek).unwrap();
        let ways = |n: usize| match n % 3 {
            0 => good[..good.len() * n / 64].to_vec(),
            1 => {
                let mut bad = good.clone();
                bad[n * 7919 % good.len()] ^= 0x41;
                bad
            }
            _ => {
                let mut bad = good.clone();
                bad[n] ^= 0xff;
                bad
            }
        };
        for bad in (0..60).map(ways).chain([vec![0; 100], Vec::new()]) {
            std::fs::write(&seek, bad).unwrap();
            let mut file = of(&data);
            assert!(file.get(0).is_none());
            file.put(0, &table);
            assert!(of(&data).get(0).as_ref() == Some(&table));
            assert!(seek.metadata().unwrap().len() <= 2 * good.len() as u64);
        }

        // One byte more at the front: another file, other places.
        let (other_dir, other, _) = compacted(5001);
        std::fs::copy(&seek, layout::seek(&other)).unwrap();
        assert!(of(&other).get(0).is_none());
        of(&other).put(0, &scanned(&other));
        assert!(of(&other).get(0) == Some(scanned(&other)));
        drop(other_dir);

        // Even one that is believed and wrong leads to no wrong byte.
        let mut lies = table;
        for start in &mut lies.starts {
            start.offset += 17;
        }
        for body in lies.bodies.iter_mut().step_by(3) {
            body.1 += 1;
        }
        std::fs::remove_file(&seek).unwrap();
        of(&data).put(0, &lies);
        assert!(of(&data).get(0).is_some());
        let (backup, places) = open(&data);
        let bodies = backup.bodies();
        for n in 0..6 {
            let at = 1000 + n * 611;
            match bodies.read(&places[at]) {
                Ok(octets) => assert!(octets[..] == expected[at][..]),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn small_chunks_are_not_worth_it_and_damaged_ones_not_kept() {
        let (_dir, data, _) = compacted(500);
        of(&data).put(0, &scanned(&data));
        assert!(!layout::seek(&data).exists());
        let (_dir, data, _) = compacted(5000);
        let mut bytes = std::fs::read(&data).unwrap();
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        std::fs::write(&data, bytes).unwrap();
        let table = scanned(&data);
        assert_eq!(table.end, None);
        of(&data).put(0, &table);
        assert!(!layout::seek(&data).exists());
    }

    #[test]
    fn tables_of_several_chunks_stand_one_after_the_other() {
        let (_dir, one, _) = compacted(5000);
        let (_other_dir, other, _) = compacted(5100);
        let (first, second) = (std::fs::read(&one).unwrap(), std::fs::read(&other).unwrap());
        let data = one.with_file_name("both");
        std::fs::write(&data, [&first[..], &second].concat()).unwrap();
        let file = Arc::new(File::open(&data).unwrap());
        let length = file.metadata().unwrap().len();
        let cache = Mutex::new(Cache::new(0));
        let places = [0, first.len() as u64];
        let tables = places.map(|at| Table::scan(file.clone(), at, length, &cache).unwrap());
        let (mut writer, mut reader) = (of(&data), of(&data));
        assert!(reader.get(0).is_none());
        for (at, table) in places.iter().zip(&tables) {
            writer.put(*at, table);
        }
        for (at, table) in places.iter().zip(&tables) {
            assert!(writer.get(*at).as_ref() == Some(table));
            assert!(of(&data).get(*at).as_ref() == Some(table));
        }
    }
}

//! Message bodies by GUID, each checked before a byte is given out: from the nearest place where
//! inflating can start, with what was inflated on the way kept for the next question. Several threads
//! read at once; nothing here asks the index.
//!
//! A chunk that we wrote has short lines and a seek point before each but the shortest, so what stands between
//! two points is inflated in one go ([`stretch`](super::stretch)), or, at the end of a chunk and where memory is
//! short, a stream begins at the line and ends behind the message ([`finder`](super::finder)). One that C wrote
//! has none, and its lines can hold a whole mailbox: it is scanned once ([`table`](super::table)), and the table
//! kept for the next mount ([`seek_file`](super::seek_file)). The bodies of a stretch are kept, and a stream
//! goes on where the last one stopped, so taking all bodies in the order of the log inflates the chunk once
//! (twice, if it has to be scanned), and not once for each.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;

use super::cache::{self, Cache, lock};
use super::error::{Result, StoreError};
use super::finder::{CLAIMED, Finder, Wanted};
use super::index::{BodyPlace, MessageRow, SeekPoint};
use super::member::MemberReader;
use super::parking::Parking;
use super::seek_file::SeekFile;
use super::stretch::Stretch;
use super::table::{Start, Table};
use crate::types::Guid;

/// Inflated messages kept for the next question, if nobody says otherwise.
const CACHE_BYTES: usize = 32 << 20;
/// What is nearer than this to the start of its chunk is read from there.
const NEAR: u64 = 256 << 10;
/// A line that has this much before the wanted message is no place to start.
const FAR: u64 = 1 << 20;
/// The longest stretch that is inflated in one go,
const STRETCH: u64 = 8 << 20;
/// and the most that it may have beside the message: a stream would stop before a large one behind it.
const BESIDE: u64 = 128 << 10;
/// Starts with windows that the tables in memory may have together: some 40 MB.
const WINDOWS: usize = 2048;
/// Bytes inflated at a time on the way to a message.
const SKIP: usize = 64 << 10;
/// Locks that keep two threads from inflating one line twice.
const STRIPES: usize = 16;

/// Reads bodies from a data file.
pub struct Bodies {
    file: Arc<File>,
    path: PathBuf,
    /// The file counts as ending here.
    length: u64,
    cache: Mutex<Cache>,
    tables: Mutex<LruCache<i64, Arc<Table>>>,
    /// Tables that others have made, or that others may use.
    seek: Mutex<SeekFile>,
    /// Whether to add to them.
    remember: AtomicBool,
    /// Chunks with lines that are too long to start at.
    long_lines: Mutex<HashSet<i64>>,
    /// Behind the last message that each gave, and its row id.
    finders: Parking<(i64, Finder)>,
    /// The same in chunks with a table.
    readers: Parking<MemberReader>,
    stripes: [Mutex<()>; STRIPES],
}

impl Bodies {
    /// Of a data file that counts as ending at `length`.
    pub(super) fn new(file: Arc<File>, path: &Path, length: u64) -> Bodies {
        Bodies {
            seek: Mutex::new(SeekFile::beside(path, file.clone(), length)),
            file,
            path: path.to_owned(),
            length,
            cache: Mutex::new(Cache::new(CACHE_BYTES)),
            tables: Mutex::new(LruCache::unbounded()),
            remember: AtomicBool::new(false),
            long_lines: Mutex::default(),
            finders: Parking::default(),
            readers: Parking::default(),
            stripes: Default::default(),
        }
    }

    /// Sets how many bytes of inflated messages are kept.
    pub fn keep(&self, bytes: usize) {
        *lock(&self.cache) = Cache::new(bytes);
    }

    /// What scanning a chunk has cost is written down beside the data file, for the next one who reads
    /// it. Only for who holds the backup's lock all the time: no rewrite may come between.
    pub fn remember(&self) {
        self.remember.store(true, Ordering::Relaxed);
    }

    /// The message, if it is in memory.
    pub fn known(&self, guid: &Guid) -> Option<Arc<[u8]>> {
        cache::known(&self.cache, guid)
    }

    /// The message at a place, whole and checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the bytes are not there any more.
    pub fn read(&self, place: &BodyPlace) -> Result<Arc<[u8]>> {
        let row = &place.row;
        let far = place.point.is_none() && row.offset > NEAR;
        if far
            || lock(&self.long_lines).contains(&row.chunk_id)
            || lock(&self.seek).knows(place.chunk_offset)
        {
            return self.read_by_table(place);
        }
        match self.read_near(place)? {
            Some(octets) => Ok(octets),
            None => self.read_by_table(place),
        }
    }

    /// From the start of the line, or from where the last one stopped. None if it is a long way, and many
    /// more are to be expected.
    fn read_near(&self, place: &BodyPlace) -> Result<Option<Arc<[u8]>>> {
        let row = &place.row;
        let _one_inflates = self.stripe(row.chunk_id, row.offset);
        if let Some(octets) = self.known(&row.guid) {
            return Ok(Some(octets));
        }
        if let Some(octets) = self.read_at_once(place) {
            return Ok(Some(octets));
        }
        let most = match self.remember.load(Ordering::Relaxed) {
            true => FAR,
            false => u64::MAX,
        };
        if let Some(finder) = self.parked_finder(place)
            && let Ok(octets) = self.find(place, finder, most)
        {
            return Ok(octets);
        }
        if place.point.is_some()
            && let Ok(finder) = self.finder(place, place.point)
            && let Ok(octets) = self.find(place, finder, most)
        {
            return Ok(octets);
        }
        // No point, or one that is wrong (a mark inside data): from the chunk's start.
        self.find(place, self.finder(place, None)?, most)
    }

    /// From the stretch that the line is in, if it is not too long.
    fn read_at_once(&self, place: &BodyPlace) -> Option<Arc<[u8]>> {
        let (row, from, until) = (&place.row, place.point?, place.until?);
        // The other bodies are for the next questions, so they must have room.
        let room = lock(&self.cache).most() as u64;
        let most = row.size.saturating_add(BESIDE).min(STRETCH).min(room);
        let stretch = Stretch::read(&self.file, from, until, most)?;
        let octets = stretch.find(&row.guid, row.offset, &self.cache)?;
        // Now, since it is the last one that may be dropped.
        lock(&self.cache).put(row.guid, octets.clone());
        Some(octets)
    }

    /// Gives back memory that is only kept for the next question.
    pub fn rest(&self) {
        lock(&self.cache).clear();
        lock(&self.tables).clear();
        self.finders.clear();
        self.readers.clear();
    }

    /// At the line.
    fn finder(&self, place: &BodyPlace, point: Option<SeekPoint>) -> Result<Finder> {
        let begin = || {
            let mut reader = match point {
                Some(at) => self.resume(
                    at.file_offset,
                    at.offset,
                    place.until.map(|until| until.file_offset),
                ),
                None => MemberReader::open(self.file.clone(), place.chunk_offset, self.length)?,
            };
            skip_to(&mut reader, place.row.offset)?;
            Ok(Finder::new(reader))
        };
        begin().map_err(|e| self.damaged(&place.row, e))
    }

    /// One that waits in front of the message, behind the seek point.
    fn parked_finder(&self, place: &BodyPlace) -> Option<Finder> {
        let row = &place.row;
        let from = place.point.map_or(0, |point| point.offset);
        let parked = self.finders.take(row.chunk_id, |(last, finder)| {
            // Row ids grow with the log; who finds it otherwise begins at the line again.
            let before = finder.line() < row.offset || *last < row.id;
            let fits = finder.line() <= row.offset && finder.at() >= from && before;
            fits.then_some(finder.at())
        });
        parked.map(|(_, finder)| finder)
    }

    /// None if the message is not in the next `most` bytes.
    fn find(&self, place: &BodyPlace, mut finder: Finder, most: u64) -> Result<Option<Arc<[u8]>>> {
        let row = &place.row;
        let fail = |e| self.damaged(row, e);
        let begin = finder.at();
        let wanted = Wanted {
            guid: row.guid,
            line: row.offset,
            last: begin.saturating_add(most),
        };
        let found = finder.find(&wanted, &self.cache).map_err(fail)?;
        if found.at.saturating_sub(begin) > FAR {
            lock(&self.long_lines).insert(row.chunk_id);
        }
        if let Some(octets) = &found.octets {
            // Now, since it is the last one that may be dropped.
            lock(&self.cache).put(row.guid, octets.clone());
            self.finders.put(row.chunk_id, (row.id, finder));
        } else if found.at <= wanted.last {
            let reason = format!("the message is not in its line ({:?})", found.end);
            return Err(fail(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        Ok(found.octets)
    }

    fn read_by_table(&self, place: &BodyPlace) -> Result<Arc<[u8]>> {
        let row = &place.row;
        let _one_inflates = self.stripe(row.chunk_id, 0);
        if let Some(octets) = self.known(&row.guid) {
            return Ok(octets);
        }
        let table = self.table(place)?;
        if let Some(octets) = self.known(&row.guid) {
            return Ok(octets);
        }
        let Some((offset, size)) = table.find(&row.guid) else {
            // Behind damage, or not there at all; this tells which.
            return self.read_whole(place);
        };
        let start = table.start(offset);
        let from = start.map_or(0, |start| start.offset);
        let parked = self.readers.take(row.chunk_id, |reader| {
            let at = reader.produced();
            (from..=offset).contains(&at).then_some(at)
        });
        let reader = match (parked, start) {
            (Some(reader), _) => Ok(reader),
            (None, Some(start)) => {
                self.start_at(start, table.file_offset_of(offset.saturating_add(size)))
            }
            (None, None) => MemberReader::open(self.file.clone(), place.chunk_offset, self.length),
        };
        let read = reader.and_then(|mut reader| {
            let octets = exact(&mut reader, &row.guid, offset, size)?;
            Ok((reader, octets))
        });
        let Ok((reader, octets)) = read else {
            // A mark inside data, or damage.
            return self.read_whole(place);
        };
        self.readers.put(row.chunk_id, reader);
        lock(&self.cache).put(row.guid, octets.clone());
        Ok(octets)
    }

    /// The long way, from the chunk's start.
    fn read_whole(&self, place: &BodyPlace) -> Result<Arc<[u8]>> {
        let found = self.find(place, self.finder(place, None)?, u64::MAX)?;
        found.ok_or_else(|| self.damaged(&place.row, io::ErrorKind::NotFound.into()))
    }

    /// What a scan of a chunk finds; once, if somebody kept it, or memory is enough.
    fn table(&self, place: &BodyPlace) -> Result<Arc<Table>> {
        let chunk = place.row.chunk_id;
        if let Some(table) = lock(&self.tables).get(&chunk) {
            return Ok(table.clone());
        }
        let kept = lock(&self.seek).get(place.chunk_offset);
        let known = kept.is_some();
        let table = match kept {
            Some(table) => table,
            None => Table::scan(
                self.file.clone(),
                place.chunk_offset,
                self.length,
                &self.cache,
            )
            .map_err(|e| self.damaged(&place.row, e))?,
        };
        if !known && self.remember.load(Ordering::Relaxed) {
            lock(&self.seek).put(place.chunk_offset, &table);
        }
        let table = Arc::new(table);
        let mut tables = lock(&self.tables);
        tables.put(chunk, table.clone());
        let windows = |tables: &LruCache<i64, Arc<Table>>| -> usize {
            tables.iter().map(|(_, table)| table.windows()).sum()
        };
        while tables.len() > 1 && windows(&tables) > WINDOWS {
            tables.pop_lru();
        }
        Ok(table)
    }

    /// Where the deflate stream refers to nothing before.
    fn resume(&self, file_offset: u64, offset: u64, until: Option<u64>) -> MemberReader {
        MemberReader::resume(self.file.clone(), file_offset, self.length, offset)
            .expect(until.unwrap_or_default())
    }

    fn start_at(&self, start: &Start, until: Option<u64>) -> io::Result<MemberReader> {
        match &start.inside {
            None => Ok(self.resume(start.file_offset, start.offset, until)),
            Some(inside) => self
                .resume(start.file_offset.saturating_sub(1), start.offset, until)
                .inside(inside.bits, &inside.window()?),
        }
    }

    fn stripe(&self, chunk: i64, offset: u64) -> MutexGuard<'_, ()> {
        let number = (chunk as u64).wrapping_mul(31).wrapping_add(offset >> 4);
        lock(&self.stripes[number as usize % STRIPES])
    }

    fn damaged(&self, row: &MessageRow, e: io::Error) -> StoreError {
        StoreError::damaged(&self.path, row.chunk_id, row.offset, Some(row.guid), e)
    }
}

/// The next body of a reader, which then stands behind it.
fn exact(reader: &mut MemberReader, guid: &Guid, offset: u64, size: u64) -> io::Result<Arc<[u8]>> {
    skip_to(reader, offset)?;
    let mut octets = Vec::with_capacity(size.min(CLAIMED) as usize);
    reader.take(size).read_to_end(&mut octets)?;
    match octets.len() as u64 == size && Guid::of(&octets) == *guid {
        true => Ok(octets.into()),
        false => {
            let reason = "the bytes are not those of the message";
            Err(io::Error::new(io::ErrorKind::InvalidData, reason))
        }
    }
}

/// Inflates and forgets up to an uncompressed offset.
pub(super) fn skip_to(reader: &mut MemberReader, offset: u64) -> io::Result<()> {
    let left = |reader: &MemberReader| offset.saturating_sub(reader.produced()).min(SKIP as u64);
    let mut skipped = vec![0; left(reader) as usize];
    while left(reader) > 0 {
        let most = left(reader) as usize;
        if reader.read(&mut skipped[..most])? == 0 {
            let reason = "the chunk ends before the offset that the index gives";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::appender::Appender;
    use super::super::backup::{Backup, Lock};
    use super::super::member::MemberWriter;
    use super::super::scan::CHUNK_START;
    use super::super::tests::{bodies, mail, new_backup};
    use super::*;

    /// A data file as C's compact leaves it: one line with all bodies, no flush in it, no index.
    pub(in crate::store) fn compacted(count: u32) -> (tempfile::TempDir, PathBuf, Vec<Vec<u8>>) {
        let mut x = 1u32;
        let mut noise = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            x
        };
        let bodies: Vec<Vec<u8>> = (0..count)
            .map(|n| {
                let mut body = format!("Subject: {n}\r\n\r\n").into_bytes();
                // Deflated, a byte does not end where a block does.
                let words = (0..noise() % 250).map(|_| format!("{:x} ", noise()));
                body.extend(words.flat_map(String::into_bytes));
                body
            })
            .collect();
        let mut text = b"1700000000 APPLY MESSAGE (".to_vec();
        for body in &bodies {
            let (guid, size) = (Guid::of(body), body.len());
            text.extend(format!("%{{default {guid} {size}}}\r\n").bytes());
            text.extend(body);
            text.push(b' ');
        }
        text.pop();
        text.extend(b")\r\n");
        let mut writer = MemberWriter::new();
        writer.write(CHUNK_START.as_bytes()).unwrap();
        writer.flush().unwrap();
        writer.write(&text).unwrap();
        writer.finish().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("anne_AAAAAA");
        std::fs::write(&path, writer.take()).unwrap();
        (dir, path, bodies)
    }

    pub(in crate::store) fn open(path: &Path) -> (Backup, Vec<BodyPlace>) {
        let backup = Backup::open_rebuilt(path, Lock::None).unwrap().0;
        let rows = backup.index().messages().unwrap().into_iter();
        let places = rows.map(|row| BodyPlace {
            row,
            chunk_offset: 0,
            point: None,
            until: None,
        });
        let places = places.collect();
        (backup, places)
    }

    #[test]
    fn a_chunk_without_points_is_read_in_any_order() {
        let (_dir, path, expected) = compacted(3000);
        let (backup, places) = open(&path);
        assert_eq!(places.len(), expected.len());
        let bodies = backup.bodies();
        bodies.keep(100_000);
        let mut orders = vec![(0..places.len()).collect::<Vec<_>>()];
        orders.push(orders[0].iter().rev().step_by(50).copied().collect());
        orders.push((0..100).map(|n| n * 7919 % places.len()).collect());
        for order in orders {
            for at in order {
                let octets = bodies.read_by_table(&places[at]).unwrap();
                assert!(octets[..] == expected[at][..], "{at}");
            }
        }
    }

    #[test]
    fn a_long_line_is_no_place_to_start_twice() {
        let (_dir, path, expected) = compacted(4000);
        let (backup, places) = open(&path);
        let bodies = backup.bodies();
        bodies.keep(0);
        let read = |at: usize| {
            let place = backup.place(&places[at].row.guid).unwrap();
            assert!(bodies.read(&place).unwrap()[..] == expected[at][..], "{at}");
        };
        let by_table = || lock(&bodies.tables).len();
        // Near its start the line is good enough.
        read(100);
        read(200);
        assert_eq!(by_table(), 0);
        read(3500);
        assert_eq!(by_table(), 0, "one way is shorter than all of the chunk");
        (0..3000).step_by(500).for_each(read);
        assert_eq!(by_table(), 1);
        // Who stays makes the table at once.
        let (again, _) = open(&path);
        let bodies = again.bodies();
        bodies.remember();
        let place = again.place(&places[3500].row.guid).unwrap();
        assert!(bodies.read(&place).unwrap()[..] == expected[3500][..]);
        assert_eq!(lock(&bodies.tables).len(), 1);
    }

    #[test]
    fn short_lines_are_read_in_any_order() {
        let (_dir, path) = new_backup();
        let mails: Vec<_> = (0..900)
            .map(|n| {
                mail(
                    n,
                    if n % 40 == 7 {
                        200_000
                    } else {
                        60 + 9 * n as usize
                    },
                )
            })
            .collect();
        let mut appender = Appender::open(&path, false).unwrap();
        for some in mails.chunks(70) {
            appender.append_bodies(&bodies(some), 100).unwrap();
        }
        appender.finish().unwrap();
        let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
        let all = 0..mails.len();
        for room in [0, 100_000, CACHE_BYTES] {
            backup.bodies().keep(room);
            let mut orders = vec![all.clone().collect::<Vec<_>>()];
            orders.push(all.clone().rev().collect());
            orders.push(all.clone().map(|n| n * 7919 % mails.len()).collect());
            orders.push(all.clone().flat_map(|n| [n, mails.len() - 1 - n]).collect());
            for at in orders.concat() {
                let octets = backup.read_message(&Guid::of(&mails[at].0)).unwrap();
                assert!(octets[..] == mails[at].0[..], "{at}");
            }
            backup.bodies().rest();
        }
    }

    #[test]
    fn the_index_tells_where_in_one_answer() {
        let (_dir, path) = new_backup();
        let mails: Vec<_> = (0..100).map(|n| mail(n, 10_000)).collect();
        let mut appender = Appender::open(&path, false).unwrap();
        for some in mails.chunks(30) {
            appender.append_bodies(&bodies(some), 100).unwrap();
        }
        appender.finish().unwrap();
        let backup = Backup::open(&path, Lock::Shared { wait: false }).unwrap();
        let index = backup.index();
        let points = index.seek_points().unwrap();
        let mut with_end = 0;
        for row in index.messages().unwrap() {
            let place = backup.place_of(row.id, &row.guid).unwrap();
            let point = index.seek_point(row.chunk_id, row.offset).unwrap();
            assert!(place.row == row && place.point == point);
            let chunk = index.chunk(row.chunk_id).unwrap().unwrap();
            assert_eq!(place.chunk_offset, chunk.offset);
            let mut behind = points.iter().filter(|(of, _)| *of == row.chunk_id);
            let behind = behind.find(|(_, point)| point.offset > row.offset);
            assert_eq!(place.until, behind.map(|(_, point)| *point));
            with_end += u32::from(place.until.is_some());
            let other = backup.place_of(row.id + 1, &row.guid);
            assert!(matches!(other, Err(StoreError::NoSuchItem { .. })));
        }
        assert!(with_end > 50);
    }

    #[test]
    fn several_threads_read_at_once() {
        let (_dir, path, expected) = compacted(500);
        let (backup, places) = open(&path);
        let bodies = backup.bodies();
        bodies.keep(10_000);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (bodies, places, expected) = (&bodies, &places, &expected);
                scope.spawn(move || {
                    for at in (thread..places.len()).step_by(3) {
                        assert!(bodies.read_by_table(&places[at]).unwrap()[..] == expected[at][..]);
                    }
                });
            }
        });
    }

    #[test]
    fn damage_costs_what_lies_behind_it_and_is_told() {
        let (_dir, path, expected) = compacted(1000);
        let (backup, places) = open(&path);
        let mut data = std::fs::read(&path).unwrap();
        let middle = data.len() / 2;
        data[middle..middle + 64].fill(0xff);
        std::fs::write(&path, data).unwrap();
        let bodies = backup.bodies();
        let (mut right, mut damaged) = (0, 0);
        for (place, expected) in places.iter().zip(&expected) {
            match bodies.read_by_table(place) {
                Ok(octets) => {
                    assert!(octets[..] == expected[..]);
                    right += 1;
                }
                Err(StoreError::Damaged { guid, .. }) => {
                    assert_eq!(guid, Some(place.row.guid));
                    damaged += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(right > 300 && damaged > 300, "{right} {damaged}");
    }
}

//! One gzip member, the physical form of a chunk (spec: ondisk 4.1 to 4.3): a writer whose full
//! flushes let inflating start behind any of them, and a reader that knows where it stands in the
//! file. What the bytes mean is none of its business.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sha1::{Digest, Sha1};

use super::inflate::{BlockInflate, Step};

/// What zlib's own gz writer puts in front of a member.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// An empty last block: closes a deflate stream that ends on a full flush.
pub(super) const LAST_BLOCK: [u8; 2] = [0x03, 0x00];
/// What every full (and sync) flush leaves in the deflate stream.
pub const FLUSH_MARK: [u8; 4] = [0, 0, 0xff, 0xff];
/// zlib's default, as C uses it; the trade-off stands in DESIGN.
const LEVEL: u32 = 6;
const OUT_STEP: usize = 32 * 1024;
const READ_STEP: usize = 64 * 1024;
/// No more is asked of the disk before it is needed.
const MOST_EXPECTED: u64 = 1 << 20;

/// Deflates one member; the caller takes the bytes from [`MemberWriter::take`] and stores them.
pub struct MemberWriter {
    deflate: Compress,
    crc: crc32fast::Hasher,
    sha1: Sha1,
    length: u64,
    out: Vec<u8>,
}

/// What a finished member weighs and hashes to.
pub struct MemberSums {
    /// Uncompressed bytes.
    pub length: u64,
    /// SHA-1 of the uncompressed bytes, lower-case hex.
    pub sha1: String,
}

impl MemberWriter {
    /// Starts a member; its header is the first thing to take.
    pub fn new() -> MemberWriter {
        MemberWriter {
            deflate: Compress::new(Compression::new(LEVEL), false),
            crc: crc32fast::Hasher::new(),
            sha1: Sha1::new(),
            length: 0,
            out: HEADER.to_vec(),
        }
    }

    /// Uncompressed bytes so far: the offset at which the next byte will stand.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds uncompressed bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.sha1.update(bytes);
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let taken = self.step(bytes, FlushCompress::None)?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Brings all bytes so far to a byte boundary behind which inflating can start with no window.
    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            self.step(&[], FlushCompress::Full)?;
            if self.out.len() < self.out.capacity() {
                return Ok(());
            }
        }
    }

    /// Ends the member: last block, CRC-32, length.
    pub fn finish(&mut self) -> io::Result<MemberSums> {
        self.out.reserve(64);
        loop {
            let status = self.compress(&[], FlushCompress::Finish)?;
            if status == Status::StreamEnd {
                break;
            }
            self.out.reserve(OUT_STEP);
        }
        self.out
            .extend_from_slice(&self.crc.clone().finalize().to_le_bytes());
        self.out
            .extend_from_slice(&(self.length as u32).to_le_bytes());
        Ok(MemberSums {
            length: self.length,
            sha1: hex(&self.sha1.clone().finalize()),
        })
    }

    /// The compressed bytes made since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Compressed bytes waiting to be taken.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    fn step(&mut self, bytes: &[u8], flush: FlushCompress) -> io::Result<usize> {
        if self.out.capacity() - self.out.len() < 64 {
            self.out.reserve(OUT_STEP);
        }
        let before = self.deflate.total_in();
        self.compress(bytes, flush)?;
        Ok((self.deflate.total_in() - before) as usize)
    }

    fn compress(&mut self, bytes: &[u8], flush: FlushCompress) -> io::Result<Status> {
        self.deflate
            .compress_vec(bytes, &mut self.out, flush)
            .map_err(io::Error::other)
    }
}

impl Default for MemberWriter {
    fn default() -> MemberWriter {
        MemberWriter::new()
    }
}

/// The bytes that close a member whose deflate stream was cut at a full flush, without touching
/// what is already on disk: `crc` and `length` are of the uncompressed bytes kept.
pub fn closing_bytes(crc: u32, length: u64) -> Vec<u8> {
    let mut bytes = LAST_BLOCK.to_vec();
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes
}

/// How a member turned out when it was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberEnd {
    /// Trailer present and true; the next member starts at this file offset.
    Complete(u64),
    /// The file ends inside the member.
    Truncated,
}

/// The second one only where the first cannot do it.
enum Engine {
    Plain(Decompress),
    Blocks(BlockInflate),
}

impl Engine {
    fn plain() -> Engine {
        Engine::Plain(Decompress::new(false))
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> io::Result<Step> {
        let plain = match self {
            Engine::Plain(plain) => plain,
            Engine::Blocks(blocks) => return blocks.step(input, out),
        };
        let (before_in, before_out) = (plain.total_in(), plain.total_out());
        let status = plain
            .decompress(input, out, FlushDecompress::None)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        Ok(Step {
            used: (plain.total_in() - before_in) as usize,
            given: (plain.total_out() - before_out) as usize,
            ended: status == Status::StreamEnd,
        })
    }
}

/// Inflates one member from a file by positioned reads, so several readers share one descriptor.
pub struct MemberReader {
    file: Arc<File>,
    /// Where the next read from the file starts.
    next: u64,
    /// The file counts as ending here.
    limit: u64,
    /// Reading goes on to here, most likely.
    expected: u64,
    /// The disk was told so.
    told: bool,
    input: Vec<u8>,
    used: usize,
    inflate: Engine,
    crc: crc32fast::Hasher,
    produced: u64,
    /// Started at a flush point: no header was read and the CRC of the whole can't be checked.
    partial: bool,
    end: Option<MemberEnd>,
    /// The trailer is wrong. Told by the call after the one that gave the last bytes.
    bad_trailer: Option<&'static str>,
}

impl MemberReader {
    /// Reads the member that starts at `offset`; the file counts as ending at `limit`.
    pub fn open(file: Arc<File>, offset: u64, limit: u64) -> io::Result<MemberReader> {
        let mut reader = MemberReader::at(file, offset, limit, 0, false);
        reader.read_header()?;
        Ok(reader)
    }

    /// The same, stopping at the border of each deflate block: [`MemberReader::border`].
    pub(super) fn open_by_blocks(
        file: Arc<File>,
        offset: u64,
        limit: u64,
    ) -> io::Result<MemberReader> {
        let mut reader = MemberReader::open(file, offset, limit)?;
        reader.inflate = Engine::Blocks(BlockInflate::by_blocks()?);
        Ok(reader)
    }

    /// Of a reader that was resumed at the byte before the border of a deflate block: `bits` of that byte
    /// are not used yet; `window` is what was inflated before.
    pub(super) fn inside(mut self, bits: u8, window: &[u8]) -> io::Result<MemberReader> {
        let byte = self.byte()?.unwrap_or_default();
        self.inflate = Engine::Blocks(BlockInflate::within(bits, byte, window)?);
        Ok(self)
    }

    /// Starts in the middle, behind a full flush: file offset `offset`, where the uncompressed
    /// offset is `produced`.
    pub fn resume(file: Arc<File>, offset: u64, limit: u64, produced: u64) -> MemberReader {
        MemberReader::at(file, offset, limit, produced, true)
    }

    fn at(file: Arc<File>, offset: u64, limit: u64, produced: u64, partial: bool) -> MemberReader {
        MemberReader {
            file,
            next: offset,
            limit,
            expected: offset,
            told: false,
            input: Vec::new(),
            used: 0,
            inflate: Engine::plain(),
            crc: crc32fast::Hasher::new(),
            produced,
            partial,
            end: None,
            bad_trailer: None,
        }
    }

    /// Reading will go on to this file offset, most likely: the disk can begin at once, and need not read
    /// more. Elsewhere it guesses, and two reads in a row make it guess high.
    #[must_use]
    pub(super) fn expect(mut self, until: u64) -> MemberReader {
        self.expected = until.min(self.limit);
        self
    }

    /// Uncompressed offset of the next byte that `read` gives.
    pub fn produced(&self) -> u64 {
        self.produced
    }

    /// File offset behind the compressed bytes consumed so far.
    pub fn consumed(&self) -> u64 {
        self.next - (self.input.len() - self.used) as u64
    }

    /// CRC-32 of the uncompressed bytes given so far (of a reader from [`MemberReader::open`]).
    pub fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// How the member ended, once `read` has returned 0.
    pub fn end(&self) -> Option<MemberEnd> {
        self.end
    }

    /// Compressed bytes at hand, read ahead from the file when there were none; empty at the end
    /// of the file.
    pub fn peek(&mut self) -> io::Result<&[u8]> {
        if self.used == self.input.len() {
            self.refill()?;
        }
        Ok(&self.input[self.used..])
    }

    /// Inflates into `out` using at most `most` of the compressed bytes at hand.
    /// Returns (compressed bytes used, uncompressed bytes given).
    pub fn inflate_some(&mut self, most: usize, out: &mut [u8]) -> io::Result<(usize, usize)> {
        if let Some(reason) = self.bad_trailer {
            return Err(invalid(reason));
        }
        let input = &self.input[self.used..self.used + most];
        let Step { used, given, ended } = self.inflate.step(input, out)?;
        self.used += used;
        self.produced += given as u64;
        self.crc.update(&out[..given]);
        if ended {
            self.read_trailer()?;
        }
        Ok((used, given))
    }

    /// At the border of a deflate block: how many bits of the byte before [`MemberReader::consumed`]
    /// belong to the next one.
    pub(super) fn border(&self) -> Option<u8> {
        match &self.inflate {
            Engine::Plain(_) => None,
            Engine::Blocks(blocks) => blocks.border().filter(|_| self.end.is_none()),
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        let left = match self.expected.checked_sub(self.next) {
            None | Some(0) => self.limit.saturating_sub(self.next),
            Some(left) => left,
        };
        let want = left.min(READ_STEP as u64) as usize;
        self.input.resize(want, 0);
        self.used = 0;
        let mut have = 0;
        while have < want {
            match self
                .file
                .read_at(&mut self.input[have..], self.next + have as u64)
            {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.input.truncate(have);
        self.next += have as u64;
        self.read_ahead();
        Ok(())
    }

    /// While the first bytes are inflated the disk reads the others that are expected.
    fn read_ahead(&mut self) {
        let left = self.expected.saturating_sub(self.next).min(MOST_EXPECTED);
        if left > 0 && !std::mem::replace(&mut self.told, true) {
            let (at, advice) = (self.next as i64, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            // A hint; without it the reads only wait longer.
            let _ = posix_fadvise(&*self.file, at, left as i64, advice);
        }
    }

    /// The next compressed byte, None at the end of the file.
    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?.first().copied();
        self.used += usize::from(byte.is_some());
        Ok(byte)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        for slot in &mut bytes {
            match self.byte()? {
                Some(byte) => *slot = byte,
                None => return Ok(None),
            }
        }
        Ok(Some(bytes))
    }

    /// RFC 1952 2.3; we and C never set a flag, but a file repacked by gzip(1) carries a name.
    fn read_header(&mut self) -> io::Result<()> {
        let Some([m0, m1, method, flags, ..]) = self.bytes::<10>()? else {
            self.end = Some(MemberEnd::Truncated);
            return Ok(());
        };
        if (m0, m1, method) != (0x1f, 0x8b, 8) || flags & 0xe0 != 0 {
            return Err(invalid("no gzip member starts here"));
        }
        let mut cut = false;
        if flags & 4 != 0 {
            let length = self.bytes::<2>()?.map(u16::from_le_bytes);
            cut |= length.is_none();
            for _ in 0..length.unwrap_or(0) {
                cut |= self.byte()?.is_none();
            }
        }
        for flag in [8, 16] {
            while flags & flag != 0 && !cut {
                match self.byte()? {
                    Some(0) => break,
                    Some(_) => {}
                    None => cut = true,
                }
            }
        }
        cut |= flags & 2 != 0 && self.bytes::<2>()?.is_none();
        if cut {
            self.end = Some(MemberEnd::Truncated);
        }
        Ok(())
    }

    fn read_trailer(&mut self) -> io::Result<()> {
        let (crc, length) = (self.bytes::<4>()?, self.bytes::<4>()?);
        let (Some(crc), Some(length)) = (crc, length) else {
            self.end = Some(MemberEnd::Truncated);
            return Ok(());
        };
        if !self.partial {
            if u32::from_le_bytes(crc) != self.crc() {
                self.bad_trailer = Some("the gzip CRC does not match");
                return Ok(());
            }
            if u32::from_le_bytes(length) != self.produced as u32 {
                self.bad_trailer = Some("the gzip length does not match");
                return Ok(());
            }
        }
        self.end = Some(MemberEnd::Complete(self.consumed()));
        Ok(())
    }
}

impl Read for MemberReader {
    /// 0 only at the end of the member ([`MemberReader::end`] tells which end); damage is an
    /// error of kind `InvalidData`, never an endless loop (spec: ondisk 10.8).
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.end.is_none() && !out.is_empty() {
            let have = self.peek()?.len();
            let (used, given) = self.inflate_some(have, out)?;
            if given > 0 {
                return Ok(given);
            }
            if have == 0 && self.end.is_none() {
                self.end = Some(MemberEnd::Truncated);
            } else if used == 0 && self.end.is_none() {
                return Err(invalid("the deflate stream makes no progress"));
            }
        }
        Ok(0)
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    fn noise(n: usize) -> Vec<u8> {
        let mut x = 1u32;
        let mut next = || {
            x = x.wrapping_mul(1664525).wrapping_add(1013904223);
            (x >> 24) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn written_members_read_back_and_restart_at_every_flush() {
        let parts = [b"one".to_vec(), noise(200_000), b"three".repeat(10_000)];
        let mut writer = MemberWriter::new();
        let mut bytes = Vec::new();
        let mut points = Vec::new();
        for part in &parts {
            writer.write(part).unwrap();
            writer.flush().unwrap();
            bytes.extend(writer.take());
            points.push((bytes.len() as u64, writer.length()));
        }
        let sums = writer.finish().unwrap();
        bytes.extend(writer.take());
        let all = parts.concat();
        assert_eq!(sums.length, all.len() as u64);
        assert_eq!(sums.sha1, hex(&Sha1::digest(&all)));

        let mut by_gzip = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_end(&mut by_gzip)
            .unwrap();
        assert!(by_gzip == all);

        let file = file_of(&bytes);
        let end = bytes.len() as u64;
        let mut reader = MemberReader::open(file.clone(), 0, end).unwrap();
        let mut back = Vec::new();
        reader.read_to_end(&mut back).unwrap();
        assert!(back == all);
        assert_eq!(reader.end(), Some(MemberEnd::Complete(end)));
        for (offset, length) in points {
            let mut reader = MemberReader::resume(file.clone(), offset, end, length);
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert!(rest == all[length as usize..]);
        }
    }

    #[test]
    fn a_wrong_expectation_changes_no_byte() {
        let data = noise(400_000);
        let mut writer = MemberWriter::new();
        writer.write(&data).unwrap();
        writer.finish().unwrap();
        let bytes = writer.take();
        let (file, end) = (file_of(&bytes), bytes.len() as u64);
        for until in [0, 9, 11, 5_000, 100_000, end - 1, end, u64::MAX] {
            let reader = MemberReader::resume(file.clone(), 10, end, 0);
            let mut back = Vec::new();
            reader.expect(until).read_to_end(&mut back).unwrap();
            assert!(back == data, "{until}");
        }
    }

    #[test]
    fn a_wrong_trailer_costs_no_data() {
        let data = noise(100_000);
        let mut writer = MemberWriter::new();
        writer.write(&data).unwrap();
        writer.finish().unwrap();
        let bytes = writer.take();
        for at in [bytes.len() - 8, bytes.len() - 1] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let mut reader = MemberReader::open(file_of(&bad), 0, bad.len() as u64).unwrap();
            let mut back = Vec::new();
            let error = reader.read_to_end(&mut back).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(back == data);
            assert_eq!(reader.end(), None);
            assert!(reader.read(&mut [0]).is_err());
        }
    }

    #[test]
    fn a_cut_member_is_closed_in_place() {
        let mut writer = MemberWriter::new();
        writer.write(b"kept").unwrap();
        writer.flush().unwrap();
        let mut bytes = writer.take();
        bytes.extend(closing_bytes(crc32fast::hash(b"kept"), 4));
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, b"kept");
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_ends() {
        let mut writer = MemberWriter::new();
        let data = [noise(300), b"abc".repeat(100)].concat();
        writer.write(&data).unwrap();
        writer.flush().unwrap();
        writer.finish().unwrap();
        let bytes = writer.take();
        for cut in 0..bytes.len() {
            let file = file_of(&bytes[..cut]);
            let mut reader = MemberReader::open(file, 0, cut as u64).unwrap();
            let mut back = Vec::new();
            reader.read_to_end(&mut back).unwrap();
            assert_eq!(reader.end(), Some(MemberEnd::Truncated), "cut at {cut}");
            assert!(data.starts_with(&back));
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x41;
            let Ok(mut reader) = MemberReader::open(file_of(&bad), 0, bad.len() as u64) else {
                continue;
            };
            let mut back = Vec::new();
            let whole = reader.read_to_end(&mut back).is_ok()
                && matches!(reader.end(), Some(MemberEnd::Complete(_)));
            assert!(
                !whole || back == data,
                "wrong bytes given out, flip at {at}"
            );
        }
    }
}

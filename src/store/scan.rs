//! Reads one chunk line by line: inflates the member, cuts it into lines, and knows at which
//! places the file could be cut or entered. Used to replay, to recover, and to find a message.
//! Nothing is judged here but the form.

use std::io;

use memchr::memmem;

use super::index::SeekPoint;
use super::member::{FLUSH_MARK, MemberEnd, MemberReader};
use crate::csync::dlist::FileRef;
use crate::csync::fragment::{Fragment, Fragmenter, Limits};

/// What every chunk starts with (spec: ondisk 4.2); 29 bytes with its line end.
pub const CHUNK_START: &str = "# cyrus backup: chunk start\r\n";

/// Longest token a data file may hold; C's own limit is lower, but a file that exists is read.
const TOKEN_LIMIT: usize = 1 << 30;

/// Sees the lines of a chunk pass by.
pub trait Visitor {
    /// Inflated bytes, before anything is made of them.
    fn inflated(&mut self, _bytes: &[u8]) {}
    /// The text of a line up to and with the header of a file literal that begins now.
    fn head(&mut self, _text: &[u8]) {}
    /// A file literal begins; its octets stand at this uncompressed offset.
    fn file(&mut self, _file: &FileRef, _offset: u64) {}
    /// Octets of the file literal.
    fn file_data(&mut self, _octets: &[u8]) {}
    /// A line is complete: where it starts, and its text without file octets. The chunk's start
    /// line is not shown. `false` ends the scan.
    fn line(&mut self, offset: u64, text: &[u8]) -> bool;
    /// The chunk ended or broke inside this line, of which so much text came.
    fn cut(&mut self, _offset: u64, _text: &[u8]) {}
    /// All lines so far are complete and the deflate stream stands on a flush.
    fn flushed(&mut self, _at: Flushed) {}
    /// The deflate stream stands between two blocks; told by a reader that stops there.
    fn border(&mut self, _at: Border) {}
    /// Behind damage, reading goes on here; see [`super::salvage`].
    fn resumed(&mut self, _at: SeekPoint) {}
    /// The chunk is damaged at this uncompressed offset; see [`super::salvage`].
    fn broken(&mut self, _offset: u64, _reason: &str) {}
    /// Asked after each piece of inflated bytes; `true` ends the scan, also inside a line.
    fn enough(&mut self) -> bool {
        false
    }
}

/// A place between two lines at which the deflate stream was flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Uncompressed offset in the chunk.
    pub offset: u64,
    /// Offset in the data file.
    pub file_offset: u64,
    /// CRC-32 of the uncompressed bytes before.
    pub crc: u32,
}

/// A place between two deflate blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Border {
    /// Uncompressed offset in the chunk.
    pub offset: u64,
    /// Offset in the data file.
    pub file_offset: u64,
    /// So many bits of the byte before belong to what follows.
    pub bits: u8,
}

/// How a scan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanEnd {
    /// The member is whole; the next one starts at this file offset.
    Complete(u64),
    /// The file ends inside the member or inside its last line.
    Truncated,
    /// Inflating or cutting into lines failed at this uncompressed offset.
    Damaged {
        /// Uncompressed offset.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// The visitor had enough.
    Stopped,
}

/// Runs a reader to the end of its member. A reader that was resumed must stand on a line start.
pub fn scan(reader: &mut MemberReader, visitor: &mut dyn Visitor) -> io::Result<ScanEnd> {
    scan_noting(reader, visitor, &mut 0, &mut |_| {})
}

/// As [`scan`]; `good` becomes the file offset of the last flush between two lines, `progress` is told how far
/// in the file the reader is.
pub(super) fn scan_noting(
    reader: &mut MemberReader,
    visitor: &mut dyn Visitor,
    good: &mut u64,
    progress: &mut dyn FnMut(u64),
) -> io::Result<ScanEnd> {
    let mut lines = Lines::new(reader.produced());
    let mut out = vec![0; 64 * 1024];
    let end = run(reader, &mut out, &mut lines, visitor, good, progress)?;
    if matches!(end, ScanEnd::Truncated | ScanEnd::Damaged { .. }) {
        visitor.cut(lines.start, &lines.text);
    }
    Ok(end)
}

/// Shows what there is of lines in inflated bytes, which begin with a line, at this offset in their chunk.
pub(super) fn scan_bytes(bytes: &[u8], offset: u64, visitor: &mut dyn Visitor) {
    let _ended_early = Lines::new(offset).take(bytes, visitor);
}

/// A scan that can go on behind the piece where its visitor had [`Visitor::enough`].
pub(super) struct Scan {
    reader: MemberReader,
    /// A piece.
    out: Vec<u8>,
    lines: Lines,
}

impl Scan {
    /// Of a reader that stands at the start of a line.
    pub fn new(reader: MemberReader) -> Scan {
        let lines = Lines::new(reader.produced());
        let out = Vec::new();
        Scan { reader, out, lines }
    }

    /// Goes on in pieces of so many bytes. A visitor that ends the scan at a line has ended it for good: the rest of the piece is lost.
    pub fn go_on(&mut self, step: usize, visitor: &mut dyn Visitor) -> io::Result<ScanEnd> {
        self.out.resize(step, 0);
        let Scan { reader, out, lines } = self;
        run(reader, out, lines, visitor, &mut 0, &mut |_| {})
    }

    /// Uncompressed offset in the chunk.
    pub fn produced(&self) -> u64 {
        self.reader.produced()
    }

    /// Where the current line starts.
    pub fn line(&self) -> u64 {
        self.lines.start
    }
}

fn run(
    reader: &mut MemberReader,
    out: &mut [u8],
    lines: &mut Lines,
    visitor: &mut dyn Visitor,
    good: &mut u64,
    progress: &mut dyn FnMut(u64),
) -> io::Result<ScanEnd> {
    let mut marks = Marks::default();
    while reader.end().is_none() {
        let input = reader.peek()?;
        if input.is_empty() {
            return Ok(ScanEnd::Truncated);
        }
        let (most, marked) = marks.next(input);
        let mut left = most;
        loop {
            let (used, given) = match reader.inflate_some(left, out) {
                Ok(step) => step,
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    let (offset, reason) = (reader.produced(), e.to_string());
                    return Ok(ScanEnd::Damaged { offset, reason });
                }
                Err(e) => return Err(e),
            };
            left -= used;
            visitor.inflated(&out[..given]);
            if let Some(bits) = reader.border() {
                visitor.border(Border {
                    offset: reader.produced(),
                    file_offset: reader.consumed(),
                    bits,
                });
            }
            if let Some(end) = lines.take(&out[..given], visitor) {
                return Ok(end);
            }
            if visitor.enough() {
                return Ok(ScanEnd::Stopped);
            }
            let stuck = used == 0 && given == 0;
            if reader.end().is_some() || stuck && left == 0 {
                break;
            }
            if stuck {
                let reason = "the deflate stream makes no progress".to_owned();
                return Ok(ScanEnd::Damaged {
                    offset: reader.produced(),
                    reason,
                });
            }
        }
        progress(reader.consumed());
        if marked && reader.end().is_none() && lines.between() {
            *good = reader.consumed();
            visitor.flushed(Flushed {
                offset: reader.produced(),
                file_offset: reader.consumed(),
                crc: reader.crc(),
            });
        }
    }
    Ok(match reader.end() {
        Some(MemberEnd::Complete(_)) if !lines.between() => ScanEnd::Damaged {
            offset: lines.start,
            reason: "the chunk ends inside a line".to_owned(),
        },
        Some(MemberEnd::Complete(next)) => ScanEnd::Complete(next),
        _ => ScanEnd::Truncated,
    })
}

/// Cuts inflated bytes into lines.
struct Lines {
    fragmenter: Fragmenter,
    /// Where the current line starts.
    start: u64,
    /// Where the next byte stands.
    here: u64,
    text: Vec<u8>,
}

impl Lines {
    fn new(offset: u64) -> Lines {
        let fragmenter = Fragmenter::new(Limits {
            token: TOKEN_LIMIT,
            ..Limits::default()
        });
        Lines {
            fragmenter,
            start: offset,
            here: offset,
            text: Vec::new(),
        }
    }

    fn between(&self) -> bool {
        self.fragmenter.at_line_start()
    }

    fn take(&mut self, mut bytes: &[u8], visitor: &mut dyn Visitor) -> Option<ScanEnd> {
        while !bytes.is_empty() {
            let before = bytes.len();
            let fragment = match self.fragmenter.next(&mut bytes) {
                Ok(Some(fragment)) => fragment,
                Ok(None) => {
                    self.here += (before - bytes.len()) as u64;
                    return None;
                }
                Err(e) => {
                    return Some(ScanEnd::Damaged {
                        offset: self.here,
                        reason: e.to_string(),
                    });
                }
            };
            self.here += (before - bytes.len()) as u64;
            match fragment {
                Fragment::Text(text) => self.text.extend_from_slice(text),
                Fragment::FileStart(file) => {
                    visitor.head(&self.text);
                    visitor.file(&file, self.here);
                }
                Fragment::FileData(octets) => visitor.file_data(octets),
                Fragment::FileEnd => {}
                Fragment::EndOfLine => {
                    let start = std::mem::replace(&mut self.start, self.here);
                    let comment = self.text.starts_with(b"#");
                    if !comment && !visitor.line(start, &self.text) {
                        return Some(ScanEnd::Stopped);
                    }
                    self.text.clear();
                    self.text.shrink_to(1 << 20);
                }
            }
        }
        None
    }
}

/// Finds flush marks in the compressed bytes, also those that stand across two reads.
#[derive(Default)]
struct Marks {
    /// The last compressed bytes that were handed out, three at most.
    tail: Vec<u8>,
}

impl Marks {
    /// How many of these bytes to inflate next, and whether they end with a mark.
    fn next(&mut self, input: &[u8]) -> (usize, bool) {
        let across = (1..=input.len().min(3)).find(|&n| {
            let joined = [&self.tail[..], &input[..n]].concat();
            joined.len() >= 4 && joined.ends_with(&FLUSH_MARK)
        });
        let end =
            across.or_else(|| memmem::find(input, &FLUSH_MARK).map(|at| at + FLUSH_MARK.len()));
        let most = end.unwrap_or(input.len());
        self.tail
            .extend_from_slice(&input[most.saturating_sub(3)..most]);
        self.tail.drain(..self.tail.len().saturating_sub(3));
        (most, end.is_some())
    }
}

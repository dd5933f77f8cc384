//! Looks at what a crash left behind the last indexed chunk, and plans what of it is kept. Touches
//! nothing; `recover` acts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::data_file::DataFile;
use super::error::Result;
use super::member::{MemberEnd, MemberReader, closing_bytes};
use super::resync::Resync;
use super::scan::{CHUNK_START, Flushed, ScanEnd, Visitor, scan};

/// One member of the tail, whole or not.
pub(super) struct Piece {
    pub(super) start: u64,
    /// Where it was cut and how far its complete lines reach; None: not one.
    pub(super) kept: Option<Flushed>,
    /// Where the member ends if it is whole.
    pub(super) end: Option<u64>,
}

impl Piece {
    pub(super) fn torn(&self) -> bool {
        self.end.is_none()
    }
}

/// What a crash (or several of them, of several programs) left.
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
}

impl Plan {
    /// A torn member with others behind it can't be closed where it stands.
    pub(super) fn needs_rewrite(&self) -> bool {
        self.pieces.iter().rev().skip(1).any(Piece::torn)
    }
}

/// Finds the members of the tail and how much of each can be kept. Touches nothing.
pub(super) fn survey(data: &DataFile, start: u64, length: u64) -> Result<Plan> {
    let mut pieces = Vec::new();
    let mut at = start;
    while at < length {
        let piece = survey_member(data, at, length)?;
        let from = piece.kept.map_or(at + 1, |kept| kept.file_offset);
        let next = match piece.end {
            Some(end) => Some(end),
            None => {
                let mut resync = Resync::new(data.file(), length);
                data.io(resync.next_member(from.max(at + 1)))?
            }
        };
        pieces.push(piece);
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(Plan { pieces })
}

fn survey_member(data: &DataFile, start: u64, length: u64) -> Result<Piece> {
    let mut cuts = Cuts::default();
    let end = match MemberReader::open(data.file().clone(), start, length) {
        Ok(mut reader) => data.io(scan(&mut reader, &mut cuts))?,
        Err(e) if e.kind() == io::ErrorKind::InvalidData => ScanEnd::Truncated,
        Err(e) => return data.io(Err(e)),
    };
    if let ScanEnd::Complete(end) = end {
        return Ok(Piece {
            start,
            kept: cuts.0.last().copied(),
            end: Some(end),
        });
    }
    // A mark inside the data can look like a flush: what is kept must really close.
    while let Some(&kept) = cuts.0.last() {
        if data.io(closes(data.file(), start, kept))? {
            return Ok(Piece {
                start,
                kept: Some(kept),
                end: None,
            });
        }
        cuts.0.pop();
    }
    Ok(Piece {
        start,
        kept: None,
        end: None,
    })
}

/// The member from `start`, cut at `kept`, inflates to its end once it is closed.
fn closes(file: &File, start: u64, kept: Flushed) -> io::Result<bool> {
    let copy = tempfile::tempfile()?;
    copy_range(file, &copy, start, kept.file_offset)?;
    let end = kept.file_offset - start;
    copy.write_all_at(&closing_bytes(kept.crc, kept.offset), end)?;
    let length = copy.metadata()?.len();
    let mut reader = MemberReader::open(Arc::new(copy), 0, length)?;
    let read = io::copy(&mut reader, &mut io::sink());
    Ok(matches!(read, Ok(n) if n == kept.offset)
        && reader.end() == Some(MemberEnd::Complete(length)))
}

pub(super) fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut buf = vec![0; 256 * 1024];
    let mut at = start;
    let base = to.metadata()?.len();
    while at < end {
        let want = (end - at).min(buf.len() as u64) as usize;
        let n = from.read_at(&mut buf[..want], at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(&buf[..n], base + at - start)?;
        at += n as u64;
    }
    Ok(())
}

/// Remembers where a chunk could be cut.
#[derive(Default)]
struct Cuts(Vec<Flushed>);

impl Visitor for Cuts {
    fn line(&mut self, _offset: u64, _text: &[u8]) -> bool {
        true
    }

    fn flushed(&mut self, at: Flushed) {
        // Behind the start line alone there is nothing to keep.
        if at.offset > CHUNK_START.len() as u64 {
            self.0.push(at);
        }
    }
}

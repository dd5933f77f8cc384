//! Reads one member whatever happened to it: shows a visitor the lines that can be read, and goes on
//! behind each damage. Offsets behind damage continue those before it, and are the same in every
//! reading.

use std::io;
use std::sync::Arc;

use super::index::SeekPoint;
use super::member::MemberReader;
use super::resync::{Place, Resync};
use super::scan::{ScanEnd, Visitor, scan_noting};

/// How a member turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Where the next one is, or the end of the file.
    pub(super) next: u64,
    /// Bytes inflated.
    pub(super) length: u64,
    /// The file ends inside it, and nothing else is wrong.
    pub(super) torn: bool,
    /// It is not what somebody once wrote.
    pub(super) damaged: bool,
}

/// Reads the member at `start`, or what is in the place of one. `progress` is told offsets in the file.
pub(super) fn read(
    resync: &mut Resync<'_>,
    start: u64,
    visitor: &mut dyn Visitor,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Member> {
    let mut member = Member {
        next: resync.limit,
        length: 0,
        torn: false,
        damaged: false,
    };
    let mut reader = open(resync, start)?;
    let mut good = start + 1;
    loop {
        let end = match &mut reader {
            Some(reader) => scan_noting(reader, visitor, &mut good, progress)?,
            None => ScanEnd::Damaged {
                offset: 0,
                reason: "no gzip member starts here".to_owned(),
            },
        };
        member.length = reader.as_ref().map_or(0, MemberReader::produced);
        let reason = match &end {
            ScanEnd::Stopped => return Ok(member),
            ScanEnd::Complete(next) => {
                member.next = *next;
                return Ok(member);
            }
            ScanEnd::Truncated => "the file ends inside the chunk",
            ScanEnd::Damaged { reason, .. } => reason,
        };
        visitor.broken(member.length, reason);
        let headless = match member.damaged || member.length > 0 {
            true => None,
            false => resync.headless(start),
        };
        let place = match headless {
            Some(place) => Some(place),
            None => resync.next(good)?,
        };
        member.torn = !member.damaged && place.is_none() && end == ScanEnd::Truncated;
        member.damaged = true;
        let at = match place {
            Some(Place::Line(at)) => at,
            Some(Place::Member(next)) => {
                member.next = next;
                return Ok(member);
            }
            None => return Ok(member),
        };
        visitor.resumed(SeekPoint {
            offset: member.length,
            file_offset: at,
        });
        let file = Arc::clone(resync.file);
        reader = Some(MemberReader::resume(file, at, resync.limit, member.length));
        good = at;
    }
}

/// None when there is no member.
fn open(resync: &Resync<'_>, start: u64) -> io::Result<Option<MemberReader>> {
    match MemberReader::open(Arc::clone(resync.file), start, resync.limit) {
        Ok(reader) => Ok(Some(reader)),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(e) => Err(e),
    }
}

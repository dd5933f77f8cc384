//! Looking at all of a data file, whatever state it is in, and at what a selection would leave of it.
//! Nothing is written.

use super::arrange::Measured;
use super::lines::{Rewriter, Sink};
use super::selection::Selection;
use crate::store::error::{Result, StoreError};
use crate::store::rebuild::Source;
use crate::store::resync::Resync;
use crate::store::salvage;
use crate::store::scan::Visitor;

/// Shows every line to a visitor.
pub(in crate::store) fn read(
    source: &Source<'_>,
    visitor: &mut dyn Visitor,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut resync = Resync::new(source.file, source.length);
    let mut at = 0;
    while at < source.length {
        let read = salvage::read(&mut resync, at, visitor, progress);
        at = read.map_err(StoreError::io(source.path))?.next;
    }
    Ok(())
}

/// What the selection leaves of each chunk. `progress` is told offsets in the data file.
pub(in crate::store) fn measure(
    source: &Source<'_>,
    selection: &dyn Selection,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Measured>> {
    let mut resync = Resync::new(source.file, source.length);
    let mut one = |measured| {
        let one = measure_one(&mut resync, selection, measured, progress);
        one.map_err(StoreError::io(source.path))
    };
    let mut members = Vec::new();
    let (mut at, mut number) = (0, 0);
    while at < source.length {
        let (mut measured, odd, next) = one(Measured::new(at, number))?;
        if odd && measured.damaged {
            let mut again = Measured::new(at, number);
            again.drop_odd = true;
            (measured, ..) = one(again)?;
        }
        (at, number) = (measured.end, next);
        members.push(measured);
    }
    Ok(members)
}

/// Also tells whether the chunk has lines that nobody understands, and the next line's number.
fn measure_one(
    resync: &mut Resync<'_>,
    selection: &dyn Selection,
    mut measured: Measured,
    progress: &mut dyn FnMut(u64),
) -> std::io::Result<(Measured, bool, u64)> {
    let mut lines = Vec::new();
    let sink = Sink::Count(&mut lines);
    let mut rewriter = Rewriter::new(selection, sink, measured.first_line);
    rewriter.drop_odd = measured.drop_odd;
    let member = salvage::read(resync, measured.start, &mut rewriter, progress)?;
    let (odd, next) = (rewriter.odd, rewriter.number);
    measured.horizon = rewriter.horizon;
    measured.dropped = rewriter.dropped;
    measured.damaged = member.damaged || !rewriter.bad.is_empty();
    measured.changed = rewriter.changed || measured.damaged;
    measured.bad = rewriter.bad;
    measured.lines = lines;
    (measured.end, measured.length) = (member.next, member.length);
    Ok((measured, odd, next))
}

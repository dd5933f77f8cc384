//! The chain of all live records: what every pointer of a sound file says (spec: ondisk 3.8).

use super::error::{Fault, damaged};
use super::search::{LISTS, View};

/// One record of the chain; the first is DUMMY.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) offset: u64,
    pub(super) level: u8,
}

impl Link {
    /// The lists above 0 that this record takes part in.
    pub(super) fn upper_lists(&self) -> std::ops::Range<usize> {
        1..usize::from(self.level)
    }
}

/// Follows list 0 from DUMMY to the end.
pub(super) fn links(view: &View<'_>) -> Result<Vec<Link>, Fault> {
    let mut links = Vec::new();
    let mut next = Some(view.dummy()?);
    while let Some(record) = next {
        links.push(Link {
            offset: record.offset,
            level: record.level,
        });
        next = view.follow(&record, 0)?;
    }
    Ok(links)
}

/// Calls `visit` with each link, last first, and what its pointers of lists 1 and above have to be.
pub(super) fn for_each_backwards(
    links: &[Link],
    mut visit: impl FnMut(&Link, &[u64; LISTS]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut next = [0; LISTS];
    for link in links.iter().rev() {
        visit(link, &next)?;
        next[..usize::from(link.level)].fill(link.offset);
    }
    Ok(())
}

/// Verifies every live record, every pointer, and that there are `expected` keys.
pub(super) fn check(view: &View<'_>, expected: u64) -> Result<(), Fault> {
    let links = links(view)?;
    for_each_backwards(&links, |link, next| {
        let record = view.record(link.offset)?;
        record.value(view.media)?;
        for list in link.upper_lists() {
            if record.next(list as u8, view.limit) != next[list] {
                return damaged(link.offset, "a pointer that skips a record");
            }
        }
        Ok(())
    })?;
    if links.len() as u64 - 1 != expected {
        return damaged(32, "the number of keys in the header");
    }
    Ok(())
}

//! How lines are put into chunks, as a pure plan (spec: ondisk 6.4). C's rules, made so that a second
//! run finds nothing to do (spec: ondisk 10.25): lengths are those that the lines will have, and a
//! chunk is cut only where both sides keep their size.

use std::ops::Range;

use super::selection::BadBodies;
use crate::store::scan::CHUNK_START;

/// What a selection leaves of one chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Where it starts in the data file.
    pub start: u64,
    /// Where the next one does.
    pub end: u64,
    /// Inflated bytes as it is.
    pub length: u64,
    /// Bytes of each line that stays.
    pub lines: Vec<u64>,
    /// The lines that stay are not all that it holds, or are not as they were.
    pub changed: bool,
    /// Lines, records or bodies went by the selection's word.
    pub dropped: u64,
    /// Not all of it can be read.
    pub damaged: bool,
    /// It says since when history is whole: its time, the horizon.
    pub horizon: Option<(i64, i64)>,
    pub(super) first_line: u64,
    pub(super) bad: BadBodies,
    pub(super) drop_odd: bool,
}

impl Measured {
    pub(super) fn new(start: u64, first_line: u64) -> Measured {
        Measured {
            start,
            first_line,
            ..Measured::default()
        }
    }

    /// Does it have to be written anew?
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Inflated bytes of what stays.
    pub fn kept(&self) -> u64 {
        self.lines.iter().sum()
    }

    /// Nothing of it stays, and there was something.
    pub fn is_dead(&self) -> bool {
        self.lines.is_empty() && self.horizon.is_none()
    }
}

/// Sizes of chunks in inflated bytes; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Smaller chunks are combined with their neighbours.
    pub min: u64,
    /// Larger chunks are split; combined ones do not get larger.
    pub max: u64,
}

impl Sizes {
    /// C's: one that contradicts the other switches both off.
    fn sensible(self) -> Sizes {
        if self.max > 0 && self.min >= self.max {
            return Sizes::default();
        }
        self
    }

    fn combines(self, length: u64, next: u64) -> bool {
        let small = self.min > 0 && !(length >= self.min && next >= self.min);
        small && (self.max == 0 || length + next <= self.max)
    }

    fn cuts(self, wrote: u64, left: u64) -> bool {
        self.max > 0 && wrote >= self.max && left > self.min
    }
}

/// Lines of one old chunk in a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Position of the old chunk.
    pub member: usize,
    /// Which of the lines that stay.
    pub lines: Range<usize>,
}

/// A new chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// What it is made of.
    pub parts: Vec<Part>,
    /// Nothing changes in it, so its bytes are copied.
    pub copy: bool,
}

/// Lays out the new chunks.
pub fn arrange(members: &[Measured], sizes: Sizes) -> Vec<Chunk> {
    let sizes = sizes.sensible();
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut open = false;
    let mut wrote = 0;
    let live: Vec<usize> = (0..members.len())
        .filter(|&i| !members[i].lines.is_empty())
        .collect();
    for (place, &i) in live.iter().enumerate() {
        let member = &members[i];
        let mut left = member.kept();
        let splits = header() + left >= sizes.max + sizes.min;
        let mut from = 0;
        for (n, line) in member.lines.iter().enumerate() {
            if !open {
                chunks.push(Chunk::default());
                (open, wrote) = (true, header());
            }
            wrote += line;
            left -= line;
            if left == 0 || splits && sizes.cuts(wrote, left) {
                push(&mut chunks, i, from..n + 1);
                from = n + 1;
                open = left == 0;
            }
        }
        let next = live.get(place + 1);
        open &= next.is_some_and(|&next| sizes.combines(wrote, header() + members[next].kept()));
    }
    for chunk in &mut chunks {
        if let [part] = &chunk.parts[..] {
            let member = &members[part.member];
            chunk.copy = !member.changed && part.lines.len() == member.lines.len();
        }
    }
    chunks
}

fn push(chunks: &mut [Chunk], member: usize, lines: Range<usize>) {
    if let Some(chunk) = chunks.last_mut() {
        chunk.parts.push(Part { member, lines });
    }
}

fn header() -> u64 {
    CHUNK_START.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(lines: &[&[u64]]) -> Vec<Measured> {
        let member = |lines: &&[u64]| Measured {
            lines: lines.to_vec(),
            ..Measured::default()
        };
        lines.iter().map(member).collect()
    }

    /// What a second run would measure.
    fn result(members: &[Measured], chunks: &[Chunk]) -> Vec<Measured> {
        let lines = |chunk: &Chunk| {
            let parts = chunk.parts.iter();
            parts
                .flat_map(|part| members[part.member].lines[part.lines.clone()].to_vec())
                .collect()
        };
        let chunk = |chunk| Measured {
            lines: lines(chunk),
            ..Measured::default()
        };
        chunks.iter().map(chunk).collect()
    }

    fn lengths(members: &[Measured], sizes: Sizes) -> Vec<usize> {
        arrange(members, sizes)
            .iter()
            .map(|chunk| {
                let parts = chunk.parts.iter();
                parts.map(|part| part.lines.len()).sum()
            })
            .collect()
    }

    /// The examples measured with C: ten chunks of 137.5 KB (spec: ondisk 6.4).
    #[test]
    fn combines_and_splits_as_c_does() {
        let ten = members(&[&[50_000, 50_000, 40_800][..]; 10]);
        let kb = |min: u64, max: u64| Sizes {
            min: min << 10,
            max: max << 10,
        };
        assert_eq!(lengths(&ten, kb(200, 500)), [9, 9, 9, 3]);
        assert_eq!(lengths(&ten, kb(200, 300)), [6; 5]);
        assert_eq!(lengths(&ten, kb(200, 0)), [30]);
        assert_eq!(lengths(&ten, kb(0, 0)), [3; 10]);
        assert_eq!(lengths(&ten, kb(300, 200)), [3; 10]);
        assert!(arrange(&ten, kb(0, 0)).iter().all(|chunk| chunk.copy));
        assert!(arrange(&ten, kb(200, 0)).iter().all(|chunk| !chunk.copy));
    }

    /// Spec: ondisk 10.25. C splits such chunks again every night.
    #[test]
    fn o_10_25_a_second_run_finds_nothing_to_do() {
        let mut random = 7u64;
        let mut next = |most: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % most
        };
        for _ in 0..2000 {
            let some: Vec<Vec<u64>> = (0..next(12))
                .map(|_| (0..next(8)).map(|_| 1 + next(60_000)).collect())
                .collect();
            let some: Vec<&[u64]> = some.iter().map(Vec::as_slice).collect();
            let before = members(&some);
            let sizes = Sizes {
                min: next(3) * next(50_000),
                max: next(3) * next(80_000),
            };
            let once = result(&before, &arrange(&before, sizes));
            let again = arrange(&once, sizes);
            assert!(
                again.iter().all(|chunk| chunk.copy),
                "{sizes:?} {before:?} {again:?}"
            );
            let all = |members: &[Measured]| -> Vec<u64> {
                members
                    .iter()
                    .flat_map(|member| member.lines.clone())
                    .collect()
            };
            assert_eq!(all(&before), all(&once));
        }
    }
}

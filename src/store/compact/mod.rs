//! Compaction: gives back the room of what nobody can ask for any more, and puts chunks into a
//! sensible size (spec: ondisk 6.4).
//!
//! The rule is one sentence: **with the horizon at now - retention, the backup as of any time from the
//! horizon on is the same before and after.** [`live`] says which lines that takes. C keeps by chunk
//! ids in its index and loses renames, deletions and living mail (spec: ondisk 10.2 to 10.4).
//!
//! Finding nothing to do is remembered ([`settled`]). When it is worth the work is C's rule: as many chunks as `backup_compact_work_threshold` are dead,
//! want to be combined or want to be split. One of which half or more would go counts as well. A damaged backup is compacted
//! only when that is forced, and its file is kept.

mod live;
mod settled;
mod terms;

use std::path::Path;

pub use live::Live;
pub use terms::Compact;

use super::error::{Result, StoreError};
use super::rewrite::{Chunk, Measured, Rewrite, Stats, WriteTerms, arrange};

/// What is going to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The chunks as they are and what stays of them.
    pub members: Vec<Measured>,
    /// Ids of `members` in the index.
    pub ids: Vec<Option<i64>>,
    /// The chunks as they will be.
    pub chunks: Vec<Chunk>,
    /// How many chunks make it worth the work.
    pub work: u64,
    /// It will be done.
    pub needed: bool,
}

impl Plan {
    /// What is damaged must not go in a nightly run, and with it the only trace of that.
    fn refusal(&self, path: &Path) -> StoreError {
        let first = self
            .members
            .iter()
            .zip(&self.ids)
            .find(|(member, _)| member.damaged);
        let (chunk, offset) = first.map_or((0, 0), |(member, id)| (id.unwrap_or(0), member.start));
        StoreError::Damaged {
            path: path.to_owned(),
            chunk,
            offset,
            guid: None,
            reason: "`verify --keep-going` names what is lost, -F compacts the rest".to_owned(),
        }
    }

    /// Ids of the chunks of which something stays.
    pub fn kept(&self) -> Vec<i64> {
        let live = self.members.iter().zip(&self.ids);
        let live = live.filter(|(member, _)| !member.lines.is_empty());
        live.filter_map(|(_, id)| *id).collect()
    }

    /// Pairs of chunks that become one.
    pub fn combined(&self) -> Vec<(i64, i64)> {
        let parts = self.chunks.iter().flat_map(|chunk| chunk.parts.windows(2));
        parts
            .filter_map(|pair| Some((self.ids[pair[0].member]?, self.ids[pair[1].member]?)))
            .collect()
    }

    /// Chunks that become several.
    pub fn split(&self) -> Vec<i64> {
        let starts = self.chunks.iter().flat_map(|chunk| &chunk.parts);
        let mut split: Vec<i64> = starts
            .filter(|part| part.lines.end < self.members[part.member].lines.len())
            .filter_map(|part| self.ids[part.member])
            .collect();
        split.dedup();
        split
    }
}

/// What became of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compacted {
    /// It was not worth the work.
    Skipped,
    /// It was written anew.
    Done(Stats),
}

/// Compacts the backup at `path`; `show` sees the plan before anything is done.
///
/// # Errors
/// As [`Rewrite::open`] and [`Rewrite::write`]. Whatever fails, the backup is as it was.
pub fn compact(
    path: &Path,
    how: &Compact,
    show: &mut dyn FnMut(&Plan),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Compacted> {
    let rewrite = Rewrite::open(path, how.wait)?;
    if !how.force && settled::is_settled(rewrite.index(), how)? {
        return Ok(Compacted::Skipped);
    }
    // Looking twice, writing, looking at what was written.
    let all = rewrite.file_len() * 4;
    let length = rewrite.file_len();
    let live = Live::of(&rewrite, how.horizon, &mut |at| progress(at, all))?;
    let members = rewrite.measure(&live, &mut |at| progress(length + at, all))?;
    let plan = plan(&rewrite, members, how)?;
    let damaged = plan.members.iter().any(|member| member.damaged);
    if damaged && !how.force {
        return Err(plan.refusal(path));
    }
    show(&plan);
    if !plan.needed {
        settled::note(rewrite.index(), how, &live)?;
        return Ok(Compacted::Skipped);
    }
    let dropped = plan.members.iter().any(|member| member.dropped > 0);
    let terms = WriteTerms {
        // Somebody may know how to read more of it.
        keep_previous: (how.keep_previous || damaged).then_some(how.now),
        horizon: how.horizon.filter(|_| dropped),
    };
    let written = rewrite.write(&live, &plan.members, &plan.chunks, &terms, &mut |at| {
        progress(2 * length + at, all);
    })?;
    Ok(Compacted::Done(written))
}

fn plan(rewrite: &Rewrite, members: Vec<Measured>, how: &Compact) -> Result<Plan> {
    let rows = rewrite.index().chunks()?;
    let id = |member: &Measured| {
        let row = rows.iter().find(|row| row.offset == member.start);
        row.map(|row| row.id)
    };
    let ids = members.iter().map(id).collect();
    let chunks = arrange(&members, how.sizes);
    let worth = |member: &&Measured| {
        let half_goes = member.dropped > 0 && member.kept() * 2 <= member.length;
        member.is_dead() || member.damaged || half_goes
    };
    let rearranged: usize = chunks.iter().map(|chunk| chunk.parts.len() - 1).sum();
    let parts: usize = chunks.iter().map(|chunk| chunk.parts.len()).sum();
    let live = members
        .iter()
        .filter(|member| !member.lines.is_empty())
        .count();
    let mut plan = Plan {
        work: members.iter().filter(worth).count() as u64,
        members,
        ids,
        chunks,
        needed: false,
    };
    plan.work += (rearranged + (parts - live)) as u64;
    plan.needed = how.force || plan.work >= how.threshold.max(1);
    Ok(plan)
}

#[cfg(test)]
mod tests;

//! Which partition a new backup goes to (spec: ondisk 1.6).
//!
//! [`decide`] is pure; [`choose`] asks the disks and decides. C asks them once per process, or after
//! every `partition_select_usage_reinit` choices, because its processes live for a connection. Ours
//! live for months, and new backups are rare: we ask each time.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::layout;
use crate::config::{PartitionSelect, SelectMode};

/// A partition and the space on its file system.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// NAME of `backuppartition-NAME`.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// `None` when the disk could not be asked.
    pub space: Option<Space>,
}

/// Space on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// KiB that we may use.
    pub free: u64,
    /// KiB altogether.
    pub total: u64,
    /// Partitions on one file system have the same number here.
    pub fsid: u64,
}

/// There is no partition to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("couldn't select partition (imapd.conf names no usable backuppartition-NAME)")]
pub struct NoPartition;

/// Chooses among the configured partitions. Their directories are created when missing.
pub fn choose(
    partitions: &[(String, PathBuf)],
    select: &PartitionSelect,
) -> Result<Candidate, NoPartition> {
    let mut candidates: Vec<Candidate> = partitions
        .iter()
        .filter(|(name, _)| !select.exclude.contains(name))
        .map(|(name, path)| Candidate {
            name: name.clone(),
            path: path.clone(),
            space: space(path),
        })
        .collect();
    let chosen = decide(&candidates, select, draw()).ok_or(NoPartition)?;
    Ok(candidates.swap_remove(chosen))
}

/// The index of the candidate to take, `None` when there is none. `draw` is a random number, at least
/// 0 and less than 1.
///
/// A candidate whose disk cannot be asked is taken only when none can. (C turns to `random` among
/// all, broken ones included.)
pub fn decide(candidates: &[Candidate], select: &PartitionSelect, draw: f64) -> Option<usize> {
    let asked: Vec<(usize, Space)> = candidates
        .iter()
        .enumerate()
        .filter_map(|(index, candidate)| Some((index, candidate.space?)))
        .collect();
    if asked.is_empty() {
        return pick(&vec![1.0; candidates.len()], draw);
    }
    let spaces: Vec<Space> = asked.iter().map(|(_, space)| *space).collect();
    let weights = weights(&spaces, select);
    let chosen = pick(&weights, draw)?;
    Some(asked[chosen].0)
}

/// How likely each is to be taken, in parts of the sum.
fn weights(spaces: &[Space], select: &PartitionSelect) -> Vec<f64> {
    let even = vec![1.0; spaces.len()];
    if select.mode == SelectMode::Random || !spaces.iter().all(Space::is_sane) {
        return even;
    }
    let percents: Vec<f64> = spaces.iter().map(Space::percent_free).collect();
    let floor = 100.0 - f64::from(select.soft_usage_limit);
    let none_below_limit = percents.iter().all(|percent| *percent <= floor);
    let eligible: Vec<bool> = percents
        .iter()
        .map(|percent| none_below_limit || *percent > floor)
        .collect();
    let weights = match select.mode {
        SelectMode::Random => even.clone(),
        SelectMode::FreespaceMost => most(spaces, &eligible, |space| space.free as f64),
        SelectMode::FreespacePercentMost => most(spaces, &eligible, Space::percent_free),
        SelectMode::FreespacePercentWeighted => masked(&percents, &eligible, |p| p),
        SelectMode::FreespacePercentWeightedDelta => {
            let least = percents.iter().copied().fold(f64::INFINITY, f64::min);
            masked(&percents, &eligible, |percent| percent - least + 0.5)
        }
    };
    if weights.iter().sum::<f64>() > 0.0 {
        weights
    } else {
        even
    }
}

/// All the weight on the first largest one; of partitions that share a file system only the first
/// counts.
fn most(spaces: &[Space], eligible: &[bool], measure: impl Fn(&Space) -> f64) -> Vec<f64> {
    let mut weights = vec![0.0; spaces.len()];
    let mut file_systems = HashSet::new();
    let mut best: Option<(usize, f64)> = None;
    for (index, space) in spaces.iter().enumerate() {
        if !file_systems.insert(space.fsid) || !eligible[index] {
            continue;
        }
        let value = measure(space);
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((index, value));
        }
    }
    if let Some((index, _)) = best {
        weights[index] = 1.0;
    }
    weights
}

fn masked(percents: &[f64], eligible: &[bool], weight: impl Fn(f64) -> f64) -> Vec<f64> {
    let pairs = percents.iter().zip(eligible);
    pairs
        .map(|(percent, eligible)| if *eligible { weight(*percent) } else { 0.0 })
        .collect()
}

/// The index at which the running sum of weights passes the drawn share of the whole.
fn pick(weights: &[f64], draw: f64) -> Option<usize> {
    let target = draw * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let passed = weights.iter().position(|weight| {
        sum += weight;
        sum > target
    });
    // Rounding may leave the sum a hair short of the target.
    passed.or_else(|| weights.iter().rposition(|weight| *weight > 0.0))
}

impl Space {
    fn is_sane(&self) -> bool {
        self.total > 0 && self.free <= self.total
    }

    fn percent_free(&self) -> f64 {
        100.0 * self.free as f64 / self.total as f64
    }
}

fn space(path: &Path) -> Option<Space> {
    layout::create_directories(path)
        .inspect_err(|error| tracing::error!("cannot create a backup partition: {error}"))
        .ok()?;
    let stat = statvfs(path)
        .inspect_err(|error| tracing::error!("statvfs({}): {}", path.display(), error.desc()))
        .ok()?;
    let kib = |blocks: u64| (u128::from(blocks) * u128::from(stat.fragment_size()) / 1024) as u64;
    Some(Space {
        free: kib(stat.blocks_available()),
        total: kib(stat.blocks()),
        fsid: stat.filesystem_id(),
    })
}

/// A random number in [0, 1), from the randomness that the standard library gives to hash maps.
fn draw() -> f64 {
    let random = RandomState::new().hash_one(0u8) >> 11;
    random as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn select(mode: SelectMode, soft_usage_limit: u32) -> PartitionSelect {
        PartitionSelect {
            mode,
            exclude: Vec::new(),
            usage_reinit: 0,
            soft_usage_limit,
        }
    }

    /// Candidates on file systems of their own, from `(free, total)`.
    fn candidates(spaces: &[(u64, u64)]) -> Vec<Candidate> {
        let with_fsid = spaces.iter().zip(1..);
        with_fsid
            .map(|(&(free, total), fsid)| Candidate {
                name: format!("p{fsid}"),
                path: format!("/p{fsid}").into(),
                space: Some(Space { free, total, fsid }),
            })
            .collect()
    }

    /// How many of 1000 evenly spread draws take each candidate.
    fn shares(candidates: &[Candidate], select: &PartitionSelect) -> Vec<usize> {
        let mut counts = vec![0; candidates.len()];
        for i in 0..1000 {
            let draw = f64::from(i) / 1000.0;
            counts[decide(candidates, select, draw).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_five_modes() {
        // 20 %, 50 %, 30 % free.
        let candidates = candidates(&[(200, 1000), (50, 100), (60, 200)]);
        for (mode, expected) in [
            (SelectMode::Random, [334, 333, 333]),
            (SelectMode::FreespaceMost, [1000, 0, 0]),
            (SelectMode::FreespacePercentMost, [0, 1000, 0]),
            (SelectMode::FreespacePercentWeighted, [200, 500, 300]),
            // 0.5 : 30.5 : 10.5
            (SelectMode::FreespacePercentWeightedDelta, [13, 735, 252]),
        ] {
            let shares = shares(&candidates, &select(mode, 0));
            let close = shares.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1);
            assert!(close, "{mode:?}: {shares:?}");
        }
    }

    #[test]
    fn the_soft_limit_spares_full_partitions_unless_all_are_full() {
        let candidates = candidates(&[(200, 1000), (50, 100), (60, 200)]);
        let most = SelectMode::FreespaceMost;
        assert_eq!(shares(&candidates, &select(most, 75)), [0, 0, 1000]);
        assert_eq!(shares(&candidates, &select(most, 50)), [1000, 0, 0]);
        let weighted = SelectMode::FreespacePercentWeighted;
        assert_eq!(shares(&candidates, &select(weighted, 80)), [0, 625, 375]);
        assert_eq!(shares(&candidates, &select(weighted, 81)), [200, 500, 300]);
    }

    #[test]
    fn partitions_on_one_file_system_count_once() {
        let mut candidates = candidates(&[(10, 100), (90, 100), (50, 100)]);
        candidates[1].space = Some(Space {
            free: 90,
            total: 100,
            fsid: 1,
        });
        let most = select(SelectMode::FreespaceMost, 0);
        assert_eq!(decide(&candidates, &most, 0.5), Some(2));
    }

    #[test]
    fn nonsense_values_mean_random() {
        let most = select(SelectMode::FreespaceMost, 0);
        for nonsense in [(1, 0), (9, 5)] {
            let shares = shares(&candidates(&[(10, 100), nonsense]), &most);
            assert_eq!(shares, [500, 500]);
        }
    }

    #[test]
    fn full_disks_share_alike() {
        let weighted = select(SelectMode::FreespacePercentWeighted, 0);
        let shares = shares(&candidates(&[(0, 100), (0, 100)]), &weighted);
        assert_eq!(shares, [500, 500]);
    }

    #[test]
    fn a_broken_disk_is_taken_only_when_all_are_broken() {
        let mut candidates = candidates(&[(99, 100), (1, 100)]);
        candidates[0].space = None;
        let random = select(SelectMode::Random, 0);
        assert_eq!(shares(&candidates, &random), [0, 1000]);
        candidates[1].space = None;
        assert_eq!(shares(&candidates, &random), [500, 500]);
        assert_eq!(decide(&[], &random, 0.0), None);
    }

    #[test]
    fn choosing_creates_directories_and_respects_exclusion() {
        let home = tempfile::tempdir().unwrap();
        let partitions: Vec<_> = ["a", "b"]
            .map(|name| (name.to_owned(), home.path().join(name).join("deep")))
            .to_vec();
        let mut select = select(SelectMode::FreespaceMost, 0);
        select.exclude = vec!["a".to_owned()];
        let chosen = choose(&partitions, &select).unwrap();
        assert_eq!(chosen.name, "b");
        assert!(chosen.path.is_dir() && !partitions[0].1.exists());
        assert!(chosen.space.is_some_and(|space| space.is_sane()));
        select.exclude.push("b".to_owned());
        assert_eq!(choose(&partitions, &select), Err(NoPartition));
    }

    proptest! {
        #[test]
        fn there_is_always_a_choice(
            spaces in prop::collection::vec((any::<u64>(), any::<u64>()), 1..6),
            limit: u32,
            draw in 0.0..1.0f64,
            mode in prop::sample::select(vec![
                SelectMode::Random,
                SelectMode::FreespaceMost,
                SelectMode::FreespacePercentMost,
                SelectMode::FreespacePercentWeighted,
                SelectMode::FreespacePercentWeightedDelta,
            ]),
        ) {
            let candidates = candidates(&spaces);
            let chosen = decide(&candidates, &select(mode, limit), draw);
            prop_assert!(chosen.is_some_and(|index| index < candidates.len()));
        }
    }
}

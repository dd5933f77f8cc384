//! Pulling the plug: after a kill or a power cut at any point, recovery finds the state before the
//! transaction or the one after it, and so does a recovery that was itself interrupted.

use std::cell::RefCell;
use std::io;

use proptest::prelude::*;

use super::header::{self, Header};
use super::level;
use super::media::{Image, Media};
use super::model_tests::{Change, apply, contents, some_change};
use super::recover;

const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// Memory that remembers how it came to be what it is.
struct Recorder {
    image: Image,
    steps: RefCell<Vec<Step>>,
}

impl Recorder {
    fn over(image: &Image) -> Recorder {
        Recorder {
            image: image.clone(),
            steps: RefCell::default(),
        }
    }
}

impl Media for Recorder {
    fn len(&self) -> io::Result<u64> {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.image.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.steps
            .borrow_mut()
            .push(Step::Write(offset, bytes.to_vec()));
        self.image.write_at(offset, bytes)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.steps.borrow_mut().push(Step::SetLen(length));
        self.image.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.steps.borrow_mut().push(Step::Sync);
        Ok(())
    }
}

fn redo(image: &Image, step: &Step) {
    match step {
        Step::Write(offset, bytes) => image.write_at(*offset, bytes).unwrap(),
        Step::SetLen(length) => image.set_len(*length).unwrap(),
        Step::Sync => {}
    }
}

/// A killed process: the first `count` steps happened.
fn killed_after(start: &Image, steps: &[Step], count: usize) -> Image {
    let image = start.clone();
    steps[..count].iter().for_each(|step| redo(&image, step));
    image
}

/// A power cut after `count` steps: what was synced is there; of each sector written since then the
/// disk has some version, and the length is one that the file had.
fn cut_after(
    start: &Image,
    steps: &[Step],
    count: usize,
    dice: &mut impl FnMut() -> usize,
) -> Image {
    let happened = &steps[..count];
    let synced = happened.iter().rposition(|step| matches!(step, Step::Sync));
    let synced = synced.map_or(0, |at| at + 1);
    let mut versions = vec![killed_after(start, steps, synced)];
    for step in &happened[synced..] {
        let next = versions[versions.len() - 1].clone();
        redo(&next, step);
        versions.push(next);
    }
    let length = versions[dice() % versions.len()].bytes().len();
    let mut disk = vec![0; length];
    for (number, sector) in disk.chunks_mut(SECTOR).enumerate() {
        let version = versions[dice() % versions.len()].bytes();
        let from = (number * SECTOR).min(version.len());
        let there = &version[from..(from + sector.len()).min(version.len())];
        sector[..there.len()].copy_from_slice(there);
    }
    Image::new(disk)
}

/// Recovers if that is needed; tells the steps that it took.
fn recovered(crashed: &Image) -> Recorder {
    let recorder = Recorder::over(crashed);
    let mut header = Header::read(&recorder).unwrap();
    if !header.is_clean(&recorder).unwrap() {
        recover::roll_back(&recorder, &mut header).unwrap();
    }
    recorder
}

/// Both kinds of crash at each point of a run.
fn crashes(start: &Image, steps: &[Step], dice: &mut impl FnMut() -> usize) -> Vec<Image> {
    let mut crashed = Vec::new();
    for count in 0..=steps.len() {
        crashed.push(killed_after(start, steps, count));
        crashed.extend((0..3).map(|_| cut_after(start, steps, count, dice)));
    }
    crashed
}

fn dice(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_crash_leaves_the_state_before_or_after(
        history in prop::collection::vec(prop::collection::vec(some_change(), 1..5), 0..6),
        last in prop::collection::vec(some_change(), 1..5),
        commits in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut dice = dice(seed);
        let start = Image::default();
        header::create(&start).unwrap();
        for changes in &history {
            commit(&start, changes);
        }
        let before = contents(&start);
        let recorder = Recorder::over(&start);
        let mut draw = level::random;
        let transaction = apply(&recorder, &last, &mut draw);
        if commits {
            transaction.commit().unwrap();
        } else {
            transaction.abort().unwrap();
        }
        let after = contents(&recorder.image);
        let steps = recorder.steps.into_inner();
        for crashed in crashes(&start, &steps, &mut dice) {
            let recovery = recovered(&crashed);
            let found = contents(&recovery.image);
            prop_assert!(found == before || found == after);
            let steps = recovery.steps.into_inner();
            let count = dice() % (steps.len() + 1);
            for again in [
                killed_after(&crashed, &steps, count),
                cut_after(&crashed, &steps, count, &mut dice),
            ] {
                prop_assert_eq!(&contents(&recovered(&again).image), &found);
            }
        }
        let whole = killed_after(&start, &steps, steps.len());
        prop_assert_eq!(contents(&whole), after);
    }
}

fn commit(image: &Image, changes: &[Change]) {
    let mut draw = level::random;
    apply(image, changes, &mut draw).commit().unwrap();
}

/// Memory where the n-th write fails, and all later ones until `heals` is set.
struct Faulty {
    image: Image,
    good_writes: RefCell<usize>,
}

impl Media for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.image.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.may_fail()?;
        self.image.write_at(offset, bytes)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.may_fail()?;
        self.image.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.may_fail()
    }
}

impl Faulty {
    fn may_fail(&self) -> io::Result<()> {
        let mut left = self.good_writes.borrow_mut();
        *left = left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(())
    }
}

#[test]
fn a_failing_disk_never_commits_half_a_transaction() {
    let start = Image::default();
    header::create(&start).unwrap();
    let store = |key: &[u8], value: &[u8]| Change::Store(key.to_vec(), value.to_vec());
    commit(&start, &[store(b"anne", b"/a"), store(b"carol", b"/c")]);
    let before = contents(&start);
    let mut outcomes = Vec::new();
    for good_writes in 0..40 {
        let disk = Faulty {
            image: start.clone(),
            good_writes: RefCell::new(good_writes),
        };
        let header = Header::read(&disk).unwrap();
        let mut draw = level::random;
        let path = std::path::Path::new("test");
        let mut transaction = super::Transaction::begin(path, &disk, header, &mut draw);
        // The errors are ignored on purpose: a commit after them must not go through.
        let _ = transaction.store(b"bob", b"/b");
        let _ = transaction.delete(b"carol");
        let committed = transaction.commit().is_ok();
        let found = contents(&recovered(&disk.image).image);
        if committed {
            assert_eq!(found.len(), 2, "after {good_writes} writes");
            assert!(found.contains_key(&b"bob"[..]));
        } else if found != before {
            // Only the last sync can fail so: the header says committed, the disk says nothing.
            assert!(found.contains_key(&b"bob"[..]) && !found.contains_key(&b"carol"[..]));
        }
        outcomes.push(committed);
    }
    assert!(!outcomes[0] && outcomes[39]);
    assert!(outcomes.is_sorted());
}

//! The database beside its slow obvious twin, a `BTreeMap`; and what damage may do to it.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::error::Fault;
use super::header::{self, Header};
use super::level;
use super::media::{Image, Media};
use super::transaction::Transaction;
use super::{chain, recover, salvage};

pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
pub(super) enum Change {
    Store(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

impl Change {
    fn key(&self) -> &[u8] {
        match self {
            Change::Store(key, _) | Change::Delete(key) => key,
        }
    }

    fn to_model(&self, model: &mut Model) {
        match self.clone() {
            Change::Store(key, value) => model.insert(key, value),
            Change::Delete(key) => model.remove(&key),
        };
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => prop::collection::vec(b'a'..b'e', 1..4),
        1 => prop::collection::vec(any::<u8>(), 1..900),
    ]
}

pub(super) fn some_change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..60),
        1 => prop::collection::vec(any::<u8>(), 0..2000),
    ];
    prop_oneof![
        2 => (key(), value).prop_map(|(key, value)| Change::Store(key, value)),
        1 => key().prop_map(Change::Delete),
    ]
}

/// Several transactions; `false` means that it is aborted.
fn history(most: usize) -> impl Strategy<Value = Vec<(Vec<Change>, bool)>> {
    let transaction = prop::collection::vec(some_change(), 0..6);
    prop::collection::vec((transaction, prop::bool::weighted(0.8)), 1..most)
}

/// Runs a transaction and leaves it open.
pub(super) fn apply<'a>(
    media: &'a dyn Media,
    changes: &[Change],
    draw: &'a mut dyn FnMut() -> u8,
) -> Transaction<'a> {
    let header = Header::read(media).unwrap();
    let mut transaction = Transaction::begin(Path::new("test"), media, header, draw);
    for change in changes {
        match change {
            Change::Store(key, value) => transaction.store(key, value).unwrap(),
            Change::Delete(key) => {
                let was_there = transaction.get(key).unwrap().is_some();
                assert_eq!(transaction.delete(key).unwrap(), was_there);
            }
        }
    }
    transaction
}

/// Everything in a clean, sound database.
pub(super) fn contents(media: &dyn Media) -> Model {
    let header = Header::read(media).unwrap();
    assert!(header.is_clean(media).unwrap());
    let view = header.view(media);
    chain::check(&view, header.num_records).unwrap();
    view.entries(&[]).unwrap().into_iter().collect()
}

fn run(history: &[(Vec<Change>, bool)]) -> (Image, Model) {
    let image = Image::default();
    header::create(&image).unwrap();
    let mut model = Model::new();
    for (changes, commits) in history {
        let mut draw = level::random;
        let transaction = apply(&image, changes, &mut draw);
        if *commits {
            transaction.commit().unwrap();
            changes
                .iter()
                .for_each(|change| change.to_model(&mut model));
        } else {
            transaction.abort().unwrap();
        }
        assert_eq!(contents(&image), model);
    }
    (image, model)
}

fn cut(image: &Image, length: u64) -> Image {
    Image::new(image.bytes()[..length as usize].to_vec())
}

/// What opening does to a file that is not clean.
fn repair(image: &Image) -> Result<Image, Fault> {
    let mut header = Header::read(image)?;
    match recover::roll_back(image, &mut header) {
        Ok(()) => Ok(image.clone()),
        Err(Fault::Damaged { .. }) => salvage::image(image, &header),
        Err(other) => Err(other),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn behaves_like_a_map(history in history(24), prefix in prop::collection::vec(b'a'..b'e', 0..3)) {
        let (image, model) = run(&history);
        let view_header = Header::read(&image).unwrap();
        let view = view_header.view(&image);
        let begins: Vec<_> = model
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        prop_assert_eq!(view.entries(&prefix).unwrap(), begins);
        for (changes, _) in &history {
            for change in changes {
                let found = view.find(change.key()).unwrap().value;
                prop_assert_eq!(found.as_ref(), model.get(change.key()));
            }
        }
    }

    #[test]
    fn a_transaction_cut_at_any_byte_is_undone(
        history in history(6),
        last in prop::collection::vec(some_change(), 1..4),
    ) {
        let (image, model) = run(&history);
        let committed = image.len().unwrap();
        let open = image.clone();
        let mut draw = level::random;
        apply(&open, &last, &mut draw);
        for length in committed..=open.len().unwrap() {
            let torn = cut(&open, length);
            let mut header = Header::read(&torn).unwrap();
            recover::roll_back(&torn, &mut header).unwrap();
            prop_assert_eq!(contents(&torn), model.clone(), "cut at {}", length);
        }
    }

    #[test]
    fn a_committed_file_cut_at_any_byte_keeps_all_that_stands_before(
        history in history(6),
        last in prop::collection::vec(some_change(), 1..4),
    ) {
        let (image, before) = run(&history);
        let committed = image.len().unwrap();
        let mut draw = level::random;
        apply(&image, &last, &mut draw).commit().unwrap();
        for length in committed..image.len().unwrap() {
            let found = match repair(&cut(&image, length)) {
                Ok(repaired) => contents(&repaired),
                Err(fault) => {
                    prop_assert!(before.is_empty(), "{fault}");
                    continue;
                }
            };
            let touched = |key: &[u8]| last.iter().any(|change| change.key() == key);
            for (key, value) in &before {
                prop_assert!(found.contains_key(key), "cut at {}", length);
                prop_assert!(found[key] == *value || touched(key));
            }
            prop_assert!(found.keys().all(|key| before.contains_key(key) || touched(key)));
        }
    }
}

fn small() -> (Image, Model) {
    let store = |key: &str, value: &str| Change::Store(key.into(), value.into());
    run(&[
        (
            vec![
                store("anne", "/a"),
                store("bob", "/b"),
                store("carol", "/c"),
            ],
            true,
        ),
        (vec![store("bob", "/b2"), store("dave", "/d")], true),
        (
            vec![Change::Delete("carol".into()), store("eve", "/e")],
            true,
        ),
    ])
}

#[test]
fn one_flipped_bit_never_gives_a_wrong_answer() {
    let (image, model) = small();
    let bits = image.len().unwrap() as usize * 8;
    for bit in 0..bits {
        let flipped = image.clone();
        flip(&flipped, bit);
        let Ok(header) = Header::read(&flipped) else {
            continue;
        };
        let view = header.view(&flipped);
        for key in ["anne", "bob", "carol", "dave", "eve", "ab", "bz", "zoe"] {
            if let Ok(place) = view.find(key.as_bytes()) {
                assert_eq!(
                    place.value.as_ref(),
                    model.get(key.as_bytes()),
                    "{key}, bit {bit}"
                );
            }
        }
        if let Ok(entries) = view.entries(&[]) {
            assert!(entries.into_iter().eq(model.clone()), "bit {bit}");
        }
    }
}

#[test]
fn salvage_loses_nothing_but_the_damaged_record() {
    let (image, model) = small();
    for bit in 64 * 8..image.len().unwrap() as usize * 8 {
        let flipped = image.clone();
        flip(&flipped, bit);
        let header = Header::read(&flipped).unwrap();
        let found = contents(&salvage::image(&flipped, &header).unwrap());
        let wrong = model
            .iter()
            .filter(|(key, value)| found.get(*key) != Some(*value));
        assert!(wrong.count() <= 1, "bit {bit}: {found:?}");
        assert!(found.values().all(|value| value.len() <= 3), "bit {bit}");
    }
    let header = Header::read(&image).unwrap();
    let sound = salvage::image(&image, &header).unwrap();
    assert_eq!(contents(&sound), model);
    assert_eq!(Header::read(&sound).unwrap().generation, 2);
}

fn flip(image: &Image, bit: usize) {
    let mut byte = [0];
    image.read_at(bit as u64 / 8, &mut byte).unwrap();
    byte[0] ^= 1 << (bit % 8);
    image.write_at(bit as u64 / 8, &byte).unwrap();
}

/// Overwrites bytes and then mends the checksums, as a hostile writer would.
fn forge(image: &Image, wounds: &[(prop::sample::Index, u8)]) {
    let limit = image.len().unwrap();
    for (place, byte) in wounds {
        let at = place.index(limit as usize) as u64;
        image.write_at(at, &[*byte]).unwrap();
        for start in (64..limit).step_by(8) {
            mend_head(image, start, at);
        }
    }
    let mut start = [0; 60];
    image.read_at(0, &mut start).unwrap();
    let checksum = crc32fast::hash(&start).to_be_bytes();
    image.write_at(60, &checksum).unwrap();
}

/// When a head with short lengths begins at `start` and covers `wound`, its checksum is renewed.
fn mend_head(image: &Image, start: u64, wound: u64) {
    let bytes = image.bytes().to_vec();
    let head = &bytes[start as usize..];
    if head.len() < 24 || !b"=+-$".contains(&head[0]) || head[1] > 31 {
        return;
    }
    let covered = 8 + (usize::from(head[1]) + 1) * 8;
    if !(start..start + covered as u64).contains(&wound) || head.len() < covered + 8 {
        return;
    }
    let checksum = crc32fast::hash(&head[..covered]).to_be_bytes();
    image.write_at(start + covered as u64, &checksum).unwrap();
}

fn exercise(image: &Image) {
    let Ok(header) = Header::read(image) else {
        return;
    };
    if header.is_clean(image).unwrap() {
        let view = header.view(image);
        for key in [&b"a"[..], b"bb", b"cab", b"zzz", &[0xff; 40]] {
            let _ = view.find(key);
        }
        let _ = view.entries(&[]);
        let _ = chain::check(&view, header.num_records);
        let written = image.clone();
        let mut draw = level::random;
        let mut transaction =
            Transaction::begin(Path::new("test"), &written, header.clone(), &mut draw);
        for key in [&b"b"[..], b"ca", b"d"] {
            let _ = transaction.store(key, b"value");
            let _ = transaction.delete(b"bb");
        }
        let _ = transaction.commit();
    }
    let _ = repair(image);
    let _ = salvage::image(image, &header);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn hostile_files_neither_panic_nor_hang(
        history in history(8),
        wounds in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        forged in any::<bool>(),
    ) {
        let (image, _) = run(&history);
        if forged {
            forge(&image, &wounds);
        } else {
            for (place, byte) in &wounds {
                let at = place.index(image.len().unwrap() as usize) as u64;
                image.write_at(at, &[*byte]).unwrap();
            }
        }
        exercise(&image);
    }

    #[test]
    fn random_bytes_neither_panic_nor_hang(tail in prop::collection::vec(any::<u8>(), 0..900)) {
        let image = Image::default();
        header::create(&image).unwrap();
        let length = image.len().unwrap() + tail.len() as u64 / 8 * 8;
        image.write_at(0x150, &tail[..tail.len() / 8 * 8]).unwrap();
        image.write_at(48, &length.to_be_bytes()).unwrap();
        forge(&image, &[]);
        exercise(&image);
    }
}

//! Files that C wrote, read and written again byte for byte (spec: ondisk 3.10).

use std::path::{Path, PathBuf};

use super::chain;
use super::header::{self, Header};
use super::media::{Image, Media};
use super::rebuild;
use super::record::{BLANK, FIRST_RECORD, Kind, Record};
use super::recover;
use super::transaction::Transaction;

fn vector(name: &str) -> Image {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "testdata", "twoskip"]
        .iter()
        .collect();
    Image::new(std::fs::read(folder.join(name)).unwrap())
}

fn contents(image: &Image) -> Vec<(String, String)> {
    let header = Header::read(image).unwrap();
    assert!(header.is_clean(image).unwrap());
    chain::check(&header.view(image), header.num_records).unwrap();
    let entries = header.view(image).entries(&[]).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    entries
        .into_iter()
        .map(|(k, v)| (text(k), text(v)))
        .collect()
}

/// Runs one transaction whose records get these levels.
fn change(image: &Image, levels: &[u8], change: impl FnOnce(&mut Transaction<'_>)) -> Image {
    let image = image.clone();
    let header = Header::read(&image).unwrap();
    let mut levels = levels.iter();
    let mut draw = || *levels.next().unwrap();
    let mut transaction = Transaction::begin(Path::new("test"), &image, header, &mut draw);
    change(&mut transaction);
    transaction.commit().unwrap();
    assert_eq!(levels.len(), 0);
    image
}

fn assert_same(ours: &Image, name: &str) {
    let theirs = vector(name);
    let (ours, theirs) = (ours.bytes(), theirs.bytes());
    let differs = std::iter::zip(&*ours, &*theirs).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{name}: first different byte");
    assert_eq!(ours.len(), theirs.len(), "{name}");
}

#[test]
fn reads_what_c_wrote() {
    let (anne, new_anne) = (("anne", "/x/a/anne_abcdef"), ("anne", "/x/a/anne_ZZZZZZ"));
    let (bob, carol) = (("bob", "/x/b/bob_abcdef"), ("carol", "/x/c/carol_000000"));
    let (dave, eve) = (("dave", "/x/d/dave_111111"), ("eve", "/x/e/eve_222222"));
    let vectors: [(&str, &[(&str, &str)]); 10] = [
        ("00-empty.db", &[]),
        ("01-set-anne.db", &[anne]),
        ("02-set-bob.db", &[anne, bob]),
        ("03-replace-anne.db", &[new_anne, bob]),
        ("04-delete-bob.db", &[new_anne]),
        ("05-set-carol.db", &[new_anne, carol]),
        ("06-repacked.db", &[new_anne, carol]),
        ("08-recovered.db", &[anne, bob]),
        ("09-aborted.db", &[anne, bob]),
        ("10-multi-commit.db", &[bob, dave, eve]),
    ];
    for (name, expected) in vectors {
        let found = contents(&vector(name));
        let found: Vec<_> = found.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(contents(&vector("11-blanks-longval.db")).len(), 41);
}

#[test]
fn writes_what_c_writes() {
    let empty = Image::default();
    header::create(&empty).unwrap();
    assert_same(&empty, "00-empty.db");
    let anne = change(&empty, &[3], |t| {
        t.store(b"anne", b"/x/a/anne_abcdef").unwrap()
    });
    assert_same(&anne, "01-set-anne.db");
    let both = change(&anne, &[1], |t| {
        t.store(b"bob", b"/x/b/bob_abcdef").unwrap()
    });
    assert_same(&both, "02-set-bob.db");
    let replaced = change(&both, &[1], |t| {
        t.store(b"anne", b"/x/a/anne_ZZZZZZ").unwrap()
    });
    assert_same(&replaced, "03-replace-anne.db");
    let deleted = change(&replaced, &[], |t| assert!(t.delete(b"bob").unwrap()));
    assert_same(&deleted, "04-delete-bob.db");
    let carol = change(&deleted, &[2], |t| {
        t.store(b"carol", b"/x/c/carol_000000").unwrap()
    });
    assert_same(&carol, "05-set-carol.db");
    let several = change(&both, &[4, 1], |t| {
        t.store(b"dave", b"/x/d/dave_111111").unwrap();
        t.store(b"eve", b"/x/e/eve_222222").unwrap();
        assert!(t.delete(b"anne").unwrap());
    });
    assert_same(&several, "10-multi-commit.db");
}

#[test]
fn repacks_as_c_does() {
    let old = vector("05-set-carol.db");
    let header = Header::read(&old).unwrap();
    let packed = rebuild::repacked(&old, &header, &mut || 1).unwrap();
    assert_same(&packed, "06-repacked.db");
}

#[test]
fn a_file_with_blanks_and_a_long_value_comes_out_the_same() {
    let theirs = vector("11-blanks-longval.db");
    let header = Header::read(&theirs).unwrap();
    let mut levels = levels_in_file_order(&theirs).into_iter();
    let entries = header.view(&theirs).entries(&[]).unwrap();
    let mut draw = || levels.next().unwrap();
    let ours = rebuild::image(entries, header.generation, &mut draw).unwrap();
    assert_same(&ours, "11-blanks-longval.db");
}

fn levels_in_file_order(image: &Image) -> Vec<u8> {
    let limit = image.len().unwrap();
    let mut levels = Vec::new();
    let (mut offset, mut blanks) = (FIRST_RECORD, 0);
    while offset < limit {
        if image.bytes()[offset as usize..].starts_with(&BLANK) {
            (offset, blanks) = (offset + 8, blanks + 1);
            continue;
        }
        let record = Record::read(image, offset, limit).unwrap();
        if record.kind == Kind::Record {
            levels.push(record.level);
        }
        offset = record.end();
    }
    assert!(blanks > 0);
    levels
}

#[test]
fn a_crash_and_an_abort_leave_what_c_leaves() {
    let crashed = vector("07-dirty-crash.db");
    let mut header = Header::read(&crashed).unwrap();
    assert!(!header.is_clean(&crashed).unwrap());
    recover::roll_back(&crashed, &mut header).unwrap();
    assert_same(&crashed, "08-recovered.db");

    let aborted = vector("02-set-bob.db");
    let header = Header::read(&aborted).unwrap();
    let mut draw = || 5;
    let mut transaction = Transaction::begin(Path::new("test"), &aborted, header, &mut draw);
    transaction.store(b"abel", b"/x/a/abel").unwrap();
    transaction.delete(b"anne").unwrap();
    transaction.abort().unwrap();
    assert_same(&aborted, "09-aborted.db");
}

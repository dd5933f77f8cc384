//! Where a backup lives: `<partition>/<hash>/<key>_XXXXXX`, and the files beside it (spec: ondisk
//! 2.6, 2.7, 4.6). Left out: which partition (`partition`), who knows the path later (`catalog`).
//!
//! A file name is the key with some bytes escaped as `%XX` (upper-case hex), so that no key, whoever
//! invented it, leaves its directory, and different keys have different names:
//!
//! * `/`, control bytes, a leading `.`;
//! * `%` where it would look like an escape: before two upper-case hex digits, or before `~`.
//!
//! A name of more than 200 bytes is cut and ends with `%~` and the SHA-1 of the key. All other keys,
//! `%SHARED` among them, give exactly C's names.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::types::{BackupKey, Guid};

/// Longest escaped key in bytes. With `_XXXXXX` and suffixes like `.index.new-journal` it stays far
/// below the 255 bytes that file systems allow.
const MAX_NAME: usize = 200;

/// In front of the SHA-1 in a name that was cut.
const CUT: &str = "%~";

/// Random characters at the end of a data file's name.
const SUFFIX: usize = 6;

/// The directory of a key: one character below the partition. `full` is the option `fulldirhash`.
pub fn directory_hash(key: &BackupKey, full: bool) -> char {
    let bytes = key.as_str().as_bytes();
    if full {
        full_hash(bytes)
    } else {
        match bytes.first() {
            Some(letter) if letter.is_ascii_alphabetic() => letter.to_ascii_lowercase().into(),
            _ => 'q',
        }
    }
}

/// The key as part of a file name: one path component, never `.`, `..` or hidden.
pub fn escape(key: &BackupKey) -> String {
    let mut name = String::with_capacity(key.as_str().len());
    let mut rest = key.as_str();
    while let Some(c) = rest.chars().next() {
        if needs_escape(c, rest, name.is_empty()) {
            name.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            name.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    if name.len() > MAX_NAME {
        cut(&mut name, key);
    }
    name
}

/// The key that a data file's name tells; `None` when the name was cut, or is no data file's.
/// C escapes nothing, so for its files the answer is a guess when the key has a `%`.
pub fn key_of(file_name: &str) -> Option<BackupKey> {
    let name = name_part(file_name).filter(|name| !name.contains(CUT))?;
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match escaped_byte(rest) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &rest[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    BackupKey::from_userid(&String::from_utf8(bytes).ok()?).ok()
}

/// The file is called as data files are.
pub fn is_data_name(file_name: &str) -> bool {
    name_part(file_name).is_some()
}

/// What stands before `_XXXXXX`.
fn name_part(file_name: &str) -> Option<&str> {
    let (name, suffix) = file_name.rsplit_once('_')?;
    let is_suffix = suffix.len() == SUFFIX && suffix.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_suffix && !name.is_empty()).then_some(name)
}

/// Creates an empty data file for a new backup, mode 0600, under a name nobody has used; file and
/// directories are on stable storage when it returns. Missing directories are created.
///
/// Errors are those of the system, with the path.
pub fn create_data_file(
    partition: &Path,
    key: &BackupKey,
    full_hash: bool,
) -> io::Result<(File, PathBuf)> {
    let directory = partition.join(directory_hash(key, full_hash).to_string());
    create_directories(&directory)?;
    let (file, path) = tempfile::Builder::new()
        .prefix(&format!("{}_", escape(key)))
        .rand_bytes(SUFFIX)
        .tempfile_in(&directory)?
        .keep()
        .map_err(|error| error.error)?;
    file.sync_all()?;
    sync_directory(&directory)?;
    Ok((file, path))
}

/// Creates a directory and those above it, mode 0755 less the umask, each on stable storage.
pub fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if path != parent {
        create_directories(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(path) {
        // Another process was faster; it may not have synced yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(at(path, &error)),
        Ok(()) => {}
    }
    sync_directory(parent)
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| at(path, &error))
}

/// There is no file at all, or an empty one, as a full disk leaves it.
pub fn is_nothing(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |meta| meta.len() == 0)
}

/// `X.index`: the SQLite index.
pub fn index(data: &Path) -> PathBuf {
    beside(data, ".index")
}

/// `X.index-journal`: SQLite's rollback journal.
pub fn index_journal(data: &Path) -> PathBuf {
    beside(data, ".index-journal")
}

/// `X.seek`: where inflating can start in chunks that say it nowhere; a cache.
pub fn seek(data: &Path) -> PathBuf {
    beside(data, ".seek")
}

/// `X.new`: a data file that compact is writing.
pub fn new_data(data: &Path) -> PathBuf {
    beside(data, ".new")
}

/// `X.index.new`: the index of [`new_data`].
pub fn new_index(data: &Path) -> PathBuf {
    beside(data, ".index.new")
}

/// `X.<epoch>`: the data file as it was before a compact at that unix time.
pub fn previous_data(data: &Path, epoch: i64) -> PathBuf {
    beside(data, &format!(".{epoch}"))
}

/// `X.index.<epoch>`: the index as it was before a compact or reindex at that unix time.
pub fn previous_index(data: &Path, epoch: i64) -> PathBuf {
    beside(data, &format!(".index.{epoch}"))
}

/// `X.hold`: nothing of this backup may go.
pub fn hold(data: &Path) -> PathBuf {
    beside(data, ".hold")
}

/// `X.deleted`: the user was deleted; the backup goes when the retention is over.
pub fn deleted(data: &Path) -> PathBuf {
    beside(data, ".deleted")
}

fn beside(data: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(data);
    name.push(suffix);
    name.into()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Over the bytes up to the first `.`, so that `a.b` and `a.c` share a directory.
fn full_hash(bytes: &[u8]) -> char {
    let until_dot = bytes.iter().take_while(|&&byte| byte != b'.');
    let hash = until_dot.fold(0u32, |n, &byte| ((n << 3) ^ (n >> 5)) ^ u32::from(byte));
    char::from(b'A' + (hash % 23) as u8)
}

fn needs_escape(c: char, rest: &str, first: bool) -> bool {
    match c {
        '/' => true,
        '.' => first,
        '%' => rest.starts_with(CUT) || escaped_byte(rest.as_bytes()).is_some(),
        c => c.is_ascii_control(),
    }
}

/// The byte that `%XX` at the start of this text stands for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

fn cut(name: &mut String, key: &BackupKey) {
    let mark = format!("{CUT}{}", Guid::of(key.as_str().as_bytes()));
    let mut end = MAX_NAME - mark.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name.push_str(&mark);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn key(userid: &str) -> BackupKey {
        BackupKey::from_userid(userid).unwrap()
    }

    #[test]
    fn directories_as_c_chooses_them() {
        for (userid, basic, full) in [
            ("anne", 'a', 'F'),
            ("bethany", 'b', 'U'),
            ("carol", 'c', 'B'),
            ("a.b", 'a', 'F'),
            ("dave@example.com", 'd', 'G'),
            ("upcase", 'u', 'L'),
            ("9num", 'q', 'D'),
            ("%SHARED", 'q', 'J'),
            ("longusernamewithmanychars", 'l', 'S'),
            ("x", 'x', 'F'),
            ("UpCase", 'u', 'U'),
            ("éric", 'q', 'C'),
        ] {
            assert_eq!(directory_hash(&key(userid), false), basic, "{userid}");
            assert_eq!(directory_hash(&key(userid), true), full, "{userid}");
        }
    }

    #[test]
    fn ordinary_keys_are_their_own_names() {
        for userid in [
            "anne",
            "a.b",
            "dave@example.com",
            "dave%example.com",
            "dave%be.org",
            "%SHARED",
            "éric",
            "x y",
            "a_b-c+d",
            "100%",
        ] {
            assert_eq!(escape(&key(userid)), userid);
        }
    }

    #[test]
    fn dangerous_keys_are_escaped() {
        for (userid, name) in [
            ("c.d@x.org/Sub f", "c.d@x.org%2FSub f"),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            (".hidden", "%2Ehidden"),
            (".", "%2E"),
            ("%2Fx", "%252Fx"),
            ("%%41", "%%2541"),
            ("%~x", "%25~x"),
        ] {
            assert_eq!(escape(&key(userid)), name);
        }
    }

    #[test]
    fn over_long_keys_are_cut_and_stay_different() {
        let name = |end: &str| escape(&key(&format!("{}{end}", "é".repeat(200))));
        assert!(name("a").len() <= MAX_NAME);
        assert!(name("a").starts_with("éé"));
        assert_ne!(name("a"), name("b"));
        let cut = name("a");
        assert_ne!(escape(&key(&cut)), cut, "a key that looks like a cut name");
        assert_eq!(key_of(&format!("{cut}_abcDEF")), None);
    }

    #[test]
    fn keys_of_file_names() {
        assert_eq!(key_of("anne_x1Y2z3"), Some(key("anne")));
        assert_eq!(key_of("a_b_x1Y2z3"), Some(key("a_b")));
        assert_eq!(key_of("%SHARED_x1Y2z3"), Some(BackupKey::shared()));
        for other in [
            "anne",
            "anne_x1Y2z3.index",
            "anne_x1Y2z3.new",
            "_x1Y2z3",
            "a_x1",
            "%00_x1Y2z3",
            "%FF_x1Y2z3",
        ] {
            assert_eq!(key_of(other), None, "{other}");
        }
    }

    #[test]
    fn data_files_are_created_privately_and_never_twice() {
        let home = tempfile::tempdir().unwrap();
        let partition = home.path().join("not/yet");
        let (_, first) = create_data_file(&partition, &key("x"), false).unwrap();
        let (file, path) = create_data_file(&partition, &key("Anne/a"), false).unwrap();
        let (_, again) = create_data_file(&partition, &key("Anne/a"), false).unwrap();
        assert_ne!(path, again);
        assert_eq!(first.parent(), Some(partition.join("x").as_path()));
        assert_eq!(path.parent(), Some(partition.join("a").as_path()));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("Anne%2Fa_"), "{name}");
        assert_eq!(key_of(name), Some(key("Anne/a")));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn errors_name_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = create_data_file(&file, &key("anne"), false).unwrap_err();
        assert!(error.to_string().contains("/file"), "{error}");
    }

    #[test]
    fn files_beside_the_data_file() {
        let data = Path::new("/p/a/anne_abcdef");
        for (path, expected) in [
            (index(data), "/p/a/anne_abcdef.index"),
            (index_journal(data), "/p/a/anne_abcdef.index-journal"),
            (new_data(data), "/p/a/anne_abcdef.new"),
            (new_index(data), "/p/a/anne_abcdef.index.new"),
            (previous_data(data, 9), "/p/a/anne_abcdef.9"),
            (previous_index(data, 9), "/p/a/anne_abcdef.index.9"),
        ] {
            assert_eq!(path, Path::new(expected));
        }
    }

    proptest! {
        #[test]
        fn the_hash_stays_in_its_alphabet(userid in "\\PC{1,40}") {
            prop_assume!(BackupKey::from_userid(&userid).is_ok());
            let key = key(&userid);
            prop_assert!(directory_hash(&key, false).is_ascii_lowercase());
            prop_assert!(('A'..='W').contains(&directory_hash(&key, true)));
        }

        #[test]
        fn names_are_single_components_that_tell_the_key(userid in "[%/.~A-F0-9é]{1,60}|\\PC{1,60}") {
            prop_assume!(BackupKey::from_userid(&userid).is_ok());
            let key = key(&userid);
            let name = escape(&key);
            prop_assert!(!name.contains('/') && !name.starts_with('.'));
            prop_assert!(!name.chars().any(|c| c.is_ascii_control()));
            prop_assert!(name.len() <= MAX_NAME);
            if !name.contains(CUT) {
                prop_assert_eq!(key_of(&format!("{name}_aB3dE6")), Some(key));
            }
        }
    }
}

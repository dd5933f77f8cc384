//! The files of one backup: the data file X and what stands beside it under its name. Moving and
//! deleting them so that a crash leaves one complete backup, and nothing that only looks like one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::error::{Result, StoreError};
use super::layout;

/// Left by a program that did not finish, or a cache that only its reader can make; not taken along.
const LEFT_BEHIND: [&str; 3] = [".new", ".index.new", ".seek"];

/// What stands behind the data file's name in the names of the files beside it, sorted; without
/// the data file.
pub(super) fn suffixes(data: &Path) -> io::Result<Vec<OsString>> {
    let (Some(directory), Some(name)) = (data.parent(), data.file_name()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let other = entry?.file_name();
        let suffix = other.as_bytes().strip_prefix(name.as_bytes());
        if let Some(suffix) = suffix.map(OsStr::from_bytes)
            && is_suffix(suffix)
        {
            found.push(suffix.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// `.index`, `.index-journal`, `.new`, `.index.new`, `.<epoch>`, `.index.<epoch>`, our marks, `.seek`.
pub(super) fn is_suffix(suffix: &OsStr) -> bool {
    let Some(text) = suffix.to_str() else {
        return false;
    };
    let names = [
        ".index",
        ".index-journal",
        ".new",
        ".index.new",
        ".hold",
        ".deleted",
        ".seek",
    ];
    names.contains(&text) || is_epoch(suffix)
}

/// `.<epoch>` or `.index.<epoch>`: an earlier version.
pub(super) fn is_epoch(suffix: &OsStr) -> bool {
    let text = suffix.to_str().unwrap_or_default();
    let rest = text.strip_prefix(".index").unwrap_or(text);
    let digits = rest.strip_prefix('.').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// How the files get to their new place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Copied, synced and compared: to any file system.
    Copy,
    /// Hard links: at once, on one file system.
    Link,
}

/// Puts all files of `old`, which its caller has locked, beside `new`, an empty data file that
/// [`layout::create_data_file`] has made, and the data file itself in its place last. When this
/// returns both are complete and on stable storage; when it fails nothing is left of `new`.
pub(super) fn bring(old: &Path, new: &Path, by: By) -> Result<()> {
    let brought = bring_all(old, new, by);
    if brought.is_err() {
        // What cannot be taken away is empty, or ends in .new.
        let _ = remove(new);
    }
    brought
}

fn bring_all(old: &Path, new: &Path, by: By) -> Result<()> {
    for suffix in suffixes(old).map_err(StoreError::io(old))? {
        if LEFT_BEHIND.iter().any(|left| suffix == *left) {
            continue;
        }
        one(&with(old, &suffix), &with(new, &suffix), by)?;
    }
    let unfinished = layout::new_data(new);
    one(old, &unfinished, by)?;
    fs::rename(&unfinished, new).map_err(StoreError::io(new))?;
    let directory = new.parent().unwrap_or(Path::new("."));
    layout::sync_directory(directory).map_err(StoreError::io(directory))
}

fn one(from: &Path, to: &Path, by: By) -> Result<()> {
    match by {
        By::Link => fs::hard_link(from, to).map_err(StoreError::io(to)),
        By::Copy => copy(from, to),
    }
}

/// Copies, syncs, reads both again and compares.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(StoreError::io(from))?;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut target = options.open(to).map_err(StoreError::io(to))?;
    let written = io::copy(&mut source, &mut target).and_then(|_| target.sync_all());
    written.map_err(StoreError::io(to))?;
    let sums = (sum(from)?, sum(to)?);
    if sums.0 != sums.1 {
        let source = io::Error::other("what was copied does not read back as it was");
        return Err(StoreError::Io {
            path: to.to_owned(),
            source,
        });
    }
    Ok(())
}

/// SHA-1 of a file.
pub(super) fn sum(path: &Path) -> Result<[u8; 20]> {
    let mut file = File::open(path).map_err(StoreError::io(path))?;
    let mut sha1 = Sha1::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).map_err(StoreError::io(path))? {
            0 => return Ok(sha1.finalize().into()),
            count => sha1.update(&buffer[..count]),
        }
    }
}

/// Removes all files of a backup, the data file last, so that whoever finds one finds all there is
/// to remove. What is gone already is no error.
pub(super) fn remove(data: &Path) -> Result<()> {
    let gone = |path: &Path| match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path)(e)),
        _ => Ok(()),
    };
    let directory = data.parent().unwrap_or(Path::new("."));
    match suffixes(data) {
        Ok(suffixes) => suffixes.iter().try_for_each(|s| gone(&with(data, s)))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StoreError::io(directory)(e)),
    }
    gone(data)?;
    layout::sync_directory(directory).map_err(StoreError::io(directory))
}

pub(super) fn with(data: &Path, suffix: &OsStr) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatives_are_known_by_their_suffix() {
        for (suffix, is) in [
            (".index", true),
            (".index-journal", true),
            (".new", true),
            (".index.new", true),
            (".1795459116", true),
            (".index.1795459116", true),
            (".hold", true),
            (".deleted", true),
            (".seek", true),
            ("", false),
            (".", false),
            (".index.", false),
            (".bak", false),
            (".17x", false),
            ("x", false),
        ] {
            assert_eq!(is_suffix(OsStr::new(suffix)), is, "{suffix:?}");
        }
    }

    #[test]
    fn a_family_moves_together_and_goes_together() {
        for by in [By::Copy, By::Link] {
            let dir = tempfile::tempdir().unwrap();
            let (old, new) = (dir.path().join("a_aaaaaa"), dir.path().join("b_bbbbbb"));
            for suffix in ["", ".index", ".hold", ".17", ".new", ".seek"] {
                fs::write(with(&old, OsStr::new(suffix)), suffix).unwrap();
            }
            fs::write(dir.path().join("a_aaaaaab"), "somebody else").unwrap();
            fs::write(&new, "").unwrap();
            bring(&old, &new, by).unwrap();
            let names: Vec<_> = suffixes(&new).unwrap();
            assert_eq!(names, [".17", ".hold", ".index"]);
            assert_eq!(
                fs::read(with(&new, OsStr::new(".index"))).unwrap(),
                b".index"
            );
            remove(&old).unwrap();
            remove(&old).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
            // Somebody's file is in the way: nothing is left behind.
            fs::write(&old, "").unwrap();
            fs::write(with(&old, OsStr::new(".new")), "").unwrap();
            assert!(bring(&new, &old, by).is_err());
            assert!(!old.exists());
        }
    }
}

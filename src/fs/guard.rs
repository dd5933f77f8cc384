//! Where a mount must not go: over another mount of ours, and over, in or around the store, because
//! a daemon that looks for its files in its own mount waits for itself. Pure; the mount table comes
//! in as text.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// File system type of our mounts.
pub const FS_TYPE: &str = "fuse.cyrusbackup";

/// A directory of the store, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDir {
    /// As in imapd.conf: `backup partition "default"`.
    pub what: String,
    /// Its canonical path, and `exact` if the mount may be in it (the directory of a single file).
    pub path: PathBuf,
    /// Only the place itself and what is above it are forbidden, not what is in it.
    pub exact: bool,
}

/// Why a directory is no place for this mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Something of ours is mounted there.
    #[error("{} is a mount of cyrusbackup already (-o nonempty mounts over it)", dir.display())]
    Mounted {
        /// The directory.
        dir: PathBuf,
    },
    /// The mount would cover or sit in the store.
    #[error("refusing to mount on {}: it overlaps the {what} {}", dir.display(), path.display())]
    Store {
        /// The directory to mount on.
        dir: PathBuf,
        /// Which part of the store.
        what: String,
        /// Its path.
        path: PathBuf,
    },
}

/// Checks that `dir` neither covers nor lies in a directory of the store. All paths are canonical.
pub fn check_store(dir: &Path, store: &[StoreDir]) -> Result<(), GuardError> {
    for StoreDir { what, path, exact } in store {
        let inside = !exact && dir.starts_with(path);
        if path.starts_with(dir) || inside {
            return Err(GuardError::Store {
                dir: dir.to_owned(),
                what: what.clone(),
                path: path.clone(),
            });
        }
    }
    Ok(())
}

/// What is mounted at a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system: no two that live at one time share it.
    pub device: String,
    /// Type, with subtype.
    pub fs_type: String,
}

impl Mount {
    /// Whether it is a mount of this program.
    pub fn is_ours(&self) -> bool {
        self.fs_type == FS_TYPE
    }
}

/// What one enters at `dir`, if something is mounted exactly there: the last line for it in
/// `mountinfo`, the text of `/proc/self/mountinfo`.
pub fn mounted(mountinfo: &[u8], dir: &Path) -> Option<Mount> {
    let lines = mountinfo.split(|byte| *byte == b'\n').rev();
    let mut mounts = lines.filter_map(parse_line);
    let found = mounts.find(|(point, _)| point == dir);
    found.map(|(_, mount)| mount)
}

/// `36 35 98:0 /root /mount/point opts [tags…] - type source super`: see proc(5).
fn parse_line(line: &[u8]) -> Option<(PathBuf, Mount)> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let point = OsString::from_vec(unescape(fields.nth(1)?));
    let mut fields = fields.skip_while(|field| *field != b"-");
    let fs_type = text(fields.nth(1)?);
    Some((point.into(), Mount { device, fs_type }))
}

/// `\040` for a space, and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *byte == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                out.push(escaped);
                rest = &after[3..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

/// An option value for fusermount3, whose list is split at commas.
pub fn escape_option(value: &std::ffi::OsStr) -> OsString {
    let mut out = Vec::with_capacity(value.len());
    for byte in value.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNTINFO: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
40 22 0:44 / /mnt/a\\040b ro,nosuid shared:7 - fuse.cyrusbackup anne ro,user_id=0\n\
41 22 0:45 / /mnt/auto rw,relatime - autofs systemd-1 rw\n\
42 41 0:46 / /mnt/auto ro - fuse.cyrusbackup bob ro\n\
43 22 0:47 / /mnt/over ro - fuse.cyrusbackup bob ro\n\
44 43 0:48 / /mnt/over rw - tmpfs none rw\n";

    #[test]
    fn the_topmost_mount_counts() {
        let at = |dir: &str| mounted(MOUNTINFO, Path::new(dir));
        let mount = |device: &str, fs_type: &str| {
            let (device, fs_type) = (device.to_owned(), fs_type.to_owned());
            Some(Mount { device, fs_type })
        };
        assert_eq!(at("/mnt/a b"), mount("0:44", FS_TYPE));
        assert_eq!(at("/mnt/auto"), mount("0:46", FS_TYPE));
        assert_eq!(at("/mnt/over"), mount("0:48", "tmpfs"));
        assert_eq!(at("/mnt"), None);
    }

    #[test]
    fn the_store_is_left_alone() {
        let partition = |path: &str, exact| StoreDir {
            what: "backup partition".to_owned(),
            path: path.into(),
            exact,
        };
        let store = [
            partition("/var/backup/part", false),
            partition("/tmp/x_AAAAAA", true),
        ];
        for bad in [
            "/var/backup/part",
            "/var/backup",
            "/",
            "/var/backup/part/a/mnt",
            "/tmp",
        ] {
            assert!(check_store(Path::new(bad), &store).is_err(), "{bad}");
        }
        for good in ["/mnt", "/var/backup/part2", "/var/backup/mnt", "/tmp/mnt"] {
            assert_eq!(check_store(Path::new(good), &store), Ok(()), "{good}");
        }
    }

    proptest! {
        #[test]
        fn any_mount_table_is_survived(table in proptest::collection::vec(any::<u8>(), 0..200)) {
            mounted(&table, Path::new("/mnt"));
        }
    }
}

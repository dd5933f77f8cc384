//! What stat(2) says about a file of the tree, without FUSE's types. Pure.

/// Oldest and newest time shown: what an INTERNALDATE can say, and what archives can hold.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=253_402_300_799;

/// File or directory: the tree has nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
}

/// Attributes. There is no atime: it equals mtime, because reading changes nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// File or directory.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, in unix seconds.
    pub mtime: i64,
    /// When the log last changed the file, in unix seconds.
    pub ctime: i64,
    /// Names of the file; 2 + sub-directories for a directory.
    pub nlink: u32,
}

impl Attr {
    /// A file; `mtime` and `ctime` in unix seconds.
    pub fn file(ino: u64, size: u64, mtime: i64, ctime: i64) -> Attr {
        Attr {
            ino,
            kind: Kind::File,
            size,
            mtime: clamp(mtime),
            ctime: clamp(ctime),
            nlink: 1,
        }
    }

    /// A directory with this many sub-directories, last changed at `time`.
    pub fn dir(ino: u64, subdirs: usize, time: i64) -> Attr {
        let nlink = u32::try_from(subdirs).unwrap_or(u32::MAX).saturating_add(2);
        Attr {
            ino,
            kind: Kind::Dir,
            size: 0,
            mtime: clamp(time),
            ctime: clamp(time),
            nlink,
        }
    }

    /// st_blocks: archive programs take a file with fewer blocks than bytes for a sparse one.
    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(512)
    }
}

/// A log without any chunk has no time; 1970 it is then.
fn clamp(time: i64) -> i64 {
    match time {
        i64::MIN => 0,
        time => time.clamp(*TIMES.start(), *TIMES.end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_bytes_and_times_stay_in_the_calendar() {
        for (size, blocks) in [(0, 0), (1, 1), (512, 1), (513, 2), (u64::MAX, 1 << 55)] {
            assert_eq!(Attr::file(9, size, 0, 0).blocks(), blocks);
        }
        assert_eq!(Attr::file(9, 1, -5, 0).mtime, -5);
        assert_eq!(Attr::file(9, 1, i64::MAX, 0).mtime, 253_402_300_799);
        assert_eq!(Attr::dir(9, 0, i64::MIN).mtime, 0);
        assert_eq!(Attr::dir(9, 3, 0).nlink, 5);
    }
}

//! What can go wrong in the tree, and the one table from there to errno.

use std::path::PathBuf;

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// No such name, or no such inode.
    #[error("no such file")]
    NotFound,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A file was needed.
    #[error("is a directory")]
    IsDirectory,
    /// The file has no such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The caller's buffer is too small for the attribute.
    #[error("buffer too small")]
    Range,
    /// A moment that has not come yet when the mount began.
    #[error("this moment had not come when the mount began")]
    NotYet,
    /// A moment that the backup knows nothing of any more.
    #[error("{path}: nothing is known of {asked}, only of what came since {oldest}")]
    TooOld {
        /// The data file.
        path: PathBuf,
        /// The moment asked for.
        asked: String,
        /// The oldest that can be shown.
        oldest: String,
    },
    /// Somebody else holds the backup's lock.
    #[error(
        "{path}: backup is locked by another process: try again, or mount with -o wait=SECONDS or -o lock=none"
    )]
    Locked {
        /// The data file.
        path: PathBuf,
    },
    /// Bytes of the backup are not what they should be.
    #[error("{path}: {what}")]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// Which bytes, and what is wrong with them.
        what: String,
    },
    /// The backup cannot be read.
    #[error("{path}: {what}")]
    Unreadable {
        /// The data file.
        path: PathBuf,
        /// What happened.
        what: String,
    },
}

impl ViewError {
    /// The errno that the program sees.
    pub fn errno(&self) -> i32 {
        match self {
            ViewError::NotFound => libc::ENOENT,
            ViewError::NotDirectory => libc::ENOTDIR,
            ViewError::IsDirectory => libc::EISDIR,
            ViewError::NoAttribute => libc::ENODATA,
            ViewError::Range => libc::ERANGE,
            // Not ENOENT: a copy of a moment that cannot be shown must fail, not be empty.
            ViewError::NotYet | ViewError::TooOld { .. } => libc::ENODATA,
            // Not EAGAIN, which programs take for "non-blocking read", and not ENOENT, which an
            // archive program takes for "was deleted".
            ViewError::Locked { .. } => libc::EBUSY,
            ViewError::Damaged { .. } => libc::EIO,
            // A backup that is listed but gone is an accident, so not ENOENT: a copy of the tree must
            // fail loudly, and `rsync --delete` must not delete.
            ViewError::Unreadable { .. } => libc::EIO,
        }
    }

    /// Whether this belongs to everyday use, and is no news for an administrator.
    pub fn is_ordinary(&self) -> bool {
        match self {
            ViewError::NotFound
            | ViewError::NotDirectory
            | ViewError::IsDirectory
            | ViewError::NoAttribute
            | ViewError::Range
            | ViewError::NotYet => true,
            ViewError::TooOld { .. } => false,
            ViewError::Locked { .. } | ViewError::Damaged { .. } | ViewError::Unreadable { .. } => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_never_mistaken_for_an_empty_place() {
        let path = PathBuf::from("/b/anne_AAAAAA");
        let what = String::new();
        let troubles = [
            ViewError::Locked { path: path.clone() },
            ViewError::Damaged {
                path: path.clone(),
                what: what.clone(),
            },
            ViewError::Unreadable { path, what },
        ];
        for trouble in troubles {
            assert!(!trouble.is_ordinary());
            // ENOSYS would switch the operation off for the whole mount.
            assert!(![libc::ENOENT, libc::ENOSYS, 0].contains(&trouble.errno()));
        }
        assert_eq!(ViewError::NotFound.errno(), libc::ENOENT);
    }
}

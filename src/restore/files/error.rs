//! Why files could not be written.

use std::io;
use std::path::PathBuf;

use crate::store::StoreError;

/// Why files could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file or directory.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word for it.
        source: io::Error,
    },
    /// The backup.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FileError {
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> FileError {
        let path = path.into();
        move |source| FileError::Io { path, source }
    }
}

//! What may be wrong with a twoskip file.

use std::io;
use std::path::{Path, PathBuf};

/// A fault and the file that has it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct Error {
    /// The database.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

impl Error {
    pub(super) fn new(path: &Path, fault: Fault) -> Error {
        let path = path.to_owned();
        Error { path, fault }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The operating system said so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is an older engine's file.
    #[error(
        "is a skiplist database; convert it with: cvt_cyrusdb OLD skiplist NEW twoskip (both paths absolute)"
    )]
    Skiplist,
    /// It begins with other bytes than a twoskip file does.
    #[error("is not a twoskip database")]
    NotTwoskip,
    /// A later format; this library knows version 1.
    #[error("has twoskip version {0}, only version 1 is known")]
    Version(u32),
    /// Bytes are not what was once written.
    #[error("is damaged at offset {offset}: {what}")]
    Damaged {
        /// Byte offset of the record or the header.
        offset: u64,
        /// Which rule is broken.
        what: &'static str,
    },
    /// Keys have at least one byte.
    #[error("an empty key cannot be stored")]
    EmptyKey,
    /// An earlier change of the same transaction failed, so nothing of it was kept.
    #[error("the transaction was undone, because a change in it had failed")]
    Undone,
}

/// Shorthand for the many places that find damage.
pub(super) fn damaged<T>(offset: u64, what: &'static str) -> Result<T, Fault> {
    Err(Fault::Damaged { offset, what })
}

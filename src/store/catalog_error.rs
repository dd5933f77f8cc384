//! What may be wrong with backups.db.

use std::path::PathBuf;

use super::twoskip::{self, Fault};
use crate::types::BackupKey;

/// What may be wrong with backups.db.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file itself.
    #[error("{0}{hint}", hint = hint(.0))]
    Database(#[from] twoskip::Error),
    /// A path that is empty or relative, read or to be written.
    #[error("{database}: \"{path}\" of {key} is no absolute path; set it with `ctl_backups move`")]
    NotAbsolute {
        /// backups.db.
        database: PathBuf,
        /// Whose backup.
        key: BackupKey,
        /// The path as it is.
        path: PathBuf,
    },
    /// A backup would get the name of another one.
    #[error("{database}: {key} has a backup already")]
    Exists {
        /// backups.db.
        database: PathBuf,
        /// Whose backup.
        key: BackupKey,
    },
}

fn hint(error: &twoskip::Error) -> &'static str {
    match error.fault {
        Fault::Damaged { .. } | Fault::NotTwoskip => {
            "; make a new one with `ctl_backups reconstruct`"
        }
        _ => "",
    }
}

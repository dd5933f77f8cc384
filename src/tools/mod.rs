//! What the command line tools do: ctl_backups and cyr_backup.
//!
//! Each tool is a function from options to an exit code, writing to a [`terminal::Terminal`].
//! Configuration comes in as values; the programs in `src/bin` read it.

pub mod ctl_backups;
pub mod cyr_backup;
pub mod getopt;
pub mod render;
pub mod target;
pub mod terminal;
mod verification;

use crate::store::catalog::Catalog;
use crate::types::Namespace;

/// What the tools need to know about the server they are on.
pub struct Site {
    /// Where the backups are.
    pub catalog: Catalog,
    /// How mailbox names are typed.
    pub namespace: Namespace,
}

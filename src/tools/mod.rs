//! What the command line tools do: ctl_backups and cyr_backup.
//!
//! Each tool is a function from options to an exit code, writing to a [`terminal::Terminal`].
//! [`frame`] is what they have around them; the programs in `src/bin` read the command line.

pub mod ctl_backups;
pub mod cyr_backup;
pub mod frame;
pub mod getopt;
pub mod render;
pub mod target;
pub mod terminal;
mod verification;

use crate::config::Config;
use crate::select::Clock;
use crate::store::catalog::Catalog;
use crate::types::Namespace;

/// What the tools need to know about the server they are on.
pub struct Site {
    /// Where the backups are.
    pub catalog: Catalog,
    /// How mailbox names are typed.
    pub namespace: Namespace,
    /// When the tool was started, and in which time zone.
    pub clock: Clock,
    /// All that imapd.conf says.
    pub config: Config,
}

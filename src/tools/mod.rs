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
pub mod zone;

use std::io;

use terminal::Terminal;

use crate::config::Config;
use crate::select::Clock;
use crate::store::catalog::Catalog;
use crate::store::{Placement, forgotten};
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

impl Site {
    /// Says so on standard error when backups.db has no entry though there are files that may be
    /// backups: `all` would be none of them.
    fn has_forgotten(&self, terminal: &mut Terminal<'_>) -> io::Result<bool> {
        let placement = Placement::new(&self.config);
        // Who reads backups.db itself says what is wrong with it.
        let Ok(Some(partition)) = forgotten(&placement) else {
            return Ok(false);
        };
        let text = format!(
            "knows of no backup, but there are files in {}; make it anew with `ctl_backups reconstruct`",
            partition.display()
        );
        terminal.complain(self.catalog.path().as_os_str(), text)?;
        Ok(true)
    }
}

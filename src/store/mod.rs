//! What is on disk: data files, indexes, backups.db.

pub mod appender;
pub mod backup;
pub mod catalog;
mod data_file;
mod entry;
mod error;
mod hash;
pub mod index;
pub mod layout;
pub mod lock;
pub mod member;
pub mod partition;
mod placement;
mod recover;
pub mod scan;
pub mod twoskip;
pub mod verify;

pub use appender::{Appender, Body};
pub use backup::{Backup, Lock};
pub use error::{Result, StoreError};
pub use placement::Placement;
pub use index::{
    ChunkRow, Index, MailboxRow, MessageRow, RecordRow, SeekPoint, SeenRow, SieveRow,
    SubscriptionRow,
};

#[cfg(test)]
mod tests;

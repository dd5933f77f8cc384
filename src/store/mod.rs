//! What is on disk: data files, indexes, backups.db (docs/FORMAT.md has the bytes).
//!
//! The data file is the truth, the index a cache of it. Writers ([`Appender`]) go data → sync →
//! index; readers ([`Backup`]) check every message against its GUID. The store is synchronous and
//! asks no clock: times come in as arguments. (Recovery that must write a file anew names the old one after
//! the time that it is.)
//!
//! # Who keeps whom out
//! All locks are fcntl locks on the whole data file, as C takes them, ours as OFD locks.
//!
//! | | append | read (shared) | read (no lock) | C's tools and backupd |
//! |---|---|---|---|---|
//! | append (exclusive) | waits or `Locked` | waits or `Locked` | goes on | waits or `Locked` |
//! | read (shared) | waits or `Locked` | goes on | goes on | waits or `Locked` |
//! | read (no lock) | goes on: the file only grows, the index is a private copy | goes on | goes on | goes on |
//!
//! backups.db has a lock of its own ([`catalog`]), held for one call. A data file's lock is never
//! asked for while that one is held.
//!
//! # What a crash may leave, and who mends it
//! | left behind | mended by |
//! |---|---|
//! | bytes behind the last indexed chunk, torn or whole | the next `Appender::open` |
//! | SQLite's journal beside the index | SQLite, at the next open |
//! | `X.new`, `X.index.new` of a rewrite | the next writer finishes or removes them ([`rewrite`]) |
//! | a data file that backups.db does not name (crash while creating) | nothing yet; it is empty |
//! | `.tmp…` beside a data file (crash while a mark was set) | nobody; it is a few bytes |
//! | a DIRTY backups.db | the next call of [`catalog`] |

pub mod administer;
pub mod appender;
pub mod backup;
mod bodies;
mod cache;
pub mod catalog;
mod catalog_error;
pub mod compact;
mod coverage;
mod data_file;
pub mod entry;
mod error;
mod family;
mod finder;
mod forgotten;
mod fresh_index;
mod hash;
pub mod header;
pub mod index;
mod inflate;
pub mod layout;
pub mod lock;
pub mod marks;
pub mod member;
pub mod owner;
mod parking;
pub mod partition;
mod placement;
pub mod purge;
pub mod rebuild;
pub mod reconstruct;
mod recover;
pub mod reindex;
mod rename_user;
mod replay;
mod resync;
pub mod rewrite;
mod salvage;
pub mod scan;
mod seek_file;
mod stamp;
mod stretch;
mod survey;
mod table;
pub mod twoskip;
pub mod verify;
pub mod walk;

pub use appender::{Appender, Body, Done};
pub use backup::{Backup, Lock};
pub use bodies::Bodies;
pub use error::{Result, StoreError};
pub use forgotten::forgotten;
pub use index::{
    BodyPlace, ChunkRow, Index, MailboxRow, MessageRow, RecordRow, SeekPoint, SeenRow, SieveRow,
    SubscriptionRow,
};
pub use placement::Placement;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;

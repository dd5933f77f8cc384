//! The vocabulary: GUIDs, mailbox names, backup keys, folder names. Pure; uses nothing of this
//! crate.

mod backup_key;
mod guid;
mod mboxname;
pub mod mutf7;
mod namespace;

pub use backup_key::{BackupKey, InvalidName};
pub use guid::{Guid, GuidHasher, InvalidGuid};
pub use mboxname::{MboxName, MboxParts};
pub use namespace::{Namespace, VirtDomains};

//! The vocabulary: GUIDs, mailbox names, backup keys. Pure; uses nothing of this crate.

mod guid;
mod mboxname;
mod mutf7;

pub use guid::{Guid, GuidHasher, InvalidGuid};
pub use mboxname::{InvalidName, MboxName};

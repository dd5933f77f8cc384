//! The mount: [`crate::view`] before a kernel. `docs/SEMANTICS.md` says what it promises.
//!
//! [`fuse`] translates. Around it: [`options`] and [`guard`] say what may be mounted where, [`mount`]
//! tells the kernel, [`daemon`] keeps it going.

pub mod daemon;
pub mod fuse;
pub mod guard;
pub mod identity;
pub mod mount;
pub mod options;
pub mod run;

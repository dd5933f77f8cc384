//! The mount: a read-only tree over a backup, or over all of them. `docs/SEMANTICS.md` says what it
//! promises.
//!
//! From the kernel inwards: [`fuse`] translates, [`ops`] answers for the whole mount, [`view`] is the
//! tree of one user, made of [`folders`], [`mails`] and [`pieces`], and asks a backup through
//! [`source`]. Around them: [`options`] and [`guard`] say what may be mounted where, [`mount`] tells
//! the kernel, [`daemon`] keeps it going.

pub mod attr;
pub mod daemon;
mod error;
pub mod folders;
pub mod fuse;
pub mod guard;
pub mod identity;
pub mod inode;
pub mod mails;
pub mod mount;
pub mod names;
pub mod open;
pub mod ops;
pub mod options;
pub mod pieces;
pub mod run;
pub mod source;
pub mod users;
pub mod view;
mod xattr;

pub use error::FsError;

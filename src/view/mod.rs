//! The tree that a backup, or all of them, shows: names, inode numbers, attributes, bytes. It knows no
//! kernel: the mount (room `fs`) and `cyr_backup tar` show the same tree. docs/SEMANTICS.md says
//! what it promises.
//!
//! From outside inwards: [`ops`] answers for a whole mount, [`users`] and [`moments`] open trees,
//! [`tree`] is one user's, made of [`folders`], [`mails`], [`pieces`] and [`notes`], and asks a backup
//! through [`source`].

pub mod attr;
mod error;
pub mod folders;
pub mod inode;
pub mod links;
mod lock;
pub mod mails;
pub mod moments;
pub mod names;
pub mod notes;
pub mod open;
pub mod ops;
pub mod part;
pub mod pieces;
pub mod source;
pub mod tree;
pub mod users;
mod xattr;

pub use error::ViewError;

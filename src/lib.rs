//! Cyrus Backups in Rust.
//!
//! Three walks through the house (ARCHITECTURE.md tells them in full):
//!
//! 1. **In**: socket → [`backupd`] connection → [`csync`] fragments → dlist → command → session →
//!    [`store`] appender → data file, sync → index → reply.
//! 2. **To the desktop**: kernel → [`fs`] → [`view`] → [`store`] reader → inflate, check the GUID → kernel.
//! 3. **To the terminal**: argv → [`tools`] → [`store`] reader → text or JSON.

pub mod backupd;
pub mod config;
pub mod csync;
pub mod csync_client;
pub mod fs;
pub mod log;
pub mod restore;
pub mod sasl;
pub mod select;
pub mod store;
pub mod tools;
pub mod types;
pub mod view;

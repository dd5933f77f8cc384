//! What is on disk: data files, indexes, backups.db.

pub mod catalog;
mod error;
pub mod hash;
pub mod index;
pub mod layout;
pub mod lock;
pub mod member;
pub mod partition;
pub mod scan;
pub mod twoskip;
pub use error::{Result, StoreError};

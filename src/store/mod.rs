//! What is on disk: data files, indexes, backups.db.

pub mod catalog;
pub mod layout;
pub mod lock;
pub mod partition;
pub mod twoskip;

//! The mount: a read-only tree over a backup.

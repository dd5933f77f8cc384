//! What maildirs, mbox files and single files have in common.

use super::error::FileError;
use crate::restore::plan::Planned;

/// A form of files.
pub(super) trait Form {
    /// A mailbox begins: whether each of its messages is there already.
    fn begin(&mut self, mailbox: &str, records: &[Planned]) -> Result<Vec<bool>, FileError>;
    /// One message of a mailbox that has begun.
    fn put(&mut self, mailbox: &str, record: &Planned, octets: &[u8]) -> Result<(), FileError>;
    /// All is written.
    fn finish(&mut self) -> Result<(), FileError>;
}

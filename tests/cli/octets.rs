//! A message in memory, for an appender.

use cyrusbackup::csync::dlist::FileRef;
use cyrusbackup::store::Body;
use cyrusbackup::types::Guid;

/// A message as it came.
pub struct Octets(pub Vec<u8>);

impl Body for Octets {
    fn file(&self) -> FileRef {
        FileRef {
            partition: b"default".to_vec(),
            guid: Guid::of(&self.0),
            size: self.0.len() as u64,
        }
    }

    fn copy_to(&self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
        to.write_all(&self.0)
    }
}

//! `dump message|chunk`: bytes as they are, NULs included.

use std::ffi::OsStr;
use std::io::Read;

use sha1::{Digest, Sha1};

use super::{Failure, Look};
use crate::tools::getopt::atoi;
use crate::tools::terminal::Terminal;
use crate::types::Guid;

impl Look<'_> {
    /// The octets of a message, all or nothing: they are checked against the GUID first.
    pub(super) fn dump_message(
        &self,
        guid: &OsStr,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let guid = Guid::from_hex(guid.as_encoded_bytes()).map_err(|_| Failure::NoSuchItem)?;
        let octets = self.backup.read_message(&guid)?;
        terminal.out.write_all(&octets)?;
        Ok(())
    }

    /// The inflated bytes of a chunk as far as they can be read; damage is told behind them.
    pub(super) fn dump_chunk(
        &self,
        id: &OsStr,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let chunk = match atoi(id) {
            n if n > 0 => n,
            _ => return Err(Failure::NoChunkId(id.to_owned())),
        };
        let row = self
            .backup
            .index()
            .chunk(chunk)?
            .ok_or(Failure::NoSuchItem)?;
        let mut data = self.backup.chunk(chunk)?;
        let mut sha1 = Sha1::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut byte = 0;
        let damaged = |byte, reason| Failure::Chunk {
            chunk,
            byte,
            reason,
        };
        loop {
            let count = match data.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(damaged(byte, error.to_string())),
            };
            sha1.update(&buffer[..count]);
            byte += count as u64;
            terminal.out.write_all(&buffer[..count])?;
        }
        let disk = crate::store::member::hex(&sha1.finalize());
        if row.data_sha1.as_ref() != Some(&disk) {
            return Err(damaged(
                byte,
                "its SHA-1 is not the one in the index".to_owned(),
            ));
        }
        Ok(())
    }
}

//! Whether an index says all that its data file holds: a look at the end, never at the whole.

use std::io;

use super::backup::Backup;
use super::error::Result;
use super::member::MemberEnd;

impl Backup {
    /// Nothing stands behind the last chunk of the index. One that C wrote does not say where its last
    /// chunk ends, so that chunk is inflated.
    pub fn covers_file(&self) -> Result<bool> {
        let Some(last) = self.index().last_chunk()? else {
            return Ok(self.file_len() == 0);
        };
        if let Some(state) = self.index().state()?
            && state.chunk_id == last.id
        {
            return Ok(state.data_end >= self.file_len());
        }
        // What cannot be read there is damage, which no other index would mend.
        let Ok(mut reader) = self.chunk(last.id) else {
            return Ok(true);
        };
        let read = io::copy(&mut reader, &mut io::sink());
        Ok(match (read, reader.end()) {
            (Ok(_), Some(MemberEnd::Complete(end))) => end >= self.file_len(),
            _ => true,
        })
    }
}

//! The running SHA-1 of a data file. It only grows, so its state is kept in the index and no open
//! has to read the file again (C reads it twice per session: spec ondisk 10.7).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha1::digest::common::hazmat::SerializableState;
use sha1::{Digest, Sha1};

use super::member::hex;

/// Names the layout of the saved state, which is that of the crate `sha1`; another tag is not
/// ours and costs one reading of the file.
const TAG: &[u8] = b"sha1-0.11:";

/// SHA-1 over the first `length` bytes of a data file.
#[derive(Clone, Default)]
pub struct FileHash {
    sha1: Sha1,
    length: u64,
}

impl FileHash {
    /// Bytes hashed so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Takes the file's bytes up to offset `end`.
    pub fn read_to(&mut self, file: &File, end: u64) -> io::Result<()> {
        let mut buf = vec![0; 256 * 1024];
        while self.length < end {
            let want = (end - self.length).min(buf.len() as u64) as usize;
            match file.read_at(&mut buf[..want], self.length) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.update(&buf[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Lower-case hex of the hash so far.
    pub fn hex(&self) -> String {
        hex(&self.sha1.clone().finalize())
    }

    /// The state, to continue from another day.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = TAG.to_vec();
        saved.extend_from_slice(&self.length.to_le_bytes());
        saved.extend_from_slice(&self.sha1.serialize());
        saved
    }

    /// A saved state; None when it is not one of ours.
    pub fn restore(saved: &[u8]) -> Option<FileHash> {
        let rest = saved.strip_prefix(TAG)?;
        let (length, state) = rest.split_at_checked(8)?;
        let sha1 = Sha1::deserialize(state.try_into().ok()?).ok()?;
        Some(FileHash {
            sha1,
            length: u64::from_le_bytes(length.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_state_continues_at_any_length() {
        let data: Vec<u8> = (0..1000u32).map(|n| (n * 7) as u8).collect();
        for cut in [0, 1, 63, 64, 65, 127, 500, 1000] {
            let mut hash = FileHash::default();
            hash.update(&data[..cut]);
            let mut hash = FileHash::restore(&hash.save()).unwrap();
            assert_eq!(hash.length(), cut as u64);
            hash.update(&data[cut..]);
            assert_eq!(hash.hex(), hex(&Sha1::digest(&data)));
        }
        assert!(FileHash::restore(b"sha1-9.9:xxxx").is_none());
        assert!(FileHash::restore(&FileHash::default().save()[..50]).is_none());
    }
}

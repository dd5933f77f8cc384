//! The bytes of a database, wherever they are: a file, or memory while a fresh one is built.
//!
//! Left out: locks and names. Whoever calls holds the lock that the operation needs.

use std::cell::{Ref, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that can be read and written at any offset.
pub(super) trait Media {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `buffer`; too few bytes there are an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of it, making the media longer when it ends behind the end.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the media, or fills it up with NULs.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Returns when everything written before is on stable storage.
    fn sync(&self) -> io::Result<()>;
}

impl Media for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A database in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Image(RefCell<Vec<u8>>);

impl Image {
    pub(super) fn new(bytes: Vec<u8>) -> Image {
        Image(RefCell::new(bytes))
    }

    pub(super) fn bytes(&self) -> Ref<'_, [u8]> {
        Ref::map(self.0.borrow(), Vec::as_slice)
    }
}

impl Media for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.borrow().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.borrow();
        let start = usize::try_from(offset).ok();
        let rest = start.and_then(|start| bytes.get(start..));
        match rest.and_then(|rest| rest.get(..buffer.len())) {
            Some(wanted) => {
                buffer.copy_from_slice(wanted);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.borrow_mut();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(new.len());
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(new);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.0.borrow_mut().resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

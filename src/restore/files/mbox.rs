//! One mbox file of all messages, in the mboxrd form, mailbox after mailbox. It appears when it is complete; one that is
//! there already may be somebody's mail and stays.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::error::FileError;
use super::form::Form;
use crate::restore::plan::Planned;
use crate::tools::render::mbox;

pub(super) struct Mbox {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
}

impl Mbox {
    pub(super) fn create(path: &Path) -> Result<Mbox, FileError> {
        if path.symlink_metadata().is_ok() {
            return Err(FileError::at(path)(Errno::EEXIST.into()));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(FileError::at(&temporary))?;
        Ok(Mbox {
            path: path.to_owned(),
            temporary,
            out: BufWriter::new(file),
        })
    }
}

impl Form for Mbox {
    fn begin(&mut self, _mailbox: &str, records: &[Planned]) -> Result<Vec<bool>, FileError> {
        Ok(vec![false; records.len()])
    }

    fn put(&mut self, _mailbox: &str, record: &Planned, octets: &[u8]) -> Result<(), FileError> {
        mbox::write_message(octets, record.internaldate, &mut self.out)
            .map_err(FileError::at(&self.temporary))
    }

    fn finish(&mut self) -> Result<(), FileError> {
        self.out
            .flush()
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(FileError::at(&self.path))
    }
}

//! Where a tool writes, and what it answers to the shell (spec: ondisk 7.0).

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use super::render::LocalTime;

/// Standard output, standard error and the time zone of the person who reads them.
pub struct Terminal<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Complaints.
    pub err: &'a mut dyn Write,
    /// For times.
    pub time: LocalTime,
}

impl Terminal<'_> {
    /// `NAME: TEXT` on standard error, the name as it was given. What was printed before comes out
    /// before.
    pub fn complain(&mut self, name: &OsStr, text: impl std::fmt::Display) -> io::Result<()> {
        self.out.flush()?;
        self.err.write_all(name.as_bytes())?;
        writeln!(self.err, ": {text}")
    }
}

/// Exit codes; the tools use no others.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// The command line makes no sense.
    pub const USAGE: u8 = 64;
    /// Something failed, was skipped or was locked.
    pub const FAILED: u8 = 75;
    /// The configuration cannot be used.
    pub const CONFIG: u8 = 78;
}

//! Log lines of a daemon to syslog(3), facility mail, where the other Cyrus programs write.

use std::ffi::CString;
use std::io;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Longest line; syslog daemons cut what is longer.
const LINE: usize = 4096;

/// Makes a syslog line of each event.
#[derive(Debug, Clone, Copy)]
pub struct Syslog;

/// One line on its way.
#[derive(Debug)]
pub struct Line(libc::c_int);

impl Syslog {
    /// Lines begin with this name and the process id.
    pub fn open(ident: &'static std::ffi::CStr) -> Syslog {
        // SAFETY: openlog keeps the pointer, which lives as long as the program.
        unsafe { libc::openlog(ident.as_ptr(), libc::LOG_PID, libc::LOG_MAIL) };
        Syslog
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(libc::LOG_INFO)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line(match *meta.level() {
            Level::ERROR => libc::LOG_ERR,
            Level::WARN => libc::LOG_WARNING,
            Level::INFO => libc::LOG_INFO,
            Level::DEBUG | Level::TRACE => libc::LOG_DEBUG,
        })
    }
}

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text: Vec<u8> = text
            .iter()
            .copied()
            .filter(|b| *b != 0)
            .take(LINE)
            .collect();
        if let Ok(text) = CString::new(text) {
            // SAFETY: the format takes exactly one string, and both end in a NUL.
            unsafe { libc::syslog(self.0, c"%s".as_ptr(), text.as_ptr()) };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

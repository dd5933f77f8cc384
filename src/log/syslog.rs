//! Log lines to syslog(3).

use std::ffi::CString;
use std::io;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Longest line; syslog daemons cut what is longer.
const LINE: usize = 4096;

/// Makes a syslog line of each event.
#[derive(Debug, Clone, Copy)]
pub struct Syslog;

/// Which of the streams of syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(libc::c_int);

/// One line on its way.
#[derive(Debug)]
pub struct Line(libc::c_int);

impl Syslog {
    /// Lines begin with this name and the process id.
    pub fn open(ident: &'static std::ffi::CStr, facility: Facility) -> Syslog {
        // SAFETY: openlog keeps the pointer, which lives as long as the program.
        unsafe { libc::openlog(ident.as_ptr(), libc::LOG_PID, facility.0) };
        Syslog
    }
}

impl Facility {
    /// Where mail servers write.
    pub const MAIL: Facility = Facility(libc::LOG_MAIL);

    /// One that option `syslog_facility` may name, in any case.
    pub fn from_name(name: &str) -> Option<Facility> {
        let local = [
            libc::LOG_LOCAL0,
            libc::LOG_LOCAL1,
            libc::LOG_LOCAL2,
            libc::LOG_LOCAL3,
            libc::LOG_LOCAL4,
            libc::LOG_LOCAL5,
            libc::LOG_LOCAL6,
            libc::LOG_LOCAL7,
        ];
        let name = name.to_ascii_uppercase();
        match name.as_str() {
            "DAEMON" => Some(Facility(libc::LOG_DAEMON)),
            "MAIL" => Some(Facility::MAIL),
            "NEWS" => Some(Facility(libc::LOG_NEWS)),
            "USER" => Some(Facility(libc::LOG_USER)),
            _ => {
                let number: usize = name.strip_prefix("LOCAL")?.parse().ok()?;
                local.get(number).copied().map(Facility)
            }
        }
    }
}

/// What C logs as a notice (logins, the end of the service) is information to `tracing`.
pub(super) fn priority(level: Level) -> libc::c_int {
    match level {
        Level::ERROR => libc::LOG_ERR,
        Level::WARN => libc::LOG_WARNING,
        Level::INFO => libc::LOG_NOTICE,
        Level::DEBUG | Level::TRACE => libc::LOG_DEBUG,
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(libc::LOG_NOTICE)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line(priority(*meta.level()))
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

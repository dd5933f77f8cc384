//! Where log lines go: syslog(3), as the other Cyrus programs write; the journal; or standard error.
//!
//! `syslog` is the writer, [`Destination`] the choice. What is logged, each room says with `tracing`.

mod syslog;

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

pub use syslog::{Facility, Syslog};

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// syslog(3).
    Syslog,
    /// Standard error, which is the journal: a priority in front, no time.
    Journal,
    /// Standard error.
    Stderr,
}

/// How lines are marked in syslog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The program's or service's name, perhaps with a prefix.
    pub ident: String,
    /// The facility.
    pub facility: Facility,
}

impl Destination {
    /// Standard error leads into the journal (`JOURNAL_STREAM` names its device and inode).
    pub fn stderr() -> Destination {
        let is_journal = || {
            let stream = std::env::var("JOURNAL_STREAM").ok()?;
            let meta = std::fs::metadata("/proc/self/fd/2").ok()?;
            (stream == format!("{}:{}", meta.dev(), meta.ino())).then_some(())
        };
        match is_journal() {
            Some(()) => Destination::Journal,
            None => Destination::Stderr,
        }
    }

    /// Sends everything up to `level` there from now on. Call it once.
    pub fn start(self, mark: &Mark, level: Level) {
        let lines = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_target(false)
            .with_ansi(false);
        match self {
            Destination::Stderr => lines.with_writer(std::io::stderr).init(),
            Destination::Journal => lines
                .with_writer(std::io::stderr)
                .event_format(WithPriority)
                .init(),
            Destination::Syslog => lines
                .with_level(false)
                .without_time()
                .with_writer(Syslog::open(ident(&mark.ident), mark.facility))
                .init(),
        }
    }
}

impl Mark {
    /// As Debian's Cyrus marks its lines (spec: ondisk 9): the prefix from the environment or option
    /// `syslog_prefix`, `cyrus` when nothing is said; facility mail.
    pub fn new(name: &str, prefix: Option<&str>, facility: Option<&str>) -> Mark {
        let from_environment = std::env::var("CYRUS_SYSLOG_PREFIX").ok();
        let prefix = from_environment.as_deref().or(prefix);
        let prefix = prefix.or(facility.is_none().then_some("cyrus"));
        Mark {
            ident: match prefix {
                Some(prefix) => format!("{prefix}/{name}"),
                None => name.to_owned(),
            },
            facility: facility
                .and_then(Facility::from_name)
                .unwrap_or(Facility::MAIL),
        }
    }
}

/// openlog(3) keeps the pointer, so the name stays for ever.
fn ident(name: &str) -> &'static std::ffi::CStr {
    let name = name.replace('\0', "");
    Box::leak(CString::new(name).unwrap_or_default().into_boxed_c_str())
}

/// `<6>text`, as sd-daemon(3) has it.
struct WithPriority;

impl<S, N> FormatEvent<S, N> for WithPriority
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        write!(writer, "<{}>", syslog::priority(*event.metadata().level()))?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_those_of_debians_cyrus() {
        let ident = |prefix, facility| Mark::new("backupd", prefix, facility).ident;
        assert_eq!(ident(None, None), "cyrus/backupd");
        assert_eq!(ident(Some("p"), None), "p/backupd");
        assert_eq!(ident(Some("p"), Some("LOCAL1")), "p/backupd");
        assert_eq!(ident(None, Some("LOCAL1")), "backupd");
        let facility = |name| Mark::new("x", None, name).facility;
        assert_eq!(
            facility(Some("local1")),
            Facility::from_name("LOCAL1").unwrap()
        );
        assert_eq!(facility(Some("nonsense")), Facility::MAIL);
        assert_eq!(facility(None), Facility::MAIL);
    }
}

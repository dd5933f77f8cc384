//! Telemetry, as all servers of Cyrus have it: what a user's sessions say and hear goes into files, as
//! long as the directory `{configdirectory}/log/USER` exists (spec: ondisk 9). Encryption and compression
//! are off already; messages are in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Where such files are, and what they are called.
#[derive(Debug)]
pub struct Telemetry {
    /// `{configdirectory}/log`.
    pub directory: PathBuf,
    /// The program's or service's name.
    pub service: String,
    /// Option `telemetry_bysessionid`.
    pub by_session_id: bool,
    /// Option `servername`, a part of session ids.
    pub servername: String,
    /// In which a file says when it began.
    pub zone: TimeZone,
    /// Sessions written so far.
    pub count: AtomicU64,
}

/// The file of one session, if it has one.
#[derive(Default)]
pub(crate) enum Tape {
    /// Nobody has logged in yet.
    #[default]
    NotYet,
    Off,
    On(Record),
}

pub(crate) struct Record {
    file: File,
    path: PathBuf,
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry {
            directory: PathBuf::new(),
            service: String::new(),
            by_session_id: false,
            servername: String::new(),
            zone: TimeZone::UTC,
            count: AtomicU64::new(0),
        }
    }
}

impl Telemetry {
    /// Begins the file of a session, when `user` is to be recorded.
    fn begin(&self, user: &str) -> Option<Record> {
        let directory = self.directory_of(user).filter(|place| place.is_dir())?;
        let path = directory.join(self.name());
        match start(&path, user, &self.zone) {
            Ok(file) => Some(Record { file, path }),
            Err(error) => {
                tracing::warn!("telemetry: {}: {error}", path.display());
                None
            }
        }
    }

    fn directory_of(&self, user: &str) -> Option<PathBuf> {
        let is_one_name = !user.is_empty() && !user.starts_with('.') && !user.contains(['/', '\0']);
        (is_one_name && self.directory.is_absolute()).then(|| self.directory.join(user))
    }

    /// In C `service-PID`: there each process has one session at a time.
    fn name(&self) -> String {
        let (service, pid) = (&self.service, std::process::id());
        let n = 1 + self.count.fetch_add(1, Ordering::Relaxed);
        match self.by_session_id {
            true => {
                let host = self.servername.replace('/', "_");
                format!("{service}-{host}-{pid}-{}-{n}", seconds())
            }
            false => format!("{service}-{pid}-{n}"),
        }
    }
}

impl Tape {
    /// Begins once somebody has logged in.
    pub(crate) fn begin(&mut self, telemetry: &Telemetry, user: Option<&str>) {
        if let (Tape::NotYet, Some(user)) = (&self, user) {
            *self = telemetry.begin(user).map_or(Tape::Off, Tape::On);
        }
    }

    /// What the client said, and what it was answered. A full disk ends the recording, not the session.
    pub(crate) fn record(&mut self, heard: &[u8], said: &[u8]) {
        let Tape::On(record) = self else { return };
        let written = record
            .write(b'<', heard)
            .and_then(|()| record.write(b'>', said));
        if let Err(error) = written {
            tracing::warn!("telemetry: {}: {error}", record.path.display());
            *self = Tape::Off;
        }
    }
}

impl Record {
    fn write(&mut self, side: u8, octets: &[u8]) -> io::Result<()> {
        if octets.is_empty() {
            return Ok(());
        }
        let side = char::from(side);
        write!(self.file, "{side}{}{side}", seconds())?;
        self.file.write_all(octets)
    }
}

fn start(path: &Path, user: &str, zone: &TimeZone) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    let now = zone.to_datetime(Timestamp::now());
    let now = now.strftime("%a %b %e %H:%M:%S %Y");
    write!(file, "---------- {user} {now}\n\n")?;
    Ok(file)
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_directory_is_not_recorded_and_no_name_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::create_dir_all(log.join("repl")).unwrap();
        let telemetry = |by_session_id| Telemetry {
            directory: log.clone(),
            service: "backupd".into(),
            by_session_id,
            servername: "b/x".into(),
            ..Telemetry::default()
        };
        for user in ["anne", "", ".", "..", "repl/..", "/etc", "x\0"] {
            assert!(telemetry(false).begin(user).is_none(), "{user:?}");
        }
        let pid = std::process::id();
        let begun = telemetry(false);
        let paths = [begun.begin("repl"), begun.begin("repl")].map(|record| record.unwrap().path);
        assert_eq!(paths[0], log.join(format!("repl/backupd-{pid}-1")));
        assert_eq!(paths[1], log.join(format!("repl/backupd-{pid}-2")));
        let mut tape = Tape::default();
        tape.begin(&telemetry(true), None);
        tape.record(b"AUTHENTICATE", b"OK");
        tape.begin(&telemetry(true), Some("repl"));
        let path = match &tape {
            Tape::On(record) => record.path.clone(),
            _ => panic!("not recorded"),
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("backupd-b_x-{pid}-")), "{name}");
        tape.record(b"NOOP\r\n", b"");
        tape.record(b"", b"OK\r\n");
        let text = std::fs::read_to_string(path).unwrap();
        let (head, rest) = text.split_once("\n\n").unwrap();
        assert!(head.starts_with("---------- repl "), "{head}");
        let digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(digits(rest), "<<NOOP\r\n>>OK\r\n");
    }
}

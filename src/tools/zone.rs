//! The time zone of whoever runs a program.

use jiff::tz::TimeZone;

/// The zone of `TZ` or the system's.
///
/// The system's is one small file. jiff would look up its name among all zones of the world, which takes longer
/// than to read a message.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where it is called, for what no file says"
)]
pub fn local() -> TimeZone {
    let system = std::env::var_os("TZ")
        .is_none()
        .then(|| std::fs::read("/etc/localtime").ok())
        .flatten()
        .and_then(|bytes| TimeZone::tzif("Local", &bytes).ok());
    system.unwrap_or_else(TimeZone::system)
}

//! Unix times as `2026-11-23 18:38:36` in local time (spec: ondisk 7.0).

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time zone to show times in.
pub struct LocalTime(TimeZone);

impl LocalTime {
    /// Times in this zone.
    pub fn new(zone: TimeZone) -> LocalTime {
        LocalTime(zone)
    }

    /// Unix seconds as local date and time. A time no calendar holds (a damaged index) shows as its
    /// number with an `@`, as date(1) would take it.
    pub fn show(&self, seconds: i64) -> String {
        match Timestamp::from_second(seconds) {
            Ok(time) => self
                .0
                .to_datetime(time)
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string(),
            Err(_) => format!("@{seconds}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_local_time() {
        let utc = LocalTime::new(TimeZone::UTC);
        assert_eq!(utc.show(0), "1970-01-01 00:00:00");
        assert_eq!(utc.show(1795459116), "2026-11-23 18:38:36");
        assert_eq!(utc.show(i64::MAX), format!("@{}", i64::MAX));
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a POSIX zone");
        assert_eq!(
            LocalTime::new(berlin).show(1700000000),
            "2023-11-14 23:13:20"
        );
    }
}

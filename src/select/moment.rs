//! A time as people type it, the same on every command line and in the options of the mount. Pure:
//! what time it is and where comes in.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Now, and the zone that times without one are meant in.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Unix seconds.
    pub now: i64,
    /// The reader's zone.
    pub zone: TimeZone,
}

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time: write 2026-10-01, 2026-10-01T09:30, 2026-10-01T09:30:00Z, @1790000000, \
     today, yesterday, now, or how long ago, as 3d, 12h or 1w2d"
)]
pub struct NotATime(pub String);

impl Clock {
    /// The moment a text means, in unix seconds. Grammar, case-insensitive:
    ///
    /// * RFC 3339, `2026-10-01T09:30:00Z` or `…+02:00`, the colons of the time may be left out;
    /// * without zone: local time; a date alone is the day's first moment; `T` may be a space;
    /// * `@SECONDS` since 1970;
    /// * `now`; `today` and `yesterday`: that day's first moment, local time;
    /// * `3d`, `12h`, `1w2d`: so long ago, of `s` `m` `h` `d` `w`; a day is 24 hours.
    pub fn parse(&self, text: &str) -> Result<i64, NotATime> {
        let word = text.trim().to_ascii_lowercase();
        self.read(&word).ok_or_else(|| NotATime(text.to_owned()))
    }

    fn read(&self, word: &str) -> Option<i64> {
        match word {
            "now" => return Some(self.now),
            "today" => return self.midnight(0),
            "yesterday" => return self.midnight(1),
            _ => {}
        }
        if let Some(seconds) = word.strip_prefix('@') {
            return seconds.parse().ok();
        }
        if word.ends_with(|c: char| c.is_ascii_alphabetic()) && !word.contains('-') {
            return self.now.checked_sub(duration(word)?);
        }
        if let Ok(time) = word.parse::<Timestamp>() {
            return Some(time.as_second());
        }
        self.local(word)
    }

    /// The first moment of the day so many days before today.
    fn midnight(&self, days_ago: i64) -> Option<i64> {
        let now = Timestamp::from_second(self.now).ok()?;
        let today = self.zone.to_datetime(now).date();
        let day = today.checked_sub(days_ago.days()).ok()?;
        self.start(day)
    }

    /// A day begins at midnight, or when the clocks have been set forward past it.
    fn start(&self, day: Date) -> Option<i64> {
        let zoned = day.to_zoned_datetime(self.zone.clone()).ok()?;
        Some(zoned.start_of_day().ok()?.timestamp().as_second())
    }

    fn local(&self, word: &str) -> Option<i64> {
        let Some((date, time)) = word.split_once(['t', ' ']) else {
            return self.start(word.parse().ok()?);
        };
        let date: Date = date.parse().ok()?;
        let time: Time = time.trim_start().parse().ok()?;
        let local = DateTime::from_parts(date, time);
        Some(self.zone.to_timestamp(local).ok()?.as_second())
    }
}

/// Seconds of `1w2d3h4m5s`, any of them.
fn duration(word: &str) -> Option<i64> {
    let mut total = 0i64;
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 7 * 86_400,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sunday 2026-10-25, 12:00 UTC; in Berlin clocks were set back that night.
    fn berlin() -> Clock {
        Clock {
            now: 1_792_929_600,
            zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
        }
    }

    #[test]
    fn times_as_people_write_them() {
        let day = 86_400;
        let midnight = 1_792_879_200; // 2026-10-25T00:00+02:00
        for (text, expected) in [
            ("now", 1_792_929_600),
            (" Today ", midnight),
            ("yesterday", midnight - day),
            ("2026-10-25", midnight),
            ("2026-10-25T13:00", 1_792_929_600),
            ("2026-10-25 13:00:00", 1_792_929_600),
            ("2026-10-25T12:00:00Z", 1_792_929_600),
            ("2026-10-25t12:00:00z", 1_792_929_600),
            ("2026-10-25T120000Z", 1_792_929_600),
            ("2026-10-25T14:00:00+02:00", 1_792_929_600),
            ("@17", 17),
            ("@-5", -5),
            ("3d", 1_792_929_600 - 3 * day),
            ("1w2d", 1_792_929_600 - 9 * day),
            ("90m", 1_792_929_600 - 5400),
            ("0s", 1_792_929_600),
        ] {
            assert_eq!(berlin().parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told() {
        for text in [
            "",
            "d",
            "3",
            "3x",
            "@",
            "@x",
            "2026-13-01",
            "2026-10-01T",
            "tomorrow",
            "3d-",
            "99999999999999999999d",
            "999999999999999d",
        ] {
            let refused = berlin().parse(text).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("{text:?} is no time")),
                "{refused}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_refused(text in ".{0,30}") {
            let _ = berlin().parse(&text);
        }

        #[test]
        fn any_moment_reads_back(seconds in -60_000_000_000i64..250_000_000_000) {
            let text = Timestamp::from_second(seconds).unwrap().to_string();
            prop_assert_eq!(berlin().parse(&text), Ok(seconds));
        }
    }
}

//! The types of option values, text to value (spec: ondisk 1.4). Pure.

/// `0`, `n…`, `of…`, `f…` are off; `1`, `y…`, `on…`, `t…` are on. The first letters decide, in
/// lower case only: `yikes` is on, `Yes` is nothing.
pub(super) fn switch(text: &str) -> Option<bool> {
    const OFF: [&str; 4] = ["0", "n", "of", "f"];
    const ON: [&str; 4] = ["1", "y", "on", "t"];
    if OFF.iter().any(|word| text.starts_with(word)) {
        Some(false)
    } else if ON.iter().any(|word| text.starts_with(word)) {
        Some(true)
    } else {
        None
    }
}

/// An integer as strtol(3) reads it with base 0: `16`, `0x10`, `020`, `-5`, `+7`. Too large ones
/// become the largest.
pub(super) fn int(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    let lower = digits.to_ascii_lowercase();
    let magnitude = if let Some(hex) = lower.strip_prefix("0x") {
        number(hex, 16)?
    } else if digits.starts_with('0') {
        number(digits, 8)?
    } else {
        number(digits, 10)?
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// Seconds: `[-]` and one or more `<digits><d|h|m|s>`, summed. Digits at the end count in
/// `default_unit` seconds. Saturates where C overflows.
pub(super) fn duration(text: &str, default_unit: i64) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut seconds = 0i64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let count = number(&rest[..end], 10)?;
        let mut unit = rest[end..].chars();
        let unit_seconds = match unit.next() {
            None => default_unit,
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            Some(_) => return None,
        };
        seconds = seconds.saturating_add(count.saturating_mul(unit_seconds));
        rest = unit.as_str();
    }
    Some(if negative { -seconds } else { seconds })
}

/// Bytes: an integer as [`int`] reads it (Cyrus up to 3.6), or a decimal number, spaces, `k`, `m`
/// or `g` (times 1024) with or without `i`, `b` (3.8). A bare number counts in `default_unit`
/// bytes. Saturates.
pub(super) fn size(text: &str, default_unit: i64) -> Option<i64> {
    if let Some(number) = int(text) {
        return Some(number.saturating_mul(default_unit));
    }
    let (negative, rest) = sign(text);
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let count = number(&rest[..end], 10)?;
    let unit = rest[end..].trim_start_matches(' ').to_ascii_lowercase();
    let factor = match unit.as_str() {
        "b" => 1,
        "k" | "ki" | "kb" | "kib" => 1 << 10,
        "m" | "mi" | "mb" | "mib" => 1 << 20,
        "g" | "gi" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = count.saturating_mul(factor);
    Some(if negative { -bytes } else { bytes })
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// One or more digits; saturating.
fn number(digits: &str, radix: u32) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit.to_digit(radix)?);
        Some(
            number
                .saturating_mul(i64::from(radix))
                .saturating_add(digit),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn switches() {
        for text in ["0", "nope", "n2", "of", "off", "f", "false"] {
            assert_eq!(switch(text), Some(false), "{text}");
        }
        for text in ["1", "1foo", "yikes", "on", "onx", "t", "true"] {
            assert_eq!(switch(text), Some(true), "{text}");
        }
        for text in ["", "o", "2", "YES", "On", "True", "TRUE", "-1"] {
            assert_eq!(switch(text), None, "{text}");
        }
    }

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", 0),
            ("00", 0),
            ("5", 5),
            ("+7", 7),
            ("-5", -5),
            ("010", 8),
            ("0x10", 16),
            ("-0X1f", -31),
            ("99999999999", 99_999_999_999),
            ("9999999999999999999999", i64::MAX),
        ] {
            assert_eq!(int(text), Some(value), "{text}");
        }
        for text in ["", "-", "5x", "0x", "08", "1 2", "10K", "+-1", "1.5"] {
            assert_eq!(int(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, unit, seconds) in [
            ("7", 86400, 7 * 86400),
            ("7", 1, 7),
            ("7d", 1, 7 * 86400),
            ("1d2", 86400, 3 * 86400),
            ("10s5", 1, 15),
            ("1d2h3m4s", 1, 93784),
            ("-1d2h", 1, -93600),
            ("-", 1, 0),
            ("99999999999999999d", 1, i64::MAX),
        ] {
            assert_eq!(duration(text, unit), Some(seconds), "{text}");
        }
        for text in ["5M", "1w", "1 d", "d", "1.5d", "--", "+3d", "5-3", "1dd"] {
            assert_eq!(duration(text, 1), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("10", 10 << 10),
            ("010", 8 << 10),
            ("10K", 10 << 10),
            ("10b", 10),
            ("10 MiB", 10 << 20),
            ("2g", 2 << 30),
            ("3kb", 3 << 10),
            ("-1m", -(1 << 20)),
        ] {
            assert_eq!(size(text, 1024), Some(bytes), "{text}");
        }
        for text in ["", "K", "1x", "1kk", "1i", "1 k b", "m1"] {
            assert_eq!(size(text, 1024), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-+0-9xdhmskMGib ]{0,30}|\\PC{0,20}") {
            let _ = (switch(&text), int(&text), duration(&text, 86400), size(&text, 1024));
        }

        #[test]
        fn numbers_survive(n: i32) {
            prop_assert_eq!(int(&n.to_string()), Some(i64::from(n)));
            prop_assert_eq!(duration(&n.to_string(), 1), Some(i64::from(n)));
        }
    }
}

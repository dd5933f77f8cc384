//! Reals as C's printf spells them: `%.17g` for JSON, `%6.1f` for tables.

/// Significant digits of `%.17g`: enough to read the same double back.
const DIGITS: i32 = 17;

/// A JSON number: `%.17g`, with `.0` behind a whole number; `None` when it is not finite (JSON has
/// no word for that, and C leaves the key out).
pub fn real(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        let fixed = format!("{value:.decimals$}");
        let short = trim_zeros(&fixed);
        return Some(if short.contains('.') {
            short.to_owned()
        } else {
            format!("{short}.0")
        });
    }
    Some(format!("{}e{exponent}", trim_zeros(mantissa)))
}

fn trim_zeros(number: &str) -> &str {
    if !number.contains('.') {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.')
}

/// A table's ratio: `%6.1f`, where what is not a number shows as C shows it.
pub fn percent(value: f64) -> String {
    match value {
        v if v.is_nan() => format!("{:>6}", "-nan"),
        v => format!("{v:6.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_like_c() {
        for (value, expected) in [
            (51.364764267990076, "51.364764267990076"),
            (27.50793650793651, "27.50793650793651"),
            (51.285714285714285, "51.285714285714285"),
            (100.0, "100.0"),
            (0.0, "0.0"),
            (-2.5, "-2.5"),
            (0.1, "0.10000000000000001"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-5"),
            (1e17, "1e17"),
            (12345678901234567.0, "12345678901234568.0"),
        ] {
            assert_eq!(real(value).as_deref(), Some(expected));
        }
        assert_eq!(real(f64::NAN), None);
        assert_eq!(real(f64::INFINITY), None);
    }

    #[test]
    fn percents_are_six_wide() {
        assert_eq!(percent(51.36), "  51.4");
        assert_eq!(percent(0.25), "   0.2");
        assert_eq!(percent(1234.56), "1234.6");
        assert_eq!(percent(f64::NAN), "  -nan");
        assert_eq!(percent(f64::INFINITY), "   inf");
    }
}

//! Numbers of imapd.conf as the types that they have here.

/// Negative counts as 0.
pub(super) fn unsigned(number: i64) -> u64 {
    number.max(0).unsigned_abs()
}

/// `None` unless more than 0.
pub(super) fn positive(number: i64) -> Option<u64> {
    (number > 0).then(|| unsigned(number))
}

/// Negative counts as 0, and what is too large as the largest.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(unsigned(number)).unwrap_or(u32::MAX)
}

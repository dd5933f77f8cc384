//! On which terms to compact.

use crate::store::rewrite::Sizes;

/// How to compact: imapd.conf, and the time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compact {
    /// Wait for the lock.
    pub wait: bool,
    /// Even if it is not worth the work.
    pub force: bool,
    /// What was said before this time need not be answered; None keeps everything.
    pub horizon: Option<i64>,
    /// Sizes of chunks.
    pub sizes: Sizes,
    /// Chunks that make it worth the work.
    pub threshold: u64,
    /// The old files stay as `X.<now>`; those of a damaged backup stay anyway.
    pub keep_previous: bool,
    /// The time, unix seconds.
    pub now: i64,
}

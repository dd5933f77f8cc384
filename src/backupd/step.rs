//! One step of a session: the reply, and what comes after it.

use std::io::Write;
use std::time::Duration;

/// With so many octets to send, a session wants them written before it reads on.
pub(crate) const OUTPUT_LIMIT: usize = 64 << 10;

/// What the connection does after the reply was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Read,
    /// Go on, both directions compressed from the next octet on.
    Compress,
    /// Go on with a TLS handshake, then with [`super::session::Session::secured`].
    StartTls,
    /// Hang up.
    Close,
}

/// Outcome of feeding some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to do after writing.
    pub next: Next,
    /// Wait so long before writing.
    pub delay: Duration,
}

/// COMPRESS, before and after login.
pub(crate) fn compress(algorithm: &str, active: bool, out: &mut Vec<u8>) -> Next {
    let name = algorithm.escape_default();
    if active {
        reply(out, format_args!("NO Compression already active: {name}"));
        Next::Read
    } else if algorithm.eq_ignore_ascii_case("DEFLATE") {
        reply(out, format_args!("OK DEFLATE active"));
        Next::Compress
    } else {
        reply(
            out,
            format_args!("NO Unknown compression algorithm: {name}"),
        );
        Next::Read
    }
}

/// Appends a reply line.
pub(crate) fn reply(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{text}\r\n");
}

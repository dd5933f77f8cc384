//! Whether a line can be a command at all, told from its first word while the rest still streams in.

/// The answer to a first word that is no command (spec: csync 1.6).
pub(crate) const UNRECOGNIZED: &str = "IMAP_PROTOCOL_ERROR Unrecognized command";

/// The answer to an empty line, or one that starts with a space.
pub(crate) const NULL_COMMAND: &str = "Null command";

/// Of STARTTLS, C knows nothing either unless it advertised it (capture 51); RESTORE is for live servers.
const KNOWN: [&str; 7] = ["NOOP", "RESTART", "EXIT", "GET", "APPLY", "COMPRESS", "AUTHENTICATE"];
const LONGEST: usize = "AUTHENTICATE".len();

/// Looks at the beginning of a line: fine, or the text to answer `BAD` with, or `None` when it is too
/// short to tell. `KNOWN` words without arguments can only be told at the end of the line, so what a
/// complete line means is not decided here.
pub(crate) fn judge(head: &[u8]) -> Option<Result<(), &'static str>> {
    let Some(space) = memchr::memchr(b' ', head) else {
        return (head.len() > LONGEST).then_some(Err(UNRECOGNIZED));
    };
    let word = &head[..space];
    Some(if word.is_empty() {
        Err(NULL_COMMAND)
    } else if KNOWN.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())) {
        Ok(())
    } else {
        Err(UNRECOGNIZED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_as_soon_as_possible() {
        for (head, verdict) in [
            ("", None),
            ("AP", None),
            ("APPLY", None),
            ("APPLY ", Some(Ok(()))),
            ("apply MAILBOX", Some(Ok(()))),
            ("APPLYING ", Some(Err(UNRECOGNIZED))),
            ("RESTORE MAILBOX", Some(Err(UNRECOGNIZED))),
            ("AUTHENTICATED", Some(Err(UNRECOGNIZED))),
            ("\u{1}\u{2}\u{3}junkjunkjunk", Some(Err(UNRECOGNIZED))),
            (" GET USER x", Some(Err(NULL_COMMAND))),
        ] {
            assert_eq!(judge(head.as_bytes()), verdict, "{head}");
        }
    }
}

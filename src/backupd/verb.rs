//! Whether a line can be a command at all, told from its first word while the rest still streams in.

/// The answer to a first word that is no command (spec: csync 1.6).
pub(crate) const UNRECOGNIZED: &str = "IMAP_PROTOCOL_ERROR Unrecognized command";

/// The answer to an empty line, or one that starts with a space.
pub(crate) const NULL_COMMAND: &str = "Null command";

/// RESTORE is for live servers.
const KNOWN: [&str; 8] = [
    "NOOP",
    "RESTART",
    "EXIT",
    "GET",
    "APPLY",
    "COMPRESS",
    "AUTHENTICATE",
    "STARTTLS",
];
const LONGEST: usize = "AUTHENTICATE".len();

/// Judges a complete line: fine, or the text to answer `BAD` with.
pub(crate) fn judge(line: &[u8]) -> Result<(), &'static str> {
    let word = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    if word.is_empty() {
        Err(NULL_COMMAND)
    } else if KNOWN
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    {
        Ok(())
    } else {
        Err(UNRECOGNIZED)
    }
}

/// Judges a line by its beginning; `None` when that is too short.
pub(crate) fn judge_early(head: &[u8]) -> Option<Result<(), &'static str>> {
    let has_word = memchr::memchr(b' ', head).is_some() || head.len() > LONGEST;
    has_word.then(|| judge(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_as_soon_as_possible_and_at_the_end() {
        for (head, verdict) in [
            ("", None),
            ("AP", None),
            ("RESTORE", None),
            ("APPLY ", Some(Ok(()))),
            ("apply MAILBOX", Some(Ok(()))),
            ("APPLYING ", Some(Err(UNRECOGNIZED))),
            ("RESTORE MAILBOX", Some(Err(UNRECOGNIZED))),
            ("AUTHENTICATED", Some(Err(UNRECOGNIZED))),
            ("\u{1}\u{2}\u{3}junkjunkjunk", Some(Err(UNRECOGNIZED))),
            (" GET USER x", Some(Err(NULL_COMMAND))),
        ] {
            assert_eq!(judge_early(head.as_bytes()), verdict, "{head}");
        }
        for (line, verdict) in [
            ("", Err(NULL_COMMAND)),
            ("exit", Ok(())),
            ("RESTORE", Err(UNRECOGNIZED)),
            ("starttls", Ok(())),
        ] {
            assert_eq!(judge(line.as_bytes()), verdict, "{line}");
        }
    }
}

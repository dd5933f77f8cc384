//! The first word of a command line, and the answers that need no more than that (spec: csync 1.6).

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verb<'a> {
    Noop,
    Restart,
    Exit,
    /// Mechanism and initial response, both as they came.
    Authenticate(&'a [u8], Option<&'a [u8]>),
    Compress(&'a [u8]),
    Get,
    Apply,
    /// Answer with `BAD` and this text.
    Bad(&'static str),
}

/// The answer to a first word that is no command.
pub(crate) const UNRECOGNIZED: &str = "IMAP_PROTOCOL_ERROR Unrecognized command";

/// The longest first word that can be a command.
const LONGEST: usize = "AUTHENTICATE".len();

/// Reads a line without its line end.
pub(crate) fn parse(line: &[u8]) -> Verb<'_> {
    let (word, rest) = split(line);
    if word.is_empty() {
        return Verb::Bad("Null command");
    }
    match (word.to_ascii_uppercase().as_slice(), rest) {
        (b"NOOP", None) => Verb::Noop,
        (b"NOOP", Some(_)) => Verb::Bad("Unexpected extra arguments to Noop"),
        (b"RESTART", None) => Verb::Restart,
        (b"RESTART", Some(_)) => Verb::Bad("Unexpected extra arguments to Restart"),
        (b"EXIT", None) => Verb::Exit,
        (b"EXIT", Some(_)) => Verb::Bad("Unexpected extra arguments to Exit"),
        (b"GET", Some(_)) => Verb::Get,
        (b"GET", None) => Verb::Bad("Missing required argument to Get"),
        (b"APPLY", Some(_)) => Verb::Apply,
        (b"APPLY", None) => Verb::Bad("Missing required argument to Apply"),
        (b"COMPRESS", rest) => compress(rest),
        (b"AUTHENTICATE", rest) => authenticate(rest),
        // STARTTLS is not advertised, and then C does not know it either (capture 51).
        _ => Verb::Bad(UNRECOGNIZED),
    }
}

/// Tells early whether a line that begins so can be a command at all, so that the rest of one that
/// cannot need not be kept. `None`: too short to tell.
pub(crate) fn is_known(head: &[u8]) -> Option<bool> {
    let (word, rest) = split(head);
    if word.len() > LONGEST {
        return Some(false);
    }
    rest?;
    let known: [&[u8]; 7] =
        [b"NOOP", b"RESTART", b"EXIT", b"GET", b"APPLY", b"COMPRESS", b"AUTHENTICATE"];
    Some(known.iter().any(|verb| word.eq_ignore_ascii_case(verb)))
}

fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', line) {
        Some(space) => (&line[..space], Some(&line[space + 1..])),
        None => (line, None),
    }
}

fn compress(rest: Option<&[u8]>) -> Verb<'_> {
    match rest.map(split) {
        None | Some((b"", _)) => Verb::Bad("Missing required argument to Compress"),
        Some((_, Some(_))) => Verb::Bad("Unexpected extra arguments to Compress"),
        Some((algorithm, None)) => Verb::Compress(algorithm),
    }
}

fn authenticate(rest: Option<&[u8]>) -> Verb<'_> {
    let Some((mechanism, initial)) = rest.map(split).filter(|(word, _)| !word.is_empty()) else {
        return Verb::Bad("Missing required argument to Authenticate");
    };
    let is_atom = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !mechanism.iter().all(is_atom) {
        return Verb::Bad("Invalid mechanism");
    }
    if initial.is_some_and(|initial| initial.contains(&b' ')) {
        return Verb::Bad("Unexpected extra arguments to Authenticate");
    }
    Verb::Authenticate(mechanism, initial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let rows: [(&str, Verb<'_>); 21] = [
            ("noop", Verb::Noop),
            ("NOOP x", Verb::Bad("Unexpected extra arguments to Noop")),
            ("Restart", Verb::Restart),
            ("EXIT", Verb::Exit),
            ("EXIT ", Verb::Bad("Unexpected extra arguments to Exit")),
            ("", Verb::Bad("Null command")),
            (" GET USER x", Verb::Bad("Null command")),
            ("RESTORE", Verb::Bad(UNRECOGNIZED)),
            ("STARTTLS", Verb::Bad(UNRECOGNIZED)),
            ("get USER x", Verb::Get),
            ("GET", Verb::Bad("Missing required argument to Get")),
            ("Apply SUB %()", Verb::Apply),
            ("COMPRESS", Verb::Bad("Missing required argument to Compress")),
            ("COMPRESS ", Verb::Bad("Missing required argument to Compress")),
            ("COMPRESS FOO", Verb::Compress(b"FOO")),
            ("COMPRESS DEFLATE x", Verb::Bad("Unexpected extra arguments to Compress")),
            ("AUTHENTICATE", Verb::Bad("Missing required argument to Authenticate")),
            ("AUTHENTICATE \"PLAIN\"", Verb::Bad("Invalid mechanism")),
            ("authenticate plain", Verb::Authenticate(b"plain", None)),
            ("AUTHENTICATE PLAIN =", Verb::Authenticate(b"PLAIN", Some(b"="))),
            ("AUTHENTICATE PLAIN a b", Verb::Bad("Unexpected extra arguments to Authenticate")),
        ];
        for (line, verb) in rows {
            assert_eq!(parse(line.as_bytes()), verb, "{line}");
        }
    }

    #[test]
    fn known_as_soon_as_it_can_be_told() {
        for (head, known) in [
            ("AP", None),
            ("APPLY", None),
            ("APPLY ", Some(true)),
            ("apply MAILBOX", Some(true)),
            ("APPLYING ", Some(false)),
            ("RESTORE MAILBOX", Some(false)),
            ("AUTHENTICATED", Some(false)),
            ("\u{1}\u{2}\u{3}junkjunkjunk", Some(false)),
            (" ", Some(false)),
        ] {
            assert_eq!(is_known(head.as_bytes()), known, "{head}");
        }
    }
}

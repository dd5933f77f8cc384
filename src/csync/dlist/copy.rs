//! A line text from one direction to the other without a tree in between: only the `+` of its
//! literals comes or goes, all else is kept to the byte.

use super::print::{Literal, print_literal_header};
use crate::csync::header::{LITERAL_HEADER, literal_header};

/// Appends `text` with all its literals in the wanted form.
///
/// Takes texts that parse; of others it copies what it does not understand.
pub fn copy_with_literals(text: &[u8], out: &mut Vec<u8>, literal: Literal) {
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'{', &text[at..]) {
        at += found;
        if text[at] == b'"' {
            at = end_of_quoted(text, at);
            continue;
        }
        match literal_at(text, at) {
            Some((size, octets)) => {
                out.extend_from_slice(&text[copied..at]);
                print_literal_header(size, out, literal);
                copied = octets;
                at = octets + size;
            }
            None => at += 1,
        }
    }
    out.extend_from_slice(&text[copied..]);
}

fn end_of_quoted(text: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at.min(text.len())..]) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// The size of the literal whose `{` is at `at`, and where its octets start; all of them are there.
fn literal_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if !matches!(text[..at].last(), Some(b' ' | b'(')) {
        return None;
    }
    let window = &text[at..text.len().min(at + LITERAL_HEADER)];
    let lf = memchr::memchr(b'\n', window)?;
    let size = usize::try_from(literal_header(&window[..=lf])?).ok()?;
    let octets = at + lf + 1;
    (size <= text.len() - octets).then_some((size, octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plus_of_literals_changes() {
        let wire =
            "A %(B {3+}\r\n {1 C \"a {2+} \\\" b\" D a{2+} E {0+}\r\n F (%{p g 1}\r\n {2}\nxy))";
        let file =
            "A %(B {3}\r\n {1 C \"a {2+} \\\" b\" D a{2+} E {0}\r\n F (%{p g 1}\r\n {2}\r\nxy))";
        let mut out = Vec::new();
        copy_with_literals(wire.as_bytes(), &mut out, Literal::Sync);
        assert_eq!(String::from_utf8(out).unwrap(), file);
    }

    #[test]
    fn broken_text_is_copied() {
        for text in [
            "A {5}\r\nabc",
            "A \"abc\\",
            "A \"abc",
            "A {",
            "{1}\r\na",
            "A {99999999999}\r\n",
        ] {
            let mut out = Vec::new();
            copy_with_literals(text.as_bytes(), &mut out, Literal::NonSync);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}

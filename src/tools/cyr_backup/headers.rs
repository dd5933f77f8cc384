//! The header of a message: its bytes, and its fields unfolded. Nothing is decoded.

pub(super) use crate::tools::render::mbox::block;

/// Name and value of each field in order: values unfolded (line ends taken out, the blanks after
/// them kept) and without leading blanks. Lines without a colon are passed over.
pub(super) fn fields(message: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut open = false;
    for line in block(message).split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if let Some((_, value)) = fields.last_mut().filter(|_| open) {
                value.extend_from_slice(line);
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        open = colon.is_some();
        if let Some(colon) = colon {
            fields.push((line[..colon].to_vec(), line[colon + 1..].to_vec()));
        }
    }
    for (_, value) in &mut fields {
        let blanks = value
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        value.drain(..blanks);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_end_at_the_empty_line() {
        for (message, expected) in [
            (&b"A: 1\r\nB: 2\r\n\r\nbody"[..], &b"A: 1\r\nB: 2\r\n"[..]),
            (b"A: 1\nB: 2\n\nbody", b"A: 1\nB: 2\n"),
            (b"\r\nbody", b""),
            (b"A: 1\r\n", b"A: 1\r\n"),
            (b"", b""),
        ] {
            assert_eq!(block(message), expected);
        }
    }

    #[test]
    fn fields_are_unfolded() {
        let message =
            b" stray\r\nSubject: \t x\r\n y\r\nno colon\r\n lost\r\nX-E:\r\nX : v:w\r\n\r\nB: 1";
        let expected: Vec<(Vec<u8>, Vec<u8>)> = [("Subject", "x y"), ("X-E", ""), ("X ", "v:w")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        assert_eq!(fields(message), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_header(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(message.starts_with(block(&message)));
            for (name, value) in fields(&message) {
                prop_assert!(!name.contains(&b'\n') && !value.contains(&b'\n'));
            }
        }
    }
}

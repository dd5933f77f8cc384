//! The headers of literals and of file literals, the two places where the fragmenter and the dlist
//! parser must agree to the byte.

use super::dlist::{FileRef, parse_u64};
use crate::types::Guid;

/// No literal header is longer: 20 digits, brackets, plus, line end, and some leading zeros.
pub(crate) const LITERAL_HEADER: usize = 32;

/// `"{" number [ "+" ] "}" [ CR ] LF` → number
pub(crate) fn literal_header(header: &[u8]) -> Option<u64> {
    let number = without_line_end(header)?
        .strip_prefix(b"{")?
        .strip_suffix(b"}")?;
    parse_u64(number.strip_suffix(b"+").unwrap_or(number))
}

/// `"%{" part SP guid SP size "}" [ CR ] LF`, where part and guid are atoms or quoted strings and
/// size fits in 32 bits (spec: csync 2.1).
pub(crate) fn file_header(header: &[u8]) -> Option<FileRef> {
    let inner = without_line_end(header)?
        .strip_prefix(b"%{")?
        .strip_suffix(b"}")?;
    let (partition, rest) = astring(inner)?;
    let (guid, rest) = astring(rest.trim_ascii_start())?;
    let size: u32 = parse_u64(rest.trim_ascii_start())?.try_into().ok()?;
    let guid = Guid::from_hex(&guid).ok()?;
    Some(FileRef {
        partition,
        guid,
        size: size.into(),
    })
}

/// The size alone, of a header that may be wrong otherwise: it tells how many octets follow.
pub(crate) fn file_size(header: &[u8]) -> Option<u64> {
    let inner = without_line_end(header)?.strip_suffix(b"}")?;
    parse_u64(inner.rsplit(|&byte| byte == b' ').next()?)
}

fn without_line_end(header: &[u8]) -> Option<&[u8]> {
    let line = header.strip_suffix(b"\n")?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// An atom or quoted string that is followed by SP, and what comes after the SP.
fn astring(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&byte| byte == b' ')?;
        let word = &text[..end];
        let is_atom = !word.is_empty() && !word.iter().any(|byte| b"()\"{}\t\r\n".contains(byte));
        return is_atom.then(|| (word.to_vec(), &text[end + 1..]));
    };
    let mut octets = Vec::new();
    loop {
        match quoted {
            [b'"', b' ', rest @ ..] => return Some((octets, rest)),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..]
                if !b"\"\r\n".contains(byte) || quoted[0] == b'\\' =>
            {
                octets.push(*byte);
                quoted = rest;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    #[test]
    fn literal_headers() {
        assert_eq!(literal_header(b"{0}\r\n"), Some(0));
        assert_eq!(literal_header(b"{17+}\n"), Some(17));
        for bad in [
            "{}\r\n", "{+}\r\n", "{1-}\r\n", "{ 1}\r\n", "{1}\r", "{1} \r\n", "1}\r\n",
        ] {
            assert_eq!(literal_header(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn file_headers() {
        let file = file_header(format!("%{{default {GUID} 142}}\r\n").as_bytes()).unwrap();
        assert_eq!((&file.partition[..], file.size), (&b"default"[..], 142));
        assert_eq!(file.guid, Guid::of(b""));
        let quoted = format!("%{{\"a \\\"}} b\" \"{GUID}\" 4294967295}}\n");
        let file = file_header(quoted.as_bytes()).unwrap();
        assert_eq!(
            (&file.partition[..], file.size),
            (&b"a \"} b"[..], 4_294_967_295)
        );
        for bad in [
            format!("%{{default {GUID}a 142}}\r\n"),
            format!("%{{default {GUID} 4294967296}}\r\n"),
            format!("%{{{GUID} 142}}\r\n"),
            format!("%{{default {GUID}}}\r\n"),
            format!("%{{ {GUID} 142}}\r\n"),
            format!("%{{\"default {GUID} 142}}\r\n"),
            format!("%{{\"\\\" {GUID} 142}}\r\n"),
            format!("%{{default {GUID} 142}}"),
        ] {
            assert_eq!(file_header(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_wrong_header_still_tells_its_size() {
        assert_eq!(file_size(b"%{default over-long-guid 12}\r\n"), Some(12));
        assert_eq!(file_size(b"%{default guid x}\r\n"), None);
    }
}

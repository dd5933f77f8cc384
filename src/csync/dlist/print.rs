//! Values back to bytes, as C's writer prints them (spec: csync 2.2, 2.3).

use std::io::Write;

use super::value::{FileRef, KvList, Value};
use crate::types::Guid;

/// Strings of this many bytes are always literals.
const LONGEST_INLINE: usize = 1024;

/// The two forms of a literal; every version accepts exactly one per direction (spec: csync 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `{n}`: to clients and into data files.
    Sync,
    /// `{n+}`: to servers.
    NonSync,
}

impl Value {
    /// Appends the wire form. Of a file only the header `%{…}` CRLF is printed: the octets, which
    /// must follow at once, are the caller's.
    ///
    /// An [`Value::Atom`] that could not be read back as the same atom is printed as a string.
    pub fn print(&self, out: &mut Vec<u8>, literal: Literal) {
        match self {
            Value::Nil => out.extend_from_slice(b"NIL"),
            Value::Atom(word) => print_word(word, out, literal),
            Value::String(octets) => print_string(octets, out, literal),
            Value::List(values) => print_list(values, out, literal),
            Value::KvList(items) => items.print(out, literal),
            Value::File(file) => file.print(out, literal),
        }
    }
}

fn print_list(values: &[Value], out: &mut Vec<u8>, literal: Literal) {
    out.push(b'(');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        value.print(out, literal);
    }
    out.push(b')');
}

impl KvList {
    /// Appends `%(KEY value …)`.
    pub fn print(&self, out: &mut Vec<u8>, literal: Literal) {
        out.extend_from_slice(b"%(");
        self.print_items(out, literal);
        out.push(b')');
    }

    /// Appends `KEY value …` without the parentheses.
    pub fn print_items(&self, out: &mut Vec<u8>, literal: Literal) {
        for (i, (key, value)) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            print_string(key.as_bytes(), out, literal);
            out.push(b' ');
            value.print(out, literal);
        }
    }
}

impl FileRef {
    /// Appends the header `%{partition guid size}` CRLF.
    ///
    /// A partition that is neither atom nor quotable cannot stand in a header; configuration
    /// allows no such name, and it is printed as `""`.
    pub fn print(&self, out: &mut Vec<u8>, literal: Literal) {
        out.extend_from_slice(b"%{");
        let partition = match form(&self.partition) {
            Form::Literal => &b""[..],
            Form::Atom if self.partition.contains(&b'}') => &b""[..],
            _ => &self.partition,
        };
        print_string(partition, out, literal);
        out.push(b' ');
        print_guid(&self.guid, out);
        append(out, format_args!(" {}}}\r\n", self.size));
    }
}

/// Appends a word raw, as C writes flags; one that could not be read back as the same word is
/// printed as a string.
pub fn print_word(word: &[u8], out: &mut Vec<u8>, literal: Literal) {
    if is_bare(word) {
        out.extend_from_slice(word)
    } else {
        print_string(word, out, literal)
    }
}

/// Appends a string as atom, quoted string or literal (spec: csync 2.3).
pub fn print_string(octets: &[u8], out: &mut Vec<u8>, literal: Literal) {
    match form(octets) {
        Form::Atom => out.extend_from_slice(octets),
        Form::Quoted => {
            out.push(b'"');
            out.extend_from_slice(octets);
            out.push(b'"');
        }
        Form::Literal => {
            print_literal_header(octets.len(), out, literal);
            out.extend_from_slice(octets);
        }
    }
}

pub(super) fn print_literal_header(size: usize, out: &mut Vec<u8>, literal: Literal) {
    let plus = match literal {
        Literal::Sync => "",
        Literal::NonSync => "+",
    };
    append(out, format_args!("{{{size}{plus}}}\r\n"));
}

/// Appends a decimal number.
pub fn print_number(number: u64, out: &mut Vec<u8>) {
    append(out, format_args!("{number}"));
}

/// Appends the 40 lower-case hex digits of a GUID. Every record has one, and formatting its bytes
/// one by one took most of the time of printing a record.
pub fn print_guid(guid: &Guid, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = guid
        .as_bytes()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15]);
    out.extend(digits.map(|digit| DIGITS[usize::from(digit)]));
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec has no way to fail.
    let _ = out.write_fmt(text);
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Atom,
    Quoted,
    Literal,
}

fn form(octets: &[u8]) -> Form {
    if octets.len() >= LONGEST_INLINE {
        return Form::Literal;
    }
    if octets.is_empty() || octets == b"NIL" {
        return Form::Quoted;
    }
    octets
        .iter()
        .map(|&byte| byte_form(byte))
        .fold(Form::Atom, Form::max)
}

/// The simplest form that may hold this byte. 0x1f is an atom byte up to 3.12 and quoted in
/// master; readers take both, so we print what C's backups contain.
fn byte_form(byte: u8) -> Form {
    match byte {
        0x80.. | b'\0' | b'\r' | b'\n' | b'"' | b'%' | b'\\' => Form::Literal,
        ..=0x1e | 0x7f | b' ' | b'(' | b')' | b'{' | b'*' => Form::Quoted,
        _ => Form::Atom,
    }
}

/// Does a reader get these bytes back when they are printed raw (spec: csync 2.4)?
fn is_bare(word: &[u8]) -> bool {
    let special_start = word.starts_with(b"{") || word.starts_with(b"%{");
    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b'"');
    !word.is_empty() && word != b"NIL" && !special_start && !word.iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(octets: &[u8], literal: Literal) -> Vec<u8> {
        let mut out = Vec::new();
        print_string(octets, &mut out, literal);
        out
    }

    /// The writer vectors of spec csync 16.
    #[test]
    fn writer_vectors() {
        let x1023 = vec![b'x'; 1023];
        let x1024 = vec![b'x'; 1024];
        let long_literal = [&b"{1024+}\r\n"[..], &x1024].concat();
        let vectors: [(&[u8], &[u8]); 14] = [
            (b"", b"\"\""),
            (b"NIL", b"\"NIL\""),
            (b"nil", b"nil"),
            (b"a b", b"\"a b\""),
            (b"a*b", b"\"a*b\""),
            (b"a%b", b"{3+}\r\na%b"),
            (b"a\"b", b"{3+}\r\na\"b"),
            (b"\\Sent", b"{5+}\r\n\\Sent"),
            (b"a]b}", b"a]b}"),
            (b"keep;", b"keep;"),
            ("café".as_bytes(), "{5+}\r\ncafé".as_bytes()),
            (b"\t", b"\"\t\""),
            (&x1023, &x1023),
            (&x1024, &long_literal),
        ];
        for (octets, wanted) in vectors {
            assert_eq!(printed(octets, Literal::NonSync), wanted);
        }
        assert_eq!(
            printed(b"a\x01\"\\", Literal::NonSync),
            b"{4+}\r\na\x01\"\\"
        );
        assert_eq!(printed(b"a\0b", Literal::Sync), b"{3}\r\na\0b");
    }

    #[test]
    fn atoms_are_raw_unless_unreadable() {
        let print = |word: &str| {
            let mut out = Vec::new();
            Value::atom(word).print(&mut out, Literal::Sync);
            String::from_utf8(out).unwrap()
        };
        for raw in ["\\Seen", "$Label1", "a*]{%", "%a", "1"] {
            assert_eq!(print(raw), raw);
        }
        assert_eq!(print(""), "\"\"");
        assert_eq!(print("NIL"), "\"NIL\"");
        assert_eq!(print("a b"), "\"a b\"");
        assert_eq!(print("{5}"), "\"{5}\"");
    }
}

//! The line grammar of imapd.conf (spec: ondisk 1.2). Pure: files come in through a function.
//! Left out: what keys mean (`settings`).
//!
//! ```text
//! file      = *( [logical] LF )           ; a line ending in "\" LF continues in the next one
//! logical   = blank / "#" anything / key ":" value / "@include:" path
//! key       = 1*( ALPHA / DIGIT / "_" / "-" )     ; any case; no space before ":"
//! value     = not empty after trimming; no quoting, no comments behind it
//! ```

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// `key: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In lower case.
    pub(super) key: String,
    /// Trimmed, not empty; bytes, because paths are.
    pub(super) value: Vec<u8>,
    /// Number of the last physical line, from 1, in the file it stands in.
    pub(super) line: usize,
}

/// Gives the content of a file.
pub(super) type ReadFile<'a> = dyn FnMut(&Path) -> Result<Vec<u8>, ConfigError> + 'a;

/// Takes an entry, or says why it is wrong. It is called in the order of the lines, so the error
/// reported is the first one of the file.
pub(super) type Sink<'a> = dyn FnMut(Entry) -> Result<(), ConfigError> + 'a;

/// Reads a file and all that it includes.
pub(super) fn parse(
    path: &Path,
    read: &mut ReadFile<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), ConfigError> {
    let mut parser = Parser {
        seen: HashSet::new(),
        read,
        sink,
    };
    parser.file(path)
}

struct Parser<'a, 'r, 's> {
    /// Every path may be read once: that ends include loops.
    seen: HashSet<PathBuf>,
    read: &'a mut ReadFile<'r>,
    sink: &'a mut Sink<'s>,
}

impl Parser<'_, '_, '_> {
    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        if !self.seen.insert(path.to_owned()) {
            return Err(ConfigError::IncludedTwice { path: show(path) });
        }
        let text = (self.read)(path)?;
        for (line, logical) in logical_lines(&text) {
            self.line(path, line, &logical)?;
        }
        Ok(())
    }

    fn line(&mut self, path: &Path, line: usize, logical: &[u8]) -> Result<(), ConfigError> {
        let text = trim(logical);
        if text.is_empty() || text.starts_with(b"#") {
            return Ok(());
        }
        let directive = text.starts_with(b"@");
        let bad_name = || ConfigError::OptionName {
            line,
            path: show(path),
        };
        let (key, value) = split_key(&text[usize::from(directive)..]).ok_or_else(bad_name)?;
        if value.is_empty() {
            return Err(ConfigError::EmptyValue { line });
        }
        match (directive, key.as_str()) {
            // C aborts here.
            (false, "") => Err(bad_name()),
            (false, _) => (self.sink)(Entry {
                key,
                value: value.to_owned(),
                line,
            }),
            (true, "include") => self.file(Path::new(OsStr::from_bytes(value))),
            (true, _) => Err(ConfigError::Directive {
                line,
                path: show(path),
            }),
        }
    }
}

/// Joins physical lines. A backslash counts only directly before the newline. What wants to be
/// continued at the end of the file is dropped, as in C.
fn logical_lines(text: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let mut joined = Vec::new();
    let physical = text.split_inclusive(|&byte| byte == b'\n').enumerate();
    physical.filter_map(move |(index, line)| {
        if let Some(continued) = line.strip_suffix(b"\\\n") {
            joined.extend_from_slice(continued);
            return None;
        }
        joined.extend_from_slice(line);
        Some((index + 1, std::mem::take(&mut joined)))
    })
}

/// `key:value`, both trimmed, the key in lower case.
fn split_key(text: &[u8]) -> Option<(String, &[u8])> {
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let end = text.iter().position(|byte| !is_key(byte))?;
    if text[end] != b':' {
        return None;
    }
    let key = text[..end].iter().map(|&byte| byte as char);
    let key = key.collect::<String>().to_ascii_lowercase();
    Some((key, trim(&text[end + 1..])))
}

/// Without white space as C's isspace(3) sees it, and without all that follows a NUL.
fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let start = text.iter().take_while(|byte| is_space(byte)).count();
    let end = text.iter().rev().take_while(|byte| is_space(byte)).count();
    text.get(start..text.len() - end).unwrap_or_default()
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `key=value@line` of every entry, or the error.
    fn entries(files: &[(&str, &[u8])]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let mut read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| text.to_vec())
                .ok_or_else(|| ConfigError::Open {
                    path: show(path),
                    reason: "No such file or directory".to_owned(),
                })
        };
        let mut sink = |entry: Entry| {
            let value = String::from_utf8_lossy(&entry.value);
            found.push(format!("{}={}@{}", entry.key, value, entry.line));
            Ok(())
        };
        parse(Path::new(files[0].0), &mut read, &mut sink).map_err(|error| error.to_string())?;
        Ok(found)
    }

    #[test]
    fn lines_that_cyrus_accepts() {
        for (text, expected) in [
            ("", &[] as &[&str]),
            ("a: b", &["a=b@1"]),
            ("# x\n\n \t# y\na:b\n", &["a=b@4"]),
            ("A-b_9:\tB # c \n", &["a-b_9=B # c@1"]),
            (" \t\x0b\x0ca:b\x0b \x0c\n", &["a=b@1"]),
            ("a: \"b  c\"\r\n\r\nd: e\r\n", &["a=\"b  c\"@1", "d=e@3"]),
            ("a: b \\\n c\nd: e\n", &["a=b  c@2", "d=e@3"]),
            ("a\\\n: b\n", &["a=b@2"]),
            ("# c \\\na: b\nd: e", &["d=e@3"]),
            ("a: b \\", &["a=b \\@1"]),
            ("a: b\\", &["a=b\\@1"]),
            ("a: b\nc: d\\\n", &["a=b@1"]),
            ("a: b\\\r\nd: e\n", &["a=b\\@1", "d=e@2"]),
            ("a: b\\\\\nc\n", &["a=b\\c@2"]),
            ("a: b\0c\nd: e\n", &["a=b@1", "d=e@2"]),
            ("include: x\n", &["include=x@1"]),
            ("a: {configdirectory}/x", &["a={configdirectory}/x@1"]),
        ] {
            let found = entries(&[("F", text.as_bytes())]);
            assert_eq!(found.unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_that_cyrus_refuses() {
        const NAME: &str = "invalid option name on line 1 of configuration file F";
        const EMPTY: &str = "empty option value on line 1 of configuration file";
        const DIRECTIVE: &str = "invalid directive on line 1 of configuration file F";
        for (text, error) in [
            ("a : b", NAME),
            ("a", NAME),
            ("a\n", NAME),
            (": b", NAME),
            ("a.b: c", NAME),
            ("a@b: c", NAME),
            ("é: c", NAME),
            ("\u{feff}a: c", NAME),
            ("@@include: c", NAME),
            ("@include /x", NAME),
            ("@x", NAME),
            ("@x: y", DIRECTIVE),
            ("@: y", DIRECTIVE),
            ("a:", EMPTY),
            ("a: \t\r\n", EMPTY),
            ("@include:", EMPTY),
            ("@x:", EMPTY),
            (": ", EMPTY),
            (
                "a:\\\n\\\n\n",
                "empty option value on line 3 of configuration file",
            ),
            ("@include: F", "configuration file F included twice"),
            (
                "@include: /nope",
                "can't open configuration file /nope: No such file or directory",
            ),
        ] {
            let found = entries(&[("F", text.as_bytes())]);
            assert_eq!(found.unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn includes_are_read_in_place_with_line_numbers_of_their_own() {
        let files: &[(&str, &[u8])] = &[
            ("F", b"a: 1\n@Include: /g \nb: 2\n"),
            ("/g", b"\nc: 3\n@include: /h\n"),
            ("/h", b"d: 4"),
        ];
        assert_eq!(
            entries(files).unwrap(),
            ["a=1@1", "c=3@2", "d=4@1", "b=2@3"]
        );
    }

    #[test]
    fn a_loop_of_includes_ends() {
        let files: &[(&str, &[u8])] = &[("F", b"@include: /g"), ("/g", b"@include: F")];
        assert_eq!(
            entries(files).unwrap_err(),
            "configuration file F included twice"
        );
    }

    #[test]
    fn errors_name_the_included_file() {
        let files: &[(&str, &[u8])] = &[("F", b"\n@include: /g"), ("/g", b"bad line\n")];
        assert_eq!(
            entries(files).unwrap_err(),
            "invalid option name on line 1 of configuration file /g"
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = entries(&[("F", &text)]);
        }

        #[test]
        fn what_is_printed_is_read(pairs in prop::collection::vec(("[a-z_-]{1,9}", "[!-~]{1,9}"), 0..9)) {
            // A backslash at the end of a line would continue it.
            let pairs: Vec<_> = pairs.into_iter().filter(|(_, v)| !v.ends_with('\\')).collect();
            let text: String = pairs.iter().map(|(k, v)| format!(" {k}:  {v} \n")).collect();
            let expected: Vec<_> = pairs
                .iter()
                .enumerate()
                .map(|(i, (k, v))| format!("{k}={v}@{}", i + 1))
                .collect();
            prop_assert_eq!(entries(&[("F", text.as_bytes())]), Ok(expected));
        }
    }
}

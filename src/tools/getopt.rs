//! Command lines read as GNU getopt reads them, which is what scripts around the C tools rely on:
//! options may follow names, `-ab` is `-a -b`, `-C FILE` is `-CFILE`, `--` ends the options, long
//! options may be shortened while they stay unique (spec: ondisk 7.0).
//!
//! Left out: `-W`, single-dash long options, and the "in order" mode.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One option of a tool; `K` is the tool's own name for it.
pub struct Opt<K> {
    /// What the tool matches on.
    pub key: K,
    /// The letter, if it has one.
    pub short: Option<u8>,
    /// The word after `--`, if it has one.
    pub long: Option<&'static str>,
    /// Whether a value follows.
    pub value: Value,
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Never.
    None,
    /// Always: the rest of the word, or the next word.
    Required,
    /// As `Required`, but the last word of a command line may go without (ctl_backups' `-t`). The
    /// long form takes a value only after `=`.
    RequiredUnlessLast,
}

/// What a command line says: options in order, and the other words in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed<K> {
    /// Each option with its value.
    pub options: Vec<(K, Option<OsString>)>,
    /// Everything that is not an option.
    pub operands: Vec<OsString>,
}

/// A command line that getopt refuses; Display is glibc's text behind the program name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// A letter nobody knows.
    UnknownShort(u8),
    /// A letter without its value.
    MissingValue(u8),
    /// A long option nobody knows, as it was given.
    UnknownLong(String),
    /// A long option without its value.
    MissingLongValue(&'static str),
    /// A long option with a value it does not take.
    UnwantedValue(&'static str),
    /// A shortened long option that fits several.
    Ambiguous(String, Vec<&'static str>),
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Complaint::UnknownShort(letter) => {
                write!(f, "invalid option -- '{}'", char::from(*letter))
            }
            Complaint::MissingValue(letter) => {
                write!(
                    f,
                    "option requires an argument -- '{}'",
                    char::from(*letter)
                )
            }
            Complaint::UnknownLong(word) => write!(f, "unrecognized option '--{word}'"),
            Complaint::MissingLongValue(word) => {
                write!(f, "option '--{word}' requires an argument")
            }
            Complaint::UnwantedValue(word) => {
                write!(f, "option '--{word}' doesn't allow an argument")
            }
            Complaint::Ambiguous(word, candidates) => {
                write!(f, "option '--{word}' is ambiguous; possibilities:")?;
                candidates.iter().try_for_each(|c| write!(f, " '--{c}'"))
            }
        }
    }
}

/// Whether a word that is no option ends the options, as POSIX wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Options may stand anywhere (GNU's habit).
    Permute,
    /// The first other word ends them (environment variable `POSIXLY_CORRECT`).
    Posix,
}

impl Order {
    /// What the environment asks for.
    pub fn from_environment() -> Order {
        match std::env::var_os("POSIXLY_CORRECT") {
            Some(_) => Order::Posix,
            None => Order::Permute,
        }
    }
}

/// Reads a command line without its program name. Stops at the first thing it cannot accept.
pub fn parse<K: Copy>(
    options: &[Opt<K>],
    words: impl IntoIterator<Item = OsString>,
    order: Order,
) -> Result<Parsed<K>, Complaint> {
    let mut parsed = Parsed {
        options: Vec::new(),
        operands: Vec::new(),
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_bytes() {
            b"--" => break,
            [b'-', b'-', long @ ..] => {
                let found = long_option(options, long, &mut words)?;
                parsed.options.push(found);
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                cluster(options, letters, &mut words, &mut parsed)?;
            }
            _ => {
                parsed.operands.push(word);
                if order == Order::Posix {
                    break;
                }
            }
        }
    }
    parsed.operands.extend(words);
    Ok(parsed)
}

/// `-abVALUE`: letters until one takes a value, which is the rest or the next word.
fn cluster<K: Copy>(
    options: &[Opt<K>],
    mut letters: &[u8],
    words: &mut impl Iterator<Item = OsString>,
    parsed: &mut Parsed<K>,
) -> Result<(), Complaint> {
    while let [letter, rest @ ..] = letters {
        let option = options
            .iter()
            .find(|option| option.short == Some(*letter))
            .ok_or(Complaint::UnknownShort(*letter))?;
        if option.value == Value::None {
            parsed.options.push((option.key, None));
            letters = rest;
            continue;
        }
        let value = if rest.is_empty() {
            words.next()
        } else {
            Some(owned(rest))
        };
        if value.is_none() && option.value == Value::Required {
            return Err(Complaint::MissingValue(*letter));
        }
        parsed.options.push((option.key, value));
        return Ok(());
    }
    Ok(())
}

/// `--word`, `--word=value`, `--word value`; any unique beginning of the word will do.
fn long_option<K: Copy>(
    options: &[Opt<K>],
    given: &[u8],
    words: &mut impl Iterator<Item = OsString>,
) -> Result<(K, Option<OsString>), Complaint> {
    let (word, value) = match given.iter().position(|b| *b == b'=') {
        Some(at) => (&given[..at], Some(owned(&given[at + 1..]))),
        None => (given, None),
    };
    let (option, name) = find_long(options, word)?;
    match (option.value, value) {
        (Value::None, Some(_)) => Err(Complaint::UnwantedValue(name)),
        (Value::Required, None) => match words.next() {
            Some(value) => Ok((option.key, Some(value))),
            None => Err(Complaint::MissingLongValue(name)),
        },
        (_, value) => Ok((option.key, value)),
    }
}

fn find_long<'a, K>(
    options: &'a [Opt<K>],
    word: &[u8],
) -> Result<(&'a Opt<K>, &'static str), Complaint> {
    let named = || options.iter().filter_map(|o| o.long.map(|name| (o, name)));
    if let Some(exact) = named().find(|(_, name)| name.as_bytes() == word) {
        return Ok(exact);
    }
    let candidates: Vec<_> = named()
        .filter(|(_, name)| name.as_bytes().starts_with(word))
        .collect();
    let text = || String::from_utf8_lossy(word).into_owned();
    match candidates.as_slice() {
        [] => Err(Complaint::UnknownLong(text())),
        [one] => Ok(*one),
        _ => Err(Complaint::Ambiguous(
            text(),
            candidates.iter().map(|(_, name)| *name).collect(),
        )),
    }
}

fn owned(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// C's atoi: blanks, a sign, digits; whatever follows is ignored, and no digits are 0. Saturates.
pub fn atoi(text: &OsStr) -> i64 {
    let bytes = text.as_bytes().trim_ascii_start();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let size = digits
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0i64, |n, digit| {
            n.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
        });
    if negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: &[Opt<char>] = &[
        Opt {
            key: 'C',
            short: Some(b'C'),
            long: None,
            value: Value::Required,
        },
        Opt {
            key: 'v',
            short: Some(b'v'),
            long: Some("verbose"),
            value: Value::None,
        },
        Opt {
            key: 't',
            short: Some(b't'),
            long: Some("stale"),
            value: Value::RequiredUnlessLast,
        },
        Opt {
            key: 's',
            short: Some(b's'),
            long: Some("sqlite3"),
            value: Value::None,
        },
        Opt {
            key: 'f',
            short: None,
            long: Some("file"),
            value: Value::Required,
        },
    ];

    fn read(line: &[&str], order: Order) -> Result<String, String> {
        let parsed = parse(OPTIONS, line.iter().map(OsString::from), order);
        let parsed = parsed.map_err(|complaint| complaint.to_string())?;
        let mut words: Vec<String> = parsed
            .options
            .iter()
            .map(|(key, value)| match value {
                Some(value) => format!("-{key}={}", value.to_string_lossy()),
                None => format!("-{key}"),
            })
            .collect();
        words.extend(
            parsed
                .operands
                .iter()
                .map(|o| o.to_string_lossy().into_owned()),
        );
        Ok(words.join(" "))
    }

    #[test]
    fn lines_as_getopt_reads_them() {
        for (line, expected) in [
            (&["list", "-v", "anne"][..], "-v list anne"),
            (&["-vvCfile", "list"], "-v -v -C=file list"),
            (&["-vC", "-v"], "-v -C=-v"),
            (&["list", "-t"], "-t list"),
            (&["list", "-t", "anne"], "-t=anne list"),
            (&["list", "-t48"], "-t=48 list"),
            (&["--stale", "anne", "--stale=5"], "-t -t=5 anne"),
            (&["--file=a=b", "--file", "--"], "-f=a=b -f=--"),
            (&["--verb", "-", ""], "-v - "),
            (&["a", "--", "-v", "--"], "a -v --"),
        ] {
            assert_eq!(
                read(line, Order::Permute).as_deref(),
                Ok(expected),
                "{line:?}"
            );
        }
        assert_eq!(
            read(&["-v", "a", "-v", "--"], Order::Posix).as_deref(),
            Ok("-v a -v --")
        );
    }

    #[test]
    fn complaints_are_glibc_s() {
        for (line, expected) in [
            (&["-Z", "-Y"][..], "invalid option -- 'Z'"),
            (&["x", "-vC"], "option requires an argument -- 'C'"),
            (&["--nope=1"], "unrecognized option '--nope'"),
            (&["--file"], "option '--file' requires an argument"),
            (
                &["--verbose=1"],
                "option '--verbose' doesn't allow an argument",
            ),
            (
                &["--s"],
                "option '--s' is ambiguous; possibilities: '--stale' '--sqlite3'",
            ),
        ] {
            assert_eq!(
                read(line, Order::Permute),
                Err(expected.to_owned()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn atoi_like_c() {
        let values =
            ["24", " -7x", "+3", "abc", "", "-", "99999999999999999999"].map(OsString::from);
        let expected = [24, -7, 3, 0, 0, 0, i64::MAX];
        assert_eq!(values.map(|v| atoi(&v)), expected);
    }

    proptest! {
        /// Nothing is lost and nothing invented: without options, the words come back.
        #[test]
        fn operands_survive(words in proptest::collection::vec("[a-z /.@%]*", 0..6)) {
            let line = words.iter().map(OsString::from);
            let parsed = parse(OPTIONS, line, Order::Permute).expect("no options, no complaint");
            prop_assert!(parsed.options.is_empty());
            prop_assert_eq!(parsed.operands, words.iter().map(OsString::from).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_or_refused(words in proptest::collection::vec(
            proptest::collection::vec(1u8..=255, 0..8), 0..5)) {
            let _ = parse(OPTIONS, words.into_iter().map(OsString::from_vec), Order::Permute);
        }
    }
}

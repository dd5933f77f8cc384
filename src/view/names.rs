//! From names of mailboxes, users and messages to file names: readable, safe, and never the same for
//! two different names. Pure.
//!
//! A byte that cannot stand in a file name becomes `%` and two hex digits, as in URLs; a `%` that two
//! hex digits follow is escaped itself, so the original can always be told. What is escaped: `/`,
//! control characters, a leading dot of `.` and `..`, and one character of names that the tree uses
//! itself (a folder called `17.eml` becomes `17%2Eeml`).

use std::fmt::Write as _;

use crate::types::{Guid, mutf7};

/// Longest file name that Linux file systems take, in bytes.
pub const MAX_BYTES: usize = 255;

/// File of a folder that lists the messages whose bodies the backup does not hold.
pub const MISSING: &str = "missing.txt";

/// File name for one component of a mailbox name, in modified UTF-7 as Cyrus stores it. What is no
/// proper modified UTF-7 stays as it is, with everything escaped that a proper name could show.
pub fn folder(component: &str) -> String {
    let name = match mutf7::decode(component) {
        Some(decoded) => escape(&decoded, |_| false),
        None => escape(component, |c| c == '&' || !c.is_ascii()),
    };
    shorten(unreserve(name))
}

/// File name for a folder directly below a user's INBOX: these stand beside `INBOX` itself.
pub fn top_folder(component: &str) -> String {
    match folder(component) {
        name if name == "INBOX" => "%49NBOX".to_owned(),
        name => name,
    }
}

/// Another file name for a mailbox whose name is taken by a mailbox of the same name.
pub fn nth(name: &str, mailbox: i64) -> String {
    shorten(format!("{name}%~{mailbox}"))
}

/// File name for a user or another backup key.
pub fn user(key: &str) -> String {
    shorten(escape(key, |_| false))
}

/// Another name for a mailbox that was deleted at this moment (unix seconds).
pub fn deleted(name: &str, time: i64) -> String {
    shorten(format!("{name}@{}", compact(time)))
}

/// A moment as it can stand in a file name on every file system: `2026-10-01T093000Z`.
pub fn compact(time: i64) -> String {
    match jiff::Timestamp::from_second(time) {
        Ok(moment) => moment.strftime("%Y-%m-%dT%H%M%SZ").to_string(),
        Err(_) => time.to_string(),
    }
}

/// Directory of a mailbox in Maildir++: its components, still in modified UTF-7, with a dot before
/// each. INBOX has no component and is the maildir itself.
pub fn maildir(components: &[String]) -> String {
    let escaped = components
        .iter()
        .map(|component| format!(".{}", escape(component, |c| c == '.' || !c.is_ascii())));
    shorten(escaped.collect())
}

/// File name of a message.
pub fn mail(uid: u32) -> String {
    format!("{uid}.eml")
}

/// File name of a message whose UID another message of the mailbox has too.
pub fn twin(uid: u32, guid: &Guid) -> String {
    format!("{uid}.{guid}.eml")
}

/// File name of a message in a maildir; it can be told from its UID, and two messages with one UID
/// have different names.
pub fn maildir_mail(uid: u32, guid: &Guid, date: i64, size: u64, flags: &str) -> String {
    let guid = &guid.to_string()[..16];
    let flags = maildir_flags(flags);
    format!("{date}.U{uid}G{guid}.cyrus,S={size}:2,{flags}")
}

/// The flags that a maildir can show, in the order that it wants.
fn maildir_flags(flags: &str) -> String {
    let known = [
        ("\\Draft", 'D'),
        ("\\Flagged", 'F'),
        ("$Forwarded", 'P'),
        ("\\Answered", 'R'),
        ("\\Seen", 'S'),
        ("\\Deleted", 'T'),
    ];
    let has = |name: &str| flags.split(' ').any(|flag| flag.eq_ignore_ascii_case(name));
    known
        .into_iter()
        .filter(|(name, _)| has(name))
        .map(|(_, letter)| letter)
        .collect()
}

/// The UID of the message that a file name may stand for, in either layout.
pub fn uid_of(name: &str) -> Option<u32> {
    let digits = match name.split_once(".U") {
        Some((_, rest)) if name.contains(".cyrus,S=") => rest.split_once('G')?.0,
        _ if name.ends_with(".eml") => name.split_once('.')?.0,
        _ => return None,
    };
    digits.parse().ok()
}

/// File name of what is in a message of a calendar or an address book; `kind` is its suffix.
pub fn part(uid: u32, kind: &str) -> String {
    format!("{uid}.{kind}")
}

/// The UID that a file name of [`part`] asks for.
pub fn parse_part(name: &str, kind: &str) -> Option<u32> {
    let uid = name.strip_suffix(kind)?.strip_suffix('.')?.parse().ok()?;
    (part(uid, kind) == name).then_some(uid)
}

/// File name of a sieve script, which the log calls `x.script`.
pub fn script(filename: &str) -> String {
    let name = escape(filename, |_| false);
    shorten(match name.strip_suffix(".script") {
        Some(stem) if !stem.is_empty() => format!("{stem}.sieve"),
        _ => name,
    })
}

fn escape(name: &str, also: impl Fn(char) -> bool) -> String {
    let only_dots = name == "." || name == "..";
    let mut out = String::with_capacity(name.len());
    for (at, c) in name.char_indices() {
        let must = match c {
            '/' => true,
            '%' => looks_escaped(&name[at..]),
            '.' => only_dots || also(c),
            c => c.is_control() || also(c),
        };
        if must {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    if out.is_empty() {
        // An empty name cannot be a file, and no name that Cyrus takes holds a NUL.
        out.push_str("%00");
    }
    out
}

fn looks_escaped(rest: &str) -> bool {
    let digits = rest.as_bytes().get(1..3);
    digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
}

fn push_escaped(out: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a String cannot fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

/// Escapes a dot of names that this tree gives to its own files, in any case: a copy of the tree may
/// land on a file system that knows no case.
fn unreserve(name: String) -> String {
    let lower = name.to_ascii_lowercase();
    let ends_like_mail = [".eml", ".ics", ".vcf"]
        .iter()
        .any(|end| lower.ends_with(end));
    let like_mail = ends_like_mail && lower.starts_with(|c: char| c.is_ascii_digit());
    match name.rfind('.') {
        Some(dot) if like_mail || lower == MISSING => {
            format!("{}%2E{}", &name[..dot], &name[dot + 1..])
        }
        _ => name,
    }
}

/// An over-long name keeps its beginning and ends in `%~` and the SHA-1 of the whole.
fn shorten(name: String) -> String {
    if name.len() <= MAX_BYTES {
        return name;
    }
    let tail = format!("%~{}", Guid::of(name.as_bytes()));
    let mut end = MAX_BYTES - tail.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{tail}", &name[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn readable_where_possible_and_safe_where_not() {
        for (component, file) in [
            ("Archive", "Archive"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("A&-B", "A&B"),
            ("A&B", "A%26B"),
            ("Entwürfe", "Entw%C3%BCrfe"),
            ("a/b", "a%2Fb"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("...", "..."),
            ("", "%00"),
            ("17.eml", "17%2Eeml"),
            ("17.EML", "17%2EEML"),
            ("17.x.eml", "17.x%2Eeml"),
            ("17.ics", "17%2Eics"),
            ("x.eml", "x.eml"),
            ("missing.txt", "missing%2Etxt"),
            ("100%", "100%"),
            ("100%25", "100%2525"),
            ("INBOX", "INBOX"),
            ("two words", "two words"),
        ] {
            assert_eq!(folder(component), file, "{component:?}");
        }
        assert_eq!(top_folder("INBOX"), "%49NBOX");
        assert_eq!(top_folder("Inbox"), "Inbox");
        assert_eq!(user("anne/../x"), "anne%2F..%2Fx");
        assert_eq!(user("a\nb\u{85}"), "a%0Ab%C2%85");
        assert_eq!(user("%SHARED"), "%SHARED");
    }

    #[test]
    fn over_long_names_stay_different() {
        let a = folder(&mutf7::encode(&"ä".repeat(200)));
        let b = folder(&mutf7::encode(&"ä".repeat(201)));
        assert!(a.len() <= MAX_BYTES && b.len() <= MAX_BYTES);
        assert_ne!(a, b);
        assert!(a.starts_with("ää"));
    }

    #[test]
    fn names_of_messages_tell_the_uid() {
        let guid = Guid::of(b"x");
        assert_eq!(uid_of(&mail(17)), Some(17));
        assert_eq!(uid_of(&twin(17, &guid)), Some(17));
        let name = maildir_mail(17, &guid, -5, 900, "\\Seen $x \\draft $Forwarded");
        assert_eq!(name, "-5.U17G11f6ad8ec52a2984.cyrus,S=900:2,DPS");
        assert_eq!(uid_of(&name), Some(17));
        for other in ["17", ".eml", "x.eml", "4294967296.eml", "a.UxG.cyrus,S="] {
            assert_eq!(uid_of(other), None, "{other}");
        }
        assert_eq!(parse_part("17.ics", "ics"), Some(17));
        assert_eq!(parse_part("017.ics", "ics"), None);
        assert_eq!(parse_part("17.vcf", "ics"), None);
    }

    #[test]
    fn other_names() {
        assert_eq!(deleted("Old", 0), "Old@1970-01-01T000000Z");
        let components = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            maildir(&components(&["Archive", "a.b/c"])),
            ".Archive.a%2Eb%2Fc"
        );
        assert_eq!(maildir(&components(&["Entw&APw-rfe"])), ".Entw&APw-rfe");
        assert_eq!(script("vacation.script"), "vacation.sieve");
        assert_eq!(script("../x"), "..%2Fx");
        assert_eq!(script(".script"), ".script");
    }

    proptest! {
        #[test]
        fn file_names_are_legal(component in ".{0,300}") {
            for name in [folder(&component), top_folder(&component), user(&component)] {
                prop_assert!(!name.is_empty() && name.len() <= MAX_BYTES);
                prop_assert!(!name.contains('/') && !name.contains('\0'));
                prop_assert!(name != "." && name != ".." && uid_of(&name).is_none() || name == user(&component));
            }
        }

        #[test]
        fn two_names_never_meet(a in "[&/%.A2Fel17m0ä-]{0,8}", b in "[&/%.A2Fel17m0ä-]{0,8}") {
            prop_assert_eq!(folder(&a) == folder(&b), a == b);
            prop_assert_eq!(top_folder(&a) == top_folder(&b), a == b);
            prop_assert_eq!(user(&a) == user(&b), a == b);
        }
    }
}

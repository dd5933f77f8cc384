//! Small grammars of the command line: sets of UIDs, flags, sizes.

use std::str::FromStr;

/// UIDs as IMAP writes them: `5`, `1:7,9`, `20:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UidSet(Vec<(u32, u32)>);

impl UidSet {
    /// The UID is in the set.
    pub fn contains(&self, uid: u32) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&uid))
    }
}

impl FromStr for UidSet {
    type Err = String;

    fn from_str(text: &str) -> Result<UidSet, String> {
        let refuse = || format!("{text:?} is no set of UIDs: write 5, 1:7,9 or 20:*");
        let number = |word: &str| match word {
            "*" => Some(u32::MAX),
            word => word.parse().ok().filter(|uid| *uid > 0),
        };
        let range = |word: &str| {
            // The largest UID of each mailbox is not known here.
            let alone = (word, word);
            let (from, to) = word.split_once(':').or((word != "*").then_some(alone))?;
            let (from, to) = (number(from)?, number(to)?);
            Some((from.min(to), from.max(to)))
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(UidSet).ok_or_else(refuse)
    }
}

/// A flag that is wanted, or unwanted; case and the backslash of system flags do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagTest {
    name: String,
    wanted: bool,
}

impl FlagTest {
    /// Messages with (or without) this flag.
    pub fn new(name: &str, wanted: bool) -> FlagTest {
        FlagTest {
            name: bare(name).to_owned(),
            wanted,
        }
    }

    /// Holds for flags printed as `(\Seen foo)`.
    pub fn holds(&self, flags: &str) -> bool {
        let mut set = flags.trim_matches(['(', ')']).split(' ');
        set.any(|flag| bare(flag).eq_ignore_ascii_case(&self.name)) == self.wanted
    }
}

fn bare(flag: &str) -> &str {
    flag.strip_prefix('\\').unwrap_or(flag)
}

/// A text that is to be found somewhere. Nothing is in every message: `--subject "$subject"` of a script
/// whose variable is empty would purge them all.
pub(super) fn text(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("nothing is in every message; leave the option out".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Bytes, with `k`, `M` or `G` behind them for multiples of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no size: write 500, 20k, 5M or 1G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return Err(refuse()),
    };
    let count: u64 = digits.parse().map_err(|_| refuse())?;
    count.checked_mul(unit).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_sets() {
        let set: UidSet = "1:3,9,20:*,7:6".parse().unwrap();
        let inside: Vec<u32> = (1..=25).filter(|uid| set.contains(*uid)).collect();
        assert_eq!(inside, [1, 2, 3, 6, 7, 9, 20, 21, 22, 23, 24, 25]);
        for text in ["", "0", "*", "1,", "a", "1:2:3", "-1", "4294967296"] {
            assert!(text.parse::<UidSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn flags_with_and_without_backslash() {
        let flags = "(\\Seen $Forwarded)";
        for (name, holds) in [
            ("seen", true),
            ("\\SEEN", true),
            ("$forwarded", true),
            ("Se", false),
        ] {
            assert_eq!(FlagTest::new(name, true).holds(flags), holds, "{name}");
            assert_eq!(FlagTest::new(name, false).holds(flags), !holds, "{name}");
        }
        assert!(!FlagTest::new("seen", true).holds("()"));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Ok(0)),
            ("20k", Ok(20480)),
            ("5M", Ok(5 << 20)),
            ("1gb", Ok(1 << 30)),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
        for text in ["", "k", "-1", "1.5M", "5X", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}

//! The values of a dlist as a tree. Streams of records are not meant to become trees: iterate them
//! with [`Parser`](super::Parser) instead.

use crate::types::Guid;

/// One value (spec: csync 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The bare word `NIL`.
    Nil,
    /// A bare word, printed raw: numbers, GUIDs and flags too.
    Atom(Vec<u8>),
    /// A quoted string or literal on the wire, printed by the string rules (spec: csync 2.3).
    String(Vec<u8>),
    /// `(a b c)`
    List(Vec<Value>),
    /// `%(KEY value …)`
    KvList(KvList),
    /// A file literal; its octets travel outside of the line text.
    File(FileRef),
}

/// The header of a file literal: `%{partition guid size}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// The sender's partition name.
    pub partition: Vec<u8>,
    /// SHA-1 that the octets are said to have.
    pub guid: Guid,
    /// Number of octets that follow the header; fits in 32 bits.
    pub size: u64,
}

/// A key-value list, in order and with its duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvList(pub Vec<(String, Value)>);

impl Value {
    /// A string value.
    pub fn string(octets: impl Into<Vec<u8>>) -> Value {
        Value::String(octets.into())
    }

    /// A decimal number.
    pub fn number(number: u64) -> Value {
        Value::Atom(number.to_string().into_bytes())
    }

    /// A raw word such as a flag or a GUID.
    pub fn atom(word: impl Into<Vec<u8>>) -> Value {
        Value::Atom(word.into())
    }

    /// The octets of an atom or string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Atom(octets) | Value::String(octets) => Some(octets),
            _ => None,
        }
    }

    /// The text of an atom or string that is valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// The value of a digit-only atom or string that fits.
    pub fn as_u64(&self) -> Option<u64> {
        parse_u64(self.as_bytes()?)
    }

    /// As [`Value::as_u64`], below 2^32.
    pub fn as_u32(&self) -> Option<u32> {
        self.as_u64()?.try_into().ok()
    }

    /// A date in unix seconds. The wire has only unsigned numbers: C prints a date before 1970 as
    /// its 64-bit two's complement, and reads it back the same way.
    pub fn as_i64(&self) -> Option<i64> {
        Some(self.as_u64()?.cast_signed())
    }

    /// The elements of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(values) => Some(values),
            _ => None,
        }
    }

    /// The items of a key-value list.
    pub fn as_kvlist(&self) -> Option<&KvList> {
        match self {
            Value::KvList(items) => Some(items),
            _ => None,
        }
    }

    /// Is it the bare word `NIL`?
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }
}

/// number = 1*DIGIT, at most 2^64 - 1
pub(crate) fn parse_u64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

impl KvList {
    /// The value of the first item with exactly this key (spec: csync 2.4).
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value)
    }

    /// The text of `key`, when it is there and is UTF-8 text.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The number of `key`, when it is there and is one.
    pub fn get_u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The number of `key`, when it is there and fits in 32 bits.
    pub fn get_u32(&self, key: &str) -> Option<u32> {
        self.get(key)?.as_u32()
    }

    /// Replaces the value of the first item with this key, or appends one.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, slot)) => *slot = value,
            None => self.push(key, value),
        }
    }

    /// Appends an item.
    pub fn push(&mut self, key: impl Into<String>, value: Value) {
        self.0.push((key.into(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only_and_fit() {
        assert_eq!(Value::number(u64::MAX).as_u64(), Some(u64::MAX));
        assert_eq!(Value::string("007").as_u64(), Some(7));
        assert_eq!(Value::number(u64::MAX).as_i64(), Some(-1));
        assert_eq!(Value::number(4_294_967_295).as_u32(), Some(u32::MAX));
        assert_eq!(Value::number(4_294_967_296).as_u32(), None);
        for bad in ["", "-1", "+1", "1a", " 1", "18446744073709551616"] {
            assert_eq!(Value::string(bad).as_u64(), None, "{bad:?}");
        }
        assert_eq!(Value::Nil.as_u64(), None);
    }

    #[test]
    fn the_first_of_equal_keys_wins() {
        let mut list = KvList::default();
        list.push("A", Value::number(1));
        list.push("A", Value::number(2));
        assert_eq!(list.get_u64("A"), Some(1));
        assert_eq!(list.get("a"), None);
    }
}

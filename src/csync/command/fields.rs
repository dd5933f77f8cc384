//! Typed access to the items of a key-value argument; every failure names its key.

use super::CommandError;
use crate::csync::dlist::{KvList, Value};
use crate::types::{Guid, MboxName};

type Result<T> = std::result::Result<T, CommandError>;

/// The argument of one command.
pub(super) struct Fields<'v>(pub(super) &'v KvList);

impl<'v> Fields<'v> {
    /// The items of `value`, which must be a key-value list; `command` names it in the error.
    pub(super) fn of(value: &'v Value, command: &str) -> Result<Fields<'v>> {
        let items = value.as_kvlist();
        items
            .map(Fields)
            .ok_or_else(|| CommandError::bad(command, "needs a key-value list"))
    }

    /// The value of `key`; NIL counts as absent.
    pub(super) fn optional(&self, key: &str) -> Option<&'v Value> {
        self.0.get(key).filter(|value| !value.is_nil())
    }

    fn required(&self, key: &str) -> Result<&'v Value> {
        self.optional(key)
            .ok_or_else(|| CommandError::bad(key, "is missing"))
    }

    pub(super) fn string(&self, key: &str) -> Result<String> {
        string(key, self.required(key)?)
    }

    pub(super) fn optional_string(&self, key: &str) -> Result<Option<String>> {
        self.optional(key)
            .map(|value| string(key, value))
            .transpose()
    }

    pub(super) fn octets(&self, key: &str) -> Result<Vec<u8>> {
        let octets = self.required(key)?.as_bytes();
        octets
            .map(<[u8]>::to_vec)
            .ok_or_else(|| CommandError::bad(key, "is no string"))
    }

    pub(super) fn mboxname(&self, key: &str) -> Result<MboxName> {
        mboxname(key, self.required(key)?)
    }

    pub(super) fn guid(&self, key: &str) -> Result<Guid> {
        guid(key, self.required(key)?)
    }

    pub(super) fn u32(&self, key: &str) -> Result<u32> {
        u32(key, self.required(key)?)
    }

    pub(super) fn optional_u32(&self, key: &str) -> Result<Option<u32>> {
        self.optional(key).map(|value| u32(key, value)).transpose()
    }

    pub(super) fn u64(&self, key: &str) -> Result<u64> {
        let number = self.required(key)?.as_u64();
        number.ok_or_else(|| CommandError::bad(key, "is no 64-bit number"))
    }

    pub(super) fn date(&self, key: &str) -> Result<i64> {
        self.u64(key).map(u64::cast_signed)
    }

    /// The elements of a list, each read by `element`.
    pub(super) fn list<T>(
        &self,
        key: &str,
        element: impl Fn(&str, &Value) -> Result<T>,
    ) -> Result<Vec<T>> {
        list(key, self.required(key)?, element)
    }
}

/// The elements of a list value.
pub(super) fn list<T>(
    key: &str,
    value: &Value,
    element: impl Fn(&str, &Value) -> Result<T>,
) -> Result<Vec<T>> {
    let values = value
        .as_list()
        .ok_or_else(|| CommandError::bad(key, "is no list"))?;
    values.iter().map(|value| element(key, value)).collect()
}

pub(super) fn string(key: &str, value: &Value) -> Result<String> {
    let text = value.as_str();
    text.map(str::to_owned)
        .ok_or_else(|| CommandError::bad(key, "is no UTF-8 text"))
}

/// As [`string`], where the bare word NIL is a name like any other (flags are never quoted).
pub(super) fn word(key: &str, value: &Value) -> Result<String> {
    if value.is_nil() {
        Ok("NIL".to_owned())
    } else {
        string(key, value)
    }
}

pub(super) fn mboxname(key: &str, value: &Value) -> Result<MboxName> {
    let name = string(key, value)?;
    MboxName::new(name).map_err(|_| CommandError::bad(key, "is no mailbox name"))
}

pub(super) fn guid(key: &str, value: &Value) -> Result<Guid> {
    let guid = value.as_bytes().and_then(|hex| Guid::from_hex(hex).ok());
    guid.ok_or_else(|| CommandError::bad(key, "is no GUID of 40 hex digits"))
}

pub(super) fn u32(key: &str, value: &Value) -> Result<u32> {
    value
        .as_u32()
        .ok_or_else(|| CommandError::bad(key, "is no 32-bit number"))
}

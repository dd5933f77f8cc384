//! A mailbox name in Cyrus' internal form (spec: csync 5.7).

use std::fmt;

/// An internal mailbox name: valid UTF-8 without control bytes, not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MboxName(String);

/// The text cannot be a mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mailbox name is not empty and has no control characters")]
pub struct InvalidName;

impl MboxName {
    /// Takes an internal name.
    pub fn new(name: impl Into<String>) -> Result<MboxName, InvalidName> {
        let name = name.into();
        if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(InvalidName);
        }
        Ok(MboxName(name))
    }

    /// The internal name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

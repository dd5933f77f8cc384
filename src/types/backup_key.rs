//! The name of one backup: a userid, or `%SHARED` for everything that belongs to nobody
//! (spec: ondisk 2.2, 2.4). How a key becomes a file name is told in `store::layout`.

use std::fmt;

/// Longest key in bytes. Cyrus allows mailbox names of 490 bytes, so no real userid is longer.
const MAX_KEY: usize = 480;

/// Which backup something belongs to: a userid exactly as given (no case folding, the default
/// domain not stripped), or `%SHARED`.
///
/// `/` and spaces are legal: an administrator's typo once made the user `c.d@x.org/Sub f`, and it
/// was replicated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupKey(pub(super) String);

/// Why a text cannot be a userid or a mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// NUL, a control character, DEL.
    #[error("it contains a control character")]
    Control,
    /// `..` between slashes: nobody is called so, but somebody may try.
    #[error("it contains the path component \"..\"")]
    DotDot,
    /// More than 480 bytes.
    #[error("it is longer than {MAX_KEY} bytes")]
    TooLong,
    /// A mailbox of a user whose id would read `%SHARED`.
    #[error(
        "its owner would be \"{}\", which stands for the shared mailboxes",
        BackupKey::SHARED
    )]
    Reserved,
}

impl BackupKey {
    /// The key of all mailboxes without an owner.
    pub const SHARED: &'static str = "%SHARED";

    /// The backup of the shared mailboxes.
    pub fn shared() -> BackupKey {
        BackupKey(BackupKey::SHARED.to_owned())
    }

    /// The backup of this user; `""` and `"%SHARED"` mean the shared one (spec: ondisk 2.4).
    pub fn from_userid(userid: &str) -> Result<BackupKey, InvalidName> {
        if userid.is_empty() {
            return Ok(BackupKey::shared());
        }
        if userid.len() > MAX_KEY {
            return Err(InvalidName::TooLong);
        }
        if userid.chars().any(char::is_control) {
            return Err(InvalidName::Control);
        }
        if userid.split('/').any(|component| component == "..") {
            return Err(InvalidName::DotDot);
        }
        Ok(BackupKey(userid.to_owned()))
    }

    /// The key as backups.db holds it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `%SHARED`.
    pub fn is_shared(&self) -> bool {
        self.0 == BackupKey::SHARED
    }
}

impl fmt::Display for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_percent_shared_mean_the_shared_backup() {
        for userid in ["", "%SHARED"] {
            let key = BackupKey::from_userid(userid).unwrap();
            assert!(key.is_shared());
            assert_eq!(key.to_string(), "%SHARED");
        }
    }

    #[test]
    fn userids_are_kept_as_they_are() {
        for userid in [
            "anne",
            "UpCase",
            "dave@internal",
            "x y",
            "c.d@x.org/Sub f",
            "éric",
            "a..b",
        ] {
            let key = BackupKey::from_userid(userid).unwrap();
            assert_eq!(key.as_str(), userid);
            assert!(!key.is_shared());
        }
    }

    #[test]
    fn dangerous_userids_are_refused() {
        for (userid, reason) in [
            ("../../x", InvalidName::DotDot),
            ("..", InvalidName::DotDot),
            ("a/..", InvalidName::DotDot),
            ("a\0b", InvalidName::Control),
            ("a\nb", InvalidName::Control),
            ("\u{7f}", InvalidName::Control),
            ("\u{85}", InvalidName::Control),
        ] {
            assert_eq!(
                BackupKey::from_userid(userid),
                Err(reason),
                "userid {userid:?}"
            );
        }
        assert!(BackupKey::from_userid(&"x".repeat(MAX_KEY)).is_ok());
        assert_eq!(
            BackupKey::from_userid(&"x".repeat(MAX_KEY + 1)),
            Err(InvalidName::TooLong)
        );
    }
}

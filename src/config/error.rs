//! What can be wrong with imapd.conf, in C's words (spec: ondisk 1.2), so that an administrator's
//! search engine finds the same answers. C prints them behind `fatal error: `; so should `bin`.

/// imapd.conf cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file, or one it includes, cannot be read.
    #[error("can't open configuration file {path}: {reason}")]
    Open {
        /// As given on the command line or in `@include`.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A line is no `key: value`.
    #[error("invalid option name on line {line} of configuration file {path}")]
    OptionName {
        /// Last physical line of the option, counted from 1 in its own file.
        line: usize,
        /// The file.
        path: String,
    },
    /// `key:` with nothing behind it.
    #[error("empty option value on line {line} of configuration file")]
    EmptyValue {
        /// Where.
        line: usize,
    },
    /// `@something:` other than `@include:`.
    #[error("invalid directive on line {line} of configuration file {path}")]
    Directive {
        /// Where.
        line: usize,
        /// The file.
        path: String,
    },
    /// A file includes itself, or is included again.
    #[error("configuration file {path} included twice")]
    IncludedTwice {
        /// The file.
        path: String,
    },
    /// The same key again.
    #[error("option '{key}' was specified twice in config file (second occurrence on line {line})")]
    Twice {
        /// The key in lower case.
        key: String,
        /// Where.
        line: usize,
    },
    /// A number was wanted. Also said for sizes, as Cyrus up to 3.6 does.
    #[error("non-integer value for {key} in line {line}")]
    NonInteger {
        /// The key in lower case.
        key: String,
        /// Where.
        line: usize,
    },
    /// Yes or no was wanted.
    #[error("non-switch value for {key} in line {line}")]
    NonSwitch {
        /// The key in lower case.
        key: String,
        /// Where.
        line: usize,
    },
    /// One of a few words was wanted.
    #[error("invalid value '{value}' for {key} in line {line}")]
    Choice {
        /// What stands there.
        value: String,
        /// The key in lower case.
        key: String,
        /// Where.
        line: usize,
    },
    /// A duration was wanted: `7d`, `1h30m`.
    #[error("unparsable duration '{value}' for {key} in line {line}")]
    Duration {
        /// What stands there.
        value: String,
        /// The key in lower case.
        key: String,
        /// Where.
        line: usize,
    },
    /// An engine of backups.db that only C has.
    #[error(
        "cyrusdb backend {engine} not supported; convert backups.db with cvt_cyrusdb and set \
         backup_db: twoskip"
    )]
    Engine {
        /// Its name.
        engine: String,
    },
    /// The one option that must be there.
    #[error("configdirectory option not specified in configuration file")]
    NoConfigdirectory,
    /// `defaultpartition` names something that cannot be a partition.
    #[error("defaultpartition option contains non-alnum character")]
    Defaultpartition,
}

impl ConfigError {
    /// EX_CONFIG of sysexits(3), as C exits.
    pub fn exit_code(&self) -> u8 {
        78
    }
}

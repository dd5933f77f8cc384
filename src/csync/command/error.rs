//! What can be wrong with a command.

use crate::csync::dlist::{DlistError, DlistRule};

/// A command that cannot be obeyed because of what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The dlist of the line does not parse.
    #[error("Failed to parse {verb} line: offset {offset}: {rule}")]
    Syntax {
        /// `GET`, `APPLY` or `RESTORE`.
        verb: &'static str,
        /// Bytes from the start of the text that was parsed.
        offset: usize,
        /// What is wrong there.
        rule: DlistRule,
    },
    /// A value is missing, of the wrong kind or out of range.
    #[error("bad parameters: {key} {problem}")]
    BadParameters {
        /// The key, or the command for one without keys.
        key: String,
        /// What is wrong with its value.
        problem: &'static str,
    },
    /// The verb needs an argument.
    #[error("Missing required argument to {verb}")]
    MissingArgument {
        /// The verb, capitalised.
        verb: &'static str,
    },
    /// The verb takes no such argument.
    #[error("Unexpected extra arguments to {verb}")]
    ExtraArguments {
        /// The verb, capitalised.
        verb: &'static str,
    },
    /// The mechanism of AUTHENTICATE is no atom.
    #[error("Invalid mechanism")]
    InvalidMechanism,
}

impl CommandError {
    pub(super) fn bad(key: impl Into<String>, problem: &'static str) -> CommandError {
        CommandError::BadParameters {
            key: key.into(),
            problem,
        }
    }

    /// For `map_err` on everything read by a [`Parser`](crate::csync::dlist::Parser). A file where
    /// none belongs is well-formed: it counts as bad parameters (spec: csync 2.4).
    pub(in crate::csync) fn syntax(
        verb: &'static str,
    ) -> impl Fn(DlistError) -> CommandError + Copy {
        move |DlistError { offset, rule }| match rule {
            DlistRule::UnexpectedFile => CommandError::bad(verb, "has a file where none belongs"),
            _ => CommandError::Syntax { verb, offset, rule },
        }
    }
}

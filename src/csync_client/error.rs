//! What can go wrong between a csync client and its server.

use crate::csync::dlist::DlistError;
use crate::csync::fragment::FragmentError;

/// A failed connection, command or answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's word for it.
        source: std::io::Error,
    },
    /// The server ended the connection.
    #[error("{doing}: the server closed the connection")]
    Closed {
        /// What was being done.
        doing: String,
    },
    /// `NO`, `BAD` or `BYE`.
    #[error("{command}: the server answers {answer:?}")]
    Refused {
        /// The command's first words.
        command: String,
        /// The final line.
        answer: String,
    },
    /// An answer that is no csync.
    #[error("the answer {line:?} is no csync: {why}")]
    Malformed {
        /// The start of the line, lossily as text.
        line: String,
        /// What is wrong with it.
        why: String,
    },
    /// The stream of answers cannot be cut into lines.
    #[error("the server's answer: {0}")]
    Fragment(#[from] FragmentError),
    /// The server offers no mechanism that we have.
    #[error(
        "the server offers SASL {offered:?}, this client has only PLAIN; set allowplaintext there"
    )]
    NoMechanism {
        /// Its list.
        offered: String,
    },
}

impl ClientError {
    pub(super) fn io(doing: &str) -> impl FnOnce(std::io::Error) -> ClientError {
        let doing = doing.to_owned();
        move |source| ClientError::Io { doing, source }
    }

    pub(super) fn malformed(line: &[u8], why: impl ToString) -> ClientError {
        let start = &line[..line.len().min(200)];
        ClientError::Malformed {
            line: String::from_utf8_lossy(start).into_owned(),
            why: why.to_string(),
        }
    }

    pub(super) fn dlist(line: &[u8]) -> impl FnOnce(DlistError) -> ClientError + '_ {
        move |error| ClientError::malformed(line, error)
    }
}

//! What can go wrong between a csync client and its server.

use std::io::{Error, ErrorKind};

use crate::csync::dlist::DlistError;
use crate::csync::fragment::FragmentError;
use crate::sasl::SaslError;

/// A failed connection, command or answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's word for it.
        source: Error,
    },
    /// The server ended the connection.
    #[error("{doing}: the server closed the connection{last_words}")]
    Closed {
        /// What was being done.
        doing: String,
        /// What it said at last, with what stands between.
        last_words: String,
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
    /// The server wants a login and nobody said whose.
    #[error("the server wants a login: set restore_authname and restore_password in imapd.conf")]
    NoCredentials,
    /// The login failed.
    #[error("login as {user}: {reason}")]
    Login {
        /// Who.
        user: String,
        /// What the server or the library says.
        reason: String,
    },
    /// libsasl2 cannot be used.
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// An imapd lets its administrators replicate, and nobody else.
    #[error("{user} is no administrator there (option admins of the server)")]
    NotAdmin {
        /// Who logged in.
        user: String,
    },
    /// No TLS with this server.
    #[error("TLS: {0}")]
    Tls(String),
    /// COMPRESS was required.
    #[error("the server does not compress")]
    NoCompression,
}

impl ClientError {
    pub(super) fn io(doing: &str) -> impl FnOnce(Error) -> ClientError + use<> {
        let doing = doing.to_owned();
        // The system calls an answer that does not come a resource that is temporarily unavailable.
        let in_words = |error: Error| match error.kind() {
            ErrorKind::WouldBlock => Error::new(ErrorKind::TimedOut, "no answer in time"),
            _ => error,
        };
        move |source| ClientError::Io {
            doing,
            source: in_words(source),
        }
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

    /// The server said no; the connection goes on.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ClientError::Refused { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_called_so() {
        let error = ClientError::io("the banner")(ErrorKind::WouldBlock.into());
        assert_eq!(error.to_string(), "the banner: no answer in time");
    }
}

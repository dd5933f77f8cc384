//! Who is it, and may they? The traits that the login asks, and the rule for administrators.
//!
//! Production uses [`super::sasl`]; tests bring their own. Nothing here knows about the wire.

use std::sync::Arc;

/// Makes one [`Authenticator`] per AUTHENTICATE command, and knows what can be offered.
pub trait Authority: Send + Sync {
    /// Mechanisms to offer on a connection so protected, in the order of the library.
    fn mechanisms(&self, shield: &Shield) -> Vec<String>;

    /// Begins an exchange on a connection so protected.
    fn begin(&self, shield: &Shield) -> Result<Box<dyn Authenticator>, String>;
}

/// What protects a connection below the login: nothing, or TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shield {
    /// Bits of the cipher's key; 0 = no encryption.
    pub strength: u32,
    /// The user that a client certificate of a trusted authority names.
    pub certificate: Option<String>,
}

/// One SASL exchange, server side. Both calls may block (saslauthd, databases).
pub trait Authenticator: Send {
    /// The client chose `mechanism` (one of those offered), perhaps with an initial response.
    fn start(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Progress;

    /// The client answered the last challenge.
    fn step(&mut self, response: &[u8]) -> Progress;
}

/// What an exchange came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Send this and wait for the answer.
    Challenge(Vec<u8>),
    /// The password was right.
    Done(Identity),
    /// Over; `reply` is fit for the client, `detail` only for the log.
    Failed {
        /// As after `NO ` on the wire.
        reply: String,
        /// May tell more than a stranger should know.
        detail: String,
    },
}

/// A successful login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose password it was.
    pub authenticated: String,
    /// As whom they want to act; mostly the same.
    pub authorized: String,
}

/// Decides who may use the server at all.
#[derive(Debug, Clone)]
pub struct Admins {
    names: Arc<[String]>,
    lower_case: bool,
}

impl Admins {
    /// The names of option `admins`; with `lower_case` (option `username_tolower`) login names are
    /// compared in lower case.
    pub fn new(names: &[String], lower_case: bool) -> Admins {
        Admins {
            names: names.into(),
            lower_case,
        }
    }

    /// The canonical form of a login name.
    pub fn canonical(&self, user: &str) -> String {
        if self.lower_case {
            user.to_ascii_lowercase()
        } else {
            user.to_owned()
        }
    }

    /// An administrator who acts as an administrator. An administrator acting as somebody else gives
    /// the power away, and nobody gains it by naming an administrator (spec: csync 1.3).
    pub fn admit(&self, identity: &Identity) -> bool {
        [&identity.authenticated, &identity.authorized]
            .into_iter()
            .all(|user| self.names.contains(&self.canonical(user)))
    }
}

/// An [`Authority`] that knows PLAIN and a list of passwords, for tests.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// Mechanisms, and whether they need encryption.
    pub(crate) struct Passwords(pub(crate) Vec<String>, pub(crate) bool);

    impl Passwords {
        pub(crate) fn new() -> Passwords {
            Passwords(vec!["PLAIN".into()], false)
        }
    }

    impl Authority for Passwords {
        fn mechanisms(&self, shield: &Shield) -> Vec<String> {
            if self.1 && shield.strength == 0 {
                return Vec::new();
            }
            self.0.clone()
        }

        fn begin(&self, _shield: &Shield) -> Result<Box<dyn Authenticator>, String> {
            Ok(Box::new(Plain))
        }
    }

    struct Plain;

    impl Authenticator for Plain {
        fn start(&mut self, _mechanism: &str, initial: Option<&[u8]>) -> Progress {
            initial.map_or(Progress::Challenge(Vec::new()), |initial| {
                self.step(initial)
            })
        }

        fn step(&mut self, response: &[u8]) -> Progress {
            let failed = |reply: &str| Progress::Failed {
                reply: reply.to_owned(),
                detail: "in-memory PLAIN".to_owned(),
            };
            let text = String::from_utf8_lossy(response).into_owned();
            match text.split('\0').collect::<Vec<_>>()[..] {
                [authzid, user, "secret"] => Progress::Done(Identity {
                    authenticated: user.to_owned(),
                    authorized: if authzid.is_empty() { user } else { authzid }.to_owned(),
                }),
                [_, _, _] => failed("authentication failure"),
                _ => failed("bad protocol / cancel"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_admins_acting_as_admins() {
        let admins = Admins::new(&["repl".into(), "admin".into()], true);
        let identity = |authenticated: &str, authorized: &str| Identity {
            authenticated: authenticated.into(),
            authorized: authorized.into(),
        };
        assert!(admins.admit(&identity("repl", "repl")));
        assert!(admins.admit(&identity("REPL", "Admin")));
        assert!(!admins.admit(&identity("repl", "anne")));
        assert!(!admins.admit(&identity("anne", "repl")));
        assert!(!admins.admit(&identity("", "")));
        assert!(!Admins::new(&["repl".into()], false).admit(&identity("Repl", "Repl")));
        assert!(!Admins::new(&[], true).admit(&identity("repl", "repl")));
    }
}

//! AUTHENTICATE, with libsasl2 as the client (spec: csync 1.3, 1.7).

use super::client::Result;
use super::dialect::{Dialect, imap_capabilities};
use super::{Client, ClientError};
use crate::csync::base64;
use crate::sasl;

/// Challenges before a login must end.
const MOST_STEPS: usize = 20;

/// With what to log in; empty for a server that wants nothing.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The realm, for mechanisms that know realms.
    pub realm: Option<String>,
    /// The only mechanism to use.
    pub mechanism: Option<String>,
}

impl Client {
    /// Logs in with the best mechanism that both sides have.
    pub(super) fn authenticate(&mut self, host: &str, credentials: &Credentials) -> Result<()> {
        let user = credentials
            .user
            .as_deref()
            .ok_or(ClientError::NoCredentials)?;
        let failed = |reason: String| ClientError::Login {
            user: user.to_owned(),
            reason,
        };
        let offered: Vec<&str> = self
            .mechanisms()
            .into_iter()
            .filter(|mechanism| credentials.admit(mechanism))
            .collect();
        let login = sasl::client::Login {
            user,
            password: credentials.password.as_deref(),
            realm: credentials.realm.as_deref(),
        };
        let service = match self.dialect {
            Dialect::Csync => "csync",
            Dialect::Imap(_) => "imap",
        };
        let mut sasl = sasl::Client::new(service, host, &login, Box::new(|_, _| None))?;
        let first = sasl.start(&offered).map_err(|error| {
            let all = self.mechanisms().join(" ");
            failed(format!("{error} (the server offers {all:?})"))
        })?;
        let answer = self.exchange(&mut sasl, first)?;
        let Some(text) = answer.strip_prefix("OK") else {
            return Err(failed(format!("the server answers {answer:?}")));
        };
        if matches!(self.dialect, Dialect::Imap(_)) {
            self.capabilities = imap_capabilities(text);
            if !text.contains("[CAPABILITY ") {
                self.ask_imap_capabilities()?;
            }
            if !self.has_capability("REPLICATION") {
                let user = user.to_owned();
                return Err(ClientError::NotAdmin { user });
            }
        }
        Ok(())
    }

    /// Challenges and responses until the final line, which is returned without its tag.
    fn exchange(
        &mut self,
        sasl: &mut sasl::Client,
        first: sasl::client::Response,
    ) -> Result<String> {
        let (tag, takes_initial) = match self.dialect {
            Dialect::Csync => ("", true),
            Dialect::Imap(_) => ("A01 ", self.capabilities.iter().any(|c| c == "SASL-IR")),
        };
        let mut line = format!("{tag}AUTHENTICATE {}", first.mechanism);
        let mut waiting = first.octets;
        if let Some(initial) = waiting.take_if(|_| takes_initial) {
            line.push(' ');
            line.push_str(&initial_response(&initial));
        }
        self.say(&line)?;
        for _ in 0..MOST_STEPS {
            let answer = self.tagged_line("AUTHENTICATE", tag)?;
            let Some(challenge) = answer.strip_prefix('+') else {
                return Ok(answer);
            };
            let response = match waiting.take() {
                Some(initial) => Ok(initial),
                None => match base64::decode(challenge.trim().as_bytes()) {
                    Some(challenge) => sasl.step(&challenge).map_err(|error| error.to_string()),
                    None => Err("the challenge is not base64".to_owned()),
                },
            };
            match response {
                Ok(octets) => self.say(&base64::encode(&octets))?,
                Err(reason) => {
                    self.say("*")?;
                    let _ = self.tagged_line("AUTHENTICATE", tag)?;
                    return Ok(reason);
                }
            }
        }
        Err(ClientError::malformed(b"+", "the login does not end"))
    }

    fn say(&mut self, line: &str) -> Result<()> {
        self.send(line.as_bytes())?;
        self.send(b"\r\n")?;
        self.flush("AUTHENTICATE")
    }
}

fn initial_response(octets: &[u8]) -> String {
    match octets {
        [] => "=".to_owned(),
        octets => base64::encode(octets),
    }
}

impl Credentials {
    /// Whether a mechanism can work: with a password those that take one, else the others. Never one that
    /// wants a channel binding, which the library is not told of.
    fn admit(&self, mechanism: &str) -> bool {
        if let Some(wanted) = &self.mechanism {
            return mechanism.eq_ignore_ascii_case(wanted);
        }
        let takes_password = ["PLAIN", "LOGIN", "DIGEST-MD5", "CRAM-MD5"].contains(&mechanism)
            || mechanism.starts_with("SCRAM-") && !mechanism.ends_with("-PLUS");
        match self.password {
            Some(_) => takes_password,
            None => ["GSSAPI", "GSS-SPNEGO", "EXTERNAL"].contains(&mechanism),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_for_mechanisms_that_take_one() {
        let offered = "GSSAPI PLAIN SCRAM-SHA-1-PLUS SCRAM-SHA-256 ANONYMOUS";
        let admitted = |credentials: Credentials| {
            let each = offered.split(' ').filter(|m| credentials.admit(m));
            each.collect::<Vec<_>>().join(" ")
        };
        let password = Some("x".to_owned());
        let with = Credentials {
            password,
            ..Credentials::default()
        };
        assert_eq!(admitted(with.clone()), "PLAIN SCRAM-SHA-256");
        assert_eq!(admitted(Credentials::default()), "GSSAPI");
        let mechanism = Some("plain".to_owned());
        assert_eq!(admitted(Credentials { mechanism, ..with }), "PLAIN");
    }
}

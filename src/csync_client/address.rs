//! Where a server is, as administrators write it: `host`, `host:port`, `[::1]:port`, `/path/of/socket`, with
//! `/tls` (TLS from the first octet) and `/noauth` behind a host (spec: csync 1.1).

use std::fmt;
use std::path::PathBuf;

/// A server to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over the network.
    Host {
        /// Name or address, without brackets.
        host: String,
        /// Number or service name, if one was written.
        port: Option<String>,
        /// TLS from the first octet.
        tls: bool,
        /// No login, although the server may want one.
        noauth: bool,
    },
    /// A unix socket: whoever may write to it is trusted.
    Socket(PathBuf),
}

/// A text that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no server: HOST[:PORT][/tls][/noauth], [ADDRESS]:PORT or /SOCKET is wanted")]
pub struct BadAddress(pub String);

impl Address {
    /// Reads one.
    ///
    /// # Errors
    /// An empty host or port, an unknown option, an open bracket.
    pub fn parse(text: &str) -> Result<Address, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        if text.starts_with('/') {
            return Ok(Address::Socket(text.into()));
        }
        let mut options = text.split('/');
        let (host, port) = host_and_port(options.next().unwrap_or_default()).ok_or_else(bad)?;
        let (mut tls, mut noauth) = (false, false);
        for option in options {
            match option {
                "tls" => tls = true,
                "noauth" => noauth = true,
                _ => return Err(bad()),
            }
        }
        Ok(Address::Host {
            host,
            port,
            tls,
            noauth,
        })
    }
}

fn host_and_port(text: &str) -> Option<(String, Option<String>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':')?),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            // An address of IPv6 without brackets has no port.
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_good = !host.is_empty() && port != Some("");
    is_good.then(|| (host.to_owned(), port.map(str::to_owned)))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "{}", path.display()),
            Address::Host { host, port, .. } => {
                match host.contains(':') {
                    true => write!(f, "[{host}]")?,
                    false => f.write_str(host)?,
                }
                port.iter().try_for_each(|port| write!(f, ":{port}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written() {
        for (text, host, port, options) in [
            ("mail", "mail", None, (false, false)),
            ("mail:2005", "mail", Some("2005"), (false, false)),
            ("mail:csync/tls", "mail", Some("csync"), (true, false)),
            ("10.0.0.1/noauth/tls", "10.0.0.1", None, (true, true)),
            ("[::1]:2005", "::1", Some("2005"), (false, false)),
            ("[::1]", "::1", None, (false, false)),
            ("fe80::1", "fe80::1", None, (false, false)),
        ] {
            let expected = Address::Host {
                host: host.to_owned(),
                port: port.map(str::to_owned),
                tls: options.0,
                noauth: options.1,
            };
            assert_eq!(Address::parse(text), Ok(expected), "{text}");
        }
        let socket = Address::Socket("/run/cyrus/sync".into());
        assert_eq!(Address::parse("/run/cyrus/sync"), Ok(socket));
    }

    #[test]
    fn what_cannot() {
        for text in [
            "",
            ":2005",
            "mail:",
            "[::1",
            "[::1]2005",
            "mail/ssl",
            "[]:1",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}

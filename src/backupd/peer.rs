//! Who is at the other end of a connection.

use std::net::IpAddr;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A network address: must log in.
    Address(IpAddr),
    /// A unix socket or standard input: the permissions of the file decided, counts as administrator
    /// (spec: csync 1.1).
    Trusted,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Address(address) => write!(f, "[{address}]"),
            Peer::Trusted => f.write_str("[unix socket]"),
        }
    }
}

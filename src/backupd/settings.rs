//! What the administrator decided, and what all sessions of a server share besides.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::auth::{Admins, Authority};
use super::metrics::Metrics;
use super::refusals::Refusals;
use super::service::ServiceFactory;
use super::staging::Budget;
use super::telemetry::Telemetry;
use super::tls::TlsServer;

/// What all sessions of a server share.
pub struct Settings {
    /// Option `servername`, for the banner.
    pub servername: String,
    /// The user name of trusted peers, for the log.
    pub trusted_user: String,
    /// Who may use the server.
    pub admins: Admins,
    /// Checks passwords; without one only trusted peers get in.
    pub authority: Option<Box<dyn Authority>>,
    /// Makes STARTTLS and implicit TLS possible.
    pub tls: Option<TlsServer>,
    /// Option `failedloginpause`.
    pub failed_login_pause: Duration,
    /// Where bodies and long lines are spooled (option `backup_staging_path`).
    pub staging_path: PathBuf,
    /// Memory for staged bodies, per connection, in octets.
    pub staging_memory: u64,
    /// Memory for staged bodies of all connections.
    pub staging_budget: Arc<Budget>,
    /// Octets of bodies that one connection may stage; 0 = any.
    pub staging_limit: u64,
    /// Octets of one word, quoted string or literal.
    pub token_limit: usize,
    /// Disk space for staged bodies of all connections.
    pub staging_disk: Arc<Budget>,
    /// What is refused again and again.
    pub refusals: Refusals,
    /// Longest text of a MAILBOX line, in octets, file literals not counted.
    pub line_limit: u64,
    /// What monitoring sees.
    pub metrics: Arc<Metrics>,
    /// Whose sessions are recorded.
    pub telemetry: Telemetry,
    /// Makes the store's side of a session.
    pub services: ServiceFactory,
}

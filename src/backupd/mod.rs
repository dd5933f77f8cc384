//! The csync server: sockets, login, sessions.
//!
//! ```text
//! server      listens, counts, stops                                             (async)
//! endpoint    sockets: our own, systemd's, those of master(8)                     (async)
//! connection  one small task per peer: read, hand over, write                    (async)
//! tls         the handshake, from the certificates of imapd.conf                 (async)
//! channel     COMPRESS DEFLATE, or nothing, around a session                     (bytes in, bytes out)
//! session     login, then commands; each line answered in order                  (bytes in, bytes out)
//!   login       short lines, AUTHENTICATE: auth, sasl
//!   commands    fragments into line text and staged bodies: line, staging
//!     service     what GET and APPLY mean for the store
//! settings    what all sessions share; peer, order, step: what several of these say to each other
//! metrics     counters of the process, and the page for Prometheus
//! tally       counters of a session, and its line in the log
//! telemetry   what a session says and hears, in a file
//! ```
//!
//! Only `server`, `endpoint`, `connection`, `tls` and `metrics::exporter` know tokio. A session is synchronous and is moved into a blocking
//! thread while it has work, so an idle peer costs a task and a few kilobytes, and a test feeds byte
//! strings. Nothing here knows files of the store; that begins behind [`service::Service`].

pub mod auth;
mod channel;
mod commands;
mod connection;
mod deflate;
mod endpoint;
mod line;
mod login;
pub mod master;
pub mod metrics;
pub mod order;
pub mod peer;
mod quota;
pub mod refusals;
pub mod sasl;
pub mod server;
pub mod service;
pub mod session;
pub mod settings;
pub mod staging;
pub mod step;
mod tally;
pub mod telemetry;
pub mod tls;
mod verb;
pub mod work;

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod test_rig;

//! A csync client: connects, logs in, sends commands, reads answers. Blocking, without tokio; what to send is
//! its caller's business.
//!
//! `address` is where, `connect` gets us in (TLS, SASL, COMPRESS), `dialect` is the difference between a
//! sync_server and an imapd, which knows the same commands with `SYNC` in front (spec: csync 1.7). Left
//! out: files in answers, which only `GET FETCH` has.

mod address;
mod answer;
mod channel;
mod client;
mod connect;
mod dialect;
mod error;
mod login;
mod tls;

pub use address::{Address, BadAddress};
pub use answer::{Answer, Untagged};
pub use client::{Client, Message};
pub use connect::{Compression, Connect, Service};
pub use error::ClientError;
pub use login::Credentials;
pub use tls::{TlsMode, TlsSettings};

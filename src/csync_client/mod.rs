//! A csync client: connects, logs in, sends commands, reads answers. Blocking, without tokio; what to send is
//! its caller's business.
//!
//! It leaves out STARTTLS, COMPRESS and every SASL mechanism but PLAIN (a unix socket needs none, spec: csync
//! 1.1), and files in answers, which only `GET FETCH` has.

mod answer;
mod client;
mod error;

pub use answer::{Answer, Untagged};
pub use client::{Client, Message};
pub use error::ClientError;

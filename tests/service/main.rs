//! backupd as a service: who may come in, what a peer may cost, how it is started, what is seen of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod captures;
mod cheap;
mod crowd;
mod installed;
mod limits;
mod observed;
mod security;
mod starts;
mod tls_client;

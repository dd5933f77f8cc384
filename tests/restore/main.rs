//! `restore` from end to end: a backup of Debian's imapd, made by our backupd, brought back into Debian's
//! sync_server and imapd, and into files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod beside_c;
mod choices;
mod connect;
mod interrupted;
mod into_files;
mod refusals;
mod round_trip;
mod throughput;
mod watched;
mod world;

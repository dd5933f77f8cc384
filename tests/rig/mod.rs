//! The rig: what every test against the real Cyrus shares.
//!
//! It makes instances of Debian's Cyrus 3.6.1 on a tmpfs and stops them again, speaks IMAP and ManageSieve to
//! them, runs `sync_client` through a recording proxy, starts C's or our backupd behind it, and compares what
//! lies on disk. It leaves out every judgement about what is right: that is the tests' part.
//!
//! Without Cyrus, or without root, [`Cyrus::find`] says so on stderr and the test ends as passed, except where
//! the environment has `CI`: there a missing part is a failure. `RIG_KEEP=1` keeps the directories.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test binary uses its part of the rig, and a test fails by panicking"
)]

mod backup_server;
mod certificates;
mod crowd;
mod csync;
mod cyrus;
mod free;
mod imap;
mod instance;
mod mail;
mod master;
mod mount;
mod patience;
mod process;
mod proxy;
mod rows;
mod sieve;
mod source;
mod terminal;
mod transcript;

pub use backup_server::{BackupServer, Engine};
pub use certificates::Certificates;
pub use crowd::{Crowd, Latencies, crowd_user};
pub use csync::{Answer, Csync};
pub use cyrus::{Cyrus, free_port, wait_for_banner};
pub use free::wait_until_free;
pub use imap::{Append, Fetched, Imap};
pub use instance::Instance;
pub use mail::{Mail, Rng};
pub use master::{Master, Service};
pub use mount::{Mount, attribute};
pub use process::{Limit, Output, ended, our_binary, run};
pub use proxy::{Proxy, Trigger};
pub use rows::{Rows, Tolerate};
pub use sieve::{Sieve, base64};
pub use source::{ADMIN, PASSWORD, Rolling, Source};
pub use terminal::on_a_terminal;
pub use transcript::{Acknowledged, Exchange, Transcript};

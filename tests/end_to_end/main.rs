//! The main job from end to end: Debian's imapd and `sync_client`, a backupd, C's tools on what it wrote.
//!
//! `RIG_ENGINE=c` puts C's backupd in the place of ours: what then fails is the rig, not us. Tests of what C
//! cannot do are left out in that mode.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod broken_disk;
mod changes;
mod folders;
mod hold;
mod moments;
mod mounted;
mod push;
mod random;
mod repair;
mod rolling;
mod same_source;
mod shown;
mod state;
mod turns;
mod world;

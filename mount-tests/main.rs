//! `docs/SEMANTICS.md` on a real kernel mount, through the real program. One file per promise.
//!
//! Without `/dev/fuse` (or the right to mount) the tests say so and pass, except where `CI` is set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    missing_docs,
    reason = "a test that fails may panic, and nobody else uses this"
)]

mod archive;
mod command;
mod content;
mod copying;
mod damage;
mod figures;
mod handles;
mod history;
mod kept;
mod locking;
mod metadata;
mod programs;
mod race;
mod scale;
mod semantics;
mod specs;
mod support;
mod tree;

//! The rows of the table, in groups that share their data.

mod compression;
mod crowd;
mod growth;
mod idle;
mod ingest;
mod mount;
mod restore;
mod session;
mod tools;

use anyhow::Result;

use crate::Bench;
use crate::report::Row;

/// Makes its data and measures.
pub type Group = fn(&Bench) -> Result<Vec<Row>>;

/// By name, in the order of the table.
pub const GROUPS: [(&str, Group); 13] = [
    ("ingest", ingest::rows),
    ("large", ingest::large),
    ("session", session::rows),
    ("tools: looking", tools::looking),
    ("tools: verify", tools::verify),
    ("tools: rewriting", tools::rewriting),
    ("tools: one chunk", tools::one_chunk),
    ("restore", restore::rows),
    ("mount", mount::rows),
    ("idle", idle::rows),
    ("crowd", crowd::rows),
    ("growth", growth::rows),
    ("compression", compression::rows),
];

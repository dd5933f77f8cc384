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
pub const GROUPS: [(&str, Group); 10] = [
    ("ingest", ingest::rows),
    ("large", ingest::large),
    ("session", session::rows),
    ("tools", tools::rows),
    ("restore", restore::rows),
    ("mount", mount::rows),
    ("idle", idle::rows),
    ("crowd", crowd::rows),
    ("growth", growth::rows),
    ("compression", compression::rows),
];

//! What the tools print: times, numbers and JSON in C's spelling.

mod findings;
mod json;
mod local_time;
pub(crate) mod mbox;
mod real;

pub use findings::{FindingPrinter, detail_json, details, short};
pub use json::Json;
pub use local_time::LocalTime;
pub use real::{percent, real};

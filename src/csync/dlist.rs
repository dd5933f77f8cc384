//! dlist, the data syntax of csync and of the data files (spec: csync 2, ondisk 4.2): values, the
//! pull parser over one complete line text, and the printer.
//!
//! A *line text* is what [`super::fragment`] leaves of a line: all its bytes but the octets of file
//! literals and the final line end. Splitting bytes into lines and bounding their tokens is the
//! fragmenter's work, what a line means is told in [`super::command`].

mod copy;
mod parser;
mod print;
mod value;

pub use copy::copy_with_literals;
pub use parser::{DlistError, DlistRule, ListEnd, MAX_DEPTH, Parser};
pub use print::{Literal, print_guid, print_number, print_string, print_word};
pub(crate) use value::parse_u64;
pub use value::{FileRef, KvList, Value};

#[cfg(test)]
mod tests;

//! What stays of a backup: what is asked, and what may be answered.

use std::collections::HashSet;

use crate::csync::command::{Apply, Record};
use crate::types::Guid;

/// A line of the data file. Lines have the same numbers in every reading.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Counted through the file from 0.
    pub number: u64,
    /// Unix seconds.
    pub time: i64,
    /// What it says.
    pub apply: &'a Apply<'a>,
}

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays; a MAILBOX also when none of its records does.
    Keep,
    /// A MAILBOX that stays for the sake of its records only.
    ForRecords,
    /// It goes.
    Drop,
    /// These commands stand in its place, each the text behind `APPLY `.
    Instead(Vec<Vec<u8>>),
}

/// Says what stays of a backup.
pub trait Selection {
    /// A line that is no MESSAGE. Lines that nobody understands are not asked about: they stay.
    fn line(&self, line: Line<'_>) -> Verdict;
    /// A record of a MAILBOX line.
    fn record(&self, line: Line<'_>, uniqueid: &str, record: &Record) -> bool;
    /// The `item`th body (from 0) of MESSAGE line `line`.
    fn body(&self, line: u64, item: u32, guid: &Guid) -> bool;
}

/// Bodies of which not all octets are what they were: number of line, of item.
pub(super) type BadBodies = HashSet<(u64, u32)>;

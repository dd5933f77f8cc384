//! The rows of an index (O 5.2) as sorted text, free of row ids and of places in the file, so that two
//! indexes can be compared: ours with C's reindex, or ours with C's own of the same stream.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// Rows of each table, sorted.
#[derive(Debug, PartialEq, Eq)]
pub struct Rows(pub BTreeMap<&'static str, Vec<String>>);

/// What a comparison overlooks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tolerate {
    /// Times at which lines were written (expunged, deleted, unsubscribed): two servers have two clocks.
    pub clocks: bool,
}

/// Table name, query. Columns named `…_at` hold times of lines.
const QUERIES: [(&str, &str); 7] = [
    // A member of 29 octets holds its header and no line: C writes such, and its reindex gives them no row.
    ("chunk", "SELECT offset, file_sha1 FROM chunk WHERE length > 29"),
    ("message", "SELECT guid, partition, size FROM message"),
    (
        "mailbox",
        "SELECT uniqueid, mboxname, mboxtype, last_uid, highestmodseq, recentuid, recenttime, last_appenddate,
                pop3_last_login, pop3_show_after, uidvalidity, partition, acl, options, sync_crc,
                sync_crc_annot, quotaroot, xconvmodseq, annotations, deleted AS deleted_at
         FROM mailbox",
    ),
    (
        "mailbox_message",
        "SELECT b.uniqueid, r.uid, m.guid, r.modseq, r.last_updated, r.flags, r.internaldate, r.annotations,
                r.expunged AS expunged_at
         FROM mailbox_message r JOIN mailbox b ON b.id = r.mailbox_id JOIN message m ON m.id = r.message_id",
    ),
    ("subscription", "SELECT mboxname, unsubscribed AS unsubscribed_at FROM subscription"),
    ("seen", "SELECT uniqueid, lastread, lastuid, lastchange, seenuids FROM seen"),
    ("sieve", "SELECT last_update, filename, guid, deleted AS deleted_at FROM sieve"),
];

impl Rows {
    pub fn read(index: &Path) -> Rows {
        // Written files keep no locks behind: reading needs none either.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(index, flags)
            .unwrap_or_else(|error| panic!("{index:?}: {error}"));
        let tables = QUERIES
            .iter()
            .map(|(table, query)| (*table, read_table(&connection, query)));
        Rows(tables.collect())
    }

    /// The rows without what is overlooked, chunks left out: two servers cut sessions differently.
    pub fn without(mut self, tolerate: Tolerate) -> Rows {
        if tolerate.clocks {
            self.0.remove("chunk");
            for row in self.0.values_mut().flatten() {
                *row = without_clocks(row);
            }
            self.0.values_mut().for_each(|rows| rows.sort());
        }
        self
    }

    /// Where the two differ, one row a line; empty when they are equal.
    pub fn differences(&self, other: &Rows) -> Vec<String> {
        let mut differences = Vec::new();
        for (table, rows) in &self.0 {
            let others = &other.0[table];
            let only = |these: &[String], those: &[String]| {
                let missing = these.iter().filter(|row| those.binary_search(row).is_err());
                missing
                    .map(|row| format!("{table}: {row}"))
                    .collect::<Vec<_>>()
            };
            differences.extend(
                only(rows, others)
                    .into_iter()
                    .map(|row| format!("first only  {row}")),
            );
            differences.extend(
                only(others, rows)
                    .into_iter()
                    .map(|row| format!("second only {row}")),
            );
            if rows.len() != others.len() {
                differences.push(format!(
                    "{table}: {} rows, {} rows",
                    rows.len(),
                    others.len()
                ));
            }
        }
        differences
    }
}

fn read_table(connection: &Connection, query: &str) -> Vec<String> {
    let mut statement = connection
        .prepare(query)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| {
        let mut text = String::new();
        for (place, column) in columns.iter().enumerate() {
            text += &format!("{column}={} ", show(row.get_ref(place)?));
        }
        Ok(text)
    });
    let mut rows: Vec<String> = rows
        .and_then(Iterator::collect)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.sort();
    rows
}

fn show(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(number) => number.to_string(),
        // The storage class shows: C asserts it.
        ValueRef::Real(number) => format!("REAL {number}"),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text).escape_debug()),
        ValueRef::Blob(blob) => format!("BLOB '{}'", String::from_utf8_lossy(blob).escape_debug()),
    }
}

/// `deleted_at=1234` becomes `deleted_at=set`.
fn without_clocks(row: &str) -> String {
    let mut out = String::new();
    for word in row.split_inclusive(' ') {
        match word.split_once("_at=") {
            Some((column, value)) if value.trim().parse::<i64>().is_ok() => {
                out += &format!("{column}_at=set ")
            }
            _ => out += word,
        }
    }
    out
}

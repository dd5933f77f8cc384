//! `dump mailbox`: the living messages of a mailbox as an mbox file, in the mboxrd form: each
//! message begins with a `From ` line, line ends are LF, lines of the message that begin with any
//! number of `>` and `From ` get one more `>`, and an empty line follows. Flags are not in it.

use std::collections::HashMap;
use std::ffi::OsStr;

use super::{Failure, Look};
use crate::store::RecordRow;
use crate::store::walk::Part;
use crate::tools::render::mbox::write_message;
use crate::tools::terminal::Terminal;
use crate::types::Guid;

impl Look<'_> {
    /// Messages come in the order of the data file, which is that of their arrival. What cannot be
    /// read is told and left out.
    pub(super) fn dump_mailbox(
        &self,
        name: &OsStr,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let found = name.to_str().map(|name| self.find_mailbox(name));
        let mailbox = found.transpose()?.flatten().ok_or(Failure::NoSuchItem)?;
        let mut wanted: HashMap<Guid, Vec<RecordRow>> = HashMap::new();
        for record in self.backup.index().records(mailbox.id)? {
            if record.expunged.is_none() {
                wanted.entry(record.guid).or_default().push(record);
            }
        }
        let mut rows = Vec::new();
        let mut missing = 0;
        for (guid, records) in &wanted {
            match self.backup.index().message(guid)? {
                Some(row) => rows.push(row),
                None => missing += records.len(),
            }
        }
        let mut damage = Vec::new();
        let mut printed = Ok(());
        self.backup
            .each_message(rows, Part::Whole, &mut |row, octets| {
                let records = wanted.get(&row.guid).map(Vec::as_slice).unwrap_or_default();
                match octets {
                    Ok(octets) => {
                        let mut each = records.iter();
                        printed = each
                            .try_for_each(|r| write_message(octets, r.internaldate, terminal.out));
                    }
                    Err(error) => damage.push(error),
                }
                printed.is_ok()
            })?;
        printed?;
        terminal.out.flush()?;
        for error in &damage {
            writeln!(terminal.err, "{}", error.explained())?;
        }
        match (damage.len(), missing) {
            (0, 0) => Ok(()),
            (damaged, missing) => Err(Failure::Incomplete { damaged, missing }),
        }
    }
}

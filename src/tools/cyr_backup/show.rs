//! `show mailboxes|messages`: everything about a few things.

use std::ffi::OsString;

use super::{Failure, Look, headers};
use crate::store::{MailboxRow, RecordRow};
use crate::tools::terminal::Terminal;
use crate::types::Guid;

impl Look<'_> {
    /// By uniqueid or external name; what is unknown is passed over in silence, as in C.
    pub(super) fn show_mailboxes(
        &self,
        names: &[OsString],
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        for name in names.iter().filter_map(|name| name.to_str()) {
            if let Some(mailbox) = self.find_mailbox(name)? {
                self.show_mailbox(&mailbox, terminal)?;
            }
        }
        Ok(())
    }

    fn show_mailbox(
        &self,
        mailbox: &MailboxRow,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let records = self.records(mailbox.id)?;
        let out = &mut *terminal.out;
        writeln!(out, "mboxname: {}", mailbox.mboxname)?;
        writeln!(out, "uniqueid: {}", mailbox.uniqueid)?;
        if let Some(deleted) = mailbox.deleted {
            writeln!(out, "deleted:  {}", terminal.time.show(deleted))?;
        }
        writeln!(out, "messages:")?;
        writeln!(out, "       uid  expunged time        guid")?;
        for record in records {
            let expunged = record
                .expunged
                .map(|t| terminal.time.show(t))
                .unwrap_or_default();
            writeln!(out, "{:10}  {expunged:19}  {}", record.uid, record.guid)?;
        }
        writeln!(out)?;
        Ok(())
    }

    pub(super) fn find_mailbox(&self, name: &str) -> Result<Option<MailboxRow>, Failure> {
        if let Some(mailbox) = self.backup.index().mailbox_by_uniqueid(name)? {
            return Ok(Some(mailbox));
        }
        let Some(internal) = self.internal_name(name) else {
            return Ok(None);
        };
        // Of several with one name, deleted ones among them, the last is C's choice.
        let mailboxes = self.backup.index().mailboxes()?;
        Ok(mailboxes
            .into_iter()
            .rfind(|mailbox| mailbox.mboxname == internal.as_str()))
    }

    /// Records in C's order, which is that of their bodies; those without a body last.
    pub(super) fn records(&self, mailbox_id: i64) -> Result<Vec<RecordRow>, Failure> {
        let mut records = self.backup.index().records(mailbox_id)?;
        records.sort_by_key(|record| (record.message_id.is_none(), record.message_id, record.uid));
        Ok(records)
    }

    pub(super) fn show_messages(
        &self,
        guids: &[OsString],
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        for guid in known_guids(guids) {
            let Some(message) = self.backup.index().message(&guid)? else {
                continue;
            };
            let octets = self.backup.read_message(&guid)?;
            writeln!(terminal.out, "guid:\t{guid}\nmailboxes:")?;
            for mailbox in self.backup.index().mailboxes_of_message(message.id)? {
                writeln!(terminal.out, "\t{}\t{}", mailbox.uniqueid, mailbox.mboxname)?;
            }
            writeln!(terminal.out, "headers:")?;
            terminal.out.write_all(headers::block(&octets))?;
            writeln!(terminal.out)?;
        }
        Ok(())
    }
}

/// The words that are GUIDs.
pub(super) fn known_guids(words: &[OsString]) -> impl Iterator<Item = Guid> {
    words
        .iter()
        .filter_map(|word| Guid::from_hex(word.as_encoded_bytes()).ok())
}

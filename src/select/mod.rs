//! Which messages are wanted: one value, [`Selection`], and one walk, [`find`], that yields them.
//! What `cyr_backup find`, `restore` and `ctl_backups purge` ask is the same question, so they read
//! the same options ([`SelectArgs`]), and all times are typed as [`Clock`] reads them.
//!
//! Everything here is pure but the walk, which reads a [`crate::store::Backup`].

mod args;
mod find;
mod header;
mod mailbox;
mod moment;
mod parse;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::store::RecordRow;
use crate::types::Guid;

pub use args::{SelectArgs, SelectError};
pub use find::{Found, Hit, find, find_unowned, unknown_mailbox};
pub use header::{Field, Header, HeaderTest};
pub use mailbox::{MailboxPattern, NotAMailbox, deleted_at};
pub use moment::{Clock, NotATime};
pub use parse::{FlagTest, UidSet};

/// Which messages are wanted. What is left at its default asks for nothing; everything else must
/// hold, and of several mailboxes or GUIDs one.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// In one of these mailboxes.
    pub mailboxes: Vec<MailboxPattern>,
    /// One of these messages.
    pub guids: HashSet<Guid>,
    /// With one of these UIDs.
    pub uids: Option<UidSet>,
    /// Each of these texts stands in its header field.
    pub headers: Vec<HeaderTest>,
    /// When the message came into the mailbox (INTERNALDATE).
    pub arrived: Span,
    /// What the header field Date says.
    pub sent: Span,
    /// Each of these flags is set, or is not.
    pub flags: Vec<FlagTest>,
    /// Least octets.
    pub min_size: Option<u64>,
    /// Most octets.
    pub max_size: Option<u64>,
    /// Expunged, or not.
    pub expunged: Option<bool>,
    /// When the backup heard that it was expunged; an unexpunged message is outside of any bound.
    pub expunged_at: Span,
    /// In a deleted mailbox, or in a living one.
    pub deleted: Option<bool>,
    /// When the mailbox was deleted; a living one is outside of any bound.
    pub deleted_at: Span,
}

/// Moments from `since` to just before `until`; an end that is not set is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first moment.
    pub since: Option<i64>,
    /// The first moment after.
    pub until: Option<i64>,
}

impl Span {
    /// Both ends are open.
    pub fn is_open(&self) -> bool {
        *self == Span::default()
    }

    /// The moment is inside.
    pub fn contains(&self, moment: i64) -> bool {
        self.since.is_none_or(|since| since <= moment)
            && self.until.is_none_or(|until| moment < until)
    }

    /// As `contains`; no moment is inside an open span only.
    pub fn holds(&self, moment: Option<i64>) -> bool {
        moment.map_or(self.is_open(), |moment| self.contains(moment))
    }
}

impl Selection {
    /// Whether messages must be read to decide.
    pub fn needs_headers(&self) -> bool {
        !self.headers.is_empty() || !self.sent.is_open()
    }

    /// Nothing is asked for, so every message is wanted.
    pub fn is_everything(&self) -> bool {
        let any_size = (self.min_size, self.max_size) == (None, None);
        self.guids.is_empty() && any_size && !self.needs_headers() && !self.asks_for_records()
    }

    /// Something is asked for that is said of a message in a mailbox only.
    fn asks_for_records(&self) -> bool {
        let spans = [self.arrived, self.expunged_at, self.deleted_at];
        !self.mailboxes.is_empty()
            || self.uids.is_some()
            || !self.flags.is_empty()
            || !spans.iter().all(Span::is_open)
            || (self.expunged, self.deleted) != (None, None)
    }

    fn admits_body(&self, guid: &Guid, size: u64) -> bool {
        (self.guids.is_empty() || self.guids.contains(guid))
            && self.min_size.is_none_or(|least| least <= size)
            && self.max_size.is_none_or(|most| size <= most)
    }

    /// All that can be decided about a record by the index alone; `deleted`: since when its mailbox
    /// is.
    fn admits(&self, record: &RecordRow, deleted: Option<i64>) -> bool {
        let size = record.size.unwrap_or(0);
        self.admits_body(&record.guid, size)
            && self
                .uids
                .as_ref()
                .is_none_or(|uids| uids.contains(record.uid))
            && self.arrived.contains(record.internaldate)
            && self.flags.iter().all(|flag| flag.holds(&record.flags))
            && self
                .expunged
                .is_none_or(|is| is == record.expunged.is_some())
            && self.expunged_at.holds(record.expunged)
            && self.deleted.is_none_or(|is| is == deleted.is_some())
            && self.deleted_at.holds(deleted)
    }

    fn admits_header(&self, header: &Header) -> bool {
        self.sent.holds(header.date) && self.headers.iter().all(|test| test.holds(header))
    }
}

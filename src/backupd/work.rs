//! What a session has done to the store, as values: the service says it, the session adds it up for
//! the log and for the metrics.

use std::collections::HashSet;
use std::time::Duration;

use crate::store::Done;
use crate::types::BackupKey;

/// Done since somebody last asked.
#[derive(Debug, Default)]
pub struct Work {
    /// Backups asked or changed with success.
    pub touched: HashSet<BackupKey>,
    /// Message bodies written.
    pub messages: u64,
    /// Their octets.
    pub message_octets: u64,
    /// Octets that data files have grown by.
    pub stored: u64,
    /// How long each sync before an acknowledgement took.
    pub commits: Vec<Duration>,
    /// Backups that were put right when they were opened.
    pub recoveries: u64,
    /// Mailboxes whose complete list was asked for, because something of ours is missing or wrong.
    pub repairs: u64,
    /// Backups open for appending now.
    pub open: usize,
}

impl Work {
    /// Takes in what an appender did.
    pub(crate) fn add(&mut self, done: Done) {
        self.messages += done.messages;
        self.message_octets += done.message_octets;
        self.stored += done.stored;
        self.commits.extend(done.commits);
        self.recoveries += u64::from(done.recovered);
    }
}

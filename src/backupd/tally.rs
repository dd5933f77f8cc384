//! What one session came to: counted while it runs, told in one line of the log at its end.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::metrics::{Held, Metrics};
use super::peer::Peer;
use super::work::Work;
use crate::csync::response::Reply;
use crate::types::BackupKey;

/// Counts of an administrator's session.
pub(crate) struct Tally {
    metrics: Arc<Metrics>,
    held: Held,
    commands: u64,
    refused: u64,
    backups: HashSet<BackupKey>,
    messages: u64,
    stored: u64,
}

/// All that the line tells.
pub(crate) struct Summary<'a> {
    pub(crate) peer: Peer,
    pub(crate) user: &'a str,
    pub(crate) tally: Option<&'a Tally>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) took: Duration,
    /// Why it ended.
    pub(crate) end: &'a str,
}

impl Tally {
    pub(crate) fn new(metrics: &Arc<Metrics>) -> Tally {
        Tally {
            metrics: Arc::clone(metrics),
            held: metrics.hold(),
            commands: 0,
            refused: 0,
            backups: HashSet::new(),
            messages: 0,
            stored: 0,
        }
    }

    /// A command got its answer.
    pub(crate) fn replied(&mut self, reply: &Reply) {
        self.metrics.replied(reply);
        self.commands += 1;
        self.refused += u64::from(!matches!(reply, Reply::Ok(_)));
    }

    /// The service did this.
    pub(crate) fn worked(&mut self, work: Work) {
        self.held.worked(&work);
        self.messages += work.messages;
        self.stored += work.stored;
        self.backups.extend(work.touched);
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session: {} {}", self.peer, self.user.escape_default())?;
        if let Some(tally) = self.tally {
            write!(
                f,
                " commands={} refused={} backups={} messages={} stored={}",
                tally.commands,
                tally.refused,
                tally.backups.len(),
                tally.messages,
                tally.stored,
            )?;
        }
        write!(
            f,
            " in={} out={} seconds={:.3} end=\"{}\"",
            self.received,
            self.sent,
            self.took.as_secs_f64(),
            self.end,
        )
    }
}

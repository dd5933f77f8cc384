//! What GET and APPLY mean: the session knows the wire, a [`Service`] knows the store. `get`
//! answers, `apply` carries out, `backups` holds what is open, `header` knows mailbox headers.

mod apply;
mod backups;
#[cfg(test)]
pub(crate) mod fake;
mod get;
mod header;
mod heir;
mod mailbox;
mod moving;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use self::backups::Backups;
use super::staging::Staging;
use super::work::Work;
use crate::csync::command::{Apply, Get};
use crate::csync::response::Reply;
use crate::store::Placement;
use crate::types::{Guid, Namespace};

/// The store as one connection sees it. All calls may block.
pub trait Service: Send {
    /// Answers a GET: pushes untagged lines to `out` and returns the final reply.
    fn get(&mut self, get: Get, out: &mut Vec<u8>) -> Reply;

    /// Carries out an APPLY: everything but MESSAGE, CAPABILITIES and FORCE, which the session
    /// answers itself. `Reply::Ok` only once the change and every body it refers to are on stable
    /// storage.
    fn apply(&mut self, apply: Apply<'_>, staging: &mut Staging, out: &mut Vec<u8>) -> Reply;

    /// RESTART: commits and lets go of everything. The session clears the staging afterwards.
    fn restart(&mut self) -> Reply;

    /// Nothing came for some seconds: commit, release locks.
    fn idle(&mut self);

    /// The connection ends, by EXIT, end of file, error or shutdown.
    fn close(&mut self);

    /// What was done since the last time this was asked.
    fn take_work(&mut self) -> Work;
}

/// Makes the [`Service`] of one connection, once its peer is known to be an administrator.
pub type ServiceFactory = Box<dyn Fn() -> Box<dyn Service> + Send + Sync>;

/// The [`Service`] on real backups.
pub struct StoreService {
    backups: Backups,
    namespace: Namespace,
    /// Uniqueids of mailboxes that the last GET reported with HIGHESTMODSEQ 0: the next APPLY
    /// lists all their records.
    asked_in_full: HashSet<String>,
    /// GUIDs that RESERVE reported as missing and that have not been used since.
    missing: HashSet<Guid>,
}

impl StoreService {
    /// Nothing is open yet.
    pub fn new(placement: Arc<Placement>, namespace: Namespace) -> StoreService {
        StoreService {
            backups: Backups::new(placement),
            namespace,
            asked_in_full: HashSet::new(),
            missing: HashSet::new(),
        }
    }
}

impl Service for StoreService {
    fn get(&mut self, get: Get, out: &mut Vec<u8>) -> Reply {
        self.answer(get, out)
    }

    fn apply(&mut self, apply: Apply<'_>, staging: &mut Staging, out: &mut Vec<u8>) -> Reply {
        self.carry_out(apply, staging, out)
    }

    fn restart(&mut self) -> Reply {
        self.close();
        Reply::Ok("Restarting".to_owned())
    }

    fn idle(&mut self) {
        self.backups.finish();
    }

    fn close(&mut self) {
        self.backups.finish();
        self.asked_in_full.clear();
        self.missing.clear();
    }

    fn take_work(&mut self) -> Work {
        self.backups.take_work()
    }
}

/// The clock of everything that is written.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

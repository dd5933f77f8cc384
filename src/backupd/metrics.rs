//! What monitoring sees of the server: counters that sessions add to, and the page made of them.
//!
//! `page` writes the text that Prometheus reads, `exporter` answers its requests.

pub mod exporter;
mod page;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::work::Work;
use crate::csync::response::Reply;
use crate::types::BackupKey;

/// Upper bounds of the buckets of a commit's duration, in milliseconds.
const COMMIT_BOUNDS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 30_000];

/// All counters of one server process.
#[derive(Default)]
pub struct Metrics {
    connections: Counter,
    connected: Counter,
    refused: Counter,
    logins: Counter,
    failed_logins: Counter,
    replies_ok: Counter,
    replies_no: Counter,
    replies_bad: Counter,
    received: Counter,
    sent: Counter,
    messages: Counter,
    message_octets: Counter,
    stored: Counter,
    commits: Durations,
    open_backups: Counter,
    recoveries: Counter,
    repairs: Counter,
    /// When each backup was last asked or changed with success, unix seconds.
    seen: Mutex<HashMap<BackupKey, u64>>,
}

/// A number that goes up, or up and down.
#[derive(Default)]
struct Counter(AtomicU64);

/// How often something took how long.
#[derive(Default)]
struct Durations {
    /// One for each bound, and one for what is longer.
    buckets: [Counter; COMMIT_BOUNDS.len() + 1],
    micros: Counter,
}

/// One open connection, as long as it lives.
pub(crate) struct Connected(Arc<Metrics>);

/// The open backups of one session, as long as it lives.
pub(crate) struct Held {
    metrics: Arc<Metrics>,
    count: u64,
}

impl Metrics {
    pub(crate) fn connect(self: &Arc<Metrics>) -> Connected {
        self.connections.add(1);
        self.connected.add(1);
        Connected(Arc::clone(self))
    }

    pub(crate) fn refuse(&self) {
        self.refused.add(1);
    }

    pub(crate) fn login(&self, is_right: bool) {
        match is_right {
            true => self.logins.add(1),
            false => self.failed_logins.add(1),
        }
    }

    pub(crate) fn replied(&self, reply: &Reply) {
        match reply {
            Reply::Ok(_) => self.replies_ok.add(1),
            Reply::No(..) => self.replies_no.add(1),
            Reply::Bad(_) | Reply::Bye(_) => self.replies_bad.add(1),
        }
    }

    pub(crate) fn received(&self, octets: u64) {
        self.received.add(octets);
    }

    pub(crate) fn sent(&self, octets: u64) {
        self.sent.add(octets);
    }

    pub(crate) fn hold(self: &Arc<Metrics>) -> Held {
        Held {
            metrics: Arc::clone(self),
            count: 0,
        }
    }

    fn worked(&self, work: &Work) {
        self.messages.add(work.messages);
        self.message_octets.add(work.message_octets);
        self.stored.add(work.stored);
        self.recoveries.add(work.recoveries);
        self.repairs.add(work.repairs);
        work.commits.iter().for_each(|&took| self.commits.add(took));
        let now = unix_time(SystemTime::now());
        let mut seen = self.seen();
        for key in &work.touched {
            // The common case, an entry that is there, allocates nothing.
            match seen.get_mut(key) {
                Some(time) => *time = now,
                None => drop(seen.insert(key.clone(), now)),
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<BackupKey, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes in what the session did.
    pub(crate) fn worked(&mut self, work: &Work) {
        self.metrics.worked(work);
        self.set(work.open as u64);
    }

    fn set(&mut self, count: u64) {
        self.metrics.open_backups.add(count);
        self.metrics.open_backups.subtract(self.count);
        self.count = count;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.subtract(1);
    }
}

impl Counter {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn subtract(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Durations {
    fn add(&self, took: Duration) {
        let fits = |&bound: &u64| took <= Duration::from_millis(bound);
        let bucket = COMMIT_BOUNDS.iter().position(fits);
        self.buckets[bucket.unwrap_or(COMMIT_BOUNDS.len())].add(1);
        self.micros
            .add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

fn unix_time(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

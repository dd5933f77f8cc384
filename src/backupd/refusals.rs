//! Clients repeat a refused batch at once, for ever, over new connections (741 in three seconds:
//! spec csync 8.4). What is refused again and again is answered later and later; an `OK` to the
//! same command ends that. No clock: only repetitions count.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many refusals of one command come at once; a client tries a mailbox three times in one run.
const FREE: u32 = 4;
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// Commands remembered; a fleet in trouble is slowed down less, and costs no memory.
const REMEMBERED: usize = 4096;

/// What has been refused lately, by all sessions of the server.
#[derive(Default)]
pub struct Refusals {
    hasher: RandomState,
    counts: Mutex<HashMap<u64, u32>>,
}

impl Refusals {
    /// The command was refused; how long to wait before saying so.
    pub(crate) fn refused(&self, command: &[u8]) -> Duration {
        let mut counts = self.lock();
        if counts.len() >= REMEMBERED {
            counts.clear();
        }
        let count = counts.entry(self.hasher.hash_one(command)).or_default();
        *count = count.saturating_add(1);
        match count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => LONGEST.min(FIRST * (1 << doublings.min(10))),
        }
    }

    /// It was done.
    pub(crate) fn done(&self, command: &[u8]) {
        let mut counts = self.lock();
        if !counts.is_empty() {
            counts.remove(&self.hasher.hash_one(command));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_is_slowed_and_success_forgives() {
        let refusals = Refusals::default();
        let wait = |command: &[u8]| refusals.refused(command);
        let waits: Vec<u128> = (0..14).map(|_| wait(b"GET USER x").as_millis()).collect();
        let wanted = [
            0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000,
        ];
        assert_eq!(waits, wanted);
        assert_eq!(wait(b"GET USER y"), Duration::ZERO);
        refusals.done(b"GET USER x");
        assert_eq!(wait(b"GET USER x"), Duration::ZERO);
        for n in 0..2 * REMEMBERED {
            wait(&n.to_le_bytes());
        }
        assert!(refusals.lock().len() <= REMEMBERED);
    }
}

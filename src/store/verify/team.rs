//! Several threads that inspect chunks side by side, and hand in what they found in the order of
//! the chunks. Chunk n is the work of thread n modulo their number; none gets further ahead of the
//! one that asks than a queue of small results is long, so memory stays bounded.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use super::expected::Rows;
use super::inspect::{Inspected, Source};
use crate::store::index::ChunkRow;

/// Results that wait, for each thread.
const AHEAD: usize = 32;
/// With less to read, starting threads is not worth it.
const SMALL: u64 = 1 << 20;
/// More threads than this wait for the disk only.
const MOST: usize = 16;

/// A chunk and the rows to compare it with.
pub(super) type Job<'a> = (&'a ChunkRow, Option<&'a Rows>);

/// Who inspects.
pub(super) enum Team<'a> {
    /// The thread that asks.
    Nobody(Source<'a>),
    /// Others, each with its queue of results.
    Threads(Vec<Receiver<io::Result<Inspected>>>),
}

/// How many threads beside the one that asks are of use; none on one core.
pub(super) fn size(bytes: u64, chunks: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 || bytes < SMALL {
        return 0;
    }
    cores.min(chunks).min(MOST)
}

impl<'a> Team<'a> {
    /// Sets the threads to work.
    pub(super) fn start<'scope>(
        size: usize,
        scope: &'scope Scope<'scope, '_>,
        source: Source<'scope>,
        jobs: &'scope [Job<'scope>],
    ) -> io::Result<Team<'scope>> {
        if size == 0 {
            return Ok(Team::Nobody(source));
        }
        let mut queues = Vec::new();
        for first in 0..size {
            let (results, queue) = sync_channel(AHEAD);
            let source = Source { ..source };
            thread::Builder::new().spawn_scoped(scope, move || {
                work(&source, jobs.iter().skip(first).step_by(size), &results);
            })?;
            queues.push(queue);
        }
        Ok(Team::Threads(queues))
    }

    /// What the job of this number found; each number once, in their order.
    pub(super) fn result(&self, number: usize, job: &Job<'_>) -> io::Result<Inspected> {
        match self {
            Team::Nobody(source) => source.inspect(job.0, job.1),
            Team::Threads(queues) => match queues[number % queues.len()].recv() {
                Ok(result) => result,
                Err(_) => Err(io::Error::other("a thread ended before its work was done")),
            },
        }
    }
}

fn work<'a>(
    source: &Source<'_>,
    jobs: impl Iterator<Item = &'a Job<'a>>,
    results: &SyncSender<io::Result<Inspected>>,
) {
    for (chunk, rows) in jobs {
        let wanted = results.send(source.inspect(chunk, *rows)).is_ok();
        if !wanted {
            return;
        }
    }
}

/// Tells the threads to stop when it is dropped.
pub(super) struct Stop<'a>(pub(super) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

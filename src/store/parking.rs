//! Readers that wait for the next question where the last one left them.

use std::sync::Mutex;

use super::cache::lock;

/// So many wait; the one that came first goes.
const ROOM: usize = 8;

/// Readers of some kind, each of a chunk.
pub(super) struct Parking<T>(Mutex<Vec<(i64, T)>>);

impl<T> Default for Parking<T> {
    fn default() -> Parking<T> {
        Parking(Mutex::default())
    }
}

impl<T> Parking<T> {
    /// The one of this chunk that is best: `rank` says how good one is, if it is of any use.
    pub fn take(&self, chunk: i64, rank: impl Fn(&T) -> Option<u64>) -> Option<T> {
        let mut waiting = lock(&self.0);
        let ranks = waiting.iter().enumerate();
        let ranks = ranks.filter(|(_, (of, _))| *of == chunk);
        let ranks = ranks.filter_map(|(at, (_, one))| Some((rank(one)?, at)));
        let (_, best) = ranks.max()?;
        Some(waiting.remove(best).1)
    }

    /// Lets one wait.
    pub fn put(&self, chunk: i64, one: T) {
        let mut waiting = lock(&self.0);
        if waiting.len() >= ROOM {
            waiting.remove(0);
        }
        waiting.push((chunk, one));
    }

    /// Sends all away.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_one_of_the_chunk_goes_on() {
        let parking = Parking::default();
        for one in 0..20u64 {
            parking.put((one % 2) as i64, one);
        }
        let upto = |most: u64| move |one: &u64| (*one <= most).then_some(*one);
        assert_eq!(parking.take(0, upto(17)), Some(16));
        assert_eq!(parking.take(0, upto(17)), Some(14));
        assert_eq!(parking.take(1, upto(11)), None, "it is gone");
        assert_eq!(parking.take(2, upto(99)), None);
        parking.clear();
        assert_eq!(parking.take(1, upto(99)), None);
    }
}

//! Messages that were read and may be asked for again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::types::Guid;

/// So many of the latest are kept however large they are: a large one is asked for in pieces.
const IN_HAND: usize = 4;

/// Messages by GUID, bounded by their bytes.
pub(super) struct Cache {
    messages: LruCache<Guid, Arc<[u8]>>,
    bytes: usize,
    most: usize,
}

impl Cache {
    pub fn new(most: usize) -> Cache {
        Cache {
            messages: LruCache::unbounded(),
            bytes: 0,
            most,
        }
    }

    pub fn clear(&mut self) {
        *self = Cache::new(self.most);
    }

    pub fn get(&mut self, guid: &Guid) -> Option<Arc<[u8]>> {
        self.messages.get(guid).cloned()
    }

    /// How many bytes are kept at most.
    pub fn most(&self) -> usize {
        self.most
    }

    pub fn put(&mut self, guid: Guid, octets: Arc<[u8]>) {
        self.bytes += octets.len();
        if let Some(old) = self.messages.put(guid, octets) {
            self.bytes -= old.len();
        }
        while self.bytes > self.most && self.messages.len() > IN_HAND {
            match self.messages.pop_lru() {
                Some((_, old)) => self.bytes -= old.len(),
                None => break,
            }
        }
    }
}

/// A panic elsewhere leaves nothing half done in what these locks guard.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_but_for_the_latest() {
        let mut cache = Cache::new(100);
        for n in 0..10u8 {
            cache.put(Guid::of(&[n]), vec![n; 20].into());
            assert!(cache.bytes <= 100);
        }
        for n in 0..10u8 {
            cache.put(Guid::of(&[n]), vec![n; 1000].into());
            assert!(cache.messages.len() <= IN_HAND.max(5));
        }
        assert_eq!(cache.bytes, 4000);
    }
}

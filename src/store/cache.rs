//! Inflated messages kept for the next question, bounded by their bytes. Those that only passed by on the
//! way to another are checked when somebody wants them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::types::Guid;

/// So many of the latest are kept however large they are: a large one is asked for in pieces.
const IN_HAND: usize = 4;

/// Messages by GUID.
pub(super) struct Cache {
    messages: LruCache<Guid, Kept>,
    bytes: usize,
    most: usize,
}

#[derive(Clone)]
struct Kept {
    octets: Arc<[u8]>,
    /// They are what the GUID says.
    checked: bool,
}

impl Cache {
    /// Of at most so many bytes.
    pub fn new(most: usize) -> Cache {
        Cache {
            messages: LruCache::unbounded(),
            bytes: 0,
            most,
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Cache::new(self.most);
    }

    /// How many bytes are kept at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Keeps a message that was checked.
    pub fn put(&mut self, guid: Guid, octets: Arc<[u8]>) {
        let checked = true;
        self.insert(guid, Kept { octets, checked });
    }

    /// Keeps what is said to be this message, if there is nothing better.
    pub fn put_unchecked(&mut self, guid: Guid, octets: Arc<[u8]>) {
        if !self.messages.contains(&guid) {
            let checked = false;
            self.insert(guid, Kept { octets, checked });
        }
    }

    fn insert(&mut self, guid: Guid, kept: Kept) {
        self.bytes += kept.octets.len();
        if let Some(old) = self.messages.put(guid, kept) {
            self.bytes -= old.octets.len();
        }
        while self.bytes > self.most && self.messages.len() > IN_HAND {
            match self.messages.pop_lru() {
                Some((_, old)) => self.bytes -= old.octets.len(),
                None => break,
            }
        }
    }

    fn remove(&mut self, guid: &Guid) {
        if let Some(old) = self.messages.pop(guid) {
            self.bytes -= old.octets.len();
        }
    }
}

/// The message, if it is kept, checked at the latest now: other threads need not wait for that.
pub(super) fn known(cache: &Mutex<Cache>, guid: &Guid) -> Option<Arc<[u8]>> {
    let kept = lock(cache).messages.get(guid).cloned()?;
    if kept.checked {
        return Some(kept.octets);
    }
    if Guid::of(&kept.octets) != *guid {
        lock(cache).remove(guid);
        return None;
    }
    lock(cache).put(*guid, kept.octets.clone());
    Some(kept.octets)
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
            cache.put_unchecked(Guid::of(&[n]), vec![n; 1000].into());
            assert!(cache.messages.len() <= IN_HAND.max(5));
        }
        assert_eq!(cache.bytes, 4000);
    }

    #[test]
    fn nothing_unchecked_is_given_out() {
        let cache = Mutex::new(Cache::new(100));
        let (good, bad) = (Guid::of(b"good"), Guid::of(b"bad"));
        lock(&cache).put_unchecked(good, b"good"[..].into());
        lock(&cache).put_unchecked(bad, b"other"[..].into());
        assert_eq!(known(&cache, &good).as_deref(), Some(&b"good"[..]));
        assert_eq!(known(&cache, &bad), None);
        assert_eq!(lock(&cache).bytes, 4);
        // What was checked is not lost for what was not.
        lock(&cache).put_unchecked(good, b"evil"[..].into());
        assert_eq!(known(&cache, &good).as_deref(), Some(&b"good"[..]));
    }
}

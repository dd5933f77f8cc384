//! The trees of past moments: `@2026-10-01` in a user's directory is that directory as it was then.
//! They are looked up, never listed, and made of the bytes that the present tree is made of. Making one replays the log, so only a few stay in memory, and one
//! that was dropped is made again with the same inode numbers when somebody asks for it.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::ViewError;
use super::inode::{self, Blocks};
use super::lock::lock;
use super::tree::Tree;
use crate::select::Clock;

/// Trees in memory. A tree of 100,000 messages takes some 40 MB.
const TREES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// Moments that a mount remembers the numbers of: a program that asks for ever new ones is refused.
const MOMENTS: usize = 10_000;

/// The past moments of a mount.
pub struct Moments {
    /// What time it was when the mount began: `yesterday` stays the same day until the unmount.
    clock: Clock,
    known: Mutex<Known>,
    /// By first block.
    trees: Mutex<LruCache<u32, Arc<Tree>>>,
    /// Held while a tree is made.
    making: Mutex<()>,
}

/// Everything that was asked for.
#[derive(Default)]
struct Known {
    by_block: HashMap<u32, Arc<Moment>>,
    by_name: HashMap<(u64, String), u32>,
}

/// One directory of a moment.
struct Moment {
    /// The present tree beside it.
    present: Arc<Tree>,
    name: String,
    time: i64,
    /// Inode blocks, the first one first.
    blocks: Vec<u32>,
}

impl Moments {
    /// None so far; relative names count from this clock.
    pub fn new(clock: Clock) -> Moments {
        Moments {
            clock,
            known: Mutex::default(),
            trees: Mutex::new(LruCache::new(TREES)),
            making: Mutex::new(()),
        }
    }

    /// The tree of a user as it was at the moment that `name` means.
    pub fn enter(&self, present: &Arc<Tree>, name: &str) -> Result<Arc<Tree>, ViewError> {
        let time = self.clock.parse(name).map_err(|_| ViewError::NotFound)?;
        let key = (present.serial(), name.to_owned());
        let known = || lock(&self.known).by_name.get(&key).copied();
        if let Some(block) = known() {
            return self.tree(block);
        }
        let making = lock(&self.making);
        if let Some(block) = known() {
            drop(making);
            return self.tree(block);
        }
        if time > self.clock.now {
            return Err(ViewError::NotYet);
        }
        self.make_room(present)?;
        let mut moment = Moment {
            present: present.clone(),
            name: name.to_owned(),
            time,
            blocks: Vec::new(),
        };
        let tree = self.make(&mut moment)?;
        let first = moment.blocks.first().copied().ok_or(ViewError::NotFound)?;
        let moment = Arc::new(moment);
        let mut known = lock(&self.known);
        for block in &moment.blocks {
            known.by_block.insert(*block, moment.clone());
        }
        known.by_name.insert(key, first);
        lock(&self.trees).put(first, tree.clone());
        Ok(tree)
    }

    /// The tree that this inode block belongs to.
    pub fn tree(&self, block: u32) -> Result<Arc<Tree>, ViewError> {
        let moment = lock(&self.known).by_block.get(&block).cloned();
        let moment = moment.ok_or(ViewError::NotFound)?;
        let first = moment.blocks[0];
        let in_memory = || lock(&self.trees).get(&first).cloned();
        if let Some(tree) = in_memory() {
            return Ok(tree);
        }
        let _making = lock(&self.making);
        if let Some(tree) = in_memory() {
            return Ok(tree);
        }
        let mut again = Moment {
            present: moment.present.clone(),
            name: moment.name.clone(),
            time: moment.time,
            blocks: moment.blocks.clone(),
        };
        let tree = self.make(&mut again)?;
        lock(&self.trees).put(first, tree.clone());
        Ok(tree)
    }

    /// Replays the log. A moment without blocks gets some, chosen from its name, so that they are the
    /// same in the next mount unless two names meet.
    fn make(&self, moment: &mut Moment) -> Result<Arc<Tree>, ViewError> {
        let config = moment.present.past()?;
        let source = moment.present.source().past(moment.time)?;
        let (blocks, name) = (&mut moment.blocks, &moment.name);
        let owner = config.parent;
        let choose = |highest: u32| {
            let needed = inode::blocks_needed(highest) as usize;
            let known = lock(&self.known);
            while blocks.len() < needed {
                let name = format!("{owner} {name} {}", blocks.len());
                let taken = |slot| known.by_block.contains_key(&slot) || blocks.contains(&slot);
                let slot = inode::moment_slot(&name, taken)?;
                blocks.push(slot);
            }
            Some(Blocks::Shared(blocks.clone()))
        };
        Tree::open(source, &config, choose).map(Arc::new)
    }

    fn make_room(&self, present: &Tree) -> Result<(), ViewError> {
        match lock(&self.known).by_name.len() < MOMENTS {
            true => Ok(()),
            false => Err(ViewError::Unreadable {
                path: present.source().path().to_owned(),
                what: format!("{MOMENTS} moments were asked for: mount again to ask for more"),
            }),
        }
    }
}

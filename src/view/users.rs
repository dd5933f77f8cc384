//! The root of a mount of all users: a directory for each, opened when somebody first looks in.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::attr::Attr;
use super::inode::{self, Blocks, Fixed, Local};
use super::lock::lock;
use super::source::Source;
use super::tree::{Shape, Tree, TreeConfig};
use super::{ViewError, names};
use crate::types::Namespace;

/// How many users' backups may keep memory for the next question. The others stay open (and locked),
/// but small.
const AWAKE: usize = 16;

/// Opens the backup with this data file.
pub type Opener = Box<dyn Fn(&Path) -> Result<Arc<dyn Source>, ViewError> + Send + Sync>;

/// A backup that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its key: a userid or `%SHARED`.
    pub key: String,
    /// The data file.
    pub path: PathBuf,
    /// Bytes in the data file.
    pub len: u64,
    /// When the data file was last written, in unix seconds: what is known without opening it.
    pub time: i64,
}

/// All users, as they were when the mount began.
pub struct Users {
    users: Vec<User>,
    /// Blocks to users: those of the names, and those given out by [`Users::open`].
    blocks: Mutex<(HashMap<u32, usize>, Range<u32>)>,
    /// Users that were asked for, the latest last.
    awake: Mutex<LruCache<usize, ()>>,
    namespace: Namespace,
    shape: Shape,
    /// All trees are of this moment, if one is given to [`Users::new`].
    past: bool,
    opener: Opener,
}

struct User {
    name: String,
    account: Account,
    block: u32,
    tree: Mutex<Option<Arc<Tree>>>,
}

impl Users {
    /// These users. `past` if the opener opens them as of a past moment. `None` when there are more
    /// than inode numbers can tell apart (524,287).
    pub fn new(
        accounts: Vec<Account>,
        namespace: Namespace,
        shape: Shape,
        past: bool,
        opener: Opener,
    ) -> Option<Users> {
        let mut accounts: Vec<_> = accounts
            .into_iter()
            .map(|account| (names::user(&account.key), account))
            .collect();
        accounts.sort_by(|a, b| a.0.cmp(&b.0));
        accounts.dedup_by(|a, b| a.0 == b.0);
        let slots = inode::slots(accounts.iter().map(|(name, _)| name.as_str()))?;
        let by_block = slots.iter().copied().zip(0..).collect();
        let users = accounts.into_iter().zip(slots);
        let users = users.map(|((name, account), block)| User {
            name,
            account,
            block,
            tree: Mutex::new(None),
        });
        Some(Users {
            users: users.collect(),
            blocks: Mutex::new((by_block, inode::extra_blocks())),
            awake: Mutex::new(LruCache::unbounded()),
            namespace,
            shape,
            past,
            opener,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Bytes in all data files when the mount began.
    pub fn data_len(&self) -> u64 {
        self.users.iter().map(|user| user.account.len).sum()
    }

    /// stat(2) of the root.
    pub fn root_attr(&self) -> Attr {
        let newest = self.users.iter().map(|user| user.account.time).max();
        Attr::dir(inode::ROOT, self.len(), newest.unwrap_or(i64::MIN))
    }

    /// The user whose directory has this name.
    pub fn find(&self, name: &str) -> Result<usize, ViewError> {
        let found = self
            .users
            .binary_search_by(|user| user.name.as_str().cmp(name));
        found.map_err(|_| ViewError::NotFound)
    }

    /// The user who owns this inode block.
    pub fn by_block(&self, block: u32) -> Result<usize, ViewError> {
        let blocks = lock(&self.blocks);
        blocks.0.get(&block).copied().ok_or(ViewError::NotFound)
    }

    /// Inode number of a user's directory.
    pub fn ino(&self, user: usize) -> Result<u64, ViewError> {
        let blocks = Blocks::Shared(vec![self.users[user].block]);
        let ino = blocks.encode(Local::Fixed(Fixed::User));
        ino.ok_or(ViewError::NotFound)
    }

    /// stat(2) of a user's directory; opens nothing, so a listing of thousands is quick.
    pub fn attr(&self, user: usize) -> Result<Attr, ViewError> {
        Ok(Attr::dir(
            self.ino(user)?,
            Tree::top_dirs(self.past),
            self.users[user].account.time,
        ))
    }

    /// The entry at a place of the root directory.
    pub fn entry(&self, place: usize) -> Result<Option<(String, Attr)>, ViewError> {
        let user = self.users.get(place);
        user.map(|user| Ok((user.name.clone(), self.attr(place)?)))
            .transpose()
    }

    /// The tree of a user. A failure is not remembered: the next look tries again.
    pub fn open(&self, user: usize) -> Result<Arc<Tree>, ViewError> {
        let tree = self.open_one(user)?;
        if let Some(sleeper) = self.wake(user)
            // One who is being opened right now does not sleep.
            && let Ok(tree) = self.users[sleeper].tree.try_lock()
            && let Some(tree) = &*tree
        {
            tree.rest();
        }
        Ok(tree)
    }

    /// Notes who is asked for; the user, if any, who may go to sleep for that.
    fn wake(&self, user: usize) -> Option<usize> {
        let mut awake = lock(&self.awake);
        awake.put(user, ());
        let too_many = awake.len() > AWAKE;
        too_many.then(|| awake.pop_lru())?.map(|(user, ())| user)
    }

    fn open_one(&self, user: usize) -> Result<Arc<Tree>, ViewError> {
        let User { account, tree, .. } = &self.users[user];
        let mut tree = lock(tree);
        if let Some(tree) = &*tree {
            return Ok(tree.clone());
        }
        let source = (self.opener)(&account.path)?;
        let config = TreeConfig {
            key: Some(&account.key),
            namespace: &self.namespace,
            shape: self.shape,
            past: self.past,
            parent: inode::ROOT,
            time: Some(account.time),
        };
        let opened = Tree::open(source, &config, |highest| self.give_blocks(user, highest))?;
        Ok(tree.insert(Arc::new(opened)).clone())
    }

    fn give_blocks(&self, user: usize, highest_mailbox: u32) -> Option<Blocks> {
        let mut mine = vec![self.users[user].block];
        let mut blocks = lock(&self.blocks);
        for _ in 1..inode::blocks_needed(highest_mailbox) {
            let block = blocks.1.next()?;
            blocks.0.insert(block, user);
            mine.push(block);
        }
        Some(Blocks::Shared(mine))
    }
}

//! The answers to all requests of a mount, as plain values: the kernel's side is [`super::fuse`].
//!
//! A mount shows one user, whose directory is its root, or all users, whose backups are opened when
//! somebody first looks into their directories. Everything shown is what the backup was when it was
//! opened; nothing changes until the unmount, so the kernel may remember all of it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::attr::Attr;
use super::inode;
use super::mails::Mails;
use super::users::Users;
use super::view::{Node, View};
use super::{FsError, names};
use crate::types::Guid;

/// Messages that are kept listed in memory over all mailboxes, about 90 bytes each. One mailbox may
/// go beyond.
const LISTED: usize = 1_000_000;

/// Complaints that are remembered, so that each is logged once.
const COMPLAINTS: usize = 10_000;

/// A mounted tree.
pub struct Ops {
    root: Root,
    listed: Mutex<Listed>,
    /// Held while a mailbox is read, so that threads that want the same read it once.
    loading: Mutex<()>,
    complaints: Mutex<HashSet<String>>,
}

/// What is at the root.
pub enum Root {
    /// One user.
    Sole(Arc<View>),
    /// All users.
    Many(Box<Users>),
}

/// An entry of a directory.
pub struct Entry<'a> {
    /// File name.
    pub name: &'a str,
    /// What stat(2) says.
    pub attr: Attr,
    /// Cookie that makes [`Ops::readdir`] go on behind this entry.
    pub next: u64,
}

/// Bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A part of something that is kept.
    Kept(Arc<[u8]>, Range<usize>),
    /// Bytes read for this answer.
    Read(Vec<u8>),
}

/// What statfs(2) says; blocks of [`Statfs::BLOCK`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// Blocks of data files.
    pub blocks: u64,
    /// Files and directories, as far as they are known.
    pub files: u64,
}

/// Where an inode number leads.
enum Place<'a> {
    /// The root of a mount of many.
    Users(&'a Users),
    /// The directory of a user, not opened.
    User(&'a Users, usize),
    /// In a user's tree.
    In(usize, Arc<View>, Node),
}

impl Data {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Data::Kept(bytes, range) => &bytes[range.clone()],
            Data::Read(bytes) => bytes,
        }
    }
}

impl Statfs {
    /// Bytes in a block.
    pub const BLOCK: u32 = 4096;
    /// Longest file name.
    pub const NAME_MAX: u32 = names::MAX_BYTES as u32;
}

impl Ops {
    /// The tree below this root.
    pub fn new(root: Root) -> Ops {
        Ops {
            root,
            listed: Mutex::new(Listed {
                mails: LruCache::unbounded(),
                messages: 0,
            }),
            loading: Mutex::new(()),
            complaints: Mutex::new(HashSet::new()),
        }
    }

    /// The file called `name` in a directory.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr, FsError> {
        match (self.place(parent)?, name) {
            (_, ".") => self.getattr(parent),
            (place, "..") => self.getattr(self.parent(&place)?),
            (Place::Users(users), name) => users.attr(users.find(name)?),
            (Place::User(users, user), name) => {
                let view = users.open(user)?;
                self.child(user, &view, &Node::User, name)
            }
            (Place::In(user, view, node), name) => self.child(user, &view, &node, name),
        }
    }

    /// stat(2)
    pub fn getattr(&self, ino: u64) -> Result<Attr, FsError> {
        match self.place(ino)? {
            Place::Users(users) => Ok(users.root_attr()),
            Place::User(users, user) => users.attr(user),
            Place::In(_, view, node) => view.attr(&node),
        }
    }

    /// Hands the entries of a directory to `emit`, from behind the one with cookie `from` (0 = from
    /// the start), until it says that it is full by answering `false`.
    pub fn readdir(
        &self,
        ino: u64,
        from: u64,
        mut emit: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let place = self.place(ino)?;
        for next in from.saturating_add(1).. {
            let (name, attr) = match next {
                1 => (".".to_owned(), self.getattr(ino)?),
                2 => ("..".to_owned(), self.getattr(self.parent(&place)?)?),
                _ => match self.entry(&place, (next - 3) as usize)? {
                    Some(entry) => entry,
                    None => break,
                },
            };
            let name = name.as_str();
            if !emit(Entry { name, attr, next }) {
                break;
            }
        }
        Ok(())
    }

    /// Up to `size` bytes of a file; fewer only at its end. A message is read whole and checked
    /// before its first byte is given.
    pub fn read(&self, ino: u64, offset: u64, size: u32) -> Result<Data, FsError> {
        let Place::In(_, view, node) = self.place(ino)? else {
            return Err(FsError::IsDirectory);
        };
        match &node {
            Node::Mail(_, mail) => {
                let bytes = view.source().message(&mail.guid)?;
                if bytes.len() as u64 != mail.size {
                    return Err(wrong_size(&view, &mail.guid, mail.size, bytes.len()));
                }
                Ok(part(bytes, offset, size))
            }
            Node::Missing(_, text) => Ok(part(text.clone(), offset, size)),
            Node::Piece(place) => read_piece(&view, *place, offset, size).map(Data::Read),
            Node::User | Node::Folder(_) | Node::Chunks => Err(FsError::IsDirectory),
        }
    }

    /// The value of an extended attribute.
    pub fn getxattr(&self, ino: u64, name: &str) -> Result<Vec<u8>, FsError> {
        match self.place(ino)? {
            Place::In(_, view, node) => view.xattr(&node, name).map(String::into_bytes),
            Place::Users(_) | Place::User(..) => Err(FsError::NoAttribute),
        }
    }

    /// The names of all extended attributes, each ended by a NUL.
    pub fn listxattr(&self, ino: u64) -> Result<Vec<u8>, FsError> {
        let Place::In(_, view, node) = self.place(ino)? else {
            return Ok(Vec::new());
        };
        let names = view.xattrs(&node)?.into_iter();
        Ok(names
            .flat_map(|(name, _)| name.bytes().chain([0]))
            .collect())
    }

    /// statfs(2)
    pub fn statfs(&self) -> Result<Statfs, FsError> {
        let (bytes, files) = match &self.root {
            Root::Sole(view) => {
                let messages = view.source().message_count()?;
                (view.source().data_len(), view.fixed_count() + messages)
            }
            Root::Many(users) => (users.data_len(), 1 + users.len() as u64),
        };
        let blocks = bytes.div_ceil(u64::from(Statfs::BLOCK));
        Ok(Statfs { blocks, files })
    }

    /// Logs trouble, each kind once; ENOENT and the like only for debugging.
    pub fn complain(&self, request: &str, ino: u64, error: &FsError) {
        if error.is_ordinary() {
            tracing::debug!(request, ino, %error);
            return;
        }
        let text = error.to_string();
        let mut complaints = lock(&self.complaints);
        if complaints.len() < COMPLAINTS && complaints.insert(text) {
            tracing::error!(request, "{error}");
        }
    }

    fn place(&self, ino: u64) -> Result<Place<'_>, FsError> {
        let (user, view) = match &self.root {
            Root::Sole(view) => (0, view.clone()),
            Root::Many(users) => {
                if ino == inode::ROOT {
                    return Ok(Place::Users(users));
                }
                let user = users.by_block(inode::block_of(ino))?;
                if ino == users.ino(user)? {
                    return Ok(Place::User(users, user));
                }
                (user, users.open(user)?)
            }
        };
        let node = view.node(ino, &|folder| self.load(user, &view, folder))?;
        Ok(Place::In(user, view, node))
    }

    fn parent(&self, place: &Place<'_>) -> Result<u64, FsError> {
        match place {
            Place::Users(_) | Place::User(..) => Ok(inode::ROOT),
            Place::In(_, view, node) => view.parent(node),
        }
    }

    fn child(&self, user: usize, view: &View, node: &Node, name: &str) -> Result<Attr, FsError> {
        let child = view.child(node, name, &|folder| self.load(user, view, folder))?;
        view.attr(&child)
    }

    fn entry(&self, place: &Place<'_>, at: usize) -> Result<Option<(String, Attr)>, FsError> {
        let opened;
        let (user, view, node) = match place {
            Place::Users(users) => return users.entry(at),
            Place::User(users, user) => {
                opened = users.open(*user)?;
                (*user, &opened, &Node::User)
            }
            Place::In(user, view, node) => (*user, view, node),
        };
        let found = view.entry(node, at, &|folder| self.load(user, view, folder))?;
        found
            .map(|(name, node)| Ok((name, view.attr(&node)?)))
            .transpose()
    }

    fn load(&self, user: usize, view: &View, folder: usize) -> Result<Arc<Mails>, FsError> {
        let known = || lock(&self.listed).mails.get(&(user, folder)).cloned();
        if let Some(mails) = known() {
            return Ok(mails);
        }
        let _one_reads = lock(&self.loading);
        if let Some(mails) = known() {
            return Ok(mails);
        }
        let mails = Arc::new(view.load(folder)?);
        lock(&self.listed).keep((user, folder), mails.clone(), LISTED);
        Ok(mails)
    }
}

/// Mailboxes whose messages are in memory.
struct Listed {
    mails: LruCache<(usize, usize), Arc<Mails>>,
    messages: usize,
}

impl Listed {
    fn keep(&mut self, key: (usize, usize), mails: Arc<Mails>, limit: usize) {
        self.messages += mails.len();
        if let Some(old) = self.mails.put(key, mails) {
            self.messages -= old.len();
        }
        while self.messages > limit && self.mails.len() > 1 {
            let dropped = self.mails.pop_lru().map_or(0, |(_, mails)| mails.len());
            self.messages -= dropped;
        }
    }
}

fn part(bytes: Arc<[u8]>, offset: u64, size: u32) -> Data {
    let clip = |at: u64| at.min(bytes.len() as u64) as usize;
    let range = clip(offset)..clip(offset.saturating_add(size.into()));
    Data::Kept(bytes, range)
}

fn read_piece(view: &View, place: usize, offset: u64, size: u32) -> Result<Vec<u8>, FsError> {
    let piece = view.piece(place)?;
    let left = piece.len.saturating_sub(offset).min(size.into());
    let mut buf = vec![0; left as usize];
    let mut filled = 0;
    while filled < buf.len() {
        let at = piece.offset + offset + filled as u64;
        match view.source().raw(at, &mut buf[filled..])? {
            // A short answer would look like the end of the piece.
            0 => {
                return Err(FsError::Damaged {
                    path: view.source().path().to_owned(),
                    what: format!("file ends at {at}, it was longer when it was mounted"),
                });
            }
            n => filled += n,
        }
    }
    Ok(buf)
}

/// The index and the message disagree: bytes beyond st_size would be cut off, or zeros added.
fn wrong_size(view: &View, guid: &Guid, indexed: u64, found: usize) -> FsError {
    FsError::Damaged {
        path: view.source().path().to_owned(),
        what: format!(
            "message {guid}: index says {indexed} bytes, the message has {found}; reindex the backup"
        ),
    }
}

/// A panic elsewhere leaves nothing half done in what these locks guard.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

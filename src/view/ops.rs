//! The answers to all requests of a mount, as plain values: the kernel's side is [`super::fuse`].
//!
//! A mount shows one user, whose directory is its root, or all users, whose backups are opened when
//! somebody first looks into their directories; below each user's directory are the trees of past
//! moments, which are looked up and not listed. Everything shown is what the backup was when it was
//! opened; nothing changes until the unmount, so the kernel may remember all of it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::attr::Attr;
use super::inode;
use super::lock::lock;
use super::mails::Mails;
use super::moments::Moments;
use super::tree::{At, Node, Tree};
use super::users::Users;
use super::{ViewError, names, xattr};
use crate::types::Guid;

/// Messages that are kept listed in memory over all mailboxes, about 90 bytes each. One mailbox may
/// go beyond.
const LISTED: usize = 1_000_000;

/// Complaints that are remembered, so that each is logged once.
const COMPLAINTS: usize = 10_000;

/// A mounted tree.
pub struct Ops {
    root: Root,
    moments: Moments,
    listed: Mutex<Listed>,
    /// Held while a mailbox is read, so that threads that want the same read it once.
    loading: Mutex<()>,
    complaints: Mutex<HashSet<String>>,
}

/// What is at the root.
pub enum Root {
    /// One user.
    Sole(Arc<Tree>),
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
    In(Arc<Tree>, Node),
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
    pub fn new(root: Root, moments: Moments) -> Ops {
        Ops {
            root,
            moments,
            listed: Mutex::new(Listed {
                mails: LruCache::unbounded(),
                messages: 0,
            }),
            loading: Mutex::new(()),
            complaints: Mutex::new(HashSet::new()),
        }
    }

    /// The file called `name` in a directory.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Attr, ViewError> {
        match (self.place(parent)?, name) {
            (_, ".") => self.getattr(parent),
            (place, "..") => self.getattr(self.parent(&place)?),
            (Place::Users(users), name) => users.attr(users.find(name)?),
            (Place::User(users, user), name) => self.child(&users.open(user)?, &Node::User, name),
            (Place::In(tree, node), name) => self.child(&tree, &node, name),
        }
    }

    /// stat(2)
    pub fn getattr(&self, ino: u64) -> Result<Attr, ViewError> {
        match self.place(ino)? {
            Place::Users(users) => Ok(users.root_attr()),
            Place::User(users, user) => users.attr(user),
            Place::In(tree, node) => tree.attr(&node),
        }
    }

    /// Hands the entries of a directory to `emit`, from behind the one with cookie `from` (0 = from
    /// the start), until it says that it is full by answering `false`.
    pub fn readdir(
        &self,
        ino: u64,
        from: u64,
        mut emit: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<(), ViewError> {
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
    pub fn read(&self, ino: u64, offset: u64, size: u32) -> Result<Data, ViewError> {
        let Place::In(tree, node) = self.place(ino)? else {
            return Err(ViewError::IsDirectory);
        };
        match &node {
            Node::Mail(_, mail) => {
                let bytes = tree.source().message(mail.message, &mail.guid)?;
                if bytes.len() as u64 != mail.size {
                    return Err(wrong_size(&tree, &mail.guid, mail.size, bytes.len()));
                }
                Ok(part(bytes, offset, size))
            }
            Node::Part(_, mail) => {
                let bytes = tree.source().message(mail.message, &mail.guid)?;
                let range = mail.part.clone().unwrap_or_default();
                if bytes.len() < range.end as usize {
                    return Err(wrong_size(&tree, &mail.guid, mail.size, bytes.len()));
                }
                let end = u64::from(range.end);
                let offset = u64::from(range.start).saturating_add(offset).min(end);
                let size = (end - offset).min(size.into()) as u32;
                Ok(part(bytes, offset, size))
            }
            Node::Missing(_, text) => Ok(part(text.clone(), offset, size)),
            Node::Script(script) => Ok(part(Node::script_text(script)?, offset, size)),
            Node::Note(note) => Ok(part(tree.note(*note)?, offset, size)),
            Node::Piece(place) => read_piece(&tree, *place, offset, size).map(Data::Read),
            Node::User | Node::Folder(_) | Node::Box(..) | Node::Chunks | Node::Sieve => {
                Err(ViewError::IsDirectory)
            }
        }
    }

    /// The value of an extended attribute.
    pub fn getxattr(&self, ino: u64, name: &str) -> Result<Vec<u8>, ViewError> {
        let (tree, node) = match self.place(ino)? {
            Place::In(tree, node) => (tree, node),
            // Opens the backup, so only for who asks by name; `ls -l` asks each user for others.
            Place::User(users, user) if name == xattr::OLDEST => (users.open(user)?, Node::User),
            Place::Users(_) | Place::User(..) => return Err(ViewError::NoAttribute),
        };
        tree.xattr(&node, name).map(String::into_bytes)
    }

    /// The names of the extended attributes that a copy should have, each ended by a NUL.
    pub fn listxattr(&self, ino: u64) -> Result<Vec<u8>, ViewError> {
        let Place::In(tree, node) = self.place(ino)? else {
            return Ok(Vec::new());
        };
        let names = tree.xattrs(&node)?.into_iter();
        Ok(names
            .flat_map(|(name, _)| name.bytes().chain([0]))
            .collect())
    }

    /// statfs(2)
    pub fn statfs(&self) -> Result<Statfs, ViewError> {
        let (bytes, files) = match &self.root {
            Root::Sole(tree) => {
                let messages = tree.source().message_count()?;
                (tree.source().data_len(), tree.fixed_count() + messages)
            }
            Root::Many(users) => (users.data_len(), 1 + users.len() as u64),
        };
        let blocks = bytes.div_ceil(u64::from(Statfs::BLOCK));
        Ok(Statfs { blocks, files })
    }

    /// Logs trouble, each kind once; ENOENT and the like only for debugging.
    pub fn complain(&self, request: &str, ino: u64, error: &ViewError) {
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

    fn place(&self, ino: u64) -> Result<Place<'_>, ViewError> {
        let block = inode::block_of(ino);
        let tree = match &self.root {
            _ if inode::is_moment(block) => self.moments.tree(block)?,
            Root::Sole(tree) => tree.clone(),
            Root::Many(users) => {
                if ino == inode::ROOT {
                    return Ok(Place::Users(users));
                }
                let user = users.by_block(block)?;
                if ino == users.ino(user)? {
                    return Ok(Place::User(users, user));
                }
                users.open(user)?
            }
        };
        let node = tree.node(ino, &|at| self.load(&tree, at))?;
        Ok(Place::In(tree, node))
    }

    fn parent(&self, place: &Place<'_>) -> Result<u64, ViewError> {
        match place {
            Place::Users(_) | Place::User(..) => Ok(inode::ROOT),
            Place::In(tree, node) => tree.parent(node),
        }
    }

    fn child(&self, tree: &Arc<Tree>, node: &Node, name: &str) -> Result<Attr, ViewError> {
        if let (Node::User, Some(moment), false) = (node, name.strip_prefix('@'), tree.is_past()) {
            let tree = self.moments.enter(tree, moment)?;
            return tree.attr(&Node::User);
        }
        let child = tree.child(node, name, &|at| self.load(tree, at))?;
        tree.attr(&child)
    }

    fn entry(&self, place: &Place<'_>, at: usize) -> Result<Option<(String, Attr)>, ViewError> {
        let opened;
        let (tree, node) = match place {
            Place::Users(users) => return users.entry(at),
            Place::User(users, user) => {
                opened = users.open(*user)?;
                (&opened, &Node::User)
            }
            Place::In(tree, node) => (tree, node),
        };
        let found = tree.entry(node, at, &|at| self.load(tree, at))?;
        found
            .map(|(name, node)| Ok((name, tree.attr(&node)?)))
            .transpose()
    }

    fn load(&self, tree: &Tree, at: At) -> Result<Arc<Mails>, ViewError> {
        // Live and expunged messages of a mailbox are in two directories and loaded together.
        let Some(mailbox) = tree.mailbox_id(at)? else {
            return Ok(Arc::default());
        };
        let key = (tree.serial(), mailbox);
        let known = || lock(&self.listed).mails.get(&key).cloned();
        if let Some(mails) = known() {
            return Ok(mails);
        }
        let _one_reads = lock(&self.loading);
        if let Some(mails) = known() {
            return Ok(mails);
        }
        let mails = Arc::new(tree.load(at)?);
        lock(&self.listed).keep(key, mails.clone(), LISTED);
        Ok(mails)
    }
}

/// Mailboxes whose messages are in memory.
struct Listed {
    mails: LruCache<(u64, i64), Arc<Mails>>,
    messages: usize,
}

impl Listed {
    fn keep(&mut self, key: (u64, i64), mails: Arc<Mails>, limit: usize) {
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

fn read_piece(tree: &Tree, place: usize, offset: u64, size: u32) -> Result<Vec<u8>, ViewError> {
    let piece = tree.piece(place)?;
    let left = piece.len.saturating_sub(offset).min(size.into());
    let mut buf = vec![0; left as usize];
    let mut filled = 0;
    while filled < buf.len() {
        let at = offset + filled as u64;
        let rest = &mut buf[filled..];
        let read = match tree.has_plain_chunks() {
            true => tree.source().inflated(piece.chunk.into(), at, rest)?,
            false => tree.source().raw(piece.offset + at, rest)?,
        };
        match read {
            // A short answer would look like the end of the piece.
            0 => {
                return Err(ViewError::Damaged {
                    path: tree.source().path().to_owned(),
                    what: format!("chunk {} ends at {at}, before its end", piece.chunk),
                });
            }
            n => filled += n,
        }
    }
    Ok(buf)
}

/// The index and the message disagree: bytes beyond st_size would be cut off, or zeros added.
fn wrong_size(tree: &Tree, guid: &Guid, indexed: u64, found: usize) -> ViewError {
    ViewError::Damaged {
        path: tree.source().path().to_owned(),
        what: format!(
            "message {guid}: index says {indexed} bytes, the message has {found}; reindex the backup"
        ),
    }
}

#[cfg(test)]
mod tests;

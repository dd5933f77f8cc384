//! The tree of one user: what each inode is, what is in each directory, from an opened backup.
//!
//! Directories are built once, when they are first needed; the messages of a mailbox are loaded when
//! somebody first looks, and may be dropped and loaded again ([`super::ops`] decides), because
//! nothing about them depends on what was asked before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::attr::Attr;
use super::folders::{Folder, Folders, Naming};
use super::inode::{Blocks, Branch, Fixed, Local, MailBox};
use super::links::Links;
use super::lock::lock;
use super::mails::{Layout, Mail, Mails, Side};
use super::names;
use super::notes::{self, Paths};
use super::pieces::{self, Piece};
use super::source::{Mailbox, Source, odd};
use super::xattr::{self, Attribute};
use super::{ViewError, part};
use crate::types::Namespace;

mod list;
mod numbers;

/// One user's tree.
pub struct Tree {
    /// Tells this tree from all others of the process.
    serial: u64,
    source: Arc<dyn Source>,
    past: bool,
    shape: Shape,
    key: Option<String>,
    namespace: Namespace,
    blocks: Blocks,
    /// Inode of the directory that the user's directory is in.
    parent: u64,
    mailboxes: Vec<Mailbox>,
    folders: [OnceLock<Folders>; 3],
    /// Sorted by name as by offset.
    pieces: Vec<Piece>,
    /// Where the piece of a chunk is in `pieces`.
    piece_places: HashMap<u32, usize>,
    /// When each chunk ended, by id.
    chunk_times: Vec<(i64, i64)>,
    links: OnceLock<Links>,
    notes: OnceLock<[Arc<[u8]>; 3]>,
    scripts: Mutex<Option<Arc<Vec<ScriptFile>>>>,
    /// Time of the user's directory.
    time: i64,
}

/// Choices that the tree's owner makes for all trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// How mailboxes are shown.
    pub layout: Layout,
    /// `chunks` holds the inflated text, not the gzip members.
    pub plain_chunks: bool,
}

/// What a [`Tree`] is opened with.
pub struct TreeConfig<'a> {
    /// Key of the backup, if it is known.
    pub key: Option<&'a str>,
    /// How mailbox names are read.
    pub namespace: &'a Namespace,
    /// How things are shown.
    pub shape: Shape,
    /// The tree is that of a past moment: it has no `chunks`.
    pub past: bool,
    /// Inode of the directory that the user's directory is in (its own when it is the root).
    pub parent: u64,
    /// Time of the user's directory, if something was said about it before the backup was opened.
    pub time: Option<i64>,
}

/// A directory of a branch, by its number.
pub type At = (Branch, usize);

/// A file or directory of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// The user's directory.
    User,
    /// `mailboxes`, `expunged`, `deleted` (0) or a directory below them.
    Folder(At),
    /// `cur`, `new` or `tmp` of a folder.
    Box(At, MailBox),
    /// `chunks`
    Chunks,
    /// A piece of the data file, by its place.
    Piece(usize),
    /// A message in a folder.
    Mail(At, Mail),
    /// The object in a message.
    Part(At, Mail),
    /// The list of missing messages of a folder.
    Missing(At, Arc<[u8]>),
    /// `sieve`
    Sieve,
    /// A sieve script.
    Script(ScriptFile),
    /// One of the small files of a user.
    Note(Note),
}

/// The small files of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Note {
    Mailboxes = 0,
    Seen = 1,
    Subscriptions = 2,
}

/// A sieve script as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptFile {
    id: u32,
    name: String,
    text: Result<Arc<[u8]>, ViewError>,
    active: bool,
    modified: i64,
    changed: i64,
}

/// The messages of a folder; loading them is left to the caller, who may have them.
pub type Load<'a> = &'a dyn Fn(At) -> Result<Arc<Mails>, ViewError>;

impl Note {
    const ALL: [Note; 3] = [Note::Mailboxes, Note::Seen, Note::Subscriptions];

    fn name(self) -> &'static str {
        match self {
            Note::Mailboxes => "mailboxes.json",
            Note::Seen => "seen.json",
            Note::Subscriptions => "subscriptions.txt",
        }
    }
}

impl Tree {
    /// Reads mailboxes and chunks. `blocks` is asked for the inode blocks that the highest mailbox
    /// id needs.
    pub fn open(
        source: Arc<dyn Source>,
        config: &TreeConfig<'_>,
        blocks: impl FnOnce(u32) -> Option<Blocks>,
    ) -> Result<Tree, ViewError> {
        let odd = |what: &str| odd(&*source, what);
        let chunks = source.chunks()?;
        let mut chunk_times: Vec<_> = chunks.iter().map(|c| (c.id, c.time)).collect();
        chunk_times.sort_unstable();
        let mailboxes = source.mailboxes()?;
        if mailboxes.iter().any(|mailbox| to_u32(mailbox.id).is_none()) {
            return Err(odd("a mailbox id is out of range"));
        }
        let highest = mailboxes.iter().filter_map(|m| to_u32(m.id)).max();
        let blocks = blocks(highest.unwrap_or(0)).ok_or_else(|| odd("too many mailboxes"))?;
        let pieces = match (config.past, config.shape.plain_chunks) {
            (true, _) => Some(Vec::new()),
            (false, true) => pieces::plain(chunks),
            (false, false) => pieces::cut(chunks, source.data_len()),
        };
        let pieces = pieces.ok_or_else(|| odd("a chunk id is out of range"))?;
        let places = pieces.iter().enumerate();
        let piece_places = places.map(|(place, piece)| (piece.chunk, place)).collect();
        let time = config.time.unwrap_or_else(|| log_end(&chunk_times));
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Ok(Tree {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            past: config.past,
            shape: config.shape,
            key: config.key.map(str::to_owned),
            namespace: config.namespace.clone(),
            blocks,
            parent: config.parent,
            mailboxes,
            folders: Default::default(),
            pieces,
            piece_places,
            chunk_times,
            links: OnceLock::new(),
            notes: OnceLock::new(),
            scripts: Mutex::new(None),
            time,
            source,
        })
    }

    /// Number that no other tree of this process has.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether this is the tree of a past moment.
    pub fn is_past(&self) -> bool {
        self.past
    }

    /// Whether `chunks` holds inflated text.
    pub fn has_plain_chunks(&self) -> bool {
        self.shape.plain_chunks
    }

    /// What a tree of the same user at a past moment is opened with.
    pub fn past(&self) -> Result<TreeConfig<'_>, ViewError> {
        Ok(TreeConfig {
            key: self.key.as_deref(),
            namespace: &self.namespace,
            shape: self.shape,
            past: true,
            parent: self.ino(&Node::User)?,
            time: None,
        })
    }

    /// Directories in the directory of a user.
    pub fn top_dirs(past: bool) -> usize {
        if past { 4 } else { 5 }
    }

    /// The backup behind this tree.
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Number of mailboxes and of pieces of the data file.
    pub fn fixed_count(&self) -> u64 {
        (self.mailboxes.len() + self.pieces.len() + 2) as u64
    }

    /// Reads the messages of a mailbox.
    pub fn load(&self, at: At) -> Result<Mails, ViewError> {
        let Some(mailbox) = self.mailbox(at)? else {
            return Ok(Mails::default());
        };
        let records = self.source.records(mailbox.id)?;
        let mails = Mails::new(mailbox.id, records, self.links()?, |chunk| {
            self.time_of(chunk)
        });
        let mut mails = mails.ok_or_else(|| {
            let name = &mailbox.name;
            let what = format!("mailbox {name}: a message id is out of range");
            odd(&*self.source, &what)
        })?;
        if let Some(kind) = self.part_kind(mailbox) {
            // A message that cannot be read has no object to show; its own file tells why.
            let read = |mail: &Mail| self.source.message(mail.message, &mail.guid).ok();
            mails.find_parts(|mail| part::find(&read(mail)?, kind));
        }
        Ok(mails)
    }

    /// The mailbox whose messages a folder shows.
    pub fn mailbox_id(&self, at: At) -> Result<Option<i64>, ViewError> {
        Ok(self.mailbox(at)?.map(|mailbox| mailbox.id))
    }

    /// stat(2) of a node.
    pub fn attr(&self, node: &Node) -> Result<Attr, ViewError> {
        let ino = self.ino(node)?;
        let log_end = || log_end(&self.chunk_times);
        Ok(match node {
            Node::User => Attr::dir(ino, Tree::top_dirs(self.past), self.time),
            Node::Folder(at) => {
                let folder = self.folder(*at)?;
                let boxes = if self.has_boxes(*at) { 3 } else { 0 };
                let changed = match folder.changed {
                    // Nothing has ever changed it: as old as the log.
                    i64::MIN => self.time_of(i64::MIN),
                    changed => changed,
                };
                Attr::dir(ino, folder.children.len() + boxes, changed)
            }
            Node::Box(at, _) => Attr::dir(ino, 0, self.folder(*at)?.changed),
            Node::Chunks | Node::Sieve => Attr::dir(ino, 0, log_end()),
            Node::Piece(place) => {
                let piece = self.piece(*place)?;
                Attr::file(ino, piece.len, piece.time, piece.time)
            }
            Node::Mail(_, mail) => {
                let mut attr = Attr::file(ino, mail.size, mail.internaldate, mail.changed);
                attr.nlink = mail.links;
                attr
            }
            Node::Part(_, mail) => {
                let size = mail.part.as_ref().map_or(0, ExactSizeIterator::len);
                Attr::file(ino, size as u64, mail.internaldate, mail.changed)
            }
            Node::Missing(at, text) => {
                let time = self.folder(*at)?.changed;
                Attr::file(ino, text.len() as u64, time, time)
            }
            Node::Script(script) => {
                // The kernel asks nobody for the bytes of an empty file, and this one has an error to
                // tell.
                let size = script.text.as_ref().map_or(1, |text| text.len() as u64);
                Attr::file(ino, size, script.modified, script.changed)
            }
            Node::Note(note) => {
                let size = self.note(*note)?.len() as u64;
                Attr::file(ino, size, log_end(), log_end())
            }
        })
    }

    /// The text of a small file.
    pub fn note(&self, note: Note) -> Result<Arc<[u8]>, ViewError> {
        if let Some(notes) = self.notes.get() {
            return Ok(notes[note as usize].clone());
        }
        let details = self.source.details()?;
        let paths = self.paths()?;
        let texts = [
            notes::mailboxes(&details, &paths).into(),
            notes::seen(&details, &paths).into(),
            notes::subscriptions(&details, &paths).into(),
        ];
        Ok(self.notes.get_or_init(|| texts)[note as usize].clone())
    }

    /// The value of an extended attribute.
    pub fn xattr(&self, node: &Node, name: &str) -> Result<String, ViewError> {
        let all = self.attributes(node)?;
        let found = all.into_iter().find(|known| known.name == name);
        found.map(|found| found.value).ok_or(ViewError::NoAttribute)
    }

    /// Names and values of the extended attributes of a node that are listed.
    pub fn xattrs(&self, node: &Node) -> Result<Vec<(&'static str, String)>, ViewError> {
        let all = self.attributes(node)?.into_iter();
        Ok(all
            .filter(|attribute| attribute.listed)
            .map(|attribute| (attribute.name, attribute.value))
            .collect())
    }

    fn attributes(&self, node: &Node) -> Result<Vec<Attribute>, ViewError> {
        Ok(match node {
            Node::User => xattr::of_user(self.source.oldest()?),
            Node::Mail(at, mail) => xattr::of_mail(mail, self.mailbox(*at)?),
            Node::Folder(at) | Node::Box(at, MailBox::Cur) => xattr::of_folder(self.mailbox(*at)?),
            Node::Script(script) if script.active => {
                vec![Attribute::new("user.cyrus.active", 1)]
            }
            _ => Vec::new(),
        })
    }

    /// A piece of the data file by its place.
    pub fn piece(&self, place: usize) -> Result<&Piece, ViewError> {
        self.pieces.get(place).ok_or(ViewError::NotFound)
    }

    /// Lets go of memory that can be had again.
    pub fn rest(&self) {
        *lock(&self.scripts) = None;
        self.source.rest();
    }

    /// The folders of a branch, built when somebody first asks.
    fn branch(&self, branch: Branch) -> Result<&Folders, ViewError> {
        let cell = &self.folders[branch as usize];
        if let Some(folders) = cell.get() {
            return Ok(folders);
        }
        let naming = Naming::new(&self.mailboxes, self.key.as_deref(), &self.namespace);
        let with_expunged = match branch {
            Branch::Expunged => self.source.with_expunged()?,
            _ => Vec::new(),
        };
        let shown = self.mailboxes.iter().filter(|mailbox| match branch {
            Branch::Mailboxes => naming.deletion(mailbox).is_none(),
            Branch::Deleted => naming.deletion(mailbox).is_some(),
            Branch::Expunged => with_expunged.contains(&mailbox.id),
        });
        let maildir = self.is_maildir(branch);
        let paths = shown.map(|mailbox| match maildir {
            true => (naming.maildir(mailbox), mailbox),
            false => (naming.path(mailbox), mailbox),
        });
        let folders = Folders::new(paths, |chunk| self.time_of(chunk));
        Ok(cell.get_or_init(|| folders))
    }

    /// Where each mailbox is, live or deleted.
    fn paths(&self) -> Result<Paths, ViewError> {
        let mut paths = Paths::new();
        for branch in [Branch::Mailboxes, Branch::Deleted] {
            let folders = self.branch(branch)?;
            for (number, folder) in folders.iter().enumerate() {
                if let Some(mailbox) = &folder.mailbox {
                    let path = folders.path(number);
                    let path = [&[self.branch_name(branch)], &path[..]].concat();
                    paths.insert(mailbox.id, path.join("/"));
                }
            }
        }
        Ok(paths)
    }

    fn links(&self) -> Result<&Links, ViewError> {
        if let Some(links) = self.links.get() {
            return Ok(links);
        }
        let links = Links::new(self.source.copies()?, |chunk| self.time_of(chunk));
        Ok(self.links.get_or_init(|| links))
    }

    fn scripts(&self) -> Result<Arc<Vec<ScriptFile>>, ViewError> {
        let mut known = lock(&self.scripts);
        if let Some(scripts) = &*known {
            return Ok(scripts.clone());
        }
        let mut files: Vec<ScriptFile> = Vec::new();
        for script in self.source.scripts()? {
            let Some(id) = u32::try_from(script.id).ok().filter(|id| *id < 1 << 30) else {
                return Err(odd(&*self.source, "a script id is out of range"));
            };
            let mut name = names::script(&script.filename);
            if files.iter().any(|file| file.name == name) {
                name = names::nth(&name, script.id);
            }
            files.push(ScriptFile {
                id,
                name,
                text: self.source.script(script.id),
                active: script.active,
                modified: script.modified,
                changed: self.time_of(script.chunk),
            });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(known.insert(Arc::new(files)).clone())
    }

    fn is_maildir(&self, branch: Branch) -> bool {
        branch == Branch::Mailboxes && self.shape.layout == Layout::Maildir
    }

    /// Whether a folder has `cur`, `new` and `tmp`. The root of a maildir has them even without an
    /// INBOX, or no program would take it for one.
    fn has_boxes(&self, at: At) -> bool {
        self.is_maildir(at.0)
    }

    fn layout(&self, branch: Branch) -> Layout {
        match self.is_maildir(branch) {
            true => Layout::Maildir,
            false => Layout::Eml,
        }
    }

    fn branch_name(&self, branch: Branch) -> &'static str {
        match branch {
            Branch::Mailboxes if self.is_maildir(branch) => "Maildir",
            Branch::Mailboxes => "mailboxes",
            Branch::Expunged => "expunged",
            Branch::Deleted => "deleted",
        }
    }

    fn part_kind(&self, mailbox: &Mailbox) -> Option<&'static str> {
        part::kind(mailbox.kind.as_deref()?)
    }

    fn side<'a>(&self, at: At, mails: &'a Mails) -> &'a Side {
        mails.side(at.0 == Branch::Expunged)
    }

    fn folder(&self, (branch, number): At) -> Result<&Folder, ViewError> {
        self.branch(branch)?.get(number).ok_or(ViewError::NotFound)
    }

    fn mailbox(&self, at: At) -> Result<Option<&Mailbox>, ViewError> {
        Ok(self.folder(at)?.mailbox.as_ref())
    }

    /// When a chunk ended. One that the index does not know (spec ondisk 10: dangling references)
    /// counts as the oldest: something old must not look new to an incremental dump each time.
    fn time_of(&self, chunk: i64) -> i64 {
        let times = &self.chunk_times;
        match times.binary_search_by_key(&chunk, |(id, _)| *id) {
            Ok(at) => times[at].1,
            Err(_) => times.first().map_or(i64::MIN, |(_, time)| *time),
        }
    }
}

impl Node {
    /// The text of a script, or why there is none.
    pub fn script_text(script: &ScriptFile) -> Result<Arc<[u8]>, ViewError> {
        script.text.clone()
    }
}

/// Mailbox ids that have an inode number.
fn to_u32(id: i64) -> Option<u32> {
    u32::try_from(id)
        .ok()
        .filter(|id| (1..1 << 30).contains(id))
}

fn log_end(times: &[(i64, i64)]) -> i64 {
    times
        .iter()
        .map(|(_, time)| *time)
        .max()
        .unwrap_or(i64::MIN)
}

//! The tree of one user: what each inode is, what is in each directory, from an opened backup.
//!
//! Directories are built once, when the backup is opened; the messages of a mailbox are loaded when
//! somebody first looks, and may be dropped and loaded again ([`super::ops`] decides), because
//! nothing about them depends on what was asked before.

use std::collections::HashMap;
use std::sync::Arc;

use super::attr::Attr;
use super::folders::{Folder, Folders};
use super::inode::{Blocks, Fixed, Local};
use super::mails::{Mail, Mails};
use super::names;
use super::pieces::{self, Piece};
use super::source::{Mailbox, Source, odd};
use super::{FsError, xattr};
use crate::types::Namespace;

/// One user's tree.
pub struct View {
    source: Arc<dyn Source>,
    blocks: Blocks,
    /// Inode of the directory that the user's directory is in.
    parent: u64,
    folders: Folders,
    /// Sorted by name as by offset.
    pieces: Vec<Piece>,
    /// Where the piece of a chunk is in `pieces`.
    piece_places: HashMap<u32, usize>,
    /// When each chunk ended, by id.
    chunk_times: Vec<(i64, i64)>,
    /// Time of the user's directory.
    time: i64,
}

/// What a [`View`] is opened with.
pub struct ViewConfig<'a> {
    /// Key of the backup, if it is known.
    pub key: Option<&'a str>,
    /// How mailbox names are read.
    pub namespace: &'a Namespace,
    /// Inode of the directory that the user's directory is in (its own when it is the root).
    pub parent: u64,
    /// Time of the user's directory, if something was said about it before the backup was opened.
    pub time: Option<i64>,
}

/// A file or directory of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// The user's directory.
    User,
    /// `mailboxes` (0) or a directory below it.
    Folder(usize),
    /// `chunks`
    Chunks,
    /// A piece of the data file, by its place.
    Piece(usize),
    /// A message in a folder.
    Mail(usize, Mail),
    /// The list of missing messages of a folder.
    Missing(usize, Arc<[u8]>),
}

/// The messages of a folder; loading them is left to the caller, who may have them.
pub type Load<'a> = &'a dyn Fn(usize) -> Result<Arc<Mails>, FsError>;

impl View {
    /// Reads mailboxes and chunks. `blocks` is asked for the inode blocks that the highest mailbox
    /// id needs.
    pub fn open(
        source: Arc<dyn Source>,
        config: &ViewConfig<'_>,
        blocks: impl FnOnce(u32) -> Option<Blocks>,
    ) -> Result<View, FsError> {
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
        let folders = Folders::new(&mailboxes, config.key, config.namespace, |chunk| {
            time_of(&chunk_times, chunk)
        });
        let pieces = pieces::cut(chunks, source.data_len());
        let pieces = pieces.ok_or_else(|| odd("a chunk id is out of range"))?;
        let places = pieces.iter().enumerate();
        let piece_places = places.map(|(place, piece)| (piece.chunk, place)).collect();
        let time = config.time.unwrap_or_else(|| log_end(&chunk_times));
        Ok(View {
            blocks,
            parent: config.parent,
            folders,
            pieces,
            piece_places,
            chunk_times,
            time,
            source,
        })
    }

    /// The backup behind this tree.
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Number of directories and of pieces of the data file.
    pub fn fixed_count(&self) -> u64 {
        (self.folders.iter().count() + self.pieces.len() + 2) as u64
    }

    /// Reads the messages of folder `number`.
    pub fn load(&self, number: usize) -> Result<Mails, FsError> {
        let Some(mailbox) = self.folder(number)?.mailbox.as_ref() else {
            return Ok(Mails::default());
        };
        let records = self.source.records(mailbox.id)?;
        let mails = Mails::new(records, |chunk| time_of(&self.chunk_times, chunk));
        mails.ok_or_else(|| {
            let name = &mailbox.name;
            odd(
                &*self.source,
                &format!("mailbox {name}: a message id is out of range"),
            )
        })
    }

    /// What this inode number stands for.
    pub fn node(&self, ino: u64, load: Load<'_>) -> Result<Node, FsError> {
        match self.blocks.decode(ino).ok_or(FsError::NotFound)? {
            Local::Fixed(Fixed::User) => Ok(Node::User),
            Local::Fixed(Fixed::Mailboxes) => Ok(Node::Folder(0)),
            Local::Fixed(Fixed::Chunks) => Ok(Node::Chunks),
            Local::Piece(chunk) => {
                let place = self.piece_places.get(&chunk);
                place
                    .map(|place| Node::Piece(*place))
                    .ok_or(FsError::NotFound)
            }
            Local::Folder { mailbox, above } => self.find((mailbox, above)).map(Node::Folder),
            Local::Missing { mailbox } => {
                let folder = self.find((mailbox, 0))?;
                let missing = load(folder)?.missing().cloned();
                missing
                    .map(|text| Node::Missing(folder, text))
                    .ok_or(FsError::NotFound)
            }
            Local::Mail { mailbox, uid } => {
                let folder = self.find((mailbox, 0))?;
                self.mail(folder, load(folder)?.by_uid(uid))
            }
            Local::Twin { mailbox, message } => {
                let folder = self.find((mailbox, 0))?;
                self.mail(folder, load(folder)?.twin(message))
            }
        }
    }

    /// What `name` is in directory `node`.
    pub fn child(&self, node: &Node, name: &str, load: Load<'_>) -> Result<Node, FsError> {
        match node {
            Node::User => match name {
                "mailboxes" => Ok(Node::Folder(0)),
                "chunks" => Ok(Node::Chunks),
                _ => Err(FsError::NotFound),
            },
            Node::Chunks => {
                let found = self.pieces.binary_search_by(|p| p.name.as_str().cmp(name));
                found.map(Node::Piece).map_err(|_| FsError::NotFound)
            }
            Node::Folder(folder) => self.child_of_folder(*folder, name, load),
            Node::Piece(_) | Node::Mail(..) | Node::Missing(..) => Err(FsError::NotDirectory),
        }
    }

    fn child_of_folder(&self, folder: usize, name: &str, load: Load<'_>) -> Result<Node, FsError> {
        if let Some(child) = self.folders.child(folder, name) {
            return Ok(Node::Folder(child));
        }
        if name == names::MISSING {
            let missing = load(folder)?.missing().cloned();
            return missing
                .map(|text| Node::Missing(folder, text))
                .ok_or(FsError::NotFound);
        }
        // Programs look for many a name (.hidden, AUTORUN.INF); only likely ones load a mailbox.
        match names::parse_mail(name) {
            Some(_) => self.mail(folder, load(folder)?.by_name(name)),
            None => Err(FsError::NotFound),
        }
    }

    /// Number of entries of a directory, `.` and `..` left out, and the entry at a place. The order
    /// is fixed, so a place is all that a readdir cookie needs to say.
    pub fn entry(
        &self,
        node: &Node,
        place: usize,
        load: Load<'_>,
    ) -> Result<Option<(String, Node)>, FsError> {
        Ok(match node {
            Node::User => match place {
                0 => Some(("mailboxes".to_owned(), Node::Folder(0))),
                1 => Some(("chunks".to_owned(), Node::Chunks)),
                _ => None,
            },
            Node::Chunks => self
                .pieces
                .get(place)
                .map(|piece| (piece.name.clone(), Node::Piece(place))),
            Node::Folder(number) => self.entry_of_folder(*number, place, load)?,
            Node::Piece(_) | Node::Mail(..) | Node::Missing(..) => {
                return Err(FsError::NotDirectory);
            }
        })
    }

    /// Folders first, then the list of missing messages, then messages.
    fn entry_of_folder(
        &self,
        number: usize,
        place: usize,
        load: Load<'_>,
    ) -> Result<Option<(String, Node)>, FsError> {
        let folder = self.folder(number)?;
        if let Some(child) = folder.children.get(place) {
            let name = self.folder(*child)?.name.clone();
            return Ok(Some((name, Node::Folder(*child))));
        }
        let mails = load(number)?;
        let mut place = place - folder.children.len();
        if let Some(missing) = mails.missing() {
            if place == 0 {
                let node = Node::Missing(number, missing.clone());
                return Ok(Some((names::MISSING.to_owned(), node)));
            }
            place -= 1;
        }
        let mail = mails.get(place);
        Ok(mail.map(|mail| (mail.name(), Node::Mail(number, mail.clone()))))
    }

    /// stat(2) of a node.
    pub fn attr(&self, node: &Node) -> Result<Attr, FsError> {
        let ino = self.ino(node)?;
        Ok(match node {
            Node::User => Attr::dir(ino, 2, self.time),
            Node::Folder(number) => {
                let folder = self.folder(*number)?;
                Attr::dir(ino, folder.children.len(), folder.changed)
            }
            Node::Chunks => Attr::dir(ino, 0, log_end(&self.chunk_times)),
            Node::Piece(place) => {
                let piece = &self.pieces[*place];
                Attr::file(ino, piece.len, piece.time, piece.time)
            }
            Node::Mail(_, mail) => Attr::file(ino, mail.size, mail.internaldate, mail.changed),
            Node::Missing(number, text) => {
                let time = self.folder(*number)?.changed;
                Attr::file(ino, text.len() as u64, time, time)
            }
        })
    }

    /// Inode of the directory that a directory is in.
    pub fn parent(&self, node: &Node) -> Result<u64, FsError> {
        match node {
            Node::User => Ok(self.parent),
            Node::Chunks | Node::Folder(0) => self.ino(&Node::User),
            Node::Folder(number) => self.ino(&Node::Folder(self.folder(*number)?.parent)),
            Node::Piece(_) => self.ino(&Node::Chunks),
            Node::Mail(number, _) | Node::Missing(number, _) => self.ino(&Node::Folder(*number)),
        }
    }

    /// The value of an extended attribute.
    pub fn xattr(&self, node: &Node, name: &str) -> Result<String, FsError> {
        let all = self.xattrs(node)?;
        let found = all.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value).ok_or(FsError::NoAttribute)
    }

    /// All extended attributes of a node.
    pub fn xattrs(&self, node: &Node) -> Result<Vec<(&'static str, String)>, FsError> {
        Ok(match node {
            Node::Mail(number, mail) => xattr::of_mail(mail, self.mailbox(*number)?),
            Node::Folder(number) => xattr::of_folder(self.mailbox(*number)?),
            Node::User | Node::Chunks | Node::Piece(_) | Node::Missing(..) => Vec::new(),
        })
    }

    /// A piece of the data file by its place.
    pub fn piece(&self, place: usize) -> Result<&Piece, FsError> {
        self.pieces.get(place).ok_or(FsError::NotFound)
    }

    /// Inode number of a node.
    pub fn ino(&self, node: &Node) -> Result<u64, FsError> {
        let key = |number: usize| -> Result<(u32, u32), FsError> {
            let (mailbox, above) = self.folder(number)?.key;
            Ok((to_u32(mailbox).ok_or(FsError::NotFound)?, above))
        };
        let local = match node {
            Node::User => Local::Fixed(Fixed::User),
            Node::Folder(0) => Local::Fixed(Fixed::Mailboxes),
            Node::Chunks => Local::Fixed(Fixed::Chunks),
            Node::Folder(number) => {
                let (mailbox, above) = key(*number)?;
                Local::Folder { mailbox, above }
            }
            Node::Piece(place) => Local::Piece(self.piece(*place)?.chunk),
            Node::Mail(number, mail) => {
                let mailbox = key(*number)?.0;
                match mail.twin {
                    false => Local::Mail {
                        mailbox,
                        uid: mail.uid,
                    },
                    true => Local::Twin {
                        mailbox,
                        message: mail.message,
                    },
                }
            }
            Node::Missing(number, _) => Local::Missing {
                mailbox: key(*number)?.0,
            },
        };
        self.blocks.encode(local).ok_or(FsError::NotFound)
    }

    fn mail(&self, folder: usize, mail: Option<&Mail>) -> Result<Node, FsError> {
        mail.map(|mail| Node::Mail(folder, mail.clone()))
            .ok_or(FsError::NotFound)
    }

    fn find(&self, (mailbox, above): (u32, u32)) -> Result<usize, FsError> {
        let found = self.folders.find((i64::from(mailbox), above));
        found.ok_or(FsError::NotFound)
    }

    fn folder(&self, number: usize) -> Result<&Folder, FsError> {
        self.folders.get(number).ok_or(FsError::NotFound)
    }

    fn mailbox(&self, number: usize) -> Result<Option<&Mailbox>, FsError> {
        Ok(self.folder(number)?.mailbox.as_ref())
    }
}

/// Mailbox ids that have an inode number.
fn to_u32(id: i64) -> Option<u32> {
    u32::try_from(id)
        .ok()
        .filter(|id| (1..1 << 31).contains(id))
}

/// When a chunk ended. One that the index does not know (spec ondisk 10: dangling references) counts
/// as the oldest: something old must not look new to an incremental dump each time.
fn time_of(times: &[(i64, i64)], chunk: i64) -> i64 {
    match times.binary_search_by_key(&chunk, |(id, _)| *id) {
        Ok(at) => times[at].1,
        Err(_) => times.first().map_or(i64::MIN, |(_, time)| *time),
    }
}

fn log_end(times: &[(i64, i64)]) -> i64 {
    times
        .iter()
        .map(|(_, time)| *time)
        .max()
        .unwrap_or(i64::MIN)
}

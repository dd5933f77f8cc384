//! From inode numbers to what they stand for, and back.

use super::*;

impl Tree {
    /// What this inode number stands for.
    pub fn node(&self, ino: u64, load: Load<'_>) -> Result<Node, ViewError> {
        match self.blocks.decode(ino).ok_or(ViewError::NotFound)? {
            Local::Fixed(fixed) => Ok(of_fixed(fixed)),
            Local::Piece(chunk) => {
                let place = self.piece_places.get(&chunk);
                place
                    .map(|place| Node::Piece(*place))
                    .ok_or(ViewError::NotFound)
            }
            Local::Script(id) => {
                let scripts = self.scripts()?;
                let script = scripts.iter().find(|script| script.id == id);
                script
                    .map(|script| Node::Script(script.clone()))
                    .ok_or(ViewError::NotFound)
            }
            Local::Folder {
                mailbox,
                branch,
                above,
            } => self.find(branch, mailbox, above).map(Node::Folder),
            Local::Box { mailbox, which } => {
                let at = self.find(Branch::Mailboxes, mailbox, 0)?;
                Ok(Node::Box(at, which))
            }
            Local::Missing { mailbox, branch } => {
                let at = self.find(branch, mailbox, 0)?;
                let missing = self.side(at, &*load(at)?).missing().cloned();
                missing
                    .map(|text| Node::Missing(at, text))
                    .ok_or(ViewError::NotFound)
            }
            Local::Mail { mailbox, uid } => self.mail(mailbox, load, |side| side.by_uid(uid)),
            Local::Twin { mailbox, message } => self.mail(mailbox, load, |side| side.twin(message)),
            Local::Shared { message } => {
                let first = self.links()?.first(message.into());
                let (mailbox, uid) = first.ok_or(ViewError::NotFound)?;
                let mailbox = to_u32(mailbox).ok_or(ViewError::NotFound)?;
                self.mail(mailbox, load, |side| side.by_message(uid, message))
            }
            Local::Part { mailbox, uid } => {
                let with_part = |side: &Side| -> Option<Mail> {
                    side.by_uid(uid).filter(|mail| mail.part.is_some()).cloned()
                };
                let (at, mail) = self.in_mailbox(mailbox, load, with_part)?;
                Ok(Node::Part(at, mail))
            }
        }
    }

    /// Inode of the directory that a directory is in.
    pub fn parent(&self, node: &Node) -> Result<u64, ViewError> {
        match node {
            Node::User => Ok(self.parent),
            Node::Chunks | Node::Sieve | Node::Note(_) | Node::Folder((_, 0)) => {
                self.ino(&Node::User)
            }
            Node::Folder((branch, number)) => {
                let parent = self.folder((*branch, *number))?.parent;
                self.ino(&Node::Folder((*branch, parent)))
            }
            Node::Piece(_) => self.ino(&Node::Chunks),
            Node::Script(_) => self.ino(&Node::Sieve),
            Node::Box(at, _) | Node::Mail(at, _) | Node::Part(at, _) | Node::Missing(at, _) => {
                self.ino(&Node::Folder(*at))
            }
        }
    }

    /// Inode number of a node.
    pub fn ino(&self, node: &Node) -> Result<u64, ViewError> {
        let mailbox = |at: At| -> Result<u32, ViewError> {
            to_u32(self.folder(at)?.key.0).ok_or(ViewError::NotFound)
        };
        let local = match node {
            Node::User => Local::Fixed(Fixed::User),
            Node::Folder((branch, 0)) => Local::Fixed(match branch {
                Branch::Mailboxes => Fixed::Mailboxes,
                Branch::Expunged => Fixed::Expunged,
                Branch::Deleted => Fixed::Deleted,
            }),
            Node::Folder(at) => Local::Folder {
                mailbox: mailbox(*at)?,
                branch: at.0,
                above: self.folder(*at)?.key.1,
            },
            Node::Box((_, 0), which) => Local::Fixed(match which {
                MailBox::Cur => Fixed::Cur,
                MailBox::New => Fixed::New,
                MailBox::Tmp => Fixed::Tmp,
            }),
            Node::Box(at, which) => Local::Box {
                mailbox: mailbox(*at)?,
                which: *which,
            },
            Node::Chunks => Local::Fixed(Fixed::Chunks),
            Node::Sieve => Local::Fixed(Fixed::Sieve),
            Node::Note(note) => Local::Fixed(match note {
                Note::Mailboxes => Fixed::MailboxList,
                Note::Seen => Fixed::Seen,
                Note::Subscriptions => Fixed::Subscriptions,
            }),
            Node::Script(script) => Local::Script(script.id),
            Node::Piece(place) => Local::Piece(self.piece(*place)?.chunk),
            Node::Mail(_, mail) if mail.links > 1 => Local::Shared {
                message: mail.message,
            },
            Node::Mail(at, mail) if mail.twin => Local::Twin {
                mailbox: mailbox(*at)?,
                message: mail.message,
            },
            Node::Mail(at, mail) => Local::Mail {
                mailbox: mailbox(*at)?,
                uid: mail.uid,
            },
            Node::Part(at, mail) => Local::Part {
                mailbox: mailbox(*at)?,
                uid: mail.uid,
            },
            Node::Missing(at, _) => Local::Missing {
                mailbox: mailbox(*at)?,
                branch: at.0,
            },
        };
        self.blocks.encode(local).ok_or(ViewError::NotFound)
    }

    fn mail(
        &self,
        mailbox: u32,
        load: Load<'_>,
        pick: impl Fn(&Side) -> Option<&Mail>,
    ) -> Result<Node, ViewError> {
        let (at, mail) = self.in_mailbox(mailbox, load, |side| pick(side).cloned())?;
        Ok(Node::Mail(at, mail))
    }

    /// A message of a mailbox, wherever in the tree it is: its number does not say whether it is
    /// expunged.
    fn in_mailbox(
        &self,
        mailbox: u32,
        load: Load<'_>,
        pick: impl Fn(&Side) -> Option<Mail>,
    ) -> Result<(At, Mail), ViewError> {
        for branch in Branch::ALL {
            if let Ok(at) = self.find(branch, mailbox, 0)
                && let Some(mail) = pick(self.side(at, &*load(at)?))
            {
                return Ok((at, mail));
            }
        }
        Err(ViewError::NotFound)
    }

    fn find(&self, branch: Branch, mailbox: u32, above: u32) -> Result<At, ViewError> {
        let found = self.branch(branch)?.find((i64::from(mailbox), above));
        found
            .map(|number| (branch, number))
            .ok_or(ViewError::NotFound)
    }
}

fn of_fixed(fixed: Fixed) -> Node {
    let root = |branch| Node::Folder((branch, 0));
    let boxes = |which| Node::Box((Branch::Mailboxes, 0), which);
    match fixed {
        Fixed::User => Node::User,
        Fixed::Mailboxes => root(Branch::Mailboxes),
        Fixed::Expunged => root(Branch::Expunged),
        Fixed::Deleted => root(Branch::Deleted),
        Fixed::Chunks => Node::Chunks,
        Fixed::Sieve => Node::Sieve,
        Fixed::MailboxList => Node::Note(Note::Mailboxes),
        Fixed::Seen => Node::Note(Note::Seen),
        Fixed::Subscriptions => Node::Note(Note::Subscriptions),
        Fixed::Cur => boxes(MailBox::Cur),
        Fixed::New => boxes(MailBox::New),
        Fixed::Tmp => boxes(MailBox::Tmp),
    }
}

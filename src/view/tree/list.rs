//! What is in each directory, by name and by place. The order is fixed, so a place is all that a
//! readdir cookie needs to say.

use super::*;

/// An entry of the user's directory.
type Top = (&'static str, Node);

impl Tree {
    /// The user's directory, directories first. `chunks` comes last of them: it is the data file
    /// again.
    fn top(&self) -> Vec<Top> {
        let branches =
            Branch::ALL.map(|branch| (self.branch_name(branch), Node::Folder((branch, 0))));
        let mut all = branches.to_vec();
        all.push(("sieve", Node::Sieve));
        if !self.past {
            all.push(("chunks", Node::Chunks));
        }
        all.extend(Note::ALL.map(|note| (note.name(), Node::Note(note))));
        all
    }

    /// What `name` is in directory `node`.
    pub fn child(&self, node: &Node, name: &str, load: Load<'_>) -> Result<Node, ViewError> {
        let found = match node {
            Node::User => self.top().into_iter().find(|(known, _)| *known == name),
            Node::Chunks => {
                let found = self.pieces.binary_search_by(|p| p.name.as_str().cmp(name));
                return found.map(Node::Piece).map_err(|_| ViewError::NotFound);
            }
            Node::Sieve => {
                let scripts = self.scripts()?;
                let script = scripts.iter().find(|script| script.name == name);
                return script
                    .map(|script| Node::Script(script.clone()))
                    .ok_or(ViewError::NotFound);
            }
            Node::Folder(at) => return self.child_of_folder(*at, name, load),
            Node::Box(at, MailBox::Cur) => return self.mail_by_name(*at, name, load),
            Node::Box(..) => None,
            _ => return Err(ViewError::NotDirectory),
        };
        found.map(|(_, node)| node).ok_or(ViewError::NotFound)
    }

    fn child_of_folder(&self, at: At, name: &str, load: Load<'_>) -> Result<Node, ViewError> {
        if let Some(child) = self.branch(at.0)?.child(at.1, name) {
            return Ok(Node::Folder((at.0, child)));
        }
        if name == names::MISSING {
            let missing = self.side(at, &*load(at)?).missing().cloned();
            return missing
                .map(|text| Node::Missing(at, text))
                .ok_or(ViewError::NotFound);
        }
        if self.has_boxes(at) {
            let which = MailBox::ALL.into_iter().find(|which| which.name() == name);
            return which
                .map(|which| Node::Box(at, which))
                .ok_or(ViewError::NotFound);
        }
        if let Some(kind) = self
            .mailbox(at)?
            .and_then(|mailbox| self.part_kind(mailbox))
            && let Some(uid) = names::parse_part(name, kind)
        {
            let mails = load(at)?;
            let mail = self
                .side(at, &mails)
                .by_uid(uid)
                .filter(|m| m.part.is_some());
            return mail
                .map(|mail| Node::Part(at, mail.clone()))
                .ok_or(ViewError::NotFound);
        }
        self.mail_by_name(at, name, load)
    }

    /// Programs look for many a name (.hidden, AUTORUN.INF); only likely ones load a mailbox.
    fn mail_by_name(&self, at: At, name: &str, load: Load<'_>) -> Result<Node, ViewError> {
        names::uid_of(name).ok_or(ViewError::NotFound)?;
        let mails = load(at)?;
        let mail = self.side(at, &mails).by_name(name, self.layout(at.0));
        mail.map(|mail| Node::Mail(at, mail.clone()))
            .ok_or(ViewError::NotFound)
    }

    /// The entry at a place of a directory, `.` and `..` left out.
    pub fn entry(
        &self,
        node: &Node,
        place: usize,
        load: Load<'_>,
    ) -> Result<Option<(String, Node)>, ViewError> {
        Ok(match node {
            Node::User => {
                let entry = self.top().into_iter().nth(place);
                entry.map(|(name, node)| (name.to_owned(), node))
            }
            Node::Chunks => self
                .pieces
                .get(place)
                .map(|piece| (piece.name.clone(), Node::Piece(place))),
            Node::Sieve => {
                let scripts = self.scripts()?;
                scripts
                    .get(place)
                    .map(|script| (script.name.clone(), Node::Script(script.clone())))
            }
            Node::Folder(at) => self.entry_of_folder(*at, place, load)?,
            Node::Box(at, MailBox::Cur) => self.mail_at(*at, place, &*load(*at)?),
            Node::Box(..) => None,
            _ => return Err(ViewError::NotDirectory),
        })
    }

    /// Folders first, then the list of missing messages, then messages, then the objects in them.
    fn entry_of_folder(
        &self,
        at: At,
        mut place: usize,
        load: Load<'_>,
    ) -> Result<Option<(String, Node)>, ViewError> {
        let folder = self.folder(at)?;
        if let Some(child) = folder.children.get(place) {
            let child = (at.0, *child);
            return Ok(Some((
                self.folder(child)?.name.clone(),
                Node::Folder(child),
            )));
        }
        place -= folder.children.len();
        let boxes = self.has_boxes(at);
        if boxes {
            if let Some(which) = MailBox::ALL.get(place) {
                return Ok(Some((which.name().to_owned(), Node::Box(at, *which))));
            }
            place -= MailBox::ALL.len();
        }
        let mails = load(at)?;
        if let Some(missing) = self.side(at, &mails).missing() {
            if place == 0 {
                let node = Node::Missing(at, missing.clone());
                return Ok(Some((names::MISSING.to_owned(), node)));
            }
            place -= 1;
        }
        Ok(if boxes {
            None
        } else {
            self.mail_at(at, place, &mails)
        })
    }

    fn mail_at(&self, at: At, place: usize, mails: &Mails) -> Option<(String, Node)> {
        let side = self.side(at, mails);
        if let Some(mail) = side.get(place) {
            let name = mail.name(self.layout(at.0));
            return Some((name, Node::Mail(at, mail.clone())));
        }
        if self.has_boxes(at) {
            return None;
        }
        let mail = side.with_part(place - side.len())?;
        let mailbox = self.mailbox(at).ok()??;
        let name = names::part(mail.uid, self.part_kind(mailbox)?);
        Some((name, Node::Part(at, mail.clone())))
    }
}

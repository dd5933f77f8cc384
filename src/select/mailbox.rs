//! Mailboxes as an administrator names them, and since when a mailbox is deleted.

use crate::store::MailboxRow;
use crate::types::{MboxName, MboxParts, Namespace, mutf7};

/// A mailbox, or all of a tree, by name or by its identity. A deleted mailbox also answers to the
/// name it had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxPattern {
    /// As it was given.
    text: String,
    what: What,
    /// With everything below.
    tree: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Uniqueid(String),
    /// A full name.
    Name(MboxParts),
    /// Folders of the user, whoever that is.
    Own(Vec<String>),
}

/// A text that cannot name a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mailbox name: write user{1}NAME{1}Folder, or INBOX{1}Folder")]
pub struct NotAMailbox(pub String, pub char);

impl MailboxPattern {
    /// Reads a name as typed: `user/anne/Sub` (with the separator that imapd.conf says), or
    /// `INBOX`, `INBOX/Sub` for the user's own. Folders in UTF-8 or modified UTF-7.
    pub fn parse(text: &str, tree: bool, namespace: &Namespace) -> Result<Self, NotAMailbox> {
        let separator = namespace.separator();
        let (first, rest) = text.split_once(separator).unwrap_or((text, ""));
        let what = if first.eq_ignore_ascii_case("INBOX") {
            let folders = rest.split(separator).filter(|folder| !folder.is_empty());
            What::Own(folders.map(str::to_owned).collect())
        } else {
            let name = MboxName::from_external(text, namespace);
            let name = name.ok_or_else(|| NotAMailbox(text.to_owned(), separator))?;
            What::Name(name.parts(namespace))
        };
        let text = text.to_owned();
        Ok(MailboxPattern { text, what, tree })
    }

    /// The mailbox of this internal name.
    pub fn name(name: &MboxName, tree: bool, namespace: &Namespace) -> Self {
        let what = What::Name(name.parts(namespace));
        let text = name.to_external(namespace);
        MailboxPattern { text, what, tree }
    }

    /// The mailbox with this identity.
    pub fn uniqueid(uniqueid: impl Into<String>) -> Self {
        let text = uniqueid.into();
        let what = What::Uniqueid(text.clone());
        let tree = false;
        MailboxPattern { text, what, tree }
    }

    /// What people call it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// This mailbox is meant.
    pub fn matches(&self, mailbox: &MailboxRow, namespace: &Namespace) -> bool {
        let has = || MboxName::new(mailbox.mboxname.as_str()).map(|name| name.parts(namespace));
        match &self.what {
            What::Uniqueid(uniqueid) => mailbox.uniqueid == *uniqueid,
            What::Name(name) => has().is_ok_and(|has| {
                has.domain == name.domain
                    && has.user == name.user
                    && (name.deleted.is_none() || name.deleted == has.deleted)
                    && self.folders_match(&name.folders, &has.folders)
            }),
            What::Own(folders) => has()
                .is_ok_and(|has| has.user.is_some() && self.folders_match(folders, &has.folders)),
        }
    }

    fn folders_match(&self, wanted: &[String], has: &[String]) -> bool {
        let enough = match self.tree {
            true => has.len() >= wanted.len(),
            false => has.len() == wanted.len(),
        };
        let same = |(wanted, has): (&String, &String)| {
            wanted == has || !wanted.is_ascii() && mutf7::encode(wanted) == *has
        };
        enough && wanted.iter().zip(has).all(same)
    }
}

/// When a mailbox was deleted: what its name below the deleted prefix says, else when it went away
/// at once. None for a living one. (Cyrus renames first and removes days later, so the name knows
/// better than the UNMAILBOX.)
pub fn deleted_at(mailbox: &MailboxRow, namespace: &Namespace) -> Option<i64> {
    let parts = MboxName::new(mailbox.mboxname.as_str()).map(|name| name.parts(namespace));
    match parts.ok().and_then(|parts| parts.deleted) {
        Some(0) => Some(mailbox.deleted.unwrap_or(0)),
        Some(time) => Some(time.into()),
        None => mailbox.deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mboxname: &str, deleted: Option<i64>) -> MailboxRow {
        MailboxRow {
            id: 1,
            last_chunk_id: 1,
            uniqueid: "u1".to_owned(),
            mboxname: mboxname.to_owned(),
            mboxtype: None,
            last_uid: 0,
            highestmodseq: 0,
            recentuid: 0,
            recenttime: 0,
            last_appenddate: 0,
            pop3_last_login: 0,
            pop3_show_after: 0,
            uidvalidity: 0,
            partition: None,
            acl: None,
            options: None,
            sync_crc: 0,
            sync_crc_annot: 0,
            quotaroot: None,
            xconvmodseq: 0,
            annotations: None,
            deleted,
        }
    }

    #[test]
    fn names_trees_and_what_they_were_called_before() {
        let namespace = Namespace::default();
        for (text, tree, mboxname, matches) in [
            ("user/anne", false, "user.anne", true),
            ("user/anne", false, "user.anne.Sub", false),
            ("user/anne", true, "user.anne.Sub", true),
            ("user/anne", true, "user.annette", false),
            ("user/anne/S.b", false, "user.anne.S^b", true),
            ("INBOX", false, "user.anne", true),
            ("inbox/Sub", false, "user.anne.Sub", true),
            ("INBOX", false, "team", false),
            ("INBOX", true, "user.anne.Sub.Deep", true),
            ("INBOX/Sub", true, "user.anne.Sub.Deep", true),
            ("INBOX/Sub", true, "user.anne.Subway", false),
            ("team", true, "team.dev", true),
            ("team", true, "user.team", false),
            ("user/anne/Entwürfe", false, "user.anne.Entw&APw-rfe", true),
            (
                "user/anne/Entw&APw-rfe",
                false,
                "user.anne.Entw&APw-rfe",
                true,
            ),
            (
                "user/anne/Sub",
                false,
                "DELETED.user.anne.Sub.6B048689",
                true,
            ),
            (
                "DELETED/user/anne/Sub/6B048689",
                false,
                "DELETED.user.anne.Sub.6B048689",
                true,
            ),
            (
                "DELETED/user/anne/Sub/6B048688",
                false,
                "DELETED.user.anne.Sub.6B048689",
                false,
            ),
        ] {
            let pattern = MailboxPattern::parse(text, tree, &namespace).unwrap();
            let found = pattern.matches(&row(mboxname, None), &namespace);
            assert_eq!(found, matches, "{text} {mboxname}");
        }
        assert!(MailboxPattern::parse("a^b", false, &namespace).is_err());
        assert!(MailboxPattern::uniqueid("u1").matches(&row("x", None), &namespace));
        assert!(!MailboxPattern::uniqueid("u").matches(&row("x", None), &namespace));
    }

    #[test]
    fn deletion_times() {
        let namespace = Namespace::default();
        for (mboxname, unmailbox, expected) in [
            ("user.anne", None, None),
            ("user.anne", Some(7), Some(7)),
            ("DELETED.user.anne.5", None, Some(5)),
            ("DELETED.user.anne.5", Some(7), Some(5)),
            ("DELETED.user.anne.zz", Some(7), Some(7)),
        ] {
            assert_eq!(
                deleted_at(&row(mboxname, unmailbox), &namespace),
                expected,
                "{mboxname}"
            );
        }
    }
}

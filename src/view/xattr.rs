//! `user.cyrus.*`: what Cyrus knows about a message or a folder beside its bytes, so that a copy with
//! extended attributes (tar --xattrs, rsync -X, cp -a) can become a mailbox again. Pure.
//!
//! A copying program asks twice for each attribute that is listed, and each question is a round trip through
//! the kernel: with seven of them `cp -a` of small messages takes four times as long as without. So what
//! a copy says already (its path the UID and mailbox, its mtime the INTERNALDATE, its octets the GUID) is told to
//! who asks for it by name, and not listed.

use super::mails::Mail;
use super::names;
use super::source::Mailbox;

/// Of a user's directory.
pub(super) const OLDEST: &str = "user.cyrus.oldest";

/// One attribute.
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// Shown to who does not ask for it by name, and so copied.
    pub(super) listed: bool,
}

impl Attribute {
    /// A listed one.
    pub(super) fn new(name: &'static str, value: impl ToString) -> Attribute {
        Attribute {
            name,
            value: value.to_string(),
            listed: true,
        }
    }

    fn listed(self, listed: bool) -> Attribute {
        Attribute { listed, ..self }
    }
}

/// Attributes of a message. One that stands in several mailboxes has no UID of its own.
pub(super) fn of_mail(mail: &Mail, mailbox: Option<&Mailbox>) -> Vec<Attribute> {
    let mut all = vec![
        Attribute::new("user.cyrus.guid", mail.guid).listed(false),
        Attribute::new("user.cyrus.flags", &mail.flags).listed(!mail.flags.is_empty()),
        Attribute::new("user.cyrus.internaldate", mail.internaldate).listed(false),
    ];
    if !mail.annotations.is_empty() {
        all.push(Attribute::new("user.cyrus.annotations", &mail.annotations));
    }
    if mail.links == 1 {
        all.push(Attribute::new("user.cyrus.modseq", mail.modseq));
        all.push(Attribute::new("user.cyrus.uid", mail.uid).listed(false));
        let folder = of_folder(mailbox).into_iter();
        all.extend(folder.map(|attribute| attribute.listed(false)));
    }
    all
}

/// Attributes of a folder; one that is only there for what it contains has none.
pub(super) fn of_folder(mailbox: Option<&Mailbox>) -> Vec<Attribute> {
    match mailbox {
        None => Vec::new(),
        Some(mailbox) => vec![
            Attribute::new("user.cyrus.mailbox", &mailbox.name),
            Attribute::new("user.cyrus.uniqueid", &mailbox.uniqueid),
        ],
    }
}

/// Attributes of a user's directory: how far back it can be shown.
pub(super) fn of_user(oldest: Option<i64>) -> Vec<Attribute> {
    let oldest = oldest.map(|oldest| Attribute::new(OLDEST, names::compact(oldest)));
    oldest.into_iter().collect()
}

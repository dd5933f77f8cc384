//! `user.cyrus.*`: what Cyrus knows about a message or a folder beside its bytes, so that a copy with
//! extended attributes (tar --xattrs, rsync -X, cp -a) can become a mailbox again. Pure.

use super::mails::Mail;
use super::names;
use super::source::Mailbox;

/// Of a user's directory.
pub(super) const OLDEST: &str = "user.cyrus.oldest";

/// Names and values.
pub(super) type Attributes = Vec<(&'static str, String)>;

/// Attributes of a message. One that stands in several mailboxes has no UID of its own.
pub(super) fn of_mail(mail: &Mail, mailbox: Option<&Mailbox>) -> Attributes {
    let mut all = vec![
        ("user.cyrus.guid", mail.guid.to_string()),
        ("user.cyrus.flags", mail.flags.to_string()),
        ("user.cyrus.internaldate", mail.internaldate.to_string()),
    ];
    if !mail.annotations.is_empty() {
        all.push(("user.cyrus.annotations", mail.annotations.to_string()));
    }
    if mail.links == 1 {
        all.push(("user.cyrus.uid", mail.uid.to_string()));
        all.push(("user.cyrus.modseq", mail.modseq.to_string()));
        all.extend(of_folder(mailbox));
    }
    all
}

/// Attributes of a folder; one that is only there for what it contains has none.
pub(super) fn of_folder(mailbox: Option<&Mailbox>) -> Attributes {
    match mailbox {
        None => Vec::new(),
        Some(mailbox) => vec![
            ("user.cyrus.mailbox", mailbox.name.clone()),
            ("user.cyrus.uniqueid", mailbox.uniqueid.clone()),
        ],
    }
}

/// Attributes of a user's directory: how far back it can be shown.
pub(super) fn of_user(oldest: Option<i64>) -> Attributes {
    let oldest = oldest.map(|oldest| (OLDEST, names::compact(oldest)));
    oldest.into_iter().collect()
}

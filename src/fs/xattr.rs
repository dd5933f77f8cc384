//! `user.cyrus.*`: what Cyrus knows about a message or a folder beside its bytes, so that a copy with
//! extended attributes (tar --xattrs, rsync -X, cp -a) can become a mailbox again. Pure.

use super::mails::Mail;
use super::source::Mailbox;

/// Attributes of a message.
pub(super) fn of_mail(mail: &Mail, mailbox: Option<&Mailbox>) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("user.cyrus.guid", mail.guid.to_string()),
        ("user.cyrus.uid", mail.uid.to_string()),
        ("user.cyrus.flags", mail.flags.to_string()),
        ("user.cyrus.modseq", mail.modseq.to_string()),
        ("user.cyrus.internaldate", mail.internaldate.to_string()),
    ];
    all.extend(of_folder(mailbox));
    all
}

/// Attributes of a folder; one that is only there for what it contains has none.
pub(super) fn of_folder(mailbox: Option<&Mailbox>) -> Vec<(&'static str, String)> {
    match mailbox {
        None => Vec::new(),
        Some(mailbox) => vec![
            ("user.cyrus.mailbox", mailbox.name.clone()),
            ("user.cyrus.uniqueid", mailbox.uniqueid.clone()),
        ],
    }
}

//! The mailboxes of the tests: ten nested folders with names of all kinds, and mail to put there.

use crate::rig::{Append, Imap, Mail};

/// Folder as IMAP has it (modified UTF-7) and as a person reads it, the separator being `/`.
pub(crate) const FOLDERS: [(&str, &str); 10] = [
    ("INBOX/Sent", "Sent"),
    ("INBOX/Entw&APw-rfe", "Entwürfe"),
    ("INBOX/&ZeVnLIqe-", "日本語"),
    ("INBOX/sp ace", "sp ace"),
    ("INBOX/Archive", "Archive"),
    ("INBOX/Archive/2024", "Archive/2024"),
    ("INBOX/Archive/2024/Q1", "Archive/2024/Q1"),
    ("INBOX/Archive/2024/Q1/Caf&AOk-", "Archive/2024/Q1/Café"),
    (
        "INBOX/Archive/2024/Q1/Caf&AOk-/deep",
        "Archive/2024/Q1/Café/deep",
    ),
    ("INBOX/Archive/2025", "Archive/2025"),
];

/// How a mailbox is called below `mailboxes/` of the mount.
pub(crate) fn shown_as(mailbox: &str) -> String {
    let known = FOLDERS.iter().find(|(name, _)| *name == mailbox);
    known.map_or_else(|| mailbox.to_owned(), |(_, shown)| (*shown).to_owned())
}

/// Makes the folders and spreads `count` messages over them and the INBOX.
pub(crate) fn fill(imap: &mut Imap, mail: &mut Mail, count: usize) {
    let names: Vec<&str> = std::iter::once("INBOX")
        .chain(FOLDERS.map(|(name, _)| name))
        .collect();
    names[1..].iter().for_each(|name| imap.create(name));
    for (place, name) in names.iter().enumerate() {
        let share = count / names.len() + usize::from(place < count % names.len());
        let bodies: Vec<Vec<u8>> = (0..share).map(|_| mail.any()).collect();
        append(imap, name, &bodies);
    }
}

/// Appends with flags and dates that differ from message to message.
pub(crate) fn append(imap: &mut Imap, mailbox: &str, bodies: &[Vec<u8>]) {
    let messages = bodies.iter().enumerate().map(|(place, body)| Append {
        flags: [
            "",
            "\\Seen",
            "\\Seen \\Answered",
            "\\Flagged $Forwarded",
            "custom",
        ][place % 5],
        date: [
            Some("02-Mar-2026 10:00:00 +0100"),
            None,
            Some("31-Dec-2001 23:59:59 +0000"),
        ][place % 3],
        body,
    });
    imap.append(mailbox, &messages.collect::<Vec<_>>());
}

//! What a backup knows besides messages, as small text files: `mailboxes.json`, `seen.json`,
//! `subscriptions.txt`. Names stand there twice, as in the tree and as Cyrus says them, so that a copy
//! on tape is read by people and by programs. Pure.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Serialize;

/// What the files say, without the tree's names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// All mailboxes, by row id.
    pub mailboxes: Vec<(i64, Header)>,
    /// Folders that exist only for what is below them.
    pub folders: Vec<BareFolder>,
    /// Quota roots with their limits, as the log says them.
    pub quotas: Vec<Quota>,
    /// Annotations of mailboxes and of the server.
    pub annotations: Vec<Annotation>,
    /// Internal names.
    pub subscriptions: Vec<String>,
    /// Seen state.
    pub seen: Vec<Seen>,
    /// The sieve script that runs.
    pub active_sieve: Option<String>,
}

/// The header of a mailbox, by the names of the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "named after the wire's keys: spec csync 5.3")]
pub struct Header {
    pub mboxname: String,
    pub uniqueid: String,
    pub mboxtype: Option<String>,
    pub uidvalidity: u32,
    pub last_uid: u32,
    pub highestmodseq: u64,
    pub recentuid: u32,
    pub recenttime: i64,
    pub last_appenddate: i64,
    pub pop3_last_login: i64,
    pub pop3_show_after: i64,
    pub partition: Option<String>,
    pub acl: Option<String>,
    pub options: Option<String>,
    pub annotations: Option<String>,
    pub deleted: Option<i64>,
    /// All keys as they came, a dlist; none when C wrote the index.
    pub header: Option<String>,
}

/// A folder without messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named after the wire's keys")]
pub struct BareFolder {
    pub mboxname: String,
    pub uniqueid: String,
}

/// A quota root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named after the wire's keys")]
pub struct Quota {
    pub root: String,
    pub header: String,
}

/// An annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named after the wire's keys")]
pub struct Annotation {
    pub mboxname: String,
    pub entry: String,
    pub userid: String,
    pub value: String,
}

/// Seen state of the user in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named after the wire's keys")]
pub struct Seen {
    pub uniqueid: String,
    pub lastread: i64,
    pub lastuid: u32,
    pub lastchange: i64,
    pub seenuids: String,
}

/// Where a mailbox is in the tree, by its row id: `mailboxes/Archive`.
pub type Paths = HashMap<i64, String>;

/// `mailboxes.json`
pub fn mailboxes(details: &Details, paths: &Paths) -> Vec<u8> {
    #[derive(Serialize)]
    struct Placed<'a> {
        path: Option<&'a String>,
        #[serde(flatten)]
        header: &'a Header,
    }
    #[derive(Serialize)]
    struct All<'a> {
        mailboxes: Vec<Placed<'a>>,
        folders_without_messages: &'a [BareFolder],
        quotas: &'a [Quota],
        annotations: &'a [Annotation],
        active_sieve: Option<&'a String>,
    }
    let placed = details.mailboxes.iter().map(|(id, header)| Placed {
        path: paths.get(id),
        header,
    });
    json(&All {
        mailboxes: placed.collect(),
        folders_without_messages: &details.folders,
        quotas: &details.quotas,
        annotations: &details.annotations,
        active_sieve: details.active_sieve.as_ref(),
    })
}

/// `seen.json`
pub fn seen(details: &Details, paths: &Paths) -> Vec<u8> {
    #[derive(Serialize)]
    struct Placed<'a> {
        path: Option<&'a String>,
        mboxname: Option<&'a str>,
        #[serde(flatten)]
        seen: &'a Seen,
    }
    let known: HashMap<&str, _> = details
        .mailboxes
        .iter()
        .map(|(id, header)| (header.uniqueid.as_str(), (id, header.mboxname.as_str())))
        .collect();
    let placed = details.seen.iter().map(|seen| {
        let mailbox = known.get(seen.uniqueid.as_str());
        Placed {
            path: mailbox.and_then(|(id, _)| paths.get(id)),
            mboxname: mailbox.map(|(_, name)| *name),
            seen,
        }
    });
    json(&placed.collect::<Vec<_>>())
}

/// `subscriptions.txt`: the internal name, and where the mailbox is, if it is. Control bytes of a name
/// would break the line; no name that Cyrus takes has any.
pub fn subscriptions(details: &Details, paths: &Paths) -> Vec<u8> {
    let mut text = String::from("# mailbox\tpath\n");
    for name in &details.subscriptions {
        let live = |(_, header): &&(i64, Header)| header.mboxname == *name;
        let mailbox = details.mailboxes.iter().rev().find(live);
        let path = mailbox.and_then(|(id, _)| paths.get(id));
        let path = path.map_or("", String::as_str);
        let name = name.replace(char::is_control, "?");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}\t{path}");
    }
    text.into_bytes()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Structs of strings and numbers: nothing in them cannot be JSON.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_there_twice() {
        let header = Header {
            mboxname: "user.anne.Sub".to_owned(),
            uniqueid: "u9".to_owned(),
            uidvalidity: 77,
            ..Header::default()
        };
        let details = Details {
            mailboxes: vec![(9, header)],
            subscriptions: vec!["user.anne.Sub".to_owned(), "user.bob".to_owned()],
            seen: vec![Seen {
                uniqueid: "u9".to_owned(),
                lastread: 1,
                lastuid: 2,
                lastchange: 3,
                seenuids: "1:2".to_owned(),
            }],
            active_sieve: Some("a.script".to_owned()),
            ..Details::default()
        };
        let paths = Paths::from([(9, "mailboxes/Sub".to_owned())]);
        let text = String::from_utf8(subscriptions(&details, &paths)).unwrap();
        assert_eq!(
            text,
            "# mailbox\tpath\nuser.anne.Sub\tmailboxes/Sub\nuser.bob\t\n"
        );
        let value: serde_json::Value = serde_json::from_slice(&seen(&details, &paths)).unwrap();
        assert_eq!(value[0]["path"], "mailboxes/Sub");
        assert_eq!(value[0]["seenuids"], "1:2");
        let value: serde_json::Value =
            serde_json::from_slice(&mailboxes(&details, &paths)).unwrap();
        assert_eq!(value["mailboxes"][0]["uidvalidity"], 77);
        assert_eq!(value["mailboxes"][0]["path"], "mailboxes/Sub");
        assert_eq!(value["active_sieve"], "a.script");
    }
}

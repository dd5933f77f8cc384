//! What is not a message: quota, subscriptions, seen state, sieve scripts, annotations, ACLs; and what of a list of
//! such the target has already. Pure.

use super::options::Beyond;
use super::target::Target;
use crate::csync::dlist::{KvList, Value};
use crate::store::SeenRow;
use crate::types::Guid;

/// One thing to set in the target.
#[derive(Debug, Clone, PartialEq)]
pub enum Extra {
    /// APPLY QUOTA; the keys as the master sent them, ROOT among them.
    Quota {
        /// The root.
        root: String,
        /// The limits.
        keys: KvList,
    },
    /// APPLY SUB
    Subscription(String),
    /// APPLY SEEN
    Seen(SeenRow),
    /// APPLY SIEVE
    Script {
        /// `x.script`
        filename: String,
        /// SHA-1 of the text.
        guid: Guid,
        /// When it was changed.
        last_update: i64,
        /// The text.
        content: Vec<u8>,
    },
    /// APPLY ACTIVATE_SIEVE; the name as of the script.
    Activate(String),
    /// APPLY ANNOTATION
    Annotation {
        /// Empty for the server's own.
        mboxname: String,
        /// `/comment`
        entry: String,
        /// Empty for shared ones.
        userid: String,
        /// Any octets.
        value: Vec<u8>,
    },
    /// The ACL of a mailbox that exists already.
    Acl {
        /// The mailbox.
        mboxname: String,
        /// As the wire has it.
        acl: String,
    },
}

impl Extra {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Extra::Quota { root, .. } => format!("quota of {root}"),
            Extra::Subscription(name) => format!("subscription to {name}"),
            Extra::Seen(row) => format!("seen state of {}", row.uniqueid),
            Extra::Script { filename, .. } => format!("sieve script {filename}"),
            Extra::Activate(filename) => format!("active sieve script {filename}"),
            Extra::Annotation {
                mboxname, entry, ..
            } => match mboxname.as_str() {
                "" => format!("annotation {entry} of the server"),
                name => format!("annotation {entry} of {name}"),
            },
            Extra::Acl { mboxname, .. } => format!("ACL of {mboxname}"),
        }
    }

    /// One word, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Extra::Quota { .. } => "quota",
            Extra::Subscription(_) => "subscriptions",
            Extra::Seen(_) => "seen",
            Extra::Script { .. } => "scripts",
            Extra::Activate(_) => "active script",
            Extra::Annotation { .. } => "annotations",
            Extra::Acl { .. } => "acl",
        }
    }
}

/// ACTIVATE_SIEVE names the compiled script, `x.bc`.
pub(super) fn as_script(name: &str) -> String {
    match name.strip_suffix(".bc") {
        Some(stem) => format!("{stem}.script"),
        None => name.to_owned(),
    }
}

/// What is left to do: without what the target has already. `beyond`: the rest of what a mailbox of the target
/// has is only changed when that was asked for.
pub fn against(extras: Vec<Extra>, beyond: Beyond, target: &Target) -> Vec<Extra> {
    let beyond = beyond.all();
    let is_new = |mboxname: &str| target.mailbox(mboxname).is_none();
    let left = extras.into_iter().filter(|extra| match extra {
        Extra::Quota { root, keys } => target
            .quota(root)
            .is_none_or(|has| limits(has) != limits(keys)),
        Extra::Subscription(name) => !target.subscriptions.contains(name),
        // The later one knows more.
        Extra::Seen(row) => target.seen.iter().all(|has| {
            has.uniqueid != row.uniqueid
                || (has.lastchange, has.lastread, has.lastuid)
                    < (row.lastchange, row.lastread, row.lastuid)
        }),
        Extra::Script { filename, guid, .. } => target
            .scripts
            .iter()
            .all(|has| has.filename != *filename || has.guid != Some(*guid)),
        Extra::Activate(filename) => target
            .scripts
            .iter()
            .all(|has| !has.active || as_script(&has.filename) != *filename),
        Extra::Annotation {
            mboxname,
            entry,
            userid,
            value,
        } => {
            (mboxname.is_empty() || is_new(mboxname) || beyond.annotations)
                && !target.has_annotation(mboxname, entry, userid, value)
        }
        // A new mailbox gets its ACL with its creation.
        Extra::Acl { mboxname, acl } => target
            .mailbox(mboxname)
            .is_some_and(|has| has.keys.get_str("ACL") != Some(acl)),
    });
    left.collect()
}

/// The limits of a quota without its modseq.
fn limits(keys: &KvList) -> Vec<(&str, u64)> {
    let each = keys.0.iter().filter(|(key, _)| {
        !["ROOT", "MODSEQ", "LIMIT", "ANNOTATION-STORAGE", "MAILBOX"].contains(&key.as_str())
    });
    let mut limits: Vec<(&str, u64)> = each
        .filter_map(|(key, value)| Some((key.as_str(), Value::as_u64(value)?)))
        .collect();
    limits.sort_unstable();
    limits
}

//! What is not a message: quota, subscriptions, seen state, sieve scripts, annotations, ACLs. What the backup has
//! becomes a list; what the target has already is taken off it. Reads the index and scripts.

use super::options::Beyond;
use super::plan::{LeftOut, Plan};
use super::target::Target;
use crate::csync::dlist::{KvList, Value};
use crate::store::{Backup, Result, SeenRow};
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

/// Adds to the plan what of the backup is wanted. ACLs and annotations are those of the mailboxes of the plan,
/// under their names in the target.
///
/// # Errors
/// The index.
pub fn add(backup: &Backup, beyond: Beyond, plan: &mut Plan) -> Result<()> {
    let index = backup.index();
    let beyond = beyond.all();
    let mut extras = Vec::new();
    if beyond.quota {
        let quotas = index.quotas()?.into_iter();
        extras.extend(quotas.map(|(root, keys)| Extra::Quota { root, keys }));
    }
    if beyond.subscriptions {
        let rows = index.subscriptions()?.into_iter();
        let living = rows.filter(|row| row.unsubscribed.is_none());
        extras.extend(living.map(|row| Extra::Subscription(row.mboxname)));
    }
    if beyond.seen {
        extras.extend(index.seen()?.into_iter().map(Extra::Seen));
    }
    if beyond.sieve {
        scripts(backup, &mut extras, &mut plan.left_out)?;
    }
    for mailbox in &plan.mailboxes {
        let mboxname = || mailbox.target.clone();
        if beyond.acl
            && let Some(acl) = mailbox.acl.clone()
        {
            let mboxname = mboxname();
            extras.push(Extra::Acl { mboxname, acl });
        }
        // Without --annotations new mailboxes get them all the same; see `against`.
        for (entry, userid, value) in mailbox.annotations() {
            extras.push(Extra::Annotation {
                mboxname: mboxname(),
                entry,
                userid,
                value,
            });
        }
    }
    if beyond.annotations {
        for row in index.annotations()? {
            extras.push(Extra::Annotation {
                mboxname: row.mboxname,
                entry: row.entry,
                userid: row.userid,
                value: row.value,
            });
        }
    }
    plan.extras = extras;
    Ok(())
}

fn scripts(backup: &Backup, extras: &mut Vec<Extra>, left_out: &mut Vec<LeftOut>) -> Result<()> {
    let index = backup.index();
    let living = index.sieve()?.into_iter();
    let living: Vec<_> = living.filter(|row| row.deleted.is_none()).collect();
    for row in &living {
        let filename = row.filename.clone();
        // Such a name would be a path in the target.
        let content = match filename.contains('/') {
            true => Err("a script's name has no slash".to_owned()),
            false => backup.read_sieve(row).map_err(|e| e.detail().to_owned()),
        };
        match content {
            Ok(content) => extras.push(Extra::Script {
                filename,
                guid: row.guid,
                last_update: row.last_update,
                content,
            }),
            Err(why) => left_out.push(LeftOut {
                what: format!("sieve script {filename}"),
                why,
            }),
        }
    }
    let active = index.active_sieve()?.map(|name| as_script(&name));
    let is_there = |name: &String| {
        let mut scripts = extras.iter();
        scripts.any(|extra| matches!(extra, Extra::Script { filename, .. } if filename == name))
    };
    let active = active.filter(is_there);
    extras.extend(active.map(Extra::Activate));
    Ok(())
}

/// ACTIVATE_SIEVE names the compiled script, `x.bc`.
fn as_script(name: &str) -> String {
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

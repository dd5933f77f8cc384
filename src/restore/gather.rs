//! What of a backup besides messages goes into the plan. Reads the index and scripts.

use super::extras::{Extra, as_script};
use super::options::Beyond;
use super::plan::{LeftOut, Plan};
use crate::store::{Backup, Result};

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

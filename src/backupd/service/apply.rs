//! APPLY: what the client tells us. A change is answered OK when it and every body it refers to
//! are on stable storage. State that we hold already is not written again. Everything can be
//! repeated (spec: csync 5, 8.1, 9). APPLY MAILBOX has its own file.

use super::StoreService;
use super::backups::refusal;
use super::get::{invalid_user, nonexistent, success};
use super::header::mailbox_line;
use crate::backupd::staging::Staging;
use crate::csync::command::{Apply, Rename, Reserve, parse_apply};
use crate::csync::dlist::Value;
use crate::csync::response::{Code, Reply, write_untagged};
use crate::store::{Appender, Index, Result, StoreError};
use crate::types::{BackupKey, MboxName};

impl StoreService {
    pub(super) fn carry_out(
        &mut self,
        apply: Apply<'_>,
        staging: &mut Staging,
        out: &mut Vec<u8>,
    ) -> Reply {
        match &apply {
            Apply::Reserve(reserve) => self.reserve(reserve, staging, out),
            Apply::Mailbox(update) => self.mailbox(update, staging),
            Apply::Unmailbox(name) => self.unmailbox(name),
            Apply::Rename(rename) => self.rename(rename),
            Apply::Expunge {
                mboxname, uniqueid, ..
            } => {
                let known = |index: &Index| Ok(index.mailbox_by_uniqueid(uniqueid)?.is_some());
                self.put_if(&mboxname.owner(&self.namespace), &apply, known)
            }
            Apply::Sub { userid, mboxname } => self.subscribe(userid, mboxname, true, &apply),
            Apply::Unsub { userid, mboxname } => self.subscribe(userid, mboxname, false, &apply),
            Apply::Seen(seen) => {
                let same = |index: &Index| {
                    Ok(index.seen()?.iter().any(|row| {
                        row.uniqueid == seen.uniqueid
                            && row.lastread == seen.lastread
                            && row.lastuid == seen.lastuid
                            && row.lastchange == seen.lastchange
                            && row.seenuids == seen.seenuids
                    }))
                };
                self.put_for(&seen.userid, &apply, same)
            }
            Apply::Sieve { userid, .. } => self.put_for(userid, &apply, |_| Ok(false)),
            Apply::Unsieve { userid, filename } => {
                let gone = |index: &Index| {
                    let scripts = index.sieve()?;
                    Ok(!scripts
                        .iter()
                        .any(|s| s.filename == *filename && s.deleted.is_none()))
                };
                self.put_for(userid, &apply, gone)
            }
            Apply::ActivateSieve { userid, .. } => self.put_for(userid, &apply, |_| Ok(false)),
            Apply::UnactivateSieve { userid } => {
                self.put_for(userid, &apply, |index| Ok(index.active_sieve()?.is_none()))
            }
            Apply::Quota { root, items } => {
                let same = |index: &Index| {
                    Ok(index
                        .quotas()?
                        .iter()
                        .any(|(r, have)| r == root && have == items))
                };
                self.put_at_root(root, &apply, same)
            }
            Apply::Unquota(root) => {
                let gone = |index: &Index| Ok(!index.quotas()?.iter().any(|(r, _)| r == root));
                self.put_at_root(root, &apply, gone)
            }
            Apply::Annotation { mboxname, .. } | Apply::Unannotation { mboxname, .. } => {
                match self.annotation_owner(mboxname) {
                    Some(key) => self.put(&key, &apply),
                    None => nonexistent(mboxname),
                }
            }
            Apply::Unuser(userid) => self.unuser(userid, &apply),
            // The session answers these itself.
            Apply::Message(_) | Apply::Force | Apply::Capabilities(_) => success(),
            Apply::Unknown(name) => {
                tracing::error!(name, "a client sent an APPLY that we do not know");
                Reply::No(Code::ProtocolError, format!("Unknown command APPLY {name}"))
            }
        }
    }

    /// Whose backup an annotation belongs into: the server's own stand with the shared mailboxes.
    pub(super) fn annotation_owner(&self, mboxname: &str) -> Option<BackupKey> {
        match mboxname {
            "" => Some(BackupKey::shared()),
            name => Some(MboxName::new(name).ok()?.owner(&self.namespace)),
        }
    }

    /// Reports what is in none of the backups that may need it. With mailboxes of several users
    /// named, one that lacks a body is enough to ask: each backup stands alone (DESIGN 3).
    fn reserve(&mut self, reserve: &Reserve, staging: &Staging, out: &mut Vec<u8>) -> Reply {
        let mut owners: Vec<BackupKey> = reserve
            .mboxnames
            .iter()
            .map(|name| name.owner(&self.namespace))
            .collect();
        owners.sort();
        owners.dedup();
        let mut missing = Vec::new();
        for key in &owners {
            let lacking = self.backups.ask(key, |index| {
                let mut lacking = Vec::new();
                for guid in &reserve.guids {
                    if staging.get(guid).is_none() && !index.has_message(guid)? {
                        lacking.push(*guid);
                    }
                }
                Ok(lacking)
            });
            match lacking {
                Ok(Some(lacking)) => missing.extend(lacking),
                Ok(None) => missing.extend(&reserve.guids),
                Err(e) => return refusal(key, &e),
            }
        }
        if owners.is_empty() {
            missing.extend(&reserve.guids);
        }
        missing.retain(|guid| staging.get(guid).is_none());
        missing.sort();
        missing.dedup();
        if !missing.is_empty() {
            let guids = missing
                .iter()
                .map(|guid| Value::atom(guid.to_string()))
                .collect();
            write_untagged("MISSING", &Value::List(guids), out);
        }
        self.missing.extend(missing);
        success()
    }

    fn unmailbox(&mut self, name: &MboxName) -> Reply {
        let key = name.owner(&self.namespace);
        let done = self.backups.append_existing(&key, |appender| {
            let known = lives(appender.index(), name.as_str())?;
            if known {
                send_away(appender, name)?;
                appender.commit()?;
            }
            Ok(known)
        });
        reply_if_known(&key, done, name.as_str())
    }

    fn rename(&mut self, rename: &Rename) -> Reply {
        let (from, to) = (
            rename.old.owner(&self.namespace),
            rename.new.owner(&self.namespace),
        );
        if from != to {
            return self.move_to_other_owner(rename);
        }
        let done = self.backups.append_existing(&from, |appender| {
            if !lives(appender.index(), rename.old.as_str())? {
                return Ok(false);
            }
            if rename.old != rename.new && lives(appender.index(), rename.new.as_str())? {
                send_away(appender, &rename.new)?;
            }
            appender.append(&Apply::Rename(rename.clone()), super::now())?;
            say_header(appender, &rename.new)?;
            appender.commit()?;
            Ok(true)
        });
        reply_if_known(&from, done, rename.old.as_str())
    }

    fn subscribe(
        &mut self,
        userid: &str,
        mboxname: &MboxName,
        wanted: bool,
        apply: &Apply<'_>,
    ) -> Reply {
        let same = |index: &Index| {
            let rows = index.subscriptions()?;
            let row = rows.iter().find(|row| row.mboxname == mboxname.as_str());
            Ok(row.is_some_and(|row| row.unsubscribed.is_none()) == wanted)
        };
        self.put_for(userid, apply, same)
    }

    /// Everything a deleted user still has goes, as history: by lines of its own for what C's
    /// tools know, so that they see the same.
    fn unuser(&mut self, userid: &str, apply: &Apply<'_>) -> Reply {
        let key = match BackupKey::from_userid(userid) {
            Ok(key) => key,
            Err(e) => return invalid_user(userid, &e.to_string()),
        };
        let namespace = self.namespace.clone();
        let done = self.backups.append_existing(&key, |appender| {
            let now = super::now();
            let names = appender
                .index()
                .mailboxes()?
                .into_iter()
                .filter(|m| m.deleted.is_none());
            let folders = appender
                .index()
                .intermediates()?
                .into_iter()
                .map(|f| f.mboxname);
            let names: Vec<String> = names.map(|m| m.mboxname).chain(folders).collect();
            for name in names.iter().filter_map(|name| MboxName::new(name).ok()) {
                if name.parts(&namespace).deleted.is_none() {
                    send_away(appender, &name)?;
                }
            }
            for row in appender.index().subscriptions()? {
                if row.unsubscribed.is_none()
                    && let Ok(mboxname) = MboxName::new(row.mboxname)
                {
                    let unsub = Apply::Unsub {
                        userid: userid.to_owned(),
                        mboxname,
                    };
                    appender.append(&unsub, now)?;
                }
            }
            for row in appender
                .index()
                .sieve()?
                .into_iter()
                .filter(|row| row.deleted.is_none())
            {
                let unsieve = Apply::Unsieve {
                    userid: userid.to_owned(),
                    filename: row.filename,
                };
                appender.append(&unsieve, now)?;
            }
            appender.append(apply, now)?;
            appender.commit()
        });
        match done {
            Ok(_) => success(),
            Err(e) => refusal(&key, &e),
        }
    }

    /// Appends a line about a user, unless `held` says that we hold this state already.
    fn put_for(
        &mut self,
        userid: &str,
        apply: &Apply<'_>,
        held: impl Fn(&Index) -> Result<bool>,
    ) -> Reply {
        match BackupKey::from_userid(userid) {
            Ok(key) => self.put_unless(&key, apply, held),
            Err(e) => invalid_user(userid, &e.to_string()),
        }
    }

    /// The same for a quota root, which is a mailbox name.
    fn put_at_root(
        &mut self,
        root: &str,
        apply: &Apply<'_>,
        held: impl Fn(&Index) -> Result<bool>,
    ) -> Reply {
        match MboxName::new(root) {
            Ok(name) => self.put_unless(&name.owner(&self.namespace), apply, held),
            Err(e) => Reply::No(Code::BadParameters, format!("quota root {root:?}: {e}")),
        }
    }

    fn put_unless(
        &mut self,
        key: &BackupKey,
        apply: &Apply<'_>,
        held: impl Fn(&Index) -> Result<bool>,
    ) -> Reply {
        match self.backups.ask(key, held) {
            Ok(Some(true)) => success(),
            Ok(_) => self.put(key, apply),
            Err(e) => refusal(key, &e),
        }
    }

    /// Appends a line if the backup is there and `known` says that the line means something to it.
    fn put_if(
        &mut self,
        key: &BackupKey,
        apply: &Apply<'_>,
        known: impl Fn(&Index) -> Result<bool>,
    ) -> Reply {
        match self.backups.ask(key, known) {
            Ok(Some(true)) => self.put(key, apply),
            Ok(_) => nonexistent(key.as_str()),
            Err(e) => refusal(key, &e),
        }
    }

    fn put(&mut self, key: &BackupKey, apply: &Apply<'_>) -> Reply {
        let put = self.backups.append(key, |appender| {
            appender.append(apply, super::now())?;
            appender.commit()
        });
        match put {
            Ok(()) => success(),
            Err(e) => refusal(key, &e),
        }
    }
}

/// A mailbox or an intermediate of this name lives.
pub(super) fn lives(index: &Index, name: &str) -> Result<bool> {
    Ok(!index.mailboxes_by_name(name)?.is_empty()
        || index
            .intermediates()?
            .iter()
            .any(|folder| folder.mboxname == name))
}

/// Marks whatever has this name as deleted.
pub(super) fn send_away(appender: &mut Appender, name: &MboxName) -> Result<()> {
    say_header(appender, name)?;
    appender.append(&Apply::Unmailbox(name.clone()), super::now())
}

/// Says the header of a mailbox again, so that C's verify, compact and reindex keep what a RENAME
/// or UNMAILBOX beside it says (spec: ondisk 11.7).
fn say_header(appender: &mut Appender, name: &MboxName) -> Result<()> {
    for mailbox in appender.index().mailboxes_by_name(name.as_str())? {
        let keys = match appender.index().header(mailbox.id)? {
            Some(header) if !header.keys.0.is_empty() => header.keys,
            _ => super::header::from_row(&mailbox),
        };
        let text = mailbox_line(&keys);
        let apply = parse_apply(&text).map_err(|e| StoreError::BadCommand {
            reason: e.to_string(),
        })?;
        appender.append(&apply, super::now())?;
    }
    Ok(())
}

pub(super) fn reply_if_known(key: &BackupKey, done: Result<Option<bool>>, name: &str) -> Reply {
    match done {
        Ok(Some(true)) => success(),
        Ok(_) => nonexistent(name),
        Err(e) => refusal(key, &e),
    }
}

//! Giving a backup to another user. What the data file says must then be the new user's, so the
//! renaming is said in it as a master says it: a RENAME for each mailbox that lives, the header
//! again (C's tools need it behind a RENAME), subscriptions, quota roots and annotations under the
//! new names. Nothing is rewritten: who looks at an earlier time sees the old names, and what was
//! removed before keeps them.

use std::path::PathBuf;

use super::administer::Administer;
use super::appender::Appender;
use super::catalog::CatalogError;
use super::error::{Result, StoreError};
use super::index::Index;
use crate::csync::command::{Apply, Rename, parse_apply};
use crate::csync::dlist::Value;
use crate::types::{BackupKey, MboxName, Namespace};

impl Administer {
    /// Renames a user: content, file name, backups.db, in this order; doing it again finishes it.
    /// `now`: unix seconds.
    ///
    /// # Errors
    /// When the new user has a backup already, or no mailbox of the old one lives in this one.
    pub fn rename_user(
        &self,
        from: &BackupKey,
        to: &BackupKey,
        namespace: &Namespace,
        now: i64,
    ) -> Result<PathBuf> {
        if self.catalog.get(to)?.is_some() {
            let (database, key) = (self.catalog.path().to_owned(), to.clone());
            return Err(CatalogError::Exists { database, key }.into());
        }
        let path = self.path(from)?;
        let mut appender = Appender::open(&path, self.wait)?;
        let names = Names {
            from,
            to,
            namespace,
        };
        let (mailboxes, done) = names.mailboxes(appender.index())?;
        if mailboxes.is_empty() && !done {
            let reason =
                format!("no mailbox of {from} lives in it, so nothing could say that it is {to}'s");
            return Err(StoreError::BadCommand { reason });
        }
        names.say(&mut appender, &mailboxes, now)?;
        appender.commit()?;
        appender.finish()?;
        self.hand_over(from, to)
    }
}

struct Names<'a> {
    from: &'a BackupKey,
    to: &'a BackupKey,
    namespace: &'a Namespace,
}

impl Names<'_> {
    /// The names to change, and whether the new user has mailboxes in it already.
    fn mailboxes(&self, index: &Index) -> Result<(Vec<MboxName>, bool)> {
        let living = index
            .mailboxes()?
            .into_iter()
            .filter(|row| row.deleted.is_none());
        let folders = index
            .intermediates()?
            .into_iter()
            .map(|folder| folder.mboxname);
        let names = living.map(|row| row.mboxname).chain(folders);
        let names: Vec<MboxName> = names.filter_map(|name| MboxName::new(name).ok()).collect();
        let done = names
            .iter()
            .any(|name| name.owner(self.namespace) == *self.to);
        let of_old = |name: &MboxName| name.owner(self.namespace) == *self.from;
        Ok((names.into_iter().filter(of_old).collect(), done))
    }

    fn say(&self, appender: &mut Appender, mailboxes: &[MboxName], now: i64) -> Result<()> {
        for old in mailboxes {
            self.rename(appender, old, now)?;
        }
        self.subscriptions(appender, now)?;
        self.quotas(appender, now)?;
        self.annotations(appender, now)
    }

    fn rename(&self, appender: &mut Appender, old: &MboxName, now: i64) -> Result<()> {
        let rows = appender.index().mailboxes_by_name(old.as_str())?;
        let row = rows.last();
        let new = self.new_name(old)?;
        let rename = Rename {
            old: old.clone(),
            new: new.clone(),
            partition: row.and_then(|row| row.partition.clone()),
            uidvalidity: row.map_or(0, |row| row.uidvalidity),
        };
        appender.append(&Apply::Rename(rename), now)?;
        for row in rows {
            let mut keys = match appender.index().header(row.id)? {
                Some(header) if !header.keys.0.is_empty() => header.keys,
                _ => super::header::from_row(&row),
            };
            keys.set("MBOXNAME", Value::string(new.as_str()));
            if let Some(acl) = keys.get("ACL").and_then(Value::as_bytes) {
                let acl = self.new_acl(&String::from_utf8_lossy(acl));
                keys.set("ACL", Value::string(acl));
            }
            let line = super::header::mailbox_line(&keys);
            append(appender, &line, now)?;
        }
        Ok(())
    }

    fn subscriptions(&self, appender: &mut Appender, now: i64) -> Result<()> {
        for row in appender.index().subscriptions()? {
            let Ok(mboxname) = MboxName::new(row.mboxname) else {
                continue;
            };
            if row.unsubscribed.is_some() || mboxname.owner(self.namespace) != *self.from {
                continue;
            }
            let userid = self.to.to_string();
            let sub = Apply::Sub {
                userid: userid.clone(),
                mboxname: self.new_name(&mboxname)?,
            };
            appender.append(&Apply::Unsub { userid, mboxname }, now)?;
            appender.append(&sub, now)?;
        }
        Ok(())
    }

    fn quotas(&self, appender: &mut Appender, now: i64) -> Result<()> {
        for (root, mut items) in appender.index().quotas()? {
            let Some(new) = self.theirs(&root)? else {
                continue;
            };
            items.set("ROOT", Value::string(new.as_str()));
            appender.append(&Apply::Unquota(root), now)?;
            let root = new.to_string();
            appender.append(&Apply::Quota { root, items }, now)?;
        }
        Ok(())
    }

    fn annotations(&self, appender: &mut Appender, now: i64) -> Result<()> {
        for row in appender.index().annotations()? {
            // The RENAME has taken along those of living mailboxes; their userid is still the old.
            let new = match (self.theirs(&row.mboxname)?, MboxName::new(&*row.mboxname)) {
                (Some(new), _) => new,
                (None, Ok(name))
                    if name.owner(self.namespace) == *self.to
                        && row.userid == self.from.as_str() =>
                {
                    name
                }
                _ => continue,
            };
            let gone = Apply::Unannotation {
                mboxname: row.mboxname,
                entry: row.entry.clone(),
                userid: row.userid.clone(),
            };
            let userid = match row.userid == self.from.as_str() {
                true => self.to.to_string(),
                false => row.userid,
            };
            let new = Apply::Annotation {
                mboxname: new.to_string(),
                entry: row.entry,
                userid,
                value: row.value,
            };
            appender.append(&gone, now)?;
            appender.append(&new, now)?;
        }
        Ok(())
    }

    /// The new name of a mailbox of the old user; None for anybody else's.
    fn theirs(&self, name: &str) -> Result<Option<MboxName>> {
        match MboxName::new(name) {
            Ok(name) if name.owner(self.namespace) == *self.from => self.new_name(&name).map(Some),
            _ => Ok(None),
        }
    }

    fn new_name(&self, old: &MboxName) -> Result<MboxName> {
        let (local, domain) = match self.to.as_str().rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (self.to.as_str(), None),
        };
        let rest = old
            .as_str()
            .split_once('!')
            .map_or(old.as_str(), |(_, rest)| rest);
        let mut components: Vec<String> = rest.split('.').map(str::to_owned).collect();
        let user = components.iter().position(|component| component == "user");
        if let Some(component) = user.and_then(|at| {
            let behind = at + 1..components.len();
            components[behind]
                .iter_mut()
                .find(|component| !component.is_empty())
        }) {
            *component = local.replace('.', "^");
        }
        let name = components.join(".");
        let name = match domain {
            Some(domain) => format!("{domain}!{name}"),
            None => name,
        };
        MboxName::new(name).map_err(|error| StoreError::BadCommand {
            reason: format!("{old}: the new name cannot be: {error}"),
        })
    }

    /// Pairs of who and what, all behind tabs: `anne\tlrs\tbea\tlr\t`.
    fn new_acl(&self, acl: &str) -> String {
        let words = acl.split('\t').enumerate().map(|(at, word)| {
            let is_old = at % 2 == 0 && word == self.from.as_str();
            if is_old { self.to.as_str() } else { word }
        });
        words.collect::<Vec<_>>().join("\t")
    }
}

fn append(appender: &mut Appender, line: &[u8], now: i64) -> Result<()> {
    let apply = parse_apply(line).map_err(|error| StoreError::BadCommand {
        reason: error.to_string(),
    })?;
    appender.append(&apply, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_rights_change_hands() {
        let key = |userid| BackupKey::from_userid(userid).unwrap();
        let namespace = Namespace::default();
        for (from, to, old, new) in [
            ("anne", "bea", "user.anne", "user.bea"),
            ("anne", "b.c", "user.anne.user.anne", "user.b^c.user.anne"),
            ("anne", "bea@x.org", "user.anne.Sub", "x.org!user.bea.Sub"),
            ("a.b@x.org", "bea", "x.org!user.a^b.S", "user.bea.S"),
            (
                "anne",
                "bea",
                "DELETED.user.anne.Sub.6B048689",
                "DELETED.user.bea.Sub.6B048689",
            ),
        ] {
            let (from, to) = (key(from), key(to));
            let names = Names {
                from: &from,
                to: &to,
                namespace: &namespace,
            };
            let old = MboxName::new(old).unwrap();
            assert_eq!(names.new_name(&old).unwrap().as_str(), new);
            assert_eq!(names.theirs(new).unwrap(), None);
        }
        let (from, to) = (key("anne"), key("bea"));
        let names = Names {
            from: &from,
            to: &to,
            namespace: &namespace,
        };
        assert_eq!(
            names.new_acl("anne\tlrs\tlrs\tanne\t"),
            "bea\tlrs\tlrs\tanne\t"
        );
    }
}

//! `move`, `rename`, `delete`, `hold`, `unhold`.

use std::io;
use std::path::PathBuf;

use super::own_args::{Delete, Hold, Move, Rename, Users};
use super::work::Work;
use crate::store::StoreError;
use crate::store::administer::Deleted;
use crate::store::marks::{Kind, Mark};
use crate::tools::render::Json;
use crate::tools::terminal::{Terminal, exit};
use crate::types::BackupKey;

/// Keys of backups.db with their data files.
type Entries = Vec<(String, PathBuf)>;

pub(super) fn relocate(
    work: &Work<'_>,
    args: &Move,
    terminal: &mut Terminal<'_>,
) -> io::Result<u8> {
    let (users, to) = match (&args.all_from, args.names.as_slice()) {
        (None, [user, to]) => (vec![user.clone()], to),
        (Some(from), [to]) => match work.users_in(from, terminal)? {
            Ok(users) => (users, to),
            Err(code) => return Ok(code),
        },
        _ => {
            let usage = "usage: move USER PARTITION, or move --all-from PARTITION PARTITION";
            writeln!(terminal.err, "{usage}")?;
            return Ok(exit::USAGE);
        }
    };
    let Some(partition) = work.partition(to, terminal)? else {
        return Ok(exit::USAGE);
    };
    work.each("move", &users, terminal, |key| {
        Ok(match work.administer.relocate(key, &partition)? {
            Some(path) => format!("ok ({})", path.display()),
            None => "ok (it is there already)".to_owned(),
        })
    })
}

pub(super) fn rename(
    work: &Work<'_>,
    args: &Rename,
    terminal: &mut Terminal<'_>,
) -> io::Result<u8> {
    let new = match BackupKey::from_userid(&args.new) {
        Ok(new) if !new.is_shared() && args.old != BackupKey::SHARED && !args.old.is_empty() => new,
        _ => {
            terminal.complain(args.new.as_ref(), "only users can be renamed")?;
            return Ok(exit::USAGE);
        }
    };
    let users = std::slice::from_ref(&args.old);
    let (namespace, now) = (&work.site.namespace, work.site.clock.now);
    work.each("rename", users, terminal, |key| {
        let path = work.administer.rename_user(key, &new, namespace, now)?;
        Ok(format!("ok (now {new}, {})", path.display()))
    })
}

pub(super) fn delete(
    work: &Work<'_>,
    args: &Delete,
    terminal: &mut Terminal<'_>,
) -> io::Result<u8> {
    if args.expired {
        return work.delete_expired(terminal);
    }
    if args.list {
        return work.marked(Kind::Deleted, terminal);
    }
    let now = work.site.clock.now;
    work.each("delete", &args.users, terminal, |key| {
        if args.undo {
            return Ok(match work.administer.undelete(key)? {
                true => "ok (it stays)".to_owned(),
                false => "ok (it was not marked)".to_owned(),
            });
        }
        if args.now {
            work.administer.delete_now(key)?;
            return Ok("ok (deleted)".to_owned());
        }
        let mark = Mark {
            time: now,
            text: "ctl_backups delete".to_owned(),
        };
        work.administer.mark_deleted(key, &mark)?;
        Ok(match work.site.config.backup_retention {
            Some(seconds) => {
                let days = seconds.div_ceil(86_400);
                format!("ok (marked; `delete --expired` deletes it in {days} days)")
            }
            None => "ok (marked; backup_retention keeps it for ever)".to_owned(),
        })
    })
}

pub(super) fn hold(work: &Work<'_>, args: &Hold, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    if args.list {
        return work.marked(Kind::Hold, terminal);
    }
    let mark = Mark {
        time: work.site.clock.now,
        text: args.reason.clone(),
    };
    work.each("hold", &args.users, terminal, |key| {
        work.administer.hold(key, &mark)?;
        Ok("ok".to_owned())
    })
}

pub(super) fn unhold(work: &Work<'_>, args: &Users, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    work.each("unhold", &args.users, terminal, |key| {
        Ok(match work.administer.release(key)? {
            (_, true) => "ok".to_owned(),
            (_, false) => "ok (it was not on hold)".to_owned(),
        })
    })
}

impl Work<'_> {
    /// Who has this mark, since when and why, with tabs between.
    fn marked(&self, kind: Kind, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let entries = match self.entries(terminal)? {
            Ok(entries) => entries,
            Err(code) => return Ok(code),
        };
        let mut code = exit::OK;
        for (key, path) in entries {
            match kind.get(&path) {
                Ok(None) => {}
                Ok(Some(Mark { time, text })) => {
                    let since = terminal.time.show(time);
                    match self.line.json {
                        false => writeln!(terminal.out, "{since}\t{key}\t{text}")?,
                        true => {
                            let object = Json::object()
                                .with("userid", Json::text(key))
                                .with("since", Json::text(since))
                                .with("text", Json::text(text));
                            writeln!(terminal.out, "{object}")?;
                        }
                    }
                }
                Err(error) => {
                    terminal.complain(key.as_ref(), error.detail())?;
                    code = exit::FAILED;
                }
            }
        }
        Ok(code)
    }

    fn delete_expired(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let entries = match self.entries(terminal)? {
            Ok(entries) => entries,
            Err(code) => return Ok(code),
        };
        let marked = entries.into_iter().filter(|(_, path)| {
            // What cannot be read is looked at too, and reported.
            Kind::Deleted.get(path).map_or(true, |mark| mark.is_some())
        });
        let marked: Vec<String> = marked.map(|(key, _)| key).collect();
        let Some(retention) = self.site.config.backup_retention else {
            return Ok(exit::OK);
        };
        let retention = i64::try_from(retention).unwrap_or(i64::MAX);
        let before = self.site.clock.now.saturating_sub(retention);
        self.each("delete", &marked, terminal, |key| {
            let deleted = self.administer.delete_expired(key, before)?;
            Ok(match deleted {
                Some(Deleted::Gone) => "ok (deleted)".to_owned(),
                Some(Deleted::Revived) => "ok (it was written to since: it stays)".to_owned(),
                Some(Deleted::Marked) | None => "ok (not yet)".to_owned(),
            })
        })
    }

    /// The directory of a partition by its name in imapd.conf.
    fn partition(&self, name: &str, terminal: &mut Terminal<'_>) -> io::Result<Option<PathBuf>> {
        let partitions = &self.site.config.backup_partitions;
        // imapd.conf knows them in lower case.
        let found = partitions
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        if found.is_none() {
            let names: Vec<&str> = partitions.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.join(", ");
            terminal.complain(
                name.as_ref(),
                format!("no backup partition; there are: {names}"),
            )?;
        }
        Ok(found.map(|(_, path)| path.clone()))
    }

    /// Whose backups lie in a partition; the exit code if nobody can tell.
    fn users_in(
        &self,
        partition: &str,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Result<Vec<String>, u8>> {
        let Some(directory) = self.partition(partition, terminal)? else {
            return Ok(Err(exit::USAGE));
        };
        Ok(self.entries(terminal)?.map(|entries| {
            let inside = entries.into_iter().filter(|(_, path)| {
                self.administer.partition_of(path) == Some(directory.as_path())
            });
            inside.map(|(key, _)| key).collect()
        }))
    }

    /// All of backups.db; the exit code if it is of no use.
    fn entries(&self, terminal: &mut Terminal<'_>) -> io::Result<Result<Entries, u8>> {
        if self.site.has_forgotten(terminal)? {
            return Ok(Err(exit::FAILED));
        }
        match self.administer.catalog.iter() {
            Ok(entries) => Ok(Ok(entries)),
            Err(error) => self.no_catalog(&error, terminal).map(Err),
        }
    }

    pub(super) fn no_catalog(
        &self,
        error: &StoreError,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<u8> {
        writeln!(terminal.err, "ctl_backups: backups.db: {}", error.detail())?;
        Ok(exit::FAILED)
    }
}

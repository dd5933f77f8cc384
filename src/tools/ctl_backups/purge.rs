//! `purge`: messages go for good; the receipt says what and where they were.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::own_args::Purge;
use super::status;
use super::work::Work;
use crate::select::{Selection, find, find_unowned, unknown_mailbox};
use crate::store::purge::{Purged, Receipt, plan, purge};
use crate::store::rewrite::Rewrite;
use crate::store::{Backup, Lock, Result, StoreError};
use crate::tools::render::Json;
use crate::tools::terminal::{Terminal, exit};
use crate::types::{BackupKey, Guid};

pub(super) fn run(work: &Work<'_>, args: &Purge, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    let selection = args
        .select
        .selection(&work.site.namespace, &work.site.clock);
    let selection = match selection {
        Ok(selection) if !selection.is_everything() => selection,
        Ok(_) => {
            let text = "purge: say which messages: --guid, --message-id, --mailbox, …";
            writeln!(terminal.err, "{text}")?;
            return Ok(exit::USAGE);
        }
        Err(error) => {
            writeln!(terminal.err, "purge: {error}")?;
            return Ok(exit::USAGE);
        }
    };
    let key = match BackupKey::from_userid(&args.user) {
        Ok(key) => key,
        Err(error) => {
            terminal.complain(args.user.as_ref(), format!("no user id: {error}"))?;
            return Ok(exit::FAILED);
        }
    };
    match work.purge(&key, &selection, args.dry_run) {
        Ok(Done { receipt, unsure }) => {
            writeln!(
                terminal.out,
                "{}",
                render(&key, &receipt, args.dry_run, work, terminal)
            )?;
            if unsure == 0 {
                return Ok(exit::OK);
            }
            let text = format!(
                "of {unsure} messages nobody can tell whether they are meant, since they cannot be read"
            );
            terminal.complain(args.user.as_ref(), text)?;
        }
        Err(error) => drop(work.one("purge", &key, Err(error), terminal)?),
    }
    Ok(exit::FAILED)
}

struct Done {
    receipt: Receipt,
    /// Messages that may have been meant.
    unsure: usize,
}

impl Work<'_> {
    fn purge(&self, key: &BackupKey, selection: &Selection, dry_run: bool) -> Result<Done> {
        let path = self.administer.path(key)?;
        if !dry_run {
            // What a crash left is to be found as well; and who may not, learns it before long work.
            drop(Rewrite::open(&path, self.administer.wait)?);
        }
        let wait = self.administer.wait;
        let backup = Backup::open(&path, Lock::Shared { wait })?;
        if let Some(name) = unknown_mailbox(&backup, selection, &self.site.namespace)? {
            return Err(StoreError::NoSuchItem {
                item: format!("mailbox {name}"),
            });
        }
        let found = find(&backup, selection, &self.site.namespace, false)?;
        let (unowned, damage) = find_unowned(&backup, selection)?;
        let guids = found.hits.iter().map(|hit| hit.record.guid);
        let guids: HashSet<Guid> = guids.chain(unowned.iter().map(|row| row.guid)).collect();
        let unsure = found.unsure.len() + damage.len();
        let messages = plan(backup.index(), &guids)?;
        drop(backup);
        let receipt = match dry_run || guids.is_empty() {
            true => nothing_done(&path, messages)?,
            false => {
                let bar = status::bar("purge", key.as_str());
                let receipt = purge(&path, &guids, wait, &mut |at, all| {
                    bar.set_length(all);
                    bar.set_position(at);
                });
                bar.finish_and_clear();
                receipt?
            }
        };
        Ok(Done { receipt, unsure })
    }
}

fn nothing_done(path: &Path, messages: Vec<Purged>) -> Result<Receipt> {
    let length = std::fs::metadata(path).map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })?;
    let sum = crate::store::purge::sum(path)?;
    Ok(Receipt {
        path: path.to_owned(),
        before: (sum, length.len()),
        after: (sum, length.len()),
        messages,
        previous: Vec::new(),
    })
}

fn render(
    key: &BackupKey,
    receipt: &Receipt,
    dry_run: bool,
    work: &Work<'_>,
    terminal: &Terminal<'_>,
) -> Json {
    let file = |(sha1, bytes): ([u8; 20], u64)| {
        Json::object()
            .with("sha1", Json::text(crate::store::member::hex(&sha1)))
            .with("bytes", Json::int(bytes))
    };
    let previous = receipt.previous.iter();
    let previous = previous.filter_map(|path| Json::os_text(path.as_os_str()));
    Json::object()
        .with("command", Json::text("purge"))
        .with("userid", Json::text(key.as_str()))
        .with("fname", Json::os_text(receipt.path.as_os_str()))
        .with("time", Json::text(terminal.time.show(work.site.clock.now)))
        .with(
            "done",
            Json::text(if dry_run { "no: dry run" } else { "yes" }),
        )
        .with("before", file(receipt.before))
        .with("after", file(receipt.after))
        .with(
            "messages",
            Json::Array(receipt.messages.iter().map(message).collect()),
        )
        .with("removed files", Json::Array(previous.collect()))
}

fn message(purged: &Purged) -> Json {
    let places = purged.places.iter().map(|(mboxname, uniqueid, uid)| {
        Json::object()
            .with("mboxname", Json::text(mboxname.as_str()))
            .with("uniqueid", Json::text(uniqueid.as_str()))
            .with("uid", Json::int(*uid))
    });
    Json::object()
        .with("guid", Json::text(purged.guid.to_string()))
        .with("size", purged.size.map(Json::int))
        .with("mailboxes", Json::Array(places.collect()))
}

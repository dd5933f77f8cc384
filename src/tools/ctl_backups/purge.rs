//! `purge`: messages go for good; the receipt says what and where they were.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::own_args::Purge;
use super::status;
use super::work::Work;
use crate::select::{Selection, find, find_unowned, unknown_mailbox};
use crate::store::purge::{Purge as How, Purged, Receipt, Unreadable, look, purge, refuse_damaged};
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
    match work.purge(&key, &selection, args) {
        Ok(done) => {
            let receipt = render(&key, &done.receipt, args.dry_run, work, terminal);
            writeln!(terminal.out, "{receipt}")?;
            conclude(&done, args, terminal)
        }
        Err(error) => {
            work.one("purge", &key, Err(error), terminal)?;
            Ok(exit::FAILED)
        }
    }
}

/// Says what the receipt leaves open; the exit code.
fn conclude(done: &Done, args: &Purge, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    let Done { receipt, unsure } = done;
    let mut code = exit::OK;
    let mut say = |text: String, counts: bool| {
        if counts {
            code = exit::FAILED;
        }
        terminal.complain(args.user.as_ref(), text)
    };
    for chunk in &receipt.unreadable.chunks {
        let verb = if args.dry_run { "goes" } else { "went" };
        let id = chunk.id.map_or("unknown".to_owned(), |id| id.to_string());
        let text = format!(
            "what cannot be read {verb} too: in chunk {id} at offset {}",
            chunk.offset
        );
        say(text, false)?;
    }
    if args.dry_run
        && !args.force
        && let Err(error) = refuse_damaged(&receipt.path, &receipt.unreadable)
    {
        say(format!("without -F: {error}"), true)?;
    }
    if *unsure > 0 {
        let text = format!(
            "of {unsure} messages nobody can tell whether they are meant, since they cannot be read"
        );
        say(text, true)?;
    }
    if !receipt.kept.is_empty() {
        let text = "nothing was found, so earlier versions stay into which nobody has looked (-F removes them)";
        say(text.to_owned(), true)?;
    }
    Ok(code)
}

struct Done {
    receipt: Receipt,
    /// Messages that may have been meant.
    unsure: usize,
}

impl Work<'_> {
    fn purge(&self, key: &BackupKey, selection: &Selection, args: &Purge) -> Result<Done> {
        let path = self.administer.path(key)?;
        let wait = self.administer.wait;
        if !args.dry_run {
            // What a crash left is to be found as well; and who may not, learns it before long work.
            drop(Rewrite::open(&path, wait)?);
        }
        let backup = Backup::open(&path, Lock::Shared { wait })?;
        if let Some(name) = unknown_mailbox(&backup, selection, &self.site.namespace)? {
            return Err(StoreError::NoSuchItem {
                item: format!("mailbox {name}"),
            });
        }
        let (guids, unsure) = self.meant(&backup, selection)?;
        let how = How {
            wait,
            force: args.force,
        };
        if args.dry_run {
            let receipt = look(&backup, &guids, how)?;
            return Ok(Done { receipt, unsure });
        }
        drop(backup);
        let receipt = take_out(&path, key, &guids, how)?;
        if receipt.unreadable.is_empty() {
            return Ok(Done { receipt, unsure });
        }
        // Now everything in it can be read, and looked at.
        let backup = Backup::open(&path, Lock::Shared { wait })?;
        let (guids, unsure) = self.meant(&backup, selection)?;
        drop(backup);
        let rest = take_out(&path, key, &guids, how)?;
        Ok(Done {
            receipt: receipt.and(rest),
            unsure,
        })
    }

    /// The messages that are selected, and how many may be.
    fn meant(&self, backup: &Backup, selection: &Selection) -> Result<(HashSet<Guid>, usize)> {
        let found = find(backup, selection, &self.site.namespace, false)?;
        let (unowned, damage) = find_unowned(backup, selection)?;
        let guids = found.hits.iter().map(|hit| hit.record.guid);
        let guids = guids.chain(unowned.iter().map(|row| row.guid)).collect();
        Ok((guids, found.unsure.len() + damage.len()))
    }
}

fn take_out(path: &Path, key: &BackupKey, guids: &HashSet<Guid>, how: How) -> Result<Receipt> {
    let bar = status::bar("purge", key.as_str());
    let receipt = purge(path, guids, how, &mut |at, all| {
        bar.set_length(all);
        bar.set_position(at);
    });
    bar.finish_and_clear();
    receipt
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
        .with("messages", messages(&receipt.messages))
        .with("unreadable", unreadable(&receipt.unreadable))
        .with("removed files", files(&receipt.previous))
        .with(
            "kept files",
            (!receipt.kept.is_empty()).then(|| files(&receipt.kept)),
        )
}

/// The key is there only when something could not be read.
fn unreadable(unreadable: &Unreadable) -> Option<Json> {
    let chunks = unreadable.chunks.iter().map(|chunk| {
        Json::object()
            .with("chunk", chunk.id.map(Json::int))
            .with("offset", Json::int(chunk.offset))
    });
    let object = Json::object()
        .with("chunks", Json::Array(chunks.collect()))
        .with("messages", messages(&unreadable.messages));
    (!unreadable.is_empty()).then_some(object)
}

fn files(paths: &[PathBuf]) -> Json {
    let names = paths.iter().map(|path| Json::os_text(path.as_os_str()));
    Json::Array(names.flatten().collect())
}

fn messages(messages: &[Purged]) -> Json {
    Json::Array(messages.iter().map(message).collect())
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

//! Restoring without a server: the messages of a plan as files. Each form skips what is there already, so a second
//! run adds only what is missing; what cannot be read from the backup is told and left out.

mod eml;
mod error;
mod form;
mod maildir;
mod mbox;
mod place;

use std::collections::HashMap;
use std::path::Path;

pub use error::FileError;
use form::Form;

use super::options::Files;
use super::plan::{LeftOut, Plan, Planned};
use super::progress::Progress;
use super::show::Summary;
use crate::store::Backup;
use crate::store::walk::Part;
use crate::types::{Guid, Namespace};

/// Writes the messages of the plan.
///
/// # Errors
/// The disk, or a backup that cannot be read at all.
pub fn write(
    plan: &Plan,
    backup: &Backup,
    files: &Files,
    namespace: &Namespace,
    quiet: bool,
    summary: &mut Summary,
) -> Result<(), FileError> {
    let mut forms: Vec<(Box<dyn Form>, &Path)> = Vec::new();
    if let Some(dir) = &files.to_maildir {
        forms.push((Box::new(maildir::Maildir::create(dir, namespace)?), dir));
    }
    if let Some(file) = &files.to_mbox {
        forms.push((Box::new(mbox::Mbox::create(file)?), place::above(file)));
    }
    if let Some(dir) = &files.to_eml {
        forms.push((Box::new(eml::Eml::create(dir, namespace)?), dir));
    }
    let progress = Progress::new(plan.size().1, quiet);
    for (mut form, dir) in forms {
        let disk = place::Disk::of(dir)?;
        write_form(plan, backup, &mut *form, &progress, summary)?;
        form.finish()?;
        disk.sync()?;
    }
    Ok(())
}

fn write_form(
    plan: &Plan,
    backup: &Backup,
    form: &mut dyn Form,
    progress: &Progress,
    summary: &mut Summary,
) -> Result<(), FileError> {
    for mailbox in &plan.mailboxes {
        progress.mailbox(&mailbox.target);
        let present = form.begin(&mailbox.target, &mailbox.records)?;
        let mut wanted: HashMap<Guid, Vec<&Planned>> = HashMap::new();
        for (record, present) in mailbox.records.iter().zip(present) {
            match present {
                true => summary.present += 1,
                // Expunged ones are nobody's mail; those that were asked for are not called so.
                false if record.expunged => {}
                false => wanted.entry(record.guid).or_default().push(record),
            }
        }
        let before = summary.messages;
        write_mailbox(&mailbox.target, wanted, backup, form, progress, summary)?;
        summary.filled += usize::from(summary.messages > before);
    }
    Ok(())
}

fn write_mailbox(
    name: &str,
    wanted: HashMap<Guid, Vec<&Planned>>,
    backup: &Backup,
    form: &mut dyn Form,
    progress: &Progress,
    summary: &mut Summary,
) -> Result<(), FileError> {
    let mut rows = Vec::with_capacity(wanted.len());
    for guid in wanted.keys() {
        rows.extend(backup.index().message(guid)?);
    }
    let mut failed = None;
    backup.each_message(rows, Part::Whole, &mut |row, octets| {
        let records = wanted.get(&row.guid).map(Vec::as_slice).unwrap_or_default();
        let octets = match octets {
            Ok(octets) => octets,
            Err(error) => {
                summary.failed.push(LeftOut {
                    what: format!("{name}: message {}", row.guid),
                    why: error.detail().to_owned(),
                });
                return true;
            }
        };
        for record in records {
            if let Err(error) = form.put(name, record, octets) {
                failed = Some(error);
                return false;
            }
            summary.messages += 1;
            summary.octets += octets.len() as u64;
            progress.add(octets.len() as u64);
        }
        true
    })?;
    failed.map_or(Ok(()), Err)
}

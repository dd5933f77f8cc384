//! `find`: which messages are there, by what people know about them.

use super::own_args::{Find, Line};
use super::{Failure, Look};
use crate::select::{Found, Hit, find, unknown_mailbox};
use crate::tools::Site;
use crate::tools::render::Json;
use crate::tools::terminal::Terminal;
use crate::types::MboxName;

pub(super) fn run(
    look: &Look<'_>,
    args: &Find,
    line: &Line,
    site: &Site,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let selection = args.select.selection(look.namespace, &site.clock);
    let selection = selection.map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(name) = unknown_mailbox(look.backup, &selection, look.namespace)? {
        return Err(Failure::NoMailbox(name.to_owned()));
    }
    let Found {
        hits,
        unsure,
        damage,
    } = find(look.backup, &selection, look.namespace, true)?;
    match args.json {
        true => {
            let objects = hits.iter().map(|hit| look.object(hit, terminal)).collect();
            writeln!(terminal.out, "{}", Json::Array(objects))?;
        }
        false => {
            for hit in &hits {
                look.print_hit(hit, terminal)?;
            }
        }
    }
    for error in &damage {
        line.complain(error, terminal)?;
    }
    match (unsure.len(), damage.len()) {
        (0, 0) => Ok(()),
        (0, damaged) => Err(Failure::Unread(damaged)),
        (unsure, _) => Err(Failure::Unsure(unsure)),
    }
}

impl Look<'_> {
    fn print_hit(&self, hit: &Hit, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let header = hit.header.as_ref();
        let subject = header.and_then(|header| header.get("subject"));
        writeln!(
            terminal.out,
            "{}\t{}\t{}\t{}\t{}\t{}",
            hit.record.guid,
            self.external(&hit.mailbox.mboxname),
            hit.record.uid,
            terminal.time.show(hit.record.internaldate),
            state(hit),
            subject.unwrap_or_default(),
        )?;
        Ok(())
    }

    fn object(&self, hit: &Hit, terminal: &Terminal<'_>) -> Json {
        let record = &hit.record;
        let time = |seconds: i64| Json::text(terminal.time.show(seconds));
        let flags = record.flags.trim_matches(['(', ')']).split(' ');
        let flags = flags.filter(|flag| !flag.is_empty()).map(Json::text);
        let mut object = Json::object()
            .with("guid", Json::text(record.guid.to_string()))
            .with("mailbox", Json::text(self.external(&hit.mailbox.mboxname)))
            .with("uniqueid", Json::text(hit.mailbox.uniqueid.clone()))
            .with("uid", Json::int(record.uid))
            .with("internaldate", time(record.internaldate))
            .with("size", record.size.map(Json::int))
            .with("flags", Json::Array(flags.collect()))
            .with("expunged", record.expunged.map(time))
            .with("deleted", hit.deleted.map(time));
        let Some(header) = &hit.header else {
            return object;
        };
        object = object.with("date", header.date.map(time));
        for name in ["from", "to", "cc", "bcc", "subject", "message-id"] {
            object = object.with(name, header.get(name).map(Json::text));
        }
        object
    }

    /// A mailbox as it is typed. What only a damaged index can hold is shown as far as it is text.
    fn external(&self, mboxname: &str) -> String {
        match MboxName::new(mboxname) {
            Ok(name) => name.to_external(self.namespace),
            Err(_) => mboxname.replace(char::is_control, "?"),
        }
    }
}

fn state(hit: &Hit) -> &'static str {
    match (hit.record.expunged.is_some(), hit.deleted.is_some()) {
        (false, false) => "live",
        (true, false) => "expunged",
        (false, true) => "deleted",
        (true, true) => "expunged,deleted",
    }
}

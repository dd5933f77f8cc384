//! `json chunks|mailboxes|messages|headers`.

use std::ffi::OsString;

use super::show::known_guids;
use super::{Failure, Look, headers};
use crate::tools::render::Json;
use crate::tools::terminal::Terminal;

impl Look<'_> {
    pub(super) fn json_chunks(&self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let chunk = |(chunk, ratio): (crate::store::ChunkRow, f64)| {
            Json::object()
                .with("id", Json::int(chunk.id))
                .with("offset", Json::int(chunk.offset))
                .with("length", Json::int(chunk.length.unwrap_or(0)))
                .with("ratio", Json::real(ratio))
                .with("start time", Json::text(terminal.time.show(chunk.ts_start)))
                .with(
                    "end time",
                    Json::text(terminal.time.show(chunk.ts_end.unwrap_or(0))),
                )
        };
        let chunks = self.chunks()?.into_iter().map(chunk).collect();
        print(&Json::Array(chunks), terminal)
    }

    pub(super) fn json_mailboxes(&self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let mut array = Vec::new();
        for mailbox in self.backup.index().mailboxes()? {
            let mut messages = Vec::new();
            for record in self.records(mailbox.id)? {
                let expunged = record.expunged.map(|t| Json::text(terminal.time.show(t)));
                let object = Json::object()
                    .with("uid", Json::int(record.uid))
                    .with("guid", Json::text(record.guid.to_string()))
                    .with("expunged", expunged);
                messages.push(object);
            }
            let time = terminal.time.show(mailbox.last_appenddate);
            let object = Json::object()
                .with("uniqueid", Json::text(mailbox.uniqueid))
                .with("mboxname", Json::text(mailbox.mboxname))
                .with("last_appenddate", Json::text(time))
                .with("messages", non_empty(messages));
            array.push(object);
        }
        print(&Json::Array(array), terminal)
    }

    pub(super) fn json_messages(&self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let mut array = Vec::new();
        for message in self.backup.index().messages()? {
            let mailboxes = self.backup.index().mailboxes_of_message(message.id)?;
            let mailboxes = mailboxes.into_iter().map(|mailbox| {
                Json::object()
                    .with("uniqueid", Json::text(mailbox.uniqueid))
                    .with("mboxname", Json::text(mailbox.mboxname))
            });
            let object = Json::object()
                .with("guid", Json::text(message.guid.to_string()))
                .with("mailboxes", non_empty(mailboxes.collect()));
            array.push(object);
        }
        print(&Json::Array(array), terminal)
    }

    pub(super) fn json_headers(
        &self,
        guids: &[OsString],
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let mut messages: Vec<(String, Json)> = Vec::new();
        for guid in known_guids(guids) {
            let key = guid.to_string();
            if messages.iter().any(|(known, _)| *known == key)
                || !self.backup.index().has_message(&guid)?
            {
                continue;
            }
            let octets = self.backup.read_message(&guid)?;
            messages.push((key, header_object(&octets)));
        }
        print(&Json::Object(messages), terminal)
    }
}

/// Field name → its values. What is not UTF-8 cannot stand in JSON and is left out, as in C.
fn header_object(message: &[u8]) -> Json {
    let mut names: Vec<(String, Json)> = Vec::new();
    for (name, value) in headers::fields(message) {
        let Ok(name) = String::from_utf8(name) else {
            continue;
        };
        let at = names
            .iter()
            .position(|(known, _)| *known == name)
            .unwrap_or_else(|| {
                names.push((name, Json::Array(Vec::new())));
                names.len() - 1
            });
        if let (Json::Array(values), Ok(value)) = (&mut names[at].1, String::from_utf8(value)) {
            values.push(Json::Text(value));
        }
    }
    Json::Object(names)
}

fn non_empty(items: Vec<Json>) -> Option<Json> {
    (!items.is_empty()).then_some(Json::Array(items))
}

fn print(json: &Json, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    writeln!(terminal.out, "{json}")?;
    Ok(())
}

//! The texts of a verification, C's where C has one (spec: ondisk 7.2 "Verbose text").

use std::fmt;
use std::io::{self, Write};

use crate::store::verify::{ChunkReport, Damage, Finding, Level, Place, Stage};
use crate::tools::render::Json;

/// Prints the reports of chunks.
#[derive(Debug, Clone, Copy)]
pub struct FindingPrinter {
    /// Which steps to name: 0 none, 1 three per chunk, 2 also those of the checksums.
    pub verbose: u8,
    /// Print all findings of a chunk; otherwise those of its first bad step.
    pub keep_going: bool,
    /// Which steps there are.
    pub level: Level,
    /// After the findings of a chunk, say whose they are.
    pub details: bool,
}

/// The steps that `-v` names, and what they consist of.
const STEPS: [(&str, &[Stage]); 3] = [
    (
        "checksums",
        &[Stage::FileChecksum, Stage::DataLength, Stage::DataChecksum],
    ),
    ("messages", &[Stage::Messages]),
    ("mailbox links", &[Stage::Links, Stage::Own]),
];

impl FindingPrinter {
    /// Prints what was done and found in a chunk.
    pub fn print(&self, report: &ChunkReport, out: &mut dyn Write) -> io::Result<()> {
        self.print_steps(report, out)?;
        self.print_details(&report.findings, out)
    }

    /// Prints what was found at the end.
    pub fn print_late(&self, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", Long(finding))?;
        self.print_details(std::slice::from_ref(finding), out)
    }

    fn print_details(&self, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
        if !self.details {
            return Ok(());
        }
        details(findings).try_for_each(|finding| writeln!(out, "{}", Detail(finding)))
    }

    fn print_steps(&self, report: &ChunkReport, out: &mut dyn Write) -> io::Result<()> {
        let steps = if self.level == Level::Quick {
            &STEPS[..1]
        } else {
            &STEPS[..]
        };
        for (step, stages) in steps {
            if self.verbose > 0 {
                writeln!(out, "checking chunk {} {step}...", report.chunk)?;
            }
            let good = self.print_step(report, stages, out)?;
            if self.verbose > 0 {
                writeln!(out, "{}", if good { "ok" } else { "error" })?;
            }
            if !good && !self.keep_going {
                return Ok(());
            }
        }
        Ok(())
    }

    fn print_step(
        &self,
        report: &ChunkReport,
        stages: &[Stage],
        out: &mut dyn Write,
    ) -> io::Result<bool> {
        let mut good = true;
        for stage in stages {
            match stage {
                Stage::FileChecksum => self.detail("checking file checksum...", out)?,
                Stage::DataLength => self.detail("checking data length", out)?,
                Stage::DataChecksum => self.detail("checking data checksum...", out)?,
                Stage::Messages | Stage::Links | Stage::Own => {}
            }
            for finding in report.findings.iter().filter(|f| f.stage() == *stage) {
                writeln!(out, "{}", Long(finding))?;
                good = false;
            }
            if !good && !self.keep_going {
                break;
            }
        }
        Ok(good)
    }

    fn detail(&self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        if self.verbose > 1 {
            writeln!(out, "  {text}")
        } else {
            Ok(())
        }
    }
}

/// The line about a finding.
struct Long<'a>(&'a Finding);

impl fmt::Display for Long<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            chunk,
            offset,
            damage,
        } = self.0;
        let offset = offset.unwrap_or(0);
        match damage {
            Damage::Overlap => write!(
                f,
                "chunk {chunk} at offset {offset} starts inside the chunk before it"
            ),
            Damage::FileChecksum { disk, index } => write!(
                f,
                "file checksum mismatch for chunk {chunk}: {disk} on disk, {index} in index"
            ),
            Damage::DataLength { disk, index } => write!(
                f,
                "data length mismatch for chunk {chunk}: {disk} on disk,{index} in index"
            ),
            Damage::DataChecksum { disk, index } => write!(
                f,
                "data checksum mismatch for chunk {chunk}: {disk} on disk, {index} in index"
            ),
            Damage::Unreadable { byte, reason } | Damage::Line { byte, reason } => write!(
                f,
                "error reading chunk {chunk} data at offset {offset}, byte {byte}: {reason}"
            ),
            Damage::MessageMissing { message } => write!(
                f,
                "message {} ({}) is not in the line at byte {} of chunk {chunk}",
                message.id, message.guid, message.byte
            ),
            Damage::MessageGuid { message, .. } => {
                write!(f, "guid mismatch for message {}", message.id)
            }
            Damage::MessageSize {
                message,
                disk,
                index,
            } => write!(
                f,
                "size mismatch for message {}: {disk} on disk, {index} in index",
                message.id
            ),
            Damage::Mailbox { mailbox } => write!(
                f,
                "chunk {chunk} missing mailbox data for {} ({})",
                mailbox.uniqueid, mailbox.mboxname
            ),
            Damage::Record { place, .. } => write!(
                f,
                "chunk {chunk} missing mailbox_message data for {} uid {}",
                place.mailbox.uniqueid, place.uid
            ),
            Damage::NoChunk { rows } => write!(
                f,
                "chunk {chunk} is not in the index, but {rows} rows refer to it"
            ),
            Damage::NoBody { place, guid } => write!(
                f,
                "message {guid} of {} uid {} never came",
                place.mailbox.uniqueid, place.uid
            ),
            Damage::SeekPoint { byte, file_offset } => write!(
                f,
                "byte {byte} of chunk {chunk} is not found from offset {file_offset}"
            ),
            Damage::Behind { octets } => write!(
                f,
                "{octets} bytes behind chunk {chunk}, at offset {offset}, are not in the index"
            ),
            Damage::SavedHash => write!(
                f,
                "the state of the file checksum behind chunk {chunk} is not the file's"
            ),
        }
    }
}

/// The findings that say what is hit: messages, records, mailboxes; without those, the chunk's
/// first.
pub fn details(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    let is_named = |finding: &&Finding| {
        let damage = &finding.damage;
        damage.message().is_some()
            || matches!(
                damage,
                Damage::Mailbox { .. } | Damage::Record { .. } | Damage::NoBody { .. }
            )
    };
    let named = findings.iter().filter(is_named);
    let only_chunk = named.clone().next().is_none();
    named.chain(findings.iter().take(usize::from(only_chunk)))
}

/// Ours beside C's line: chunk, offset, byte, guid, mailbox and UID of what is hit.
struct Detail<'a>(&'a Finding);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        write!(f, "  damaged: chunk {}", finding.chunk)?;
        if let Some(offset) = finding.offset {
            write!(f, " at offset {offset}")?;
        }
        match &finding.damage {
            Damage::Unreadable { byte, .. } | Damage::Line { byte, .. } => {
                write!(f, ", byte {byte}")
            }
            Damage::Mailbox { mailbox } => {
                write!(f, ": mailbox {} {}", mailbox.mboxname, mailbox.uniqueid)
            }
            Damage::Record { place, guid } | Damage::NoBody { place, guid } => {
                write!(f, ": record of {guid}, ")?;
                print_place(f, place)
            }
            damage => match damage.message() {
                None => Ok(()),
                Some(message) => {
                    write!(f, ", byte {}: message {}", message.byte, message.guid)?;
                    message.places.iter().try_for_each(|place| {
                        f.write_str(", ")?;
                        print_place(f, place)
                    })
                }
            },
        }
    }
}

fn print_place(f: &mut fmt::Formatter<'_>, place: &Place) -> fmt::Result {
    write!(f, "{} uid {}", place.mailbox.mboxname, place.uid)
}

/// The same facts as an object.
pub fn detail_json(finding: &Finding) -> Json {
    let json = Json::object()
        .with("reason", Json::text(short(finding)))
        .with("chunk", Json::int(finding.chunk))
        .with("offset", finding.offset.map(Json::int));
    let place = |place: &Place| {
        Json::object()
            .with("uniqueid", Json::text(&place.mailbox.uniqueid))
            .with("mboxname", Json::text(&place.mailbox.mboxname))
            .with("uid", Json::int(place.uid))
    };
    match &finding.damage {
        Damage::Unreadable { byte, .. } | Damage::Line { byte, .. } => {
            json.with("byte", Json::int(*byte))
        }
        Damage::Mailbox { mailbox } => json
            .with("uniqueid", Json::text(&mailbox.uniqueid))
            .with("mboxname", Json::text(&mailbox.mboxname)),
        Damage::Record { place: at, guid } | Damage::NoBody { place: at, guid } => json
            .with("guid", Json::text(guid.to_string()))
            .with("mailboxes", Json::Array(vec![place(at)])),
        damage => match damage.message() {
            None => json,
            Some(message) => {
                let places = message.places.iter().map(place).collect();
                json.with("byte", Json::int(message.byte))
                    .with("guid", Json::text(message.guid.to_string()))
                    .with("mailboxes", Json::Array(places))
            }
        },
    }
}

/// What failed, for `failed (…)`.
pub fn short(finding: &Finding) -> &'static str {
    match &finding.damage {
        Damage::Overlap => "overlapping chunks",
        Damage::FileChecksum { .. } => "file checksum mismatch",
        Damage::Unreadable { .. } => "unreadable chunk",
        Damage::DataLength { .. } => "data length mismatch",
        Damage::DataChecksum { .. } => "data checksum mismatch",
        Damage::Line { .. } => "unreadable line",
        Damage::MessageMissing { .. } => "missing message",
        Damage::MessageGuid { .. } => "guid mismatch",
        Damage::MessageSize { .. } => "message size mismatch",
        Damage::Mailbox { .. } => "missing mailbox data",
        Damage::Record { .. } => "missing mailbox_message data",
        Damage::NoChunk { .. } => "missing chunk",
        Damage::NoBody { .. } => "missing message",
        Damage::SeekPoint { .. } => "wrong seek point",
        Damage::Behind { .. } => "bytes behind the last chunk",
        Damage::SavedHash => "wrong state of the file checksum",
    }
}

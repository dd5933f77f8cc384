//! The texts of a verification, C's where C has one (spec: ondisk 7.2 "Verbose text").

use std::fmt;
use std::io::{self, Write};

use crate::store::verify::{ChunkReport, Finding, Level, Stage};

/// Prints the reports of chunks.
#[derive(Debug, Clone, Copy)]
pub struct FindingPrinter {
    /// Which steps to name: 0 none, 1 three per chunk, 2 also those of the checksums.
    pub verbose: u8,
    /// Print all findings of a chunk; otherwise those of its first bad step.
    pub keep_going: bool,
    /// Which steps there are.
    pub level: Level,
}

/// The steps that `-v` names, and what they consist of.
const STEPS: [(&str, &[Stage]); 3] = [
    (
        "checksums",
        &[Stage::FileChecksum, Stage::DataLength, Stage::DataChecksum],
    ),
    ("messages", &[Stage::Messages]),
    ("mailbox links", &[Stage::Links]),
];

impl FindingPrinter {
    /// Prints what was done and found in a chunk.
    pub fn print(&self, report: &ChunkReport, out: &mut dyn Write) -> io::Result<()> {
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
                Stage::Messages | Stage::Links => {}
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
pub struct Long<'a>(pub &'a Finding);

impl fmt::Display for Long<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Finding::Overlap { chunk, offset } => {
                write!(
                    f,
                    "chunk {chunk} at offset {offset} starts inside the chunk before it"
                )
            }
            Finding::FileChecksum { chunk, disk, index } => {
                write!(
                    f,
                    "file checksum mismatch for chunk {chunk}: {disk} on disk, {index} in index"
                )
            }
            Finding::DataLength { chunk, disk, index } => {
                write!(
                    f,
                    "data length mismatch for chunk {chunk}: {disk} on disk,{index} in index"
                )
            }
            Finding::DataChecksum { chunk, disk, index } => {
                write!(
                    f,
                    "data checksum mismatch for chunk {chunk}: {disk} on disk, {index} in index"
                )
            }
            Finding::Unreadable {
                chunk,
                offset,
                byte,
                reason,
            }
            | Finding::Line {
                chunk,
                offset,
                byte,
                reason,
            } => write!(
                f,
                "error reading chunk {chunk} data at offset {offset}, byte {byte}: {reason}"
            ),
            Finding::MessageMissing {
                chunk,
                message,
                guid,
                byte,
            } => write!(
                f,
                "message {message} ({guid}) is not in the line at byte {byte} of chunk {chunk}"
            ),
            Finding::MessageGuid { message, .. } => {
                write!(f, "guid mismatch for message {message}")
            }
            Finding::MessageSize {
                message,
                disk,
                index,
                ..
            } => {
                write!(
                    f,
                    "size mismatch for message {message}: {disk} on disk, {index} in index"
                )
            }
            Finding::Mailbox {
                chunk,
                uniqueid,
                mboxname,
            } => {
                write!(
                    f,
                    "chunk {chunk} missing mailbox data for {uniqueid} ({mboxname})"
                )
            }
            Finding::Record {
                chunk,
                uniqueid,
                uid,
            } => {
                write!(
                    f,
                    "chunk {chunk} missing mailbox_message data for {uniqueid} uid {uid}"
                )
            }
            Finding::NoChunk { chunk, rows } => {
                write!(
                    f,
                    "chunk {chunk} is not in the index, but {rows} rows refer to it"
                )
            }
        }
    }
}

/// What failed, for `failed (…)`.
pub fn short(finding: &Finding) -> &'static str {
    match finding {
        Finding::Overlap { .. } => "overlapping chunks",
        Finding::FileChecksum { .. } => "file checksum mismatch",
        Finding::Unreadable { .. } => "unreadable chunk",
        Finding::DataLength { .. } => "data length mismatch",
        Finding::DataChecksum { .. } => "data checksum mismatch",
        Finding::Line { .. } => "unreadable line",
        Finding::MessageMissing { .. } => "missing message",
        Finding::MessageGuid { .. } => "guid mismatch",
        Finding::MessageSize { .. } => "message size mismatch",
        Finding::Mailbox { .. } => "missing mailbox data",
        Finding::Record { .. } => "missing mailbox_message data",
        Finding::NoChunk { .. } => "missing chunk",
    }
}

//! After login: fragments become line text and staged bodies, lines become replies.
//!
//! Whatever is wrong with a line, it is consumed to its end, literals and files included, and gets one
//! reply; nothing of a bad line can be taken for the next command. The text of a line that cannot be a
//! command is not kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::line::Line;
use super::refusals::Refusals;
use super::service::Service;
use super::settings::Settings;
use super::staging::{Arrival, Staging};
use super::step::{Next, OUTPUT_LIMIT, compress};
use super::tally::Tally;
use super::verb::{self, UNRECOGNIZED};
use crate::csync::command::{Apply, Command, CommandError, parse_command};
use crate::csync::dlist::FileRef;
use crate::csync::fragment::{Fragment, Fragmenter, Limits};
use crate::csync::response::{Code, Reply};

/// Longest text of a command other than MAILBOX, which is the one that is parsed piecemeal. RESERVE
/// names each mailbox of a user and 8193 GUIDs, some megabytes at most (spec: csync 2.6).
const LINE_LIMIT: u64 = 64 << 20;

/// So much of a refused command goes to the log.
const LOGGED: usize = 120;

/// The command loop of one administrator.
pub(crate) struct Commands {
    fragmenter: Fragmenter,
    line: Line,
    staging: Staging,
    service: Box<dyn Service>,
    mailbox_line_limit: u64,
    staging_limit: u64,
    /// Octets that came since the staging was empty.
    staged: u64,
    settings: Arc<Settings>,
    /// Wait so long before the reply leaves.
    delay: Duration,
    /// The first word of the line is one we know.
    known: bool,
    /// The reply to this line is settled; its text is no longer kept.
    settled: Option<Reply>,
    /// The service has been asked something since it was idle.
    active: bool,
    tally: Tally,
}

impl Commands {
    pub(crate) fn new(settings: &Arc<Settings>) -> Commands {
        let path = settings.staging_path.clone();
        let budget = Arc::clone(&settings.staging_budget);
        let disk = Arc::clone(&settings.staging_disk);
        Commands {
            fragmenter: Fragmenter::new(Limits {
                token: settings.token_limit,
                ..Limits::default()
            }),
            line: Line::new(path.clone()),
            staging: Staging::new(path, settings.staging_memory, budget, disk),
            settings: Arc::clone(settings),
            delay: Duration::ZERO,
            service: (settings.services)(),
            mailbox_line_limit: settings.line_limit,
            staging_limit: settings.staging_limit,
            staged: 0,
            known: false,
            settled: None,
            active: false,
            tally: Tally::new(&settings.metrics),
        }
    }

    /// Takes fragments off `input` until a line asks for something that the caller does, or until much
    /// output waits.
    pub(crate) fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>, compressed: bool) -> Next {
        loop {
            match self.fragmenter.next(input) {
                Ok(None) => return Next::Read,
                Ok(Some(Fragment::Text(text))) => self.text(text),
                Ok(Some(Fragment::FileStart(file))) => self.file(file),
                Ok(Some(Fragment::FileData(octets))) => {
                    if let Err(error) = self.staging.push(octets) {
                        self.storage_failed(&error);
                    }
                }
                Ok(Some(Fragment::FileEnd)) => self.file_end(),
                Ok(Some(Fragment::EndOfLine)) => {
                    let next = self.end_of_line(out, compressed);
                    if next != Next::Read || out.len() >= OUTPUT_LIMIT {
                        return next;
                    }
                }
                Err(error) => {
                    tracing::warn!("malformed command: {error}");
                    self.settle_bad(format!(
                        "IMAP_PROTOCOL_ERROR Failed to parse line: {}",
                        error.rule
                    ));
                    self.fragmenter.resync();
                }
            }
        }
    }

    /// How long the replies so far shall wait; asked once.
    pub(crate) fn take_delay(&mut self) -> Duration {
        std::mem::take(&mut self.delay)
    }

    pub(crate) fn idle(&mut self) {
        self.line.shrink();
        if std::mem::take(&mut self.active) {
            self.service.idle();
            self.tally.worked(self.service.take_work());
        }
    }

    /// The end; gives what the session came to.
    pub(crate) fn close(mut self) -> Tally {
        self.service.close();
        self.tally.worked(self.service.take_work());
        self.tally
    }

    fn text(&mut self, text: &[u8]) {
        if self.settled.is_some() {
            return;
        }
        if let Err(error) = self.line.push(text) {
            return self.storage_failed(&error);
        }
        if !self.known {
            match verb::judge_early(self.line.head()) {
                Some(Ok(())) => self.known = true,
                Some(Err(text)) => return self.settle(Reply::Bad(text.to_owned())),
                None => {}
            }
        }
        if self.line.len() > LINE_LIMIT && self.line.len() > self.line_limit() {
            self.settle_bad("IMAP_PROTOCOL_ERROR Line too long".to_owned());
        }
    }

    fn line_limit(&self) -> u64 {
        let head = self.line.head();
        let is_mailbox = |start: &[u8]| starts_with(head, start);
        if is_mailbox(b"APPLY MAILBOX ") || is_mailbox(b"APPLY LOCAL_MAILBOX ") {
            self.mailbox_line_limit
        } else {
            LINE_LIMIT
        }
    }

    fn file(&mut self, file: FileRef) {
        if !starts_with(self.line.head(), b"APPLY MESSAGE ") {
            let text = "file literal outside of APPLY MESSAGE".to_owned();
            self.settle(Reply::No(Code::BadParameters, text));
        } else if self.is_too_much(file.size) {
            let text = "Too much is staged on this connection".to_owned();
            tracing::warn!(
                "more than backup_staging_limit is staged: refusing {}",
                file.guid
            );
            self.settle(Reply::No(Code::MailboxLocked, text));
        } else if let Err(error) = self.staging.begin(file.guid, file.partition, file.size) {
            self.storage_failed(&error);
        }
    }

    /// Counts a body, unless it would be above the limit.
    fn is_too_much(&mut self, size: u64) -> bool {
        if self.staging.is_empty() {
            self.staged = 0;
        }
        let staged = self.staged.saturating_add(size);
        let is_too_much = self.staging_limit > 0 && staged > self.staging_limit;
        if !is_too_much {
            self.staged = staged;
        }
        is_too_much
    }

    fn file_end(&mut self) {
        if let Arrival::GuidMismatch { stated, found } = self.staging.finish() {
            tracing::error!("guid mismatch: header {stated}, derived {found}");
            let text = format!("guid mismatch: {stated} is {found}");
            self.settle(Reply::No(Code::ProtocolError, text));
        }
    }

    /// The disk is full or broken: the client shall come back later, which LOCKED makes it do (spec:
    /// csync 3.2).
    fn storage_failed(&mut self, error: &io::Error) {
        tracing::error!("IOERROR: staging failed: syserror={error}");
        let text = "Server cannot stage the command now".to_owned();
        self.settle(Reply::No(Code::MailboxLocked, text));
    }

    /// The first complaint wins, except that a line whose syntax is broken was not understood at all.
    fn settle(&mut self, reply: Reply) {
        self.settled.get_or_insert(reply);
    }

    fn settle_bad(&mut self, text: String) {
        self.settled = Some(Reply::Bad(text));
    }

    fn end_of_line(&mut self, out: &mut Vec<u8>, compressed: bool) -> Next {
        let next = match self.settled.take() {
            Some(reply) => {
                self.tally.replied(&reply);
                reply.write(out);
                Next::Read
            }
            None => self.execute(out, compressed),
        };
        self.line.clear();
        self.known = false;
        next
    }

    fn execute(&mut self, out: &mut Vec<u8>, compressed: bool) -> Next {
        let text = match self.line.text() {
            Ok(text) => text,
            Err(error) => {
                self.storage_failed(&error);
                return self.end_of_line(out, compressed);
            }
        };
        self.active = true;
        if let Err(text) = verb::judge(&text) {
            return self.refuse(&Reply::Bad(text.to_owned()), out);
        }
        let command = match parse_command(&text) {
            Ok(command) => command,
            Err(error) => return self.refuse(&refusal(&error), out),
        };
        let answer = match command {
            Command::Noop => Reply::Ok("Noop completed".to_owned()),
            Command::Get(get) => {
                let reply = noted(self.service.get(get, out), &text);
                self.tally.replied(&reply);
                self.tally.worked(self.service.take_work());
                self.delay += slowed(&self.settings.refusals, &reply, &text);
                reply
            }
            Command::Apply(apply) => {
                let service = self.service.as_mut();
                let reply = noted(carry_out(service, &mut self.staging, apply, out), &text);
                self.tally.replied(&reply);
                self.tally.worked(self.service.take_work());
                self.delay += slowed(&self.settings.refusals, &reply, &text);
                reply
            }
            Command::Restart => {
                let answer = self.service.restart();
                self.tally.worked(self.service.take_work());
                self.staging.clear();
                answer
            }
            // The session closes, and so commits, before the reply leaves.
            Command::Exit => {
                Reply::Ok("Finished".to_owned()).write(out);
                return Next::Close;
            }
            Command::Compress(algorithm) => return compress(&algorithm, compressed, out),
            Command::Authenticate { .. } => Reply::Bad("Already authenticated".to_owned()),
            Command::Starttls | Command::Restore { .. } | Command::Unknown(_) | Command::Empty => {
                Reply::Bad(UNRECOGNIZED.to_owned())
            }
        };
        answer.write(out);
        Next::Read
    }
}

impl Commands {
    /// What was not understood.
    fn refuse(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Next {
        self.tally.replied(reply);
        reply.write(out);
        Next::Read
    }
}

/// What is settled without the store, the store for the rest.
fn carry_out(
    service: &mut dyn Service,
    staging: &mut Staging,
    apply: Apply<'_>,
    out: &mut Vec<u8>,
) -> Reply {
    let success = Reply::Ok("Success".to_owned());
    match apply {
        // The files are staged by now; those that were not what they claim have settled the line.
        Apply::Message(_) | Apply::Force => success,
        Apply::Capabilities(_) => {
            out.extend_from_slice(b"* ENABLED ()\r\n");
            success
        }
        Apply::Unknown(name) => {
            let name = name.escape_default();
            tracing::error!("IOERROR: received bad command: command=<APPLY {name}>");
            Reply::No(Code::ProtocolError, "Unknown command".to_owned())
        }
        apply => service.apply(apply, staging, out),
    }
}

/// Logs a refusal with the beginning of its command: the client's own log says hardly more than that
/// its run failed. That something does not exist is an everyday answer.
fn noted(reply: Reply, text: &[u8]) -> Reply {
    let (no, code) = match &reply {
        Reply::Ok(_) => return reply,
        Reply::No(code, no) => (no, code.word().unwrap_or_default()),
        Reply::Bad(no) | Reply::Bye(no) => (no, ""),
    };
    let head = &text[..text.len().min(LOGGED)];
    let (head, no) = (head.escape_ascii(), no.escape_debug());
    match &reply {
        Reply::No(Code::MailboxNonexistent, _) => tracing::debug!("refused {code} {no}: {head}"),
        _ => tracing::warn!("refused {code} {no}: {head}"),
    }
    reply
}

/// How long a reply waits, because its command is refused again and again.
fn slowed(refusals: &Refusals, reply: &Reply, text: &[u8]) -> Duration {
    match reply {
        Reply::Ok(_) => refusals.done(text),
        Reply::No(Code::MailboxNonexistent, _) => {}
        _ => return refusals.refused(text),
    }
    Duration::ZERO
}

/// A line that does not parse is `BAD`, one that parses into nonsense is a `NO` the client knows.
fn refusal(error: &CommandError) -> Reply {
    tracing::warn!("refused command: {}", error.to_string().escape_debug());
    match error {
        CommandError::BadParameters { .. } => Reply::No(Code::BadParameters, error.to_string()),
        CommandError::Syntax { .. } => Reply::Bad(format!("IMAP_PROTOCOL_ERROR {error}")),
        _ => Reply::Bad(error.to_string()),
    }
}

fn starts_with(head: &[u8], start: &[u8]) -> bool {
    head.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

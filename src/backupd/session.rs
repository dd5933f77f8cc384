//! One connection as a machine: bytes in, reply bytes out; no socket, no clock, no thread.
//!
//! A session starts as a stranger's (short lines, login), becomes an administrator's (commands on the
//! store) or a refused user's (everything denied, then hung up on). Each line gets its reply in order.
//! It never sends untagged lines of its own accord: they would fail the client's command (spec: csync
//! 3.1).

use std::sync::Arc;
use std::time::Duration;

use super::auth::{Identity, Shield};
use super::commands::Commands;
use super::login::{Answer, Exchange, ShortLine, ShortLines};
use super::peer::Peer;
use super::settings::Settings;
use super::step::{Next, OUTPUT_LIMIT, Step, compress, reply};
use super::tally::Tally;
use super::verb::{self, UNRECOGNIZED};
use crate::csync::command::{Command, CommandError, parse_command};

/// Octets a stranger may send in all; a login needs some hundred.
const STRANGER_LIMIT: u64 = 4 << 20;
/// Failed logins per connection.
const FAILED_LOGINS: u32 = 10;
/// Commands answered with `NO Permission denied` before hanging up.
const DENIALS: u32 = 3;

/// One peer's session.
pub struct Session {
    settings: Arc<Settings>,
    peer: Peer,
    phase: Phase,
    shield: Shield,
    compressed: bool,
    delay: Duration,
    /// Who has logged in.
    user: Option<String>,
    /// What the session came to, once it is over.
    tally: Option<Tally>,
}

enum Phase {
    Stranger(Stranger),
    Refused { lines: ShortLines, left: u32 },
    Admin(Box<Commands>),
    Over,
}

#[derive(Default)]
struct Stranger {
    lines: ShortLines,
    exchange: Option<Exchange>,
    received: u64,
    failed: u32,
    spoke: bool,
}

impl Session {
    /// A session that has said nothing yet.
    pub fn new(settings: Arc<Settings>, peer: Peer) -> Session {
        let (phase, user) = match peer {
            Peer::Address(_) => (Phase::Stranger(Stranger::default()), None),
            Peer::Trusted => {
                let commands = Box::new(Commands::new(&settings));
                (Phase::Admin(commands), Some(settings.trusted_user.clone()))
            }
        };
        Session {
            settings,
            peer,
            phase,
            shield: Shield::default(),
            compressed: false,
            delay: Duration::ZERO,
            user,
            tally: None,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who has logged in.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What an administrator's session came to, once it is over.
    pub(crate) fn tally(&self) -> Option<&Tally> {
        self.tally.as_ref()
    }

    /// The banner (spec: csync 1.2); a trusted peer gets no capabilities, as from C.
    pub fn greet(&mut self, out: &mut Vec<u8>) {
        match self.peer {
            Peer::Address(_) => {
                let authority = self.settings.authority.as_ref();
                let mechanisms = authority.map(|authority| authority.mechanisms(&self.shield));
                if let Some(mechanisms) = mechanisms.filter(|names| !names.is_empty()) {
                    out.extend_from_slice(b"* SASL ");
                    out.extend_from_slice(mechanisms.join(" ").as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
                if self.offers_starttls() {
                    out.extend_from_slice(b"* STARTTLS\r\n");
                }
                out.extend_from_slice(b"* COMPRESS DEFLATE\r\n");
            }
            Peer::Trusted => tracing::info!(
                "login: {} {} EXTERNAL User logged in",
                self.peer,
                self.settings.trusted_user
            ),
        }
        let (name, version) = (&self.settings.servername, env!("CARGO_PKG_VERSION"));
        let banner = format!("* OK {name} Cyrus backup server cyrusbackup {version}\r\n");
        out.extend_from_slice(banner.as_bytes());
    }

    /// The TLS handshake is done: begin anew, with the banner. What the peer said before in clear text
    /// is forgotten.
    pub fn secured(&mut self, shield: Shield, out: &mut Vec<u8>) {
        self.shield = shield;
        if let Phase::Stranger(stranger) = &mut self.phase {
            *stranger = Stranger {
                received: stranger.received,
                failed: stranger.failed,
                ..Stranger::default()
            };
        }
        self.greet(out);
    }

    fn offers_starttls(&self) -> bool {
        self.settings.tls.is_some() && self.shield.strength == 0
    }

    /// The peer is still to be told apart from a stranger; the connection limits the time for that.
    pub fn is_stranger(&self) -> bool {
        !matches!(self.phase, Phase::Admin(_))
    }

    /// Takes bytes from the front of `input` and appends replies to `out`. Returns with all of `input`
    /// used, or early: when the rest must not be read as it is ([`Next::Compress`]), will not be
    /// ([`Next::Close`]), or when so much output waits that it should be written first.
    pub fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Step {
        let next = loop {
            let next = match &mut self.phase {
                Phase::Stranger(_) => self.stranger(input, out),
                Phase::Refused { .. } => self.refused(input, out),
                Phase::Admin(commands) => {
                    let next = commands.feed(input, out, self.compressed);
                    self.delay += commands.take_delay();
                    next
                }
                Phase::Over => Next::Close,
            };
            // A finished login leaves bytes for the next phase.
            if next != Next::Read || input.is_empty() || out.len() >= OUTPUT_LIMIT {
                break next;
            }
        };
        match next {
            Next::Compress => self.compressed = true,
            Next::Close => self.close(),
            Next::Read | Next::StartTls => {}
        }
        Step {
            next,
            delay: std::mem::take(&mut self.delay),
        }
    }

    /// Nothing came for some seconds.
    pub fn idle(&mut self) {
        if let Phase::Admin(commands) = &mut self.phase {
            commands.idle();
        }
    }

    /// The end, for whatever reason; bodies that nobody refers to are dropped.
    pub fn close(&mut self) {
        if let Phase::Admin(commands) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.tally = Some(commands.close());
        }
    }

    fn stranger(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Next {
        let Phase::Stranger(stranger) = &mut self.phase else {
            return Next::Close;
        };
        let before = input.len();
        let line = stranger.lines.next(input);
        stranger.received += (before - input.len()) as u64;
        if stranger.received > STRANGER_LIMIT {
            tracing::info!("{}: too much data before login, hanging up", self.peer);
            reply(out, format_args!("BAD Too much data before login"));
            return Next::Close;
        }
        let Some(line) = line else { return Next::Read };
        let is_first = !std::mem::replace(&mut stranger.spoke, true);
        if let Some(exchange) = stranger.exchange.take() {
            return self.answer(exchange.line(&line), out);
        }
        match line {
            // An IMAP probe: a client that gets this and the end at once comes back as csync without
            // waiting for its timeout (spec: csync 1.7).
            ShortLine::Text(text) if is_first && text.starts_with(b"C01 ") => {
                reply(out, format_args!("BAD This is no IMAP server"));
                Next::Close
            }
            ShortLine::Text(text) => self.stranger_line(&text, out),
            ShortLine::TooLong(head) => {
                let verdict = verb::judge(&head).err();
                reply(
                    out,
                    format_args!("BAD {}", verdict.unwrap_or("Line too long")),
                );
                Next::Read
            }
        }
    }

    fn stranger_line(&mut self, text: &[u8], out: &mut Vec<u8>) -> Next {
        if let Err(text) = verb::judge(text) {
            reply(out, format_args!("BAD {text}"));
            return Next::Read;
        }
        match parse_command(text) {
            Ok(Command::Authenticate { mech, initial }) => {
                let authority = self.settings.authority.as_deref();
                let answer = Exchange::begin(authority, &self.shield, mech, initial.as_deref());
                return self.answer(answer, out);
            }
            Ok(Command::Get(_) | Command::Apply(_))
            | Err(CommandError::Syntax { .. } | CommandError::BadParameters { .. }) => {
                reply(out, format_args!("NO Please authenticate first"));
            }
            Ok(Command::Noop) => reply(out, format_args!("OK Noop completed")),
            Ok(Command::Restart) => reply(out, format_args!("OK Restarting")),
            Ok(Command::Exit) => {
                reply(out, format_args!("OK Finished"));
                return Next::Close;
            }
            Ok(Command::Compress(algorithm)) => return compress(&algorithm, self.compressed, out),
            Ok(Command::Starttls) if self.offers_starttls() && self.compressed => {
                reply(out, format_args!("BAD STARTTLS comes before COMPRESS"));
            }
            Ok(Command::Starttls) if self.offers_starttls() => {
                reply(out, format_args!("OK Begin TLS negotiation now"));
                return Next::StartTls;
            }
            Ok(Command::Starttls) if self.shield.strength > 0 => {
                reply(out, format_args!("NO TLS already active"));
            }
            Ok(
                Command::Starttls | Command::Restore { .. } | Command::Unknown(_) | Command::Empty,
            ) => reply(out, format_args!("BAD {UNRECOGNIZED}")),
            Err(error) => reply(out, format_args!("BAD {error}")),
        }
        Next::Read
    }

    fn answer(&mut self, answer: Answer, out: &mut Vec<u8>) -> Next {
        let Phase::Stranger(stranger) = &mut self.phase else {
            return Next::Close;
        };
        match answer {
            Answer::Challenge(line, exchange) => {
                stranger.exchange = Some(exchange);
                out.extend_from_slice(line.as_bytes());
            }
            Answer::Cancelled => reply(out, format_args!("BAD Client canceled authentication")),
            Answer::Done {
                mechanism,
                identity,
            } => {
                self.logged_in(&mechanism, &identity);
                let protection = match self.shield.strength {
                    0 => "no",
                    _ => "tls",
                };
                reply(out, format_args!("OK Success ({protection} protection)"));
            }
            Answer::Failed {
                mechanism,
                reply: text,
                detail,
            } => {
                let mechanism = mechanism.escape_default();
                tracing::warn!(
                    "badlogin: {} {mechanism} [{}]",
                    self.peer,
                    detail.escape_default()
                );
                stranger.failed += 1;
                self.settings.metrics.login(false);
                self.delay += self.settings.failed_login_pause;
                reply(out, format_args!("NO {text}"));
                if stranger.failed >= FAILED_LOGINS {
                    return Next::Close;
                }
            }
        }
        Next::Read
    }

    fn logged_in(&mut self, mechanism: &str, identity: &Identity) {
        self.settings.metrics.login(true);
        let name = self.settings.admins.canonical(&identity.authorized);
        let user = name.escape_default();
        let tls = if self.shield.strength > 0 { "+TLS" } else { "" };
        tracing::info!(
            "login: {} {user} {mechanism}{tls} User logged in",
            self.peer
        );
        self.phase = if self.settings.admins.admit(identity) {
            Phase::Admin(Box::new(Commands::new(&self.settings)))
        } else {
            tracing::warn!(
                "{}: {user} is not in admins, refusing every command",
                self.peer
            );
            Phase::Refused {
                lines: ShortLines::default(),
                left: DENIALS,
            }
        };
        self.user = Some(name);
    }

    fn refused(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Next {
        let Phase::Refused { lines, left } = &mut self.phase else {
            return Next::Close;
        };
        if lines.next(input).is_none() {
            return Next::Read;
        }
        reply(out, format_args!("NO Permission denied"));
        *left -= 1;
        if *left == 0 { Next::Close } else { Next::Read }
    }
}

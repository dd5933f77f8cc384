//! A session with the COMPRESS layer around it: wire bytes in, wire bytes out.

use std::io;

use super::auth::Shield;
use super::deflate::Deflate;
use super::session::Session;
use super::step::{Next, Step};
use super::tally::Tally;
use super::telemetry::Tape;

/// What moves between the connection task and the blocking threads.
pub(crate) struct Channel {
    session: Session,
    deflate: Option<Deflate>,
    /// Inflated octets, of which `taken` were consumed.
    clear: Vec<u8>,
    taken: usize,
    tape: Tape,
}

impl Channel {
    /// Begins uncompressed.
    pub(crate) fn new(session: Session) -> Channel {
        Channel {
            session,
            deflate: None,
            clear: Vec::new(),
            taken: 0,
            tape: Tape::default(),
        }
    }

    /// Who has logged in.
    pub(crate) fn user(&self) -> Option<&str> {
        self.session.user()
    }

    /// What an administrator's session came to, once it is over.
    pub(crate) fn tally(&self) -> Option<&Tally> {
        self.session.tally()
    }

    /// Consumes bytes from the front of `input` and appends what to send to `out`. `Next::Read` with
    /// `input` not empty, or while [`Channel::has_more`], means: write, then call again.
    pub(crate) fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> io::Result<Step> {
        if self.deflate.is_none() {
            let step = recorded(&mut self.session, &mut self.tape, input, out);
            if step.next == Next::Compress {
                self.deflate = Some(Deflate::new());
            }
            return Ok(step);
        }
        self.feed_compressed(input, out)
    }

    /// Inflated octets still wait for their turn.
    pub(crate) fn has_more(&self) -> bool {
        self.taken < self.clear.len()
    }

    /// The last words of the server, compressed if need be.
    pub(crate) fn say(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.deflate {
            Some(deflate) => deflate.deflate(text, out),
            None => {
                out.extend_from_slice(text);
                Ok(())
            }
        }
    }

    /// The banner goes to `out`.
    pub(crate) fn greet(&mut self, out: &mut Vec<u8>) {
        self.session.greet(out);
    }

    /// The TLS handshake is done; the banner goes to `out`.
    pub(crate) fn secured(&mut self, shield: Shield, out: &mut Vec<u8>) {
        self.session.secured(shield, out);
    }

    pub(crate) fn is_stranger(&self) -> bool {
        self.session.is_stranger()
    }

    /// Nothing came for some seconds: let go of locks and of memory.
    pub(crate) fn idle(&mut self) {
        self.session.idle();
        if let Some(deflate) = &mut self.deflate {
            deflate.shrink();
        }
        if !self.has_more() {
            self.clear = Vec::new();
            self.taken = 0;
        }
    }

    pub(crate) fn close(&mut self) {
        self.session.close();
    }

    fn feed_compressed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> io::Result<Step> {
        let Some(deflate) = &mut self.deflate else {
            return Ok(recorded(&mut self.session, &mut self.tape, input, out));
        };
        let mut replies = Vec::new();
        let mut delay = std::time::Duration::ZERO;
        loop {
            if self.taken == self.clear.len() {
                self.taken = 0;
                deflate.inflate(input, &mut self.clear)?;
                if self.clear.is_empty() {
                    deflate.deflate(&replies, out)?;
                    return Ok(Step {
                        next: Next::Read,
                        delay,
                    });
                }
            }
            let mut clear = &self.clear[self.taken..];
            let step = recorded(&mut self.session, &mut self.tape, &mut clear, &mut replies);
            self.taken = self.clear.len() - clear.len();
            delay += step.delay;
            if step.next != Next::Read || !clear.is_empty() {
                deflate.deflate(&replies, out)?;
                return Ok(Step {
                    next: step.next,
                    delay,
                });
            }
        }
    }
}

/// Feeds the session, and records what it hears and says.
fn recorded(session: &mut Session, tape: &mut Tape, input: &mut &[u8], out: &mut Vec<u8>) -> Step {
    tape.begin(&session.settings().telemetry, session.user());
    let (given, answered) = (*input, out.len());
    let step = session.feed(input, out);
    tape.record(&given[..given.len() - input.len()], &out[answered..]);
    step
}

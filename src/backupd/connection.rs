//! One peer: an async task that reads, hands the bytes to its session in a blocking thread, and writes
//! what came of it. All clocks of a connection are here: time to log in, idle time, failed-login pause.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::auth::Shield;
use super::channel::Channel;
use super::endpoint::{Accepted, Stream};
use super::order::Order;
use super::peer::Peer;
use super::session::Session;
use super::settings::Settings;
use super::step::{Next, Step};
use super::tally::Summary;

/// Read buffer of a peer that says little, and of one that sends mail.
const SMALL: usize = 2 << 10;
const LARGE: usize = 256 << 10;
/// How long a stopping server waits for a peer to take its last reply.
const FAREWELL: Duration = Duration::from_secs(5);

/// Limits of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the banner to a successful login.
    pub(crate) login: Duration,
    /// Without a byte, after login (`sync_timeout`), and for a peer to take a reply.
    pub(crate) idle: Duration,
    /// Without a byte, until the session lets go of locks and memory.
    pub(crate) quiet: Duration,
}

/// Serves until the peer leaves, breaks a limit, or the order is to stop.
pub(crate) async fn serve(
    Accepted { stream, peer, tls }: Accepted,
    settings: Arc<Settings>,
    patience: Patience,
    order: watch::Receiver<Order>,
) {
    let begun_at = Instant::now();
    let login_by = begun_at + patience.login;
    let metrics = Arc::clone(&settings.metrics);
    let _connected = metrics.connect();
    let session = Session::new(Arc::clone(&settings), peer);
    let mut work = Work::new(session);
    let mut wire = Wire {
        stream,
        settings,
        order,
        patience,
        login_by,
        quiet: false,
        received: 0,
        sent: 0,
    };
    let begun = match tls {
        true => wire.secure(&mut work).await,
        false => {
            work.greet();
            Ok(())
        }
    };
    let conversed = match begun {
        Ok(()) => wire.converse(&mut work).await,
        Err(error) => Err(error),
    };
    let end = match conversed {
        Ok(end) => end.to_owned(),
        Err(error) => {
            match work.stranger && error.kind() == io::ErrorKind::ConnectionReset {
                // Somebody looked whether the port is open.
                true => tracing::debug!("{peer}: {error}"),
                false => tracing::info!("{peer}: connection lost: {error}"),
            }
            format!("connection lost: {error}")
        }
    };
    if let Err(error) = work.run(Channel::close).await {
        tracing::error!("{peer}: {error}");
    }
    wire.sum_up(&work, peer, begun_at.elapsed(), &end);
    // The peer may be gone already.
    let _ = timeout(FAREWELL, wire.stream.shutdown()).await;
}

/// Ready when the server stops.
async fn stopped(order: &mut watch::Receiver<Order>) {
    // An error means that the server is gone, which is a stop as well.
    let _ = order.wait_for(|order| *order == Order::Stop).await;
}

/// The side of the socket.
struct Wire {
    stream: Box<dyn Stream>,
    settings: Arc<Settings>,
    order: watch::Receiver<Order>,
    patience: Patience,
    login_by: Instant,
    /// The session knows that nothing came for a while.
    quiet: bool,
    /// Octets, as on the wire (under TLS: inside of it).
    received: u64,
    sent: u64,
}

enum Event {
    Bytes,
    Quiet,
    Eof,
    TooLate,
    Stop,
}

impl Wire {
    /// To the end; says why that came.
    async fn converse(&mut self, work: &mut Work) -> io::Result<&'static str> {
        self.write(work).await?;
        loop {
            match self.wait(work).await? {
                Event::Bytes => {
                    self.quiet = false;
                    match self.answer(work).await? {
                        Next::Close => return Ok(work.farewell()),
                        Next::StartTls => {
                            self.secure(work).await?;
                            self.write(work).await?;
                        }
                        Next::Read | Next::Compress => {}
                    }
                }
                Event::Quiet => {
                    self.quiet = true;
                    work.run(Channel::idle).await?;
                }
                Event::Stop => {
                    work.say(b"BYE Server is going down\r\n")?;
                    self.write(work).await?;
                    return Ok("server is going down");
                }
                Event::Eof => return Ok("end of file"),
                Event::TooLate => {
                    let text = if work.stranger {
                        "no login in time"
                    } else {
                        "nothing came in time"
                    };
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            }
        }
    }

    /// Waits for what comes next; bytes land in `work.input`.
    async fn wait(&mut self, work: &mut Work) -> io::Result<Event> {
        let quiet = self.patience.quiet.min(self.patience.idle);
        let (deadline, late) = if work.stranger {
            (self.login_by, Event::TooLate)
        } else if self.quiet {
            (
                Instant::now() + (self.patience.idle - quiet),
                Event::TooLate,
            )
        } else {
            (Instant::now() + quiet, Event::Quiet)
        };
        work.make_room(self.quiet);
        tokio::select! {
            biased;
            () = stopped(&mut self.order) => Ok(Event::Stop),
            read = self.stream.read_buf(&mut work.input) => match read? {
                0 => Ok(Event::Eof),
                read => {
                    self.received += read as u64;
                    self.settings.metrics.received(read as u64);
                    Ok(Event::Bytes)
                }
            },
            () = sleep_until(deadline) => Ok(late),
        }
    }

    /// Lets the session answer what has been read, and writes that. A stopping server finishes the
    /// command at hand and leaves the rest.
    async fn answer(&mut self, work: &mut Work) -> io::Result<Next> {
        loop {
            let step = work.feed().await?;
            if !step.delay.is_zero() {
                tokio::select! {
                    () = sleep(step.delay) => {}
                    () = stopped(&mut self.order) => {}
                }
            }
            self.write(work).await?;
            let hands_over = matches!(step.next, Next::Close | Next::StartTls);
            if hands_over || work.is_done() || self.is_stopping() {
                return Ok(step.next);
            }
        }
    }

    fn is_stopping(&self) -> bool {
        *self.order.borrow() == Order::Stop
    }

    /// The TLS handshake, then the banner.
    async fn secure(&mut self, work: &mut Work) -> io::Result<()> {
        // Octets in clear text behind STARTTLS would be taken for what came under TLS.
        if !work.is_done() {
            let text = "clear text behind STARTTLS";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let Some(tls) = &self.settings.tls else {
            return Err(io::Error::other("there is no certificate for TLS"));
        };
        let clear = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let (stream, shield) = tokio::select! {
            done = timeout_at(self.login_by, tls.accept(clear)) => {
                done.map_err(|_| io::Error::other("no TLS handshake in time"))?
                    .map_err(|error| io::Error::new(error.kind(), format!("TLS: {error}")))?
            }
            () = stopped(&mut self.order) => return Err(io::ErrorKind::Interrupted.into()),
        };
        self.stream = stream;
        work.secured(shield);
        Ok(())
    }

    async fn write(&mut self, work: &mut Work) -> io::Result<()> {
        if work.output.is_empty() {
            return Ok(());
        }
        let deadline = match work.stranger {
            true => self.login_by.max(Instant::now() + FAREWELL),
            false => Instant::now() + self.patience.idle,
        };
        let order = &mut self.order;
        let farewell = async {
            stopped(order).await;
            sleep(FAREWELL).await;
        };
        let all = async {
            self.stream.write_all(&work.output).await?;
            self.stream.flush().await
        };
        tokio::select! {
            written = timeout_at(deadline, all) => written??,
            () = farewell => return Err(io::ErrorKind::TimedOut.into()),
        }
        self.sent += work.output.len() as u64;
        self.settings.metrics.sent(work.output.len() as u64);
        work.output.clear();
        work.output.shrink_to(SMALL);
        Ok(())
    }
}

impl Wire {
    /// The session's line in the log. Who never logged in gets none, as port scanners and health checks.
    fn sum_up(&self, work: &Work, peer: Peer, took: Duration, end: &str) {
        let channel = work.channel.as_deref();
        let Some(user) = channel.and_then(Channel::user) else {
            return;
        };
        let summary = Summary {
            peer,
            user,
            tally: channel.and_then(Channel::tally),
            received: self.received,
            sent: self.sent,
            took,
            end,
        };
        tracing::info!("{summary}");
    }
}

/// The side of the session. Channel and buffers move into a blocking thread while there is work.
struct Work {
    /// Absent while it is in its thread, and for ever after a panic there.
    channel: Option<Box<Channel>>,

    stranger: bool,
    more: bool,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
}

impl Work {
    fn new(session: Session) -> Work {
        let stranger = session.is_stranger();
        Work {
            channel: Some(Box::new(Channel::new(session))),
            stranger,
            more: false,
            input: Vec::new(),
            used: 0,
            output: Vec::new(),
        }
    }

    fn greet(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.greet(&mut self.output);
        }
    }

    fn secured(&mut self, shield: Shield) {
        if let Some(channel) = &mut self.channel {
            channel.secured(shield, &mut self.output);
        }
    }

    /// Readies an empty input buffer: large while every read fills it, small else.
    fn make_room(&mut self, quiet: bool) {
        let capacity = match self.input.capacity() {
            _ if quiet => SMALL,
            full if full > 0 && self.input.len() == full => LARGE,
            0 => SMALL,
            as_it_is => as_it_is,
        };
        self.input.clear();
        self.used = 0;
        self.input.shrink_to(capacity);
        self.input.reserve_exact(capacity);
    }

    /// Everything read so far has been consumed.
    fn is_done(&self) -> bool {
        self.used == self.input.len() && !self.more
    }

    async fn feed(&mut self) -> io::Result<Step> {
        let (input, used) = (std::mem::take(&mut self.input), self.used);
        let mut output = std::mem::take(&mut self.output);
        let (input, rest, output, step) = self
            .run(move |channel| {
                let mut rest = &input[used..];
                let step = channel.feed(&mut rest, &mut output);
                let rest = rest.len();
                (input, rest, output, step)
            })
            .await?;
        self.used = input.len() - rest;
        (self.input, self.output) = (input, output);
        step
    }

    /// Why the session hung up.
    fn farewell(&self) -> &'static str {
        let channel = self.channel.as_deref();
        match channel.is_some_and(|channel| channel.tally().is_some()) {
            true => "EXIT",
            false => "permission denied",
        }
    }

    fn say(&mut self, text: &[u8]) -> io::Result<()> {
        match &mut self.channel {
            Some(channel) => channel.say(text, &mut self.output),
            None => Ok(()),
        }
    }

    /// Runs `job` in a blocking thread.
    async fn run<T, F>(&mut self, job: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Channel) -> T + Send + 'static,
    {
        let lost = || io::Error::other("the session broke down (a bug, see the log above)");
        let mut channel = self.channel.take().ok_or_else(lost)?;
        let done = spawn_blocking(move || {
            let result = job(&mut channel);
            (channel, result)
        });
        let (channel, result) = done.await.map_err(|_| lost())?;
        self.stranger = channel.is_stranger();
        self.more = channel.has_more();
        self.channel = Some(channel);
        Ok(result)
    }
}

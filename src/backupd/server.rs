//! Accepts connections, counts them, and stops gracefully.
//!
//! systemd and master(8) sockets will be further kinds of [`Listener`]; the sessions stay as they are.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::connection::{self, Patience, stopped};
use super::endpoint::Accepted;
pub use super::endpoint::{Endpoint, InvalidEndpoint, Listener};
use super::quota::Quota;
pub use super::service::ServiceFactory;
pub use super::session::{Peer, Session, Settings};

/// Pause after a failed accept (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What peers may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IPv4 address or IPv6 /64.
    pub per_address: usize,
    /// From banner to login.
    pub login: Duration,
    /// Without a byte, after login (`sync_timeout`).
    pub idle: Duration,
    /// Without a byte, until a session lets go of locks and memory.
    pub quiet: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1000,
            per_address: 100,
            login: Duration::from_secs(60),
            idle: Duration::from_secs(1800),
            quiet: Duration::from_secs(5),
        }
    }
}

/// Serves all `listeners` until `shutdown` is ready; then every session finishes its command and is
/// closed. Returns when all are gone.
pub async fn run(
    listeners: Vec<Listener>,
    settings: Arc<Settings>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(false);
    // Each task holds a sender; `recv` ends when the last is dropped.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let quota = Quota::new(limits.connections, limits.per_address);
    for listener in listeners {
        let acceptor = Acceptor {
            listener,
            settings: Arc::clone(&settings),
            limits,
            quota: Arc::clone(&quota),
            stop: stopped.clone(),
            alive: alive.clone(),
        };
        tokio::spawn(acceptor.run());
    }
    drop(alive);
    shutdown.await;
    stop.send_replace(true);
    let _ = all_gone.recv().await;
}

/// Serves one peer on an open stream (standard input and output, a test's pipe).
pub async fn serve_one<S>(
    stream: S,
    peer: Peer,
    settings: Arc<Settings>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let accepted = Accepted {
        stream: Box::new(stream),
        peer,
        tls: false,
    };
    let served = connection::serve(accepted, settings, limits.patience(), stopped);
    tokio::pin!(served);
    tokio::select! {
        () = &mut served => return,
        () = shutdown => {}
    }
    stop.send_replace(true);
    served.await;
}

impl Limits {
    fn patience(self) -> Patience {
        Patience {
            login: self.login,
            idle: self.idle,
            quiet: self.quiet,
        }
    }
}

struct Acceptor {
    listener: Listener,
    settings: Arc<Settings>,
    limits: Limits,
    quota: Arc<Quota>,
    stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
}

impl Acceptor {
    async fn run(self) {
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => self.start(accepted),
                    Err(error) => self.failed(&error).await,
                },
            }
        }
    }

    fn start(&self, accepted: Accepted) {
        let peer = accepted.peer;
        let address = match peer {
            Peer::Address(address) => Some(address),
            Peer::Trusted => None,
        };
        let place = match self.quota.admit(address) {
            Ok(place) => place,
            Err(reason) => {
                tracing::warn!("{peer}: refused, {reason}");
                tokio::spawn(refuse(accepted, reason));
                return;
            }
        };
        let settings = Arc::clone(&self.settings);
        let (patience, stop) = (self.limits.patience(), self.stop.clone());
        let alive = self.alive.clone();
        tokio::spawn(async move {
            connection::serve(accepted, settings, patience, stop).await;
            drop((place, alive));
        });
    }

    async fn failed(&self, error: &io::Error) {
        tracing::error!("{}: accept failed: {error}", self.listener);
        sleep(ACCEPT_PAUSE).await;
    }
}

async fn refuse(
    Accepted {
        mut stream, tls, ..
    }: Accepted,
    reason: &'static str,
) {
    if tls {
        return;
    }
    let line = format!("* BYE {reason}\r\n");
    // It is a courtesy.
    let _ = timeout(Duration::from_secs(1), stream.write_all(line.as_bytes())).await;
}

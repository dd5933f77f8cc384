//! Accepts connections, counts them, and stops gracefully.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::connection::{self, Patience};
use super::endpoint::Accepted;
pub use super::endpoint::{Endpoint, InvalidEndpoint, Listener};
pub use super::order::Order;
pub use super::peer::Peer;
use super::quota::Quota;
use super::settings::Settings;

/// Pause after a failed accept (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often an idle server looks whether it may go.
const RETIRE_LOOK: Duration = Duration::from_secs(1);

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
    /// Without any connection, until the server ends; `None` = never.
    pub retire: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1000,
            per_address: 100,
            login: Duration::from_secs(60),
            idle: Duration::from_secs(1800),
            quiet: Duration::from_secs(5),
            retire: None,
        }
    }
}

/// Serves all `listeners` until ordered otherwise, or until none of them gives any more connections.
/// Returns when all sessions are over.
pub async fn run(
    listeners: Vec<Listener>,
    settings: Arc<Settings>,
    limits: Limits,
    mut orders: watch::Receiver<Order>,
) {
    let (pass_on, order) = watch::channel(*orders.borrow_and_update());
    // Each task holds a sender; `recv` ends when the last is dropped.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let quota = Quota::new(limits.connections, limits.per_address);
    for listener in listeners {
        let acceptor = Acceptor {
            listener,
            settings: Arc::clone(&settings),
            limits,
            quota: Arc::clone(&quota),
            order: order.clone(),
            alive: alive.clone(),
        };
        tokio::spawn(acceptor.run());
    }
    drop(alive);
    let retired = retired(&quota, limits.retire);
    tokio::pin!(retired);
    let mut serving = true;
    loop {
        tokio::select! {
            _ = all_gone.recv() => return,
            changed = orders.changed(), if *order.borrow() != Order::Stop => {
                // Whoever gave orders is gone: that is the end as well.
                let new = changed.map_or(Order::Stop, |()| *orders.borrow_and_update());
                pass_on.send_replace(new);
            }
            () = &mut retired, if serving => {
                serving = false;
                pass_on.send_if_modified(|order| {
                    let serves = *order == Order::Serve;
                    if serves {
                        *order = Order::Drain;
                    }
                    serves
                });
            }
        }
    }
}

/// Ready when there was a connection once and for `after` there was none.
async fn retired(quota: &Quota, after: Option<Duration>) {
    let Some(after) = after else {
        return std::future::pending().await;
    };
    let mut idle_since = None;
    loop {
        sleep(RETIRE_LOOK.min(after)).await;
        match (quota.is_idle(), idle_since) {
            (false, _) => idle_since = None,
            (true, None) => idle_since = Some(Instant::now()),
            (true, Some(since)) if since.elapsed() >= after => return,
            (true, Some(_)) => {}
        }
    }
}

/// Serves one peer on an open stream (standard input and output, a test's pipe).
pub async fn serve_one<S>(
    stream: S,
    peer: Peer,
    settings: Arc<Settings>,
    limits: Limits,
    orders: watch::Receiver<Order>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let accepted = Accepted {
        stream: Box::new(stream),
        peer,
        tls: false,
    };
    connection::serve(accepted, settings, limits.patience(), orders).await;
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
    order: watch::Receiver<Order>,
    alive: mpsc::Sender<()>,
}

impl Acceptor {
    async fn run(mut self) {
        let mut order = self.order.clone();
        let mut ending = false;
        loop {
            tokio::select! {
                biased;
                () = ended(&mut order), if !ending => {
                    ending = true;
                    if self.listener.end() {
                        return;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok(Some(accepted)) => self.start(accepted),
                    Ok(None) => return,
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
                self.settings.metrics.refuse();
                tokio::spawn(refuse(accepted, reason));
                return;
            }
        };
        let settings = Arc::clone(&self.settings);
        let (patience, order) = (self.limits.patience(), self.order.clone());
        let alive = self.alive.clone();
        tokio::spawn(async move {
            connection::serve(accepted, settings, patience, order).await;
            drop((place, alive));
        });
    }

    async fn failed(&self, error: &io::Error) {
        tracing::error!("{}: accept failed: {error}", self.listener);
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Ready when no more connections shall be taken.
async fn ended(order: &mut watch::Receiver<Order>) {
    // An error means that the server is gone.
    let _ = order.wait_for(|order| *order != Order::Serve).await;
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

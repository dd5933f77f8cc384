//! Signals → orders to the server; words to systemd.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use cyrusbackup::backupd::server::Order;

/// A second signal does not wait for commands to finish; EX_TEMPFAIL as from C.
const IMPATIENT: i32 = 75;

/// Orders from now on: SIGTERM, SIGINT and SIGQUIT stop; SIGHUP drains where a master starts the next
/// process (spec: ondisk 8.3), and else means nothing, since certificates are re-read anyway.
pub fn orders(under_master: bool) -> anyhow::Result<watch::Receiver<Order>> {
    let mut ends = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::quit(),
    ]
    .into_iter()
    .map(signal)
    .collect::<Result<Vec<_>, _>>()
    .context("cannot handle signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    let (orders, received) = watch::channel(Order::Serve);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = any(&mut ends) => break,
                _ = hangup.recv() => match under_master {
                    true => {
                        tracing::info!("SIGHUP: no further connections");
                        orders.send_replace(Order::Drain);
                    }
                    false => tracing::info!(
                        "SIGHUP: certificates are re-read by themselves, other options at the next start"
                    ),
                },
            }
        }
        tracing::info!("graceful shutdown");
        say(&[sd_notify::NotifyState::Stopping]);
        orders.send_replace(Order::Stop);
        any(&mut ends).await;
        std::process::exit(IMPATIENT);
    });
    Ok(received)
}

/// Tells systemd, where it listens, that the sockets are open; then, as long as tasks run here, that we
/// are alive.
pub fn ready(sockets: usize) {
    let status = format!("Serving on {sockets} sockets");
    say(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&status),
    ]);
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(limit / 3);
        loop {
            ticks.tick().await;
            // A blocking thread must be had too: sessions work there.
            if tokio::task::spawn_blocking(|| {}).await.is_ok() {
                say(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    });
}

fn say(what: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!("cannot tell systemd: {error}");
    }
}

async fn any(signals: &mut [Signal]) {
    std::future::poll_fn(|context| {
        match signals
            .iter_mut()
            .any(|signal| signal.poll_recv(context).is_ready())
        {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

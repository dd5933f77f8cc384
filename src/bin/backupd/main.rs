//! `backupd`: the csync server as a program. Finds out who started it and with which sockets, reads
//! imapd.conf, becomes the Cyrus user, serves until told to stop.

mod options;
mod places;
mod settings;
mod signals;

use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{SockaddrStorage, getpeername};
use tokio::sync::watch;

use cyrusbackup::backupd::master::{self, Master};
use cyrusbackup::backupd::metrics::exporter::Exporter;
use cyrusbackup::backupd::server::{self, Endpoint, Limits, Listener, Order, Peer};
use cyrusbackup::config::{Config, identity};
use cyrusbackup::log::{Destination, Mark};
use cyrusbackup::store::Placement;
use cyrusbackup::tools::frame;
use cyrusbackup::tools::terminal::exit;

use options::{LogTo, Options};

/// EX_SOFTWARE, as C exits without a master.
const NOBODY_STARTED_US: u8 = 70;
/// EX_TEMPFAIL: C's exit code of a graceful shutdown.
const SHUT_DOWN: u8 = 75;

/// Who opens the sockets.
enum Sockets {
    Stdio,
    /// `--listen` and `--listen-tls`.
    Own,
    /// Each with its name in the unit.
    Systemd(Vec<(OwnedFd, String)>),
    Master(Master),
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return ExitCode::from(frame::explain(&error)),
    };
    let service = master::service().filter(|_| !options.stdio && !options.has_own_sockets());
    let name = service.as_deref().unwrap_or("backupd");
    let mut config = match Config::load(&options.config, name) {
        Ok(config) => config,
        Err(error) => {
            let destination = start_log(&options, None, name, service.is_some());
            tracing::error!("fatal error: {error}");
            say_as_well(destination, format_args!("fatal error: {error}"));
            return ExitCode::from(error.exit_code());
        }
    };
    let destination = start_log(&options, Some(&config), name, service.is_some());
    let warnings = std::mem::take(&mut config.warnings);
    warnings
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
    let sockets = match Sockets::find(&options, service.as_deref(), &config) {
        Ok(Some(sockets)) => sockets,
        Ok(None) => {
            let text = "nothing to serve: say --listen ADDRESS:PORT, or let systemd or Cyrus' master start it";
            tracing::error!("{text}");
            return ExitCode::from(NOBODY_STARTED_US);
        }
        Err(error) => {
            tracing::error!("Fatal error: {error:#}");
            return ExitCode::from(exit::FAILED);
        }
    };
    if let Err(error) = identity::assume(&config) {
        tracing::error!("fatal error: {error}: {}", error.detail);
        say_as_well(destination, format_args!("fatal error: {error}"));
        return ExitCode::from(error.exit_code());
    }
    places::look(&config);
    match serve(&options, config, name, sockets) {
        Ok(Order::Stop) if service.is_some() => ExitCode::from(SHUT_DOWN),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("Fatal error: {error:#}");
            ExitCode::from(match error.is::<settings::Unusable>() {
                true => exit::CONFIG,
                false => exit::FAILED,
            })
        }
    }
}

/// For who looks at standard error, when the log is somewhere else.
fn say_as_well(log: Destination, text: std::fmt::Arguments<'_>) {
    if log == Destination::Syslog {
        frame::say(format_args!("{text}\n"));
    }
}

impl Sockets {
    /// The two conventions claim the same descriptors, so the environment decides (spec: ondisk 8.4).
    fn find(
        options: &Options,
        service: Option<&str>,
        config: &Config,
    ) -> anyhow::Result<Option<Sockets>> {
        if options.stdio {
            return Ok(Some(Sockets::Stdio));
        }
        if options.has_own_sockets() {
            return Ok(Some(Sockets::Own));
        }
        let found = sd_notify::listen_fds_with_names().context("cannot take systemd's sockets")?;
        let found: Vec<_> = found
            // SAFETY: systemd made them for this process, and nobody else here knows of them.
            .map(|(raw, name)| (unsafe { OwnedFd::from_raw_fd(raw) }, name))
            .collect();
        if !found.is_empty() {
            return Ok(Some(Sockets::Systemd(found)));
        }
        let Some(service) = service else {
            return Ok(None);
        };
        let master = Master::inherit(service, &config.configdirectory, options.uses);
        let master = master.context("the master gave no descriptors 3 and 4")?;
        Ok(Some(Sockets::Master(master)))
    }

    /// Inside the runtime, as tokio wants it.
    async fn open(self, options: &Options) -> anyhow::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        match self {
            Sockets::Stdio => {}
            Sockets::Own => {
                let clear = options.listen.iter().map(|endpoint| (endpoint, false));
                let secure = options.listen_tls.iter().map(|endpoint| (endpoint, true));
                for (endpoint, tls) in clear.chain(secure) {
                    listeners.push(bind(endpoint, tls).await?);
                }
            }
            Sockets::Systemd(sockets) => {
                for (socket, name) in sockets {
                    let listener = Listener::from_fd(socket)
                        .with_context(|| format!("cannot serve systemd's socket {name}"))?;
                    let tls = options.tls || name == "tls";
                    listeners.push(if tls { listener.with_tls() } else { listener });
                }
            }
            Sockets::Master(master) => {
                let listener = Listener::from_master(master).context("cannot accept")?;
                listeners.push(if options.tls {
                    listener.with_tls()
                } else {
                    listener
                });
            }
        }
        Ok(listeners)
    }
}

impl Options {
    fn has_own_sockets(&self) -> bool {
        !self.listen.is_empty() || !self.listen_tls.is_empty()
    }
}

/// Serves to the end; says which order that followed.
fn serve(options: &Options, config: Config, name: &str, sockets: Sockets) -> anyhow::Result<Order> {
    raise_descriptor_limit();
    let mut limits = options.limits(&config);
    let under_master = matches!(sockets, Sockets::Master(_));
    if under_master && options.timeout > 0 {
        limits.retire = Some(between_once_and_twice(options.timeout));
    }
    let config = Arc::new(config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // A session that waits for a lock must not keep its holder from running.
        .max_blocking_threads(limits.connections + 16)
        .build()
        .context("cannot start threads")?;
    let served = runtime.block_on(async {
        let orders = signals::orders(under_master)?;
        if let Sockets::Stdio = sockets {
            return serve_stdio(&config, name, limits, orders).await;
        }
        let listeners = sockets.open(options).await?;
        let networked = listeners.iter().any(Listener::is_networked);
        let placement = Arc::new(Placement::new(&config));
        let settings = settings::settings(&config, &placement, name, networked)?;
        if settings.tls.is_none() && (options.tls || !options.listen_tls.is_empty()) {
            return Err(settings::without_certificate());
        }
        let settings = Arc::new(settings);
        if let Some(address) = options.metrics {
            let exporter = Exporter::new(Arc::clone(&settings.metrics), placement);
            let started = exporter.start(address, under_master, orders.clone()).await;
            started.with_context(|| format!("cannot listen for --metrics on {address}"))?;
        }
        for listener in &listeners {
            tracing::info!("listening on {listener}");
        }
        signals::ready(listeners.len());
        server::run(listeners, settings, limits, orders.clone()).await;
        Ok(*orders.borrow())
    });
    // A read of standard input cannot be interrupted; do not wait for it.
    runtime.shutdown_background();
    served
}

async fn serve_stdio(
    config: &Arc<Config>,
    name: &str,
    limits: Limits,
    orders: watch::Receiver<Order>,
) -> anyhow::Result<Order> {
    let peer = standard_peer();
    let networked = matches!(peer, Peer::Address(_));
    let placement = Arc::new(Placement::new(config));
    let settings = settings::settings(config, &placement, name, networked)?;
    let settings = Arc::new(settings);
    let stream = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    server::serve_one(stream, peer, settings, limits, orders.clone()).await;
    Ok(*orders.borrow())
}

async fn bind(endpoint: &Endpoint, tls: bool) -> anyhow::Result<Listener> {
    let listener = Listener::bind(endpoint).await;
    let listener = listener.with_context(|| format!("cannot listen on {endpoint}"))?;
    Ok(if tls { listener.with_tls() } else { listener })
}

/// Siblings shall not end all at once; the process id is random enough for that.
fn between_once_and_twice(seconds: u64) -> Duration {
    Duration::from_secs(seconds + u64::from(std::process::id()) % seconds)
}

fn start_log(
    options: &Options,
    config: Option<&Config>,
    name: &str,
    under_master: bool,
) -> Destination {
    let destination = match options.log {
        Some(LogTo::Syslog) => Destination::Syslog,
        Some(LogTo::Journal) => Destination::Journal,
        Some(LogTo::Stderr) => Destination::Stderr,
        None if under_master || options.stdio => Destination::Syslog,
        None => Destination::stderr(),
    };
    let prefix = config.and_then(|config| config.syslog_prefix.as_deref());
    let facility = config.and_then(|config| config.syslog_facility.as_deref());
    let level = match config.is_some_and(|config| config.debug) {
        true => tracing::Level::DEBUG,
        false => tracing::Level::INFO,
    };
    destination.start(&Mark::new(name, prefix, facility), level);
    destination
}

/// Who is on standard input (spec: ondisk 7.6).
fn standard_peer() -> Peer {
    let address = getpeername::<SockaddrStorage>(0).ok();
    let address = address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    });
    address.map_or(Peer::Trusted, Peer::Address)
}

/// Each session has a socket, a staging file and what its store opens.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

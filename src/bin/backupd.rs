//! `backupd`: the csync server as a program. Reads the options, becomes the Cyrus user, listens until it
//! is told to stop.
//!
//! systemd, master(8), syslog and metrics are not here yet.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgGroup, Parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{SockaddrStorage, getpeername};
use tokio::signal::unix::{Signal, SignalKind, signal};

use cyrusbackup::backupd::auth::{Admins, Authority, Shield};
use cyrusbackup::backupd::sasl::{Sasl, SaslOptions};
use cyrusbackup::backupd::server::{
    self, Endpoint, Limits, Listener, Peer, ServiceFactory, Settings,
};
use cyrusbackup::backupd::service::StoreService;
use cyrusbackup::backupd::staging::Budget;
use cyrusbackup::backupd::tls::TlsServer;
use cyrusbackup::config::{Config, DEFAULT_PATH, identity};
use cyrusbackup::store::Placement;
use cyrusbackup::types::VirtDomains;

/// Memory for staged bodies: per connection, and of all connections together.
const STAGING_MEMORY: u64 = 16 << 20;
const STAGING_MEMORY_OF_ALL: u64 = 256 << 20;
/// Disk space for staged bodies of all connections together.
const STAGING_DISK: u64 = 64 << 30;
/// A MAILBOX line of five million records.
const LINE_LIMIT: u64 = 2 << 30;
/// A second signal does not wait for commands to finish; EX_TEMPFAIL as from C.
const IMPATIENT: i32 = 75;

/// Receives backups from Cyrus sync_client over the csync protocol
#[derive(Parser)]
#[command(name = "backupd", version)]
#[command(group = ArgGroup::new("how").required(true).multiple(true).args(["listen", "listen_tls", "stdio"]))]
struct Options {
    /// imapd.conf
    #[arg(short = 'C', value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,

    /// Listen here; may be given several times. Port 0 lets the system choose. Whoever may write to a
    /// socket /PATH is trusted as administrator
    #[arg(long, value_name = "ADDRESS:PORT|/PATH")]
    listen: Vec<Endpoint>,

    /// As --listen, for clients that speak TLS from the first octet instead of STARTTLS
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_tls: Vec<Endpoint>,

    /// Connections at a time, in all
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    max_connections: usize,

    /// Connections at a time from one address
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_address)]
    max_per_address: usize,

    /// Seconds that a client has to log in
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().login.as_secs())]
    login_timeout: u64,

    /// Serve one client on standard input and output, trusted unless that is a network socket
    #[arg(short = 'X', conflicts_with_all = ["listen", "listen_tls"])]
    stdio: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let config = match Config::load(&options.config, "backupd") {
        Ok(config) => config,
        Err(error) => {
            eprintln!("fatal error: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    start_log(&config);
    if let Err(error) = identity::assume(&config) {
        tracing::error!("{}", error.detail);
        eprintln!("fatal error: {error}");
        return ExitCode::from(error.exit_code());
    }
    match serve(&options, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("Fatal error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options, config: Config) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let limits = Limits {
        connections: options.max_connections,
        per_address: options.max_per_address,
        login: Duration::from_secs(options.login_timeout),
        idle: Duration::from_secs(config.sync_timeout),
        ..Limits::default()
    };
    let config = Arc::new(config);
    let peer = standard_peer();
    let networked = match options.stdio {
        true => matches!(peer, Peer::Address(_)),
        false => (options.listen.iter().chain(&options.listen_tls))
            .any(|endpoint| matches!(endpoint, Endpoint::Tcp(_))),
    };
    let settings = Arc::new(settings(&config, networked)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // A session that waits for a lock must not keep its holder from running.
        .max_blocking_threads(limits.connections + 16)
        .build()
        .context("cannot start threads")?;
    let served = runtime.block_on(async {
        let shutdown = shutdown()?;
        if options.stdio {
            let stream = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
            server::serve_one(stream, peer, settings, limits, shutdown).await;
            return Ok(());
        }
        let mut listeners = Vec::new();
        let clear = options.listen.iter().map(|endpoint| (endpoint, false));
        let secure = options.listen_tls.iter().map(|endpoint| (endpoint, true));
        for (endpoint, tls) in clear.chain(secure) {
            let listener = Listener::bind(endpoint).await;
            let listener = listener.with_context(|| format!("cannot listen on {endpoint}"))?;
            tracing::info!("listening on {listener}");
            listeners.push(if tls { listener.with_tls() } else { listener });
        }
        server::run(listeners, settings, limits, shutdown).await;
        Ok(())
    });
    // A read of standard input cannot be interrupted; do not wait for it.
    runtime.shutdown_background();
    served
}

fn settings(config: &Arc<Config>, networked: bool) -> anyhow::Result<Settings> {
    let authority = match networked {
        true => Some(authority(config)?),
        false => None,
    };
    let tls = TlsServer::load(&config.tls).context("TLS cannot be used")?;
    Ok(Settings {
        servername: config.servername.clone(),
        trusted_user: config
            .cyrus_user
            .clone()
            .unwrap_or_else(|| "cyrus".to_owned()),
        admins: Admins::new(&config.admins, config.username_tolower),
        authority,
        tls,
        failed_login_pause: Duration::from_secs(config.failedloginpause),
        staging_path: config.backup_staging_path.clone(),
        staging_memory: STAGING_MEMORY,
        staging_budget: Arc::new(Budget::new(STAGING_MEMORY_OF_ALL)),
        staging_disk: Arc::new(Budget::new(STAGING_DISK)),
        refusals: Default::default(),
        line_limit: LINE_LIMIT,
        services: services(config),
    })
}

fn authority(config: &Arc<Config>) -> anyhow::Result<Box<dyn Authority>> {
    let lookup = Arc::clone(config);
    let sasl = Sasl::load(SaslOptions {
        servername: config.servername.clone(),
        allow_plaintext: config.allowplaintext,
        minimum_layer: config.sasl_minimum_layer,
        tls_required: config.tls.required,
        realms: match config.namespace.virtdomains {
            VirtDomains::Off => Some(config.loginrealms.clone()),
            VirtDomains::Userid | VirtDomains::On => None,
        },
        lookup: Box::new(move |plugin, option| {
            lookup.sasl_option(plugin, option).map(str::to_owned)
        }),
    })?;
    let under_tls = Shield {
        strength: 256,
        certificate: None,
    };
    let possible = match config.tls.server_cert {
        Some(_) => sasl.mechanisms(&under_tls),
        None => sasl.mechanisms(&Shield::default()),
    };
    if possible.is_empty() {
        tracing::warn!(
            "no login is possible: SASL offers neither PLAIN, LOGIN nor SCRAM; see sasl_mech_list and \
             allowplaintext in imapd.conf, and whether libsasl2-modules is installed"
        );
    }
    Ok(Box::new(sasl))
}

fn start_log(config: &Config) {
    let level = if config.debug {
        tracing::Level::DEBUG
    } else {
        tracing::Level::INFO
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
    config
        .warnings
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
}

/// Ready at SIGTERM or SIGINT.
fn shutdown() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("graceful shutdown");
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            std::process::exit(IMPATIENT);
        });
    })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
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

/// The store behind the sessions.
fn services(config: &Arc<Config>) -> ServiceFactory {
    let placement = Arc::new(Placement::new(config));
    let namespace = config.namespace.clone();
    Box::new(move || Box::new(StoreService::new(Arc::clone(&placement), namespace.clone())))
}

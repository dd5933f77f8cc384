//! The command line of backupd: C's options, and long ones of our own.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use cyrusbackup::backupd::metrics::exporter::MetricsAddress;
use cyrusbackup::backupd::server::{Endpoint, Limits};
use cyrusbackup::config::{Config, DEFAULT_PATH};

/// Receives backups from Cyrus sync_client over the csync protocol
///
/// Started by Cyrus' master or with sockets from systemd, it serves those; else say --listen or -X.
#[derive(Parser)]
#[command(name = "backupd", version)]
pub struct Options {
    /// imapd.conf
    #[arg(short = 'C', value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,

    /// Listen here; may be given several times. Port 0 lets the system choose. Whoever may write to a
    /// socket /PATH is trusted as administrator
    #[arg(long, value_name = "ADDRESS:PORT|/PATH")]
    pub listen: Vec<Endpoint>,

    /// As --listen, for clients that speak TLS from the first octet instead of STARTTLS
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_tls: Vec<Endpoint>,

    /// Serve one client on standard input and output, trusted unless that is a network socket
    #[arg(short = 'X', conflicts_with_all = ["listen", "listen_tls"])]
    pub stdio: bool,

    /// The socket of the master, or all of systemd, are for TLS from the first octet
    #[arg(short = 's')]
    pub tls: bool,

    /// Under the master: take so many connections, then leave the next to a new process
    #[arg(short = 'U', value_name = "N", default_value_t = 250)]
    pub uses: u32,

    /// Under the master: end after so many seconds without a connection; 0 = never
    #[arg(short = 'T', value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,

    /// Accepted for the sake of C's command lines, without effect
    #[arg(short = 'D', hide = true)]
    pub debug: bool,

    /// Connections at a time, in all [imapd.conf: backup_max_connections]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<usize>,

    /// Connections at a time from one address [imapd.conf: backup_max_per_address]
    #[arg(long, value_name = "N")]
    pub max_per_address: Option<usize>,

    /// Seconds that a client has to log in [imapd.conf: backup_login_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub login_timeout: Option<u64>,

    /// Show metrics for Prometheus at http://127.0.0.1:PORT/metrics, or another address
    #[arg(long, value_name = "[ADDRESS:]PORT", conflicts_with = "stdio")]
    pub metrics: Option<MetricsAddress>,

    /// Where the log goes [default: syslog under the master and with -X, else standard error]
    #[arg(long, value_name = "WHERE")]
    pub log: Option<LogTo>,
}

/// Argument of `--log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogTo {
    /// syslog(3), with the facility and prefix of imapd.conf
    Syslog,
    /// Standard error, with priorities for the journal
    Journal,
    /// Standard error, with times
    Stderr,
}

impl Options {
    /// From the command line, or else from imapd.conf.
    pub fn limits(&self, config: &Config) -> Limits {
        let of = &config.limits;
        let login = self.login_timeout.unwrap_or(of.login_timeout);
        Limits {
            connections: self.max_connections.unwrap_or(of.connections),
            per_address: self.max_per_address.unwrap_or(of.per_address),
            login: Duration::from_secs(login),
            idle: Duration::from_secs(config.sync_timeout),
            ..Limits::default()
        }
    }
}

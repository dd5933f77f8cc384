//! Parts of the configuration that belong together: choosing a partition, TLS, credentials.

use std::fmt;
use std::path::PathBuf;

use super::number::{small, unsigned};
use super::settings::Settings;

/// How a partition is chosen for a new backup (spec: ondisk 1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSelect {
    /// The rule.
    pub mode: SelectMode,
    /// Names of partitions never chosen.
    pub exclude: Vec<String>,
    /// Ask the disks again after so many choices; 0 = never.
    pub usage_reinit: u64,
    /// Percent; partitions used that much are chosen only when all are. 0 = no limit.
    pub soft_usage_limit: u32,
}

/// The option `partition_select_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectMode {
    /// Any, equally likely.
    Random,
    /// Most free bytes.
    FreespaceMost,
    /// Largest share of free bytes.
    FreespacePercentMost,
    /// Likely as its share of free bytes.
    FreespacePercentWeighted,
    /// Likely as its share of free bytes is above the smallest one.
    FreespacePercentWeightedDelta,
}

/// The TLS options, as they stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain; none = no TLS.
    pub server_cert: Option<PathBuf>,
    /// Its private key.
    pub server_key: Option<PathBuf>,
    /// CA of the server certificate.
    pub server_ca_file: Option<PathBuf>,
    /// Directory of CAs of the server certificate.
    pub server_ca_dir: Option<PathBuf>,
    /// Diffie-Hellman parameters.
    pub server_dhparam: Option<PathBuf>,
    /// CAs that client certificates may come from.
    pub client_ca_file: Option<PathBuf>,
    /// Directory of CAs that client certificates may come from.
    pub client_ca_dir: Option<PathBuf>,
    /// Our certificate as a client.
    pub client_cert: Option<PathBuf>,
    /// Its private key.
    pub client_key: Option<PathBuf>,
    /// `off`, `optional` or `require`.
    pub client_certs: String,
    /// OpenSSL cipher list.
    pub ciphers: String,
    /// Revoked certificates.
    pub crl_file: Option<PathBuf>,
    /// Elliptic curve.
    pub eccurve: String,
    /// The server's order of ciphers counts.
    pub prefer_server_ciphers: bool,
    /// No login without TLS.
    pub required: bool,
    /// `tls1_2` and so on.
    pub versions: Vec<String>,
}

/// What the peers of backupd may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub per_address: usize,
    /// Seconds from the banner to the login.
    pub login_timeout: u64,
    /// Bytes that one connection may stage, in memory and on disk; 0 = any.
    pub staging: u64,
    /// Of these, in memory.
    pub staging_memory: u64,
    /// Bytes of staged bodies in memory, of all connections.
    pub staging_memory_of_all: u64,
    /// Bytes of staged bodies on disk, of all connections.
    pub staging_disk: u64,
    /// Bytes of a word, quoted string or literal: the largest of `maxword`, `maxquoted` and `maxliteral`.
    pub token: usize,
}

/// With what we log in elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub authname: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// SASL realm.
    pub realm: Option<String>,
    /// Port number or service name.
    pub port: Option<String>,
}

/// A password; keeps itself out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) String);

impl PartitionSelect {
    pub(super) fn new(s: &Settings) -> PartitionSelect {
        let exclude = s.text("partition_select_exclude").unwrap_or_default();
        PartitionSelect {
            mode: match s.word("partition_select_mode").as_str() {
                "random" => SelectMode::Random,
                "freespace-percent-most" => SelectMode::FreespacePercentMost,
                "freespace-percent-weighted" => SelectMode::FreespacePercentWeighted,
                "freespace-percent-weighted-delta" => SelectMode::FreespacePercentWeightedDelta,
                _ => SelectMode::FreespaceMost,
            },
            exclude: exclude
                .split([' ', ',', '\t'])
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            usage_reinit: unsigned(s.int("partition_select_usage_reinit")),
            soft_usage_limit: small(s.int("partition_select_soft_usage_limit")),
        }
    }
}

impl Tls {
    pub(super) fn new(s: &Settings) -> Tls {
        Tls {
            server_cert: s.path("tls_server_cert"),
            server_key: s.path("tls_server_key"),
            server_ca_file: s.path("tls_server_ca_file"),
            server_ca_dir: s.path("tls_server_ca_dir"),
            server_dhparam: s.path("tls_server_dhparam"),
            client_ca_file: s.path("tls_client_ca_file"),
            client_ca_dir: s.path("tls_client_ca_dir"),
            client_cert: s.path("tls_client_cert"),
            client_key: s.path("tls_client_key"),
            client_certs: s.word("tls_client_certs"),
            ciphers: s.text("tls_ciphers").unwrap_or_default(),
            crl_file: s.path("tls_crl_file"),
            eccurve: s.text("tls_eccurve").unwrap_or_default(),
            prefer_server_ciphers: s.switch("tls_prefer_server_ciphers"),
            required: s.switch("tls_required"),
            versions: s.words("tls_versions"),
        }
    }
}

/// Smaller tokens would refuse what every client sends.
const SMALLEST_TOKEN: u64 = 4 << 10;
/// "Any" length still fits into memory.
const LARGEST_TOKEN: u64 = 64 << 20;

impl Limits {
    pub(super) fn new(s: &Settings) -> Limits {
        let count = |name| usize::try_from(unsigned(s.int(name)).max(1)).unwrap_or(usize::MAX);
        let tokens =
            ["maxword", "maxquoted", "maxliteral"].map(|name| match unsigned(s.size(name, 1)) {
                0 => LARGEST_TOKEN,
                size => size.clamp(SMALLEST_TOKEN, LARGEST_TOKEN),
            });
        let [word, quoted, literal] = tokens;
        Limits {
            connections: count("backup_max_connections"),
            per_address: count("backup_max_per_address"),
            login_timeout: unsigned(s.duration("backup_login_timeout", 1)).max(1),
            staging: unsigned(s.size("backup_staging_limit", 1)),
            staging_memory: unsigned(s.size("backup_staging_memory", 1)),
            staging_memory_of_all: unsigned(s.size("backup_staging_memory_of_all", 1)),
            staging_disk: unsigned(s.size("backup_staging_disk", 1)),
            token: word.max(quoted).max(literal) as usize,
        }
    }
}

impl Credentials {
    /// Fills what is missing.
    pub(super) fn or(self, other: &Credentials) -> Credentials {
        Credentials {
            authname: self.authname.or_else(|| other.authname.clone()),
            password: self.password.or_else(|| other.password.clone()),
            realm: self.realm.or_else(|| other.realm.clone()),
            port: self.port.or_else(|| other.port.clone()),
        }
    }
}

impl Secret {
    /// The password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

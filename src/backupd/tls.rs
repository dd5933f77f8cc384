//! TLS on the server's side, from the `tls_*` options: the certificate, which versions, whose client
//! certificates. STARTTLS and implicit TLS both end here; what a login makes of a client certificate is
//! [`super::auth`]'s.
//!
//! A certificate that was renewed on disk is used by the next connection; when the new files are
//! unusable, the old ones stay and the log says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::auth::Shield;
use super::endpoint::Stream;
use crate::config::Tls;

/// The `tls_*` options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not hold what it should.
    #[error("{option}: {}: {reason}", path.display())]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that must be named is not.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// `tls_versions` names none that we speak.
    #[error(
        "tls_versions: neither tls1_2 nor tls1_3 is in {0:?}, and older versions are not spoken"
    )]
    Versions(Vec<String>),
    /// Certificate, key and authorities do not fit together.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// The certificate.
        path: PathBuf,
        /// In rustls' words.
        reason: String,
    },
}

/// Makes TLS connections out of accepted ones.
pub struct TlsServer {
    options: Tls,
    current: Mutex<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// Of the files when they were last read, with success or not.
    state: State,
}

/// Changes whenever one of the files does.
type State = Vec<Option<(u64, SystemTime)>>;

impl TlsServer {
    /// Reads the files; `None` when no certificate is configured.
    pub fn load(options: &Tls) -> Result<Option<TlsServer>, TlsError> {
        if options.server_cert.is_none() {
            return Ok(None);
        }
        warn_about_options_without_effect(options);
        let state = state(options);
        let config = Arc::new(server_config(options)?);
        Ok(Some(TlsServer {
            options: options.clone(),
            current: Mutex::new(Loaded { config, state }),
        }))
    }

    /// The handshake; no limit of time is kept here.
    pub(crate) async fn accept(
        &self,
        stream: Box<dyn Stream>,
    ) -> io::Result<(Box<dyn Stream>, Shield)> {
        let stream = TlsAcceptor::from(self.config()).accept(stream).await?;
        let shield = shield(stream.get_ref().1);
        Ok((Box::new(stream), shield))
    }

    fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let state = state(&self.options);
        if state != current.state {
            current.state = state;
            match server_config(&self.options) {
                Ok(config) => {
                    tracing::info!("TLS: the certificate files have changed, using the new ones");
                    current.config = Arc::new(config);
                }
                Err(error) => tracing::error!("TLS: keeping the old certificate: {error}"),
            }
        }
        Arc::clone(&current.config)
    }
}

/// What OpenSSL's vocabulary says and rustls chooses itself.
fn warn_about_options_without_effect(options: &Tls) {
    let set = [
        ("tls_ciphers", options.ciphers != "DEFAULT"),
        ("tls_eccurve", options.eccurve != "prime256v1"),
        ("tls_server_dhparam", options.server_dhparam.is_some()),
        ("tls_prefer_server_ciphers", options.prefer_server_ciphers),
    ];
    for (name, _) in set.iter().filter(|(_, set)| *set) {
        tracing::warn!("{name} has no effect here: only today's strong ciphers are spoken");
    }
}

fn state(options: &Tls) -> State {
    let files = [
        &options.server_cert,
        &options.server_key,
        &options.server_ca_file,
        &options.client_ca_file,
        &options.crl_file,
    ];
    let state = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    files.map(|path| path.as_ref().and_then(state)).to_vec()
}

fn server_config(options: &Tls) -> Result<ServerConfig, TlsError> {
    let cert_path = named("tls_server_cert", &options.server_cert)?;
    // OpenSSL's programs, Cyrus among them, take both out of one file.
    let (key_option, key_path) = match &options.server_key {
        Some(path) => ("tls_server_key", path.as_path()),
        None => (
            "tls_server_cert (it must hold the key too, for there is no tls_server_key)",
            cert_path,
        ),
    };
    let key = PrivateKeyDer::from_pem_file(key_path)
        .map_err(|error| file_error(key_option, key_path, &error))?;
    let chain = chain(options, cert_path)?;
    let unfit = |reason: String| TlsError::Unfit {
        path: cert_path.to_owned(),
        reason,
    };
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(options)?)
        .map_err(|error| unfit(error.to_string()))?
        .with_client_cert_verifier(client_verifier(options)?)
        .with_single_cert(chain, key)
        .map_err(|error| unfit(error.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn versions(options: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let known = [("tls1_2", &TLS12), ("tls1_3", &TLS13)];
    let wanted = |name: &str| options.versions.iter().any(|version| version == name);
    let found: Vec<_> = known
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .map(|(_, version)| version)
        .collect();
    match found.is_empty() {
        true => Err(TlsError::Versions(options.versions.clone())),
        false => Ok(found),
    }
}

/// The certificate, and of `tls_server_ca_file` those that a client needs to reach its root.
fn chain(options: &Tls, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut chain = certificates("tls_server_cert", path)?;
    let mut more = authorities(
        "tls_server_ca_file",
        &options.server_ca_file,
        &options.server_ca_dir,
    )?;
    while let Some(issuer) = chain.last().and_then(issuer) {
        let Some(at) = more
            .iter()
            .position(|found| subject(found).as_ref() == Some(&issuer))
        else {
            break;
        };
        let found = more.swap_remove(at);
        // The root itself, clients have.
        if self::issuer(&found) == subject(&found) {
            break;
        }
        chain.push(found);
    }
    Ok(chain)
}

fn client_verifier(options: &Tls) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let authorities = authorities(
        "tls_client_ca_file",
        &options.client_ca_file,
        &options.client_ca_dir,
    )?;
    if options.client_certs == "off" || authorities.is_empty() {
        return match options.client_certs.as_str() {
            "require" => Err(TlsError::Missing(
                "tls_client_ca_file (tls_client_certs: require)",
            )),
            _ => Ok(Arc::new(NoClientAuth)),
        };
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(path) = &options.crl_file {
        let lists = CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| file_error("tls_crl_file", path, &error))?;
        verifier = verifier.with_crls(lists).allow_unknown_revocation_status();
    }
    if options.client_certs != "require" {
        verifier = verifier.allow_unauthenticated();
    }
    let unfit = |error: rustls::server::VerifierBuilderError| TlsError::Unfit {
        path: options.client_ca_file.clone().unwrap_or_default(),
        reason: error.to_string(),
    };
    verifier.build().map_err(unfit)
}

/// All certificates of a file and of the files in a directory.
fn authorities(
    option: &'static str,
    file: &Option<PathBuf>,
    directory: &Option<PathBuf>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut found = Vec::new();
    if let Some(file) = file {
        found = certificates(option, file)?;
    }
    let entries = match directory {
        Some(path) => std::fs::read_dir(path).map_err(|error| file_error(option, path, &error))?,
        None => return Ok(found),
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        // Directories of this kind hold other things too.
        found.extend(certificates(option, &path).unwrap_or_default());
    }

    Ok(found)
}

fn certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(option, path, &error))?;
    match found.is_empty() {
        true => Err(file_error(option, path, &"no certificate in it")),
        false => Ok(found),
    }
}

fn named<'a>(option: &'static str, path: &'a Option<PathBuf>) -> Result<&'a Path, TlsError> {
    path.as_deref().ok_or(TlsError::Missing(option))
}

fn file_error(option: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        option,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn shield(connection: &ServerConnection) -> Shield {
    let suite = connection.negotiated_cipher_suite();
    let name = suite
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or("?");
    let strength = if name.contains("AES_128") { 128 } else { 256 };
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = leaf.and_then(common_name);
    let version = connection
        .protocol_version()
        .and_then(|version| version.as_str());
    let who = match &certificate {
        Some(name) => format!("authenticated as {}", name.escape_default()),
        None => "no authentication".to_owned(),
    };
    tracing::debug!(
        "starttls: {} with cipher {name} ({strength} bits) {who}",
        version.unwrap_or("?")
    );
    Shield {
        strength,
        certificate,
    }
}

/// Cyrus takes the common name for the user.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    // Several names leave open which one the authority meant.
    names.next().is_none().then_some(name)
}

fn subject(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.subject().as_raw().to_vec())
}

fn issuer(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.issuer().as_raw().to_vec())
}

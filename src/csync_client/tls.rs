//! TLS towards a server, and whether its certificate is good.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::ClientError;
use super::channel::Stream;

/// How much TLS is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// When it is offered, and only with a certificate that is good for the server's name.
    #[default]
    Verify,
    /// As `Verify`, and nothing is said without it.
    Require,
    /// When it is offered, whoever it is.
    Unverified,
    /// Never, unless the address says `/tls`.
    Off,
}

/// What is needed for it.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Whether, and how.
    pub mode: TlsMode,
    /// CAs instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
}

/// Talks TLS over a stream; the handshake is done when this returns.
pub(super) fn wrap(
    mut stream: Box<dyn Stream>,
    host: &str,
    settings: &TlsSettings,
) -> Result<Box<dyn Stream>, ClientError> {
    let config = config(settings)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| ClientError::Tls(format!("{host}: {error}")))?;
    let mut connection = ClientConnection::new(config.into(), name)
        .map_err(|error| ClientError::Tls(error.to_string()))?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut stream)
            .map_err(|error| ClientError::Tls(explain(&error)))?;
    }
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

fn explain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.contains("certificate") {
        true => format!(
            "{text} (name a CA in tls_client_ca_file, or use --tls=unverified if you know who this is)"
        ),
        false => text,
    }
}

fn config(settings: &TlsSettings) -> Result<ClientConfig, ClientError> {
    let tls = |error: rustls::Error| ClientError::Tls(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(tls)?;
    let builder = match settings.mode {
        TlsMode::Unverified => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        TlsMode::Verify | TlsMode::Require | TlsMode::Off => {
            builder.with_root_certificates(roots(settings)?)
        }
    };
    match (&settings.client_cert, &settings.client_key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| ClientError::Tls(format!("{}: {error}", key.display())))?;
            builder.with_client_auth_cert(chain, key).map_err(tls)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn roots(settings: &TlsSettings) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let found = match &settings.ca_file {
        Some(file) => certificates(file)?,
        // Some may be unreadable; what is not there cannot vouch for anybody.
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    Ok(roots)
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let failed = |error| ClientError::Tls(format!("{}: {error}", file.display()));
    CertificateDer::pem_file_iter(file)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// Takes every certificate: the line is encrypted, but nobody knows to whom.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

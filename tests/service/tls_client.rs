//! A csync client that speaks TLS and checks the server's certificate.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::rig::Certificates;

/// One connection under TLS.
pub struct TlsClient {
    reader: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    /// All lines up to `* OK`.
    pub banner: String,
}

impl TlsClient {
    /// STARTTLS, checked against the root of `certificates`; with the certificate of `client`, if any.
    pub fn starttls(port: u16, certificates: &Certificates, client: Option<&str>) -> TlsClient {
        let mut stream = connect(port);
        assert!(banner(&mut stream).contains("* STARTTLS\r\n"));
        stream.write_all(b"STARTTLS\r\n").unwrap();
        assert_eq!(line(&mut stream), "OK Begin TLS negotiation now\r\n");
        TlsClient::over(stream, certificates, client).unwrap()
    }

    /// TLS from the first octet.
    pub fn implicit(port: u16, certificates: &Certificates) -> TlsClient {
        TlsClient::over(connect(port), certificates, None).unwrap()
    }

    pub fn over(
        stream: TcpStream,
        certificates: &Certificates,
        client: Option<&str>,
    ) -> std::io::Result<TlsClient> {
        let config = Arc::new(config(certificates, client));
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        let mut client = TlsClient {
            reader: BufReader::new(StreamOwned::new(connection, stream)),
            banner: String::new(),
        };
        loop {
            let line = client.line()?;
            client.banner += &line;
            if line.is_empty() || line.starts_with("* OK ") {
                return Ok(client);
            }
        }
    }

    /// The final line of the answer.
    pub fn command(&mut self, text: &str) -> String {
        let stream = self.reader.get_mut();
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        loop {
            let line = self.line().unwrap();
            if !line.starts_with("* ") {
                return line.trim_end().to_owned();
            }
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line)
    }
}

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

pub fn banner(stream: &mut TcpStream) -> String {
    let mut banner = String::new();
    loop {
        let line = line(stream);
        banner += &line;
        if line.is_empty() || line.starts_with("* OK ") {
            return banner;
        }
    }
}

/// Octet by octet: what follows may be TLS.
pub fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut octet = [0];
    while !line.ends_with(b"\n") && stream.read(&mut octet).unwrap() == 1 {
        line.push(octet[0]);
    }
    String::from_utf8(line).unwrap()
}

fn config(certificates: &Certificates, client: Option<&str>) -> ClientConfig {
    let certificate = |name: &str| {
        CertificateDer::from_pem_file(certificates.file(&format!("{name}.pem"))).unwrap()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate("root")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match client {
        None => config.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(certificates.file(&format!("{name}.key")));
            let chain = vec![certificate(name), certificate("below")];
            config.with_client_auth_cert(chain, key.unwrap()).unwrap()
        }
    }
}

//! A small certificate authority: a root, one below it, a server and clients; files as imapd.conf wants them.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

/// The authority, with its files in one directory.
pub struct Certificates {
    dir: PathBuf,
    below: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes root.pem, below.pem, server.pem and server.key (localhost, 127.0.0.1).
    pub fn new(dir: &Path) -> Certificates {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let key = || KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(authority("Test root"), key()).expect("a root");
        let below = CertifiedIssuer::signed_by(authority("Test authority"), key(), &root)
            .expect("an authority below the root");
        fs::write(dir.join("root.pem"), root.as_ref().pem()).expect("root.pem");
        fs::write(dir.join("below.pem"), below.as_ref().pem()).expect("below.pem");
        let certificates = Certificates {
            dir: dir.to_owned(),
            below,
        };
        certificates.issue_server();
        certificates
    }

    /// A new server certificate in the place of the old one.
    pub fn issue_server(&self) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let params = CertificateParams::new(names).expect("names");
        self.issue("server", params);
    }

    /// NAME.pem and NAME.key for a client with this common name.
    pub fn issue_client(&self, name: &str) {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, name);
        self.issue(name, params);
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn issue(&self, name: &str, params: CertificateParams) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.below).expect("a certificate");
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("a key file");
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("a certificate");
    }
}

//! The client against Debian's sync_server and imapd: who gets in, and how.

use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use cyrusbackup::csync_client::{
    Address, Client, ClientError, Compression, Connect, Credentials, Service, TlsMode, TlsSettings,
};

use crate::rig::{Cyrus, Instance, PASSWORD, Source, free_port, our_binary};

struct Way {
    address: String,
    credentials: Credentials,
    tls: TlsSettings,
    compression: Compression,
    services: Vec<Service>,
}

impl Way {
    fn to(port: u16) -> Way {
        Way {
            address: format!("localhost:{port}"),
            credentials: Credentials {
                user: Some("repl".to_owned()),
                password: Some(PASSWORD.to_owned()),
                ..Credentials::default()
            },
            tls: TlsSettings::default(),
            compression: Compression::Remote,
            services: Vec::new(),
        }
    }

    fn open(&self) -> Result<Client, ClientError> {
        Client::open(&Connect {
            address: &Address::parse(&self.address).unwrap(),
            services: &self.services,
            credentials: &self.credentials,
            tls: &self.tls,
            compression: self.compression,
            patience: Duration::from_secs(60),
            answer_patience: Duration::from_secs(60),
        })
    }

    /// Gets in, asks something, leaves.
    #[track_caller]
    fn works(&self) {
        let mut client = self.open().unwrap();
        let answer = client.command(b"GET USER anne").unwrap();
        let names: Vec<_> = answer
            .kvlists("MAILBOX")
            .filter_map(|mailbox| mailbox.get_str("MBOXNAME"))
            .collect();
        assert_eq!(names, ["user.anne"]);
        client.exit().unwrap();
    }
}

#[test]
fn every_mechanism_to_sync_server_and_imapd() {
    let Some(cyrus) = Cyrus::find() else { return };
    let target = target(cyrus);
    let _anne = target.add_user("anne");
    for port in [target.sync_port(), target.imap_port()] {
        Way::to(port).works();
        for mechanism in ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
            let mut way = Way::to(port);
            way.credentials.mechanism = Some(mechanism.to_owned());
            way.works();
        }
        let mut way = Way::to(port);
        way.compression = Compression::Required;
        way.works();
        way.tls.mode = TlsMode::Require;
        let error = way.open().err().unwrap().to_string();
        assert_eq!(error, "TLS: the server does not offer it");
    }
}

/// Cyrus' master can listen on one; here a relay does, before the same sync_server.
#[test]
fn a_unix_socket_is_an_address_too() {
    let Some(cyrus) = Cyrus::find() else { return };
    let target = target(cyrus);
    let _anne = target.add_user("anne");
    let path = target.instance.dir().join("csync.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let port = target.sync_port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut up, &mut server));
        let _ = std::io::copy(&mut down, &mut client);
    });
    let mut way = Way::to(0);
    way.address = path.to_str().unwrap().to_owned();
    way.works();
}

#[test]
fn without_a_port_the_first_service_that_answers_counts() {
    let Some(cyrus) = Cyrus::find() else { return };
    let target = target(cyrus);
    let _anne = target.add_user("anne");
    let mut way = Way::to(0);
    way.address = "127.0.0.1".to_owned();
    let service = |port: u16| Service(port.to_string());
    // Nobody listens on port 1.
    way.services = vec![service(1), service(target.imap_port())];
    way.works();
    way.services = vec![service(target.sync_port()), service(1)];
    way.works();
    way.services = vec![service(1), Service("no-such-service".to_owned())];
    assert!(matches!(way.open(), Err(ClientError::Io { .. })));
}

#[test]
fn who_is_refused_hears_why() {
    let Some(cyrus) = Cyrus::find() else { return };
    let target = target(cyrus);
    let _anne = target.add_user("anne");
    for port in [target.sync_port(), target.imap_port()] {
        let mut way = Way::to(port);
        way.credentials.password = Some("wrong".to_owned());
        let error = way.open().err().unwrap().to_string();
        assert!(error.starts_with("login as repl: "), "{error}");
        way.credentials.user = None;
        assert!(matches!(way.open(), Err(ClientError::NoCredentials)));
    }
    // Who is no administrator gets in, and then nothing.
    for port in [target.sync_port(), target.imap_port()] {
        let mut way = Way::to(port);
        way.credentials.user = Some("anne".to_owned());
        let error = way.open().unwrap().command(b"GET USER anne").unwrap_err();
        assert!(error.is_refusal(), "{error}");
    }
}

#[test]
fn starttls_with_and_without_a_look_at_the_certificate() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut target = Source::prepare(cyrus, "target", 0);
    let ca_file = make_certificate(&target);
    target.run(true);
    target.instance.add_password("repl", PASSWORD);
    let _anne = target.add_user("anne");
    for port in [target.sync_port(), target.imap_port()] {
        let mut way = Way::to(port);
        let error = way.open().err().unwrap().to_string();
        assert!(
            error.starts_with("TLS: ") && error.contains("certificate"),
            "{error}"
        );
        assert!(error.contains("tls_client_ca_file"), "{error}");
        way.tls.mode = TlsMode::Unverified;
        way.works();
        way.tls.mode = TlsMode::Off;
        way.works();
        way.tls.mode = TlsMode::Require;
        way.tls.ca_file = Some(ca_file.clone());
        way.works();
        // The certificate is for localhost only.
        way.address = format!("127.0.0.1:{port}");
        let error = way.open().err().unwrap().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
fn tls_from_the_first_octet() {
    let Some(cyrus) = Cyrus::find() else { return };
    let instance = Instance::new(cyrus, "tls", "");
    instance.add_password("repl", PASSWORD);
    let (ca_file, options) = certificate(&instance);
    instance.configure(&format!("backuppartition-default: @B@/part\n{options}"));
    let port = free_port();
    let mut server = std::process::Command::new(our_binary("backupd"))
        .arg("-C")
        .arg(instance.conf())
        .args(["--listen-tls", &format!("127.0.0.1:{port}")])
        .spawn()
        .unwrap();
    let mut way = Way::to(port);
    way.address += "/tls";
    way.tls.ca_file = Some(ca_file);
    let end = std::time::Instant::now() + Duration::from_secs(60);
    let opened = loop {
        match way.open() {
            Err(ClientError::Io { .. }) if std::time::Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => break other,
        }
    };
    let asked = opened.and_then(|mut client| client.command(b"GET USER anne"));
    way.tls.ca_file = None;
    let refused = way.open();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(asked.unwrap().untagged.is_empty());
    assert!(
        matches!(refused, Err(ClientError::Tls(_))),
        "nobody vouches for it"
    );
}

fn target(cyrus: Cyrus) -> Source {
    let target = Source::start_target(cyrus);
    target.instance.add_password("repl", PASSWORD);
    target
}

/// A certificate for `localhost` that vouches for itself, in the server's imapd.conf.
fn make_certificate(target: &Source) -> PathBuf {
    let (cert, options) = certificate(&target.instance);
    target.set_options(&options);
    cert
}

/// Such a certificate, and the options that name it.
fn certificate(instance: &Instance) -> (PathBuf, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let path = instance.dir().join(name);
        std::fs::write(&path, text).unwrap();
        instance.give_to_cyrus(&path);
        path
    };
    let cert = write("cert.pem", made.cert.pem());
    let key = write("key.pem", made.signing_key.serialize_pem());
    let (shown, hidden) = (cert.display(), key.display());
    let options = format!("tls_server_cert: {shown}\ntls_server_key: {hidden}\n");
    (cert, options)
}

//! TLS, certificates, and every way to prove who one is: against the real libsasl2, sync_client and saslauthd.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::{
    Append, BackupServer, Certificates, Csync, Cyrus, Engine, Mail, PASSWORD, Source, ended,
    free_port, run,
};
use crate::tls_client::{TlsClient, banner, connect, line};

/// backupd with TLS and no passwords in clear text.
fn with_tls(cyrus: Cyrus, options: &str) -> (BackupServer, Certificates) {
    let mut server = BackupServer::new(cyrus);
    let dir = server.instance.dir().to_owned();
    let certificates = Certificates::new(&dir);
    certificates.issue_client("repl");
    certificates.issue_client("mallory");
    let head = fs::read_to_string(server.instance.conf()).unwrap();
    let head = head.replace("allowplaintext: yes\n", "");
    let head = head.replace("SCRAM-SHA-1 SCRAM-SHA-256", "LOGIN EXTERNAL");
    let file = |name: &str| certificates.file(name).display().to_string();
    let tls = format!(
        "tls_server_cert: {}\ntls_server_key: {}\ntls_server_ca_file: {}\ntls_client_ca_file: {}\n",
        file("server.pem"),
        file("server.key"),
        file("below.pem"),
        file("root.pem"),
    );
    fs::write(server.instance.conf(), head + &tls + options).unwrap();
    for name in ["server.pem", "server.key", "below.pem", "root.pem"] {
        server.instance.give_to_cyrus(&certificates.file(name));
    }
    server.start(Engine::Ours);
    (server, certificates)
}

fn plain(user: &str, password: &str) -> String {
    let token = crate::rig::base64(format!("\0{user}\0{password}").as_bytes());
    format!("AUTHENTICATE PLAIN {token}")
}

/// D30: C says NO to the STARTTLS that it offers.
#[test]
fn sync_client_replicates_over_starttls_because_passwords_in_clear_are_refused() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, _certificates) = with_tls(cyrus, "");
    let source = Source::start(cyrus, server.port());
    let mut anne = source.add_user("anne");
    let body = Mail::new(1).small();
    let message = Append {
        flags: "",
        date: None,
        body: &body,
    };
    anne.append("INBOX", &[message]);
    source.sync(&["-u", "anne"]).ok("sync_client over STARTTLS");
    server.wait_for_log("repl PLAIN+TLS User logged in");
    assert_eq!(server.live_messages("anne")["user.anne"].len(), 1);
    server.verify_with_c("after STARTTLS");
    source.sync(&["-u", "anne"]).ok("again");
}

#[test]
fn passwords_in_clear_are_refused_in_the_words_of_c() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, certificates) = with_tls(cyrus, "");
    let mut stream = connect(server.port());
    let greeting = banner(&mut stream);
    assert!(
        !greeting.contains("SASL") && greeting.contains("* STARTTLS\r\n"),
        "{greeting}"
    );
    drop(stream);
    let mut csync = Csync::connect(server.port());
    let answer = csync.authenticate("repl", PASSWORD);
    assert_eq!(answer.last(), "NO encryption needed to use mechanism");
    assert_eq!(
        csync.command("AUTHENTICATE EXTERNAL =").last(),
        "NO no mechanism available"
    );

    // The chain is checked up to the root: the server sends the authority between.
    let mut client = TlsClient::starttls(server.port(), &certificates, None);
    assert!(
        client.banner.starts_with("* SASL PLAIN LOGIN\r\n"),
        "{}",
        client.banner
    );
    assert!(!client.banner.contains("STARTTLS"), "{}", client.banner);
    assert_eq!(client.command("STARTTLS"), "NO TLS already active");
    assert_eq!(
        client.command(&plain("repl", "wrong")),
        "NO authentication failure"
    );
    assert_eq!(
        client.command(&plain("repl", PASSWORD)),
        "OK Success (tls protection)"
    );
    assert_eq!(client.command("GET USER anne"), "OK Success");
    assert_eq!(client.command("EXIT"), "OK Finished");
}

#[test]
fn a_client_certificate_is_a_login_by_external() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, certificates) = with_tls(cyrus, "");
    let external = "AUTHENTICATE EXTERNAL =";
    let mut client = TlsClient::starttls(server.port(), &certificates, Some("repl"));
    assert!(client.banner.starts_with("* SASL PLAIN LOGIN EXTERNAL\r\n"));
    assert_eq!(client.command(external), "OK Success (tls protection)");
    assert_eq!(client.command("GET USER anne"), "OK Success");
    server.wait_for_log("repl EXTERNAL+TLS User logged in");

    let mut client = TlsClient::starttls(server.port(), &certificates, Some("mallory"));
    assert_eq!(client.command(external), "OK Success (tls protection)");
    assert_eq!(client.command("GET USER anne"), "NO Permission denied");
    // Whose certificate it is does not change by asking for another name.
    let mut client = TlsClient::starttls(server.port(), &certificates, Some("mallory"));
    let as_repl = format!("AUTHENTICATE EXTERNAL {}", crate::rig::base64(b"repl"));
    client.command(&as_repl);
    let refused = client.command("GET USER anne");
    assert!(refused.starts_with("NO "), "{refused}");

    // An authority of somebody else makes no users here.
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Certificates::new(elsewhere.path());
    foreign.issue_client("repl");
    fs::copy(
        certificates.file("root.pem"),
        elsewhere.path().join("root.pem"),
    )
    .unwrap();
    let mut stream = connect(server.port());
    banner(&mut stream);
    stream.write_all(b"STARTTLS\r\n").unwrap();
    line(&mut stream);
    let refused = TlsClient::over(stream, &foreign, Some("repl"));
    assert!(refused.is_err() || refused.unwrap().banner.is_empty());
    server.wait_for_log("TLS:");
}

#[test]
fn nothing_in_clear_text_slips_in_before_tls() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, _certificates) = with_tls(cyrus, "");
    let mut stream = connect(server.port());
    banner(&mut stream);
    stream.write_all(b"STARTTLS\r\nNOOP\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(
        String::from_utf8_lossy(&rest),
        "OK Begin TLS negotiation now\r\n"
    );
    server.wait_for_log("clear text behind STARTTLS");
}

/// D31: C's backupd knows neither `tls_required` nor `tls_versions`.
#[test]
fn implicit_tls_old_versions_and_a_renewed_certificate() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (mut server, certificates) = with_tls(cyrus, "tls_versions: tls1_3\ntls_required: yes\n");
    let port = free_port();
    server.args = vec!["--listen-tls".to_owned(), format!("127.0.0.1:{port}")];
    server.start(Engine::Ours);
    let mut client = TlsClient::implicit(port, &certificates);
    assert_eq!(
        client.command(&plain("repl", PASSWORD)),
        "OK Success (tls protection)"
    );
    let handshake = |options: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
            .args(options);
        run(&mut openssl, Duration::from_secs(60)).out
    };
    let shown = handshake(&["-tls1_3"]);
    assert!(
        shown.contains("TLSv1.3") && shown.contains("BEGIN CERTIFICATE"),
        "{shown}"
    );
    assert!(!handshake(&["-tls1_2"]).contains("BEGIN CERTIFICATE"));

    certificates.issue_server();
    let renewed = handshake(&["-tls1_3"]);
    let certificate = |shown: &str| shown.split("-----").nth(2).unwrap().to_owned();
    assert_ne!(certificate(&shown), certificate(&renewed));
    // Half-written files leave the old certificate in use.
    fs::write(certificates.file("server.pem"), "no certificate").unwrap();
    assert_eq!(certificate(&handshake(&["-tls1_3"])), certificate(&renewed));
    server.wait_for_log("keeping the old certificate");
}

/// `tls_required`: no login in clear text, whatever else is allowed.
#[test]
fn where_tls_is_required_nobody_logs_in_without() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, certificates) = with_tls(cyrus, "allowplaintext: yes\ntls_required: yes\n");
    let mut stream = connect(server.port());
    let greeting = banner(&mut stream);
    assert!(!greeting.contains("SASL"), "{greeting}");
    let mut csync = Csync::connect(server.port());
    let answer = csync.authenticate("repl", PASSWORD);
    assert_eq!(answer.last(), "NO encryption needed to use mechanism");
    assert!(csync.command("GET USER anne").is_clear_refusal());
    let mut client = TlsClient::starttls(server.port(), &certificates, None);
    let answer = client.command(&plain("repl", PASSWORD));
    assert_eq!(answer, "OK Success (tls protection)");
}

/// `tls_client_certs`: asked for, not asked for, demanded.
#[test]
fn client_certificates_are_optional_unless_the_option_says_otherwise() {
    let Some(cyrus) = Cyrus::find() else { return };
    for (option, without, with) in [
        ("optional", true, "SASL PLAIN LOGIN EXTERNAL"),
        ("off", true, "SASL PLAIN LOGIN\r\n"),
        ("require", false, "SASL PLAIN LOGIN EXTERNAL"),
    ] {
        let (server, certificates) = with_tls(cyrus, &format!("tls_client_certs: {option}\n"));
        let client = |name: Option<&str>| {
            let mut stream = connect(server.port());
            banner(&mut stream);
            stream.write_all(b"STARTTLS\r\n").unwrap();
            line(&mut stream);
            let client = TlsClient::over(stream, &certificates, name);
            client
                .ok()
                .map(|client| client.banner)
                .filter(|banner| !banner.is_empty())
        };
        assert_eq!(client(None).is_some(), without, "{option}");
        let banner = client(Some("repl")).unwrap_or_default();
        assert!(banner.contains(with), "{option}: {banner}");
    }
    // Demanded from whom?
    let (mut server, _certificates) = with_tls(cyrus, "");
    server.stop();
    let conf = fs::read_to_string(server.instance.conf()).unwrap();
    let lines = conf
        .lines()
        .filter(|line| !line.starts_with("tls_client_ca_file"));
    let conf: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(server.instance.conf(), conf + "tls_client_certs: require\n").unwrap();
    let run = server.our_tool("backupd", &["--listen", "127.0.0.1:0"]);
    assert_ne!(run.code, Some(0));
    assert!((run.err + &run.out).contains("tls_client_ca_file"));
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start_with_its_name() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = BackupServer::new(cyrus);
    server.set_options("tls_server_cert: /nonexistent/cert.pem\n");
    let run = server.our_tool("backupd", &["--listen", "127.0.0.1:0"]);
    assert_ne!(run.code, Some(0));
    let said = run.err + &run.out;
    assert!(
        said.contains("tls_server") && said.contains("/nonexistent/cert.pem"),
        "{said}"
    );
}

#[test]
fn cross_realm_logins_need_loginrealms() {
    let Some(cyrus) = Cyrus::find() else { return };
    for (realms, expected) in [
        ("", "NO authentication failure"),
        (
            "loginrealms: x.org Other.org\n",
            "OK Success (no protection)",
        ),
    ] {
        let mut server = BackupServer::with(cyrus, realms);
        server
            .instance
            .add_password_in("other.org", "repl", PASSWORD);
        server.start(Engine::Ours);
        let mut csync = Csync::connect(server.port());
        let answer = csync.authenticate("repl@other.org", PASSWORD);
        assert_eq!(answer.last(), expected);
        // The user of another realm is not the administrator of ours.
        assert!(csync.command("GET USER anne").is_clear_refusal());
    }
}

#[test]
fn saslauthd_checks_passwords() {
    let Some(cyrus) = Cyrus::find() else { return };
    // saslauthd asks the real imapd, so nothing of this machine's own is touched.
    let source = Source::start(cyrus, free_port());
    source.instance.add_password("repl", "from-imap");
    let mut server = BackupServer::new(cyrus);
    let mux = server.instance.dir().join("mux.d");
    fs::create_dir(&mux).unwrap();
    let _daemon = Saslauthd::start(&mux, source.imap_port());
    server.instance.give_to_cyrus(&mux);
    let conf = fs::read_to_string(server.instance.conf()).unwrap();
    let conf = conf.replace(
        "sasl_pwcheck_method: auxprop",
        &format!(
            "sasl_pwcheck_method: saslauthd\nsasl_saslauthd_path: {}/mux",
            mux.display()
        ),
    );
    fs::write(
        server.instance.conf(),
        conf.replace("SCRAM-SHA-1 SCRAM-SHA-256", "LOGIN"),
    )
    .unwrap();
    server.start(Engine::Ours);
    let mut csync = Csync::connect(server.port());
    assert_eq!(
        csync.authenticate("repl", PASSWORD).last(),
        "NO authentication failure"
    );
    let answer = csync.authenticate("repl", "from-imap");
    assert!(answer.is_ok(), "{answer:?}");
    assert!(csync.command("GET USER anne").is_ok());
}

struct Saslauthd(Child);

impl Saslauthd {
    fn start(mux: &std::path::Path, imap_port: u16) -> Saslauthd {
        let child = Command::new("/usr/sbin/saslauthd")
            .args([
                "-d",
                "-a",
                "rimap",
                "-n",
                "1",
                "-O",
                &format!("127.0.0.1/{imap_port}"),
                "-m",
            ])
            .arg(mux)
            // At its end it signals its whole process group.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("saslauthd");
        let daemon = Saslauthd(child);
        let end = Instant::now() + Duration::from_secs(20);
        while !mux.join("mux").exists() {
            assert!(Instant::now() < end, "saslauthd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }
}

impl Drop for Saslauthd {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        ended(&mut self.0);
    }
}

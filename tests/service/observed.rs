//! What is seen of backupd from outside: metrics, the line of each session in the log, telemetry.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::rig::{Append, BackupServer, Csync, Cyrus, Engine, Mail, Source, free_port};
use crate::tls_client::{banner, connect};

/// The answer to one request, head and body.
fn ask(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of one line of the page; an error when there is nobody to ask.
pub fn try_metric(port: u16, name: &str) -> std::io::Result<f64> {
    let page = ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let line = page.lines().find_map(|line| {
        let rest = line.strip_prefix("cyrusbackup_")?.strip_prefix(name)?;
        rest.strip_prefix(' ')
    });
    let value = line.unwrap_or_else(|| panic!("no {name} in {page}"));
    Ok(value.parse().unwrap())
}

#[track_caller]
pub fn metric(port: u16, name: &str) -> f64 {
    try_metric(port, name).expect("the metrics page")
}

pub fn with_metrics(cyrus: Cyrus, options: &str) -> (BackupServer, u16) {
    let mut server = BackupServer::with(cyrus, options);
    let port = free_port();
    server.args = vec!["--metrics".to_owned(), port.to_string()];
    server.start(Engine::Ours);
    (server, port)
}

#[test]
fn metrics_count_what_sync_client_sent() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (mut server, port) = with_metrics(cyrus, "");
    let mut wrong = Csync::connect(server.port());
    assert!(!wrong.authenticate("repl", "wrong").is_ok());
    drop(wrong);
    let source = Source::start(cyrus, server.port());
    let mut anne = source.add_user("anne");
    let bodies = [Mail::new(1).small(), Mail::new(2).small()];
    let messages = bodies.each_ref().map(|body| Append {
        flags: "",
        date: None,
        body,
    });
    anne.append("INBOX", &messages);
    source.sync(&["-u", "anne"]).ok("sync_client");

    let octets: usize = bodies.iter().map(Vec::len).sum();
    assert_eq!(metric(port, "logins_total{result=\"ok\"}"), 1.0);
    assert_eq!(metric(port, "logins_total{result=\"failed\"}"), 1.0);
    assert_eq!(metric(port, "messages_total"), 2.0);
    assert_eq!(metric(port, "message_bytes_total"), octets as f64);
    let file = server.data_file("anne");
    let length = fs::metadata(&file).unwrap().len() as f64;
    assert_eq!(metric(port, "stored_bytes_total"), length);
    assert!(metric(port, "received_bytes_total") > 0.0);
    assert!(metric(port, "sent_bytes_total") > 0.0);
    assert!(metric(port, "commands_total{reply=\"ok\"}") >= 3.0);
    assert!(metric(port, "commit_seconds_count") >= 1.0);
    assert_eq!(metric(port, "last_success_age_seconds_count"), 1.0);
    assert_eq!(
        metric(port, "last_success_age_seconds_bucket{le=\"3600\"}"),
        1.0
    );
    assert_eq!(metric(port, "recoveries_total"), 0.0);

    // What is open now, and no longer after the end.
    let mut csync = Csync::login(server.port());
    assert!(
        csync
            .command("APPLY SUB %(USERID anne MBOXNAME user.anne)")
            .is_ok()
    );
    assert_eq!(metric(port, "open_backups"), 1.0);
    assert_eq!(metric(port, "connections"), 1.0);

    // A crash, and what the next session finds.
    server.reap();
    server.start(Engine::Ours);
    assert!(Csync::login(server.port()).command("GET USER anne").is_ok());
    assert_eq!(metric(port, "recoveries_total"), 1.0);
    let end = Instant::now() + Duration::from_secs(20);
    while metric(port, "connections") != 0.0 || metric(port, "open_backups") != 0.0 {
        assert!(Instant::now() < end, "sessions are over, and still counted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_metrics_port_answers_one_page_to_everybody_in_bounded_time() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, port) = with_metrics(cyrus, "");
    let status = |request: &str| {
        ask(port, request)
            .expect("an answer")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(status("GET /metrics HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK");
    assert_eq!(status("HEAD /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK");
    assert_eq!(
        status("GET /etc/passwd HTTP/1.1\r\n\r\n"),
        "HTTP/1.1 404 Not Found"
    );
    assert_eq!(
        status("DELETE / HTTP/1.1\r\n\r\n"),
        "HTTP/1.1 405 Method Not Allowed"
    );
    // Those who say nothing are hung up on, and then others have their turn.
    let silent: Vec<TcpStream> = (0..20).map(|_| connect(port)).collect();
    let mut endless = connect(port);
    let _ = endless.write_all(&vec![b'x'; 1 << 20]);
    assert!(Csync::login(server.port()).command("NOOP").is_ok());
    drop((silent, endless));
    assert_eq!(status("GET /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK");
    // Nobody but this machine, unless asked for.
    let listens = fs::read_to_string("/proc/net/tcp").unwrap();
    assert!(listens.contains(&format!("0100007F:{port:04X} 00000000:0000 0A")));

    let taken = server.our_tool(
        "backupd",
        &["--listen", "127.0.0.1:0", "--metrics", &port.to_string()],
    );
    assert_eq!(taken.code, Some(75), "{taken:?}");
    assert!(
        taken.err.contains("cannot listen for --metrics"),
        "{}",
        taken.err
    );
}

#[test]
fn every_session_leaves_one_line_that_says_what_it_did_and_why_it_ended() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut server = BackupServer::new(cyrus);
    let port = server.start(Engine::Ours);
    let message = "APPLY MESSAGE (%{default 8eb579e6cc93d98e510500fcdc7032ac0f3d09a0 3}\r\n";

    let mut csync = Csync::login(port);
    for line in [
        "GET USER anne",
        "APPLY SUB %(USERID anne MBOXNAME user.anne)",
        "APPLY SUB %(USERID bob MBOXNAME user.bob)",
        "APPLY NOSUCH x",
        "EXIT",
    ] {
        csync.command(line);
    }
    server.wait_for_log(
        "session: [127.0.0.1] repl commands=4 refused=1 backups=2 messages=0 stored=",
    );
    server.wait_for_log("end=\"EXIT\"");

    let mut csync = Csync::login(port);
    csync.send(message.as_bytes()).unwrap();
    drop(csync);
    server.wait_for_log("end=\"end of file\"");

    let mut csync = Csync::connect(port);
    assert!(csync.authenticate("nobody", crate::rig::PASSWORD).is_ok());
    for _ in 0..3 {
        csync.command("GET USER anne");
    }
    server.wait_for_log("session: [127.0.0.1] nobody in=");
    server.wait_for_log("end=\"permission denied\"");

    let mut still_there = Csync::login(port);
    assert!(still_there.command("NOOP").is_ok());
    server.stop();
    server.wait_for_log("end=\"server is going down\"");

    // Health checks are no sessions.
    let port = server.start(Engine::Ours);
    banner(&mut connect(port));
    assert!(Csync::login(port).command("EXIT").is_ok());
    server.stop();
    let log = fs::read_to_string(server.log()).unwrap();
    let sessions = log
        .lines()
        .filter(|line| line.contains("session: "))
        .count();
    assert_eq!(sessions, 5, "{log}");
}

/// Of C's files and ours, with the digits of times and process ids taken away.
fn records(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    let text = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    found
        .into_iter()
        .map(|path| (path.clone(), text(&path)))
        .collect()
}

/// The pieces of a record: who, what.
fn pieces(record: &str) -> Vec<(char, String)> {
    let (head, mut rest) = record.split_once("\n\n").expect("a head");
    assert!(head.starts_with("---------- repl "), "{head}");
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let side = rest.chars().next().unwrap();
        let (time, after) = rest[1..].split_once(side).expect("a time");
        assert!(time.parse::<u64>().is_ok(), "{time}");
        let end = after.find("\r\n").map_or(after.len(), |end| end + 2);
        pieces.push((side, after[..end].to_owned()));
        rest = &after[end..];
    }
    pieces
}

/// D33: the file of a session.
#[test]
fn telemetry_is_that_of_c_one_file_for_each_session() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut server = BackupServer::new(cyrus);
    let directory = server.instance.dir().join("conf/log/repl");
    fs::create_dir(&directory).unwrap();
    server.instance.give_to_cyrus(&directory);
    let mut seen = Vec::new();
    for engine in [Engine::C, Engine::Ours] {
        let port = server.start(engine);
        let mut csync = Csync::login(port);
        // Each in one piece, as it will be recorded.
        for line in [
            "APPLY SUB %(USERID anne MBOXNAME user.anne)\r\n",
            "NOOP\r\n",
            "EXIT\r\n",
        ] {
            csync.send(line.as_bytes()).unwrap();
            assert!(csync.answer().is_ok());
        }
        drop(csync);
        server.stop();
        let found = records(&directory);
        assert_eq!(found.len(), 1, "{engine:?}: {found:?}");
        let (path, record) = &found[0];
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("backupd-"), "{engine:?}: {name}");
        seen.push(pieces(record));
        fs::remove_file(path).unwrap();
    }
    assert_eq!(seen[0], seen[1], "C's and ours");

    // Two at a time do not mix, and what sync_client compresses is readable.
    server.set_options("telemetry_bysessionid: yes\n");
    let port = server.start(Engine::Ours);
    let source = Source::start(cyrus, port);
    source.add_user("anne");
    let mut other = Csync::login(port);
    assert!(other.command("GET USER bob").is_ok());
    source.sync(&["-u", "anne"]).ok("sync_client");
    assert!(other.command("EXIT").is_ok());
    server.stop();
    let found = records(&directory);
    assert_eq!(found.len(), 2, "{found:?}");
    let with = |text: &str| {
        found
            .iter()
            .filter(|(_, record)| record.contains(text))
            .count()
    };
    assert_eq!(with("GET USER bob"), 1);
    assert_eq!(with("APPLY MAILBOX "), 1);
    assert_eq!(with("user.anne"), 1);
    for (path, _) in &found {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("backupd-localhost-"), "{name}");
    }
}

//! The program `backupd` as a peer sees it: logins with the real libsasl2 by Cyrus' own client, COMPRESS,
//! memory, junk, standard input, shutdown. What GET and APPLY mean is tested elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

#[path = "rig/process.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is a part of the rig")]
mod process;

use process::{ended, run};

/// For a program to end.
const LIMIT: Duration = Duration::from_secs(60);
const SYNCTEST: &str = "/usr/lib/cyrus/bin/synctest";
const SASLPASSWD: &str = "/usr/sbin/saslpasswd2";

/// A running server; killed when dropped.
struct Server {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    /// `None` when Cyrus' packages are missing, which is said aloud, and an error in CI.
    fn start(options: &str) -> Option<Server> {
        if let Some(missing) = [SYNCTEST, SASLPASSWD]
            .iter()
            .find(|file| !Path::new(file).exists())
        {
            assert!(std::env::var_os("CI").is_none(), "{missing} is missing");
            eprintln!("SKIPPED: {missing} is missing; install cyrus-clients and sasl2-bin");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for user in ["repl", "anne"] {
            add_user(&dir.path().join("sasldb2"), user);
        }
        let mut child = command(dir.path(), options)
            .args(["--listen", "127.0.0.1:0", "--listen"])
            .arg(dir.path().join("socket"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut listening = log
            .by_ref()
            .map(Result::unwrap)
            .filter(|line| line.contains("listening on "));
        let first = listening.next().expect("the server says where it listens");
        listening.next().expect("the second listener");
        let port = first.rsplit(':').next().unwrap().parse().unwrap();
        let to = dir.path().join("log");
        std::thread::spawn(move || {
            let mut file = std::fs::File::create(to).unwrap();
            for line in log.map_while(Result::ok) {
                writeln!(file, "{line}").unwrap();
            }
        });
        Some(Server { child, port, dir })
    }

    fn connect(&self) -> Client<TcpStream> {
        let mut client = Client(BufReader::new(
            TcpStream::connect(("127.0.0.1", self.port)).unwrap(),
        ));
        while !client.line().starts_with("* OK ") {}
        client
    }

    /// A client that needs no login.
    fn trusted(&self) -> Client<UnixStream> {
        let stream = UnixStream::connect(self.dir.path().join("socket")).unwrap();
        let mut client = Client(BufReader::new(stream));
        assert!(client.line().starts_with("* OK "));
        client
    }

    /// Resident memory in KiB: now and at its peak.
    fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_ascii_whitespace()
                .nth(1)
                .unwrap()
                .parse()
                .unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Whether the log says this, now or within some seconds: the client may be told first.
    fn logs(&self, text: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.log().contains(text) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// SIGTERM; the exit code.
    fn stop(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        ended(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

struct Client<S>(BufReader<S>);

impl<S: Read + Write> Client<S> {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn ask(&mut self, text: &str) -> String {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        self.line()
    }
}

fn command(dir: &Path, options: &str) -> Command {
    let config = dir.join("imapd.conf");
    let base = dir.display();
    let text = format!(
        "configdirectory: {base}\nservername: localhost\nadmins: repl\nbackuppartition-default: {base}/part\n\
         backup_staging_path: {base}/staging\nsasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\n\
         sasl_sasldb_path: {base}/sasldb2\nfailedloginpause: 1s\n{options}"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_backupd"));
    // Root stays root here; anybody else stays who they are anyway.
    command
        .arg("-C")
        .arg(config)
        .env("CYRUS_USER", "root")
        .env("CYRUS_GROUP", "root");
    command
}

fn add_user(database: &Path, user: &str) {
    let mut child = Command::new(SASLPASSWD)
        .args(["-p", "-c", "-u", "localhost", "-f"])
        .args([database, Path::new(user)])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"secret").unwrap();
    assert_eq!(ended(&mut child), Some(0));
}

/// What Cyrus' client shows of a login and the commands in `script`.
fn synctest(server: &Server, args: &[&str], script: &str) -> String {
    let file = server.dir.path().join("script");
    std::fs::write(&file, script).unwrap();
    let port = server.port.to_string();
    let output = Command::new("timeout")
        .args(["20", SYNCTEST, "-p", &port, "-f"])
        .arg(&file)
        .args(args)
        .arg("localhost")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut shown = String::from_utf8_lossy(&output.stdout).into_owned();
    shown += &String::from_utf8_lossy(&output.stderr);
    shown
}

#[test]
fn cyrus_client_logs_in_with_every_mechanism() {
    let Some(server) = Server::start("allowplaintext: yes\n") else {
        return;
    };
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let login = ["-m", mechanism, "-a", "repl", "-w", "secret"];
        let shown = synctest(&server, &login, "NOOP\r\nEXIT\r\n");
        assert!(shown.contains("Authenticated."), "{mechanism}: {shown}");
        assert!(
            shown.contains("Security strength factor: 0"),
            "{mechanism}: {shown}"
        );
        assert!(shown.contains("OK Noop completed"), "{mechanism}: {shown}");
        let logged = format!("login: [127.0.0.1] repl {mechanism} User logged in");
        assert!(server.logs(&logged), "{}", server.log());

        let wrong = ["-m", mechanism, "-a", "repl", "-w", "wrong"];
        let begun = Instant::now();
        let shown = synctest(&server, &wrong, "");
        assert!(
            shown.contains("NO authentication failure"),
            "{mechanism}: {shown}"
        );
        assert!(
            begun.elapsed() >= Duration::from_secs(1),
            "failedloginpause"
        );
        assert!(
            server
                .log()
                .contains(&format!("badlogin: [127.0.0.1] {mechanism} ["))
        );
    }
    let nobody = ["-m", "SCRAM-SHA-256", "-a", "nosuchuser", "-w", "secret"];
    let shown = synctest(&server, &nobody, "");
    assert!(
        shown.contains("NO authentication failure"),
        "no hint who exists: {shown}"
    );
    for login in [["-a", "anne", "-u", "anne"], ["-a", "repl", "-u", "anne"]] {
        let args = [&["-m", "PLAIN", "-w", "secret"], &login[..]].concat();
        let shown = synctest(&server, &args, "GET USER anne\r\nNOOP\r\nEXIT\r\n");
        assert!(shown.contains("Authenticated."), "{shown}");
        assert!(shown.contains("NO Permission denied"), "{shown}");
        assert!(!shown.contains("OK Noop"), "{shown}");
    }
    assert!(server.logs("anne is not in admins"), "{}", server.log());
}

#[test]
fn without_allowplaintext_no_password_crosses_the_wire() {
    let Some(server) = Server::start("sasl_mech_list: PLAIN SCRAM-SHA-256 DIGEST-MD5\n") else {
        return;
    };
    let mut client = Client(BufReader::new(
        TcpStream::connect(("127.0.0.1", server.port)).unwrap(),
    ));
    assert_eq!(client.line(), "* SASL SCRAM-SHA-256\r\n");
    let (_, _) = (client.line(), client.line());
    let answer = client.ask("AUTHENTICATE PLAIN AHJlcGwAc2VjcmV0\r\n");
    assert_eq!(answer, "NO encryption needed to use mechanism\r\n");
    let answer = client.ask("AUTHENTICATE DIGEST-MD5\r\n");
    assert_eq!(answer, "NO no mechanism available\r\n");
}

#[test]
fn cyrus_client_compresses() {
    let Some(server) = Server::start("allowplaintext: yes\n") else {
        return;
    };
    let login = ["-q", "-m", "SCRAM-SHA-256", "-a", "repl", "-w", "secret"];
    let shown = synctest(&server, &login, "NOOP\r\nRESTART\r\nEXIT\r\n");
    for answer in [
        "OK DEFLATE active",
        "OK Noop completed",
        "OK Restarting",
        "OK Finished",
    ] {
        assert!(shown.contains(answer), "{answer}: {shown}");
    }
}

#[test]
fn idle_connections_cost_kilobytes() {
    let Some(server) = Server::start("allowplaintext: yes\n") else {
        return;
    };
    let before = server.memory().0;
    let clients: Vec<_> = (0..500).map(|_| server.trusted()).collect();
    let idle = server.memory().0 - before;
    eprintln!("500 idle connections: {idle} KiB");
    assert!(idle < 500 * 16, "{idle} KiB");
    let mut deflating = Vec::new();
    for mut client in clients {
        assert_eq!(client.ask("COMPRESS DEFLATE\r\n"), "OK DEFLATE active\r\n");
        deflating.push(client);
    }
    let compressed = server.memory().0 - before;
    eprintln!("500 idle compressed connections: {compressed} KiB");
    assert!(compressed < 500 * 96, "{compressed} KiB");
}

/// Sends `start` and then `junk` again and again, `size` octets in all, until the server hangs up.
fn pour(stream: &mut impl Write, start: &[u8], junk: &[u8], size: u64) -> u64 {
    let mut sent = 0;
    if stream.write_all(start).is_err() {
        return sent;
    }
    while sent < size {
        match stream.write_all(junk) {
            Ok(()) => sent += junk.len() as u64,
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                    "{error}"
                );
                break;
            }
        }
    }
    sent
}

#[test]
fn three_gigabytes_of_junk_cost_no_memory() {
    // A build without optimisation is slow at this and proves the same with less.
    let size: u64 = if cfg!(debug_assertions) {
        200 << 20
    } else {
        3 << 30
    };
    let Some(server) = Server::start("allowplaintext: yes\n") else {
        return;
    };
    let junk = vec![b'x'; 1 << 20];

    let mut stranger = server.connect();
    let sent = pour(stranger.0.get_mut(), b"", &junk, 3 << 30);
    assert!(
        sent < 64 << 20,
        "hung up on after some megabytes, not {sent}"
    );

    let mut client = server.trusted();
    assert_eq!(pour(client.0.get_mut(), b"", &junk, size), size);
    let answer = client.ask("\r\n");
    assert!(answer.starts_with("BAD IMAP_PROTOCOL_ERROR "), "{answer}");
    assert_eq!(client.ask("NOOP\r\n"), "OK Noop completed\r\n");

    // The same, deflated: some megabytes on the wire. Sync flushes make it repeatable.
    assert_eq!(client.ask("COMPRESS DEFLATE\r\n"), "OK DEFLATE active\r\n");
    let mut compress = Compress::new(Compression::best(), false);
    let mut inflate = Decompress::new(false);
    for text in std::iter::repeat_n(&junk[..], (size >> 20) as usize).chain([&b"\r\n"[..]]) {
        let mut coded = Vec::with_capacity(64 << 10);
        compress
            .compress_vec(text, &mut coded, FlushCompress::Sync)
            .unwrap();
        client.0.get_mut().write_all(&coded).unwrap();
    }
    let mut answer = Vec::with_capacity(1000);
    while !answer.ends_with(b"\r\n") {
        let coded = client.0.fill_buf().unwrap();
        let before = inflate.total_in();
        inflate
            .decompress_vec(coded, &mut answer, FlushDecompress::Sync)
            .unwrap();
        let used = (inflate.total_in() - before) as usize;
        client.0.consume(used);
    }
    assert!(answer.starts_with(b"BAD IMAP_PROTOCOL_ERROR "));

    let peak = server.memory().1;
    eprintln!("peak after junk: {peak} KiB");
    assert!(peak < 64 << 10, "{peak} KiB");
    assert_eq!(server.trusted().ask("NOOP\r\n"), "OK Noop completed\r\n");
}

#[test]
fn long_lines_are_spooled_without_heap_and_without_names() {
    let Some(server) = Server::start("allowplaintext: yes\n") else {
        return;
    };
    let mut client = server.trusted();
    let words = b"word ".repeat(200 << 10);
    let start = b"APPLY MAILBOX %(UNIQUEID u MBOXNAME user.anne RECORD (";
    pour(client.0.get_mut(), start, &words, 60 << 20);
    let staging: PathBuf = server.dir.path().join("staging");
    assert_eq!(std::fs::read_dir(&staging).unwrap().count(), 0);
    let peak = server.memory().1;
    assert!(peak < 64 << 10, "{peak} KiB");
    let answer = client.ask("))\r\n");
    assert!(
        answer.starts_with("NO ") || answer.starts_with("BAD "),
        "{answer}"
    );
    assert_eq!(client.ask("NOOP\r\n"), "OK Noop completed\r\n");
}

#[test]
fn sigterm_ends_it_with_zero_and_leaves_nothing() {
    let Some(mut server) = Server::start("allowplaintext: yes\n") else {
        return;
    };
    let (mut idle, mut busy) = (server.trusted(), server.trusted());
    assert_eq!(busy.ask("NOOP\r\n"), "OK Noop completed\r\n");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(idle.line(), "BYE Server is going down\r\n");
    assert!(!server.dir.path().join("socket").exists());
}

#[test]
fn standard_input_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), "")
        .arg("-X")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"NOOP\r\nEXIT\r\nNOOP\r\n")
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let code = ended(&mut child);
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("* OK localhost "), "{text}");
    assert_eq!(lines[1..], ["OK Noop completed", "OK Finished"]);
    assert_eq!(code, Some(0));
}

#[test]
fn how_to_listen_must_be_said() {
    let dir = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (&[][..], "--listen"),
        (&["-X", "--listen", "127.0.0.1:0"], "cannot be used with"),
        (&["--listen", "2005"], "expected ADDRESS:PORT"),
    ] {
        let output = run(command(dir.path(), "").args(args), LIMIT);
        assert_ne!(output.code, Some(0));
        assert!(output.err.contains(expected), "{}", output.err);
    }
    let mut backupd = Command::new(env!("CARGO_BIN_EXE_backupd"));
    let output = run(backupd.args(["-C", "/no/such/file", "-X"]), LIMIT);
    assert_eq!(output.code, Some(78));
}

//! The ways to start backupd: under the real cyrmaster, with sockets from systemd, and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::observed::{metric, try_metric};
use crate::rig::{
    BackupServer, Csync, Cyrus, Master, Service, Source, ended, free_port, our_binary, run,
    wait_for_banner,
};
use crate::tls_client::{banner, connect, line};

/// Waits for something to become true; panics after 30 s.
#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A service line with our program, which logs where the master does.
fn under_master(server: &BackupServer, program: &Path, options: &str, port: u16) -> Master {
    let program = format!("{} --log stderr {options}", program.display());
    let service = Service {
        name: "backupd",
        program: program.trim(),
        port,
    };
    Master::start(&server.instance, &[service])
}

fn master_log(server: &BackupServer) -> String {
    fs::read_to_string(server.instance.dir().join("log/services.log")).unwrap_or_default()
}

/// D32: many connections, one process.
#[test]
fn cyrmaster_starts_ours_in_the_place_of_cs_and_one_process_serves_all() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = BackupServer::new(cyrus);
    let (port, metrics) = (free_port(), free_port());
    let options = format!("--metrics {metrics}");
    let master = under_master(&server, Path::new(our_binary("backupd")), &options, port);
    let source = Source::start(cyrus, port);
    source.add_user("anne");
    source.add_user("bob");
    source
        .sync(&["-A"])
        .ok("sync_client to ours under cyrmaster");
    server.verify_with_c("under cyrmaster");
    let mut clients: Vec<Csync> = (0..20).map(|_| Csync::login(port)).collect();
    for client in &mut clients {
        assert!(client.command("GET USER anne").is_ok());
    }
    assert_eq!(master.children().len(), 1, "{}", master_log(&server));
    let counted = metric(metrics, "connections_total");
    assert!(counted > 20.0, "{counted}");

    // SIGHUP: a new process for new clients, the old ones are served to their end.
    let old = master.children()[0];
    kill(Pid::from_raw(old as i32), Signal::SIGHUP).unwrap();
    wait_for("a new process", || {
        let mut next = Csync::login(port);
        assert!(next.command("NOOP").is_ok());
        master.children().iter().any(|&pid| pid != old)
    });
    // Metrics are those of the new process, as soon as the old one has left the port.
    wait_for("the metrics of the new process", || {
        try_metric(metrics, "connections_total").is_ok_and(|now| now < counted)
    });
    for client in &mut clients {
        assert!(client.command("GET USER bob").is_ok());
        assert!(client.command("EXIT").is_ok());
    }
    drop(clients);
    wait_for("the end of the old process", || {
        !master.children().contains(&old)
    });
    drop(master);
    let log = master_log(&server);
    assert!(log.contains("graceful shutdown"), "{log}");
    // Nothing that the master calls unexpected.
    for complaint in ["abnormally", "unknown", "ERROR"] {
        assert!(!log.contains(complaint), "{complaint}: {log}");
    }
}

#[test]
fn a_process_leaves_after_its_uses_when_idle_and_when_its_program_is_replaced() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = BackupServer::new(cyrus);
    // -U: banner probe and two more, then another process.
    let port = free_port();
    let master = under_master(&server, Path::new(our_binary("backupd")), "-U 3", port);
    let first = master.children()[0];
    for _ in 0..2 {
        assert!(Csync::login(port).command("EXIT").is_ok());
    }
    wait_for("the end after three uses", || {
        !master.children().contains(&first)
    });
    assert!(Csync::login(port).command("EXIT").is_ok());
    drop(master);

    // -T: it goes by itself, and comes back when needed.
    let port = free_port();
    let master = under_master(&server, Path::new(our_binary("backupd")), "-T 1", port);
    wait_for("the end when idle", || master.children().is_empty());
    assert!(Csync::login(port).command("EXIT").is_ok());
    drop(master);

    // A new version of the program.
    let program = server.instance.dir().join("backupd");
    fs::copy(our_binary("backupd"), &program).unwrap();
    let port = free_port();
    let master = under_master(&server, &program, "-T 0", port);
    let old = master.children()[0];
    let mut open = Csync::login(port);
    let newer = server.instance.dir().join("backupd.new");
    fs::copy(our_binary("backupd"), &newer).unwrap();
    fs::rename(&newer, &program).unwrap();
    assert!(Csync::login(port).command("EXIT").is_ok());
    assert!(master.children().iter().any(|&pid| pid != old));
    assert!(
        open.command("GET USER anne").is_ok(),
        "the old one still serves"
    );
    assert!(open.command("EXIT").is_ok());
    wait_for("the end of the old version", || {
        !master.children().contains(&old)
    });
}

#[test]
fn status_messages_and_exit_codes_are_those_of_a_cyrus_service() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = BackupServer::new(cyrus);
    let (mut child, port, mut status) = with_descriptors(&server, &["-U", "2"]);
    let message = |kind: i32, pid: u32| [kind.to_ne_bytes(), pid.to_ne_bytes()].concat();
    let mut next = || {
        let mut octets = vec![0; 8];
        wait_for("a status message", || readable(&status));
        status.read_exact(&mut octets).unwrap();
        octets
    };
    let mut one = Csync::login(port);
    assert_eq!(next(), message(4, child.id()));
    let mut two = Csync::login(port);
    assert_eq!(next(), message(4, child.id()));
    assert_eq!(next(), message(2, child.id()), "it takes no more");
    assert!(one.command("EXIT").is_ok());
    assert!(
        child.try_wait().unwrap().is_none(),
        "the second is still there"
    );
    assert!(two.command("EXIT").is_ok());
    assert_eq!(ended(&mut child), Some(0));

    let (mut child, port, _status) = with_descriptors(&server, &[]);
    let mut csync = Csync::login(port);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(ended(&mut child), Some(75));
    assert_eq!(csync.answer().last(), "BYE Server is going down");
}

/// Octets wait in a pipe.
fn readable(pipe: &std::io::PipeReader) -> bool {
    let mut waiting = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut waiting, PollTimeout::ZERO).unwrap() > 0
}

/// As the master starts it: descriptors 3 and 4, and the name of the service.
fn with_descriptors(server: &BackupServer, args: &[&str]) -> (Child, u16, std::io::PipeReader) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (status, write) = std::io::pipe().unwrap();
    let child = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" 3>&1 4<&0 </dev/null >/dev/null"])
        .arg(our_binary("backupd"))
        .arg("-C")
        .arg(server.instance.conf())
        .args(["--log", "stderr"])
        .args(args)
        .env("CYRUS_SERVICE", "backupd")
        .env("CYRUS_ID", "0")
        .stdin(OwnedFd::from(listener))
        .stdout(write)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // No need to wait: the kernel queues connections meanwhile.
    (child, port, status)
}

#[test]
fn nobody_started_it() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = BackupServer::new(cyrus);
    let run = server.our_tool("backupd", &[]);
    assert_eq!(run.code, Some(70), "{run:?}");
    assert!(run.err.contains("nothing to serve"), "{}", run.err);
}

/// What would go wrong with the first mail is said at the start: the option, the place and why.
#[test]
fn a_place_that_cannot_be_used_is_told_at_the_start() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = BackupServer::new(cyrus);
    let dir = server.instance.dir();
    fs::write(dir.join("file"), "").unwrap();
    fs::create_dir(dir.join("roots")).unwrap();
    fs::create_dir_all(dir.join("old/a")).unwrap();
    fs::write(dir.join("old/a/anne_AAAAAA"), "mail").unwrap();
    for place in ["old", "old/a"] {
        server.instance.give_to_cyrus(&dir.join(place));
    }
    // So that it ends after it has said all.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let conf = dir.join("places.conf");
    let start = |options: &str, args: &[&str]| {
        let text = format!(
            "configdirectory: {0}/conf2\nservername: localhost\n{options}",
            dir.display()
        );
        fs::write(&conf, text.replace("@B@", dir.to_str().unwrap())).unwrap();
        let mut backupd = Command::new(our_binary("backupd"));
        backupd.arg("-C").arg(&conf).args(args);
        run(&mut backupd, Duration::from_secs(60))
    };
    let listen = ["--listen", &address];
    for (options, says) in [
        (
            "",
            "no new backup can be made: imapd.conf names no partition",
        ),
        (
            "backuppartition-x: @B@/file\n",
            "backuppartition-x: @B@/file: is no directory",
        ),
        (
            "backuppartition-x: rel\n",
            "backuppartition-x: rel: is no absolute path",
        ),
        (
            "backuppartition-x: @B@/roots\n",
            "backuppartition-x: @B@/roots: the user cyrus cannot write: Permission denied",
        ),
        (
            "backuppartition-x: @B@/roots/a/b\n",
            "@B@/roots/a/b: does not exist, and in @B@/roots the user cyrus cannot write",
        ),
        (
            "backuppartition-x: @B@/new\n",
            "@B@/new does not exist: it is made for the first",
        ),
        (
            "backup_staging_path: @B@/file\n",
            "backup_staging_path: @B@/file: is no directory",
        ),
        (
            "backuppartition-x: @B@/old\n",
            "knows of no backup, but there are files in @B@/old",
        ),
    ] {
        let run = start(options, &listen);
        let says = says.replace("@B@", dir.to_str().unwrap());
        assert!(run.err.contains(&says), "{options}: {}", run.err);
        assert!(run.err.contains(&format!(
            "cannot listen on {address}: Address already in use"
        )));
        assert_eq!(run.code, Some(75), "{options}: {}", run.err);
    }
    // What nobody can mend by waiting ends with 78, a wrong command line with 64; each is said once.
    for (options, args, code, says) in [
        (
            "",
            &["--listen-tls", "127.0.0.1:0"][..],
            78,
            "imapd.conf: TLS from the first octet needs a certificate",
        ),
        (
            "tls_server_cert: /nope\n",
            &["--listen", "127.0.0.1:0"],
            78,
            "imapd.conf: TLS cannot be used: tls_server_cert (it must hold the key too",
        ),
        (
            "sync_timeout: soon\n",
            &listen,
            78,
            "fatal error: unparsable duration 'soon' for sync_timeout",
        ),
        (
            "cyrus_user: nosuch\n",
            &listen,
            64,
            "fatal error: must run as the Cyrus user: no entry in /etc/passwd for user nosuch",
        ),
        ("", &["--frob"], 64, "unexpected argument '--frob'"),
        ("", &["--listen", "nowhere"], 64, "expected ADDRESS:PORT"),
    ] {
        let run = start(options, args);
        assert_eq!(run.code, Some(code), "{options}{args:?}: {}", run.err);
        assert_eq!(
            run.err.matches(says).count(),
            1,
            "{options}{args:?}: {}",
            run.err
        );
    }
}

#[test]
fn systemd_gives_the_sockets_and_hears_how_it_goes() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = BackupServer::new(cyrus);
    let notify = server.instance.dir().join("notify");
    let heard = UnixDatagram::bind(&notify).unwrap();
    heard
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // backupd is the user cyrus by then.
    server.instance.give_to_cyrus(&notify);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "LISTEN_PID=$$ WATCHDOG_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null",
        ])
        .arg(our_binary("backupd"))
        .arg("-C")
        .arg(server.instance.conf())
        .env("LISTEN_FDS", "1")
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "300000")
        .stdin(OwnedFd::from(listener))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hear = |wanted: &str| {
        let mut octets = [0; 512];
        loop {
            let len = heard.recv(&mut octets).unwrap();
            if String::from_utf8_lossy(&octets[..len]).contains(wanted) {
                return;
            }
        }
    };
    hear("READY=1");
    assert!(Csync::login(port).command("GET USER anne").is_ok());
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    assert!(Csync::login(port).command("NOOP").is_ok());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    hear("STOPPING=1");
    assert_eq!(ended(&mut child), Some(0));
}

#[test]
fn systemd_socket_activate_starts_it() {
    let Some(cyrus) = Cyrus::find() else { return };
    let program = PathBuf::from("/usr/bin/systemd-socket-activate");
    if !program.exists() {
        assert!(std::env::var_os("CI").is_none(), "systemd is not installed");
        eprintln!("SKIPPED: systemd-socket-activate is missing (Debian package systemd)");
        return;
    }
    let server = BackupServer::new(cyrus);
    let port = free_port();
    let mut child = Command::new(program)
        .args(["-l", &format!("127.0.0.1:{port}")])
        .arg(our_binary("backupd"))
        .arg("-C")
        .arg(server.instance.conf())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_banner(port);
    assert!(Csync::login(port).command("GET USER anne").is_ok());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(ended(&mut child), Some(0));
}

#[test]
fn a_stopping_server_finishes_the_command_at_hand_and_what_it_said_ok_to_stays() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut server = BackupServer::new(cyrus);
    let port = server.start(crate::rig::Engine::Ours);
    let mut csync = Csync::login(port);
    let answer = csync.command("APPLY SUB %(USERID anne MBOXNAME user.anne)");
    assert!(answer.is_ok(), "{answer:?}");
    server.stop();
    assert_eq!(csync.answer().last(), "BYE Server is going down");
    server.verify_with_c("after SIGTERM in the middle of a session");
    let port = server.start(crate::rig::Engine::Ours);
    let mut stream: TcpStream = connect(port);
    banner(&mut stream);
    stream.write_all(b"EXIT\r\n").unwrap();
    assert_eq!(line(&mut stream), "OK Finished\r\n");
}

/// The sync of a change takes a second; the signal comes in the middle of it.
#[test]
fn sigterm_in_the_middle_of_a_command_lets_it_finish_and_answer() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut server = BackupServer::new(cyrus);
    let port = server.start_failing("fdatasync:delay_enter=1000000");
    let mut csync = Csync::login(port);
    let begun = Instant::now();
    csync
        .send(b"APPLY SUB %(USERID anne MBOXNAME user.anne)\r\n")
        .unwrap();
    let file = wait_for_data(&server);
    let pid = Pid::from_raw(server.pid() as i32);
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(csync.answer().is_ok(), "the command at hand");
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "not before it was on the disk"
    );
    assert_eq!(csync.answer().last(), "BYE Server is going down");
    assert_eq!(server.ended(), Some(0));
    // Whole and closed: nothing is left to recover.
    server.verify_with_c("after SIGTERM in the middle of a command");
    assert!(server.data_file("anne").starts_with(file.parent().unwrap()));
    let log = fs::read_to_string(server.log()).unwrap();
    assert!(log.contains("end=\"server is going down\""), "{log}");
    let port = server.start(crate::rig::Engine::Ours);
    let answer = Csync::login(port).command("GET USER anne");
    assert!(
        format!("{answer:?}").contains("* LSUB (user.anne)"),
        "{answer:?}"
    );
    assert!(
        !fs::read_to_string(server.log())
            .unwrap()
            .contains("recovering")
    );
}

/// Waits until octets of a change are in the data file.
fn wait_for_data(server: &BackupServer) -> PathBuf {
    let part = server.instance.dir().join("part");
    let mut found = None;
    wait_for("a data file with content", || {
        let files = walk(&part);
        found = files.into_iter().find(|path| {
            path.extension().is_none() && fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
        });
        found.is_some()
    });
    found.unwrap()
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => walk(&path),
            path => vec![path],
        })
        .collect()
}

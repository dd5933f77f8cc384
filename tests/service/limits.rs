//! What peers may cost: each option of imapd.conf with a peer that asks for more.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use cyrusbackup::types::Guid;

use crate::observed::{metric, with_metrics};
use crate::rig::{Answer, BackupServer, Csync, Cyrus, Engine};
use crate::tls_client::{banner, connect, line};

fn with(cyrus: Cyrus, options: &str) -> BackupServer {
    let mut server = BackupServer::with(cyrus, options);
    server.start(Engine::Ours);
    server
}

/// A body without an owner, of this size; `n` makes it another one.
fn stage(csync: &mut Csync, n: u8, size: usize) -> Answer {
    let body = vec![n; size];
    let head = format!("APPLY MESSAGE (%{{default {} {size}}}\r\n", Guid::of(&body));
    csync
        .send(&[head.as_bytes(), &body, b")\r\n"].concat())
        .unwrap();
    csync.answer()
}

/// Octets in files of the staging that have no name (any more), and are held open.
fn staged_on_disk(server: &BackupServer) -> u64 {
    let staging = server.instance.dir().join("tmp/backup");
    let mut octets = 0;
    for entry in fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap() {
        // Sockets come and go meanwhile.
        let path = entry.unwrap().path();
        let leads = fs::read_link(&path).unwrap_or_default();
        if leads.starts_with(&staging) {
            octets += fs::metadata(&path).map_or(0, |meta| meta.len());
        }
    }
    octets
}

#[track_caller]
fn is_put_off(answer: &Answer) {
    // The one refusal that a client takes as "later".
    assert!(
        answer.last().starts_with("NO IMAP_MAILBOX_LOCKED "),
        "{answer:?}"
    );
}

#[test]
fn connections_in_all_and_from_one_address() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, metrics) = with_metrics(
        cyrus,
        "backup_max_connections: 3\nbackup_max_per_address: 2\n",
    );
    // Who looked whether it answers is gone.
    let end = Instant::now() + Duration::from_secs(20);
    while metric(metrics, "connections") != 0.0 {
        assert!(Instant::now() < end, "who hung up still counts");
        std::thread::sleep(Duration::from_millis(20));
    }
    let one = Csync::login(server.port());
    let mut two = Csync::login(server.port());
    let refused = Csync::connect_refused(server.port());
    assert_eq!(refused, "* BYE too many connections from this address\r\n");
    // From another address of this machine, until all places are taken.
    let mut three = from("127.0.0.2", server.port());
    assert!(banner(&mut three).contains("* OK "));
    let mut four = from("127.0.0.3", server.port());
    assert_eq!(line(&mut four), "* BYE too many connections\r\n");
    assert!(two.command("NOOP").is_ok(), "who is in stays in");
    // Places come back.
    drop((one, three));
    let end = Instant::now() + Duration::from_secs(20);
    while !banner(&mut from("127.0.0.3", server.port())).contains("* OK ") {
        assert!(Instant::now() < end, "no place comes back");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.wait_for_log("[127.0.0.3]: refused, too many connections");
}

fn from(address: &str, port: u16) -> std::net::TcpStream {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    use std::os::fd::AsRawFd;
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.unwrap();
    let at = |address: &str, port: u16| -> SockaddrIn {
        std::net::SocketAddrV4::new(address.parse().unwrap(), port).into()
    };
    bind(socket.as_raw_fd(), &at(address, 0)).unwrap();
    connect(socket.as_raw_fd(), &at("127.0.0.1", port)).unwrap();
    let stream = std::net::TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

#[test]
fn time_to_log_in() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = with(cyrus, "backup_login_timeout: 1s\n");
    let mut admin = Csync::login(server.port());
    let begun = Instant::now();
    let mut slow = connect(server.port());
    banner(&mut slow);
    slow.write_all(b"NOOP\r\n").unwrap();
    let mut rest = String::new();
    slow.read_to_string(&mut rest).expect("the end within 20 s");
    assert_eq!(rest, "OK Noop completed\r\n");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    server.wait_for_log("no login in time");
    assert!(admin.command("NOOP").is_ok(), "not subject to it");
}

#[test]
fn bodies_without_an_owner_on_one_connection() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = with(cyrus, "backup_staging_limit: 10000\n");
    let mut csync = Csync::login(server.port());
    assert!(stage(&mut csync, b'a', 6000).is_ok());
    is_put_off(&stage(&mut csync, b'b', 6000));
    server.wait_for_log("backup_staging_limit");
    assert!(stage(&mut csync, b'c', 3000).is_ok(), "what fits, fits");
    assert!(stage(&mut Csync::login(server.port()), b'b', 6000).is_ok());
    assert!(csync.command("RESTART").is_ok());
    assert!(stage(&mut csync, b'b', 6000).is_ok());
}

#[test]
fn bodies_in_memory_of_one_connection_and_of_all() {
    let Some(cyrus) = Cyrus::find() else { return };
    // One connection has more than its share: the rest lies in a file without a name.
    let server = with(cyrus, "backup_staging_memory: 10000\n");
    let mut csync = Csync::login(server.port());
    assert!(stage(&mut csync, b'a', 6000).is_ok());
    assert_eq!(staged_on_disk(&server), 0);
    assert!(stage(&mut csync, b'b', 6000).is_ok());
    assert!(staged_on_disk(&server) >= 6000);
    assert!(csync.command("RESTART").is_ok());
    assert_eq!(staged_on_disk(&server), 0);

    // Two that share.
    let server = with(cyrus, "backup_staging_memory_of_all: 10000\n");
    let (mut one, mut two) = (Csync::login(server.port()), Csync::login(server.port()));
    assert!(stage(&mut one, b'a', 6000).is_ok());
    assert_eq!(staged_on_disk(&server), 0);
    assert!(stage(&mut two, b'b', 6000).is_ok());
    assert!(staged_on_disk(&server) >= 6000);
    // What the first gives back, the next may have.
    assert!(one.command("EXIT").is_ok());
    assert!(two.command("RESTART").is_ok());
    assert!(stage(&mut two, b'c', 6000).is_ok());
    assert_eq!(staged_on_disk(&server), 0);
}

#[test]
fn bodies_on_disk_of_all_connections() {
    let Some(cyrus) = Cyrus::find() else { return };
    let server = with(
        cyrus,
        "backup_staging_memory: 0\nbackup_staging_disk: 10000\n",
    );
    let (mut one, mut two) = (Csync::login(server.port()), Csync::login(server.port()));
    assert!(stage(&mut one, b'a', 6000).is_ok());
    is_put_off(&stage(&mut two, b'b', 6000));
    server.wait_for_log("the space for staged bodies is used up");
    assert!(two.command("NOOP").is_ok(), "still in step");
    assert!(one.command("EXIT").is_ok());
    assert!(stage(&mut two, b'b', 6000).is_ok());
    assert!(staged_on_disk(&server) >= 6000);
}

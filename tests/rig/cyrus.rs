//! Where the real Cyrus is, who it runs as, and how to see that one of its services answers.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// Debian's directory of the Cyrus programs.
pub const BIN: &str = "/usr/lib/cyrus/bin";

/// Debian's Cyrus as found on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Cyrus {
    pub uid: u32,
    pub gid: u32,
}

impl Cyrus {
    /// `None` (said on stderr) where something is missing; a panic where `CI` is set.
    pub fn find() -> Option<Cyrus> {
        match look() {
            Ok(cyrus) => Some(cyrus),
            Err(missing) => {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "cannot run against the real Cyrus: {missing}; `make test` installs what is needed"
                );
                eprintln!("SKIPPED: {missing}; `make test` as root installs and runs everything");
                None
            }
        }
    }
}

fn look() -> Result<Cyrus, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err(
            "tests against the real Cyrus start programs as the user cyrus: run as root".into(),
        );
    }
    let programs = [
        "sync_client",
        "imapd",
        "timsieved",
        "backupd",
        "ctl_backups",
        "cyr_backup",
    ];
    for program in programs.map(|name| format!("{BIN}/{name}")) {
        if !Path::new(&program).exists() {
            return Err(format!(
                "{program} is not installed (Debian package cyrus-imapd or cyrus-replication)"
            ));
        }
    }
    for program in ["/usr/sbin/cyrmaster", "/usr/sbin/saslpasswd2"] {
        if !Path::new(program).exists() {
            return Err(format!(
                "{program} is not installed (Debian packages cyrus-common, sasl2-bin)"
            ));
        }
    }
    let user = nix::unistd::User::from_name("cyrus").map_err(|error| error.to_string())?;
    let user = user.ok_or("there is no user cyrus (Debian package cyrus-common makes it)")?;
    Ok(Cyrus {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
    })
}

/// A TCP port of the loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Waits until the port greets; panics after 30 s.
pub fn wait_for_banner(port: u16) {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        if greets(port) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nothing greets on 127.0.0.1:{port} after 30 s");
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a read timeout");
    matches!(stream.read(&mut [0; 1]), Ok(1))
}

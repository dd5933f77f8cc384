//! Where the real Cyrus is, who it runs as, and how to see that one of its services answers.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Debian's directory of the Cyrus programs.
pub const BIN: &str = "/usr/lib/cyrus/bin";

/// Where `contrib/setup/newer-cyrus.sh` puts newer ones.
const NEWER: &str = "/var/cache/cyrusbackup-tests";

/// Debian's Cyrus as found on this machine, or a newer one in a Debian of its own.
#[derive(Clone, Copy, Debug)]
pub struct Cyrus {
    pub uid: u32,
    pub gid: u32,
    /// The root directory of the newer Debian; paths below /dev/shm are the same there.
    pub root: Option<&'static str>,
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

    /// The newer Cyrus of Debian `suite`; where it is missing as [`Cyrus::find`].
    pub fn find_newer(suite: &str) -> Option<Cyrus> {
        Cyrus::find()?;
        let root = format!("{NEWER}/{suite}");
        if !Path::new(&root).join(".ready").exists() {
            let missing = format!("{root} is missing (contrib/setup/newer-cyrus.sh {suite})");
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("SKIPPED: {missing}; `make test` as root makes it");
            return None;
        }
        let users = std::fs::read_to_string(format!("{root}/etc/passwd")).expect("passwd");
        let line = users.lines().find(|line| line.starts_with("cyrus:"));
        let fields: Vec<&str> = line.expect("a user cyrus").split(':').collect();
        Some(Cyrus {
            uid: fields[2].parse().expect("a uid"),
            gid: fields[3].parse().expect("a gid"),
            root: Some(root.leak()),
        })
    }

    /// A program of this Cyrus, run as `uid`:`gid`. A newer one runs in a mount namespace of its own, so
    /// nothing is left mounted whatever happens.
    pub fn command(&self, program: &str, uid: u32, gid: u32) -> Command {
        let path = format!("{BIN}:/usr/sbin:/usr/bin:/sbin:/bin");
        let Some(root) = self.root else {
            let mut command = Command::new(program);
            command.uid(uid).gid(gid).env("PATH", path);
            return command;
        };
        let mut command = Command::new("unshare");
        let script = "mount --rbind /dev \"$0/dev\" && mount -t proc proc \"$0/proc\" && \
                      exec chroot --userspec=\"$1\" --groups=\"$2\" \"$0\" \"${@:3}\"";
        command
            .args(["-m", "--propagation", "private", "bash", "-c", script])
            .args([root, &format!("{uid}:{gid}"), &gid.to_string(), program])
            .env("PATH", path);
        command
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
        root: None,
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

//! The IMAP server that is backed up: Debian's imapd and timsieved, with a csync channel to the backup.

use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use super::cyrus::{Cyrus, free_port};
use super::imap::Imap;
use super::instance::Instance;
use super::master::{Master, Service};
use super::process::{Output, run};
use super::sieve::Sieve;

pub const ADMIN: &str = "admin";
pub const PASSWORD: &str = "secret";

/// A running source; every user's password is [`PASSWORD`].
pub struct Source {
    pub instance: Instance,
    imap_port: u16,
    sieve_port: u16,
    sync_port: u16,
    backup_port: u16,
    // Before the directory in drop order would be wrong: the master writes there until it ends.
    master: Option<Master>,
}

impl Source {
    /// Starts imapd and timsieved; `sync_client` will talk to `backup_port`.
    pub fn start(cyrus: Cyrus, backup_port: u16) -> Source {
        Source::start_with(cyrus, backup_port, "")
    }

    /// The same with more options in imapd.conf.
    pub fn start_with(cyrus: Cyrus, backup_port: u16, more: &str) -> Source {
        let mut source = Source::prepare(cyrus, "source", backup_port);
        source
            .instance
            .configure(&with(&options(backup_port, PASSWORD, "repl"), more));
        source.run(false);
        source
    }

    /// The same with a sync_server, as the target of a restore; it sends nothing anywhere.
    pub fn start_target(cyrus: Cyrus) -> Source {
        let mut source = Source::prepare(cyrus, "target", 0);
        source.run(true);
        source
    }

    /// A source that runs nothing yet.
    pub fn prepare(cyrus: Cyrus, name: &str, backup_port: u16) -> Source {
        let instance = Instance::new(cyrus, name, &options(backup_port, PASSWORD, "repl"));
        instance.add_password(ADMIN, PASSWORD);
        Source {
            instance,
            imap_port: free_port(),
            sieve_port: free_port(),
            sync_port: free_port(),
            backup_port,
            master: None,
        }
    }

    /// Starts, or starts again, the servers.
    pub fn run(&mut self, with_sync_server: bool) {
        self.master.take();
        let mut services = vec![
            Service {
                name: "imap",
                program: "imapd",
                port: self.imap_port,
            },
            Service {
                name: "sieve",
                program: "timsieved",
                port: self.sieve_port,
            },
        ];
        if with_sync_server {
            services.push(Service {
                name: "csync",
                program: "sync_server",
                port: self.sync_port,
            });
        }
        self.master = Some(Master::start(&self.instance, &services));
    }

    /// Stops the servers and starts those of another version over the same mail.
    pub fn change_version(&mut self, cyrus: Cyrus) {
        self.stop();
        self.instance.change_version(cyrus);
        self.run(false);
    }

    /// Stops the servers.
    pub fn stop(&mut self) {
        self.master.take();
    }

    /// The csync port of a target.
    pub fn sync_port(&self) -> u16 {
        self.sync_port
    }

    /// The process id of the master, which leads the process group of its servers.
    pub fn master_pid(&self) -> u32 {
        self.master.as_ref().expect("a running master").pid()
    }

    /// Makes a user with an INBOX; dots in the name are fine.
    pub fn add_user(&self, user: &str) -> Imap {
        self.instance.add_password(user, PASSWORD);
        self.admin().create(&format!("user/{user}"));
        self.imap(user)
    }

    pub fn imap_port(&self) -> u16 {
        self.imap_port
    }

    pub fn admin(&self) -> Imap {
        self.imap(ADMIN)
    }

    pub fn imap(&self, user: &str) -> Imap {
        Imap::login(self.imap_port, user, PASSWORD)
    }

    pub fn sieve(&self, user: &str) -> Sieve {
        Sieve::login(self.sieve_port, user, PASSWORD)
    }

    /// `sync_client -n bk -v ARGS…` to its end.
    pub fn sync(&self, args: &[&str]) -> Output {
        let mut command = self.instance.program("sync_client");
        run(
            command.args(["-n", "bk", "-v", "-o"]).args(args),
            Duration::from_secs(300),
        )
    }

    /// The same, logging in as somebody else.
    pub fn sync_as(&self, user: &str, password: &str, args: &[&str]) -> Output {
        self.instance
            .configure(&options(self.backup_port, password, user));
        let output = self.sync(args);
        self.instance
            .configure(&options(self.backup_port, PASSWORD, "repl"));
        output
    }

    /// From now on `sync_client` logs in with this mechanism only.
    pub fn force_mechanism(&self, mechanism: &str) {
        self.set_options(&format!("force_sasl_client_mech: {mechanism}\n"));
    }

    /// Writes imapd.conf anew with these options, in place of the usual ones of the same names.
    pub fn set_options(&self, more: &str) {
        self.instance
            .configure(&with(&options(self.backup_port, PASSWORD, "repl"), more));
    }

    /// A rolling `sync_client`, until dropped.
    pub fn roll(&self) -> Rolling {
        let mut command = self.instance.program("sync_client");
        // -R is -r without going into the background, where its process id would be lost.
        command.args(["-n", "bk", "-R", "-d", "1"]);
        command.stdin(std::process::Stdio::null());
        Rolling {
            logs: self.logs(),
            client: command.spawn().expect("sync_client"),
        }
    }

    /// Starts the log of the channel anew, as after a full run.
    pub fn forget_log(&self) {
        for name in ["log", "log-run"] {
            let _ = std::fs::remove_file(self.logs().join(name));
        }
    }

    /// imapd does not log what it sets for the whole server; this is what an administrator's tool logs.
    pub fn log_annotation_of_server(&self) {
        let log = self.logs().join("log");
        std::fs::write(&log, "ANNOTATION \"\"\n").expect("the log of the channel");
        self.instance.give_to_cyrus(&log);
    }

    fn logs(&self) -> PathBuf {
        self.instance.dir().join("conf/sync/bk")
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.master.take();
    }
}

/// A rolling client that follows the source's log.
pub struct Rolling {
    logs: PathBuf,
    client: Child,
}

impl Rolling {
    /// Waits until the client has taken the whole log and worked it off; panics after 60 s.
    pub fn settle(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if let Some(status) = self.client.try_wait().expect("a child") {
                panic!("the rolling sync_client ended: {status}");
            }
            // log is renamed to log-run, which goes when all of it was acknowledged.
            if !self.logs.join("log").exists() && !self.logs.join("log-run").exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = std::fs::read_to_string(self.logs.join("log-run")).unwrap_or_default();
        panic!("the rolling sync_client did not finish its log in 60 s; log-run: {text}");
    }
}

impl Drop for Rolling {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn options(backup_port: u16, password: &str, user: &str) -> String {
    format!(
        "conversations: 1
expunge_mode: delayed
delete_mode: delayed
sync_log: 1
sync_log_channels: bk
bk_sync_host: 127.0.0.1
bk_sync_port: {backup_port}
bk_sync_authname: {user}
bk_sync_password: {password}
bk_sync_try_imap: 0
sync_try_imap: no
annotation_allow_undefined: yes
xbackup_enabled: yes
"
    )
}

/// Options, those of `more` in place of the same ones: imapd takes none twice.
fn with(common: &str, more: &str) -> String {
    let keys: Vec<&str> = more
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    let kept = common
        .lines()
        .filter(|line| !keys.iter().any(|key| line.starts_with(key)));
    kept.map(|line| format!("{line}\n")).collect::<String>() + more
}

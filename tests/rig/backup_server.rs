//! The backup server: C's backupd or ours over the same directory, and C's tools on its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::cyrus::{Cyrus, free_port, wait_for_banner};
use super::instance::Instance;
use super::master::{Master, Service};
use super::process::{Output, ended, our_binary, run};
use super::rows::Rows;
use super::source::PASSWORD;

/// Whose backupd answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    C,
    Ours,
}

enum Running {
    C { _master: Master },
    Ours(Child),
}

/// One backup partition with its backups.db, and at most one server over it.
pub struct BackupServer {
    pub instance: Instance,
    /// More arguments for our backupd.
    pub args: Vec<String>,
    port: u16,
    running: Option<Running>,
}

impl BackupServer {
    /// The directory and passwords; nothing runs yet.
    pub fn new(cyrus: Cyrus) -> BackupServer {
        BackupServer::with(cyrus, "")
    }

    /// The same with more lines in imapd.conf.
    pub fn with(cyrus: Cyrus, options: &str) -> BackupServer {
        let instance = Instance::new(cyrus, "backup", "");
        instance.configure(&(OPTIONS.to_owned() + options));
        instance.add_password("repl", PASSWORD);
        instance.add_password("nobody", PASSWORD);
        BackupServer {
            instance,
            args: Vec::new(),
            port: free_port(),
            running: None,
        }
    }

    /// Stops what runs and starts an engine; returns the port it answers on.
    pub fn start(&mut self, engine: Engine) -> u16 {
        self.stop();
        self.port = free_port();
        self.running = Some(match engine {
            Engine::C => {
                let service = Service {
                    name: "backupd",
                    program: "backupd",
                    port: self.port,
                };
                Running::C {
                    _master: Master::start(&self.instance, &[service]),
                }
            }
            Engine::Ours => Running::Ours(self.spawn_ours()),
        });
        wait_for_banner(self.port);
        self.port
    }

    /// Starts ours on a disk that fails: `fault` is what `strace -e inject=` takes.
    pub fn start_failing(&mut self, fault: &str) -> u16 {
        self.stop();
        self.port = free_port();
        let call = fault.split(':').next().expect("a system call");
        let mut command = std::process::Command::new("strace");
        // -D: the server is our child, strace hangs on to it.
        command.args(["-D", "-f", "-q", "-o", "/dev/null", "-e"]);
        command.args([
            format!("trace={call}"),
            "-e".to_owned(),
            format!("inject={fault}"),
        ]);
        command.arg(our_binary("backupd"));
        self.running = Some(Running::Ours(self.spawn(command)));
        wait_for_banner(self.port);
        self.port
    }

    /// Ends the server in its orderly way.
    pub fn stop(&mut self) {
        if let Some(Running::Ours(mut child)) = self.running.take() {
            let pid = nix::unistd::Pid::from_raw(child.id() as i32);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)
                .expect("our backupd runs");
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while child.try_wait().expect("a child").is_none() {
                if std::time::Instant::now() > end {
                    let _ = (child.kill(), child.wait());
                    panic!("our backupd does not end 10 s after SIGTERM");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Waits for the end of our backupd, which was told to; its exit code.
    #[track_caller]
    pub fn ended(&mut self) -> Option<i32> {
        let Some(Running::Ours(mut child)) = self.running.take() else {
            panic!("our backupd does not run");
        };
        ended(&mut child)
    }

    /// The port that the server answers on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of our backupd.
    pub fn pid(&self) -> u32 {
        match &self.running {
            Some(Running::Ours(child)) => child.id(),
            _ => panic!("our backupd does not run"),
        }
    }

    /// The process that serves, or whose children do.
    pub fn root_pid(&self) -> u32 {
        match &self.running {
            Some(Running::Ours(child)) => child.id(),
            Some(Running::C { _master: master }) => master.pid(),
            None => panic!("no server runs"),
        }
    }

    /// Takes note that our backupd was killed.
    pub fn reap(&mut self) {
        if let Some(Running::Ours(mut child)) = self.running.take() {
            let _ = (child.kill(), child.wait());
        }
    }

    /// One of C's tools with this configuration.
    pub fn c_tool(&self, name: &str, args: &[&str]) -> Output {
        run(
            self.instance.program(name).args(args),
            Duration::from_secs(120),
        )
    }

    /// One of our tools with this configuration, as the user cyrus.
    pub fn our_tool(&self, name: &str, args: &[&str]) -> Output {
        let path = our_binary(name);
        run(
            self.instance.command(path).args(args),
            Duration::from_secs(120),
        )
    }

    /// Every user of backups.db with the data file, as C's `ctl_backups list` has them; shared mailboxes are
    /// the only backup without a user there.
    pub fn backups(&self) -> BTreeMap<String, PathBuf> {
        let listed = self
            .c_tool("ctl_backups", &["-w", "list"])
            .ok("C's ctl_backups list");
        let lines = listed
            .out
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>());
        lines
            .map(|fields| (fields[2].to_owned(), PathBuf::from(fields[3])))
            .collect()
    }

    pub fn data_file(&self, user: &str) -> PathBuf {
        let backups = self.backups();
        backups
            .get(user)
            .unwrap_or_else(|| panic!("no backup of {user}: {backups:?}"))
            .clone()
    }

    /// C's `ctl_backups verify` of all backups must say ok.
    #[track_caller]
    pub fn verify_with_c(&self, when: &str) {
        let verified = self.c_tool("ctl_backups", &["-w", "-v", "-v", "verify", "-A"]);
        let results: Vec<&str> = verified
            .out
            .lines()
            .filter(|line| line.starts_with("verify "))
            .collect();
        let ok = verified.code == Some(0)
            && !results.is_empty()
            && results.iter().all(|line| line.ends_with(": ok"));
        let keep = if ok { String::new() } else { self.keep() };
        assert!(
            ok,
            "{when}: C's verify: {results:?}\nstderr: {}\n{}{keep}",
            verified.err,
            tail(&verified.out)
        );
    }

    /// What C's `cyr_backup json mailboxes` lists as live: for each mailbox, (uid, guid).
    pub fn live_messages(&self, user: &str) -> BTreeMap<String, BTreeSet<(u32, String)>> {
        let listed = self.c_tool("cyr_backup", &["-u", user, "json", "mailboxes"]);
        let text = listed
            .ok(&format!("C's cyr_backup -u {user} json mailboxes"))
            .out;
        let mailboxes: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        let messages = |mailbox: &serde_json::Value| {
            let all = mailbox["messages"].as_array().cloned().unwrap_or_default();
            let live = all
                .iter()
                .filter(|message| message.get("expunged").is_none());
            live.map(|message| {
                let uid = message["uid"].as_u64().expect("a uid") as u32;
                (uid, message["guid"].as_str().expect("a guid").to_owned())
            })
            .collect()
        };
        mailboxes
            .iter()
            .map(|mailbox| {
                (
                    mailbox["mboxname"].as_str().expect("a name").to_owned(),
                    messages(mailbox),
                )
            })
            .collect()
    }

    /// The index beside a data file.
    pub fn rows(&self, data_file: &Path) -> Rows {
        Rows::read(&index_of(data_file))
    }

    /// The index that C's `ctl_backups reindex` makes of a copy of the data file.
    pub fn rows_reindexed_by_c(&self, data_file: &Path) -> Rows {
        let copy = self.instance.dir().join("tmp/reindexed");
        fs::copy(data_file, &copy).expect("a copy");
        self.instance.give_to_cyrus(&copy);
        let _ = fs::remove_file(index_of(&copy));
        let path = copy.to_str().expect("a UTF-8 path");
        let run = self.c_tool("ctl_backups", &["-w", "reindex", "-f", path]);
        // C indexes every line, and then calls it a failure when one of them was of a kind that it never writes
        // itself, such as QUOTA (IMAP_PROTOCOL_ERROR, O 5.4).
        let complains = run.out.contains("backup_append returned -1904809433");
        assert!(
            run.code == Some(0) || complains,
            "C's reindex of a copy: {run:?}"
        );
        let rows = Rows::read(&index_of(&copy));
        let _ = (fs::remove_file(index_of(&copy)), fs::remove_file(&copy));
        rows
    }

    /// Copies the partition aside for a look after a failure; says where.
    pub fn keep(&self) -> String {
        let kept = std::env::temp_dir().join(format!("rig-kept-{}", std::process::id()));
        let _ = std::process::Command::new("cp")
            .arg("-a")
            .arg(self.instance.dir())
            .arg(&kept)
            .status();
        format!("\nkept for a look: {}", kept.display())
    }

    fn spawn_ours(&self) -> Child {
        self.spawn(std::process::Command::new(our_binary("backupd")))
    }

    fn spawn(&self, mut command: std::process::Command) -> Child {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a log");
        // As root: becoming the user cyrus is a part of what is tested.
        command
            .arg("-C")
            .arg(self.instance.conf())
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("our backupd")
    }

    /// Waits until our backupd's log says this; panics after 20 s.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            if log.contains(text) {
                return;
            }
            assert!(
                std::time::Instant::now() < end,
                "the log does not say {text:?}: {}",
                tail(&log)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes imapd.conf anew with these lines at its end.
    pub fn set_options(&self, options: &str) {
        self.instance.configure(&(OPTIONS.to_owned() + options));
    }

    /// What our backupd said.
    pub fn log(&self) -> PathBuf {
        self.instance.dir().join("log/backupd.log")
    }
}

impl Drop for BackupServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.reap();
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("end of our backupd's log:\n{}", tail(&log));
        }
        self.stop();
    }
}

fn index_of(data_file: &Path) -> PathBuf {
    let mut name = data_file.as_os_str().to_owned();
    name.push(".index");
    name.into()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

const OPTIONS: &str = "\
backuppartition-default: @B@/part
backup_staging_path: @B@/tmp/backup
sync_authname: admin
sync_password: secret
sync_try_imap: no
";

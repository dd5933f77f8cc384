//! One Cyrus directory, on a tmpfs unless `RIG_DIR` names another place: imapd.conf, passwords, data. It starts
//! nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cyrus::{BIN, Cyrus};
use super::process::ended;

/// The directory of one server, removed again in `Drop` unless `RIG_KEEP` is set.
pub struct Instance {
    pub cyrus: Cyrus,
    dir: tempfile::TempDir,
}

impl Instance {
    /// Makes the directory and writes imapd.conf: the common head, then `options` (`key: value` lines).
    pub fn new(cyrus: Cyrus, name: &str, options: &str) -> Instance {
        let base = std::env::var("RIG_DIR");
        let base = base.unwrap_or_else(|_| match Path::new("/dev/shm").is_dir() {
            true => "/dev/shm".to_owned(),
            false => "/tmp".to_owned(),
        });
        let mut dir = tempfile::Builder::new()
            .prefix(&format!("rig-{name}-"))
            .tempdir_in(base)
            .expect("a directory on the tmpfs");
        dir.disable_cleanup(std::env::var_os("RIG_KEEP").is_some());
        let instance = Instance { cyrus, dir };
        instance.make_directories();
        instance.configure(options);
        instance
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn conf(&self) -> PathBuf {
        self.dir().join("imapd.conf")
    }

    /// Writes imapd.conf anew.
    pub fn configure(&self, options: &str) {
        let head = HEAD.replace("@B@", self.dir().to_str().expect("a UTF-8 path"));
        let options = options.replace("@B@", self.dir().to_str().expect("a UTF-8 path"));
        fs::write(self.conf(), head + &options).expect("imapd.conf");
        self.give_to_cyrus(&self.conf());
    }

    /// A user of the password file; the realm is `servername`.
    pub fn add_password(&self, user: &str, password: &str) {
        self.add_password_in("localhost", user, password);
    }

    /// The same in another realm.
    pub fn add_password_in(&self, realm: &str, user: &str, password: &str) {
        let file = self.dir().join("sasldb2");
        let mut child = self
            .cyrus
            .command("/usr/sbin/saslpasswd2", 0, 0)
            .args(["-p", "-c", "-u", realm, "-f"])
            .args([file.as_os_str(), user.as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("saslpasswd2");
        child
            .stdin
            .take()
            .expect("its stdin")
            .write_all(password.as_bytes())
            .expect("a password");
        assert!(ended(&mut child) == Some(0), "saslpasswd2 refuses {user}");
        self.give_to_cyrus(&file);
    }

    /// One of Cyrus' programs with this configuration, as the user cyrus.
    pub fn program(&self, name: &str) -> Command {
        self.command(&format!("{BIN}/{name}"))
    }

    /// Any program that takes `-C FILE`, with this configuration, as the user cyrus.
    pub fn command(&self, path: &str) -> Command {
        let mut command = self.cyrus.command(path, self.cyrus.uid, self.cyrus.gid);
        command.arg("-C").arg(self.conf());
        command.current_dir(self.dir());
        command
    }

    /// Another version of Cyrus has this directory from now on; nothing may run.
    pub fn change_version(&mut self, cyrus: Cyrus) {
        self.cyrus = cyrus;
        let mut waiting = vec![self.dir().to_owned()];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                let entries = fs::read_dir(&path).expect("a directory of ours");
                waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
            }
            self.give_to_cyrus(&path);
        }
    }

    pub fn give_to_cyrus(&self, path: &Path) {
        chown(path, Some(self.cyrus.uid), Some(self.cyrus.gid)).expect("a file to give away");
    }

    fn make_directories(&self) {
        self.give_to_cyrus(self.dir());
        let conf = [
            "db", "socket", "proc", "log", "msg", "sync", "ptclient", "lock",
        ];
        let tops = ["conf", "spool", "sieve", "part", "run", "tmp", "log"].map(str::to_owned);
        for name in tops
            .into_iter()
            .chain(conf.map(|name| format!("conf/{name}")))
        {
            let path = self.dir().join(name);
            fs::create_dir(&path).expect("a directory");
            self.give_to_cyrus(&path);
        }
    }
}

const HEAD: &str = "\
configdirectory: @B@/conf
partition-default: @B@/spool
defaultpartition: default
temp_path: @B@/tmp
sieveusehomedir: false
sievedir: @B@/sieve
admins: admin repl
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: @B@/sasldb2
sasl_mech_list: PLAIN SCRAM-SHA-1 SCRAM-SHA-256
servername: localhost
virtdomains: off
unixhierarchysep: yes
altnamespace: no
failedloginpause: 0s
";

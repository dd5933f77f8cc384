//! A running cyrmaster with its services, ended by its process id.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::cyrus::{BIN, wait_for_banner};
use super::instance::Instance;

/// One line of cyrus.conf's SERVICES.
pub struct Service<'a> {
    pub name: &'a str,
    /// Program and arguments; `-C FILE` is added.
    pub program: &'a str,
    pub port: u16,
}

/// A master in a process group of its own: at its end it signals that whole group.
pub struct Master {
    child: Child,
}

impl Master {
    /// Starts it and waits until every service greets.
    pub fn start(instance: &Instance, services: &[Service<'_>]) -> Master {
        let conf = instance.dir().join("cyrus.conf");
        fs::write(&conf, cyrus_conf(instance, services)).expect("cyrus.conf");
        let log = fs::File::create(instance.dir().join("log/master.log")).expect("a log");
        let program = match instance.cyrus.root {
            None => "/usr/sbin/cyrmaster".to_owned(),
            Some(_) => format!("{BIN}/master"),
        };
        let child = instance
            .cyrus
            .command(&program, 0, 0)
            .arg("-C")
            .arg(instance.conf())
            .arg("-M")
            .arg(conf)
            .arg("-p")
            .arg(instance.dir().join("run/master.pid"))
            .arg("-L")
            .arg(instance.dir().join("log/services.log"))
            .current_dir(instance.dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("cyrmaster");
        let master = Master { child };
        services
            .iter()
            .for_each(|service| wait_for_banner(service.port));
        master
    }

    /// Process ids of its children.
    pub fn children(&self) -> Vec<u32> {
        let pid = self.child.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .map(|pid| pid.parse().expect("a process id"))
            .collect()
    }

    /// Its process id, and that of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Services that did not hear the master are still in its group.
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn cyrus_conf(instance: &Instance, services: &[Service<'_>]) -> String {
    let imapd_conf = instance.conf();
    let imapd_conf = imapd_conf.display();
    let mut text =
        format!("START {{\n recover cmd=\"ctl_cyrusdb -C {imapd_conf} -r\"\n}}\nSERVICES {{\n");
    for Service {
        name,
        program,
        port,
    } in services
    {
        text += &format!(
            " {name} cmd=\"{program} -C {imapd_conf}\" listen=\"127.0.0.1:{port}\" prefork=0\n"
        );
    }
    text + "}\nEVENTS { }\n"
}

//! Running programs: their output and exit code, within a time limit, and where our own ones are.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` when a signal or our time limit ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Output {
    /// The output of a program that had to succeed.
    #[track_caller]
    pub fn ok(self, what: &str) -> Output {
        assert_eq!(
            self.code,
            Some(0),
            "{what} failed\nstdout: {}\nstderr: {}",
            self.out,
            self.err
        );
        self
    }
}

/// Runs a program to its end, or kills it after `limit`, with all that it has started: they hold its output open.
pub fn run(command: &mut Command, limit: Duration) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = collect(child.stdout.take().expect("its stdout"));
    let err = collect(child.stderr.take().expect("its stderr"));
    let code = wait(&mut child, limit);
    Output {
        code,
        out: out.join().expect("stdout"),
        err: err.join().expect("stderr"),
    }
}

/// The exit code of a child that is about to end; `None` when a signal ended it. One that does not end within a
/// minute is killed, and the test fails.
#[track_caller]
pub fn ended(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child to wait for") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = (child.kill(), child.wait());
    panic!("process {} does not end within a minute", child.id());
}

/// Kills a child that is not done in time; so whoever waits for it is not kept waiting for ever.
pub struct Limit(std::sync::mpsc::Sender<()>);

impl Limit {
    /// Until it is dropped, at the latest when the child has been reaped.
    pub fn on(pid: u32, limit: Duration) -> Limit {
        let (over, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if done.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("process {pid} is killed after {limit:?}");
                let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        });
        Limit(over)
    }
}

/// The path of a program of this package.
pub fn our_binary(name: &str) -> &'static str {
    match name {
        "backupd" => env!("CARGO_BIN_EXE_backupd"),
        "ctl_backups" => env!("CARGO_BIN_EXE_ctl_backups"),
        "cyr_backup" => env!("CARGO_BIN_EXE_cyr_backup"),
        "restore" => env!("CARGO_BIN_EXE_restore"),
        "mount-cyrusbackup" => env!("CARGO_BIN_EXE_mount-cyrusbackup"),
        other => panic!("this package has no program {other}"),
    }
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a readable pipe");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child to wait for") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("a group to kill");
    child.wait().expect("a child to wait for");
    None
}

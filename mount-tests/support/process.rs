//! Running programs of the system: their output, within a time limit that ends in a panic.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Longest time for one program in the everyday run.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a program, which must succeed; its standard output.
pub fn sh(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = output(command);
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{stderr}");
    String::from_utf8(stdout).unwrap()
}

/// Runs a program to its end, without input; panics when it takes longer than five minutes.
pub fn output(command: &mut Command) -> Output {
    let limit = match std::env::var_os("FIGURES") {
        Some(_) => LIMIT * 20,
        None => LIMIT,
    };
    within(command, limit)
}

fn within(command: &mut Command, limit: Duration) -> Output {
    // A group of its own, so that what it started ends with it.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let end = Instant::now() + limit;
    loop {
        let status = child.try_wait().unwrap();
        if let Some(status) = status
            && stdout.is_finished()
            && stderr.is_finished()
        {
            return Output {
                status,
                stdout: stdout.join().unwrap(),
                stderr: stderr.join().unwrap(),
            };
        }
        if Instant::now() > end {
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            panic!("{command:?} did not end in {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

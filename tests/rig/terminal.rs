//! Running a program on a terminal of its own: what somebody who sits before it would see.

use std::io::Read;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

/// Runs a program on a new terminal of 24 lines and 100 columns: how it ended, and all that it drew, escape
/// sequences included. One that is not done after `limit` is killed, and the test fails with what it had drawn.
///
/// `setsid --ctty` makes the terminal the program's controlling one and the program its foreground: script(1)
/// puts a shell between, which may leave it in the background, where its first read stops it for ever.
pub fn on_a_terminal(command: &Command, limit: Duration) -> (ExitStatus, String) {
    let size = Winsize {
        ws_row: 24,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(&size, None).expect("a terminal");
    let mut leader = Command::new("setsid");
    leader
        .arg("--ctty")
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(terminal.slave.try_clone().expect("its other end"))
        .stdout(terminal.slave.try_clone().expect("its other end"))
        .stderr(terminal.slave)
        .env("TERM", "vt100");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => leader.env(name, value),
            None => leader.env_remove(name),
        };
    }
    let mut child = leader.spawn().expect("setsid");
    // The last copies of the program's end are in the program: they go with it, and reading ends.
    drop(leader);
    let mut master = std::fs::File::from(terminal.master);
    let drawn = std::thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        // A terminal whose last user is gone reads as EIO.
        while let Ok(n @ 1..) = master.read(&mut buffer) {
            all.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("a child to wait for") {
            Some(status) => break Some(status),
            None if Instant::now() > end => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        child.kill().expect("a child to kill");
        child.wait().expect("a child to wait for");
    }
    let drawn = drawn.join().expect("what was drawn");
    match status {
        Some(status) => (status, drawn),
        None => panic!("{command:?} was not done after {limit:?}; it had drawn: {drawn}"),
    }
}

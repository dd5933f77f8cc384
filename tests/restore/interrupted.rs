//! Restores that do not come to their end: the client is killed, the server is killed. The same command again
//! completes what is missing and doubles nothing.

use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use crate::rig::{Append, Mail, Proxy, Source, Trigger, our_binary};
use crate::world::{World, assert_unharmed, see};

const FOLDERS: [&str; 3] = ["INBOX", "INBOX/A", "INBOX/B"];

fn world() -> Option<(World, crate::world::Seen)> {
    let world = World::new()?;
    let mut mail = Mail::new(9);
    let mut imap = world.source.add_user("anne");
    for folder in &FOLDERS[1..] {
        imap.create(folder);
    }
    for folder in FOLDERS {
        let bodies: Vec<Vec<u8>> = (0..60).map(|_| mail.small()).collect();
        let appends = bodies.iter().map(|body| Append {
            flags: "\\Seen",
            date: None,
            body,
        });
        imap.append(folder, &appends.collect::<Vec<_>>());
    }
    world.sync(&["-u", "anne"]);
    let seen = see(&mut imap, &FOLDERS);
    Some((world, seen))
}

/// Runs a restore through the proxy until so many octets were sent; `kill` then ends somebody.
fn interrupt(world: &World, target: &Source, options: &str, at: u64, kill_client: bool) {
    let proxy = Proxy::start();
    proxy.lead_to(target.sync_port());
    let (reached, wait) = mpsc::channel();
    proxy.arm(Trigger {
        at,
        action: Box::new(move || {
            let _ = reached.send(());
            // Nothing more passes meanwhile.
            std::thread::sleep(Duration::from_millis(300));
        }),
    });
    let mut command = world.backup.instance.command(our_binary("restore"));
    let server = format!("127.0.0.1:{}", proxy.port);
    command
        .args(options.split(' '))
        .args([&server, "anne", "-a"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait.recv_timeout(Duration::from_secs(120))
        .expect("so many octets");
    if kill_client {
        child.kill().unwrap();
        child.wait().unwrap();
        return;
    }
    let group = nix::unistd::Pid::from_raw(target.master_pid() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(
        said.starts_with("anne: ") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn killed_in_the_middle_and_run_again() {
    let Some((world, seen)) = world() else { return };
    let file = world.data_file("anne");
    let before = std::fs::read(&file).unwrap();
    // In the first mailbox, in the second, near the end: 180 messages of 1 to 2 kB.
    for (round, at) in [30_000, 120_000, 250_000].into_iter().enumerate() {
        for kill_client in [true, false] {
            let mut target = world.target(&["anne"]);
            interrupt(&world, &target, "-U", at, kill_client);
            assert_unharmed(&file, &before);
            if !kill_client {
                target.run(true);
            }
            let server = format!("127.0.0.1:{}", target.sync_port());
            world.restored(&format!("-U -a {server} anne"));
            let when = format!("round {round}, kill_client {kill_client}");
            assert_eq!(see(&mut target.imap("anne"), &FOLDERS), seen, "{when}");
            let said = world.restored(&format!("-U -a {server} anne"));
            assert!(said.starts_with("restored: 0 messages"), "{when}: {said}");
        }
    }
    // Without -U, too: nothing is doubled, whatever the UIDs.
    let target = world.target(&["anne"]);
    interrupt(&world, &target, "-v", 200_000, true);
    let server = format!("127.0.0.1:{}", target.sync_port());
    world.restored(&format!("-a {server} anne"));
    let mut anne = target.imap("anne");
    for folder in FOLDERS {
        assert_eq!(anne.messages(folder).len(), 60, "{folder}");
    }
    assert_unharmed(&file, &before);
}

#[test]
fn duplicates_only_when_asked_for() {
    let Some((world, _)) = world() else { return };
    let target = world.target(&["anne"]);
    let server = format!("127.0.0.1:{}", target.sync_port());
    for (options, count) in [("", 60), ("", 60), ("--duplicates", 120)] {
        world.restored(&format!("{options} {server} anne user/anne/A user/anne"));
        assert_eq!(target.imap("anne").messages("INBOX/A").len(), count);
    }
}

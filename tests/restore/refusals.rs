//! Targets that say no, in each way, and those that say nonsense: a clear message, exit code 75, a backup that is as
//! it was and unlocked.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use crate::rig::{Append, Mail, Output, PASSWORD, Source};
use crate::world::{World, assert_unharmed};

struct Refusing {
    world: World,
    file: PathBuf,
    before: Vec<u8>,
}

impl Refusing {
    fn new() -> Option<Refusing> {
        let world = World::new()?;
        let mut mail = Mail::new(13);
        let mut imap = world.source.add_user("anne");
        let bodies: Vec<Vec<u8>> = (0..20).map(|_| mail.small()).collect();
        let appends = bodies.iter().map(|body| Append {
            flags: "",
            date: None,
            body,
        });
        imap.append("INBOX", &appends.collect::<Vec<_>>());
        world.sync(&["-u", "anne"]);
        let file = world.data_file("anne");
        let before = std::fs::read(&file).unwrap();
        Some(Refusing {
            world,
            file,
            before,
        })
    }

    /// Exit code 75 and one line that says it; the backup is unharmed and free.
    #[track_caller]
    fn fails(&self, line: &str, said: &str) -> Output {
        let run = self.world.restore(line);
        assert_eq!(run.code, Some(75), "{line}: {run:?}");
        assert!(run.err.contains(said), "{line}: {}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{line}: {}", run.err);
        assert_unharmed(&self.file, &self.before);
        run
    }

    /// imapd.conf of the backup server with other lines in the end.
    fn configure(&self, more: &str) {
        let conf = self.world.backup.instance.conf();
        let text = std::fs::read_to_string(&conf).unwrap();
        let base: String = text
            .lines()
            .filter(|line| !line.starts_with("restore_"))
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&conf, base + more).unwrap();
    }
}

/// D61
#[test]
fn who_may_not_hears_why() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let target = refusing.world.target(&["anne"]);
    for port in [target.sync_port(), target.imap_port()] {
        let line = format!("127.0.0.1:{port} anne user/anne");
        refusing.configure("restore_authname: admin\nrestore_password: wrong\n");
        refusing.fails(&line, "anne: login as admin: ");
        refusing.configure("restore_authname: anne\nrestore_password: secret\n");
        refusing.fails(&line, "must be among the admins of that server");
        // restore_* first, then sync_*.
        refusing.configure("");
        refusing.world.restored(&format!("-n --compare {line}"));
    }
    // -z: imapd and sync_server compress, this one does not.
    let port = serve(b"* OK here\r\n");
    refusing.fails(
        &format!("-z 127.0.0.1:{port} anne user/anne"),
        "does not compress",
    );
}

#[test]
fn a_locked_mailbox_is_named_and_the_others_are_done() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let script = b"* OK here\r\nOK none\r\nNO IMAP_MAILBOX_LOCKED Mailbox is locked\r\nNO IMAP_MAILBOX_LOCKED Mailbox is locked\r\nOK none\r\nOK bye\r\n";
    let port = serve(script);
    let run = refusing
        .world
        .restore(&format!("127.0.0.1:{port} anne user/anne"));
    assert_eq!(run.code, Some(75), "{run:?}");
    assert!(
        run.err.contains("user.anne: the target does not make it: ")
            && run.err.contains("Mailbox is locked"),
        "{run:?}"
    );
    assert_unharmed(&refusing.file, &refusing.before);
}

/// `DELETED/user/anne/x`, which no time ends, is such a name for sync_server.
#[test]
fn a_mailbox_that_is_made_and_then_unknown_is_a_failure() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let port = serve(b"* OK here\r\nOK none\r\nOK made\r\nOK none\r\nOK bye\r\n");
    let run = refusing
        .world
        .restore(&format!("127.0.0.1:{port} anne user/anne"));
    assert_eq!(run.code, Some(75), "{run:?}");
    assert!(run.err.contains("user.anne: the target made it"), "{run:?}");
    assert_unharmed(&refusing.file, &refusing.before);
}

/// sync_server itself says it for the first mailbox, and nothing of it is sent.
#[test]
fn a_partition_that_the_target_does_not_have() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let target = refusing.world.target(&["anne"]);
    for port in [target.sync_port(), target.imap_port()] {
        let line = format!("-P nowhere 127.0.0.1:{port} anne user/anne");
        refusing.fails(&line, "user.anne: the target does not make it: ");
    }
    // It is as alive as before.
    let server = format!("127.0.0.1:{}", target.sync_port());
    refusing.world.restored(&format!("{server} anne user/anne"));
    assert_eq!(target.imap("anne").messages("INBOX").len(), 20);
}

/// The backup says `default`; the only partition of this target has another name.
#[test]
fn the_partition_of_the_backup_need_not_be_there() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let mut target = Source::prepare(refusing.world.cyrus, "target", 0);
    target.instance.add_password("anne", PASSWORD);
    let conf = target.instance.conf();
    let text = std::fs::read_to_string(&conf).unwrap();
    let text = text
        .replace("\npartition-default:", "\npartition-other:")
        .replace("\ndefaultpartition: default", "\ndefaultpartition: other");
    assert!(text.contains("\npartition-other:") && text.contains("\ndefaultpartition: other"));
    std::fs::write(&conf, text).unwrap();
    target.run(true);
    let server = format!("127.0.0.1:{}", target.sync_port());
    refusing.world.restored(&format!("-U -a {server} anne"));
    assert_eq!(target.imap("anne").messages("INBOX").len(), 20);
}

#[test]
fn nonsense_and_silence_end_it() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    for (script, said) in [
        (&b"220 smtp ready\r\n"[..], "is no csync"),
        (b"", "the server closed the connection"),
        (
            b"* OK here\r\n",
            "GET USER: the server closed the connection",
        ),
        (
            b"* OK here\r\n* MAILBOX %(UNIQUEID\r\nOK x\r\n",
            "is no csync",
        ),
        (
            b"* OK here\r\n* MAILBOX %(A {99999999999+}\r\n",
            "the server's answer: ",
        ),
        (
            b"* OK here\r\n* BYE shutting down\r\n",
            "closed the connection: BYE shutting down",
        ),
        (
            b"* OK here\r\n* Fatal error: it fell\r\n",
            "closed the connection: Fatal error: it fell",
        ),
        (
            b"* OK here\r\nOK none\r\n* Fatal error: it fell\r\n",
            "closed the connection: Fatal error: it fell",
        ),
    ] {
        let port = serve(script);
        refusing.fails(&format!("127.0.0.1:{port} anne user/anne"), said);
    }
    // A banner without an end.
    let port = serve(&b"* FOO\r\n".repeat(500));
    refusing.fails(
        &format!("127.0.0.1:{port} anne user/anne"),
        "the banner does not end",
    );
    let port = serve(&vec![b'x'; 100_000]);
    refusing.fails(
        &format!("127.0.0.1:{port} anne user/anne"),
        "it is too long",
    );
}

#[test]
fn damage_costs_the_messages_it_touches() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let mut octets = refusing.before.clone();
    let middle = octets.len() / 2;
    octets[middle] ^= 0x10;
    std::fs::write(&refusing.file, &octets).unwrap();
    let target = refusing.world.target(&["anne"]);
    let server = format!("127.0.0.1:{}", target.sync_port());
    let run = refusing.world.restore(&format!("-U -a {server} anne"));
    assert_eq!(run.code, Some(75), "{run:?}");
    let lost = run.err.lines().count();
    assert!(
        run.err.lines().all(|line| line.starts_with("message ")),
        "{}",
        run.err
    );
    let back = target.imap("anne").messages("INBOX").len();
    assert!(
        lost > 0 && back + lost == 20,
        "{back} came back, {lost} are lost"
    );
    // Nothing is mended on the quiet, either.
    assert_unharmed(&refusing.file, &octets);
}

#[test]
fn the_address_may_be_of_ipv6() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("SKIPPED: no IPv6 on this machine");
        return;
    };
    let port = serve_on(listener, b"* OK here\r\n* BYE not today\r\n");
    refusing.fails(&format!("[::1]:{port} anne user/anne"), "BYE not today");
}

/// Over quota is no refusal: sync_server restores all the same, as C's restore has it.
#[test]
fn a_full_quota_hinders_no_restore() {
    let Some(refusing) = Refusing::new() else {
        return;
    };
    let target = refusing.world.target(&["anne"]);
    target.admin().create("user/anne");
    target.admin().set_quota("user/anne", "STORAGE 1 MESSAGE 1");
    let server = format!("127.0.0.1:{}", target.sync_port());
    refusing.world.restored(&format!("{server} anne user/anne"));
    assert_eq!(target.imap("anne").messages("INBOX").len(), 20);
    assert_unharmed(&refusing.file, &refusing.before);
}

/// A server that says this, whatever it is told, and hangs up when the client does or has nothing more to say.
fn serve(script: &[u8]) -> u16 {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
}

fn serve_on(listener: TcpListener, script: &[u8]) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let script = script.to_vec();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // One line for each command, the first at once.
        for line in script.split_inclusive(|byte| *byte == b'\n') {
            if stream.write_all(line).is_err() {
                return;
            }
            let goes_on = line.starts_with(b"* ") && !line.starts_with(b"* OK");
            if !goes_on {
                let mut buffer = [0; 1 << 16];
                let _ = stream.read(&mut buffer);
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    port
}

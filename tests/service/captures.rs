//! What real clients of 3.6.1, 3.10, 3.12 and of the development version said in recorded runs
//! (`testdata/captures`), said again to our backupd: every command gets one answer, in a form that a client takes, and
//! those that went wrong with C's backupd go well.
//!
//! What the server of the recording said it held before the first change is made here first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::rig::{Answer, BackupServer, Csync, Cyrus, Engine};

/// One command with what the server of the recording answered.
struct Exchange {
    command: Vec<u8>,
    answer: Vec<Vec<u8>>,
}

/// A file, connection by connection.
struct Capture {
    name: String,
    connections: Vec<Vec<Exchange>>,
}

impl Capture {
    fn read(path: &PathBuf) -> Capture {
        let text = std::fs::read_to_string(path).unwrap();
        let mut connections = Vec::new();
        let mut exchanges: Vec<Exchange> = Vec::new();
        let mut answered = true;
        for line in text.lines() {
            if line == "## connection" && !exchanges.is_empty() {
                connections.push(std::mem::take(&mut exchanges));
            }
            let Some((side, shown)) = line.split_once(": ").filter(|(_, shown)| *shown != "<EOF>")
            else {
                continue;
            };
            let octets = [&octets(shown), b"\r\n".as_slice()].concat();
            match (side, exchanges.last_mut()) {
                ("C", Some(last)) if !answered => last.command.extend(octets),
                ("C", _) => {
                    answered = false;
                    exchanges.push(Exchange {
                        command: octets,
                        answer: Vec::new(),
                    });
                }
                ("S", Some(last)) => {
                    answered = true;
                    last.answer.push(octets);
                }
                // The banner.
                _ => {}
            }
        }
        connections.push(exchanges);
        Capture {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            connections,
        }
    }

    /// What the server said it held, as lines that make it so.
    fn held(&self) -> Vec<Vec<u8>> {
        let mut seen = BTreeSet::new();
        let mut lines = Vec::new();
        let asked = self.connections.iter().flatten().take_while(|exchange| {
            !exchange.command.starts_with(b"APPLY ")
                || exchange.command.starts_with(b"APPLY RESERVE")
        });
        for exchange in asked.filter(|exchange| !exchange.command.starts_with(b"GET FULL")) {
            let answer = exchange.answer.concat();
            let text = String::from_utf8_lossy(&answer).into_owned();
            // Each begins a line of the server; literals go on over line ends.
            let starts: Vec<usize> = text
                .match_indices("* ")
                .map(|(at, _)| at)
                .filter(|&at| at == 0 || text[..at].ends_with("\r\n"))
                .collect();
            for (n, &start) in starts.iter().enumerate() {
                let end = starts.get(n + 1).copied();
                let end = end.or_else(|| text.rfind("OK ")).unwrap_or(text.len());
                let line = text[start..end].trim_end();
                let Some(items) = line
                    .strip_prefix("* MAILBOX ")
                    .and_then(|rest| rest.strip_suffix(')'))
                else {
                    continue;
                };
                if seen.insert(items.split(' ').take(4).collect::<Vec<_>>().join(" ")) {
                    lines.push(format!("APPLY MAILBOX {items} RECORD ())\r\n").into_bytes());
                }
            }
        }
        lines
    }
}

/// `\t`, `\xe9`, `\\` as Python shows them.
fn octets(shown: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = shown.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        let (octet, used) = match after {
            [b't', ..] => (b'\t', 1),
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'x', a, b, ..] => {
                let hex = [*a, *b];
                let hex = std::str::from_utf8(&hex).unwrap();
                (u8::from_str_radix(hex, 16).unwrap(), 3)
            }
            [other, ..] => (*other, 1),
            [] => panic!("a backslash ends {shown:?}"),
        };
        octets.push(octet);
        rest = &rest[used..];
    }
    octets
}

fn captures(wanted: impl Fn(&str) -> bool) -> Vec<Capture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/captures");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(".txt") && wanted(&name)
        })
        .collect();
    paths.sort();
    paths.iter().map(Capture::read).collect()
}

/// Says a capture to the server; gives each command with our answer.
fn replay(port: u16, capture: &Capture) -> Vec<(String, Answer)> {
    let mut said = Vec::new();
    for connection in &capture.connections {
        let mut csync = Csync::connect(port);
        let mut open = true;
        for exchange in connection {
            assert!(open, "{}: hung up on", capture.name);
            csync.send(&exchange.command).unwrap();
            let answer = csync.answer();
            let command = String::from_utf8_lossy(&exchange.command).into_owned();
            assert!(
                matches!(answer, Answer::Lines(_)),
                "{}: {command}: {answer:?}",
                capture.name
            );
            open = command != "EXIT\r\n";
            said.push((command, answer));
        }
    }
    said
}

/// Makes what was there, says the capture, and looks at every answer.
fn ends_well(port: u16, capture: &Capture) -> Vec<(String, Answer)> {
    let mut csync = Csync::login(port);
    for line in capture.held() {
        csync.send(&line).unwrap();
        let answer = csync.answer();
        assert!(answer.is_ok(), "{}: {answer:?}", capture.name);
    }
    csync.command("EXIT");
    let said = replay(port, capture);
    for (command, answer) in &said {
        let last = answer.last();
        // What is gone already is no trouble to a client (W 3.2); C knows no user of the name NIL.
        let fine = last.starts_with("OK ")
            || last.starts_with("NO IMAP_MAILBOX_NONEXISTENT ")
            || command == "GET USER NIL\r\n"
                && last.starts_with("NO IMAP_PROTOCOL_BAD_PARAMETERS ");
        assert!(fine, "{}: {command}: {answer:?}", capture.name);
        if command.starts_with("GET FULLMAILBOX ") && answer.is_ok() {
            // Nothing for the master to merge: it lists, and expunges nothing of its own (W 11.3).
            let Answer::Lines(lines) = answer else {
                unreachable!()
            };
            assert!(lines[0].contains("HIGHESTMODSEQ 0 "), "{lines:?}");
            assert!(lines[0].ends_with("RECORD ())"), "{lines:?}");
        }
    }
    said
}

#[test]
fn runs_of_each_version_end_well_where_those_against_c_did_not() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut refused_by_c = 0;
    for version in ["-v3.10-", "-v3.12-", "-vmaster-"] {
        let mut server = BackupServer::new(cyrus);
        let port = server.start(Engine::Ours);
        let of_version = captures(|name| name.starts_with('8') && name.contains(version));
        assert_eq!(of_version.len(), 7, "{version}");
        for capture in &of_version {
            ends_well(port, capture);
            let exchanges = capture.connections.iter().flatten();
            refused_by_c += exchanges
                .filter(|exchange| {
                    exchange
                        .answer
                        .last()
                        .is_some_and(|last| last.starts_with(b"NO IMAP_PROTOCOL"))
                })
                .count();
        }
        server.verify_with_c(version);
    }
    assert!(
        refused_by_c >= 10,
        "the recordings show what C refuses: {refused_by_c}"
    );
}

#[test]
fn a_client_with_a_sync_cache_that_asks_nothing_first() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut server = BackupServer::new(cyrus);
    let port = server.start(Engine::Ours);
    let steps = captures(|name| name.starts_with("90-"));
    assert_eq!(steps.len(), 9);
    for capture in &steps {
        ends_well(port, capture);
    }
    server.verify_with_c("with a sync cache");
    let live = server.live_messages("anne");
    assert!(live["user.anne"].len() > 3, "{live:?}");
}

/// 95: C's answer made the client expunge on the master; 96: the answer that only makes it list all.
#[test]
fn a_sum_that_differs_costs_the_master_nothing() {
    let Some(cyrus) = Cyrus::find() else { return };
    for capture in captures(|name| name.starts_with("95-") || name.starts_with("96-")) {
        let mut server = BackupServer::new(cyrus);
        let port = server.start(Engine::Ours);
        let said = ends_well(port, &capture);
        let full = said
            .iter()
            .filter(|(command, _)| command.starts_with("GET FULLMAILBOX "));
        assert!(full.count() > 0, "{}", capture.name);
        server.verify_with_c(&capture.name);
    }
}

/// 97: C put the mail of one user into the backup of the other.
#[test]
fn two_users_on_one_connection_stay_apart() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut server = BackupServer::new(cyrus);
    let port = server.start(Engine::Ours);
    let [capture] = &captures(|name| name.starts_with("97-"))[..] else {
        panic!("one recording")
    };
    ends_well(port, capture);
    server.stop();
    let guids = |user: &str| -> BTreeSet<String> {
        let listed = server
            .c_tool("cyr_backup", &["-u", user, "list", "messages"])
            .ok(user);
        let guid = |line: &str| {
            line.split_whitespace()
                .find(|word| word.len() == 40)
                .map(str::to_owned)
        };
        listed.out.lines().filter_map(guid).collect()
    };
    let iris = BTreeSet::from(["4c23b4446f3aeb466b0927d0cf33e3c7a951c15d".to_owned()]);
    let jack = BTreeSet::from(["0c31f1ccb1489cc4b3feb71ad2bb6d442a33c459".to_owned()]);
    assert_eq!((guids("iris"), guids("jack")), (iris, jack));
    server.verify_with_c("97");
}

/// 98: the client sends `NIL` in the place of a message that it cannot read.
#[test]
fn a_message_that_the_master_cannot_read_hinders_nobody() {
    let Some(cyrus) = Cyrus::find() else { return };
    for capture in captures(|name| name.starts_with("98-")) {
        let mut server = BackupServer::new(cyrus);
        let port = server.start(Engine::Ours);
        let said = ends_well(port, &capture);
        let live = server.live_messages("hank");
        assert!(
            !live["user.hank.arch"].is_empty(),
            "{}: {live:?}",
            capture.name
        );
        // Who was asked for it by RESERVE is not asked again at once, by a LAST_UID before the message: it would send
        // the same again. In a first run there is no RESERVE, so it is asked once more.
        let answer = Csync::login(port).command("GET MAILBOXES (user.hank.arch)");
        let Answer::Lines(lines) = &answer else {
            panic!("{answer:?}")
        };
        let asked = said
            .iter()
            .any(|(command, _)| command.starts_with("APPLY RESERVE "));
        let last_uid = if asked {
            " LAST_UID 3 "
        } else {
            " LAST_UID 1 "
        };
        assert!(lines[0].contains(last_uid), "{lines:?}");
    }
}

/// 99: dots in names, virtual domains, shared mailboxes of a domain.
#[test]
fn names_of_virtual_domains_find_their_backups() {
    let Some(cyrus) = Cyrus::find() else { return };
    let mut server = BackupServer::new(cyrus);
    let conf = std::fs::read_to_string(server.instance.conf()).unwrap();
    std::fs::write(
        server.instance.conf(),
        conf.replace("virtdomains: off", "virtdomains: userid"),
    )
    .unwrap();
    let port = server.start(Engine::Ours);
    for capture in captures(|name| name.starts_with("99-")) {
        ends_well(port, &capture);
    }
    let live = server.live_messages("c.d@x.org");
    assert_eq!(live["x.org!user.c^d"].len(), 1, "{live:?}");
    let backups: BTreeMap<String, PathBuf> = server.backups();
    for user in ["a.b", "c.d@x.org", "e"] {
        assert!(backups.contains_key(user), "{user}: {backups:?}");
    }
    server.verify_with_c("99");
}

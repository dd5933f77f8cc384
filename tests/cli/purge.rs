//! `purge`: afterwards nothing of the messages can be found, and everything else is as it was.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use cyrusbackup::store::{Backup, Lock};

use super::administer::{key, two_partitions};
use super::place::Place;
use super::rig::wait_until_free;

const CAROL_0: &str = "42c32deeb045bff18d94bd170d8ca63d6055852e";
const DATA: &str = "one/c/carol_AAAAAA";

/// The inflated data file and the raw index, as one text.
fn all_bytes(place: &Place) -> String {
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(place.path(DATA)).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes.extend(fs::read(place.path(&format!("{DATA}.index"))).unwrap());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn receipt(place: &Place, words: &str) -> serde_json::Value {
    let output = place.ours(&format!("ctl_backups purge carol {words}"));
    assert_eq!(output.code, Some(0), "{}{}", output.out, output.err);
    serde_json::from_str(&output.out).unwrap()
}

#[track_caller]
fn c_verifies(place: &Place) {
    let output = place.c("ctl_backups verify carol");
    assert_eq!(output.out, "verify carol: ok\n", "{}", output.err);
}

fn messages(place: &Place) -> Vec<String> {
    let list = place.c("cyr_backup carol list messages").out;
    list.lines().map(str::to_owned).collect()
}

fn files(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("one/c")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_was_purged_is_nowhere_and_the_rest_is_as_it_was() {
    let Some(place) = two_partitions() else {
        return;
    };
    let before = messages(&place);
    let bodies: Vec<String> = before
        .iter()
        .map(|guid| {
            place
                .c(&format!("cyr_backup carol dump message {guid}"))
                .out
        })
        .collect();
    assert!(all_bytes(&place).contains("Subject: carol 0") && all_bytes(&place).contains(CAROL_0));
    place.copy(DATA, &format!("{DATA}.1795459116"));
    fs::rename(
        place.path(&format!("{DATA}.1795459116.index")),
        place.path(&format!("{DATA}.index.1795459116")),
    )
    .unwrap();

    let raw = fs::read(place.path(DATA)).unwrap();
    let dry = receipt(&place, "--message-id carol_0@x --dry-run");
    assert_eq!(dry["done"], "no: dry run");
    assert_eq!(fs::read(place.path(DATA)).unwrap(), raw);
    assert_eq!(files(&place).len(), 4);

    let receipt_of = receipt(&place, "--message-id carol_0@x");
    assert_eq!(receipt_of["messages"], dry["messages"]);
    assert_eq!(receipt_of["messages"][0]["guid"], CAROL_0);
    assert_eq!(
        receipt_of["messages"][0]["mailboxes"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(receipt_of["removed files"].as_array().unwrap().len(), 2);
    assert_eq!(receipt_of["before"], dry["before"]);
    let bytes = all_bytes(&place);
    for trace in ["Subject: carol 0", "carol_0@x", CAROL_0] {
        assert!(!bytes.contains(trace), "{trace}");
    }
    assert_eq!(files(&place).len(), 2);
    c_verifies(&place);
    assert_eq!(place.ours("ctl_backups verify carol").code, Some(0));
    let gone = place.c(&format!("cyr_backup carol dump message {CAROL_0}"));
    assert_eq!(gone.err, "carol: Item does not exist\n");
    for (guid, body) in before
        .iter()
        .zip(&bodies)
        .filter(|(guid, _)| *guid != CAROL_0)
    {
        assert_eq!(
            place
                .c(&format!("cyr_backup carol dump message {guid}"))
                .out,
            *body
        );
    }
    assert_eq!(messages(&place).len(), before.len() - 1);

    // C makes the same of the bytes.
    let listed = place.c("cyr_backup carol json mailboxes").out;
    assert_eq!(place.c("ctl_backups reindex carol").code, Some(0));
    assert_eq!(place.c("cyr_backup carol json mailboxes").out, listed);
    c_verifies(&place);

    // Again: there is nothing to do. Then all that is left of a mailbox.
    let again = receipt(&place, "--message-id carol_0@x");
    assert_eq!(again["messages"].as_array().unwrap().len(), 0);
    assert_eq!(again["before"], again["after"]);
    receipt(&place, "--tree INBOX");
    // One that no mailbox knows of is found by its header.
    assert_eq!(messages(&place).len(), 1);
    receipt(&place, "--subject carol");
    assert_eq!(messages(&place).len(), 0);
    assert!(!all_bytes(&place).contains("Subject: carol"));
    c_verifies(&place);
}

#[test]
fn purge_refuses_what_it_should() {
    let Some(place) = two_partitions() else {
        return;
    };
    let raw = fs::read(place.path(DATA)).unwrap();
    let refused = |line: &str, code: i32, says: &str| {
        let output = place.ours(&format!("ctl_backups purge {line}"));
        let said = format!("{}{}", output.out, output.err);
        assert!(
            output.code == Some(code) && said.contains(says),
            "{line}: {said}"
        );
    };
    refused("carol", 64, "say which messages");
    refused("carol --dry-run", 64, "say which messages");
    refused("carol --guid xyz", 64, "GUID");
    // What an empty variable in a script makes of --subject "$subject": two blanks are an empty word.
    for option in ["subject", "from", "to", "message-id", "flag", "no-flag"] {
        let says = "nothing is in every message";
        refused(&format!("carol --{option} "), 64, says);
    }
    refused("carol --header Subject:", 64, "nothing is in every message");
    refused("carol --uid *", 64, "is no set of UIDs");
    refused(
        "carol --mailbox user.carol.Inbx",
        75,
        "no mailbox user.carol.Inbx in the index",
    );
    refused("carol --before someday", 64, "is no time");
    refused("nobody --subject x", 75, "not found in backups.db");
    place.ours("ctl_backups hold --reason court carol");
    refused(&format!("carol --guid {CAROL_0}"), 75, "on hold: court");
    place.ours("ctl_backups unhold carol");
    let path = place.catalog().get(&key("carol")).unwrap().unwrap();
    let reader = Backup::open(&path, Lock::Shared { wait: true }).unwrap();
    refused(&format!("carol --guid {CAROL_0}"), 75, "locked");
    drop(reader);
    wait_until_free(&path);
    // Nothing that was refused has changed a byte.
    assert_eq!(fs::read(place.path(DATA)).unwrap(), raw);
    let nothing = receipt(&place, "--guid 0000000000000000000000000000000000000001");
    assert_eq!(nothing["messages"].as_array().unwrap().len(), 0);
    assert_eq!(fs::read(place.path(DATA)).unwrap(), raw);
}

/// Whenever it dies: all of it is there, or the message is nowhere.
#[test]
fn a_purge_may_be_killed_at_any_time() {
    let Some(place) = two_partitions() else {
        return;
    };
    let originals: Vec<(String, Vec<u8>)> = ["", ".index"]
        .map(|suffix| {
            let name = format!("{DATA}{suffix}");
            let bytes = fs::read(place.path(&name)).unwrap();
            (name, bytes)
        })
        .to_vec();
    let mut survived = [0, 0];
    for round in 0..30u64 {
        for (name, bytes) in &originals {
            place.write(name, bytes);
        }
        let mut child = place.start(&format!("ctl_backups purge carol --guid {CAROL_0}"));
        std::thread::sleep(Duration::from_micros(1000 + round * 900));
        child.kill().unwrap();
        child.wait().unwrap();
        // Our next look mends what is half done; then C agrees.
        let found = place.ours("cyr_backup carol find --mailbox INBOX");
        assert_eq!(found.code, Some(0), "{}", found.err);
        survived[usize::from(found.out.contains(CAROL_0))] += 1;
        receipt(&place, &format!("--guid {CAROL_0}"));
        assert!(!all_bytes(&place).contains(CAROL_0));
        assert_eq!(files(&place).len(), 2, "{:?}", files(&place));
        c_verifies(&place);
    }
    eprintln!(
        "purged before it died: {}, not: {}",
        survived[0], survived[1]
    );
    assert!(survived[1] > 0, "no purge was killed in time");
}

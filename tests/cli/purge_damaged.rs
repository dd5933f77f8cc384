//! `purge` of a damaged backup (D40): nothing goes without a word, and what must go can be made to.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;

use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::store::{Appender, Backup, Lock};
use cyrusbackup::types::{BackupKey, Guid};
use serde_json::Value;

use super::octets::Octets;
use super::place::Place;
use super::rig::{Rng, wait_until_free};

const DATA: &str = "d/anne";

/// anne's backup: three chunks, each with a mailbox of six messages of 20,000 octets that nothing makes smaller.
struct Anne {
    place: Place,
    mails: Vec<Octets>,
}

impl Anne {
    fn new() -> Option<Anne> {
        let place = Place::new()?;
        place.mkdir("d");
        place.write(DATA, b"");
        let mut random = Rng::new(20_261_124);
        let mails: Vec<Octets> = (0..18)
            .map(|n| {
                let octets: Vec<u8> = (0..20_000).map(|_| random.next() as u8).collect();
                Octets([format!("Subject: mail-{n}.\r\n\r\n").into_bytes(), octets].concat())
            })
            .collect();
        for (n, six) in (0..).zip(mails.chunks(6)) {
            let mut appender = Appender::open(&place.path(DATA), true).unwrap();
            let now = 1000 + i64::from(n);
            for mail in six {
                appender.append_bodies(&[mail], now).unwrap();
            }
            let records: String = (n * 6 + 1..)
                .zip(six)
                .map(|(uid, mail)| {
                    format!(
                        "%(UID {uid} MODSEQ 5 LAST_UPDATED 1700000000 FLAGS () INTERNALDATE 1700000000 SIZE {} GUID {}) ",
                        mail.0.len(),
                        Guid::of(&mail.0)
                    )
                })
                .collect();
            let line = format!(
                "MAILBOX %(UNIQUEID u{n} MBOXNAME user.anne.{n} SYNC_CRC 0 LAST_UID 18 HIGHESTMODSEQ 5 \
                 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 \
                 PARTITION default ACL x OPTIONS P RECORD ({}))",
                records.trim()
            );
            let line = parse_apply(line.as_bytes()).unwrap();
            appender.append(&line, now).unwrap();
            appender.commit().unwrap();
            appender.finish().unwrap();
        }
        wait_until_free(&place.path(DATA));
        place.give_all("d");
        let key = BackupKey::from_userid("anne").unwrap();
        place.catalog().insert(&key, &place.path(DATA)).unwrap();
        Some(Anne { place, mails })
    }

    fn guid(&self, n: usize) -> String {
        Guid::of(&self.mails[n].0).to_string()
    }

    fn raw(&self) -> Vec<u8> {
        fs::read(self.place.path(DATA)).unwrap()
    }

    /// Where chunks start.
    fn starts(&self) -> Vec<usize> {
        let backup = Backup::open(&self.place.path(DATA), Lock::None).unwrap();
        let chunks = backup.index().chunks().unwrap();
        chunks.iter().map(|chunk| chunk.offset as usize).collect()
    }

    /// Messages that come back; none of them wrong.
    fn readable(&self) -> BTreeSet<String> {
        let backup = Backup::open(&self.place.path(DATA), Lock::None).unwrap();
        let mails = self.mails.iter().filter(|mail| {
            let read = backup.read_message(&Guid::of(&mail.0));
            assert!(read.as_ref().map_or(true, |read| **read == mail.0[..]));
            read.is_ok()
        });
        mails.map(|mail| Guid::of(&mail.0).to_string()).collect()
    }

    /// Files beside each other in `d/`, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place.path("d")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// It is refused, nothing has changed, and nobody holds the lock.
    #[track_caller]
    fn refuses(&self, words: &str, says: &str) {
        let files = ["", ".index"].map(|suffix| self.place.path(&format!("{DATA}{suffix}")));
        let before = files.clone().map(|file| fs::read(file).unwrap());
        let output = self.place.ours(&format!("ctl_backups purge anne {words}"));
        let said = format!("{}{}", output.out, output.err);
        assert!(
            output.code == Some(75) && said.contains(says),
            "{words}: {said}"
        );
        assert!(
            files.map(|file| fs::read(file).unwrap()) == before,
            "{words}"
        );
        wait_until_free(&self.place.path(DATA));
    }

    /// It ends so; the receipt, and standard error.
    #[track_caller]
    fn purges(&self, words: &str, code: i32) -> (Value, String) {
        let output = self.place.ours(&format!("ctl_backups purge anne {words}"));
        assert_eq!(output.code, Some(code), "{}{}", output.out, output.err);
        (serde_json::from_str(&output.out).unwrap(), output.err)
    }

    /// No octets of message `n` are in any file, nor does anything but a record know of it.
    #[track_caller]
    fn is_nowhere(&self, n: usize) {
        assert_eq!(self.files(), ["anne", "anne.index"]);
        let (raw, mut inflated) = (self.raw(), Vec::new());
        let mut reader = flate2::read::MultiGzDecoder::new(&raw[..]);
        reader.read_to_end(&mut inflated).unwrap();
        // A part from its middle, since random octets come as they are.
        let octets = &self.mails[n].0[9_000..9_040];
        assert!(memchr::memmem::find(&inflated, octets).is_none(), "{n}");
        assert!(memchr::memmem::find(&raw, octets).is_none(), "{n}");
    }

    /// C finds nothing wrong with what is left.
    #[track_caller]
    fn is_whole(&self) {
        for output in [
            self.place.c("ctl_backups verify anne"),
            self.place.ours("ctl_backups --keep-going verify anne"),
        ] {
            assert_eq!(output.out, "verify anne: ok\n", "{}", output.err);
        }
    }
}

fn guids(messages: &Value) -> BTreeSet<String> {
    let messages = messages.as_array().unwrap().iter();
    messages
        .map(|m| m["guid"].as_str().unwrap().to_owned())
        .collect()
}

/// D40: a flipped bit in a body, a page of zeros, and a chunk out of which something is missing.
#[test]
fn a_damaged_backup_is_purged_only_by_force_and_the_receipt_says_what_went_too() {
    let Some(anne) = Anne::new() else { return };
    let good = ["", ".index"].map(|suffix| {
        let name = format!("{DATA}{suffix}");
        let bytes = fs::read(anne.place.path(&name)).unwrap();
        (name, bytes)
    });
    let starts = anne.starts();
    let middle = starts[1] + 50_000;
    for kind in ["flip", "zero", "cut"] {
        for (name, bytes) in &good {
            anne.place.write(name, bytes);
        }
        let mut bytes = anne.raw();
        match kind {
            "flip" => bytes[middle] ^= 0x40,
            "zero" => bytes[middle..middle + 4096].fill(0),
            _ => drop(bytes.drain(middle..middle + 4096)),
        }
        anne.place.write(DATA, &bytes);
        let (target, words) = (anne.guid(2), format!("--guid {}", anne.guid(2)));
        if kind == "cut" {
            anne.refuses(&words, "run `ctl_backups reindex`");
            anne.refuses(&format!("-F {words}"), "run `ctl_backups reindex`");
            assert_eq!(anne.place.ours("ctl_backups reindex anne").code, Some(75));
        }
        let readable = anne.readable();
        assert!((12..18).contains(&readable.len()), "{kind}: {readable:?}");
        let offset = starts[1];
        let place = format!("damaged data in chunk 2 at offset {offset}: ");
        anne.refuses(&words, &format!("purge anne: failed ({place}"));
        anne.refuses(&format!("{words} --dry-run"), &place);
        // Whether it is in what cannot be read, nobody knows.
        let unknown = "--guid 0000000000000000000000000000000000000001";
        anne.refuses(unknown, &place);

        let (dry, _) = anne.purges(&format!("-F {words} --dry-run"), 0);
        assert!(anne.raw() == bytes, "{kind}");
        let indexed = {
            let backup = Backup::open(&anne.place.path(DATA), Lock::None).unwrap();
            let rows = backup.index().messages().unwrap();
            let guids = rows.iter().map(|row| row.guid.to_string());
            guids.collect::<BTreeSet<_>>()
        };
        let (receipt, said) = anne.purges(&format!("-F {words}"), 0);
        let told = format!("anne: what cannot be read went too: in chunk 2 at offset {offset}\n");
        assert_eq!(said, told, "{kind}");
        assert_eq!(receipt["unreadable"], dry["unreadable"], "{kind}");
        assert_eq!(
            receipt["unreadable"]["chunks"],
            serde_json::json!([{ "chunk": 2, "offset": offset }])
        );
        assert_eq!(
            guids(&receipt["messages"]),
            BTreeSet::from([target.clone()])
        );
        // Everything that could be read is there but for what was to go; the rest is on the receipt.
        let left = anne.readable();
        let lost: BTreeSet<String> = indexed.difference(&left).cloned().collect();
        let mut told = guids(&receipt["unreadable"]["messages"]);
        told.insert(target.clone());
        assert_eq!(told, lost, "{kind}");
        assert!(readable.difference(&left).eq([&target]), "{kind}");
        for message in receipt["unreadable"]["messages"].as_array().unwrap() {
            assert_eq!(message["mailboxes"][0]["mboxname"], "user.anne.1", "{kind}");
        }
        anne.is_nowhere(2);
        let index = fs::read(anne.place.path(&format!("{DATA}.index"))).unwrap();
        assert!(memchr::memmem::find(&index, target.as_bytes()).is_none());
        let verified = anne.place.ours("ctl_backups --keep-going verify anne");
        assert!(!verified.out.contains("error reading"), "{}", verified.out);
        // Again there is nothing to do, and nothing to be forced.
        let (again, _) = anne.purges(&words, 0);
        assert!(again["unreadable"].is_null() && again["before"] == again["after"]);
    }
}

/// What is meant cannot be read: its octets go with the rest that cannot, and that nobody can tell is told.
#[test]
fn what_is_meant_and_cannot_be_read_is_gone_as_well() {
    let Some(anne) = Anne::new() else { return };
    let mut bytes = anne.raw();
    let at = memchr::memmem::find(&bytes, &anne.mails[8].0[5_000..5_040]).unwrap();
    bytes[at] ^= 0x40;
    anne.place.write(DATA, &bytes);
    assert!(!anne.readable().contains(&anne.guid(8)));
    let words = "--subject mail";
    anne.refuses(words, "damaged data in chunk 2");
    let (receipt, said) = anne.purges(&format!("-F {words}"), 75);
    assert!(
        said.contains("nobody can tell whether they are meant"),
        "{said}"
    );
    let mut gone = guids(&receipt["messages"]);
    gone.extend(guids(&receipt["unreadable"]["messages"]));
    assert_eq!(gone.len(), anne.mails.len());
    (0..anne.mails.len()).for_each(|n| anne.is_nowhere(n));
    // By GUID its record goes as well.
    anne.purges(&format!("--guid {}", anne.guid(8)), 0);
    let records = "SELECT uid FROM mailbox_message";
    assert!(
        !anne
            .place
            .rows(DATA, records)
            .iter()
            .any(|row| row.contains("(9)"))
    );
}

/// Writing it anew makes messages readable that were not, and these are looked at as well.
#[test]
fn what_can_be_read_only_afterwards_is_purged_too() {
    let Some(anne) = Anne::new() else { return };
    let mut bytes = anne.raw();
    // Nobody finds a chunk here, but what follows its header is whole.
    bytes[anne.starts()[1]] ^= 0xff;
    anne.place.write(DATA, &bytes);
    let words = "--subject mail-8.";
    anne.refuses(words, "damaged data in chunk 2");
    let (receipt, said) = anne.purges(&format!("-F {words}"), 0);
    assert!(said.contains("went too: in chunk 2"), "{said}");
    assert_eq!(receipt["unreadable"]["messages"], serde_json::json!([]));
    assert_eq!(guids(&receipt["messages"]), BTreeSet::from([anne.guid(8)]));
    assert_eq!(anne.readable().len(), anne.mails.len() - 1);
    anne.is_nowhere(8);
    anne.is_whole();
    let file = receipt["after"]["bytes"].as_u64().unwrap();
    assert_eq!(file, anne.raw().len() as u64);
}

/// Of a file in which nothing can be read, nothing would be left.
#[test]
fn a_backup_of_which_nothing_can_be_read_is_not_purged() {
    let Some(anne) = Anne::new() else { return };
    let garbled: Vec<u8> = anne.raw().iter().map(|byte| byte ^ 0x55).collect();
    anne.place.write(DATA, &garbled);
    let words = format!("--guid {}", anne.guid(2));
    anne.refuses(&words, "damaged data in chunk 1 at offset 0");
    anne.refuses(
        &format!("-F {words}"),
        "nothing in it can be read as a backup",
    );
}

/// Earlier versions of the files and the mount's cache go with what is found; when nothing is found they stay, and
/// that is no success.
#[test]
fn earlier_versions_are_not_forgotten() {
    let Some(anne) = Anne::new() else { return };
    for suffix in ["1795459116", "index.1795459116"] {
        anne.place.write(&format!("{DATA}.{suffix}"), b"as it was");
    }
    anne.place
        .write(&format!("{DATA}.seek"), b"octets of messages");
    let nothing = "--guid 0000000000000000000000000000000000000001";
    for dry in ["", " --dry-run"] {
        let (receipt, said) = anne.purges(&format!("{nothing}{dry}"), 75);
        assert!(
            said.contains("nothing was found, so earlier versions stay"),
            "{said}"
        );
        assert_eq!(receipt["kept files"].as_array().unwrap().len(), 2);
        assert_eq!(receipt["removed files"], serde_json::json!([]));
    }
    let kept = [
        "anne",
        "anne.1795459116",
        "anne.index",
        "anne.index.1795459116",
    ];
    assert_eq!(anne.files(), kept);
    let (receipt, said) = anne.purges(&format!("-F {nothing}"), 0);
    assert_eq!(said, "");
    assert_eq!(receipt["removed files"].as_array().unwrap().len(), 2);
    assert_eq!(anne.files(), ["anne", "anne.index"]);
    anne.is_whole();

    // What compact -F has kept of a damaged one.
    let mut bytes = anne.raw();
    bytes[anne.starts()[1] + 50_000] ^= 0x40;
    anne.place.write(DATA, &bytes);
    assert_eq!(anne.place.ours("ctl_backups -F compact anne").code, Some(0));
    assert_eq!(anne.files().len(), 4);
    let (receipt, _) = anne.purges(&format!("--guid {}", anne.guid(2)), 0);
    assert_eq!(receipt["removed files"].as_array().unwrap().len(), 2);
    anne.is_nowhere(2);
}

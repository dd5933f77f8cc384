//! What cyr_backup has and C's has not (D41): `find`, `show chunks`, `dump mailbox`.

use super::place::Place;

const CAROL_0: &str = "42c32deeb045bff18d94bd170d8ca63d6055852e";

/// The lines of a `find`, without the dates.
fn find(place: &Place, words: &str) -> Vec<String> {
    let output = place.ours(&format!("cyr_backup carol find {words}"));
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{words}");
    let short = |line: &str| {
        let mut columns: Vec<&str> = line.split('\t').collect();
        assert_eq!(columns.len(), 6, "{line}");
        columns.remove(3);
        columns.join(" ")
    };
    output.out.lines().map(short).collect()
}

/// All of it agrees with what C lists; src/select/tests.rs has every criterion.
#[test]
fn find_shows_what_c_lists() {
    let Some(place) = Place::new() else { return };
    let json = place.c("cyr_backup carol json mailboxes").out;
    let mailboxes: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut expected = Vec::new();
    for mailbox in mailboxes.as_array().unwrap() {
        for message in mailbox["messages"].as_array().into_iter().flatten() {
            expected.push(format!(
                "{} {}",
                message["guid"].as_str().unwrap(),
                message["uid"]
            ));
        }
    }
    let found = place.ours("cyr_backup carol find --json").out;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let mut told = Vec::new();
    for hit in found.as_array().unwrap() {
        told.push(format!("{} {}", hit["guid"].as_str().unwrap(), hit["uid"]));
        let subject = hit["subject"].as_str().unwrap();
        assert!(subject.starts_with("carol "), "{subject}");
    }
    expected.sort();
    told.sort();
    assert!(!told.is_empty());
    assert_eq!(told, expected);
    assert_eq!(
        find(
            &place,
            "--subject CAROL --message-id carol_0@x --mailbox INBOX --not-expunged"
        ),
        [format!("{CAROL_0} user/carol 1 live carol 0")]
    );
    assert_eq!(find(&place, "--from nobody"), [""; 0]);
}

#[test]
fn find_refuses_nonsense_and_tells_damage() {
    let Some(place) = Place::new() else { return };
    // No message in a mailbox that there is not is another thing than none in one that there is.
    for option in ["--mailbox", "--tree"] {
        let output = place.ours(&format!("cyr_backup carol find {option} user.carol.Inbx"));
        let says = "carol: the backup knows of no mailbox user.carol.Inbx\n";
        assert_eq!((output.code, output.err.as_str()), (Some(75), says));
    }
    for words in [
        "--since yesterweek",
        "--guid xyz",
        "--mailbox a^b",
        "--frob",
        "--uid 0",
    ] {
        let output = place.ours(&format!("cyr_backup carol find {words}"));
        assert_eq!(
            (output.code, output.out.as_str()),
            (Some(64), ""),
            "{words}"
        );
        assert!(!output.err.is_empty(), "{words}");
    }
    assert_eq!(place.ours("cyr_backup nobody find").code, Some(75));
    let help = place.ours("cyr_backup carol find --help");
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("--expunged-since"), "{}", help.out);
    let damaged = place.ours("cyr_backup -f b/craft-corr find --subject x");
    assert_eq!(damaged.code, Some(75), "{}", damaged.err);
    assert!(damaged.err.contains("nobody can tell"), "{}", damaged.err);
}

/// Every living message is in the mbox, and unquoted it is what C dumps.
#[test]
fn a_mailbox_is_dumped_as_mboxrd() {
    let Some(place) = Place::new() else { return };
    for backup in ["carol", "bethany"] {
        let json = place.c(&format!("cyr_backup {backup} json mailboxes")).out;
        let mailboxes: serde_json::Value = serde_json::from_str(&json).unwrap();
        for mailbox in mailboxes.as_array().unwrap() {
            let uniqueid = mailbox["uniqueid"].as_str().unwrap();
            let dump = place.ours(&format!("cyr_backup {backup} dump mailbox {uniqueid}"));
            let mut expected = Vec::new();
            for message in mailbox["messages"].as_array().into_iter().flatten() {
                let guid = message["guid"].as_str().unwrap();
                if message["expunged"].is_null() {
                    let octets = place
                        .c(&format!("cyr_backup {backup} dump message {guid}"))
                        .out;
                    expected.push(octets.replace("\r\n", "\n"));
                }
            }
            let mut messages = messages(&dump.out);
            messages.sort();
            expected.sort();
            assert_eq!(messages, expected, "{backup} {uniqueid} {}", dump.err);
            assert_eq!((dump.code, dump.err.as_str()), (Some(0), ""));
        }
    }
    let unknown = place.ours("cyr_backup carol dump mailbox user.nobody");
    assert_eq!(unknown.err, "carol: Item does not exist\n");
    assert_eq!(unknown.code, Some(75));
}

fn messages(mbox: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for line in mbox.split_inclusive('\n') {
        if line.starts_with("From ") {
            messages.push(String::new());
            continue;
        }
        let quotes = line.bytes().take_while(|byte| *byte == b'>').count();
        let quoted = quotes > 0 && line[quotes..].starts_with("From ");
        messages
            .last_mut()
            .unwrap()
            .push_str(&line[usize::from(quoted)..]);
    }
    for message in &mut messages {
        assert_eq!(message.pop(), Some('\n'));
    }
    messages
}

#[test]
fn chunks_are_shown_line_by_line() {
    let Some(place) = Place::new() else { return };
    let shown = place.ours("cyr_backup carol show chunks 1 2").out;
    let listed = place.c("cyr_backup carol list chunks").out;
    let row: Vec<&str> = listed.lines().nth(2).unwrap().split_whitespace().collect();
    for (name, value) in [
        ("chunk", row[0]),
        ("offset", row[1]),
        ("length", row[2]),
        ("ratio", row[3]),
    ] {
        let line = format!("{:11} {value}\n", format!("{name}:"));
        assert!(shown.contains(&line), "{line:?} in {shown}");
    }
    let dumped = place.c("cyr_backup carol dump chunk 1").out;
    let commands = dumped
        .lines()
        .filter(|line| line.contains(" APPLY "))
        .count();
    let first = &shown[..shown.find("\n\n").unwrap()];
    let lines = first
        .lines()
        .skip_while(|line| *line != "lines:")
        .skip(2)
        .count();
    assert_eq!(lines, commands, "{first}");
    assert!(first.contains("MESSAGE 3 messages, 761 octets"), "{first}");
    for (words, error) in [("99", "Item does not exist"), ("x", "\"x\" is no chunk id")] {
        let refused = place.ours(&format!("cyr_backup carol show chunks {words}"));
        assert_eq!(refused.err, format!("carol: {error}\n"));
        assert_eq!((refused.code, refused.out.as_str()), (Some(75), ""));
    }
    let damaged = place.ours("cyr_backup -f b/craft-corr show chunks 1 2 3");
    assert_eq!(damaged.code, Some(75));
    assert!(
        damaged.err.contains("cannot be read beyond byte"),
        "{}",
        damaged.err
    );
}

/// `--at`: every command looks at the backup as it was. Carol's chunks were written within seconds, so the times
/// are those of the lines.
#[test]
fn every_command_can_look_back() {
    let Some(place) = Place::new() else { return };
    let all = place.ours("cyr_backup --at now carol list messages");
    assert_eq!(all.out, place.c("cyr_backup carol list messages").out);
    assert_eq!(
        place.ours("cyr_backup carol find --at now").out,
        place.ours("cyr_backup carol find").out
    );
    for (words, code, says) in [
        ("--at 1990-01-01 carol list messages", 75, "carol: "),
        ("--at someday carol list messages", 64, "is no time"),
        ("carol find --at someday", 64, "is no time"),
        ("--at", 64, "requires an argument"),
    ] {
        let refused = place.ours(&format!("cyr_backup {words}"));
        assert_eq!(
            (refused.code, refused.out.as_str()),
            (Some(code), ""),
            "{words}"
        );
        assert!(refused.err.contains(says), "{words}: {}", refused.err);
    }
    // Craft a backup of two days.
    place.write(
        "b/days",
        &[
            chunk(1_790_000_000, 1, "\\Seen"),
            chunk(1_790_086_400, 2, ""),
        ]
        .concat(),
    );
    for (at, uids) in [
        ("@1790000000", "1"),
        ("@1790086399", "1"),
        ("@1790086400", "1 2"),
    ] {
        let found = place.ours(&format!("cyr_backup -f --at {at} b/days find"));
        let told = found
            .out
            .lines()
            .map(|line| line.split('\t').nth(2).unwrap());
        assert_eq!(
            told.collect::<Vec<_>>().join(" "),
            uids,
            "{at} {}",
            found.err
        );
        let shown = place.ours(&format!("cyr_backup -f --at {at} b/days show mailboxes u"));
        assert_eq!(
            shown
                .out
                .lines()
                .filter(|line| line.contains("da39a3"))
                .count(),
            uids.split(' ').count()
        );
    }
}

/// A chunk with one record of an empty message.
fn chunk(time: i64, uid: u32, flags: &str) -> Vec<u8> {
    let guid = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let text = format!(
        "# cyrus backup: chunk start\r\n{time} APPLY MESSAGE (%{{default {guid} 0}}\r\n)\r\n\
         {time} APPLY MAILBOX %(UNIQUEID u MBOXNAME user.dan SYNC_CRC 0 LAST_UID 2 HIGHESTMODSEQ 2 \
         RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 PARTITION default \
         ACL \"\" OPTIONS P RECORD (%(UID {uid} MODSEQ {uid} LAST_UPDATED 5 FLAGS ({flags}) \
         INTERNALDATE 7 SIZE 0 GUID {guid})))\r\n"
    );
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

//! Damage on which C's programs hang at 100 % CPU: only ours runs. (spec: ondisk 10.8)

use std::fs;
use std::io::Write;

use cyrusbackup::types::Guid;
use flate2::{Compression, write::GzEncoder};

use super::place::Place;

/// D13
#[test]
fn a_damaged_last_chunk_is_told() {
    let Some(place) = Place::new() else { return };
    let flip = |name: &str, at: usize| {
        place.copy("b/carol", name);
        let mut bytes = fs::read(place.path(name)).unwrap();
        bytes[at] ^= 0x10;
        place.write(name, &bytes);
    };
    // The last member begins at 2870: its magic, its method, its data, its CRC.
    let last = fs::read(place.path("b/carol")).unwrap().len();
    for (name, at) in [
        ("b/magic", 2870),
        ("b/method", 2872),
        ("b/data", 3000),
        ("b/crc", last - 6),
    ] {
        flip(name, at);
        let list = place.ours(&format!("ctl_backups list -f {name} b/craft-n"));
        assert_eq!(list.err, format!("{name}: unreadable chunk\n"));
        assert!(
            list.out.ends_with("b/craft-n\n"),
            "the other backup is listed all the same"
        );
        assert_eq!(list.code, Some(75));

        let verify = place.ours(&format!("ctl_backups verify -f {name}"));
        let found = "error reading chunk 4 data at offset 2870, byte ";
        assert!(verify.out.starts_with(found), "{}", verify.out);
        assert!(
            verify
                .out
                .ends_with(&format!("verify {name}: failed (unreadable chunk)\n"))
        );
        assert_eq!(verify.code, Some(75));

        let message = "cyr_backup -f NAME dump message 42c32deeb045bff18d94bd170d8ca63d6055852e";
        let dumped = place.ours(&message.replace("NAME", name));
        assert_eq!(
            (dumped.code, dumped.err.as_str()),
            (Some(0), ""),
            "another chunk's message"
        );
        let chunk = place.ours(&format!("cyr_backup -f {name} dump chunk 4"));
        assert_eq!(chunk.code, Some(75));
        assert!(!chunk.err.is_empty());
    }
    let verify = place.ours("ctl_backups verify -f b/craft-corr");
    assert!(
        verify
            .out
            .ends_with("verify b/craft-corr: failed (unreadable chunk)\n")
    );
}

/// D14
#[test]
fn a_missing_gzip_trailer_is_told() {
    let Some(place) = Place::new() else { return };
    place.copy("b/carol", "b/cut");
    let bytes = fs::read(place.path("b/carol")).unwrap();
    place.write("b/cut", &bytes[..bytes.len() - 8]);
    assert_eq!(place.c("ctl_backups list -f b/cut").code, Some(0));
    let ours = place.ours("ctl_backups list -f b/cut");
    assert_eq!(
        (ours.err.as_str(), ours.code),
        ("b/cut: unreadable chunk\n", Some(75))
    );
    let verify = place.ours("ctl_backups verify -f b/cut").out;
    let found = "error reading chunk 4 data at offset 2870, byte 423: the file ends before the gzip trailer\n";
    let damaged = "  damaged: chunk 4 at offset 2870, byte 423\n";
    assert_eq!(
        verify,
        format!("{found}{damaged}verify b/cut: failed (unreadable chunk)\n")
    );
}

/// D16: chunk, offset, byte, guid, mailbox and UID of everything that is damaged.
#[test]
fn what_is_damaged_is_named() {
    let Some(place) = Place::new() else { return };
    place.copy("b/carol", "b/bent");
    let mut bytes = fs::read(place.path("b/carol")).unwrap();
    bytes[2150] ^= 1; // both in chunk 3
    bytes[2500] ^= 1;
    place.write("b/bent", &bytes);
    let verified = place.ours("ctl_backups verify -f b/bent");
    assert_eq!(verified.code, Some(75));
    let lines: Vec<&str> = verified.out.lines().collect();
    assert!(
        lines[0].starts_with("error reading chunk 3 data at offset 2049, byte "),
        "{lines:?}"
    );
    // The message of a chunk that cannot be read, with everybody who has it.
    let at = "SELECT m.guid, m.offset, b.mboxname, b.uniqueid, mm.uid FROM message m \
              JOIN mailbox_message mm ON mm.message_id = m.id JOIN mailbox b ON b.id = mm.mailbox_id \
              WHERE m.chunk_id = 3";
    let index = rusqlite::Connection::open(place.path("b/carol.index")).unwrap();
    let (guid, byte, name, uniqueid, uid): (String, u64, String, String, u32) = index
        .query_row(at, [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))
        })
        .unwrap();
    let told =
        format!("  damaged: chunk 3 at offset 2049, byte {byte}: message {guid}, {name} uid {uid}");
    assert!(lines.contains(&told.as_str()), "{told}: {lines:?}");
    // Its record and its mailbox, too.
    for told in [
        format!("  damaged: chunk 3 at offset 2049: record of {guid}, {name} uid {uid}"),
        format!("  damaged: chunk 3 at offset 2049: mailbox {name} {uniqueid}"),
    ] {
        assert!(lines.contains(&told.as_str()), "{told}: {lines:?}");
    }

    let json = place.ours("ctl_backups -j verify -f b/bent").out;
    assert!(!json.contains("  damaged: "));
    let object = &json[json.find('{').unwrap()..];
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    let damage = object["damage"].as_array().unwrap();
    let message = serde_json::json!({
        "reason": "missing message", "chunk": 3, "offset": 2049, "byte": byte, "guid": guid,
        "mailboxes": [{ "uniqueid": uniqueid, "mboxname": name, "uid": uid }],
    });
    assert!(damage.contains(&message), "{damage:#?}");
    // What is good has no such key, and looking at the last chunk says what C says.
    assert!(
        !place
            .ours("ctl_backups -j verify -f b/carol")
            .out
            .contains("damage")
    );
    assert!(
        !place
            .ours("ctl_backups list -f b/craft-trunc")
            .out
            .contains("damaged:")
    );
}

/// The data file of one chunk with these messages in one line and one mailbox; their GUIDs.
pub fn backup_of(messages: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
    let mut text = b"# cyrus backup: chunk start\r\n1700000100 APPLY MESSAGE (".to_vec();
    let mut records = Vec::new();
    let mut guids = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let (guid, size) = (Guid::of(message).to_string(), message.len());
        text.extend_from_slice(if i > 0 { b" " } else { b"" });
        text.extend_from_slice(format!("%{{default {guid} {size}}}\r\n").as_bytes());
        text.extend_from_slice(message);
        let uid = i + 1;
        records.push(format!(
            "%(UID {uid} MODSEQ 5 LAST_UPDATED 1700000000 FLAGS () INTERNALDATE 1700000000 \
             SIZE {size} GUID {guid})"
        ));
        guids.push(guid);
    }
    let mailbox = format!(
        ")\r\n1700000100 APPLY MAILBOX %(UNIQUEID odd-1 MBOXNAME user.odd SYNC_CRC 0 \
         SYNC_CRC_ANNOT 0 LAST_UID 9 HIGHESTMODSEQ 50 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 \
         POP3_LAST_LOGIN 0 POP3_SHOW_AFTER 0 XCONVMODSEQ 9 UIDVALIDITY 1700000001 \
         PARTITION default ACL x OPTIONS P RECORD ({}))\r\n",
        records.join(" ")
    );
    text.extend_from_slice(mailbox.as_bytes());
    let mut member = GzEncoder::new(Vec::new(), Compression::default());
    member.write_all(&text).unwrap();
    (member.finish().unwrap(), guids)
}

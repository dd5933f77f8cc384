//! cyr_backup.

use super::place::Place;
use super::rig::Output;

#[test]
fn lists_and_their_spelling() {
    let Some(place) = Place::new() else { return };
    place.write("b/empty", b"");
    let guids = "42c32deeb045bff18d94bd170d8ca63d6055852e 6C70be29b6a8356a4b00e8c9a90c3eaff91b7546 \
                 0000000000000000000000000000000000000001 junk";
    let mut lines = Vec::new();
    for noun in ["list all", "list chunks", "list mailboxes", "list messages"] {
        for backup in [
            "carol",
            "bethany",
            "%SHARED",
            "",
            "-m user.carol",
            "-f b/craft-quoted",
        ] {
            lines.push(format!("cyr_backup {backup} {noun}"));
        }
        lines.push(format!("cyr_backup -f b/craft-tsline {noun}"));
        lines.push(format!("cyr_backup -f b/craft-orph {noun}"));
        lines.push(format!("cyr_backup -f b/empty {noun}"));
    }
    for noun in ["json chunks", "json mailboxes", "json messages"] {
        for backup in [
            "carol",
            "bethany",
            "-f b/craft-tsline",
            "-f b/craft-orph",
            "-f b/empty",
        ] {
            lines.push(format!("cyr_backup {backup} {noun}"));
        }
    }
    lines.extend([
        format!("cyr_backup carol json headers {guids}"),
        format!("cyr_backup carol show messages {guids}"),
        "cyr_backup carol json headers junk".to_owned(),
        "cyr_backup carol show mailboxes user.carol 22222222-aaaa-bbbb-cccc-0000000000c2 user.carol.Tmp x".to_owned(),
        "cyr_backup bethany show mailboxes user.bethany user.bethany.Renamed user.bethany.Tmp".to_owned(),
        "cyr_backup carol dump message 42C32deeb045bff18d94bd170d8ca63d6055852E".to_owned(),
        "cyr_backup carol dump message 0000000000000000000000000000000000000001".to_owned(),
        "cyr_backup carol dump message xyz".to_owned(),
        "cyr_backup carol dump chunk 1".to_owned(),
        "cyr_backup carol dump chunk 4x".to_owned(),
        "cyr_backup carol dump chunk 99".to_owned(),
        "cyr_backup -v carol list chunks".to_owned(),
        "cyr_backup -vv carol list messages".to_owned(),
        "cyr_backup gone list all".to_owned(),
        "cyr_backup -f /nope list all".to_owned(),
        "cyr_backup -- carol list all".to_owned(),
    ]);
    for line in lines {
        place.same(&line);
    }
}

#[test]
fn usage_errors() {
    let Some(place) = Place::new() else { return };
    for line in [
        "cyr_backup",
        "cyr_backup carol",
        "cyr_backup carol list",
        "cyr_backup carol list frob",
        "cyr_backup carol frob all",
        "cyr_backup carol list all x",
        "cyr_backup -f carol",
        "cyr_backup -u -m carol list all",
        "cyr_backup -Z carol list all",
        "cyr_backup -C",
        "cyr_backup carol dump message",
        "cyr_backup carol show messages",
        "cyr_backup carol json headers",
    ] {
        place.same(line);
    }
}

/// D9
#[test]
fn failures_in_words() {
    let Some(place) = Place::new() else { return };
    for (line, number, text) in [
        ("cyr_backup nosuch list all", 251, "not found in backups.db"),
        (
            "cyr_backup carol dump chunk abc",
            255,
            "\"abc\" is no chunk id",
        ),
        ("cyr_backup carol dump chunk 0", 255, "\"0\" is no chunk id"),
    ] {
        place.differs(line, |mut c| {
            c.err = c.err.replace(&format!("Unknown code ____ {number}"), text);
            c
        });
    }
}

/// D10
#[test]
fn damage_elsewhere_hinders_nobody() {
    let Some(place) = Place::new() else { return };
    let line = "cyr_backup -f b/craft-trunc list messages";
    assert_eq!(place.c(line).code, Some(75));
    let ours = place.ours(line);
    assert_eq!((ours.out.lines().count(), ours.code), (400, Some(0)));

    // With -v the checksums are looked at as in C; the command runs all the same.
    let c = place.c("cyr_backup -v -f b/craft-trunc list messages");
    let verbose = place.ours("cyr_backup -v -f b/craft-trunc list messages");
    assert_eq!(verbose.out, c.out + &ours.out);
    assert_eq!(verbose.err, "b/craft-trunc: data length mismatch\n");
    assert_eq!(verbose.code, Some(75));

    let mut readable = 0;
    for guid in ours.out.lines() {
        let dumped = place.ours(&format!("cyr_backup -f b/craft-trunc dump message {guid}"));
        match dumped.code {
            Some(0) => readable += 1,
            _ => {
                assert_eq!((dumped.code, dumped.out.as_str()), (Some(75), ""));
                assert!(dumped.err.contains(guid), "{}", dumped.err);
            }
        }
        if readable > 5 && dumped.code != Some(0) {
            break;
        }
    }
    assert!(
        readable > 100,
        "only {readable} of 400 messages come out of 70 % of the file"
    );
}

/// D11
#[test]
fn a_message_is_what_its_guid_says() {
    let Some(place) = Place::new() else { return };
    let guid = place
        .ours("cyr_backup -f b/craft-badguid list messages")
        .out;
    let ours = place.ours(&format!(
        "cyr_backup -f b/craft-badguid dump message {}",
        guid.trim()
    ));
    assert_eq!((ours.out.as_str(), ours.code), ("", Some(75)));
    assert!(ours.err.starts_with("b/craft-badguid: "), "{}", ours.err);
    assert!(ours.err.contains(guid.trim()), "{}", ours.err);
}

/// Messages that need care: NULs, no header, no body, bare line feeds, nothing at all.
const ODD: [&[u8]; 7] = [
    b"From: a@b\r\nSubject: x\r\n y\r\nX-E:\r\nX-8: caf\xe9\r\nNo colon\r\nX : v\r\n\r\nbody\r\n",
    b"\r\nbody only\r\n",
    b"N: v\r\n\r\nnul\0body",
    b"",
    b"A: 1\r\n",
    b"A: 1\nB: 2\n\nbody\n",
    b"N: a\0b\r\n\r\n",
];

fn odd(place: &Place) -> Vec<String> {
    let (data, guids) = super::damage::backup_of(&ODD);
    place.write("b/odd", &data);
    let reindexed = place.c("ctl_backups reindex -f b/odd");
    assert_eq!(reindexed.code, Some(0), "{}", reindexed.err);
    place.same("ctl_backups -vv verify -f b/odd");
    guids
}

/// D12
#[test]
fn nul_bytes_and_odd_headers() {
    let Some(place) = Place::new() else { return };
    let guids = odd(&place);
    for guid in [&guids[0], &guids[1], &guids[3]] {
        place.same(&format!("cyr_backup -f b/odd show messages {guid}"));
        place.same(&format!("cyr_backup -f b/odd json headers {guid}"));
        place.same(&format!("cyr_backup -f b/odd dump message {guid}"));
    }
    for (i, part) in [(2, "nul"), (6, "N: a")] {
        place.differs(
            &format!("cyr_backup -f b/odd dump message {}", guids[i]),
            |mut c| {
                assert!(c.out.ends_with(part), "C stops at the NUL: {:?}", c.out);
                c.out = String::from_utf8(ODD[i].to_vec()).unwrap();
                c
            },
        );
    }
    for (i, block) in [(4, "A: 1\r\n"), (5, "A: 1\nB: 2\n"), (6, "N: a\0b\r\n")] {
        place.differs(
            &format!("cyr_backup -f b/odd show messages {}", guids[i]),
            |mut c| {
                c.out = c
                    .out
                    .replace("headers:\n\n", &format!("headers:\n{block}\n"));
                c
            },
        );
    }
    for i in [2, 4, 5] {
        place.same(&format!("cyr_backup -f b/odd json headers {}", guids[i]));
    }
    place.differs(
        &format!("cyr_backup -f b/odd json headers {}", guids[6]),
        |c| Output {
            out: c.out.replace("\"a\"", "\"a\\u0000b\""),
            ..c
        },
    );
}

/// D12: a chunk comes out whole.
#[test]
fn a_chunk_with_nul_bytes() {
    let Some(place) = Place::new() else { return };
    odd(&place);
    let chunk = place.ours("cyr_backup -f b/odd dump chunk 1");
    assert_eq!(chunk.code, Some(0));
    assert!(
        chunk.out.contains("nul\0body") && chunk.out.ends_with("))\r\n"),
        "{:?}",
        chunk.out
    );
}

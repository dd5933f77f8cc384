//! ctl_backups list and verify.

use std::fs::OpenOptions;

use cyrusbackup::store::lock::{Locked, Mode, open_locked};

use super::place::Place;
use super::rig::Output;

#[test]
fn list_and_its_modes() {
    let Some(place) = Place::new() else { return };
    for line in [
        "ctl_backups list",
        "ctl_backups list -A",
        "ctl_backups -V list",
        "ctl_backups -vv list carol",
        "ctl_backups -j list",
        "ctl_backups list -j carol",
        "ctl_backups -j list -f b/carol",
        "ctl_backups list carol bethany carol",
        "ctl_backups list %SHARED",
        "ctl_backups list ",
        "ctl_backups -j list ",
        "ctl_backups list -u carol",
        "ctl_backups list -u",
        "ctl_backups list -f",
        "ctl_backups list -P",
        "ctl_backups list -P c b",
        "ctl_backups list -P ",
        "ctl_backups list -P zzz",
        "ctl_backups list -D example.com",
        "ctl_backups list -D internal",
        "ctl_backups list -D ",
        "ctl_backups list -m user.carol user.carol.Sub shared.stuff INBOX user.nobody",
        "ctl_backups list -m user/carol",
        "ctl_backups list -m DELETED.user.carol.5F0A1B2C",
        "ctl_backups list -f b/carol b/nope b/craft-tsline",
        "ctl_backups list gone carol",
        "ctl_backups list carol gone",
        "ctl_backups -S list gone carol",
        "ctl_backups -S list -A",
        "ctl_backups list carol nosuch",
        "ctl_backups -- list carol",
        "ctl_backups -c -F list carol",
        "ctl_backups list -t 100000 carol",
        "ctl_backups list -t -100000 carol",
        "ctl_backups list -t 48x carol",
        "ctl_backups list carol -t",
        "ctl_backups list -f b/craft-tsline -t",
    ] {
        place.same(line);
    }
}

#[test]
fn usage_errors() {
    let Some(place) = Place::new() else { return };
    for line in [
        "ctl_backups",
        "ctl_backups frobnicate",
        "ctl_backups -Z list",
        "ctl_backups list -t 0",
        "ctl_backups list -t carol",
        "ctl_backups list -ut carol",
        "ctl_backups list -p carol",
        "ctl_backups -j -v verify carol",
        "ctl_backups verify -A -P an",
        "ctl_backups verify -A carol",
        "ctl_backups lock carol bethany",
        "ctl_backups lock -A",
        "ctl_backups lock -p -s carol",
        "ctl_backups -C",
        "ctl_backups -C /nope frob",
    ] {
        place.same(line);
    }
    place.same("ctl_backups -C /nope list");
    place.same("cyr_backup -C /nope carol list all");
}

#[test]
fn an_option_may_not_follow_a_name_in_posix_order() {
    let Some(place) = Place::new() else { return };
    let line = "ctl_backups list -f b/carol";
    // The rig's commands take their environment from here.
    let run = |ours: bool| {
        let program = match ours {
            true => super::rig::our_binary("ctl_backups"),
            false => "/usr/lib/cyrus/bin/ctl_backups",
        };
        place.run_with(program, line, &[("POSIXLY_CORRECT", "1")])
    };
    let (ours, c) = (run(true), run(false));
    assert_eq!((ours.out, ours.err, ours.code), (c.out, c.err, c.code));
}

#[test]
fn times_are_local() {
    let Some(place) = Place::new() else { return };
    for zone in ["America/New_York", "CET-1CEST,M3.5.0,M10.5.0/3", "UTC", ""] {
        let env = [("TZ", zone)];
        let ours = super::rig::our_binary("ctl_backups");
        let line = "ctl_backups list carol bethany";
        let c = place.run_with("/usr/lib/cyrus/bin/ctl_backups", line, &env);
        assert_eq!(place.run_with(ours, line, &env).out, c.out, "TZ={zone}");
    }
}

#[test]
fn verify_good_backups() {
    let Some(place) = Place::new() else { return };
    place.write("b/empty", b"");
    for line in [
        "ctl_backups verify",
        "ctl_backups verify carol",
        "ctl_backups -v verify carol",
        "ctl_backups -v -v verify carol",
        "ctl_backups -V verify carol",
        "ctl_backups -j verify carol %SHARED",
        "ctl_backups -j verify -f b/carol",
        "ctl_backups verify -f b/carol b/craft-n b/craft-quoted b/craft-tsline",
        "ctl_backups -vv verify -f b/craft-emptychunk",
        "ctl_backups verify -P nobody",
        "ctl_backups verify gone",
        "ctl_backups verify -f /nope",
        "ctl_backups -w verify carol",
        "ctl_backups verify -f b/empty",
        "ctl_backups list -f b/empty",
    ] {
        place.same(line);
    }
}

/// What differs in every failed verification is only the text in brackets.
fn in_brackets(text: &'static str) -> impl Fn(Output) -> Output {
    move |mut c| {
        for code in [
            "Unknown code ____ 255",
            "Unknown code ____ 252",
            "Unknown code ____ 193",
        ] {
            c.out = c.out.replace(&format!("({code})"), &format!("({text})"));
            c.err = c
                .err
                .replace(&format!(": {code}\n"), &format!(": {text}\n"));
        }
        c
    }
}

/// D1
#[test]
fn failures_say_what_failed() {
    let Some(place) = Place::new() else { return };
    let zeros = "0".repeat(40);
    for (sql, text) in [
        (
            format!("UPDATE chunk SET data_sha1 = '{zeros}' WHERE id = 3"),
            "data checksum mismatch",
        ),
        (
            format!("UPDATE chunk SET file_sha1 = '{zeros}' WHERE id = 3"),
            "file checksum mismatch",
        ),
        (
            "UPDATE chunk SET length = 523 WHERE id = 2".into(),
            "data length mismatch",
        ),
        (
            "UPDATE chunk SET length = NULL WHERE id = 4".into(),
            "data length mismatch",
        ),
        (
            "UPDATE mailbox SET acl = 'x' WHERE id = 1".into(),
            "missing mailbox data",
        ),
        (
            "UPDATE mailbox SET sync_crc = 5 WHERE id = 2".into(),
            "missing mailbox data",
        ),
        (
            "UPDATE mailbox_message SET modseq = 7 WHERE id = 1".into(),
            "missing mailbox_message data",
        ),
        (
            "UPDATE mailbox_message SET uid = 99 WHERE id = 1".into(),
            "missing mailbox_message data",
        ),
    ] {
        place.copy("b/carol", "b/bent");
        place.sql("b/bent", &sql);
        for flags in ["", " -v", " -vv", " -j"] {
            place.differs(
                &format!("ctl_backups{flags} verify -f b/bent"),
                in_brackets(text),
            );
        }
    }
    for flags in ["", " -vv", " -j"] {
        let line = format!("ctl_backups{flags} verify -f b/craft-badguid b/carol");
        place.differs(&line, in_brackets("guid mismatch"));
    }
    let length = || in_brackets("data length mismatch");
    for line in [
        "ctl_backups verify -f b/craft-trunc b/craft-unk b/craft-orph",
        "ctl_backups -S verify -f b/craft-trunc b/craft-unk",
        "ctl_backups list -f b/craft-trunc b/craft-unk b/carol",
        "ctl_backups -S list -f b/craft-trunc b/carol",
    ] {
        place.differs(line, length());
    }
    place.same("ctl_backups -V list -f b/craft-trunc b/craft-unk b/carol");
}

/// D15
#[test]
fn hours_do_not_overflow() {
    let Some(place) = Place::new() else { return };
    let line = "ctl_backups list -t 1000000 carol";
    assert!(
        place.c(line).out.contains("carol"),
        "114 years wrap around in C"
    );
    assert_eq!(place.ours(line).out, "");
}

/// D2
#[test]
fn an_unknown_name_always_counts() {
    let Some(place) = Place::new() else { return };
    let counts = |mut c: Output| {
        assert_eq!(c.code, Some(0), "C forgets it unless it is the last");
        c.code = Some(75);
        c
    };
    place.differs("ctl_backups list nosuch carol", counts);
    place.differs("ctl_backups verify nosuch carol", counts);
    place.same("ctl_backups list carol nosuch");
    place.differs("ctl_backups -S list nosuch carol", |c| {
        let c = counts(c);
        Output {
            out: String::new(),
            ..c
        }
    });
}

/// D3: literals as every C before 3.8.3 wrote them. D4: mailboxes renamed since.
#[test]
fn what_c_can_no_longer_read() {
    let Some(place) = Place::new() else { return };
    for backup in ["b/craft-plus", "b/bethany_sGEZYM"] {
        let line = format!("ctl_backups verify -f {backup}");
        assert_eq!(place.c(&line).code, Some(75));
        let ours = place.ours(&line);
        assert_eq!(ours.out, format!("verify {backup}: ok\n"));
        assert_eq!((ours.err.as_str(), ours.code), ("", Some(0)));
    }
}

/// D5
#[test]
fn a_checksum_off_by_one_is_no_skipping() {
    let Some(place) = Place::new() else { return };
    place.copy("b/carol", "b/bent");
    place.sql(
        "b/bent",
        "UPDATE chunk SET file_sha1 = '5' || substr(file_sha1, 2) WHERE id = 3 AND file_sha1 LIKE '4%'",
    );
    place.differs("ctl_backups verify -f b/bent", |mut c| {
        assert!(c.out.ends_with("verify b/bent: skipped\n"), "{}", c.out);
        c.out = c
            .out
            .replace(": skipped", ": failed (file checksum mismatch)");
        c
    });
}

/// D6
#[test]
fn indexes_that_c_does_not_look_at_closely() {
    let Some(place) = Place::new() else { return };
    for (sql, line, short) in [
        (
            "UPDATE message SET offset = offset + 1 WHERE id = 1",
            "is not in the line at byte",
            "missing message",
        ),
        (
            "UPDATE message SET chunk_id = 2 WHERE id = 1",
            "is not in the line at byte",
            "missing message",
        ),
        (
            "UPDATE message SET size = 5 WHERE id = 6",
            "size mismatch for message 6: 636 on disk, 5 in index",
            "message size mismatch",
        ),
        (
            "DELETE FROM chunk WHERE id = 2",
            "chunk 2 is not in the index, but 2 rows refer to it",
            "missing chunk",
        ),
        (
            "UPDATE chunk SET offset = 100 WHERE id = 2",
            "chunk 2 at offset 100 starts inside the chunk before it",
            "overlapping chunks",
        ),
        (
            "UPDATE chunk SET data_sha1 = NULL WHERE id = 2",
            "on disk,  in index",
            "data checksum mismatch",
        ),
    ] {
        place.copy("b/carol", "b/bent");
        place.sql("b/bent", sql);
        let ours = place.ours("ctl_backups verify -f b/bent");
        assert!(ours.out.contains(line), "{sql}: {}", ours.out);
        assert!(
            ours.out
                .ends_with(&format!("verify b/bent: failed ({short})\n")),
            "{sql}: {}",
            ours.out
        );
        assert_eq!((ours.err.as_str(), ours.code), ("", Some(75)));
    }
}

/// D17: what C's index says nothing of, and what nobody but us keeps.
#[test]
fn verify_looks_further() {
    let Some(place) = Place::new() else { return };
    place.differs("ctl_backups verify -f b/craft-tsback", |mut c| {
        assert_eq!(c.out, "verify b/craft-tsback: ok\n");
        let behind = "106 bytes behind chunk 1, at offset 109, are not in the index\n";
        let status = "verify b/craft-tsback: failed (bytes behind the last chunk)\n";
        c.out = format!("{behind}{status}");
        c.code = Some(75);
        c
    });
    // After a reindex nothing is left over, and our tables are there.
    assert_eq!(
        place.ours("ctl_backups reindex -f b/craft-tsback").code,
        Some(0)
    );
    assert_eq!(
        place.ours("ctl_backups verify -f b/craft-tsback").code,
        Some(0)
    );
    place.ours("ctl_backups reindex carol");
    for (sql, said) in [
        (
            "UPDATE cb_state SET value = value - 1 WHERE key = 'data_end'",
            "the state of the file checksum behind chunk 4 is not the file's\n",
        ),
        (
            "INSERT INTO cb_seek VALUES (3, 700, 2300)",
            "byte 700 of chunk 3 is not found from offset 2300\n",
        ),
        (
            "INSERT INTO cb_record (mailbox_id, uid, guid, chunk_id, size, flags, annotations) VALUES \
          (1, 9, '0000000000000000000000000000000000000001', 1, 5, '()', '')",
            "message 0000000000000000000000000000000000000001 of 11111111-aaaa-bbbb-cccc-0000000000c1 uid 9 never came\n",
        ),
    ] {
        place.copy("b/carol", "b/bent");
        place.sql("b/bent", sql);
        let ours = place.ours("ctl_backups --keep-going verify -f b/bent");
        assert!(ours.out.contains(said), "{sql}: {}", ours.out);
        assert_eq!(ours.code, Some(75), "{sql}");
        assert_eq!(
            place.c("ctl_backups verify -f b/bent").code,
            Some(0),
            "{sql}"
        );
    }
}

/// D18: whoever touches the file has it read again, and what he did is found as C finds it.
#[test]
fn what_was_touched_is_read_again() {
    let Some(place) = Place::new() else { return };
    place.ours("ctl_backups reindex -f b/carol");
    place.same("ctl_backups list -f b/carol");
    let known = || {
        let known = "SELECT value FROM cb_state WHERE key = 'attested'";
        place.rows("b/carol", known)
    };
    let before = known();
    assert_eq!(before.len(), 1);
    let (path, good) = (
        place.path("b/carol"),
        std::fs::read(place.path("b/carol")).unwrap(),
    );
    let mut bad = good.clone();
    bad[good.len() / 3] ^= 1;
    // The clock of a file system goes in steps.
    std::thread::sleep(std::time::Duration::from_millis(50));
    std::fs::write(&path, &bad).unwrap();
    for command in ["list", "stat"] {
        place.differs(&format!("ctl_backups {command} -f b/carol"), |mut c| {
            // D1: it says a number's name.
            assert!(c.err.starts_with("b/carol: "), "{}", c.err);
            c.err = "b/carol: file checksum mismatch\n".to_owned();
            c
        });
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    std::fs::write(&path, &good).unwrap();
    place.same("ctl_backups list -f b/carol");
    place.same("ctl_backups stat -f b/carol");
    // To look is not to write.
    assert_eq!(known(), before);
}

/// D7
#[test]
fn readers_go_together() {
    let Some(place) = Place::new() else { return };
    let hold = |mode| {
        let options = OpenOptions::new().read(true).write(true).clone();
        // Waits: a child that another test is just forking shares our descriptors, and so a lock let go here, until its exec.
        match open_locked(&place.path("b/carol"), &options, mode, true).unwrap() {
            Locked::Got(file) => file,
            Locked::Busy => panic!("somebody holds the lock"),
        }
    };
    let writer = hold(Mode::Exclusive);
    place.same("ctl_backups list carol bethany");
    place.differs("ctl_backups verify carol %SHARED", |c| c);
    place.same("ctl_backups -S verify carol %SHARED");
    place.same("ctl_backups -j verify carol");
    drop(writer);
    let reader = hold(Mode::Shared);
    assert_eq!(
        place.c("ctl_backups verify carol").out,
        "verify carol: locked\n"
    );
    assert_eq!(
        place.ours("ctl_backups verify carol").out,
        "verify carol: ok\n"
    );
    drop(reader);
}

/// D8
#[test]
fn help_version_and_long_options() {
    let Some(place) = Place::new() else { return };
    for tool in ["ctl_backups", "cyr_backup"] {
        let help = place.ours(&format!("{tool} --help"));
        let usage = place.c(tool).err;
        assert!(help.out.starts_with(&usage), "{}", help.out);
        assert_eq!((help.err.as_str(), help.code), ("", Some(0)));
        let version = place.ours(&format!("{tool} --version")).out;
        assert!(
            version.starts_with(&format!("{tool} (cyrusbackup) ")),
            "{version}"
        );
    }
    let long = place.ours("ctl_backups --json list --prefixes car").out;
    assert_eq!(long, place.c("ctl_backups -j list -P car").out);
    let going = place.ours("ctl_backups --keep-going verify -f b/craft-unk b/craft-orph");
    assert!(going.out.lines().count() > 4, "{}", going.out);
}

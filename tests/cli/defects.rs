//! The defects of C that lose mail (spec: ondisk 10), each on files that C's own backupd wrote: what C makes of
//! them, and that ours keeps it.

use std::path::PathBuf;
use std::time::Duration;

use cyrusbackup::csync::command::parse_apply;
use cyrusbackup::store::{Appender, Backup, Lock};
use cyrusbackup::types::Guid;

use super::octets::Octets;
use super::place::Place;
use super::rig::{Csync, Engine, Rng};
use super::written::{
    MAIL, OTHER, Written, bodies, inbox, is_done, line, mailbox, session, short, state,
};

/// Spec: ondisk 10.1. A literal ends C's reading of the chunk; what stands behind it is gone.
#[test]
fn o_10_1_what_stands_behind_a_literal_stays() {
    let script = "require \"fileinto\";\r\nkeep;\r\n";
    let sieve = format!(
        "APPLY SIEVE %(USERID anne FILENAME a.script LAST_UPDATE 1700000000 CONTENT {{{}+}}\r\n{script})",
        script.len()
    );
    let lines = session(&[
        &bodies(&[MAIL]),
        &[line(&sieve), inbox(&[(1, 1, "", MAIL)])],
        &[line("APPLY SUB %(USERID anne MBOXNAME user.anne)")],
    ]);
    let Some(written) = Written::by(Engine::C, &[&lines]) else {
        return;
    };
    let before = state(&written.path);
    assert_eq!(before.alive, [(1, short(MAIL))]);
    let c = written.copy("-c");
    written.c("compact", &c);
    assert!(
        state(&c).alive.is_empty(),
        "C has learned to read its literals"
    );
    for command in ["compact", "reindex"] {
        let ours = written.copy(command);
        written.ours(command, &ours);
        assert_eq!(state(&ours), before, "{command}");
        let backup = Backup::open(&ours, Lock::None).unwrap();
        let scripts = backup.index().sieve().unwrap();
        assert_eq!(backup.read_sieve(&scripts[0]).unwrap(), script.as_bytes());
        assert_eq!(
            backup.index().subscriptions().unwrap().len(),
            1,
            "{command}"
        );
        written.ours("verify", &ours);
    }
}

/// Spec: ondisk 10.2. Moved away and back: alive, whatever C's index thinks.
#[test]
fn o_10_2_what_came_back_stays() {
    let first = session(&[
        &bodies(&[MAIL, OTHER]),
        &[inbox(&[(1, 1, "", MAIL), (2, 1, "", OTHER)])],
    ]);
    let away = [inbox(&[(1, 2, "\\Expunged", MAIL)])];
    let back = [inbox(&[(3, 3, "", MAIL)])];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first, &away, &back]) else {
            return;
        };
        written.outlive_retention();
        let alive = [(2, short(OTHER)), (3, short(MAIL))];
        if engine == Engine::C {
            assert_eq!(
                state(&written.path).alive,
                alive[..1],
                "C's index says what is true"
            );
            let c = written.copy("-c");
            written.c("compact", &c);
            assert_eq!(state(&c).alive, alive[..1], "C's compact keeps it");
        }
        let ours = written.copy("-ours");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).alive, alive, "{engine:?}");
        is_done(&written, &ours);
        // C's own tools see it, too.
        let name = ours.to_str().unwrap();
        let listed = written
            .server
            .c_tool("cyr_backup", &["-f", name, "show", "mailboxes", "u-inbox"]);
        let living = listed
            .out
            .lines()
            .filter(|l| l.contains(&" ".repeat(19)))
            .count();
        assert_eq!(living, 2, "{engine:?} {}", listed.out);
    }
}

/// Spec: ondisk 10.3. Two copies in one mailbox, the later one expunged: the other lives.
#[test]
fn o_10_3_one_copy_outlives_the_other() {
    let first = session(&[
        &bodies(&[MAIL]),
        &[inbox(&[(1, 1, "", MAIL), (2, 1, "", MAIL)])],
    ]);
    let one_goes = [inbox(&[(2, 2, "\\Expunged", MAIL)])];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first]) else {
            return;
        };
        let both = [(1, short(MAIL)), (2, short(MAIL))];
        let ours = written.copy("-both");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).alive, both, "{engine:?}");
        is_done(&written, &ours);

        let Some(written) = Written::by(engine, &[&first, &one_goes]) else {
            return;
        };
        written.outlive_retention();
        if engine == Engine::C {
            let c = written.copy("-c");
            written.c("compact", &c);
            assert!(state(&c).alive.is_empty(), "C's compact keeps the copy");
        }
        let ours = written.copy("-one");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).alive, both[..1], "{engine:?}");
        is_done(&written, &ours);
    }
}

/// Spec: ondisk 10.4. Deletions and renames have no chunk that lives, says C.
#[test]
fn o_10_4_what_was_deleted_or_renamed_does_not_come_back() {
    let first = session(&[
        &bodies(&[MAIL, OTHER]),
        &[
            mailbox("u-a", "user.anne.A", "x", &[(1, 1, "", MAIL)]),
            mailbox("u-b", "user.anne.B", "x", &[(1, 1, "", OTHER)]),
            line(
                "APPLY SIEVE %(USERID anne FILENAME a.script LAST_UPDATE 1700000000 CONTENT stop;)",
            ),
        ],
    ]);
    let then = [
        line(
            "APPLY RENAME %(OLDMBOXNAME user.anne.A NEWMBOXNAME user.anne.A2 PARTITION default \
             UIDVALIDITY 1700000001)",
        ),
        line("APPLY UNMAILBOX user.anne.B"),
        line("APPLY UNSIEVE %(USERID anne FILENAME a.script)"),
    ];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first, &then]) else {
            return;
        };
        if engine == Engine::C {
            let c = written.copy("-c");
            written.c("compact", &c);
            assert_eq!(
                state(&c).living,
                ["user.anne.A", "user.anne.B"],
                "C keeps them"
            );
        }
        // While they could be asked for, and later.
        for late in [false, true] {
            if late {
                written.outlive_retention();
            }
            let ours = written.copy(if late { "-late" } else { "-early" });
            written.ours("compact", &ours);
            for again in [false, true] {
                if again {
                    written.ours("reindex", &ours);
                }
                let after = state(&ours);
                assert_eq!(after.living, ["user.anne.A2"], "{engine:?} {late} {again}");
                assert_eq!(after.alive, [(1, short(MAIL))], "{engine:?} {late} {again}");
                let backup = Backup::open(&ours, Lock::None).unwrap();
                let scripts = backup.index().sieve().unwrap();
                assert!(scripts.iter().all(|script| script.deleted.is_some()));
                // History stays as long as it is to.
                assert_eq!(
                    backup.read_message(&Guid::of(OTHER)).is_ok(),
                    !late,
                    "{engine:?}"
                );
            }
            if late {
                is_done(&written, &ours);
            }
        }
    }
}

/// Spec: ondisk 10.5. After a RENAME C's verify fails on C's file and is content with ours; our
/// verify is content with both, and compact makes C's file one that C accepts.
#[test]
fn o_10_5_a_rename_is_no_damage() {
    let first = session(&[
        &bodies(&[MAIL]),
        &[mailbox("u-a", "user.anne.A", "x", &[(1, 1, "", MAIL)])],
    ]);
    let then = [line(
        "APPLY RENAME %(OLDMBOXNAME user.anne.A NEWMBOXNAME user.anne.A2 PARTITION default \
         UIDVALIDITY 1700000001)",
    )];
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&first, &then]) else {
            return;
        };
        let by_c = written.c("verify", &written.path);
        match engine {
            Engine::C => assert!(
                by_c.out.contains("missing mailbox data for u-a"),
                "{}",
                by_c.out
            ),
            Engine::Ours => assert_eq!(by_c.code, Some(0), "{}", by_c.out),
        }
        written.ours("verify", &written.path);
        written.outlive_retention();
        let ours = written.copy("-ours");
        written.ours("compact", &ours);
        assert_eq!(state(&ours).living, ["user.anne.A2"]);
        is_done(&written, &ours);
        // C may rebuild the index of what we wrote, and rewrite it.
        for command in ["reindex", "compact", "verify"] {
            let by_c = written.c(command, &ours);
            assert_eq!(
                by_c.code,
                Some(0),
                "{engine:?} {command}: {} {}",
                by_c.out,
                by_c.err
            );
        }
        assert_eq!(state(&ours).living, ["user.anne.A2"]);
    }
}

/// Spec: ondisk 10.18. A second mailbox of the same name that is deleted does not change when the
/// first one was.
#[test]
fn o_10_18_each_deleted_mailbox_keeps_its_own_time() {
    let one = session(&[
        &bodies(&[MAIL]),
        &[
            mailbox("u-1", "user.anne.A", "x", &[(1, 1, "", MAIL)]),
            line("APPLY UNMAILBOX user.anne.A"),
        ],
    ]);
    let two = [
        mailbox("u-2", "user.anne.A", "x", &[(1, 1, "", MAIL)]),
        line("APPLY UNMAILBOX user.anne.A"),
    ];
    // C's answer to its second session, a second later.
    let sleep = || std::thread::sleep(Duration::from_millis(1100));
    for engine in [Engine::C, Engine::Ours] {
        let Some(mut written) = Written::by(engine, &[&one]) else {
            return;
        };
        sleep();
        let port = written.server.start(engine);
        let mut peer = Csync::login(port);
        for line in std::iter::once(&b"GET USER anne".to_vec()).chain(&two) {
            assert!(peer.command(line).is_ok());
        }
        peer.command("EXIT");
        written.server.stop();
        let times = |path: &PathBuf| -> Vec<i64> {
            let backup = Backup::open(path, Lock::Shared { wait: true }).unwrap();
            let mailboxes = backup.index().mailboxes().unwrap();
            mailboxes
                .iter()
                .map(|mailbox| mailbox.deleted.unwrap())
                .collect()
        };
        let told = times(&written.path);
        if engine == Engine::C {
            assert_eq!(told[0], told[1], "C's index");
        }
        for command in ["reindex", "compact"] {
            written.ours(command, &written.path);
            let times = times(&written.path);
            assert!(times[0] < times[1], "{engine:?} {command} {times:?}");
        }
    }
}

/// Spec: ondisk 10.7. The file is read a few times, however many chunks it has; C reads it once for each.
#[test]
fn o_10_7_the_cost_is_that_of_reading_the_file() {
    let Some(place) = Place::new() else { return };
    let chunks = 60;
    let mut random = Rng::new(20_261_124);
    let octets: Vec<u8> = (0..100_000).map(|_| random.next() as u8).collect();
    place.write("b/many", b"");
    for n in 0..chunks {
        let mut appender = Appender::open(&place.path("b/many"), true).unwrap();
        let mail = Octets([format!("Subject: {n}\r\n\r\n").into_bytes(), octets.clone()].concat());
        appender.append_bodies(&[&mail], 1000 + n).unwrap();
        let guid = Guid::of(&mail.0);
        let line = format!("SUB %(USERID anne MBOXNAME user.anne.{guid})");
        let line = parse_apply(line.as_bytes()).unwrap();
        appender.append(&line, 1000 + n).unwrap();
        appender.commit().unwrap();
        appender.finish().unwrap();
    }
    place.give_all("b");
    place.configure("backup_retention: 0\n");
    let length = std::fs::metadata(place.path("b/many")).unwrap().len();
    let read = |line: &str| {
        let trace = place.traced(line, "read,pread64,copy_file_range", 0);
        let results = trace
            .lines()
            .filter_map(|call| call.rsplit_once("= ")?.1.parse::<u64>().ok());
        let factor = results.sum::<u64>() as f64 / length as f64;
        println!("{line}: {factor:.2} times {length} octets");
        factor
    };
    // To find nothing to do, compact reads the file once; after that it knows.
    let skipped = ["ctl_backups compact -f b/many"; 3].map(read);
    assert!(
        skipped[0] < 3.0 && skipped[1] < 0.2 && skipped[2] < 0.2,
        "{skipped:?}"
    );
    for (line, times) in [
        ("ctl_backups stat -f b/many", 1.2),
        ("ctl_backups verify -f b/many", 3.0),
        ("ctl_backups reindex -f b/many", 5.0),
        ("ctl_backups -F compact -f b/many", 10.0),
    ] {
        let factor = read(line);
        assert!(factor < times && factor > 0.9, "{line}: {factor}");
    }
}

/// Spec: ondisk 10.15. A GUID has forty digits.
#[test]
fn o_10_15_an_over_long_guid_is_no_guid() {
    let Some(place) = Place::new() else { return };
    let long = "ab".repeat(2000);
    for command in ["dump message", "show messages", "json headers"] {
        let ours = place.ours(&format!("cyr_backup carol {command} {long}"));
        assert!(
            [Some(0), Some(75)].contains(&ours.code),
            "{command}: {:?} {}",
            ours.code,
            ours.err
        );
    }
    assert_eq!(
        place
            .c(&format!("cyr_backup carol dump message {long}"))
            .code,
        None,
        "C is mended"
    );
}

/// Spec: ondisk 10.16. C gives a message that nobody reserved to every open backup; ours to the one whose record
/// names it.
#[test]
fn o_10_16_mail_goes_to_nobody_else() {
    let mut lines = vec![b"GET USER bob".to_vec()];
    lines.push(bodies(&[MAIL]).remove(1));
    lines.push(inbox(&[(1, 1, "", MAIL)]));
    for engine in [Engine::C, Engine::Ours] {
        let Some(written) = Written::by(engine, &[&lines]) else {
            return;
        };
        assert_eq!(state(&written.path).alive, [(1, short(MAIL))], "{engine:?}");
        let bob = written.server.backups().remove("bob");
        let has_it = bob.is_some_and(|path| {
            let backup = Backup::open(&path, Lock::Shared { wait: true }).unwrap();
            backup.read_message(&Guid::of(MAIL)).is_ok()
        });
        assert_eq!(has_it, engine == Engine::C, "{engine:?}");
    }
}

/// Where each entry of spec ondisk 10 is shown not to be ours.
const SHOWN: [(u8, &str, &str); 31] = [
    (
        1,
        "tests/cli/defects.rs",
        "o_10_1_what_stands_behind_a_literal_stays",
    ),
    (
        1,
        "tests/cli/whole_files.rs",
        "o_10_1_and_10_4_compact_keeps_what_c_loses",
    ),
    (2, "tests/cli/defects.rs", "o_10_2_what_came_back_stays"),
    (
        3,
        "tests/cli/defects.rs",
        "o_10_3_one_copy_outlives_the_other",
    ),
    (
        4,
        "tests/cli/defects.rs",
        "o_10_4_what_was_deleted_or_renamed_does_not_come_back",
    ),
    (5, "tests/cli/defects.rs", "o_10_5_a_rename_is_no_damage"),
    (6, "tests/cli/power_cut.rs", "compact_survives_power_cuts"),
    (6, "tests/cli/power_cut.rs", "reindex_survives_power_cuts"),
    (
        7,
        "tests/cli/defects.rs",
        "o_10_7_the_cost_is_that_of_reading_the_file",
    ),
    (
        8,
        "tests/cli/whole_files.rs",
        "o_10_8_no_command_loops_on_damage",
    ),
    (8, "tests/cli/damage.rs", "a_damaged_last_chunk_is_told"),
    (
        9,
        "tests/cli/whole_files.rs",
        "o_10_9_left_overs_are_in_nobody_s_way",
    ),
    (
        10,
        "tests/cli/whole_files.rs",
        "o_10_10_reindex_loses_nothing_that_can_be_read",
    ),
    (
        11,
        "src/store/tests.rs",
        "opening_and_asking_leaves_no_trace",
    ),
    (
        12,
        "tests/crash.rs",
        "nothing_acknowledged_is_lost_by_kill_9",
    ),
    (
        13,
        "src/backupd/service/moving_tests.rs",
        "content_moves_with_the_mailbox",
    ),
    (14, "tests/hostile.rs", "a_user_id_is_never_a_path"),
    (
        15,
        "tests/cli/defects.rs",
        "o_10_15_an_over_long_guid_is_no_guid",
    ),
    (15, "tests/hostile.rs", "an_over_long_guid_is_refused"),
    (
        16,
        "tests/cli/defects.rs",
        "o_10_16_mail_goes_to_nobody_else",
    ),
    (
        17,
        "tests/restore/round_trip.rs",
        "a_lost_user_comes_back_as_he_was",
    ),
    (
        18,
        "tests/cli/defects.rs",
        "o_10_18_each_deleted_mailbox_keeps_its_own_time",
    ),
    (
        19,
        "tests/cli/ctl_backups.rs",
        "an_unknown_name_always_counts",
    ),
    (
        19,
        "tests/cli/ctl_backups.rs",
        "a_checksum_off_by_one_is_no_skipping",
    ),
    (
        20,
        "tests/cli/restore.rs",
        "a_guid_with_m_and_x_is_no_crash",
    ),
    (
        21,
        "tests/cli/whole_files.rs",
        "lock_speaks_at_once_and_holds_until_eof",
    ),
    (22, "tests/cli/cyr_backup.rs", "nul_bytes_and_odd_headers"),
    (
        23,
        "tests/hostile.rs",
        "a_user_who_is_no_admin_may_do_nothing",
    ),
    (
        24,
        "tests/end_to_end/broken_disk.rs",
        "a_full_disk_loses_nothing_and_recovers_when_space_returns",
    ),
    (
        25,
        "src/store/rewrite/arrange.rs",
        "o_10_25_a_second_run_finds_nothing_to_do",
    ),
    (
        26,
        "tests/cli/whole_files.rs",
        "o_10_1_and_10_4_compact_keeps_what_c_loses",
    ),
];

#[test]
fn every_entry_has_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (entry, file, test) in SHOWN {
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(
            source.contains(&format!("fn {test}(")),
            "10.{entry}: {file}: {test}"
        );
    }
    assert!((1..=26).all(|entry| SHOWN.iter().any(|(shown, ..)| *shown == entry)));
}

/// A UID twice in one line: C keeps a row for each message, so the UID is there twice; for us the
/// last word counts, and C's rows say so.
#[test]
fn a_uid_named_twice_is_the_message_named_last() {
    for (records, last) in [
        ([(1, 1, "", MAIL), (1, 2, "", OTHER)], OTHER),
        ([(1, 1, "", MAIL), (1, 2, "", MAIL)], MAIL),
    ] {
        let lines = session(&[&bodies(&[MAIL, OTHER]), &[inbox(&records)]]);
        for engine in [Engine::C, Engine::Ours] {
            let Some(written) = Written::by(engine, &[&lines]) else {
                return;
            };
            let all = [(1, short(MAIL)), (1, short(OTHER))];
            if engine == Engine::C {
                // C's own reindex agrees with C's backupd.
                let c = written.copy("-c");
                let alive = state(&c).alive;
                let by_c = if last == OTHER { &all[..] } else { &all[..1] };
                assert_eq!(alive, by_c, "C's backupd");
                written.c("reindex", &c);
                assert_eq!(state(&c).alive, by_c, "C's reindex");
            } else {
                assert_eq!(state(&written.path).alive, [(1, short(last))]);
            }
            written.ours("reindex", &written.path);
            assert_eq!(state(&written.path).alive, [(1, short(last))], "{engine:?}");
            assert_eq!(
                written.c("verify", &written.path).code,
                Some(0),
                "{engine:?}"
            );
            written.ours("compact", &written.path);
            assert_eq!(state(&written.path).alive, [(1, short(last))], "{engine:?}");
            is_done(&written, &written.path);
        }
    }
}

//! Every sample of C's tools that was recorded (spec: cli-samples), by its name, run as a shell script with C's
//! programs and with ours on equal directories: standard output, standard error and exit code are the same, or
//! what differs has its number in docs/DIFFERENCES.md. Users and files are those of `place`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::Place;
use super::rig::{Output, our_binary};

/// What is to be found.
enum Expected {
    /// The same.
    Same,
    /// Only what stands in brackets behind `failed` is other than C's (D1), and lines of our own (D16).
    Brackets(&'static str),
    /// Something else, for the reason of this number.
    Listed(&'static str),
}
use Expected::{Brackets, Listed, Same};

/// `ctl` and `cyr` are the tools with this place's configuration; `hold` keeps a backup locked until `free`;
/// `bend` makes `b/bent`, a copy of carol's backup with another index.
const PRELUDE: &str = r#"
ctl() { ctl_backups -C imapd.conf "$@"; }
cyr() { cyr_backup -C imapd.conf "$@"; }
bend() { cp b/carol b/bent; cp b/carol.index b/bent.index; sqlite3 b/bent.index "$1"; }
epochs() { sed 's/[.][0-9][0-9]*$/.EPOCH/'; }
until_there() { n=0; until [ -e "$1" ]; do sleep 0.05; n=$((n + 1)); [ $n -lt 1200 ] || exit 99; done; }
hold() {
    rm -f held done
    /usr/lib/cyrus/bin/ctl_backups -C imapd.conf lock -x \
        'n=0; touch held; until [ -e done ]; do sleep 0.05; n=$((n + 1)); [ $n -lt 1200 ] || exit 99; done' \
        "$1" 2>/dev/null &
    until_there held
}
free() { status=$?; touch done; wait; return $status; }
"#;

/// Name, script, and how ours compares.
const SAMPLES: [(&str, &str, Expected); 133] = [
    ("ctl-badcmd", "ctl frobnicate", Same),
    ("ctl-badopt", "ctl -Z list", Same),
    (
        "ctl-compact-A-nodefault",
        "ctl compact -P be craft-n old",
        Same,
    ),
    ("ctl-compact-S-A", "ctl -S compact -A", Same),
    ("ctl-compact-force-j", "ctl -F -j compact carol", Same),
    ("ctl-compact-force-v", "ctl -F -v compact carol", Same),
    ("ctl-compact-gone", "ctl compact gone; ls b/gone*", Same),
    (
        "ctl-compact-locked",
        "hold carol; ctl compact carol %SHARED; free",
        Same,
    ),
    (
        "ctl-compact-new-leftover",
        "touch b/carol.new; ctl -F compact carol; echo rc=$?; ls b/carol*; rm -f b/carol.new; ctl -F compact carol",
        Listed("D72"),
    ),
    (
        "ctl-compact-newindex-leftover",
        "touch b/carol.index.new; ctl -F compact carol; echo rc=$?; ls b/carol*",
        Same,
    ),
    ("ctl-compact-skip-json", "ctl -j compact %SHARED", Same),
    ("ctl-compact-skip", "ctl compact %SHARED", Same),
    ("ctl-compact-unknown", "ctl compact nosuch", Same),
    ("ctl-delete", "ctl delete carol", Listed("D40")),
    (
        "ctl-keep-previous",
        "echo 'backup_keep_previous: yes' >>imapd.conf; ctl -F compact carol; sleep 1.1; ctl reindex carol; ls b/carol* | epochs",
        Same,
    ),
    (
        "ctl-list-after-compact",
        "ctl -F compact carol; ctl -V list carol | cut -f 1,3,4; cyr carol list chunks | awk '{print $1, $5, $6, $7, $8}'; ls b/carol*",
        Same,
    ),
    ("ctl-list-gone-S-A", "ctl -S list -A", Same),
    ("ctl-list-json-f", "ctl -j list -f b/carol", Same),
    ("ctl-list-json", "ctl -j list", Same),
    (
        "ctl-list-locked-w",
        "hold carol; (sleep 0.3; touch done) & ctl -w list carol; wait",
        Same,
    ),
    (
        "ctl-list-locked",
        "hold carol; ctl list carol bethany; free",
        Same,
    ),
    ("ctl-list-missing-file", "ctl list gone", Same),
    ("ctl-list-mode-A", "ctl list -A", Same),
    ("ctl-list-mode-D-default", "ctl list -D internal", Same),
    ("ctl-list-mode-D", "ctl list -D example.com", Same),
    ("ctl-list-mode-P", "ctl list -P ca b", Same),
    ("ctl-list-mode-f", "ctl list -f b/carol", Same),
    (
        "ctl-list-mode-m",
        "ctl list -m user.carol shared.stuff INBOX",
        Same,
    ),
    ("ctl-list-noverify", "ctl -V list", Same),
    ("ctl-list-shared", "ctl list %SHARED", Same),
    ("ctl-list-stale-0", "ctl list -t 0", Same),
    ("ctl-list-stale-neg", "ctl list -t -1000000", Listed("D15")),
    ("ctl-list-stale-old", "ctl list -t", Same),
    ("ctl-list-stale-t", "touch x; ctl list -t", Same),
    ("ctl-list-stale-t48", "ctl list -t 48", Same),
    ("ctl-list-stop", "ctl -S list -f /nope b/carol", Same),
    ("ctl-list-unknown-f", "ctl list -f b/x/nope b/carol", Same),
    ("ctl-list-unknown-last", "ctl list carol nosuch", Same),
    ("ctl-list-unknown", "ctl list nosuch carol", Listed("D2")),
    ("ctl-list-user", "ctl list carol bethany", Same),
    ("ctl-list-with-p", "ctl list -p carol", Same),
    ("ctl-list", "ctl list", Same),
    ("ctl-lock-A", "ctl lock -A", Same),
    ("ctl-lock-c-exists", "ctl lock -c -f b/carol", Same),
    (
        "ctl-lock-c-new",
        "ctl lock -c -x 'ls b/new*' -f b/new_BBBBBB; stat -c '%A %U %n' b/new*",
        Same,
    ),
    ("ctl-lock-c-user", "ctl lock -c -x 'ls b' nosuch", Same),
    (
        "ctl-lock-locked",
        "hold carol; ctl lock carol </dev/null; free",
        Same,
    ),
    ("ctl-lock-none", "ctl lock", Same),
    ("ctl-lock-p-f", "ctl lock -f b/carol </dev/null", Same),
    ("ctl-lock-p", "echo hi | ctl lock -p carol", Same),
    ("ctl-lock-ps", "ctl lock -p -s carol", Same),
    (
        "ctl-lock-s",
        "echo 'select count(*) from chunk;' | ctl lock -s carol",
        Same,
    ),
    ("ctl-lock-two", "ctl lock -p carol bethany", Same),
    (
        "ctl-lock-x-locked",
        "hold carol; ctl lock -x true carol; free",
        Same,
    ),
    ("ctl-lock-x-sig", "ctl lock -x 'kill -9 $$' carol", Same),
    (
        "ctl-lock-x",
        "ctl lock -x 'env | grep ctl_ | sort; echo in; exit 7' carol",
        Same,
    ),
    ("ctl-move", "ctl move carol", Listed("D40")),
    ("ctl-noconfig", "ctl_backups -C /nope list", Same),
    (
        "ctl-order2",
        "ctl_backups list carol -j -C imapd.conf",
        Same,
    ),
    (
        "ctl-posix-order",
        "POSIXLY_CORRECT=1 ctl_backups -C imapd.conf list -f b/carol",
        Same,
    ),
    ("ctl-reconstruct", "ctl reconstruct", Listed("D40")),
    (
        "ctl-reindex-emptychunk",
        "ctl -v reindex -f b/craft-emptychunk; cyr -f b/craft-emptychunk list chunks; ctl verify -f b/craft-emptychunk",
        Same,
    ),
    ("ctl-reindex-f", "ctl reindex -f b/carol", Same),
    ("ctl-reindex-gone", "ctl reindex gone; ls b/gone*", Same),
    ("ctl-reindex-json", "ctl -j reindex carol", Same),
    (
        "ctl-reindex-locked",
        "hold carol; ctl reindex carol; free",
        Same,
    ),
    (
        "ctl-reindex-tsback",
        "ctl reindex -f b/craft-tsback; echo rc=$?; ls b/craft-tsback* | epochs",
        Listed("D71"),
    ),
    (
        "ctl-reindex-tsline",
        "ctl reindex -f b/craft-tsline; ls b/craft-tsline* | epochs",
        Listed("D71"),
    ),
    (
        "ctl-reindex-unk",
        "ctl -v reindex -f b/craft-unk; cyr -f b/craft-unk list chunks; sqlite3 b/craft-unk.index 'select * from subscription'; ctl verify -f b/craft-unk",
        Listed("D71"),
    ),
    ("ctl-reindex-v", "ctl -v reindex carol", Same),
    ("ctl-reindex", "ctl reindex carol", Same),
    ("ctl-stat-A", "ctl stat -A", Same),
    ("ctl-stat-f", "ctl stat -f b/carol", Same),
    (
        "ctl-stat-json-empty",
        ": >b/empty; ctl -j stat -f b/empty; ctl -j list -f b/empty",
        Same,
    ),
    ("ctl-stat-json-f", "ctl -j stat -f b/carol", Same),
    ("ctl-stat-json", "ctl -j stat carol", Same),
    ("ctl-stat-locked", "hold carol; ctl stat carol; free", Same),
    ("ctl-stat-none", "ctl stat", Same),
    ("ctl-stat-unknown", "ctl stat nosuch", Same),
    ("ctl-t-consumes", "ctl list -t carol 2>&1 | head -1", Same),
    ("ctl-verify-A-S", "ctl -S verify -A", Listed("D4")),
    ("ctl-verify-AandP", "ctl verify -A -P be", Same),
    (
        "ctl-verify-badguid",
        "ctl verify -f b/craft-badguid",
        Brackets("guid mismatch"),
    ),
    (
        "ctl-verify-datasha",
        r#"bend "UPDATE chunk SET data_sha1 = '0000000000000000000000000000000000000000' WHERE id = 3"; ctl verify -f b/bent"#,
        Brackets("data checksum mismatch"),
    ),
    ("ctl-verify-f", "ctl verify -f b/carol", Same),
    ("ctl-verify-fail", "ctl verify bethany", Listed("D4")),
    (
        "ctl-verify-filesha",
        r#"bend "UPDATE chunk SET file_sha1 = '0000000000000000000000000000000000000000' WHERE id = 3"; ctl verify -f b/bent"#,
        Brackets("file checksum mismatch"),
    ),
    ("ctl-verify-j-v", "ctl -j -v verify carol", Same),
    (
        "ctl-verify-json",
        "ctl -j verify carol bethany",
        Listed("D4"),
    ),
    (
        "ctl-verify-length",
        "bend 'UPDATE chunk SET length = 523 WHERE id = 2'; ctl verify -f b/bent",
        Brackets("data length mismatch"),
    ),
    (
        "ctl-verify-locked",
        "hold carol; ctl verify carol %SHARED; free",
        Same,
    ),
    (
        "ctl-verify-mbname",
        r#"bend "UPDATE mailbox SET mboxname = 'user.other' WHERE id = 1"; ctl verify -f b/bent"#,
        Brackets("missing mailbox data"),
    ),
    (
        "ctl-verify-mmseq",
        "bend 'UPDATE mailbox_message SET modseq = 7 WHERE id = 1'; ctl verify -f b/bent",
        Brackets("missing mailbox_message data"),
    ),
    (
        "ctl-verify-msgoff",
        "bend 'UPDATE message SET offset = offset + 1 WHERE id = 1'; ctl verify -f b/bent",
        Listed("D6"),
    ),
    (
        "ctl-verify-msgoff2",
        "bend 'UPDATE message SET offset = 29 WHERE id = 1'; ctl verify -f b/bent",
        Listed("D6"),
    ),
    (
        "ctl-verify-msgoff3",
        "bend 'UPDATE message SET chunk_id = 2 WHERE id = 1'; ctl verify -f b/bent",
        Listed("D6"),
    ),
    (
        "ctl-verify-msgsize",
        "bend 'UPDATE message SET size = 5 WHERE id = 1'; ctl verify -f b/bent",
        Listed("D6"),
    ),
    ("ctl-verify-nosuchfile", "ctl verify -f /nope", Same),
    (
        "ctl-verify-nullend",
        "bend 'UPDATE chunk SET ts_end = NULL, length = NULL, data_sha1 = NULL WHERE id = 4'; ctl verify -f b/bent",
        Brackets("data length mismatch"),
    ),
    ("ctl-verify-ok", "ctl verify carol", Same),
    (
        "ctl-verify-skipped-bug",
        r#"bend "UPDATE chunk SET file_sha1 = '5' || substr(file_sha1, 2) WHERE id = 3"; ctl verify -f b/bent"#,
        Listed("D5"),
    ),
    ("ctl-verify-v", "ctl -v verify carol", Same),
    ("ctl-verify-vv", "ctl -v -v verify carol", Same),
    (
        "cyr-badopt",
        "cyr -Z carol list chunks 2>&1 | head -2",
        Same,
    ),
    ("cyr-badsub", "cyr carol list frobs", Same),
    (
        "cyr-blocking",
        "hold carol; (sleep 0.3; touch done) & cyr carol list chunks; wait",
        Same,
    ),
    (
        "cyr-dump-chunk-bad",
        "cyr carol dump chunk abc",
        Listed("D9"),
    ),
    ("cyr-dump-chunk-none", "cyr carol dump chunk 99", Same),
    ("cyr-dump-chunk", "cyr carol dump chunk 2", Same),
    (
        "cyr-dump-mailbox",
        "cyr carol dump mailbox user.carol",
        Listed("D41"),
    ),
    ("cyr-dump-message-bad", "cyr carol dump message xyz", Same),
    (
        "cyr-dump-message-none",
        "cyr carol dump message 0000000000000000000000000000000000000001",
        Same,
    ),
    (
        "cyr-dump-message",
        "cyr carol dump message 42c32deeb045bff18d94bd170d8ca63d6055852e",
        Same,
    ),
    (
        "cyr-emptydata",
        ": >b/empty; cyr -f b/empty list all; ctl list -f b/empty; ctl stat -f b/empty; ctl verify -f b/empty; ctl compact -f b/empty; ctl -F compact -f b/empty; stat -c '%A %n' b/empty",
        Same,
    ),
    ("cyr-extra", "cyr carol list chunks foo", Same),
    ("cyr-f-none", "cyr -f /nope list chunks", Same),
    ("cyr-f", "cyr -f b/carol list chunks", Same),
    ("cyr-json-chunks", "cyr carol json chunks", Same),
    (
        "cyr-json-empty",
        ": >b/empty; cyr -f b/empty json chunks; cyr -f b/empty json mailboxes; cyr -f b/empty json messages; cyr -f b/empty json headers xx",
        Same,
    ),
    (
        "cyr-json-headers",
        "cyr carol json headers 42c32deeb045bff18d94bd170d8ca63d6055852e 6c70be29b6a8356a4b00e8c9a90c3eaff91b7546 junk",
        Same,
    ),
    ("cyr-json-mailboxes", "cyr carol json mailboxes", Same),
    ("cyr-json-messages", "cyr carol json messages", Same),
    ("cyr-list-all", "cyr carol list all", Same),
    ("cyr-list-chunks", "cyr carol list chunks", Same),
    ("cyr-list-mailboxes", "cyr carol list mailboxes", Same),
    ("cyr-list-messages", "cyr carol list messages", Same),
    ("cyr-list-v", "cyr -v carol list chunks", Same),
    ("cyr-m", "cyr -m user.carol.Foo list chunks", Same),
    (
        "cyr-noindex",
        "cp b/carol b/noidx; cyr -f b/noidx list chunks; ctl list -f b/noidx; ctl verify -f b/noidx",
        Listed("D74"),
    ),
    ("cyr-show-chunks", "cyr carol show chunks 1", Listed("D41")),
    (
        "cyr-show-mailboxes",
        "cyr carol show mailboxes user.carol 22222222-aaaa-bbbb-cccc-0000000000c2 user.carol.Tmp nothing",
        Same,
    ),
    (
        "cyr-show-messages",
        "cyr carol show messages 42c32deeb045bff18d94bd170d8ca63d6055852e 6c70be29b6a8356a4b00e8c9a90c3eaff91b7546 0000000000000000000000000000000000000001 junk",
        Same,
    ),
    ("cyr-unknown-user", "cyr nosuch list chunks", Listed("D9")),
];

/// Samples of restore: where each is compared, since most need a server.
const RESTORE: [(&str, &str, &[&str]); 11] = [
    (
        "cli/restore.rs",
        "dry_runs_say_what_c_says_and_then_the_plan",
        &[
            "A-empty", "F", "f", "guid", "m", "n-X-v", "n-v", "n-x-v", "shared", "w",
        ],
    ),
    (
        "cli/restore.rs",
        "a_missing_file_of_objects_is_a_failure",
        &["F-missing"],
    ),
    (
        "cli/restore.rs",
        "usage_errors_are_c_s",
        &["U-A", "noobj", "usage"],
    ),
    (
        "cli/restore.rs",
        "a_guid_with_m_and_x_is_no_crash",
        &["X-M-guid", "x-M-guid"],
    ),
    (
        "cli/restore.rs",
        "a_locked_backup_is_left_alone",
        &["locked"],
    ),
    (
        "cli/restore.rs",
        "deleted_mailboxes_come_only_when_they_are_asked_for",
        &["n-a-v", "n-r-v"],
    ),
    (
        "cli/restore.rs",
        "errors_are_in_words",
        &["refused", "unknown-user"],
    ),
    (
        "cli/restore.rs",
        "what_the_backup_does_not_have_ends_everything_before_it_begins",
        &["unknown-object-first", "unknown-object"],
    ),
    (
        "restore/beside_c.rs",
        "with_u_the_same_identity_and_more_of_it",
        &["U-v"],
    ),
    (
        "restore/beside_c.rs",
        "a_message_into_another_mailbox_keeps_date_and_flags",
        &["guid-M"],
    ),
    (
        "restore/beside_c.rs",
        "mailboxes_come_back_as_with_c",
        &["v"],
    ),
];

#[test]
fn every_sample_is_the_same_or_listed() {
    let document = include_str!("../../docs/DIFFERENCES.md");
    let mut wrong = Vec::new();
    for (name, script, expected) in &SAMPLES {
        let (Some(c), Some(ours)) = (Place::new(), Place::new()) else {
            return;
        };
        let by_c = script_in(&c, Path::new("/usr/lib/cyrus/bin"), script);
        let by_us = script_in(&ours, &our_directory(), script);
        let same = match expected {
            Same => by_us == by_c,
            Brackets(text) => without_own_lines(&by_us) == with_brackets(&by_c, text),
            // The number is not to be taken in vain.
            Listed(number) => by_us != by_c && document.contains(&format!("### {number} ")),
        };
        if !same {
            wrong.push(format!("{name}: {script}\nC's:\n{by_c}\nours:\n{by_us}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The samples that need a server are compared elsewhere, under these names.
#[test]
fn samples_of_restore_are_compared() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (file, test, samples) in RESTORE {
        let source = std::fs::read_to_string(tests.join(file)).unwrap();
        assert!(
            source.contains(&format!("fn {test}()")),
            "{samples:?}: {test}"
        );
    }
    assert_eq!(RESTORE.iter().map(|(_, _, s)| s.len()).sum::<usize>(), 26);
}

/// No sample has two names, none is forgotten: so many there are.
#[test]
fn all_samples_are_there() {
    let mut names: Vec<&str> = SAMPLES.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SAMPLES.len());
    for option in ["lock -c ", "lock -p ", "lock -s ", "lock -x "] {
        assert!(
            SAMPLES.iter().any(|(_, script, _)| script.contains(option)),
            "{option}"
        );
    }
}

fn our_directory() -> PathBuf {
    Path::new(our_binary("ctl_backups"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Runs the script with the programs of this directory; what it says, with paths that do not
/// depend on the place.
fn script_in(place: &Place, programs: &Path, script: &str) -> String {
    let said: Output = place.shell(
        programs,
        &format!("{PRELUDE}{script}"),
        Duration::from_secs(120),
    );
    let here = place.path("");
    let here = here.to_str().unwrap().trim_end_matches('/');
    let said = format!("exit {:?}\n{}--- stderr\n{}", said.code, said.out, said.err);
    said.replace(here, "HERE")
}

fn with_brackets(text: &str, reason: &str) -> String {
    let mut text = text.to_owned();
    while let Some(from) = text.find("Unknown code ____ ") {
        let length = text[from..].find([')', '\n']).unwrap();
        text.replace_range(from..from + length, reason);
    }
    text
}

fn without_own_lines(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !line.starts_with("  damaged: "))
        .collect()
}

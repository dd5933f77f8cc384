//! What costs next to nothing: a look, and the change that is none. XCONVMODSEQ moves with any change of a user,
//! so mailboxes in which nothing happened come again and again with `RECORD ()` (W 17.17).

use std::fs;

use crate::observed::{metric, with_metrics};
use crate::rig::{BackupServer, Csync, Cyrus};

const MAILBOXES: u64 = 100;

fn mailbox(n: u64, conversations: u64) -> String {
    format!(
        "APPLY MAILBOX %(UNIQUEID d6d9b650-c132-4040-bcba-{n:012} MBOXNAME user.anne.folder{n} SYNC_CRC 3156059266 \
         SYNC_CRC_ANNOT 2423740131 LAST_UID 2 HIGHESTMODSEQ {n} RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE \
         1795459713 POP3_LAST_LOGIN 0 POP3_SHOW_AFTER 0 XCONVMODSEQ {conversations} UIDVALIDITY 1795459713 PARTITION \
         default ACL \"anne\tlrswipkxtecdan\t\" OPTIONS P QUOTAROOT user.anne CREATEDMODSEQ 1 FOLDERMODSEQ 9 RECORD ())"
    )
}

/// All mailboxes once; what that cost in octets of the data file and in syncs.
fn say_all(server: &BackupServer, metrics: u16, conversations: u64) -> (u64, f64) {
    let length = || {
        let backups = server.backups();
        backups
            .get("anne")
            .map_or(0, |file| fs::metadata(file).unwrap().len())
    };
    let (before, syncs) = (length(), metric(metrics, "commit_seconds_count"));
    let mut csync = Csync::login(server.port());
    for n in 1..=MAILBOXES {
        let answer = csync.command(mailbox(n, conversations));
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert!(csync.command("EXIT").is_ok());
    (
        length() - before,
        metric(metrics, "commit_seconds_count") - syncs,
    )
}

#[test]
fn a_change_that_is_none_costs_no_octet_and_no_sync_and_a_moved_modseq_one_line() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (server, metrics) = with_metrics(cyrus, "");
    let first = say_all(&server, metrics, 7);
    let again = say_all(&server, metrics, 7);
    let moved = say_all(&server, metrics, 8);
    println!(
        "octets and syncs of {MAILBOXES} mailboxes: {first:?}, again {again:?}, XCONVMODSEQ moved {moved:?}"
    );
    assert_eq!(again, (0, 0.0));
    // A header that moved is a line of its own, deflated for itself, so that damage beside it cannot take it along: two
    // thirds of its text. Each is acknowledged by itself, so there is one sync for each.
    let whole = mailbox(1, 8).len() as u64;
    assert!(
        moved.0 / MAILBOXES < whole * 4 / 5,
        "{moved:?} for lines of {whole} octets"
    );
    assert!(moved.1 <= MAILBOXES as f64, "{moved:?}");
}

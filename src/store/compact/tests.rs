//! The one promise of compaction, tried on random histories: from the horizon on nothing changes.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::csync::command::parse_apply;
use crate::store::rewrite::Sizes;
use crate::store::tests::{Octets, bodies, mail, new_backup};
use crate::store::{Appender, Backup, Index, Lock, layout};
use crate::types::Guid;

struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

const NAMES: [&str; 4] = ["user.anne", "user.anne.a", "user.anne.b", "user.anne.c"];

/// Appends a random history from time 100 on; returns the last time.
fn write_history(path: &Path, seed: u64) -> i64 {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut now = 100;
    let mut mails = 0;
    for _ in 0..4 + random.below(8) {
        let mut appender = Appender::open(path, false).unwrap();
        for _ in 0..random.below(8) {
            now += random.below(3) as i64;
            let fresh: Vec<Octets> = (0..random.below(3))
                .map(|n| mail(mails + n, 40 + n as usize))
                .collect();
            mails += fresh.len() as u64;
            appender.append_bodies(&bodies(&fresh), now).unwrap();
            let text = command(&mut random, mails);
            appender
                .append(&parse_apply(text.as_bytes()).unwrap(), now)
                .unwrap();
        }
        appender.commit().unwrap();
        appender.finish().unwrap();
    }
    now
}

fn command(random: &mut Random, mails: u64) -> String {
    let name = NAMES[random.below(4) as usize];
    let other = NAMES[random.below(4) as usize];
    let n = random.below(3);
    match random.below(16) {
        0 => format!("UNMAILBOX {name}"),
        1 | 2 => format!(
            "RENAME %(OLDMBOXNAME {name} NEWMBOXNAME {other} PARTITION p{n} UIDVALIDITY {n})"
        ),
        3 => format!("EXPUNGE %(MBOXNAME {name} UNIQUEID u{n} UID (1 3))"),
        4 => format!("SUB %(USERID anne MBOXNAME {name})"),
        5 => format!("UNSUB %(USERID anne MBOXNAME {name})"),
        6 => format!(
            "SIEVE %(USERID anne FILENAME s{n}.script LAST_UPDATE 5 CONTENT {{4}}\r\n\
                      {mails:02}\r\n)"
        ),
        7 => format!("UNSIEVE %(USERID anne FILENAME s{n}.script)"),
        8 => format!("ACTIVATE_SIEVE %(USERID anne FILENAME s{n}.bc)"),
        9 => format!(
            "SEEN %(USERID anne UNIQUEID u{n} LASTREAD {mails} LASTUID 2 LASTCHANGE 3 \
                      SEENUIDS 1:2)"
        ),
        10 => format!("QUOTA %(ROOT {name} LIMIT {mails})"),
        11 => format!("UNQUOTA {name}"),
        12 => "UNUSER anne".to_owned(),
        _ => mailbox(random, &format!("u{n}"), name, mails),
    }
}

fn mailbox(random: &mut Random, uniqueid: &str, name: &str, mails: u64) -> String {
    let mut records = String::new();
    for uid in 1..7 {
        if random.below(3) > 0 {
            continue;
        }
        let guid = Guid::of(&mail(random.below(mails + 1), 40).0);
        let flags = ["", "\\Seen", "\\Expunged", "\\Seen $x"][random.below(4) as usize];
        records += &format!(
            " %(UID {uid} MODSEQ {mails} LAST_UPDATED 5 FLAGS ({flags}) INTERNALDATE 7 SIZE 3 \
             GUID {guid})"
        );
    }
    format!(
        "MAILBOX %(UNIQUEID {uniqueid} MBOXNAME {name} SYNC_CRC {mails} LAST_UID 9 \
         HIGHESTMODSEQ {mails} RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 \
         UIDVALIDITY 1 PARTITION default ACL \"anne\tlrs\t\" OPTIONS P UNHEARD %(OF 1) RECORD \
         ({}))",
        records.trim()
    )
}

/// Records that were expunged before the horizon.
type Gone = HashSet<(String, u32)>;

fn gone(backup: &Backup, horizon: i64) -> Gone {
    let mailboxes = backup.index().mailboxes().unwrap().into_iter();
    let records = mailboxes.flat_map(|mailbox| {
        let records = backup.index().records(mailbox.id).unwrap().into_iter();
        records.map(move |record| (mailbox.uniqueid.clone(), record))
    });
    let expunged = records.filter(|(_, r)| r.expunged.is_some_and(|time| time <= horizon));
    expunged.map(|(id, record)| (id, record.uid)).collect()
}

/// All that can be asked, but for what was gone before the horizon. (A record that was gone and is
/// said to be expunged again, as full lists do, counts as expunged from then on.)
fn view(backup: &Backup, horizon: i64, gone: &Gone) -> String {
    let index = backup.index();
    let counts = |gone: Option<i64>| gone.is_none_or(|time| time > horizon);
    let mut lines = Vec::new();
    for mailbox in index.mailboxes().unwrap() {
        if !counts(mailbox.deleted) {
            continue;
        }
        let id = &mailbox.uniqueid;
        let header = index.header(mailbox.id).unwrap().unwrap();
        lines.push(format!("{id} {} {:?}", mailbox.mboxname, mailbox.deleted));
        lines.push(format!("{id} {:?} {}", header.keys, header.crc));
        for r in index.records(mailbox.id).unwrap() {
            let again = r.expunged.is_some() && gone.contains(&(id.clone(), r.uid));
            if counts(r.expunged) && !again {
                let body = backup.read_message(&r.guid).map(|octets| octets.len()).ok();
                lines.push(format!(
                    "{id} {} {} {} {} {:?} {body:?}",
                    r.uid, r.guid, r.modseq, r.flags, r.expunged
                ));
            }
        }
    }
    for row in index.subscriptions().unwrap() {
        if counts(row.unsubscribed) {
            lines.push(format!("{row:?}"));
        }
    }
    for row in index.sieve().unwrap() {
        if counts(row.deleted) {
            let text = String::from_utf8(backup.read_sieve(&row).unwrap()).unwrap();
            lines.push(format!(
                "{} {} {text} {:?}",
                row.filename, row.guid, row.deleted
            ));
        }
    }
    lines.extend(index.seen().unwrap().iter().map(|row| format!("{row:?}")));
    lines.extend(index.quotas().unwrap().iter().map(|row| format!("{row:?}")));
    lines.push(format!("{:?}", index.active_sieve().unwrap()));
    lines.sort();
    lines.join("\n")
}

fn silent(path: &Path, how: &Compact) -> Compacted {
    compact(path, how, &mut |_| {}, &mut |_, _| {}).unwrap()
}

#[test]
fn from_the_horizon_on_nothing_changes() {
    let (mut shrunk, mut compared) = (0, 0);
    // With SOAK set, many more.
    let seeds = std::env::var("SOAK").map_or(40, |_| 2000);
    for seed in 1..seeds {
        let (_dir, path) = new_backup();
        let last = write_history(&path, seed);
        let horizon = 100 + (last - 100) * (seed as i64 % 5) / 4;
        let at = |time| Backup::open_as_of(&path, Lock::None, time).ok();
        let times: Vec<i64> = (horizon..=last + 1).collect();
        let before: Vec<Option<(String, Gone)>> = times
            .iter()
            .map(|&time| {
                let backup = at(time)?;
                let gone = gone(&backup, horizon);
                Some((view(&backup, horizon, &gone), gone))
            })
            .collect();
        let size = fs::metadata(&path).unwrap().len();
        let mut how = Compact {
            force: true,
            horizon: Some(horizon),
            sizes: Sizes {
                min: seed % 3 * 300,
                max: seed % 2 * 1000,
            },
            ..Compact::default()
        };
        silent(&path, &how);
        for (time, before) in times.iter().zip(&before) {
            if let Some((before, gone)) = before {
                let after = view(&at(*time).unwrap(), horizon, gone);
                assert_eq!(&after, before, "seed {seed}, {horizon} {time}");
                compared += 1;
            }
        }
        let grown = Backup::open(&path, Lock::None).unwrap();
        assert!(grown.is_current().unwrap());
        if let Some((before, gone)) = before.last().and_then(Option::as_ref) {
            assert_eq!(&view(&grown, horizon, gone), before, "seed {seed}");
        }
        let data = fs::read(&path).unwrap();
        shrunk += usize::from((data.len() as u64) < size);
        // A second run finds nothing to do, and forced to do it makes the same.
        how.force = false;
        assert_eq!(silent(&path, &how), Compacted::Skipped, "seed {seed}");
        how.force = true;
        silent(&path, &how);
        assert!(fs::read(&path).unwrap() == data, "seed {seed}");
        // And life goes on.
        let mut appender = Appender::open(&path, false).unwrap();
        let sub = parse_apply(b"SUB %(USERID anne MBOXNAME user.anne.new)").unwrap();
        appender.append(&sub, last + 5).unwrap();
        appender.commit().unwrap();
        appender.finish().unwrap();
    }
    assert!(shrunk > 15 && compared > 150, "{shrunk} {compared}");
}

/// What compact remembers never changes what it does: beside a twin that remembers nothing.
#[test]
fn what_is_remembered_is_what_would_be_found_again() {
    let mut remembered = 0;
    for seed in 1..30 {
        let (_dir, path) = new_backup();
        let (_dir2, twin) = new_backup();
        let mut random = Random(seed * 77_777 + 1);
        let mut last = write_history(&path, seed);
        for round in 0..8 {
            let copy = |from: &Path, to: &Path| {
                fs::copy(from, to).unwrap();
                fs::copy(layout::index(from), layout::index(to)).unwrap();
            };
            copy(&path, &twin);
            let index = Index::open(&layout::index(&twin)).unwrap();
            index.set_settled("nothing").unwrap();
            drop(index);
            let horizon = match random.below(4) {
                0 => 100 + random.below((last - 99).cast_unsigned()) as i64,
                _ => last + round,
            };
            let how = Compact {
                horizon: (random.below(6) > 0).then_some(horizon),
                sizes: Sizes {
                    min: (seed + random.below(8) / 7) % 2 * 300,
                    max: 0,
                },
                threshold: seed % 3,
                ..Compact::default()
            };
            let index = Index::open(&layout::index(&path)).unwrap();
            remembered += usize::from(settled::is_settled(&index, &how).unwrap());
            drop(index);
            let (with, without) = (silent(&path, &how), silent(&twin, &how));
            assert_eq!(with, without, "seed {seed}, round {round}, {how:?}");
            assert!(fs::read(&path).unwrap() == fs::read(&twin).unwrap());
            if random.below(5) == 0 {
                let mut appender = Appender::open(&path, false).unwrap();
                last += 3;
                let sub = parse_apply(b"SUB %(USERID anne MBOXNAME user.anne.a)").unwrap();
                appender.append(&sub, last).unwrap();
                appender.commit().unwrap();
                appender.finish().unwrap();
            }
        }
    }
    assert!(remembered > 25, "{remembered}");
}

#[test]
fn the_horizon_is_remembered_and_survives_a_reindex() {
    let (_dir, path) = new_backup();
    let last = write_history(&path, 3);
    let how = Compact {
        force: true,
        horizon: Some(last - 1),
        ..Compact::default()
    };
    silent(&path, &how);
    let oldest = || {
        Backup::open(&path, Lock::None)
            .unwrap()
            .oldest_time()
            .unwrap()
    };
    assert_eq!(oldest(), Some(last - 1));
    let reindex = crate::store::reindex::Reindex::default();
    let report = crate::store::reindex::reindex(&path, reindex, &mut |_| {}).unwrap();
    assert_eq!(report.losses, []);
    assert_eq!(oldest(), Some(last - 1));
    assert!(Backup::open_as_of(&path, Lock::None, last - 2).is_err());
    // Without a horizon nothing goes.
    let size = fs::metadata(&path).unwrap().len();
    let everything = Compact {
        horizon: None,
        ..how
    };
    silent(&path, &everything);
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
}

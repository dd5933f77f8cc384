//! Two owners, a mailbox between them, and crashes in each gap.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::backupd::service::Service;
use crate::backupd::staging::{Budget, Staging};
use crate::config::Config;
use crate::csync::command::{Command, parse_command};
use crate::store::{Lock, Placement};
use crate::types::Namespace;

const MAIL: &[u8] = b"Subject: moved\r\n\r\nHello.\r\n";
const RENAME: &str = "APPLY RENAME %(OLDMBOXNAME user.anne.box NEWMBOXNAME user.bob.box \
                      PARTITION default UIDVALIDITY 77)";

struct World {
    dir: tempfile::TempDir,
    placement: Arc<Placement>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display();
        let conf = dir.path().join("imapd.conf");
        let text = format!(
            "configdirectory: {home}/conf\nbackuppartition-default: {home}/part\nservername: x\n\
             backup_staging_path: {home}/stage\n"
        );
        std::fs::write(&conf, text).unwrap();
        std::fs::create_dir(dir.path().join("conf")).unwrap();
        let config = Config::load(&conf, "backupd").unwrap();
        let placement = Arc::new(Placement::new(&config));
        World { dir, placement }
    }

    fn service(&self) -> StoreService {
        StoreService::new(Arc::clone(&self.placement), Namespace::default())
    }

    fn staging(&self) -> Staging {
        let budget = Arc::new(Budget::new(1 << 20));
        let disk = Arc::new(Budget::new(1 << 20));
        let mut staging = Staging::new(self.dir.path().join("stage"), 1 << 20, budget, disk);
        let size = MAIL.len() as u64;
        staging
            .begin(Guid::of(MAIL), b"default".to_vec(), size)
            .unwrap();
        staging.push(MAIL).unwrap();
        staging.finish();
        staging
    }

    fn backup(&self, user: &str) -> Backup {
        let key = BackupKey::from_userid(user).unwrap();
        let path = self.placement.find(&key).unwrap().unwrap();
        Backup::open(Path::new(&path), Lock::Shared { wait: false }).unwrap()
    }
}

fn say(service: &mut StoreService, staging: &mut Staging, line: &str) -> (String, String) {
    let mut out = Vec::new();
    let reply = match parse_command(line.as_bytes()).unwrap() {
        Command::Get(get) => service.get(get, &mut out),
        Command::Apply(apply) => service.apply(apply, staging, &mut out),
        _ => panic!("{line}"),
    };
    let mut last = Vec::new();
    reply.write(&mut last);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(out), text(last))
}

fn fill(world: &World) {
    let (mut service, mut staging) = (world.service(), world.staging());
    let guid = Guid::of(MAIL);
    let record = |uid: u32, flags: &str| {
        format!(
            "%(UID {uid} MODSEQ {uid} LAST_UPDATED 5 FLAGS ({flags}) INTERNALDATE 7 SIZE 26 \
             GUID {guid} ANNOTATIONS (%(ENTRY /comment USERID anne MODSEQ 3 VALUE {{5+}}\r\na\0\"\\b) \
             %(ENTRY /comment USERID carl MODSEQ 3 VALUE his)))"
        )
    };
    let line = format!(
        "APPLY MAILBOX %(UNIQUEID u1 MBOXNAME user.anne.box SYNC_CRC 0 SYNC_CRC_ANNOT 0 LAST_UID 3 \
         HIGHESTMODSEQ 9 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 \
         PARTITION default ACL \"anne\tlrs\t\" OPTIONS P FOREIGN (x \"y z\") \
         ANNOTATIONS (%(ENTRY /comment USERID anne MODSEQ 3 VALUE mine)) RECORD ({} {} {}))",
        record(1, "\\Seen"),
        record(2, "\\Deleted \\Expunged"),
        record(3, "\\Flagged key")
    );
    assert!(say(&mut service, &mut staging, &line).1.starts_with("OK"));
    service.close();
}

/// Anne has nothing, Bob everything, and a second look finds nothing to do.
fn assert_moved(world: &World) {
    let anne = world.backup("anne");
    assert!(
        anne.index()
            .mailboxes()
            .unwrap()
            .iter()
            .all(|m| m.deleted.is_some())
    );
    assert_eq!(anne.index().leaving().unwrap(), Vec::<String>::new());
    let bob = world.backup("bob");
    let rows = bob.index().mailboxes_by_name("user.bob.box").unwrap();
    let [mailbox] = &rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!((mailbox.uniqueid.as_str(), mailbox.uidvalidity), ("u1", 77));
    let records = bob.index().records(mailbox.id).unwrap();
    let seen: Vec<_> = records
        .iter()
        .map(|r| (r.uid, r.flags.as_str(), r.expunged.is_some()))
        .collect();
    let wanted = [
        (1, "(\\Seen)", false),
        (2, "(\\Deleted)", true),
        (3, "(\\Flagged key)", false),
    ];
    assert_eq!(seen, wanted);
    assert!(
        records
            .iter()
            .all(|r| r.annotations.contains("{5}\r\na\0\"\\b"))
    );
    // What was anne's own is bob's own; carl's stays his.
    let whose = |name: &str| format!("USERID {name} ");
    let of = |name: &str| {
        records
            .iter()
            .filter(|r| r.annotations.contains(&whose(name)))
            .count()
    };
    assert_eq!(
        (of("anne"), of("bob"), of("carl")),
        (0, 3, 3),
        "{records:?}"
    );
    let comment = mailbox.annotations.as_deref().unwrap_or_default();
    assert!(
        comment.contains("USERID bob ") && !comment.contains("USERID anne "),
        "{comment}"
    );
    assert_eq!(&bob.read_message(&Guid::of(MAIL)).unwrap()[..], MAIL);
    let header = bob.index().header(mailbox.id).unwrap().unwrap();
    assert!(header.keys.get("FOREIGN").is_some());
    let (mut service, mut staging) = (world.service(), world.staging());
    let both = "GET MAILBOXES (user.anne.box user.bob.box)";
    let (lines, last) = say(&mut service, &mut staging, both);
    assert!(
        last.starts_with("OK") && lines.matches("* MAILBOX").count() == 1,
        "{lines}"
    );
    assert!(lines.contains("MBOXNAME user.bob.box") && lines.contains("HIGHESTMODSEQ 9 "));
}

#[test]
fn content_moves_with_the_mailbox() {
    let world = World::new();
    fill(&world);
    let (mut service, mut staging) = (world.service(), world.staging());
    assert!(say(&mut service, &mut staging, RENAME).1.starts_with("OK"));
    service.close();
    assert_moved(&world);
    let again = say(&mut service, &mut staging, RENAME).1;
    assert!(again.starts_with("NO IMAP_MAILBOX_NONEXISTENT"), "{again}");
}

#[test]
fn a_move_cut_short_is_finished_by_the_next_get() {
    for cut in 0..2 {
        let world = World::new();
        fill(&world);
        let Ok(Command::Apply(Apply::Rename(rename))) = parse_command(RENAME.as_bytes()) else {
            panic!()
        };
        let open = |user: &str| {
            let key = BackupKey::from_userid(user).unwrap();
            let path = world.placement.find_or_create(&key).unwrap();
            Appender::open(&path, false).unwrap()
        };
        let (mut from, mut to) = (open("anne"), open("bob"));
        from.note(|index| index.note_leaving("user.anne.box", &RENAME["APPLY ".len()..]))
            .unwrap();
        if cut == 1 {
            let [old, new] = ["anne", "bob"].map(|user| BackupKey::from_userid(user).unwrap());
            arrive(&from, &mut to, &rename, &Heir::of(&old, &new)).unwrap();
        }
        // Dropped without finish, as by kill -9: the data stays, the index forgets.
        drop((from, to));
        let (mut service, mut staging) = (world.service(), world.staging());
        let (lines, last) = say(&mut service, &mut staging, "GET USER anne");
        assert!(
            last.starts_with("OK") && lines.is_empty(),
            "cut {cut}: {lines}{last}"
        );
        service.close();
        assert_moved(&world);
    }
}

#[test]
fn there_and_back_again_expunges_what_was_lost_meanwhile() {
    let world = World::new();
    fill(&world);
    let (mut service, mut staging) = (world.service(), world.staging());
    assert!(say(&mut service, &mut staging, RENAME).1.starts_with("OK"));
    let expunge = "APPLY EXPUNGE %(MBOXNAME user.bob.box UNIQUEID u1 UID (3))";
    assert!(say(&mut service, &mut staging, expunge).1.starts_with("OK"));
    let back = "APPLY RENAME %(OLDMBOXNAME user.bob.box NEWMBOXNAME user.anne.again PARTITION NIL \
                UIDVALIDITY 78)";
    assert!(say(&mut service, &mut staging, back).1.starts_with("OK"));
    service.close();
    let anne = world.backup("anne");
    let rows = anne.index().mailboxes_by_name("user.anne.again").unwrap();
    let live = anne.index().records(rows[0].id).unwrap();
    let live: Vec<u32> = live
        .iter()
        .filter(|r| r.expunged.is_none())
        .map(|r| r.uid)
        .collect();
    assert_eq!(live, [1]);
}

#[test]
fn opposite_moves_at_once_do_not_deadlock() {
    let world = World::new();
    fill(&world);
    let ways = ["anne bob", "bob anne"];
    std::thread::scope(|scope| {
        for way in ways {
            let world = &world;
            scope.spawn(move || {
                let (from, to) = way.split_once(' ').unwrap();
                let (mut service, mut staging) = (world.service(), world.staging());
                for n in 0..15 {
                    let rename = format!(
                        "APPLY RENAME %(OLDMBOXNAME user.{from}.box NEWMBOXNAME user.{to}.box \
                         PARTITION default UIDVALIDITY {n})"
                    );
                    let last = say(&mut service, &mut staging, &rename).1;
                    let fine = last.starts_with("OK") || last.contains("NONEXISTENT");
                    assert!(fine, "{last}");
                }
                service.close();
            });
        }
    });
    let alive = |user: &str| {
        let rows = world.backup(user).index().mailboxes().unwrap();
        rows.iter().filter(|m| m.deleted.is_none()).count()
    };
    assert_eq!(alive("anne") + alive("bob"), 1);
}

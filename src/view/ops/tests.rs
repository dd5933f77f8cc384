//! The tree without a kernel: an in-memory backup behind [`Source`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::attr::Kind;
use super::super::inode::{Blocks, ROOT};
use super::super::links::{Copy, Links};
use super::super::notes::{Details, Header, Seen};
use super::super::source::{Chunk, Mailbox, Record, Script, Source};
use super::super::tree::{Shape, TreeConfig};
use super::super::users::{Account, Users};
use super::*;
use crate::select::Clock;
use crate::types::Namespace;

mod shown;

/// What reading a script gives.
type Text = Result<Arc<[u8]>, ViewError>;

/// A backup in memory. Messages whose body starts with `damaged` cannot be read.
#[derive(Default)]
struct Memory {
    path: PathBuf,
    data: Vec<u8>,
    chunks: Vec<Chunk>,
    mailboxes: Vec<Mailbox>,
    records: HashMap<i64, Vec<Record>>,
    bodies: HashMap<Guid, Vec<u8>>,
    ids: HashMap<Guid, i64>,
    scripts: Vec<(Script, Text)>,
    shape: Shape,
    loads: AtomicUsize,
    rests: Arc<AtomicUsize>,
    /// Bytes cut off the data file after it was opened.
    cut: AtomicUsize,
}

impl Source for Memory {
    fn path(&self) -> &Path {
        &self.path
    }
    fn data_len(&self) -> u64 {
        self.data.len() as u64
    }
    fn chunks(&self) -> Result<Vec<Chunk>, ViewError> {
        Ok(self.chunks.clone())
    }
    fn mailboxes(&self) -> Result<Vec<Mailbox>, ViewError> {
        Ok(self.mailboxes.clone())
    }
    fn records(&self, mailbox: i64) -> Result<Vec<Record>, ViewError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        Ok(self.records.get(&mailbox).cloned().unwrap_or_default())
    }
    fn with_expunged(&self) -> Result<Vec<i64>, ViewError> {
        let expunged = |records: &[Record]| records.iter().any(|r| r.expunged.is_some());
        let with = self.records.iter().filter(|(_, records)| expunged(records));
        Ok(with.map(|(mailbox, _)| *mailbox).collect())
    }
    fn copies(&self) -> Result<Vec<Copy>, ViewError> {
        let all = self.records.iter().flat_map(|(mailbox, records)| {
            records.iter().map(|r| Copy {
                message: r.message.unwrap_or(-1),
                mailbox: *mailbox,
                uid: r.uid,
                internaldate: r.internaldate,
                flags: r.flags.clone(),
                last_chunk: r.last_chunk,
            })
        });
        Ok(all.filter(|copy| copy.message >= 0).collect())
    }
    fn scripts(&self) -> Result<Vec<Script>, ViewError> {
        Ok(self
            .scripts
            .iter()
            .map(|(script, _)| script.clone())
            .collect())
    }
    fn script(&self, id: i64) -> Result<Arc<[u8]>, ViewError> {
        let mut scripts = self.scripts.iter();
        scripts
            .find(|(script, _)| script.id == id)
            .unwrap()
            .1
            .clone()
    }
    fn details(&self) -> Result<Details, ViewError> {
        let mailboxes = self.mailboxes.iter().map(|mailbox| {
            let header = Header {
                mboxname: mailbox.name.clone(),
                uniqueid: mailbox.uniqueid.clone(),
                ..Header::default()
            };
            (mailbox.id, header)
        });
        Ok(Details {
            mailboxes: mailboxes.collect(),
            subscriptions: vec!["user.anne".to_owned()],
            seen: vec![Seen {
                uniqueid: "unique1".to_owned(),
                lastread: 1,
                lastuid: 2,
                lastchange: 3,
                seenuids: "1".to_owned(),
            }],
            ..Details::default()
        })
    }
    fn oldest(&self) -> Result<Option<i64>, ViewError> {
        Ok(self.chunks.first().map(|chunk| chunk.time - 100))
    }
    fn message_count(&self) -> Result<u64, ViewError> {
        Ok(self.bodies.len() as u64)
    }
    fn message(&self, _id: u32, guid: &Guid) -> Result<Arc<[u8]>, ViewError> {
        match &self.bodies[guid] {
            body if body.starts_with(b"damaged") => Err(ViewError::Damaged {
                path: self.path.clone(),
                what: format!("message {guid}"),
            }),
            body => Ok(body.as_slice().into()),
        }
    }
    /// Any moment since the first chunk; INBOX has two messages then.
    fn past(&self, at: i64) -> Result<Arc<dyn Source>, ViewError> {
        let oldest = self.chunks.first().unwrap().time;
        if at < oldest {
            return Err(ViewError::TooOld {
                path: self.path.clone(),
                asked: at.to_string(),
                oldest: oldest.to_string(),
            });
        }
        self.loads.fetch_add(100, Ordering::Relaxed);
        Ok(Arc::new(anne().expunge(1, 2)))
    }
    fn rest(&self) {
        self.rests.fetch_add(1, Ordering::Relaxed);
    }
    fn raw(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ViewError> {
        let len = self.data.len() - self.cut.load(Ordering::Relaxed);
        let rest = &self.data[(offset as usize).min(len)..len];
        // Short answers are legal, and must not show.
        let n = rest.len().min(buf.len()).min(3);
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn inflated(&self, chunk: i64, offset: u64, buf: &mut [u8]) -> Result<usize, ViewError> {
        let text = format!("text of chunk {chunk}");
        let rest = text.as_bytes().get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len()).min(3);
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

impl Memory {
    fn chunk(mut self, offset: u64, time: i64) -> Memory {
        let id = self.chunks.len() as i64 + 1;
        let length = Some(15);
        self.chunks.push(Chunk {
            id,
            offset,
            length,
            time,
        });
        self
    }

    fn mailbox(mut self, name: &str, bodies: &[&str]) -> Memory {
        let id = self.mailboxes.len() as i64 + 1;
        self.mailboxes.push(Mailbox {
            id,
            name: name.to_owned(),
            uniqueid: format!("unique{id}"),
            kind: None,
            last_chunk: 1,
            deleted: None,
        });
        let records = (1..).zip(bodies).map(|(uid, body)| {
            let guid = Guid::of(body.as_bytes());
            let message = *self.ids.entry(guid).or_insert(self.bodies.len() as i64 + 1);
            self.bodies.insert(guid, body.as_bytes().to_vec());
            Record {
                message: Some(message),
                uid,
                guid,
                size: Some(body.len() as u64),
                internaldate: 1_600_000_000 + i64::from(uid),
                modseq: 40 + u64::from(uid),
                flags: r"(\Seen)".to_owned(),
                annotations: String::new(),
                last_chunk: 1,
                expunged: None,
            }
        });
        let records = records.collect();
        self.records.insert(id, records);
        self
    }

    fn lose(mut self, mailbox: i64, uid: u32) -> Memory {
        for record in self.records.get_mut(&mailbox).unwrap() {
            if record.uid == uid {
                record.message = None;
                record.size = None;
            }
        }
        self
    }

    fn expunge(mut self, mailbox: i64, uid: u32) -> Memory {
        for record in self.records.get_mut(&mailbox).unwrap() {
            if record.uid == uid {
                record.expunged = Some(1_700_000_001);
            }
        }
        self
    }

    fn script(mut self, name: &str, text: Result<&str, ViewError>) -> Memory {
        let script = Script {
            id: self.scripts.len() as i64 + 1,
            filename: name.to_owned(),
            modified: 1_600_000_000,
            chunk: 1,
            active: self.scripts.is_empty(),
        };
        self.scripts
            .push((script, text.map(|text| text.as_bytes().into())));
        self
    }

    fn sole(self) -> (Ops, Arc<Memory>) {
        let shape = self.shape;
        let source = Arc::new(self);
        let config = TreeConfig {
            key: Some("anne"),
            namespace: &Namespace::default(),
            shape,
            past: false,
            parent: ROOT,
            time: None,
        };
        let tree = Tree::open(source.clone(), &config, |_| Some(Blocks::Sole)).unwrap();
        let moments = Moments::new(clock());
        (Ops::new(Root::Sole(Arc::new(tree)), moments), source)
    }
}

const NOW: i64 = 1_700_100_000;

fn clock() -> Clock {
    Clock {
        now: NOW,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn anne() -> Memory {
    let backup = Memory {
        path: "/b/anne_AAAAAA".into(),
        data: b"<first member><second>".to_vec(),
        ..Memory::default()
    };
    backup
        .chunk(0, 1_700_000_000)
        .chunk(14, 1_700_000_500)
        .mailbox("user.anne", &["one", "damaged", "three"])
        .mailbox("user.anne.Archive.2024", &["four"])
        .mailbox("user.anne.Empty", &[])
}

fn walk(ops: &Ops, path: &str) -> Result<Attr, ViewError> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.fold(ops.getattr(ROOT), |at, name| ops.lookup(at?.ino, name))
}

fn list(ops: &Ops, ino: u64) -> Vec<(String, Attr)> {
    let mut entries = Vec::new();
    ops.readdir(ino, 0, |entry| {
        entries.push((entry.name.to_owned(), entry.attr));
        true
    })
    .unwrap();
    entries
}

/// Every path of the tree, by readdir.
fn find(ops: &Ops) -> BTreeMap<String, Attr> {
    let mut found = BTreeMap::from([(String::new(), ops.getattr(ROOT).unwrap())]);
    let mut todo = vec![(String::new(), ROOT)];
    while let Some((path, ino)) = todo.pop() {
        for (name, attr) in list(ops, ino).split_off(2) {
            let path = format!("{path}/{name}");
            if attr.kind == Kind::Dir {
                todo.push((path.clone(), attr.ino));
            }
            assert_eq!(found.insert(path, attr), None);
        }
    }
    found
}

#[test]
fn the_tree_of_one_user() {
    let (ops, _) = anne().sole();
    let paths: Vec<_> = find(&ops).into_keys().collect();
    assert_eq!(
        paths,
        [
            "",
            "/chunks",
            "/chunks/00000001.gz",
            "/chunks/00000002.gz",
            "/deleted",
            "/expunged",
            "/mailboxes",
            "/mailboxes.json",
            "/mailboxes/Archive",
            "/mailboxes/Archive/2024",
            "/mailboxes/Archive/2024/1.eml",
            "/mailboxes/Empty",
            "/mailboxes/INBOX",
            "/mailboxes/INBOX/1.eml",
            "/mailboxes/INBOX/2.eml",
            "/mailboxes/INBOX/3.eml",
            "/seen.json",
            "/sieve",
            "/subscriptions.txt",
        ]
    );
}

/// readdir, lookup and getattr agree; inodes are unique; nlink counts directories; `..` leads back.
fn check_consistency(ops: &Ops) {
    let found = find(ops);
    let mut names: HashMap<u64, u32> = HashMap::new();
    for attr in found.values() {
        *names.entry(attr.ino).or_default() += 1;
    }
    for (path, attr) in &found {
        assert_eq!(ops.getattr(attr.ino).as_ref(), Ok(attr), "{path}");
        assert_eq!(walk(ops, path).as_ref(), Ok(attr), "{path}");
        if attr.kind == Kind::Dir {
            let entries = list(ops, attr.ino);
            let (dots, entries) = entries.split_at(2);
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            assert_eq!(dots[0], (".".to_owned(), *attr));
            assert_eq!(dots[1], ("..".to_owned(), found[parent]), "{path}");
            assert_eq!(ops.lookup(attr.ino, "..").unwrap(), found[parent]);
            let dirs = entries.iter().filter(|(_, attr)| attr.kind == Kind::Dir);
            assert_eq!(attr.nlink as usize, 2 + dirs.count(), "{path}");
            assert_eq!(names[&attr.ino], 1, "{path}");
        } else {
            assert_eq!(names[&attr.ino], attr.nlink, "{path}");
        }
    }
}

#[test]
fn listing_and_looking_up_agree() {
    check_consistency(&anne().lose(1, 3).sole().0);
    check_consistency(&shown::full().lose(4, 1).lose(4, 2).sole().0);
    check_consistency(&all(&["anne", "bob", "a/b"]).0);
}

#[test]
fn a_listing_goes_on_where_it_stopped() {
    let (ops, _) = anne().lose(1, 3).sole();
    let inbox = walk(&ops, "mailboxes/INBOX").unwrap().ino;
    let whole: Vec<_> = list(&ops, inbox).into_iter().map(|e| e.0).collect();
    assert_eq!(whole, [".", "..", "missing.txt", "1.eml", "2.eml"]);
    for page in 1..5 {
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            let mut room = page;
            let before = names.len();
            ops.readdir(inbox, cookie, |entry| {
                if room == 0 {
                    return false;
                }
                room -= 1;
                cookie = entry.next;
                names.push(entry.name.to_owned());
                true
            })
            .unwrap();
            if names.len() == before {
                break;
            }
        }
        assert_eq!(names, whole, "{page} at a time");
    }
}

#[test]
fn attributes_come_from_the_log() {
    let (ops, source) = anne().sole();
    let mail = walk(&ops, "mailboxes/INBOX/3.eml").unwrap();
    assert_eq!((mail.size, mail.blocks(), mail.nlink), (5, 1, 1));
    assert_eq!((mail.mtime, mail.ctime), (1_600_000_003, 1_700_000_000));
    let piece = walk(&ops, "chunks/00000002.gz").unwrap();
    assert_eq!((piece.size, piece.mtime), (8, 1_700_000_500));
    assert_eq!(
        walk(&ops, "mailboxes/Archive").unwrap().mtime,
        1_700_000_000
    );
    assert_eq!(walk(&ops, "").unwrap().mtime, 1_700_000_500);
    let statfs = ops.statfs().unwrap();
    assert_eq!((statfs.blocks, statfs.files), (1, 11));
    // All that, and only mailboxes that were looked into were read.
    assert_eq!(source.loads.load(Ordering::Relaxed), 1);
}

#[test]
fn reading() {
    let (ops, _) = anne().sole();
    let read = |path: &str, offset, size| {
        let data = ops.read(walk(&ops, path)?.ino, offset, size);
        data.map(|data| String::from_utf8(data.as_slice().to_vec()).unwrap())
    };
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(read("mailboxes/INBOX/3.eml", 0, 4096), ok("three"));
    assert_eq!(read("mailboxes/INBOX/3.eml", 2, 2), ok("re"));
    assert_eq!(read("mailboxes/INBOX/3.eml", 9, u32::MAX), ok(""));
    assert_eq!(read("chunks/00000001.gz", 0, 100), ok("<first member>"));
    assert_eq!(read("chunks/00000002.gz", 1, 100), ok("second>"));
    assert_eq!(read("chunks/00000002.gz", u64::MAX, 100), ok(""));
    assert_eq!(read("chunks", 0, 1), Err(ViewError::IsDirectory));
    assert_eq!(
        read("mailboxes/INBOX/1.eml/x", 0, 1),
        Err(ViewError::NotDirectory)
    );
    assert_eq!(
        read("mailboxes/INBOX/9.eml", 0, 1),
        Err(ViewError::NotFound)
    );
    assert_eq!(
        read("mailboxes/INBOX/01.eml", 0, 1),
        Err(ViewError::NotFound)
    );
    assert!(matches!(
        read("mailboxes/INBOX/2.eml", 0, 1),
        Err(ViewError::Damaged { .. })
    ));
}

#[test]
fn a_message_that_is_not_as_long_as_indexed_is_damaged() {
    let mut backup = anne();
    backup.records.get_mut(&1).unwrap()[0].size = Some(2);
    let (ops, _) = backup.sole();
    let one = walk(&ops, "mailboxes/INBOX/1.eml").unwrap();
    assert!(matches!(
        ops.read(one.ino, 0, 1),
        Err(ViewError::Damaged { .. })
    ));
}

#[test]
fn a_data_file_cut_behind_our_back_is_damaged_and_not_short() {
    let (ops, source) = anne().sole();
    let last = walk(&ops, "chunks/00000002.gz").unwrap();
    assert!(ops.read(last.ino, 0, 100).is_ok());
    source.cut.store(4, Ordering::Relaxed);
    assert_eq!(ops.read(last.ino, 0, 4).unwrap().as_slice(), b"<sec");
    assert!(matches!(
        ops.read(last.ino, 0, 100),
        Err(ViewError::Damaged { .. })
    ));
}

#[test]
fn extended_attributes() {
    let (ops, _) = anne().sole();
    let mail = walk(&ops, "mailboxes/INBOX/1.eml").unwrap().ino;
    let get = |name: &str| {
        ops.getxattr(mail, name)
            .map(|v| String::from_utf8(v).unwrap())
    };
    assert_eq!(get("user.cyrus.flags"), Ok(r"\Seen".to_owned()));
    assert_eq!(get("user.cyrus.mailbox"), Ok("user.anne".to_owned()));
    assert_eq!(get("user.cyrus.guid"), Ok(Guid::of(b"one").to_string()));
    assert_eq!(get("security.capability"), Err(ViewError::NoAttribute));
    let names = String::from_utf8(ops.listxattr(mail).unwrap()).unwrap();
    // Those that no copy could do without: its path, time and octets say the others.
    assert_eq!(names, "user.cyrus.flags\0user.cyrus.modseq\0");
    assert_eq!(get("user.cyrus.uid"), Ok("1".to_owned()));
    assert!(names.split_terminator('\0').all(|name| get(name).is_ok()));
    assert_eq!(ops.listxattr(ROOT), Ok(b"user.cyrus.oldest\0".to_vec()));
}

#[test]
fn memory_for_listings_is_bounded() {
    let mails = |n: usize| {
        let bodies: Vec<_> = (0..n).map(|n| n.to_string()).collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        let backup = Memory::default().mailbox("user.anne", &bodies);
        let records = backup.records[&1].clone();
        Arc::new(Mails::new(1, records, &Links::default(), |_| 0).unwrap())
    };
    let (ops, _) = anne().sole();
    let mut listed = lock(&ops.listed);
    for folder in 0..10 {
        listed.keep((0, folder), mails(4), 10);
        assert!(listed.messages <= 10);
    }
    assert_eq!(listed.mails.len(), 2);
    listed.keep((0, 77), mails(50), 10);
    assert_eq!((listed.mails.len(), listed.messages), (1, 50));
    listed.keep((0, 77), mails(50), 10);
    assert_eq!(listed.messages, 50);
}

/// A mount of users who all have the backup of [`anne`], and counts of openings and rests.
fn all(keys: &[&str]) -> (Ops, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let accounts = keys.iter().map(|key| Account {
        key: (*key).to_owned(),
        path: format!("/b/{key}").into(),
        len: 22,
        time: 1_700_000_900,
    });
    let (opened, rests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, rest_count) = (opened.clone(), rests.clone());
    let opener = Box::new(move |path: &Path| -> Result<Arc<dyn Source>, ViewError> {
        if path.ends_with("locked") && count.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(ViewError::Locked { path: path.into() });
        }
        count.fetch_add(1, Ordering::Relaxed);
        let rests = rest_count.clone();
        Ok(Arc::new(Memory { rests, ..anne() }))
    });
    let (accounts, namespace) = (accounts.collect(), Namespace::default());
    let users = Users::new(accounts, namespace, Shape::default(), false, opener).unwrap();
    let moments = Moments::new(clock());
    (
        Ops::new(Root::Many(Box::new(users)), moments),
        opened,
        rests,
    )
}

#[test]
fn of_many_users_only_some_keep_memory() {
    let keys: Vec<_> = (0..40).map(|n| format!("user{n}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let (ops, opened, rests) = all(&keys);
    for _ in 0..3 {
        for key in &keys[..10] {
            walk(&ops, &format!("{key}/mailboxes/INBOX/1.eml")).unwrap();
        }
    }
    assert_eq!(
        (
            opened.load(Ordering::Relaxed),
            rests.load(Ordering::Relaxed)
        ),
        (10, 0)
    );
    for key in &keys {
        walk(&ops, &format!("{key}/mailboxes/INBOX/1.eml")).unwrap();
    }
    // Each is opened once and stays open, and 16 of the 40 keep what they have read.
    assert_eq!(
        (
            opened.load(Ordering::Relaxed),
            rests.load(Ordering::Relaxed)
        ),
        (40, 24)
    );
}

#[test]
fn users_are_opened_when_entered() {
    let (ops, opened, _) = all(&["bob", "anne", "a/b", "%SHARED"]);
    let root: Vec<_> = list(&ops, ROOT).into_iter().map(|e| e.0).collect();
    assert_eq!(root, [".", "..", "%SHARED", "a%2Fb", "anne", "bob"]);
    assert_eq!(walk(&ops, "anne").unwrap().mtime, 1_700_000_900);
    assert_eq!(ops.lookup(ROOT, "carol"), Err(ViewError::NotFound));
    assert_eq!(
        ops.statfs().unwrap(),
        Statfs {
            blocks: 1,
            files: 5
        }
    );
    assert_eq!(opened.load(Ordering::Relaxed), 0);
    walk(&ops, "anne/mailboxes/INBOX/1.eml").unwrap();
    walk(&ops, "anne/chunks").unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 1);
    assert_eq!(walk(&ops, "anne").unwrap().mtime, 1_700_000_900);
}

#[test]
fn inode_numbers_do_not_depend_on_who_is_opened_first() {
    let (one, ..) = all(&["anne", "bob"]);
    let (other, ..) = all(&["aaa", "anne", "bob"]);
    walk(&other, "bob/mailboxes/INBOX/1.eml").unwrap();
    let forget_newcomer = |(path, attr): (String, Attr)| {
        (!path.is_empty() && !path.starts_with("/aaa")).then_some((path, attr.ino))
    };
    let of_one: Vec<_> = find(&one).into_iter().filter_map(forget_newcomer).collect();
    let of_other: Vec<_> = find(&other)
        .into_iter()
        .filter_map(forget_newcomer)
        .collect();
    assert_eq!(of_one, of_other);
}

#[test]
fn a_locked_backup_is_busy_now_and_open_later() {
    let (ops, ..) = all(&["locked", "bob"]);
    let error = walk(&ops, "locked/mailboxes").unwrap_err();
    assert_eq!(error.errno(), libc::EBUSY);
    assert!(walk(&ops, "locked/mailboxes").is_ok());
}

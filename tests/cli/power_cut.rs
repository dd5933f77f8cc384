//! compact and reindex when the power goes: the system calls of a run are recorded, and for points between them the
//! directory is rebuilt as a disk may have kept it, where what was written and not synced is there, in part or not
//! at all. Whatever was kept, the backup is the old one or the new one, complete.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cyrusbackup::store::{Appender, layout};

use super::killed::{Living, living, said};
use super::place::Place;
use super::rig::Rng;

/// System calls that change files, or that tell which file a descriptor is.
const CALLS: &str = "openat,close,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,\
                     ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat";

/// One file: what programs see of it, and what is on stable storage.
#[derive(Clone, Default)]
struct Node {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Made by the run as `X.new`.
    new_data: bool,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

type Names = BTreeMap<String, usize>;
/// Files by name, and whether the run made them as `X.new`.
type Contents = BTreeMap<String, (Vec<u8>, bool)>;

/// A directory that a run works in.
#[derive(Clone)]
struct Disk {
    directory: PathBuf,
    nodes: Vec<Node>,
    names: Names,
    durable: Names,
    /// Names after each change since the directory was synced.
    pending: Vec<Names>,
    files: HashMap<i64, Open>,
    /// `false`: a disk whose syncs do nothing.
    syncs: bool,
}

#[derive(Clone, Copy)]
enum Open {
    Directory,
    File { node: usize, at: usize },
}

/// How much of what was not synced is there after all.
enum Kept<'a> {
    Nothing,
    Names,
    Some(&'a mut Rng),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Length(length) => to.resize(*length, 0),
            Change::Write(at, bytes) => {
                to.resize(to.len().max(at + bytes.len()), 0);
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    /// All that is there now is on stable storage.
    fn of(directory: &Path, syncs: bool) -> Disk {
        let (mut nodes, mut names) = (Vec::new(), Names::new());
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            names.insert(entry.file_name().into_string().unwrap(), nodes.len());
            nodes.push(Node {
                now: bytes.clone(),
                durable: bytes,
                ..Node::default()
            });
        }
        Disk {
            directory: directory.to_owned(),
            nodes,
            durable: names.clone(),
            names,
            pending: Vec::new(),
            files: HashMap::new(),
            syncs,
        }
    }

    /// The name in the directory of a path.
    fn name(&self, path: &str) -> Option<String> {
        let path = self.directory.join("..").join(path);
        let parent = fs::canonicalize(path.parent()?).ok()?;
        (parent == fs::canonicalize(&self.directory).ok()?)
            .then(|| path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn is_directory(&self, path: &str) -> bool {
        let path = fs::canonicalize(self.directory.join("..").join(path));
        path.is_ok_and(|path| path == fs::canonicalize(&self.directory).unwrap())
    }

    /// Does what a recorded call did; true when it changed or synced something here.
    fn call(&mut self, line: &str) -> bool {
        let Some((call, args, result)) = parse(line) else {
            return false;
        };
        match call {
            "openat" => self.open(&text(args[1]), args[2], result),
            "close" => {
                self.files.remove(&number(args[0]));
                false
            }
            "fcntl" => {
                if args[1].starts_with("F_DUPFD")
                    && let Some(open) = self.files.get(&number(args[0])).copied()
                {
                    self.files.insert(result, open);
                }
                false
            }
            "lseek" => {
                if let Some(Open::File { at, .. }) = self.files.get_mut(&number(args[0])) {
                    *at = result as usize;
                }
                false
            }
            "write" | "pwrite64" => {
                let fd = number(args[0]);
                let Some(Open::File { node, at }) = self.files.get(&fd).copied() else {
                    return false;
                };
                let place = args.get(3).map_or(at, |at| number(at) as usize);
                let written = octets(args[1])[..result as usize].to_vec();
                if args.len() < 4 {
                    let at = at + written.len();
                    self.files.insert(fd, Open::File { node, at });
                }
                self.change(node, Change::Write(place, written))
            }
            "ftruncate" => match self.files.get(&number(args[0])).copied() {
                Some(Open::File { node, .. }) => {
                    self.change(node, Change::Length(number(args[1]) as usize))
                }
                _ => false,
            },
            "fsync" | "fdatasync" => self.sync(number(args[0])),
            "rename" | "link" => self.rename(&text(args[0]), &text(args[1]), call == "rename"),
            "renameat" | "renameat2" | "linkat" => {
                self.rename(&text(args[1]), &text(args[3]), call != "linkat")
            }
            "unlink" => self.unlink(&text(args[0])),
            "unlinkat" => self.unlink(&text(args[1])),
            other => {
                let touched = args.iter().any(|arg| self.files.contains_key(&number(arg)));
                assert!(!touched, "the simulation does not know {other}: {line}");
                false
            }
        }
    }

    fn open(&mut self, path: &str, flags: &str, fd: i64) -> bool {
        if self.is_directory(path) {
            self.files.insert(fd, Open::Directory);
            return false;
        }
        let Some(name) = self.name(path) else {
            self.files.remove(&fd);
            return false;
        };
        assert!(!flags.contains("O_APPEND"), "positions of appends: {path}");
        let known = self.names.get(&name).copied();
        let node = known.unwrap_or(self.nodes.len());
        self.files.insert(fd, Open::File { node, at: 0 });
        if known.is_none() {
            self.nodes.push(Node {
                new_data: name.ends_with(".new") && !name.ends_with(".index.new"),
                ..Node::default()
            });
            self.names.insert(name, node);
            self.named();
        } else if flags.contains("O_TRUNC") {
            self.change(node, Change::Length(0));
        }
        known.is_none() || flags.contains("O_TRUNC")
    }

    fn change(&mut self, node: usize, change: Change) -> bool {
        let node = &mut self.nodes[node];
        change.apply(&mut node.now);
        node.pending.push(change);
        true
    }

    fn named(&mut self) -> bool {
        self.pending.push(self.names.clone());
        true
    }

    fn sync(&mut self, fd: i64) -> bool {
        match self.files.get(&fd) {
            _ if !self.syncs => {}
            None => return false,
            Some(Open::Directory) => {
                self.durable.clone_from(&self.names);
                self.pending.clear();
            }
            Some(Open::File { node, .. }) => {
                let node = &mut self.nodes[*node];
                node.durable.clone_from(&node.now);
                node.pending.clear();
            }
        }
        self.files.contains_key(&fd)
    }

    fn rename(&mut self, from: &str, to: &str, away: bool) -> bool {
        let (Some(from), Some(to)) = (self.name(from), self.name(to)) else {
            return false;
        };
        let node = self.names[&from];
        if away {
            self.names.remove(&from);
        }
        self.names.insert(to, node);
        self.named()
    }

    fn unlink(&mut self, path: &str) -> bool {
        match self.name(path) {
            Some(name) => self.names.remove(&name).is_some() && self.named(),
            None => false,
        }
    }

    fn contents_now(&self) -> Contents {
        let content = |(name, node): (&String, &usize)| {
            let node = &self.nodes[*node];
            (name.clone(), (node.now.clone(), node.new_data))
        };
        self.names.iter().map(content).collect()
    }

    /// What is there after the power went, by name; changes of names are kept in their order, as journals do.
    fn cut(&self, kept: Kept<'_>) -> Contents {
        let mut random = match kept {
            Kept::Some(random) => Some(random),
            Kept::Nothing => None,
            Kept::Names => return self.contents(&self.names, None),
        };
        let names = match &mut random {
            Some(random) => match random.within(0, self.pending.len() as u64 + 1) as usize {
                0 => &self.durable,
                n => &self.pending[n - 1],
            },
            None => &self.durable,
        };
        self.contents(names, random)
    }

    fn contents(&self, names: &Names, mut random: Option<&mut Rng>) -> Contents {
        let content = |(name, node): (&String, &usize)| {
            let node = &self.nodes[*node];
            let mut bytes = node.durable.clone();
            for change in &node.pending {
                if random
                    .as_mut()
                    .is_some_and(|random| random.within(0, 2) == 0)
                {
                    change.apply(&mut bytes);
                }
            }
            (name.clone(), (bytes, node.new_data))
        };
        names.iter().map(content).collect()
    }
}

/// Name, arguments and result of a call that succeeded, in strace's spelling with `-f -xx`.
fn parse(line: &str) -> Option<(&str, Vec<&str>, i64)> {
    let (_pid, line) = line.split_once(' ')?;
    let (call, rest) = line.trim_start().split_once('(')?;
    let (args, result) = rest.rsplit_once(" = ")?;
    let args = args.trim_end().strip_suffix(')')?;
    let result = result.split(' ').next()?.parse().ok()?;
    (result >= 0).then(|| (call, args.split(", ").collect(), result))
}

fn number(arg: &str) -> i64 {
    arg.parse().unwrap_or(-1)
}

/// `"\x41\x42"`.
fn octets(arg: &str) -> Vec<u8> {
    let digits = arg.trim_matches('"').split("\\x").skip(1);
    digits
        .map(|hex| u8::from_str_radix(hex, 16).expect("two hex digits"))
        .collect()
}

fn text(arg: &str) -> String {
    String::from_utf8(octets(arg)).expect("a UTF-8 path")
}

/// Writes what was kept into a directory that holds nothing else. Files have other inodes there, and an index that
/// waits for its data file names that one's.
fn rebuild(directory: &Path, kept: &Contents) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir(directory).unwrap();
    for (name, (bytes, _)) in kept {
        fs::write(directory.join(name), bytes).unwrap();
    }
    let data = directory.join("carol");
    let is_new = kept.get("carol").is_some_and(|(_, new_data)| *new_data);
    if kept.contains_key("carol.index.new") {
        let index = rusqlite::Connection::open(layout::new_index(&data)).unwrap();
        let inode = if is_new {
            fs::metadata(&data).unwrap().ino()
        } else {
            0
        };
        let sql = "UPDATE cb_state SET value = ?1 WHERE key = 'inode'";
        // One that is not whole names none.
        let _ = index.execute(sql, [inode as i64]);
    }
}

/// What a good backup of carol is.
struct Good {
    living: Living,
    old: String,
    new: String,
}

impl Good {
    /// Reading works at once, writing mends; true: it is the new one.
    fn check(&self, path: &Path) -> Result<bool, String> {
        let whole = || match living(path) {
            Ok(living) if living == self.living => Ok(()),
            Ok(living) => Err(format!("{} messages are alive", living.len())),
            Err(error) => Err(error),
        };
        whole()?;
        let data = said(path);
        if data != self.old && data != self.new {
            return Err("the data file is neither the old nor the new one".to_owned());
        }
        Appender::open(path, true).map_err(|e| e.detail().to_string())?;
        if layout::new_data(path).exists() || layout::new_index(path).exists() {
            return Err("left-overs stay".to_owned());
        }
        whole().map(|()| data == self.new)
    }
}

fn power_cuts(line: &str, points: u64) {
    let Some(place) = Place::new() else { return };
    place.configure("backup_retention: 1s\nbackup_compact_minsize: 1\n");
    place.ours("ctl_backups reindex carol");
    // Only carol's files: each state is written out whole.
    for entry in fs::read_dir(place.path("b")).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("carol")
        {
            fs::remove_file(path).unwrap();
        }
    }
    let path = place.path("b/carol");
    let (alive, old) = (living(&path).unwrap(), said(&path));
    assert!(!alive.is_empty());
    let mut disks = [true, false].map(|syncs| Disk::of(&place.path("b"), syncs));
    let trace = place.traced(line, CALLS, 100_000_000);
    let good = Good {
        living: alive,
        old,
        new: said(&path),
    };

    let calls: Vec<&str> = trace.lines().collect();
    let copy = place.path("cut");
    let mut random = Rng::new(20_261_124);
    let [disk, no_syncs] = &mut disks;
    let (mut states, mut news, mut lost, mut broken) = (0, 0, 0, 0);
    let mut counted = disk.clone();
    let changes = calls.iter().filter(|call| counted.call(call)).count() as u64;
    let every = (changes / points).max(1);
    let mut number = 0;
    for call in &calls {
        no_syncs.call(call);
        if !disk.call(call) {
            continue;
        }
        number += 1;
        if number % every != 0 {
            continue;
        }
        for how in 0..4 {
            let kept = match how {
                0 => disk.cut(Kept::Nothing),
                1 => disk.cut(Kept::Names),
                _ => disk.cut(Kept::Some(&mut random)),
            };
            lost += usize::from(kept != disk.contents_now());
            rebuild(&copy, &kept);
            let new = good.check(&copy.join("carol"));
            let new = new.unwrap_or_else(|e| panic!("{line}: call {number}, {how}: {e}: {call}"));
            news += usize::from(new);
            states += 1;
            if states % 40 == 0 {
                place.give_all("cut");
                let verified = place.c("ctl_backups -w verify -f cut/carol");
                assert_eq!(verified.code, Some(0), "{}", verified.out);
            }
        }
        let kept = no_syncs.cut(Kept::Some(&mut random));
        rebuild(&copy, &kept);
        broken += usize::from(good.check(&copy.join("carol")).is_err());
    }
    println!("{line}: {changes} changes, {states} states, {news} new, {lost} lost something");
    for (name, (bytes, _)) in disk.contents_now() {
        assert!(
            fs::read(place.path("b").join(&name)).unwrap() == bytes,
            "{name}: the simulation is not the disk"
        );
    }
    assert!(lost > states / 4 && (news > 0 || good.old == good.new));
    // Without syncs this would be seen.
    assert!(broken > 0, "a disk that syncs nothing does no harm");
}

#[test]
fn compact_survives_power_cuts() {
    power_cuts("ctl_backups -F compact carol", how_many());
}

#[test]
fn reindex_survives_power_cuts() {
    power_cuts("ctl_backups reindex carol", how_many());
}

fn how_many() -> u64 {
    if std::env::var_os("SOAK").is_some() {
        u64::MAX
    } else {
        60
    }
}

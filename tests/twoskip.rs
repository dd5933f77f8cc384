//! backups.db beside real Cyrus: `cyr_dbtool` reads and continues what we write and we what it
//! writes, also when both write at once or are killed.
//!
//! Without `cyr_dbtool` these tests skip loudly; where `CI` is set they fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cyrusbackup::store::twoskip::{Error, Fault, Twoskip};
use tempfile::TempDir;

const BIN: &str = "/usr/lib/cyrus/bin";

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
/// Key, and its new value or `None` to delete it.
type Change = (String, Option<String>);

#[test]
fn each_side_continues_what_the_other_wrote() {
    let Some(cyrus) = Cyrus::find() else { return };
    let path = cyrus.path("backups.db");
    let db = Twoskip::new(&path);
    let mut model = Model::new();
    let mut repacked = 0;
    for round in 0..120 {
        let changes: Vec<Change> = (0..1 + random(6))
            .map(|_| (some_key(), (random(3) > 0).then(some_value)))
            .collect();
        if round % 2 == 0 {
            let before = fs::metadata(&path).map_or(0, |data| data.len());
            change_ours(&db, &changes);
            repacked += usize::from(fs::metadata(&path).unwrap().len() < before);
        } else {
            cyrus.batch(&path, &script(&changes));
        }
        for (key, value) in changes {
            match value {
                Some(value) => model.insert(key.into(), value.into()),
                None => model.remove(key.as_bytes()),
            };
        }
        if round % 41 == 40 {
            cyrus.run(&path, &["repack"]);
        }
        cyrus.assert_holds(&path, &model);
    }
    assert!(repacked > 0, "none of our commits was followed by a repack");
}

fn change_ours(db: &Twoskip, changes: &[Change]) {
    db.update(|transaction| {
        for (key, value) in changes {
            match value {
                Some(value) => transaction.store(key.as_bytes(), value.as_bytes())?,
                None => drop(transaction.delete(key.as_bytes())?),
            }
        }
        Ok::<_, Error>(())
    })
    .unwrap();
}

fn script(changes: &[Change]) -> String {
    let line = |(key, value): &Change| match value {
        Some(value) => format!("SET {key} {value}\n"),
        None => format!("DELETE {key}\n"),
    };
    let lines: String = changes.iter().map(line).collect();
    format!("BEGIN\n{lines}COMMIT\n")
}

#[test]
fn long_keys_and_values_read_back() {
    let Some(cyrus) = Cyrus::find() else { return };
    let path = cyrus.path("long.db");
    let db = Twoskip::new(&path);
    let entries = [
        ("k".repeat(70_000), "short".to_owned()),
        ("short".to_owned(), "v".repeat(90_000)),
    ];
    let model: Model = entries
        .into_iter()
        .map(|(k, v)| (k.into(), v.into()))
        .collect();
    db.update(|transaction| model.iter().try_for_each(|(k, v)| transaction.store(k, v)))
        .unwrap();
    cyrus.assert_holds(&path, &model);
    cyrus.run(&path, &["repack"]);
    cyrus.assert_holds(&path, &model);
    db.replace(model.clone()).unwrap();
    cyrus.assert_holds(&path, &model);
}

#[test]
fn each_waits_for_the_other() {
    let Some(cyrus) = Cyrus::find() else { return };
    let path = cyrus.path("waits.db");
    let db = Twoskip::new(&path);
    let mut waiting = db
        .update(|transaction| {
            transaction.store(b"ours", b"1")?;
            let set = &["set", "theirs", "1"];
            let mut child = cyrus.command(&path, set).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(150));
            assert!(
                child.try_wait().unwrap().is_none(),
                "cyr_dbtool did not wait"
            );
            Ok::<_, Error>(child)
        })
        .unwrap();
    assert!(waiting.wait().unwrap().success());

    let mut holder = cyrus.start_batch(&path);
    let mut input = holder.stdin.take().unwrap();
    input.write_all(b"BEGIN\nSET theirs 2\n").unwrap();
    wait_until(|| is_unclean(&path));
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| tell.send(db.get(b"theirs").unwrap()).unwrap());
        let early = told.recv_timeout(Duration::from_millis(150));
        assert!(early.is_err(), "we did not wait");
        input.write_all(b"COMMIT\n").unwrap();
        drop(input);
        let late = told.recv_timeout(Duration::from_secs(60));
        assert_eq!(late.unwrap().as_deref(), Some(&b"2"[..]));
    });
    assert!(holder.wait().unwrap().success());
}

#[test]
fn nothing_is_lost_when_many_write_at_once() {
    let Some(cyrus) = Cyrus::find() else { return };
    let path = cyrus.path("hammered.db");
    let mut model = Model::new();
    let mut expect = |writer: &str| {
        model.extend((0..ROUNDS).map(|round| (own_key(writer, round), own_value(round))));
    };
    std::thread::scope(|scope| {
        for writer in ["thread-1", "thread-2", "thread-3"] {
            expect(writer);
            scope.spawn(|| hammer(&path, writer));
        }
        for writer in ["process-1", "process-2"] {
            expect(writer);
            let child = helper("hammer", &path, writer);
            scope.spawn(move || told(child.wait_with_output().unwrap()));
        }
        for writer in ["cyrus-1", "cyrus-2"] {
            expect(writer);
            scope.spawn(|| hammer_with_c(&cyrus, &path, writer));
        }
        let db = Twoskip::new(&path);
        (0..200).for_each(|_| db.check().unwrap());
    });
    let counted = (5 * ROUNDS).to_string();
    model.insert(b"counter".into(), counted.into());
    cyrus.assert_holds(&path, &model);
    let generation = fs::read(&path).unwrap()[31];
    assert!(generation > 1, "nobody repacked");
}

const ROUNDS: u64 = 60;

/// Every third key is written twice; the later value stays.
fn own_key(writer: &str, round: u64) -> Vec<u8> {
    format!("{writer}-{}", round % 40).into()
}

fn own_value(round: u64) -> Vec<u8> {
    format!("/backups/{round}/{}", "y".repeat(100)).into()
}

/// Stores own keys, and counts in one that all share.
fn hammer(path: &Path, writer: &str) {
    let db = Twoskip::new(path);
    for round in 0..ROUNDS {
        db.update(|transaction| {
            let counted = transaction
                .get(b"counter")?
                .map_or(0, |value| number(&value));
            transaction.store(b"counter", (counted + 1).to_string().as_bytes())?;
            transaction.store(&own_key(writer, round), &own_value(round))
        })
        .unwrap();
    }
}

fn hammer_with_c(cyrus: &Cyrus, path: &Path, writer: &str) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    for round in 0..ROUNDS {
        let (key, value) = (text(own_key(writer, round)), text(own_value(round)));
        cyrus.run(path, &["set", &key, &value]);
    }
}

#[test]
fn a_killed_writer_of_ours_loses_nothing_it_acknowledged() {
    let Some(cyrus) = Cyrus::find() else { return };
    let path = cyrus.path("killed.db");
    let mut unclean = 0;
    for _ in 0..25 {
        let mut child = helper("count", &path, "");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = next_number(&mut lines).unwrap();
        std::thread::sleep(Duration::from_micros(random(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(number) = next_number(&mut lines) {
            acknowledged = number;
        }
        unclean += usize::from(is_unclean(&path));
        let found = agree_on(&cyrus, &path);
        let first = number(&found[&b"first"[..]]);
        assert!((acknowledged..=acknowledged + 1).contains(&first));
        assert_eq!(first, number(&found[&b"last"[..]]), "half a transaction");
    }
    assert!(unclean > 0, "no kill hit an open transaction");
}

#[test]
fn a_killed_writer_of_cs_leaves_what_both_repair_alike() {
    let Some(cyrus) = Cyrus::find() else { return };
    let path = cyrus.path("c-killed.db");
    let mut unclean = 0;
    for _ in 0..25 {
        let mut child = cyrus.start_batch(&path);
        let mut input = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            let stores = || (0..40).map(|_| (some_key(), Some(some_value())));
            let changes = || stores().collect::<Vec<Change>>();
            while input.write_all(script(&changes()).as_bytes()).is_ok() {}
        });
        wait_until(|| fs::metadata(&path).is_ok_and(|data| data.len() > 500));
        std::thread::sleep(Duration::from_micros(15_000 + random(30_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        feeder.join().unwrap();
        unclean += usize::from(is_unclean(&path));
        agree_on(&cyrus, &path);
    }
    assert!(unclean > 0, "no kill hit an open transaction");
}

/// Lets both sides repair a copy of their own, and reads both copies with both.
fn agree_on(cyrus: &Cyrus, path: &Path) -> Model {
    let (ours, theirs) = (cyrus.path("ours.db"), cyrus.path("theirs.db"));
    fs::copy(path, &ours).unwrap();
    fs::copy(path, &theirs).unwrap();
    let found = contents(&Twoskip::new(&ours));
    assert_eq!(cyrus.show(&theirs), found);
    assert!(!is_unclean(&ours) && !is_unclean(&theirs));
    cyrus.assert_holds(&ours, &found);
    cyrus.assert_holds(&theirs, &found);
    found
}

#[test]
fn a_skiplist_file_is_refused_with_a_hint_that_works() {
    let Some(cyrus) = Cyrus::find() else { return };
    let (old, new) = (cyrus.path("old.db"), cyrus.path("new.db"));
    let mut command = cyrus.tool("cyr_dbtool");
    command.arg("-n").arg(&old);
    told(
        command
            .args(["skiplist", "set", "anne", "/b/a"])
            .output()
            .unwrap(),
    );
    let error = Twoskip::new(&old).get(b"anne").unwrap_err();
    assert!(matches!(error.fault, Fault::Skiplist));
    let hint = "cvt_cyrusdb OLD skiplist NEW twoskip";
    assert!(error.to_string().contains(hint), "{error}");

    let mut command = cyrus.tool("cvt_cyrusdb");
    command.arg(&old).arg("skiplist").arg(&new).arg("twoskip");
    told(command.output().unwrap());
    let converted = Twoskip::new(&new).get(b"anne").unwrap();
    assert_eq!(converted.as_deref(), Some(&b"/b/a"[..]));
}

/// Cyrus' tools, and a directory that they may work in.
struct Cyrus {
    dir: TempDir,
}

impl Cyrus {
    fn find() -> Option<Cyrus> {
        let tool = Path::new(BIN).join("cyr_dbtool");
        if !tool.exists() {
            let missing = format!("{} is missing", tool.display());
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("SKIPPED: {missing}; Debian has it in cyrus-common");
            return None;
        }
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let cyrus = Cyrus { dir: dir.unwrap() };
        let conf = cyrus.path("conf");
        fs::create_dir_all(conf.join("db")).unwrap();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
        let user = user.unwrap().unwrap().name;
        let text = format!("configdirectory: {}\ncyrus_user: {user}\n", conf.display());
        fs::write(cyrus.path("imapd.conf"), text).unwrap();
        Some(cyrus)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tool(&self, name: &str) -> Command {
        let places = [BIN, "/usr/sbin"].map(|dir| Path::new(dir).join(name));
        let tool = places.iter().find(|tool| tool.exists());
        let mut command = Command::new(tool.expect("comes with cyr_dbtool"));
        command.arg("-C").arg(self.path("imapd.conf"));
        bounded(&mut command);
        command
    }

    fn command(&self, db: &Path, arguments: &[&str]) -> Command {
        let mut command = self.tool("cyr_dbtool");
        command.arg("-n").arg(db).arg("twoskip").args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, db: &Path, arguments: &[&str]) -> String {
        let mut command = self.command(db, arguments);
        told(command.stdin(Stdio::null()).output().unwrap())
    }

    /// Reads transactions from its standard input.
    fn start_batch(&self, db: &Path) -> Child {
        self.command(db, &["batch"]).spawn().unwrap()
    }

    fn batch(&self, db: &Path, script: &str) {
        let mut child = self.start_batch(db);
        let mut input = child.stdin.take().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        drop(input);
        told(child.wait_with_output().unwrap());
    }

    fn show(&self, db: &Path) -> Model {
        let shown = self.run(db, &["show"]);
        let entries = shown.lines().map(|line| line.split_once('\t').unwrap());
        entries
            .map(|(key, value)| (key.into(), value.into()))
            .collect()
    }

    /// Both sides find this, and nothing wrong.
    fn assert_holds(&self, db: &Path, expected: &Model) {
        let ours = Twoskip::new(db);
        ours.check().unwrap();
        assert_eq!(contents(&ours), *expected);
        assert_eq!(self.show(db), *expected);
        assert_eq!(self.run(db, &["consistent"]).trim(), "Yes, consistent");
    }
}

fn told(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn contents(db: &Twoskip) -> Model {
    db.entries(b"").unwrap().into_iter().collect()
}

/// What the header and the length say (ondisk 3.8).
fn is_unclean(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    let size = u64::from_be_bytes(bytes[48..56].try_into().unwrap());
    bytes[59] & 1 != 0 || size != bytes.len() as u64
}

fn wait_until(happened: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited too long");
}

fn random(below: u64) -> u64 {
    std::hash::RandomState::new().build_hasher().finish() % below
}

fn some_key() -> String {
    format!("user{}", random(120))
}

fn some_value() -> String {
    format!("/backups/{}/", random(1000)) + &"x".repeat(random(250) as usize)
}

fn number(text: &[u8]) -> u64 {
    str::from_utf8(text).unwrap().parse().unwrap()
}

fn next_number(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Option<u64> {
    lines.find_map(|line| line.ok()?.strip_prefix("acknowledged ")?.parse().ok())
}

/// Starts this test program again as a process of its own.
/// A program that does not end by itself is ended by a signal after two minutes, which its test then tells.
fn bounded(command: &mut Command) {
    // SAFETY: alarm(2) may be called between fork and exec, and lasts beyond exec.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(120);
            Ok(())
        });
    }
}

fn helper(job: &str, path: &Path, writer: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    bounded(&mut command);
    command
        .args(["--exact", "helper_process", "--ignored", "--nocapture"])
        .env("TWOSKIP_JOB", job)
        .env("TWOSKIP_PATH", path)
        .env("TWOSKIP_WRITER", writer)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "not a test: the other tests start it as a second process"]
fn helper_process() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let path = PathBuf::from(variable("TWOSKIP_PATH"));
    match variable("TWOSKIP_JOB").as_str() {
        "hammer" => hammer(&path, &variable("TWOSKIP_WRITER")),
        "count" => count(&path),
        _ => eprintln!("nothing to do"),
    }
}

/// Changes many keys at once, an ever larger number first and last among them, until it is killed;
/// tells each number that is safe.
fn count(path: &Path) {
    let db = Twoskip::new(path);
    let last = db.get(b"last").unwrap().map_or(0, |value| number(&value));
    for next in last + 1.. {
        db.update(|transaction| {
            transaction.store(b"first", next.to_string().as_bytes())?;
            for _ in 0..20 {
                match random(3) {
                    0 => drop(transaction.delete(some_key().as_bytes())?),
                    _ => transaction.store(some_key().as_bytes(), some_value().as_bytes())?,
                }
            }
            transaction.store(b"last", next.to_string().as_bytes())
        })
        .unwrap();
        println!("acknowledged {next}");
    }
}

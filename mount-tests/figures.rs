//! Figures, not promises: the mount (cold) against the same files on the file system of the target
//! directory (cold), against C's `cyr_backup dump message`, and against restic and borg mounts of the
//! same files. Only with `FIGURES=MEGABYTES` (and `FIGURES_ONLY=files|mount|c|compacted|peers` for a part of it, `FIGURES_RANDOM=1`
//! for random messages alone); `make figures` builds for it. Needs root to drop caches.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cyrusbackup::store::member::MemberWriter;
use cyrusbackup::types::Guid;

use crate::support::{Scratch, can_mount, sh, umount};

const C_TOOL: &str = "/usr/lib/cyrus/bin/cyr_backup";

/// Text like mail: words, and now and then an attachment.
fn mail(number: u64) -> Vec<u8> {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let words = [
        "meeting",
        "lighthouse",
        "invoice",
        "the",
        "and",
        "tomorrow",
        "regards",
        "please",
    ];
    let mut text = format!(
        "From: a{}@example.com\r\nSubject: message {number}\r\nMessage-ID: <{}@x>\r\n\r\n",
        next() % 500,
        next()
    );
    let size = match next() % 20 {
        0 => 100_000 + next() % 200_000,
        _ => 1_000 + next() % 9_000,
    };
    while (text.len() as u64) < size {
        match size > 50_000 {
            true => text.push_str(&format!("{:016x}{:016x}\r\n", next(), next())),
            false => {
                text.push_str(words[(next() % 8) as usize]);
                text.push_str(if next() % 9 == 0 { "\r\n" } else { " " });
            }
        }
    }
    text.into_bytes()
}

struct Corpus {
    scratch: Scratch,
    files: PathBuf,
    uids: u32,
    guids: Vec<Guid>,
}

fn corpus(megabytes: usize, dir: &Path) -> Corpus {
    let scratch = Scratch::empty("anne_AAAAAA");
    let files = dir.join("files/mailboxes/INBOX");
    std::fs::create_dir_all(&files).unwrap();
    let (mut bytes, mut bodies, mut guids) = (0, Vec::new(), Vec::new());
    while bytes < megabytes << 20 {
        let body = mail(guids.len() as u64);
        bytes += body.len();
        guids.push(Guid::of(&body));
        std::fs::write(files.join(format!("{}.eml", guids.len())), &body).unwrap();
        bodies.push(body);
    }
    scratch.append("user.anne", &bodies, 50);
    println!("{} messages, {} MB", bodies.len(), bytes >> 20);
    Corpus {
        scratch,
        files: dir.join("files"),
        uids: bodies.len() as u32,
        guids,
    }
}

fn cold() {
    sh(&mut Command::new("sync"));
    std::fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
}

fn timed(script: &str, dir: &Path) -> Duration {
    let start = Instant::now();
    sh(Command::new("sh").args(["-c", script]).current_dir(dir));
    start.elapsed()
}

/// p50 and p99 of reading one message, each time another one, cold at first.
fn random(dir: &Path, uids: u32, count: u32) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..count)
        .map(|n| {
            let uid = 1 + n.wrapping_mul(2_654_435_761) % uids;
            let start = Instant::now();
            let octets = std::fs::read(dir.join(format!("{uid}.eml"))).unwrap();
            assert!(!octets.is_empty());
            start.elapsed()
        })
        .collect();
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// A mount of something else; ends with the value.
struct Other {
    child: Child,
    dir: PathBuf,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.dir).status();
        let _ = self.child.wait();
    }
}

fn other(mut command: Command, dir: &Path, inside: &str) -> Option<(Other, PathBuf)> {
    std::fs::create_dir_all(dir).unwrap();
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let other = Other {
        child,
        dir: dir.to_owned(),
    };
    for _ in 0..300 {
        let found = Command::new("sh")
            .args(["-c", &format!("ls -d {}/{inside}", dir.display())])
            .output();
        if let Ok(found) = found
            && found.status.success()
        {
            let path = String::from_utf8(found.stdout).unwrap();
            return Some((other, path.lines().next()?.into()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

fn line(name: &str, dir: &Path, uids: u32, remount: &mut dyn FnMut()) {
    let jobs = [
        ("tar", "tar -cf - mailboxes | cat >/dev/null"),
        (
            "cp",
            "rm -rf /dev/shm/figures.cp; cp -a mailboxes /dev/shm/figures.cp",
        ),
        ("find", "find mailboxes -ls >/dev/null"),
        ("grep", "grep -r -c zebra mailboxes >/dev/null || true"),
    ];
    let mut said = format!("{name:8}");
    let all = std::env::var_os("FIGURES_RANDOM").is_none();
    for (job, script) in jobs.into_iter().filter(|_| all) {
        remount();
        cold();
        let took = timed(script, dir);
        said += &format!("  {job} {:.2} s", took.as_secs_f64());
    }
    let _ = std::fs::remove_dir_all("/dev/shm/figures.cp");
    remount();
    cold();
    let (p50, p99) = random(&dir.join("mailboxes/INBOX"), uids, 500);
    println!(
        "{said}  one p50 {:.2} ms p99 {:.2} ms",
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3
    );
}

#[test]
fn figures_when_asked_for() {
    let Some(megabytes) = std::env::var("FIGURES")
        .ok()
        .and_then(|text| text.parse().ok())
    else {
        return;
    };
    if !can_mount() {
        return;
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let corpus = corpus(megabytes, dir.path());
    let place = dir.path().join("mount");
    std::fs::create_dir(&place).unwrap();
    let only = std::env::var("FIGURES_ONLY").ok();
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("files") {
        line("files", &corpus.files, corpus.uids, &mut || {});
    }
    if wanted("mount") {
        mounted("mount", "ro", &corpus, &place);
        // As the mounts of others are.
        mounted("noxattr", "noxattr", &corpus, &place);
    }
    if wanted("c") && Path::new(C_TOOL).exists() {
        let mut times: Vec<_> = corpus
            .guids
            .iter()
            .step_by(corpus.guids.len() / 10)
            .map(|guid| {
                let start = Instant::now();
                let path = corpus.scratch.path();
                let conf = imapd_conf(dir.path());
                let done = Command::new(C_TOOL)
                    .arg("-C")
                    .arg(conf)
                    .arg("-f")
                    .arg(path)
                    .args(["dump", "message", &guid.to_string()])
                    .env("CYRUS_USER", "root")
                    .output()
                    .unwrap();
                (start.elapsed(), done.stdout.len())
            })
            .collect();
        times.sort();
        println!(
            "C dump message: {:.0} ms (median of {}, {} bytes)",
            times[times.len() / 2].0.as_secs_f64() * 1e3,
            times.len(),
            times[times.len() / 2].1
        );
    }
    if wanted("compacted") {
        compacted_by_c(&corpus, dir.path(), &place);
    }
    if wanted("peers") {
        peers(&corpus, dir.path());
    }
}

/// Our mount, a new one for each job.
fn mounted(name: &str, options: &str, corpus: &Corpus, place: &Path) {
    let mut mounted = false;
    let mut remount = || {
        if mounted {
            umount(place);
        }
        mounted = true;
        sh(Command::new(binary())
            .arg(corpus.scratch.spec())
            .arg(place)
            .args(["-o", options]));
    };
    line(name, place, corpus.uids, &mut remount);
    umount(place);
}

/// The same messages as C's compact leaves them: one chunk, one line, no flush in it, and no table of ours in
/// the index. (C's compact itself takes hours: it inflates a chunk for each message.)
fn compacted_by_c(corpus: &Corpus, dir: &Path, place: &Path) {
    let data = dir.join("anne_CCCCCC");
    write_as_c(corpus, &data);
    for mount in ["first", "second"] {
        cold();
        let spec = format!("file:{}", data.display());
        sh(Command::new(binary()).arg(spec).arg(place));
        let inbox = place.join("mailboxes/INBOX");
        let start = Instant::now();
        std::fs::read(inbox.join(format!("{}.eml", corpus.uids / 2))).unwrap();
        let first = start.elapsed();
        let (p50, p99) = random(&inbox, corpus.uids, 100);
        println!(
            "C-compacted, {mount} mount: first message {:.0} ms, then p50 {:.2} ms p99 {:.2} ms",
            first.as_secs_f64() * 1e3,
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3
        );
        umount(place);
    }
    let size = |name: &str| dir.join(name).metadata().map_or(0, |meta| meta.len() >> 20);
    println!(
        "C-compacted: {} MB, {} MB of it kept beside",
        size("anne_CCCCCC"),
        size("anne_CCCCCC.seek")
    );
}

fn write_as_c(corpus: &Corpus, data: &Path) {
    let mut writer = MemberWriter::new();
    let mut file = std::fs::File::create(data).unwrap();
    let mut put = |bytes: &[u8]| {
        writer.write(bytes).unwrap();
        file.write_all(&writer.take()).unwrap();
    };
    put(b"# cyrus backup: chunk start\r\n1700000000 APPLY MESSAGE (");
    let mut records = Vec::new();
    for (uid, guid) in (1..).zip(&corpus.guids) {
        let octets =
            std::fs::read(corpus.files.join(format!("mailboxes/INBOX/{uid}.eml"))).unwrap();
        let size = octets.len();
        put(format!("%{{default {guid} {size}}}\r\n").as_bytes());
        put(&octets);
        put(if uid < corpus.uids { b" " } else { b")\r\n" });
        records.push(format!(
            "%(UID {uid} MODSEQ {uid} LAST_UPDATED 1700000000 FLAGS () INTERNALDATE 1600000000 SIZE {size} GUID {guid})"
        ));
    }
    let last = corpus.uids;
    put(format!(
        "1700000000 APPLY MAILBOX %(UNIQUEID u1 MBOXNAME user.anne LAST_UID {last} HIGHESTMODSEQ {last} \
         RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 PARTITION default \
         ACL \"anne\tlrs\t\" OPTIONS P RECORD ({}))\r\n",
        records.join(" ")
    )
    .as_bytes());
    writer.finish().unwrap();
    file.write_all(&writer.take()).unwrap();
    sh(Command::new(env!("CARGO_BIN_EXE_ctl_backups"))
        .arg("-C")
        .arg(imapd_conf(data.parent().unwrap()))
        .args(["reindex", "-f"])
        .arg(data));
    let index = rusqlite::Connection::open(data.with_file_name("anne_CCCCCC.index")).unwrap();
    index.execute_batch("DELETE FROM cb_seek").unwrap();
}

/// For C's tools, which run as root here.
fn imapd_conf(dir: &Path) -> PathBuf {
    let (conf, root) = (dir.join("imapd.conf"), dir.display());
    let text = format!(
        "configdirectory: {root}\npartition-default: {root}\nbackuppartition-default: {root}\n\
         backup_db_path: {root}/backups.db\nadmins: x\ncyrus_user: root\n"
    );
    std::fs::write(&conf, text).unwrap();
    conf
}

fn peers(corpus: &Corpus, dir: &Path) {
    let (repo, place) = (dir.join("restic"), dir.join("restic-mount"));
    let restic = || {
        let mut command = Command::new("restic");
        command
            .arg("-r")
            .arg(&repo)
            .env("RESTIC_PASSWORD", "x")
            .env("HOME", dir);
        command
    };
    if restic()
        .arg("init")
        .output()
        .is_ok_and(|done| done.status.success())
    {
        sh(restic().arg("backup").arg(".").current_dir(&corpus.files));
        let mut command = restic();
        command.arg("mount").arg(&place);
        if let Some((_other, root)) = other(command, &place, "snapshots/latest/") {
            line("restic", &root, corpus.uids, &mut || {});
        }
    }
    let (repo, place) = (dir.join("borg"), dir.join("borg-mount"));
    let borg = || {
        let mut command = Command::new("borg");
        command
            .env("HOME", dir)
            .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command
    };
    if borg()
        .args(["init", "-e", "none"])
        .arg(&repo)
        .output()
        .is_ok_and(|done| done.status.success())
    {
        let archive = format!("{}::one", repo.display());
        sh(borg()
            .args(["create", &archive, "."])
            .current_dir(&corpus.files));
        let mut command = borg();
        command.args(["mount", "-f", &archive]).arg(&place);
        if let Some((_other, root)) = other(command, &place, "mailboxes/INBOX") {
            let root = root.parent().unwrap().parent().unwrap().to_owned();
            line("borg", &root, corpus.uids, &mut || {});
        }
    }
}

/// `FIGURES_BINARY`: another build of the program than the one that goes with this test.
fn binary() -> String {
    let ours = env!("CARGO_BIN_EXE_mount-cyrusbackup").to_owned();
    std::env::var("FIGURES_BINARY").unwrap_or(ours)
}

//! A seeded script of IMAP actions against real clients of three versions. After each action the change is sent
//! in one of the client's modes, a further run must send no APPLY, what we hold must be what IMAP has, and what
//! IMAP has must be what it was before the run.
//!
//! `SOAK=1` runs 300 actions instead of a few; `SCRIPT_SEED` and `SCRIPT_STEPS` choose others.

use std::collections::BTreeMap;

use crate::folders::append;
use crate::rig::{Cyrus, Engine, Imap, Mail, Rng, Sieve};
use crate::state::{MailState, held, on_server};
use crate::world::World;

const USERS: [&str; 3] = ["anne", "bob.c", "carl"];
const SHARED: [&str; 2] = ["team", "team/dev"];

#[test]
fn script_3_6() {
    script(Cyrus::find(), 60, "");
}

#[test]
fn script_3_10() {
    script(Cyrus::find_newer("trixie"), 30, "");
}

#[test]
fn script_3_12() {
    script(Cyrus::find_newer("sid"), 30, "");
}

/// With a cache the client sends APPLY without asking first.
#[test]
fn script_3_12_with_a_sync_cache() {
    let cache = "sync_cache_db_path: @B@/conf/sync-cache.db\n";
    script(Cyrus::find_newer("sid"), 20, cache);
}

/// The mail server becomes newer under the same backup.
#[test]
fn script_3_6_then_3_10_then_3_12() {
    let Some(first) = Cyrus::find() else { return };
    let newer = [Cyrus::find_newer("trixie"), Cyrus::find_newer("sid")];
    let [Some(second), Some(third)] = newer else {
        return;
    };
    let steps = steps(5).min(100);
    let options = "allowusermoves: yes\n";
    let Some(world) = World::of(first, Engine::Ours, options) else {
        return;
    };
    let mut script = Script::new(world, seed());
    let versions = [("3.6.", first), ("3.10.", second), ("3.12.", third)];
    for (n, (number, version)) in versions.into_iter().enumerate() {
        if n > 0 {
            script.world.source.change_version(version);
            script.as_before(&format!("upgrade to {number}"));
        }
        let greeting = Imap::greeting(script.world.source.imap_port());
        assert!(
            greeting.contains(&format!("Cyrus IMAP {number}")),
            "{greeting}"
        );
        for step in 0..steps {
            script.step(n * steps + step);
        }
        script.world.backup.verify_with_c(number);
    }
}

fn script(cyrus: Option<Cyrus>, steps_by_default: usize, options: &str) {
    let Some(cyrus) = cyrus else { return };
    let options = format!("allowusermoves: yes\n{options}");
    let Some(world) = World::of(cyrus, Engine::Ours, &options) else {
        return;
    };
    let mut script = Script::new(world, seed());
    for step in 0..steps(steps_by_default) {
        script.step(step);
    }
    script.world.backup.verify_with_c("at the end");
}

fn steps(by_default: usize) -> usize {
    let soak = std::env::var_os("SOAK").map(|_| 300);
    number("SCRIPT_STEPS").or(soak).unwrap_or(by_default)
}

fn seed() -> u64 {
    number("SCRIPT_SEED").unwrap_or(20_261_124) as u64
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

pub(crate) struct Script {
    pub(crate) world: World,
    rng: Rng,
    mail: Mail,
    /// Names that carl has had go round.
    renamed: bool,
    seed: u64,
    told: Vec<String>,
}

impl Script {
    pub(crate) fn new(mut world: World, seed: u64) -> Script {
        let mut mail = Mail::new(seed);
        for user in USERS {
            let mut imap = world.source.add_user(user);
            world.user(user);
            imap.create("INBOX/first");
            append(&mut imap, "INBOX", &[mail.small(), mail.small()]);
        }
        world
            .source
            .instance
            .add_password("dora", crate::rig::PASSWORD);
        for name in SHARED {
            let mut admin = world.source.admin();
            admin.create(name);
            admin.set_acl(name, "anyone", "lrswipkxtecdan");
            admin.set_acl(name, "admin", "lrswipkxtecdan");
            world.shared(name);
        }
        for user in USERS {
            let admin = &mut world.source.admin();
            admin.set_acl(&format!("user/{user}"), "admin", "lrswipkxtecda");
        }
        Script {
            world,
            rng: Rng::new(seed),
            mail,
            renamed: false,
            seed,
            told: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, step: usize) {
        let rolling = match step % 3 {
            2 => {
                // What came before is sent, so the daemon begins with this step.
                self.world.source.forget_log();
                Some(())
            }
            _ => None,
        };
        let mut daemon = rolling.map(|()| self.world.source.roll());
        let told = self.act();
        let name = format!("seed {}, step {step}: {told}", self.seed);
        self.told.push(told);
        if std::env::var_os("SCRIPT_TRACE").is_some() {
            eprintln!("{name}");
        }
        let before = on_server(&self.world);
        match &mut daemon {
            Some(daemon) => {
                daemon.settle();
                self.world.nothing_refused(&name);
            }
            None if step % 3 == 1 => self.world.sync_mailboxes(&name),
            None => {}
        }
        drop(daemon);
        // A rolling client says nothing of a user who came back before it looked.
        if step % 3 != 2 || name.ends_with("made again") {
            self.world.sync(&name);
        }
        self.world.second_run_sends_nothing(&name);
        let after = on_server(&self.world);
        same(&name, "IMAP before and after the run", &before, &after);
        same(&name, "IMAP and the backup", &after, &held(&self.world));
    }

    /// Nothing has changed but the server's version: what runs now sends what that makes of it, and both sides
    /// are the same.
    fn as_before(&mut self, name: &str) {
        self.world.sync(name);
        self.world.second_run_sends_nothing(name);
        same(
            name,
            "IMAP and the backup",
            &on_server(&self.world),
            &held(&self.world),
        );
    }

    fn act(&mut self) -> String {
        let user = self.pick(&["anne", "bob.c", "anne", "bob.c", "carl"]);
        let user = match (user, self.renamed) {
            ("carl", true) => "dora",
            (user, _) => user,
        };
        let mut imap = self.world.source.imap(user);
        let folders: Vec<String> = imap
            .list()
            .into_iter()
            .filter(|name| name.starts_with("INBOX"))
            .collect();
        let below: Vec<&String> = folders.iter().filter(|name| *name != "INBOX").collect();
        let folder = folders[self.rng.within(0, folders.len() as u64) as usize].clone();
        let other = folders[self.rng.within(0, folders.len() as u64) as usize].clone();
        let child = match below.len() {
            0 => None,
            n => Some(below[self.rng.within(0, n as u64) as usize].clone()),
        };
        let fresh = format!("INBOX/{}", self.word());
        let kind = self.rng.within(0, 25);
        let what = match (kind, child) {
            (0, _) => {
                let name = format!("{folder}/{}", self.word());
                let done = imap.attempt(&format!("CREATE \"{name}\"")).map(drop);
                format!("create {name}: {done:?}")
            }
            (1..=4, _) => {
                let count = self.rng.within(1, 5);
                let mut bodies: Vec<Vec<u8>> = (0..count).map(|_| self.mail.small()).collect();
                let again = format!("Subject: twice\r\n\r\n{}\r\n", self.rng.within(0, 30));
                bodies.push(again.into_bytes());
                append(&mut imap, &folder, &bodies);
                format!("append {count} to {folder}")
            }
            (5 | 6, _) => {
                imap.select(&folder);
                let uids = self.uids(&mut imap, &folder);
                let how = self.pick(&[
                    "+FLAGS.SILENT (\\Seen $Label1)",
                    "-FLAGS.SILENT (\\Seen)",
                    "+FLAGS.SILENT (\\Flagged NonJunk)",
                    "FLAGS.SILENT (\\Answered \\Draft)",
                    "+FLAGS.SILENT (\\Deleted)",
                ]);
                imap.select(&folder);
                imap.store(&uids, how);
                format!("flags {how} of {uids} in {folder}")
            }
            (7, _) => {
                let uids = self.uids(&mut imap, &folder);
                imap.select(&folder);
                imap.copy(&uids, &other);
                format!("copy {uids} from {folder} to {other}")
            }
            (8 | 9, _) if folder != other => {
                // Out, and what is there back again.
                let uids = self.uids(&mut imap, &folder);
                imap.select(&folder);
                imap.move_to(&uids, &other);
                imap.select(&other);
                let back = self.uids(&mut imap, &other);
                imap.select(&other);
                imap.move_to(&back, &folder);
                format!("move {uids} from {folder} to {other}, {back} back")
            }
            (10, _) => {
                let uids = self.uids(&mut imap, &folder);
                imap.select(&folder);
                imap.expunge(&uids);
                format!("expunge {uids} in {folder}")
            }
            (11, Some(child)) => {
                let rename = format!("RENAME \"{child}\" \"{fresh}\"");
                let done = imap.attempt(&rename).map(drop);
                format!("rename {child} to {fresh}: {done:?}")
            }
            (12 | 13, Some(child)) => {
                drop(imap);
                let to = self.pick(&["anne", "bob.c", "team"]);
                let to = match to {
                    "team" => format!("team/{}", self.word()),
                    to => format!("user/{to}/{}", self.word()),
                };
                let from = format!("user/{user}{}", &child["INBOX".len()..]);
                let mut admin = self.world.source.admin();
                let done = admin.attempt(&format!("RENAME \"{from}\" \"{to}\""));
                if done.is_ok() {
                    self.let_in(&mut admin, &to);
                }
                let done = done.map(drop);
                format!("rename across owners {from} to {to}: {done:?}")
            }
            (14, Some(child)) => {
                // Refused where it has children.
                let done = imap.attempt(&format!("DELETE \"{child}\"")).map(drop);
                format!("delete {child}: {done:?}")
            }
            (15, _) => {
                drop(imap);
                self.undelete_or_purge()
            }
            (16, _) => {
                let how = self.pick(&["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]);
                imap.command(&format!("{how} \"{folder}\""));
                format!("{how} {folder}")
            }
            (17 | 18, _) => self.sieve(user),
            (19, _) => {
                let who = self.pick(&["anyone", "eve", "anne"]);
                let rights = self.pick(&["lrs", "lrswi", "\"\"", "lrswipkxte"]);
                imap.set_acl(&folder, if who == user { "eve" } else { who }, rights);
                format!("acl of {folder}: {who} {rights}")
            }
            (20, _) => {
                let value = self.pick(&["plain", "a \\ b", "Gr\u{fc}\u{df}e", "x\"y"]);
                imap.set_metadata(&folder, "/shared/comment", value);
                imap.select(&folder);
                let uids = self.uids(&mut imap, &folder);
                imap.select(&folder);
                imap.annotate(&uids, "/comment", "look here");
                format!("annotations of {folder} and {uids}: {value}")
            }
            (21, _) => {
                let limits = self.pick(&["STORAGE 400000", "STORAGE 500000 MESSAGE 9999", ""]);
                let root = format!("user/{user}");
                self.world.source.admin().set_quota(&root, limits);
                format!("quota {root} {limits}")
            }
            (22, _) => self.shared(&mut imap),
            (23, _) => {
                drop(imap);
                let (from, to) = match self.renamed {
                    true => ("dora", "carl"),
                    false => ("carl", "dora"),
                };
                let mut admin = self.world.source.admin();
                admin.rename(&format!("user/{from}"), &format!("user/{to}"));
                self.renamed = !self.renamed;
                self.world.replace_user(from, to);
                format!("user {from} becomes {to}")
            }
            (24, _) => {
                drop(imap);
                let carl = if self.renamed { "dora" } else { "carl" };
                let mut admin = self.world.source.admin();
                admin.delete(&format!("user/{carl}"));
                self.world.source.sync(&["-u", carl]);
                admin.create(&format!("user/{carl}"));
                admin.set_acl(&format!("user/{carl}"), "admin", "lrswipkxtecda");
                format!("user {carl} deleted and made again")
            }
            _ => {
                append(&mut imap, &folder, &[self.mail.any()]);
                format!("append one to {folder}")
            }
        };
        format!("{user}: {what}")
    }

    /// A mailbox that moved, and those below it: its new owner lists only what he has rights on.
    fn let_in(&mut self, admin: &mut Imap, mailbox: &str) {
        let below = format!("{mailbox}/");
        let mut names = admin.list();
        names.retain(|name| name == mailbox || name.starts_with(&below));
        for name in names {
            match name.strip_prefix("user/") {
                None => {
                    admin.set_acl(&name, "anyone", "lrswipkxtecdan");
                    self.world.shared(&name);
                }
                Some(rest) => {
                    let owner = rest.split('/').next().expect("an owner");
                    admin.set_acl(&name, owner, "lrswipkxtecda");
                }
            }
        }
    }

    fn undelete_or_purge(&mut self) -> String {
        let mut admin = self.world.source.admin();
        let lines = admin.command("LIST \"\" \"DELETED/*\"");
        let names: Vec<String> = lines
            .iter()
            .filter_map(|line| {
                let line = String::from_utf8_lossy(line).into_owned();
                let name = line
                    .rsplit_once("\"/\" ")?
                    .1
                    .trim()
                    .trim_matches('"')
                    .to_owned();
                let is_folder = name.split('/').count() == 5 && !name.contains('#');
                is_folder.then_some(name)
            })
            .collect();
        let Some(name) = names.first().cloned() else {
            return "nothing to undelete".to_owned();
        };
        if self.rng.within(0, 3) == 0 {
            let done = admin.attempt(&format!("DELETE \"{name}\"")).map(drop);
            return format!("purge {name}: {done:?}");
        }
        let parts: Vec<&str> = name.split('/').collect();
        let back = format!("user/{}/{}{}", parts[2], parts[3], self.word());
        let done = admin
            .attempt(&format!("RENAME \"{name}\" \"{back}\""))
            .map(drop);
        if done.is_ok() {
            admin.set_acl(&back, parts[2], "lrswipkxtecda");
        }
        format!("undelete {name} to {back}: {done:?}")
    }

    fn sieve(&mut self, user: &str) -> String {
        let mut sieve: Sieve = self.world.source.sieve(user);
        let name = self.pick(&["one", "two"]);
        let scripts = sieve.list();
        let is = |active: bool| scripts.iter().any(|(n, a)| n == name && (*a || !active));
        match self.rng.within(0, 4) {
            0 if is(false) => {
                sieve.activate(name);
                format!("activate {name}")
            }
            1 => {
                sieve.activate("");
                "no active script".to_owned()
            }
            2 if is(false) && !is(true) => {
                sieve.delete(name);
                format!("delete script {name}")
            }
            _ => {
                let text = format!("# {}\r\nkeep;\r\n", self.word());
                sieve.put(name, &text);
                format!("put script {name}")
            }
        }
    }

    fn shared(&mut self, imap: &mut Imap) -> String {
        let name = self.pick(&SHARED);
        if self.rng.within(0, 2) == 0 {
            append(imap, name, &[self.mail.small(), self.mail.small()]);
            return format!("append to {name}");
        }
        let uids = self.uids(imap, name);
        imap.select(name);
        imap.store(&uids, "+FLAGS.SILENT (\\Seen)");
        imap.command("UNSELECT");
        format!("seen {uids} in {name}")
    }

    /// Some of the UIDs of a mailbox.
    fn uids(&mut self, imap: &mut Imap, mailbox: &str) -> String {
        let all: Vec<u32> = imap.messages(mailbox).iter().map(|m| m.uid).collect();
        if all.is_empty() {
            return "999999".to_owned();
        }
        let from = self.rng.within(0, all.len() as u64) as usize;
        let to = (from + self.rng.within(0, 3) as usize).min(all.len() - 1);
        format!("{}:{}", all[from], all[to])
    }

    fn word(&mut self) -> String {
        let stem = self.pick(&["box", "sp ace", "Entw&APw-rfe", "a.b", "NIL", "x&-y"]);
        format!("{stem}{}", self.rng.within(0, 1000))
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.within(0, of.len() as u64) as usize]
    }
}

#[track_caller]
pub(crate) fn same(step: &str, what: &str, one: &MailState, other: &MailState) {
    let lines = |state: &MailState| -> BTreeMap<String, String> { state.0.clone() };
    let (one, other) = (lines(one), lines(other));
    let mut differences = Vec::new();
    for (key, value) in &one {
        match other.get(key) {
            Some(same) if same == value => {}
            there => differences.push(format!("{key}: {value} / {there:?}")),
        }
    }
    for (key, value) in &other {
        if !one.contains_key(key) {
            differences.push(format!("{key}: nothing / {value}"));
        }
    }
    differences.truncate(12);
    assert!(
        differences.is_empty(),
        "{step}: {what} differ:\n{}",
        differences.join("\n")
    );
}

//! The same of what a mount shows: every file is read, and its octets must be those of the GUID beside it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cyrusbackup::csync::dlist::{Parser, Value};
use cyrusbackup::types::Guid;
use serde_json::Value as Json;

use crate::rig::attribute;
use crate::state::{MailState, comment, in_set, internal, names_of, rights};

/// Of these users and the shared mailboxes, in a mount of `all`; `moment` is a directory in each of them.
pub(crate) fn shown(root: &Path, users: &[String], moment: &str) -> MailState {
    let mut state = MailState::default();
    let place = |user: &str| root.join(user).join(moment);
    for user in users {
        let dir = place(user);
        let known = json(&dir.join("mailboxes.json"));
        mailboxes(&mut state, &dir, &known, user);
        subscriptions(&mut state, &dir, user);
        quotas(&mut state, &known, user);
        scripts(&mut state, &dir, user);
    }
    let shared = place("%SHARED");
    if !shared.exists() {
        return state;
    }
    let known = json(&shared.join("mailboxes.json"));
    mailboxes(&mut state, &shared, &known, "%SHARED");
    let seen = json(&place("anne").join("seen.json"));
    seen_in_shared(&mut state, &known, &seen);
    state
}

fn mailboxes(state: &mut MailState, dir: &Path, known: &Json, owner: &str) {
    for mailbox in living(known) {
        let name = text(mailbox, "mboxname");
        let validity = mailbox["uidvalidity"].to_string();
        state.put(format!("{name} uidvalidity"), validity);
        let words: Vec<&str> = text(mailbox, "acl").split('\t').collect();
        for pair in words.chunks(2).filter(|pair| pair.len() == 2) {
            state.put(format!("{name} acl {}", pair[0]), rights(pair[1]));
        }
        if let Some(comment) = comment(text(mailbox, "annotations"), "") {
            state.put(format!("{name} comment"), comment);
        }
        // One without messages need not have a place.
        if let Some(path) = mailbox["path"].as_str() {
            messages(state, &dir.join(path), name, owner);
        }
    }
}

fn messages(state: &mut MailState, folder: &Path, name: &str, owner: &str) {
    for path in entries(folder) {
        let Some(uid) = stem(&path, "eml") else {
            assert!(path.is_dir(), "{} is nothing we know", path.display());
            continue;
        };
        let told = |what: &str| attribute(&path, &format!("user.cyrus.{what}"));
        let guid = told("guid").expect("a guid");
        let octets = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(Guid::of(&octets).to_string(), guid, "{}", path.display());
        let metadata = path.metadata().expect("metadata");
        assert_eq!(metadata.len(), octets.len() as u64, "{}", path.display());
        let date = told("internaldate").expect("a date");
        assert_eq!(metadata.mtime().to_string(), date, "{}", path.display());
        let flags = told("flags").expect("flags");
        let mut flags: Vec<&str> = flags.split(' ').filter(|flag| !flag.is_empty()).collect();
        flags.retain(|flag| owner != "%SHARED" || *flag != "\\Seen");
        flags.sort_unstable();
        let note = told("annotations").and_then(|list| comment(&list, owner));
        let note = note.unwrap_or_default();
        state.put(
            format!("{name} {uid}"),
            format!("{} {date} {guid} {note}", flags.join(" ")),
        );
    }
}

fn subscriptions(state: &mut MailState, dir: &Path, user: &str) {
    let text = fs::read_to_string(dir.join("subscriptions.txt")).expect("subscriptions.txt");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('\t').next().expect("a name");
        if names_of(state).iter().any(|known| known == name) {
            state.put(format!("{user} subscribes {name}"), String::new());
        }
    }
}

fn quotas(state: &mut MailState, known: &Json, user: &str) {
    let root = internal(&format!("user/{user}"));
    for quota in array(&known["quotas"]) {
        let header = text(quota, "header").as_bytes().to_vec();
        let value = Parser::new(&header).value().expect("a quota's keys");
        let items = value.as_kvlist().expect("a quota's keys");
        for resource in ["STORAGE", "MESSAGE"] {
            let limit = items.get(resource).and_then(Value::as_str);
            if let Some(limit) = limit.filter(|_| text(quota, "root") == root) {
                state.put(format!("{user} quota {resource}"), limit.to_owned());
            }
        }
    }
}

fn scripts(state: &mut MailState, dir: &Path, user: &str) {
    let dir = dir.join("sieve");
    for path in entries(&dir) {
        let name = stem(&path, "sieve").expect("a script");
        let active = attribute(&path, "user.cyrus.active").is_some();
        fs::read(&path).expect("the script's text");
        state.put(format!("{user} script {name}"), active.to_string());
    }
}

fn seen_in_shared(state: &mut MailState, known: &Json, seen: &Json) {
    let of: BTreeMap<&str, &str> = array(seen)
        .iter()
        .map(|row| (text(row, "uniqueid"), text(row, "seenuids")))
        .collect();
    for mailbox in living(known) {
        let name = text(mailbox, "mboxname");
        let Some(set) = of.get(text(mailbox, "uniqueid")) else {
            continue;
        };
        let prefix = format!("{name} ");
        let uids: Vec<u32> = state
            .0
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix)?.parse().ok())
            .collect();
        for uid in uids.into_iter().filter(|uid| in_set(set, *uid)) {
            state.put(format!("anne has seen {name} {uid}"), String::new());
        }
    }
}

fn living(known: &Json) -> impl Iterator<Item = &Json> {
    let all = array(&known["mailboxes"]).iter();
    all.filter(|one| one["deleted"].is_null() && !text(one, "mboxname").starts_with("DELETED."))
}

fn json(path: &Path) -> Json {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn array(value: &Json) -> &Vec<Json> {
    value.as_array().expect("an array")
}

fn text<'a>(value: &'a Json, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// The name before this extension.
fn stem(path: &Path, extension: &str) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    Some(name.strip_suffix(extension)?.strip_suffix('.')?.to_owned())
}

//! Everything a user has, once as IMAP and ManageSieve tell it and once as our backup holds it, as lines that can
//! be compared.

use std::collections::BTreeMap;

use cyrusbackup::config::Config;
use cyrusbackup::csync::dlist::{Parser, Value};
use cyrusbackup::store::{Backup, Lock, Placement};
use cyrusbackup::types::BackupKey;

use crate::rig::Imap;
use crate::world::World;

/// `what → value`, in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MailState(pub(crate) BTreeMap<String, String>);

impl MailState {
    pub(crate) fn put(&mut self, key: String, value: String) {
        self.0.insert(key, value);
    }
}

/// Of all users and shared mailboxes of a world, as the server tells.
pub(crate) fn on_server(world: &World) -> MailState {
    let mut state = MailState::default();
    let mut admin = world.source.admin();
    for user in world.users() {
        let mut imap = world.source.imap(user);
        let names: Vec<String> = imap
            .list()
            .into_iter()
            .filter(|name| name == "INBOX" || name.starts_with("INBOX/"))
            .collect();
        for name in names {
            let outside = format!("user/{user}{}", &name["INBOX".len()..]);
            mailbox(&mut state, &mut imap, &mut admin, &name, &outside, user);
        }
        for name in lsub(&mut imap) {
            let name = match name.strip_prefix("INBOX") {
                Some(rest) => format!("user/{user}{rest}"),
                None => name,
            };
            // LSUB leaves out some mailboxes that are gone, and keeps others.
            if !names_of(&state).contains(&internal(&name)) {
                continue;
            }
            state.put(
                format!("{user} subscribes {}", internal(&name)),
                String::new(),
            );
        }
        for line in imap.command("GETQUOTAROOT \"INBOX\"") {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some((_, list)) = line
                .strip_prefix("* QUOTA ")
                .and_then(|l| l.split_once(" ("))
            {
                let words: Vec<&str> = list.trim_end_matches(')').split(' ').collect();
                for item in words.chunks(3).filter(|item| item.len() == 3) {
                    state.put(format!("{user} quota {}", item[0]), item[2].to_owned());
                }
            }
        }
        for (script, active) in world.source.sieve(user).list() {
            state.put(format!("{user} script {script}"), active.to_string());
        }
    }
    let mut shared = admin.list();
    shared.retain(|name| name.starts_with("team"));
    let mut reader = world.source.imap("anne");
    for name in shared {
        let mut other = world.source.admin();
        mailbox(&mut state, &mut other, &mut admin, &name, &name, "%SHARED");
        for message in reader.messages(&name) {
            let seen = message.flags.iter().any(|flag| flag == "\\Seen");
            if seen {
                state.put(
                    format!("anne has seen {} {}", internal(&name), message.uid),
                    String::new(),
                );
            }
        }
    }
    state
}

/// The mailboxes told so far.
pub(crate) fn names_of(state: &MailState) -> Vec<String> {
    let names = state
        .0
        .keys()
        .filter_map(|key| key.strip_suffix(" uidvalidity"));
    names.map(str::to_owned).collect()
}

fn mailbox(
    state: &mut MailState,
    imap: &mut Imap,
    admin: &mut Imap,
    name: &str,
    outside: &str,
    owner: &str,
) {
    let inside = internal(outside);
    let validity = imap.select(name);
    state.put(format!("{inside} uidvalidity"), validity.to_string());
    // imapd 3.6.1 dies of the question when somebody else's annotations moved with the mailbox.
    let notes = match owner {
        "%SHARED" => BTreeMap::new(),
        _ => annotations(imap, name),
    };
    for message in imap.messages(name) {
        let shared = owner == "%SHARED";
        let mut flags: Vec<String> = message.flags;
        // Whose \Seen it is on shared mailboxes is told beside.
        flags.retain(|flag| flag != "\\Recent" && !(shared && flag == "\\Seen"));
        flags.sort();
        let date = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", message.internaldate.trim())
            .and_then(|time| time.to_timestamp())
            .expect("an INTERNALDATE");
        let note = notes.get(&message.uid).cloned().unwrap_or_default();
        let text = format!(
            "{} {} {} {note}",
            flags.join(" "),
            date.as_second(),
            message.guid
        );
        state.put(format!("{inside} {}", message.uid), text);
    }
    let lines = admin.command(&format!("GETACL \"{outside}\""));
    let line = String::from_utf8_lossy(&lines[0]).into_owned();
    let words = line.strip_prefix("* ACL ").expect("an ACL");
    let words = match words.strip_prefix('"') {
        Some(rest) => rest.split_once('"').expect("a name").1.trim_start(),
        None => words.split_once(' ').map_or("", |(_, rest)| rest),
    };
    let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
    for pair in words.chunks(2).filter(|pair| pair.len() == 2) {
        state.put(format!("{inside} acl {}", pair[0]), rights(pair[1]));
    }
    let lines = imap.command(&format!("GETMETADATA \"{name}\" (/shared/comment)"));
    for line in lines {
        let line = String::from_utf8_lossy(&line).into_owned();
        let Some((_, value)) = line.split_once("/shared/comment") else {
            continue;
        };
        let value = value.trim_start_matches('"').trim_start();
        if value != "NIL)" {
            let value = match value.split_once("}\r\n") {
                Some((_, octets)) => octets.trim_end_matches(')').to_owned(),
                None => unquoted(value.trim_end_matches(')')),
            };
            state.put(format!("{inside} comment"), value);
        }
    }
}

fn unquoted(text: &str) -> String {
    match text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        Some(text) => text.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}

/// UID → value of the private comment.
fn annotations(imap: &mut Imap, name: &str) -> BTreeMap<u32, String> {
    imap.command(&format!("EXAMINE \"{name}\""));
    let lines = imap.command("UID FETCH 1:* (UID ANNOTATION (/comment value.priv))");
    let told = lines.iter().filter_map(|line| {
        let line = String::from_utf8_lossy(line).into_owned();
        let uid = line
            .split_once("UID ")?
            .1
            .split([' ', ')'])
            .next()?
            .parse()
            .ok()?;
        let value = line
            .split_once("value.priv\" ")
            .or(line.split_once("value.priv "))?
            .1;
        let value = value.split(')').next()?.trim_matches('"');
        (value != "NIL").then(|| (uid, value.to_owned()))
    });
    told.collect()
}

fn lsub(imap: &mut Imap) -> Vec<String> {
    let lines = imap.command("LSUB \"\" \"*\"");
    let names = lines.iter().filter_map(|line| {
        let line = String::from_utf8_lossy(line).into_owned();
        let name = line.strip_prefix("* LSUB ")?.split_once("\"/\" ")?.1;
        Some(name.trim().trim_matches('"').to_owned())
    });
    names.collect()
}

/// c and d stand for others, and come and go with them.
pub(crate) fn rights(text: &str) -> String {
    let mut rights: Vec<char> = text
        .chars()
        .filter(|right| !"cd".contains(*right))
        .collect();
    rights.sort_unstable();
    rights.into_iter().collect()
}

pub(crate) fn internal(name: &str) -> String {
    name.replace('.', "^").replace('/', ".")
}

/// The same of what our backups hold.
pub(crate) fn held(world: &World) -> MailState {
    let mut state = MailState::default();
    let config = Config::load(&world.backup.instance.conf(), "backupd").expect("imapd.conf");
    let placement = Placement::new(&config);
    let open = |key: &BackupKey| {
        let path = placement.find(key).expect("backups.db")?;
        Some(Backup::open(&path, Lock::Shared { wait: true }).expect("a backup"))
    };
    for user in world.users() {
        let key = BackupKey::from_userid(user).expect("a user");
        let Some(backup) = open(&key) else { continue };
        mailboxes(&mut state, &backup, user);
        for row in backup.index().subscriptions().expect("subscriptions") {
            if row.unsubscribed.is_none() && names_of(&state).contains(&row.mboxname) {
                state.put(format!("{user} subscribes {}", row.mboxname), String::new());
            }
        }
        let root = internal(&format!("user/{user}"));
        for (name, items) in backup.index().quotas().expect("quotas") {
            for resource in ["STORAGE", "MESSAGE"] {
                if let Some(limit) = items
                    .get(resource)
                    .and_then(Value::as_str)
                    .filter(|_| name == root)
                {
                    state.put(format!("{user} quota {resource}"), limit.to_owned());
                }
            }
        }
        let active = backup.index().active_sieve().expect("the active script");
        for row in backup.index().sieve().expect("scripts") {
            if row.deleted.is_none() {
                let is_active = active.as_ref() == Some(&row.filename);
                let name = row.filename.trim_end_matches(".script");
                state.put(format!("{user} script {name}"), is_active.to_string());
                backup.read_sieve(&row).expect("the script's text");
            }
        }
    }
    let Some(shared) = open(&BackupKey::shared()) else {
        return state;
    };
    mailboxes(&mut state, &shared, "%SHARED");
    let Some(anne) = open(&BackupKey::from_userid("anne").expect("a user")) else {
        return state;
    };
    let seen = anne.index().seen().expect("seen state");
    for mailbox in shared.index().mailboxes().expect("mailboxes") {
        let Some(row) = seen.iter().find(|row| row.uniqueid == mailbox.uniqueid) else {
            continue;
        };
        let live = shared.index().records(mailbox.id).expect("records");
        for record in live
            .iter()
            .filter(|r| r.expunged.is_none() && mailbox.deleted.is_none())
        {
            if in_set(&row.seenuids, record.uid) {
                state.put(
                    format!("anne has seen {} {}", mailbox.mboxname, record.uid),
                    String::new(),
                );
            }
        }
    }
    state
}

fn mailboxes(state: &mut MailState, backup: &Backup, owner: &str) {
    for mailbox in backup.index().mailboxes().expect("mailboxes") {
        let name = &mailbox.mboxname;
        if mailbox.deleted.is_some() || name.starts_with("DELETED.") {
            continue;
        }
        state.put(
            format!("{name} uidvalidity"),
            mailbox.uidvalidity.to_string(),
        );
        for record in backup.index().records(mailbox.id).expect("records") {
            if record.expunged.is_some() {
                continue;
            }
            backup.read_message(&record.guid).expect("a body");
            let flags = record.flags.trim_matches(['(', ')']).split(' ');
            let mut flags: Vec<&str> = flags.filter(|flag| !flag.is_empty()).collect();
            flags.retain(|flag| owner != "%SHARED" || *flag != "\\Seen");
            flags.sort_unstable();
            let note = comment(&record.annotations, owner);
            let text = format!(
                "{} {} {} {}",
                flags.join(" "),
                record.internaldate,
                record.guid,
                note.unwrap_or_default()
            );
            state.put(format!("{name} {}", record.uid), text);
        }
        let acl = mailbox.acl.clone().unwrap_or_default();
        let words: Vec<&str> = acl.split('\t').filter(|word| !word.is_empty()).collect();
        for pair in words.chunks(2).filter(|pair| pair.len() == 2) {
            state.put(format!("{name} acl {}", pair[0]), rights(pair[1]));
        }
        let annotations = mailbox.annotations.as_deref().unwrap_or_default();
        if let Some(comment) = comment(annotations, "") {
            state.put(format!("{name} comment"), comment);
        }
    }
}

/// The value of `/comment` for this user.
pub(crate) fn comment(list: &str, user: &str) -> Option<String> {
    let list = Parser::new(list.as_bytes()).value().ok()?;
    list.as_list()?.iter().find_map(|item| {
        let items = item.as_kvlist()?;
        let get = |key: &str| items.get(key).and_then(Value::as_str);
        let is_it = get("ENTRY") == Some("/comment") && get("USERID").unwrap_or("") == user;
        is_it.then(|| get("VALUE").unwrap_or("").to_owned())
    })
}

pub(crate) fn in_set(set: &str, uid: u32) -> bool {
    set.split(',').any(|range| {
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        matches!((from.parse::<u32>(), to.parse::<u32>()), (Ok(from), Ok(to)) if from <= uid && uid <= to)
    })
}

//! What the target has: asked, never assumed. Questions only (GET); nothing is changed by them (spec: csync 4).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::names;
use crate::csync::dlist::{KvList, Literal, Parser, Value};
use crate::csync_client::{Answer, Client, ClientError};
use crate::store::SeenRow;
use crate::types::{Guid, Namespace};

type Result<T> = std::result::Result<T, ClientError>;

/// Mailboxes of the users and shared mailboxes that a plan touches, and what else those users have.
#[derive(Debug, Default)]
pub struct Target {
    mailboxes: BTreeMap<String, Existing>,
    quotas: Vec<KvList>,
    /// Internal names.
    pub subscriptions: BTreeSet<String>,
    /// By uniqueid.
    pub seen: Vec<SeenRow>,
    /// All scripts.
    pub scripts: Vec<Script>,
}

/// A mailbox that is there.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Its identity.
    pub uniqueid: String,
    /// Where its bodies lie.
    pub partition: String,
    /// The highest UID ever given.
    pub last_uid: u32,
    /// Whether it is only there because a child is.
    pub intermediate: bool,
    /// Everything that was told.
    pub keys: KvList,
}

/// A sieve script that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// `x.script`, or `x.bc` for the compiled form.
    pub filename: String,
    /// SHA-1 of the text.
    pub guid: Option<Guid>,
    /// It runs.
    pub active: bool,
}

/// The messages of a mailbox of the target.
#[derive(Debug, Default)]
pub struct Messages {
    /// How many live copies of each.
    pub live: HashMap<Guid, usize>,
    /// How many expunged copies of each.
    pub expunged: HashMap<Guid, usize>,
    /// What each UID is.
    pub uids: HashMap<u32, Guid>,
}

impl Existing {
    /// It has this identity: uniqueid and UIDVALIDITY.
    pub fn is(&self, (uniqueid, uidvalidity): (&str, u32)) -> bool {
        self.uniqueid == uniqueid && self.keys.get_u32("UIDVALIDITY") == Some(uidvalidity)
    }
}

impl Target {
    /// Asks for the owners of these mailboxes, for the shared ones among them, and for the users in `users`.
    pub fn ask(
        client: &mut Client,
        names: &[String],
        user: Option<&str>,
        namespace: &Namespace,
    ) -> Result<Target> {
        let mut target = Target::default();
        let mut users: BTreeSet<String> = user.map(str::to_owned).into_iter().collect();
        let mut shared = Vec::new();
        for name in names {
            match names::owner(name, namespace) {
                Some(owner) => drop(users.insert(owner)),
                None => shared.push(name.clone()),
            }
        }
        for owner in &users {
            let answer = ask(client, "USER", Value::string(owner.as_str()))?;
            target.learn_mailboxes(&answer);
            // Of other users only the mailboxes are of interest.
            if user == Some(owner.as_str()) {
                target.learn_user(&answer);
            }
        }
        target.refresh(client, &shared)?;
        Ok(target)
    }

    /// Asks again for these mailboxes.
    pub fn refresh(&mut self, client: &mut Client, names: &[String]) -> Result<()> {
        for some in names.chunks(500) {
            let list = some.iter().map(|name| Value::string(name.as_str()));
            let answer = ask(client, "MAILBOXES", Value::List(list.collect()))?;
            self.learn_mailboxes(&answer);
        }
        Ok(())
    }

    /// The mailbox of this name, unless it is only the parent of others.
    pub fn mailbox(&self, name: &str) -> Option<&Existing> {
        self.mailboxes.get(name).filter(|has| !has.intermediate)
    }

    /// A mailbox or folder of this name is there.
    pub fn knows(&self, name: &str) -> bool {
        self.mailboxes.contains_key(name)
    }

    /// The name under which an identity is in use.
    pub fn name_of(&self, uniqueid: &str) -> Option<&str> {
        let mut all = self.mailboxes.iter();
        all.find(|(_, has)| has.uniqueid == uniqueid)
            .map(|(name, _)| name.as_str())
    }

    /// Names of mailboxes that may hold bodies.
    pub fn filled(&self) -> impl Iterator<Item = &str> {
        let all = self.mailboxes.iter();
        all.filter(|(_, has)| has.last_uid > 0 && !has.intermediate)
            .map(|(name, _)| name.as_str())
    }

    /// The quota of a root.
    pub fn quota(&self, root: &str) -> Option<&KvList> {
        let mut all = self.quotas.iter();
        all.find(|keys| keys.get_str("ROOT") == Some(root))
    }

    /// Exactly this annotation is there.
    pub fn has_annotation(&self, name: &str, entry: &str, userid: &str, value: &[u8]) -> bool {
        let annotations = self
            .mailbox(name)
            .and_then(|has| has.keys.get("ANNOTATIONS"))
            .and_then(Value::as_list)
            .unwrap_or_default();
        annotations.iter().filter_map(Value::as_kvlist).any(|item| {
            item.get_str("ENTRY") == Some(entry)
                && item.get_str("USERID").unwrap_or_default() == userid
                && item.get("VALUE").and_then(Value::as_bytes) == Some(value)
        })
    }

    fn learn_mailboxes(&mut self, answer: &Answer) {
        for keys in answer.kvlists("MAILBOX") {
            let text = |key| keys.get_str(key).unwrap_or_default().to_owned();
            self.mailboxes.insert(
                text("MBOXNAME"),
                Existing {
                    uniqueid: text("UNIQUEID"),
                    partition: text("PARTITION"),
                    last_uid: keys.get_u32("LAST_UID").unwrap_or(0),
                    intermediate: text("MBOXTYPE").contains('i'),
                    keys: keys.clone(),
                },
            );
        }
    }

    fn learn_user(&mut self, answer: &Answer) {
        self.quotas = answer.kvlists("QUOTA").cloned().collect();
        let names = answer.named("LSUB").filter_map(Value::as_list).flatten();
        self.subscriptions = names.filter_map(Value::as_str).map(str::to_owned).collect();
        for keys in answer.kvlists("SEEN") {
            self.seen.push(SeenRow {
                uniqueid: keys.get_str("UNIQUEID").unwrap_or_default().to_owned(),
                lastread: keys.get("LASTREAD").and_then(Value::as_i64).unwrap_or(0),
                lastuid: keys.get_u32("LASTUID").unwrap_or(0),
                lastchange: keys.get("LASTCHANGE").and_then(Value::as_i64).unwrap_or(0),
                seenuids: keys.get_str("SEENUIDS").unwrap_or_default().to_owned(),
            });
        }
        for keys in answer.kvlists("SIEVE") {
            let guid = keys.get("GUID").and_then(Value::as_bytes);
            self.scripts.push(Script {
                filename: keys.get_str("FILENAME").unwrap_or_default().to_owned(),
                guid: guid.and_then(|hex| Guid::from_hex(hex).ok()),
                active: keys.get_u64("ISACTIVE") == Some(1),
            });
        }
    }
}

/// `GET WHAT VALUE`; a user or mailbox that is not there is an empty answer.
fn ask(client: &mut Client, what: &str, value: Value) -> Result<Answer> {
    let mut line = format!("GET {what} ").into_bytes();
    value.print(&mut line, Literal::NonSync);
    match client.command(&line) {
        Err(ClientError::Refused { answer, .. })
            if answer.starts_with("NO IMAP_MAILBOX_NONEXISTENT") =>
        {
            Ok(Answer::default())
        }
        other => other,
    }
}

/// Which of these identities the target knows, under which names; nothing when it does not know the question.
pub fn names_of(client: &mut Client, uniqueids: &[&str]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for some in uniqueids.chunks(500) {
        let list = some.iter().map(|id| Value::string(*id)).collect();
        let answer = match ask(client, "UNIQUEIDS", Value::List(list)) {
            Err(error) if error.is_refusal() => return Ok(Vec::new()),
            other => other?,
        };
        for keys in answer.kvlists("MAILBOX") {
            let text = |key| keys.get_str(key).unwrap_or_default().to_owned();
            found.push((text("UNIQUEID"), text("MBOXNAME")));
        }
    }
    Ok(found)
}

/// `GET FULLMAILBOX`: every message of a mailbox; read-only there. Its answer may be of any length.
pub fn messages(client: &mut Client, mboxname: &str) -> Result<Messages> {
    let mut line = b"GET FULLMAILBOX ".to_vec();
    Value::string(mboxname).print(&mut line, Literal::NonSync);
    let mut messages = Messages::default();
    client.command_lines(&line, |text| {
        messages.learn(text).map_err(|why| ClientError::Malformed {
            line: String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned(),
            why,
        })
    })?;
    Ok(messages)
}

impl Messages {
    /// `MAILBOX %(… RECORD (%(…) …))`, record after record.
    fn learn(&mut self, text: &[u8]) -> std::result::Result<(), String> {
        let why = |error: crate::csync::dlist::DlistError| error.to_string();
        let mut parser = Parser::new(text);
        parser.key().map_err(why)?;
        parser.kvlist_start().map_err(why)?;
        while parser.more().map_err(why)? {
            if parser.key().map_err(why)? != "RECORD" {
                parser.skip_value().map_err(why)?;
                continue;
            }
            parser.list_start().map_err(why)?;
            while parser.more().map_err(why)? {
                let value = parser.value().map_err(why)?;
                let record = value.as_kvlist().ok_or("a record is no list")?;
                self.take(record).ok_or("a record lacks UID or GUID")?;
            }
        }
        Ok(())
    }

    fn take(&mut self, record: &KvList) -> Option<()> {
        let guid = Guid::from_hex(record.get("GUID")?.as_bytes()?).ok()?;
        let flags = record.get("FLAGS").and_then(Value::as_list);
        let mut flags = flags.unwrap_or_default().iter().filter_map(Value::as_str);
        let copies = match flags.any(|flag| flag.eq_ignore_ascii_case("\\Expunged")) {
            true => &mut self.expunged,
            false => &mut self.live,
        };
        *copies.entry(guid).or_default() += 1;
        self.uids.insert(record.get_u32("UID")?, guid);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_what_they_are() {
        let guids = [Guid::of(b"a"), Guid::of(b"b")];
        let text = format!(
            "MAILBOX %(UNIQUEID u RECORD (%(UID 1 FLAGS (\\Seen) GUID {a}) %(UID 2 FLAGS () GUID {a} ANNOTATIONS \
             (%(ENTRY /x VALUE {{3}}\r\n())))) %(UID 4 FLAGS (\\Expunged) GUID {b})) LAST_UID 4)",
            a = guids[0],
            b = guids[1]
        );
        let mut messages = Messages::default();
        messages.learn(text.as_bytes()).unwrap();
        assert_eq!(messages.live, HashMap::from([(guids[0], 2)]));
        assert_eq!(messages.expunged, HashMap::from([(guids[1], 1)]));
        assert_eq!(messages.uids.len(), 3);
        assert!(messages.learn(b"MAILBOX %(RECORD (%(UID 1)))").is_err());
    }
}
